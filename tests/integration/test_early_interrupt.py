"""SIGINT while the program starts: no traceback, and nothing half done."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from tests.cli_harness import clean_environment

# Prints a byte when our first line is reached; before that the interpreter is on its own.
_SCRIPT = """
import os
os.write(1, b"x")
from fifo_cli.__main__ import main
raise SystemExit(main())
"""
_LINES = {"module": ["-m", "fifo_cli"], "script": ["-c", _SCRIPT]}


@pytest.mark.parametrize("line", _LINES.values(), ids=_LINES)
@pytest.mark.parametrize("milliseconds", [0, 5, 10, 20, 30, 50, 80, 120, 160, 200, 250, 300])
def test_an_interrupt_at_any_moment_of_the_start_prints_no_traceback_of_ours(
    line: list[str], milliseconds: int
) -> None:
    process = subprocess.Popen(
        [sys.executable, *line, "schema"],
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(milliseconds / 1000)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)

    # Before the first line of ours Python itself dies of it, as a rule with a traceback of its own modules.
    assert "fifo_cli" not in err
    assert process.returncode in (0, 130, -signal.SIGINT, 1)
    if "Traceback" not in err and "Fatal Python error" not in err:
        assert process.returncode in (0, 130, -signal.SIGINT)
