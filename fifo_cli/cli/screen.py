"""The whole terminal as a screen: entered, drawn on, left as it was found in every case."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.text import Text

_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
# A terminal narrower or lower than this shows nothing anyone could read.
SIZE_MIN: Final = (20, 5)


class Screen:
    """A terminal in its alternate screen, keys unechoed; made by :func:`screen`."""

    def __init__(self, *, color: bool) -> None:
        self._color = color
        self._stdin = sys.stdin.fileno()
        self._before: list[Any] = []
        self._live: Any = None
        self.ended: int | None = None
        self._suspended = False

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines, as they are now."""
        try:
            found = os.get_terminal_size(sys.stdout.fileno())
        except OSError:
            found = shutil.get_terminal_size((80, 24))
        return max(found.columns, SIZE_MIN[0]), max(found.lines, SIZE_MIN[1])

    @property
    def plain(self) -> bool:
        """Whether the terminal's encoding has no more than ASCII."""
        encoding = (sys.stdout.encoding or "ascii").lower().replace("_", "-")
        return not encoding.startswith("utf")

    def draw(self, text: Text) -> None:
        """Show a text in place of what was there."""
        self._live.update(text, refresh=True)

    def key(self, seconds: float) -> str | None:
        """Wait for a key; "" if nothing was typed, None if the terminal is gone."""
        try:
            ready, _, _ = select.select([self._stdin], [], [], seconds)
            if self._suspended:
                self._suspend()
            if not ready:
                return ""
            typed = os.read(self._stdin, 64)
        except OSError:
            return None
        if not typed:
            return None
        # What a function key or a paste sends is more than one character, and none of our keys.
        return typed.decode("ascii", "replace") if len(typed) == 1 else ""

    def enter(self) -> None:
        """Take the terminal."""
        from rich.console import Console
        from rich.live import Live

        self._before = termios.tcgetattr(self._stdin)
        tty.setcbreak(self._stdin)
        # COLUMNS and LINES would fix the size, when the window changes.
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        console = Console(
            file=sys.stdout, no_color=not self._color, highlight=False, markup=False, _environ=environment
        )
        self._live = Live(
            console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self._live.start()

    def leave(self) -> None:
        """Give the terminal back as it was."""
        try:
            if self._live is not None:
                self._live.stop()
        finally:
            self._live = None
            with suppress(OSError, termios.error):
                termios.tcsetattr(self._stdin, termios.TCSADRAIN, self._before)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; the loop that draws acts on it."""
        if number == signal.SIGTSTP:
            self._suspended = True
        else:
            self.ended = self.ended or number

    def _suspend(self) -> None:
        """Stop as Ctrl-Z asks, with the terminal given back, and take it again afterwards."""
        self._suspended = False
        self.leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        self.enter()


@contextmanager
def screen(*, color: bool) -> Iterator[Screen]:
    """Take the terminal for the block inside; signals set ``ended`` there instead of killing the process."""
    made = Screen(color=color)
    handlers: dict[int, Callable[..., object] | int | None] = {
        number: signal.signal(number, made.handle) for number in (*_ENDING, signal.SIGTSTP)
    }
    try:
        made.enter()
        try:
            yield made
        finally:
            with suppress(OSError):
                made.leave()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def is_screen() -> bool:
    """Say whether there is a terminal that can be drawn on."""
    streams = (sys.stdin, sys.stdout)
    return all(one is not None and one.isatty() for one in streams) and not is_dumb()


def is_dumb() -> bool:
    """Say whether the terminal cannot move its cursor."""
    return os.environ.get("TERM", "dumb") in ("", "dumb", "unknown")
