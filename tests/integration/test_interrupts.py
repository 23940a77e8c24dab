"""The first signal is heard, in every command, at every moment, also while AWS does not answer."""

from __future__ import annotations

import contextlib
import os
import pty
import secrets
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fifo_cli.cli.app import app
from fifo_cli.cli.framework import Commands
from tests.cli_harness import Project, new_name, wait_until
from tests.integration.fork_server import ForkServer, Running

PRELOADED = (
    "fifo_cli.operations.queues.drain",
    "fifo_cli.operations.monitor.watch",
    "fifo_cli.operations.monitor.status",
    "fifo_cli.operations.deploy.deploy",
    "fifo_cli.operations.deploy.destroy",
    "fifo_cli.operations.deploy.rollback",
    "fifo_cli.operations.stream.audit",
    "fifo_cli.operations.stream.replay",
    "fifo_cli.operations.stream.trace",
    "rich.live",
)
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
# The contract's two seconds, and one for the system and the test itself.
WITHIN = 2.0 + 1.0
_ITEM = '{"id": "1", "grp": "g"}'
_LINE = '{"body": "{}", "group": "g"}\n'

# What each command is given so that it calls AWS; more than one line where its ways differ.
CALLS_AWS: dict[str, list[list[str]]] = {
    "plan": [[]],
    "deploy": [["--yes"], ["--dry-run"]],
    "keys list": [[]],
    "keys set": [["api_key"]],
    "rollback": [["--yes"]],
    "pause": [[], ["worker", "--wait"]],
    "resume": [[]],
    "destroy": [["--yes"]],
    "policy": [["deployer"]],
    "depth": [[], ["--watch", "-o", "jsonl"]],
    "peek": [[], ["--queue", "dlq"]],
    "drain": [
        ["--all"], ["--all", "--concurrency", "4"], ["--count", "1", "--via", "lambda"],
        ["--all", "--dry-run"],
    ],
    "redrive": [["--yes"], ["--yes", "--in-order"], ["--dry-run"], ["--yes", "--engine", "native"]],
    "park": [["--yes"]],
    "replay": [["--yes"], ["--yes", "--missing"], ["--yes", "--failed"], ["--dry-run"]],
    "dump": [["out.jsonl"], ["moved.jsonl", "--move", "--yes"], ["-"]],
    "load": [["in.jsonl", "--yes"]],
    "purge": [["--queue", "dlq", "--yes"], ["--queue", "dlq", "--yes", "--no-backup"]],
    "put": [[_ITEM]],
    "status": [[]],
    "logs": [[], ["--follow", "-o", "jsonl"]],
    "trace": [['{"id": "1"}']],
    "audit": [[]],
    "check": [[], ["--format", "prometheus"]],
    "watch": [[]],
}  # fmt: skip
# These never call AWS.
CALLS_NOTHING = {
    "init": ["new"],
    "package": [],
    "schema": [],
    "completion": ["bash"],
    "manual": [],
    "local up": ["--port", "0"],
    "local down": [],
    "local status": [],
    "local reset": [],
    "demo": [],
}
# What is typed there once the program has shown the first.
ON_A_TERMINAL = {"watch": ("", ""), "keys set": ("not shown", "a-value\n")}


def names(commands: Commands = app, before: str = "") -> Iterator[str]:
    """Yield every command of the program."""
    for name, entry in commands.entries.items():
        if isinstance(entry, Commands):
            yield from names(entry, f"{before}{name} ")
        else:
            yield before + name


def test_no_command_is_forgotten() -> None:
    assert set(names()) == set(CALLS_AWS) | set(CALLS_NOTHING)


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

    def close(self) -> None:
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


def waited_for_a_processor(pid: int) -> float:
    """Return how many seconds a process was ready to run and did not (proc/schedstat in Linux's documents).

    Of its threads the one counts that waited longest.
    """
    waited = [0.0]
    for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError, IndexError):
            waited.append(int(thread.read_text().split()[1]) / 1e9)
    return max(waited)


def _interrupt(run: Running, number: signal.Signals) -> float | None:
    """Send a signal, and return how many seconds the run then takes to end; None if it does not.

    What a busy machine makes it wait for a processor is none of its doing, and left out.
    """
    began, before = time.monotonic(), waited_for_a_processor(run.pid)
    run.send(number)
    waited = before
    while not run.over:
        if time.monotonic() - began > 30:
            os.kill(run.pid, signal.SIGKILL)
            return None
        waited = max(waited, waited_for_a_processor(run.pid))
        time.sleep(0.02)
    return time.monotonic() - began - (waited - before)


@dataclass(frozen=True)
class Place:
    """A project, an AWS that does not answer, and a folder for temporary files."""

    project: Project
    zygote: ForkServer
    tmp: Path

    def interrupted(self, line: list[str], number: signal.Signals) -> str:
        """Interrupt a command while AWS does not answer; return what is wrong with how it ended, or ""."""
        hole, token = BlackHole(), secrets.token_hex(8)
        temporary = self.tmp / token
        temporary.mkdir()
        env = {
            "AWS_ENDPOINT_URL": hole.url,
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_DEFAULT_REGION": "us-east-1",
            "FIFO_CONFIG": str(self.project.config),
            "TMPDIR": str(temporary),
            "TOKEN_OF_THIS_RUN": token,
            "TERM": "xterm",
        }
        folder = temporary / "here"
        folder.mkdir()
        (folder / "in.jsonl").write_text(_LINE)
        typed = next(
            (said for name, said in ON_A_TERMINAL.items() if line[: name.count(" ") + 1] == name.split()),
            None,
        )
        terminal = Terminal.open() if typed is not None else None
        path = terminal.path if terminal else ""
        run = self.zygote.start(folder, line, env, terminal=path, patient=False)
        try:
            if terminal is not None and typed is not None:
                terminal.answer(*typed)
            if not hole.called.wait(30):
                return f"never called AWS: {run.wait(60) if run.over else 'still running'}"
            time.sleep(0.1)
            took = _interrupt(run, number)
            if took is None:
                return "did not end"
            code, err, out = self._left(run, terminal)
            wrong = []
            if took > WITHIN:
                wrong.append(f"took {took:.1f} s")
            if code != CODES[number]:
                wrong.append(f"exit {code}")
            if "Traceback" in err or "internal error" in err:
                wrong.append("a traceback or an internal error")
            if terminal is None and not any(word in err for word in ("interrupted", "finishing")):
                wrong.append("nothing said")
            if left := processes_of(token):
                wrong.append(f"left processes {left}")
            left_files = [str(path) for path in temporary.rglob("*") if path.name not in ("here", "in.jsonl")]
            if left_files:
                wrong.append(f"left files {left_files}")
            return f"{', '.join(wrong)}\n{err}{out}" if wrong else ""
        finally:
            hole.close()

    def _left(self, run: Running, terminal: Terminal | None) -> tuple[int, str, str]:
        if terminal is not None:
            code = run.code()
            return code, terminal.shown.decode(errors="replace"), ""
        ran = run.wait()
        return ran.code, ran.err, ran.out


@pytest.fixture
def place(zygote: ForkServer, tmp_path: Path) -> Place:
    tables = {"api": {"keys": {"api_key": "/k"}, "headers": {"X": "{api_key}"}}}
    made = Project.create(tmp_path / "project", new_name(), "http://127.0.0.1:9", None, tables)
    tmp = tmp_path / "tmp"
    tmp.mkdir()
    return Place(made, zygote, tmp)


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_every_command_hears_the_first_signal_while_aws_does_not_answer(
    place: Place, number: signal.Signals
) -> None:
    lines = [[*name.split(), *own] for name, variants in CALLS_AWS.items() for own in variants]

    with ThreadPoolExecutor(6) as pool:
        wrong = dict(
            zip(
                map(" ".join, lines),
                pool.map(lambda line: place.interrupted(line, number), lines),
                strict=True,
            )
        )

    assert {line: said for line, said in wrong.items() if said} == {}
