"""The watch over the user's code, in a process of its own, which it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli_harness import wait_until

SCRIPT = """
import os, pathlib, re, sys, time
from fifo_cli.cli import code_watch

code_watch._LIMIT_MIN = 0.5
code_watch._GRACE_SECONDS = 0.0
code_watch._BEAT_SECONDS = 0.1
with code_watch.watched("mine:to_request", 1.0, [pathlib.Path(sys.argv[1]), pathlib.Path("/nonexistent")]):
    print("inside", flush=True)
    {deed}
print("after", flush=True)
"""
FROZEN = "re.fullmatch('(a|aa)+', 'a' * 200 + 'b')"


def start(folder: Path, deed: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", SCRIPT.format(deed=deed), str(folder)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def note(folder: Path, name: str, subject: str, *, running: bool = True) -> None:
    (folder / name).write_text(json.dumps({"subject": subject, "running": running}))


@pytest.mark.parametrize(
    ("deed", "code", "reason"),
    [
        (
            FROZEN,
            1,
            "mine:to_request stopped the whole process for 1 s, so it was ended; it was working on:"
            " message m1",
        ),
        (
            "os._exit(7)",
            7,
            "the process ended while mine:to_request was working on: message m1; the code exits",
        ),
        (
            "os.abort()",
            -6,
            "the process ended while mine:to_request was working on: message m1; the code exits",
        ),
        ("time.sleep(1.5)", 0, ""),
        ("pass", 0, ""),
    ],
)
def test_what_ends_or_stops_the_process_is_named(tmp_path, deed, code, reason):
    note(tmp_path, "a", "message m1")
    note(tmp_path, "b", "message m2", running=False)
    (tmp_path / "c").write_text("cut off")
    process = start(tmp_path, deed)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert out.startswith("inside")
    assert err.startswith(f"error: {reason}" if reason else "")
    assert bool(err) == bool(reason)
    assert "next: run the command again" in err or not reason
    assert "Traceback" not in err


def test_a_process_that_ends_with_nothing_in_hand_needs_no_word(tmp_path):
    process = start(tmp_path, "os._exit(7)")
    assert process.communicate(timeout=60)[1] == ""


def test_ctrl_z_for_longer_than_the_limit_ends_nothing(tmp_path):
    process = start(tmp_path, "time.sleep(1.5)")
    assert process.stdout is not None
    assert process.stdout.readline() == "inside\n"
    os.kill(process.pid, signal.SIGTSTP)
    wait_until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2][0] == "T")
    subprocess.run(["sleep", "2"], check=True)
    os.kill(process.pid, signal.SIGCONT)
    assert process.communicate(timeout=60) == ("after\n", "")
    assert process.returncode == 0
