"""Write the blocks of output in docs/runbook.md: what the incidents of the tests show on an embedded stack.

Run it as ``python scripts/make_runbook.py`` with the dev dependencies installed; it takes two minutes. An
incident is a test in tests/integration/test_incidents.py; its block is behind ``<!-- incident: NAME -->``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
RUNBOOK: Final = ROOT / "docs" / "runbook.md"
BLOCK: Final = re.compile(
    r"(^<!-- incident: (\S+) -->\n)(?:```console\n.*?^```\n)?", re.DOTALL | re.MULTILINE
)


def main() -> int:
    """Run the incidents and write what they showed; 1 if one of them failed, with nothing written."""
    with tempfile.TemporaryDirectory() as folder:
        tests = "tests/integration/test_incidents.py"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "", tests]
        ran = subprocess.run(command, cwd=ROOT, env={**os.environ, "RUNBOOK_BLOCKS": folder}, check=False)
        if ran.returncode:
            return 1
        blocks = {one.stem: one.read_text(encoding="utf-8") for one in Path(folder).iterdir()}
    text = RUNBOOK.read_text(encoding="utf-8")
    placed = {found[2] for found in BLOCK.finditer(text)}
    for name in sorted(placed ^ blocks.keys()):
        print(
            f"{name}: {'there is no such incident' if name in placed else 'the runbook has no place for it'}"
        )
    RUNBOOK.write_text(BLOCK.sub(lambda found: _written(found[2], blocks), text), encoding="utf-8")
    return int(placed != blocks.keys())


def _written(name: str, blocks: Mapping[str, str]) -> str:
    return f"<!-- incident: {name} -->\n```console\n{blocks.get(name, '')}```\n"


if __name__ == "__main__":
    raise SystemExit(main())
