"""The user's code in this process, watched from outside: what stops the whole of Python is ended and named.

A call of a C function that keeps Python's lock (a regular expression that backtracks without end, say) stops
every thread, so no limit of ours ends it and no signal is handled. ``faulthandler`` has a thread that needs
no lock: it ends the process with exit code 1 unless a heartbeat moves its deadline on. Nothing can then write
the reason here, so a child process does. It also says so when the user's code ends the process by itself.
What was in flight stays in its queue, and the notes of handlers/code_guard.py lead to its parking.

Run as a script, this file is that child process. It imports the standard library only.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

_BEAT_SECONDS: Final = 1.0
# Code that lets other threads run is ended before, by its own limit.
_GRACE_SECONDS: Final = 2.0
_LIMIT_MIN: Final = 5.0
_DONE: Final = b"done"
_FROZEN: Final = b"Timeout"  # how faulthandler begins
_END_SECONDS: Final = 2.0
_NEXT: Final = (
    "next: run the command again. Nothing is lost: a message that was in flight is in its queue, and visible"
    " when its visibility timeout has ended. If it ends the process again, it is parked."
)


@contextmanager
def watched(name: str, limit: float, folders: Iterable[Path]) -> Iterator[None]:
    """End this process if Python stands still for ``limit`` seconds inside, with the reason on stderr.

    ``name`` is of the user's code, ``folders`` hold the notes of what it handles.
    """
    limit = max(limit + _GRACE_SECONDS, _LIMIT_MIN)
    reading, writing = os.pipe()
    words = [sys.executable, "-I", "-S", __file__, name, f"{limit:g}", *map(str, folders)]
    try:
        reporter = subprocess.Popen(words, stdin=reading, stdout=subprocess.DEVNULL, start_new_session=True)
    except OSError:  # no process to be had: the watch goes without its reason
        reporter = None
    finally:
        os.close(reading)
    heartbeat = _Heartbeat(limit, writing)
    heartbeat.start()
    try:
        with _suspendable(heartbeat):
            yield
    finally:
        heartbeat.stop()
        with contextlib.suppress(OSError):
            os.write(writing, _DONE)
        os.close(writing)
        if reporter is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                reporter.wait(_END_SECONDS)


class _Heartbeat(threading.Thread):
    """Moves the deadline on, as long as Python runs."""

    def __init__(self, limit: float, writing: int) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._limit = limit
        self._writing = writing
        self._ended = threading.Event()
        self._lock = threading.Lock()

    def run(self) -> None:
        while not self._ended.is_set():
            with self._lock:
                faulthandler.dump_traceback_later(self._limit, exit=True, file=self._writing)
            self._ended.wait(_BEAT_SECONDS)

    def stop(self) -> None:
        self._ended.set()
        self.join()
        faulthandler.cancel_dump_traceback_later()

    def suspend(self, number: int, frame: FrameType | None) -> None:
        """Stop the process, as Ctrl-Z asks, without a deadline that would pass meanwhile."""
        with self._lock:
            faulthandler.cancel_dump_traceback_later()
            os.kill(os.getpid(), signal.SIGSTOP)


@contextmanager
def _suspendable(heartbeat: _Heartbeat) -> Iterator[None]:
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTSTP) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTSTP, heartbeat.suspend)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)


def _report(name: str, limit: str, folders: list[str]) -> None:
    """Wait until the watched process is done, is ended by faulthandler, or has ended by itself."""
    said = b""
    while len(said) < len(_FROZEN) and not said.startswith(_DONE) and (more := os.read(0, 64)):
        said += more
    if said.startswith(_DONE):
        return
    subjects = ", ".join(_running(folders))
    if said.startswith(_FROZEN):
        text = f"{name} stopped the whole process for {limit} s, so it was ended"
        _say(f"{text}; it was working on: {subjects}" if subjects else text)
        while os.read(0, 65_536):  # the rest of the dump
            pass
    elif subjects:
        _say(
            f"the process ended while {name} was working on: {subjects}; the code exits or crashes, takes"
            " more memory than there is, or the process was killed"
        )


def _say(text: str) -> None:
    sys.stderr.write(f"error: {text}\n{_NEXT}\n")
    sys.stderr.flush()


def _running(folders: list[str]) -> list[str]:
    """Return what the user's code was working on, by its notes."""
    subjects = []
    for path in [path for folder in folders for path in Path(folder).glob("*")]:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            note = json.loads(path.read_bytes())
            if note.get("running"):
                subjects.append(str(note.get("subject", "")))
    return subjects


if __name__ == "__main__":
    _report(sys.argv[1], sys.argv[2], sys.argv[3:])
