"""The functions' log goes on, whatever the user's code makes of the process's output."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import contextlib, io, os, sys
from fifo_cli.handlers.guarded_output import guard_streams
from fifo_cli.handlers.json_log import keep_stdout, stdout_journal
keep_stdout()
guard_streams(str)
{deed}
stdout_journal("info", "delivered", group="\\udcff")
"""
DEEDS = [
    "sys.stdout.close()",
    "sys.stderr.close(); sys.stdout.close()",
    "sys.stdout = None",
    "sys.stdout = io.StringIO()",
    "sys.stdout = open(os.devnull)",
    "sys.stdout = object()",
    "contextlib.redirect_stdout(io.StringIO()).__enter__()",
    "os.close(1)",
    "os.dup2(os.open(os.devnull, os.O_WRONLY), 1)",
    "sys.stdout.detach()",
    "del sys.stdout",
]


@pytest.mark.parametrize("deed", DEEDS)
def test_what_code_does_to_stdout_costs_no_line(deed: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(deed=deed)], capture_output=True, text=True, check=False
    )
    assert json.loads(ran.stdout.splitlines()[-1])["message"] == "delivered", ran.stderr


@pytest.mark.parametrize("deed", ["os.closerange(0, 50)", "os.close(1); os.close(2)"])
def test_without_any_output_the_function_goes_on(deed: str) -> None:
    program = PROGRAM.format(deed=deed).replace("keep_stdout()\n", "") + "os._exit(7)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 7


def test_after_one_message_closed_stdout_the_next_one_prints() -> None:
    program = PROGRAM.format(deed="sys.stdout.close()\nprint('next')")
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "next" in ran.stdout.splitlines(), ran.stderr
