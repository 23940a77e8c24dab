"""Which tests run when: what tests/tiers.py names is there, and .ci/run runs every tier but the long one."""

from __future__ import annotations

import re
from pathlib import Path

from tests.cli_harness import ROOT
from tests.tiers import LONGEST, SAMPLED, STORIES


def test_every_test_that_is_named_exists() -> None:
    for table in (STORIES, SAMPLED):
        for file, names in table.items():
            found = _tests_in(ROOT / "tests" / file)
            assert {name.partition("[")[0] for name in names} <= found, file
    files = (ROOT / "tests" / "integration").glob("test_*.py")
    assert set(LONGEST) <= set().union(*map(_tests_in, files))


def _tests_in(path: Path) -> set[str]:
    return set(re.findall(r"^ *def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE))


def test_ci_runs_what_the_readmes_command_leaves_out() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert 'pytest -n "$workers" -m slow' in script
    assert "last-failed" not in script
