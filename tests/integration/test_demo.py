"""The demo, as a stranger runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli_harness import clean_environment, wait_until
from tests.integration.interrupted_runs import CODES, WITHIN, interrupt


def start(folder: Path, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "fifo_cli", "demo", *args],
        cwd=folder,
        env=clean_environment({"TMPDIR": str(folder)}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def left(folder: Path) -> list[str]:
    """Return the processes that mention the folder, in their command line or environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            about = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in about:
            found.append((entry / "cmdline").read_text().replace("\0", " "))
    return found


def test_it_ends_well_and_leaves_nothing_behind(tmp_path):
    demo = start(tmp_path)
    out, err = demo.communicate(timeout=120)
    assert (demo.returncode, err) == (0, "")
    assert "OK: 40 items in 4 groups, 39 delivered once and 1 parked" in out
    assert "reason    HTTP 422" in out
    assert list(tmp_path.iterdir()) == []
    assert left(tmp_path) == []


def test_it_takes_items_from_a_file(tmp_path):
    items = tmp_path / "items.jsonl"
    items.write_text("\n".join(f'{{"id": {n}, "who": {{"name": "{n % 3}"}}}}' for n in range(12)))
    demo = start(tmp_path, "--items", str(items), "--group", "who.name")
    out, _ = demo.communicate(timeout=120)
    assert demo.returncode == 0
    assert "OK: 12 items in 3 groups, 11 delivered once and 1 parked" in out


@pytest.mark.parametrize(
    ("after", "number"),
    # A step takes seconds to come to: every signal, and every second or third step.
    [
        ("1. Start", signal.SIGINT),
        ("2. Deploy", signal.SIGTERM),
        ("4. Put", signal.SIGHUP),
        ("6. Let", signal.SIGINT),
        ("8. The API is back", signal.SIGTERM),
        ("12. Check", signal.SIGHUP),
    ],
)
def test_interrupted_it_cleans_up(tmp_path, number, after):
    demo = start(tmp_path)
    assert demo.stdout is not None
    for line in demo.stdout:
        if line.startswith(after):
            break
    # From the eighth step on, all of them together take 0.3 s.
    time.sleep(0 if after.startswith(("8.", "12.")) else 0.3)
    seconds = interrupt(demo.pid, number, lambda: demo.poll() is not None)
    out, err = demo.communicate(timeout=60)
    if after.startswith("12.") and out.lstrip().startswith("OK: "):
        assert demo.returncode == 0  # its work was done before the signal came
    else:
        assert demo.returncode == CODES[number], err
        assert err.strip().endswith("interrupted")
    assert "Traceback" not in err
    assert seconds is not None
    assert seconds < WITHIN
    wait_until(lambda: left(tmp_path) == [])
    assert list(tmp_path.iterdir()) == []


def test_interrupted_twice_it_cleans_up_all_the_same(tmp_path):
    demo = start(tmp_path)
    assert demo.stdout is not None
    for line in demo.stdout:
        if line.startswith("5. Look"):
            break
    for _ in range(5):
        demo.send_signal(signal.SIGINT)
        time.sleep(0.05)
    demo.communicate(timeout=60)
    wait_until(lambda: left(tmp_path) == [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--items", "nothing-here.jsonl"), "nothing-here.jsonl"),
        (("--items", "."), "cannot be read"),
        (("--group", "a =="), "JMESPath"),
        (("-o", "json"), "leave -o out"),
    ],
)
def test_wrong_input_is_refused_before_anything_starts(tmp_path, args, said):
    demo = start(tmp_path, *args)
    out, err = demo.communicate(timeout=60)
    assert (demo.returncode, out) == (2, "")
    assert said in err
