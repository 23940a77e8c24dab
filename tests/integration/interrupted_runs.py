"""Runs of the program that a signal interrupts while they wait, and what is wrong with how they ended."""

from __future__ import annotations

import contextlib
import os
import pty
import secrets
import select
import signal
import socket
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.cli_harness import Project, wait_until
from tests.integration.fork_server import ForkServer, Running

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
# The contract's two seconds, and one for the system and the test itself.
WITHIN = 2.0 + 1.0
KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
_LINE = '{"body": "{}", "group": "g"}\n'


class BlackHole:
    """A server that accepts and never answers."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._kept: list[socket.socket] = []
        self.called = threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> BlackHole:
        return self

    def __exit__(self, *raised: object) -> None:
        # Closed under it, a thread would go on waiting, and keep what it accepts then.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for one in (self._socket, *self._kept):
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self._kept.append(connection)
                # The request has begun to arrive, so the client waits for its answer soon.
                select.select([connection], [], [], 5)
                self.called.set()


@dataclass
class Terminal:
    """A pseudo-terminal whose output is read away."""

    path: str
    parent: int
    child: int
    shown: bytearray = field(default_factory=bytearray)

    @classmethod
    def open(cls) -> Terminal:
        parent, child = pty.openpty()
        made = cls(os.ttyname(child), parent, child)
        threading.Thread(target=made._read, daemon=True).start()
        return made

    def answer(self, asked: str, typed: str) -> None:
        """Type something once the program has asked for it."""
        wait_until(lambda: asked.encode() in self.shown)
        os.write(self.parent, typed.encode())

    @property
    def echoes(self) -> bool:
        """Whether what is typed is shown."""
        return bool(termios.tcgetattr(self.child)[3] & termios.ECHO)

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.shown += os.read(self.parent, 4096)


def processes_of(token: str) -> list[int]:
    """Return the processes whose environment has the token."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if token.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
    return found


def left_of(token: str) -> list[int]:
    """Return the processes that still are there after a moment: a killed one takes some time to be gone."""
    end = time.monotonic() + 20
    while (found := processes_of(token)) and time.monotonic() < end:
        time.sleep(0.02)
    return found


def waited_for_a_processor(pid: int) -> float:
    """Return how many seconds a process was ready to run and did not (proc/schedstat in Linux's documents).

    Of its threads the one counts that waited longest.
    """
    waited = [0.0]
    # It may end meanwhile.
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError, IndexError):
                waited.append(int(thread.read_text().split()[1]) / 1e9)
    return max(waited)


def interrupt(pid: int, number: signal.Signals, over: Callable[[], bool]) -> float | None:
    """Send a signal, and return how many seconds the process then takes to end; None if it does not.

    What a busy machine makes it wait for a processor is none of its doing, and left out.
    """
    began, before = time.monotonic(), waited_for_a_processor(pid)
    os.kill(pid, number)
    waited = before
    while not over():
        if time.monotonic() - began > 30:
            os.kill(pid, signal.SIGKILL)
            return None
        waited = max(waited, waited_for_a_processor(pid))
        time.sleep(0.02)
    return time.monotonic() - began - (waited - before)


@dataclass(frozen=True)
class Interrupted:
    """What an interrupted run left."""

    code: int
    seconds: float
    shown: str
    left: Sequence[object]  # processes and files
    echo: bool | None = None  # None: not on a terminal

    def wrong(self, number: signal.Signals) -> str:
        """Say what is wrong with it, "" if nothing is."""
        found = {
            f"took {self.seconds:.1f} s": self.seconds > WITHIN,
            f"exit {self.code}": self.code != CODES[number],
            "a traceback": "Traceback" in self.shown,
            "an internal error": "internal error" in self.shown,
            "nothing said": self.echo is None
            and "interrupt" not in self.shown
            and "finishing" not in self.shown,
            f"left {self.left}": bool(self.left),
            "the terminal does not echo": self.echo is False,
        }
        text = ", ".join(each for each, holds in found.items() if holds)
        return f"{text}\n{self.shown}" if text else ""


@dataclass(frozen=True)
class Place:
    """A project, a way to start the program in it, and a folder for temporary files."""

    project: Project
    fork_server: ForkServer
    tmp: Path

    def interrupted(
        self,
        line: Sequence[str],
        number: signal.Signals,
        env: Mapping[str, str],
        *,
        hangs: Callable[[], bool],
        typed: tuple[str, str] | None = None,
        after: float = 0.1,
    ) -> str:
        """Interrupt a command a moment after it ``hangs``; return what is wrong with how it ended, or "".

        With ``typed`` it runs on a terminal: the text that it shows first, and what is typed then.
        """
        token = secrets.token_hex(8)
        temporary = self.tmp / token
        folder = temporary / "here"
        folder.mkdir(parents=True)
        (folder / "in.jsonl").write_text(_LINE)
        own = {
            "FIFO_CONFIG": str(self.project.config),
            "TMPDIR": str(temporary),
            "TOKEN_OF_THIS_RUN": token,
            "TERM": "xterm",
            **env,
        }
        terminal = Terminal.open() if typed is not None else None
        run = self.fork_server.start(
            folder, line, own, terminal=terminal.path if terminal else "", patient=False
        )
        if terminal is not None and typed is not None:
            terminal.answer(*typed)
        try:
            wait_until(lambda: hangs() or run.over, 30)
        except AssertionError:
            os.kill(run.pid, signal.SIGKILL)
            return f"never got there: {run.wait(5) if terminal is None else terminal.shown}"
        if run.over:
            return f"ended before: {run.wait(5) if terminal is None else terminal.shown}"
        time.sleep(after)
        seconds = interrupt(run.pid, number, lambda: run.over)
        if seconds is None:
            return "did not end"
        code, shown = _result(run, terminal)
        left = [*left_of(token), *(str(path) for path in temporary.rglob("*") if not _may_stay(path))]
        return Interrupted(code, seconds, shown, left, None if terminal is None else terminal.echoes).wrong(
            number
        )

    def in_a_loop(self, lines: Mapping[str, Callable[[], str]]) -> dict[str, str]:
        """Do these side by side; return what is wrong, by line."""
        with ThreadPoolExecutor(6) as pool:
            results = dict(zip(lines, pool.map(lambda run: run(), lines.values()), strict=True))
        return {line: wrong for line, wrong in results.items() if wrong}


def _may_stay(path: Path) -> bool:
    """Say whether a file is one that was there before, or one that an interrupted run has to keep.

    That is what `dump --move` wrote, which may be in no queue any more, and what `load` noted of lines that
    it sent, or may have sent. A run that did neither leaves nothing.
    """
    match path.name:
        case "here" | "in.jsonl":
            return True
        case "moved.jsonl":
            return path.stat().st_size > 0
        case "in.jsonl.loaded":
            return len(path.read_text().splitlines()) > 1
    return False


def _result(run: Running, terminal: Terminal | None) -> tuple[int, str]:
    if terminal is not None:
        return run.code(), terminal.shown.decode(errors="replace")
    ran = run.wait()
    return ran.code, ran.err + ran.out
