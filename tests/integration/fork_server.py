"""Runs of the program that start in milliseconds: a process that has imported it all forks one for each.

A run is a process of its own, with its own pid, to be killed and waited for as any other.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from fifo_cli.aws.consistency import AT_ONCE, ConsistencyDelays
from tests.cli_harness import Ran, clean_environment

# A test that kills a command at each of its requests runs it a hundred times, and nobody else takes the lock
# at the same moment.
ALONE = AT_ONCE._replace(tag=0.01)
_IMPORTS = ("tests.patient", "tests.integration.whole_program")


@dataclass(frozen=True)
class Forked(Ran):
    """What a forked run left, and the most memory it took."""

    peak_kib: int = 0

    def ok(self) -> Forked:
        super().ok()
        return self


class Running:
    """A forked run that goes on; ``pid`` is there once it has begun."""

    def __init__(self, args: Sequence[str], given: Path, out: Path, err: Path) -> None:
        self._args = tuple(args)
        self._given, self._out, self._err = given, out, err
        self._begun, self._ended = threading.Event(), threading.Event()
        self._pid = self._code = self._peak_kib = 0

    @property
    def pid(self) -> int:
        # The first run begins when the server has imported everything.
        assert self._begun.wait(60)
        return self._pid

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def finish(self, timeout: float = 60.0) -> None:
        """Wait until the run ends."""
        if not self._ended.wait(timeout):
            raise AssertionError(f"{' '.join(self._args)} did not end; so far: {self._err.read_text()}")

    def wait(self, timeout: float = 60.0) -> Forked:
        """Return what the run left, once it ends; the code of a killed one is minus the signal."""
        self.finish(timeout)
        out, err = (path.read_bytes().decode() for path in (self._out, self._err))
        ran = Forked(self._args, self._code, out, err, self._peak_kib)
        for path in (self._given, self._out, self._err):
            path.unlink()
        return ran

    @property
    def over(self) -> bool:
        return self._ended.is_set()

    def code(self, timeout: float = 60.0) -> int:
        """Return the exit code of a run on a terminal, once it ends; of a killed one minus the signal."""
        assert self._ended.wait(timeout), f"{' '.join(self._args)} did not end"
        return self._code

    def begun(self, pid: int) -> None:
        self._pid = pid
        self._begun.set()

    def ended(self, code: int, peak_kib: int) -> None:
        self._code, self._peak_kib = code, peak_kib
        self._ended.set()


class ForkServer:
    """The process that forks; safe to use from several threads."""

    def __init__(self) -> None:
        self._delays: ConsistencyDelays | None = None
        self._lock = threading.Lock()
        self._runs: dict[int, Running] = {}
        self._numbers = count(1)
        # Not in the folders of the runs: tests look at what is left there.
        self._files = tempfile.TemporaryDirectory(prefix="runs-")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.fork_server"],
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def with_delays(self, delays: ConsistencyDelays | None) -> ForkServer:
        """Return the same process; the runs that it forks for that take ``delays`` for AWS's."""
        other = copy(self)
        other._delays = delays
        return other

    def start(
        self,
        folder: Path,
        args: Sequence[str],
        env: Mapping[str, str],
        *,
        terminal: str = "",
        input: bytes = b"",
        patient: bool = True,
    ) -> Running:
        """Run a command line in a folder, in the background; with a terminal's path on that, in a session.

        Without a terminal it reads ``input``. A ``patient`` run does not take the embedded stack for
        silent after a signal (tests/patient.py).
        """
        with self._lock:
            number = next(self._numbers)
            given, out, err = (Path(self._files.name, f"{number}.{name}") for name in ("in", "out", "err"))
            given.write_bytes(input)
            running = self._runs[number] = Running(args, given, out, err)
            order = {
                "number": number,
                "folder": str(folder),
                "args": list(args),
                "env": clean_environment(env),
                "out": str(out),
                "err": str(err),
                "terminal": terminal,
                "given": str(given),
                "patient": patient,
                "delays": self._delays,
            }
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        return running

    def run(
        self,
        folder: Path,
        args: Sequence[str],
        env: Mapping[str, str],
        *,
        input: str | bytes | None = None,
        timeout: float = 60.0,
        patient: bool = True,
    ) -> Forked:
        """Run a command line in a folder and wait for it; it is killed where it does not end."""
        given = input.encode() if isinstance(input, str) else input or b""
        running = self.start(folder, args, env, input=given, patient=patient)
        try:
            return running.wait(timeout)
        except AssertionError:
            running.send(signal.SIGKILL)
            raise

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._files.cleanup()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            number, pid, code, peak_kib = json.loads(line)
            if code is None:
                self._runs[number].begun(pid)
            else:
                self._runs.pop(number).ended(code, peak_kib)


def can_be_forked(env: Mapping[str, str]) -> bool:
    """Say whether no variable is among these that the interpreter reads when it starts."""
    return not any(name.startswith(("PYTHON", "LANG", "LC_")) for name in env)


@cache
def _server() -> ForkServer:
    server = ForkServer()
    atexit.register(server.close)
    return server


def forker(delays: ConsistencyDelays | None = None) -> ForkServer:
    """Return the process that forks the runs of tests; its runs take ``delays`` for AWS's."""
    return _server().with_delays(delays)


def _serve() -> None:
    """Read orders from stdin; a thread waits for each child."""
    import importlib

    for name in _IMPORTS:
        importlib.import_module(name)
    # What is imported stays: a fork need not look through it for garbage, which would copy its pages besides.
    gc.collect()
    gc.freeze()
    lock = threading.Lock()
    # Not the main thread's stdin and stdout: a child must not read or flush what is the parent's.
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(order)
        _tell(lock, order["number"], pid, None, 0)
        threading.Thread(target=_report, args=(lock, order["number"], pid)).start()


def _report(lock: threading.Lock, number: int, pid: int) -> None:
    _, status, used = os.wait4(pid, 0)
    _tell(lock, number, pid, os.waitstatus_to_exitcode(status), used.ru_maxrss)


def _tell(lock: threading.Lock, *document: int | None) -> None:
    with lock:
        os.write(1, (json.dumps(document) + "\n").encode())


def _become(order: dict[str, Any]) -> None:
    code = 70
    try:
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["env"])
        if order["terminal"]:
            os.setsid()  # the terminal that is opened next becomes this session's
        write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        for descriptor, path, flags in (
            (0, order["terminal"] or order["given"], os.O_RDWR if order["terminal"] else os.O_RDONLY),
            (1, order["terminal"] or order["out"], os.O_RDWR if order["terminal"] else write),
            (2, order["terminal"] or order["err"], os.O_RDWR if order["terminal"] else write),
        ):
            opened = os.open(path, flags, 0o600)
            os.dup2(opened, descriptor)
            if opened > 2:
                os.close(opened)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - it lives as long as the process
        from fifo_cli.cli.app import main
        from tests.patient import patient_signals

        signals = patient_signals() if order["patient"] else None
        delays = ConsistencyDelays(*order["delays"]) if order["delays"] else None
        code = main(order["args"], signals=signals, delays=delays)
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
