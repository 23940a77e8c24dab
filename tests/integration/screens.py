"""A run of the program on a terminal that a test can see: pexpect types, pyte remembers what is shown."""

from __future__ import annotations

import contextlib
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

from tests.bed import clean_environment

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
        environment = clean_environment({"TERM": "xterm-256color", **(env or {})})
        environment.pop("COLUMNS")
        self.written = b""
        self._screen: Any = pyte.Screen(columns, lines)
        self._stream: Any = pyte.ByteStream(self._screen)
        self.child: Any = pexpect.spawn(
            sys.executable,
            ["-m", "fifo_cli", *words],
            cwd=str(folder),
            env=environment,
            dimensions=(lines, columns),
            timeout=30,
        )
        self.before = termios.tcgetattr(self.child.fileno())

    @property
    def lines(self) -> list[str]:
        """What is on the screen."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

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

    def until(self, condition: str | Callable[[], bool], seconds: float = 25.0) -> None:
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

    def end(self, seconds: float = 25.0) -> int:
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
