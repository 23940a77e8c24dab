"""A run of the program on a terminal that a test can see: pexpect types, pyte remembers what is shown."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pexpect
import pyte
from pexpect import fdpexpect

from tests.cli_harness import clean_environment
from tests.integration.fork_server import Running, can_be_forked, forker

# What leaves the alternate screen (xterm's private mode 1049), and what shows the cursor again.
LEAVE = b"\x1b[?1049l"
ENTER = b"\x1b[?1049h"
SHOW_CURSOR = b"\x1b[?25h"


class Screen:
    """The program on a terminal of so many columns and lines."""

    def __init__(
        self,
        words: Sequence[str],
        folder: Path,
        *,
        columns: int = 80,
        lines: int = 24,
        env: Mapping[str, str] | None = None,
    ) -> None:
        given = {"TERM": "xterm-256color", **(env or {})}
        self.written = b""
        self._screen: Any = pyte.Screen(columns, lines)
        self._stream: Any = pyte.ByteStream(self._screen)
        self.child: Any = (_forked if can_be_forked(given) else _started)(
            words, folder, given, (lines, columns)
        )
        self.before = termios.tcgetattr(self.child.fileno())

    @property
    def lines(self) -> list[str]:
        """What is on the screen."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def unbroken(self) -> str:
        """What is on the screen, with a command in backticks that went on in the next row as one."""
        rows: list[str] = []
        for row in self._screen.display:
            if rows and rows[-1].count("`") % 2 and rows[-1][-1:].strip():
                rows[-1] += row
            else:
                rows.append(row)
        return "\n".join(map(str.rstrip, rows))

    def read(self, seconds: float = 0.05) -> bool:
        """Take in what was written meanwhile; False at the end."""
        try:
            data = self.child.read_nonblocking(1 << 16, seconds)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.written += data
        self._stream.feed(data)
        return True

    def until(self, condition: str | Callable[[], bool], seconds: float = 60.0) -> None:
        """Read until a text is on the screen, or a condition holds."""
        holds: Callable[[], bool] = (
            partial(self._shows, condition) if isinstance(condition, str) else condition
        )
        deadline = time.monotonic() + seconds
        while not holds():
            going = self.read()
            assert going or holds(), f"it ended before {condition!r}:\n{self.text}"
            assert time.monotonic() < deadline, f"{condition!r} did not come:\n{self.text}"

    def _shows(self, text: str) -> bool:
        return text in self.text

    def type(self, text: str) -> None:
        self.child.send(text)

    def resize(self, columns: int, lines: int) -> None:
        self._screen.resize(lines, columns)
        self.child.setwinsize(lines, columns)

    def end(self, seconds: float = 60.0) -> int:
        """Read to the end and return the exit code."""
        deadline = time.monotonic() + seconds
        while self.read(0.2):
            assert time.monotonic() < deadline, f"it did not end:\n{self.text}"
        self.child.wait()
        assert self.child.exitstatus is not None, f"killed by signal {self.child.signalstatus}"
        return int(self.child.exitstatus)

    def attributes(self) -> list[object]:
        """The terminal's settings, as they are now."""
        return list(termios.tcgetattr(self.child.fileno()))


class _Child(fdpexpect.fdspawn):  # type: ignore[misc]  # pexpect has no types
    """A forked run on the other side of a pseudo-terminal, with what a test needs of pexpect.spawn."""

    exitstatus: int | None = None
    signalstatus: int | None = None

    def __init__(self, terminal: int, other: int, running: Running) -> None:
        super().__init__(terminal, timeout=30)
        self._running = running
        self._other: int | None = other  # open as long as the run may not have opened it
        self.pid = running.pid

    def read_nonblocking(self, size: int = 1, timeout: float = -1) -> bytes:
        try:
            read: bytes = super().read_nonblocking(size, timeout)
        except pexpect.TIMEOUT:
            if self._running.over:
                self._hang_up()
            raise
        return read

    def _hang_up(self) -> None:
        if self._other is not None:
            os.close(self._other)
            self._other = None

    def kill(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self) -> None:
        code = self._running.code()
        self.exitstatus, self.signalstatus = (code, None) if code >= 0 else (None, -code)

    def setwinsize(self, lines: int, columns: int) -> None:
        termios.tcsetwinsize(self.child_fd, (lines, columns))

    def sendintr(self) -> None:
        self.send("\x03")

    def close(self, force: bool = False) -> None:
        if not self._running.over:
            with contextlib.suppress(ProcessLookupError):
                self.kill(signal.SIGKILL)
        self._hang_up()
        super().close()


def _forked(words: Sequence[str], folder: Path, env: Mapping[str, str], size: tuple[int, int]) -> _Child:
    """Run it in a process forked from one that has imported all it needs: it starts in milliseconds."""
    terminal, other = os.openpty()
    termios.tcsetwinsize(terminal, size)
    running = forker().start(folder, words, {**env, "COLUMNS": ""}, terminal=os.ttyname(other))
    return _Child(terminal, other, running)


def _started(words: Sequence[str], folder: Path, env: Mapping[str, str], size: tuple[int, int]) -> Any:
    environment = clean_environment(env)
    environment.pop("COLUMNS")
    return pexpect.spawn(
        sys.executable,
        ["-m", "fifo_cli", *words],
        cwd=str(folder),
        env=environment,
        dimensions=size,
        timeout=30,
    )


@contextmanager
def shown(
    *words: str, folder: Path, columns: int = 80, lines: int = 24, env: Mapping[str, str] | None = None
) -> Iterator[Screen]:
    """Run a command line on a terminal, for the block inside."""
    screen = Screen(words, folder, columns=columns, lines=lines, env=env)
    try:
        yield screen
    finally:
        with contextlib.suppress(OSError, pexpect.ExceptionPexpect):
            screen.child.close(force=True)
