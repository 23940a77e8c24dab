"""One run of a program, measured by the kernel: wall clock, CPU, peak memory; and what many runs tell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

_SPAWN = Path(__file__).with_name("spawn.py")
_TAIL = 2000
_ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run took: seconds on the wall, seconds of CPU of it alone, MiB of memory at its peak."""

    seconds: float
    cpu: float
    peak_mib: float
    out: str = ""
    err: str = ""


def run(
    command: Sequence[str], env: Mapping[str, str], folder: Path, *, codes: Sequence[int] = (0,)
) -> Sample:
    """Run a command to its end; raises AssertionError, with what it said, if it fails."""
    with tempfile.TemporaryDirectory(prefix="said-") as place:
        out, err = Path(place, "out"), Path(place, "err")
        text = json.loads(_spawn([str(out), str(err), *command], env, folder))
        said, complained = out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8")
        if text["code"] not in codes:
            complaint = f"{said[-_TAIL:]}\n{complained[-_TAIL:]}"
            raise AssertionError(f"{' '.join(command)}: exit {text['code']}\n{complaint}")
    return Sample(text["seconds"], text["cpu"], text["peak_mib"], said, complained)


def _spawn(arguments: Sequence[str], env: Mapping[str, str], folder: Path) -> bytes:
    """Run spawn.py, and end it with all it started if we are ended."""
    process = None
    # A signal while it starts would leave it behind.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_SPAWN), *arguments],
            cwd=folder,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        said, _ = process.communicate()
    except BaseException:
        if process is not None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    assert process.returncode == 0, f"{_SPAWN.name}: exit {process.returncode}"
    return said


def side_by_side(takers: Mapping[str, Callable[[], Sample]], times: int) -> dict[str, list[Sample]]:
    """Take samples in turns, so that what else the machine does falls on all alike."""
    samples: dict[str, list[Sample]] = {name: [] for name in takers}
    for _ in range(times):
        for name, take in takers.items():
            samples[name].append(take())
    return samples


def middle(samples: Sequence[Sample]) -> Sample:
    """Return the medians of wall clock and CPU, and the highest peak."""
    return Sample(
        median(one.seconds for one in samples),
        median(one.cpu for one in samples),
        max(one.peak_mib for one in samples),
        samples[-1].out,
    )
