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
import time
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, TextIO

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
        self.args = tuple(args)
        self.given, self.out, self.err = given, out, err
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
            raise AssertionError(f"{' '.join(self.args)} did not end; so far: {self.err.read_text()}")

    def wait(self, timeout: float = 60.0) -> Forked:
        """Return what the run left, once it ends; the code of a killed one is minus the signal."""
        self.finish(timeout)
        out, err = (path.read_bytes().decode() for path in (self.out, self.err))
        ran = Forked(self.args, self._code, out, err, self._peak_kib)
        for path in (self.given, self.out, self.err):
            path.unlink()
        return ran

    @property
    def over(self) -> bool:
        return self._ended.is_set()

    def ends_within(self, seconds: float | None) -> bool:
        return self._ended.wait(seconds)

    def code(self, timeout: float = 60.0) -> int:
        """Return the exit code of a run on a terminal, once it ends; of a killed one minus the signal."""
        assert self._ended.wait(timeout), f"{' '.join(self.args)} did not end"
        return self._code

    def begun(self, pid: int) -> None:
        self._pid = pid
        self._begun.set()

    def ended(self, code: int, peak_kib: int) -> None:
        self._code, self._peak_kib = code, peak_kib
        self._begun.set()
        self._ended.set()


class ForkedProcess:
    """A forked run with pipes, and what the tests use of ``subprocess.Popen[str]``."""

    def __init__(self, running: Running, stdin: TextIO | None, stdout: TextIO, stderr: TextIO) -> None:
        self._running = running
        self.pid = running.pid
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self._read: dict[TextIO, list[str]] = {}
        self._threads: list[threading.Thread] = []

    @property
    def returncode(self) -> int | None:
        return self._running.code() if self._running.over else None

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code, once it ends; of a killed one minus the signal."""
        if not self._running.ends_within(timeout):
            raise subprocess.TimeoutExpired("a forked run", timeout or 0)
        return self._running.code()

    def communicate(self, input: str | None = None, timeout: float | None = None) -> tuple[str, str]:
        """Write all that it reads, then return all that it printed, once it ends."""
        end = None if timeout is None else time.monotonic() + timeout
        if not self._threads:
            for stream in (self.stdout, self.stderr):
                self._read[stream] = []
                thread = threading.Thread(target=self._keep, args=(stream,), daemon=True)
                self._threads.append(thread)
                thread.start()
        if self.stdin is not None and not self.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self.stdin.write(input or "")
                self.stdin.close()
        for thread in self._threads:
            thread.join(None if end is None else max(0.0, end - time.monotonic()))
            if thread.is_alive():
                raise subprocess.TimeoutExpired("a forked run", timeout or 0)
        self.wait(None if end is None else max(0.0, end - time.monotonic()))
        out, err = ("".join(self._read[stream]) for stream in (self.stdout, self.stderr))
        return out, err

    def send_signal(self, number: int) -> None:
        if not self._running.over:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> ForkedProcess:
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for its end, and close its pipes; what another process still writes to is left."""
        self.wait()
        for thread in self._threads:
            thread.join(5)
        if not any(thread.is_alive() for thread in self._threads):
            for stream in filter(None, (self.stdin, self.stdout, self.stderr)):
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def _keep(self, stream: TextIO) -> None:
        self._read[stream].append(stream.read())
        stream.close()


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
        number = next(self._numbers)
        given, out, err = (Path(self._files.name, f"{number}.{name}") for name in ("in", "out", "err"))
        given.write_bytes(input)
        running = Running(args, given, out, err)
        self._order(number, running, folder, env, terminal=terminal, patient=patient)
        return running

    def popen(
        self,
        folder: Path,
        args: Sequence[str],
        env: Mapping[str, str],
        *,
        patient: bool = True,
        reads: bool = False,
        session: bool = False,
    ) -> ForkedProcess:
        """Run a command line in a folder, in the background, with pipes.

        Unless it ``reads``, its stdin is empty. It may have a ``session`` of its own.
        """
        stdin: TextIO | None = None
        (stdout, out), (stderr, err) = os.pipe(), os.pipe()
        theirs = [os.open(os.devnull, os.O_RDONLY), out, err]
        if reads:
            os.close(theirs[0])
            theirs[0], given = os.pipe()
            stdin = os.fdopen(given, "w", encoding="utf-8")
        running = Running(args, *(Path(f"/proc/{os.getpid()}/fd/{one}") for one in theirs))
        try:
            self._order(next(self._numbers), running, folder, env, patient=patient, session=session)
            _ = running.pid  # it has opened its pipes
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        return ForkedProcess(
            running, stdin, os.fdopen(stdout, encoding="utf-8"), os.fdopen(stderr, encoding="utf-8")
        )

    def _order(
        self,
        number: int,
        running: Running,
        folder: Path,
        env: Mapping[str, str],
        *,
        terminal: str = "",
        patient: bool,
        session: bool = False,
    ) -> None:
        order = {
            "number": number,
            "folder": str(folder),
            "args": list(running.args),
            "env": clean_environment(env),
            "given": str(running.given),
            "out": str(running.out),
            "err": str(running.err),
            "terminal": terminal,
            "session": session,
            "patient": patient,
            "delays": self._delays,
        }
        with self._lock:
            self._runs[number] = running
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()

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
        if order["terminal"] or order["session"]:
            os.setsid()  # a terminal that is opened next becomes this session's
        answers = os.dup(1)
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
        os.write(answers, (json.dumps((order["number"], os.getpid(), None, 0)) + "\n").encode())
        os.close(answers)
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
