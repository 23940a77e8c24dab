"""The zip of the function that prove delivers to: it stands alone, and is the same for the same code."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path

from fifo_cli.operations.prove import deployed_receiver as module
from tests.cli_harness import clean_environment


def test_the_zip_holds_the_functions_own_code_alone_and_runs_by_itself(tmp_path: Path) -> None:
    code = module._code()
    assert code == module._code()
    archive = zipfile.ZipFile(io.BytesIO(code))
    assert archive.namelist() == [
        "fifo_cli/__init__.py",
        "fifo_cli/prove_api/__init__.py",
        "fifo_cli/prove_api/api.py",
        "fifo_cli/prove_api/function.py",
    ]
    archive.extractall(tmp_path)
    name, _, function = module.HANDLER.rpartition(".")
    text = f"import {name} as m; print(m.__file__, callable(m.{function}))"
    environment = {**clean_environment(), "PYTHONPATH": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-P", "-c", text], env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout == f"{tmp_path}/fifo_cli/prove_api/function.py True\n"
