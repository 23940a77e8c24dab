"""SIGINT and SIGTERM: a command that asked for it finishes what it has in hand, any other is interrupted."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop(threading.Event):
    """Set by the first signal; ``signal`` tells which one."""

    def __init__(self) -> None:
        super().__init__()
        self.signal: int | None = None


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived where nothing waited for it; handled as Ctrl-C is, with another exit code."""


class Signals:
    """What a signal does while a command runs; ``announce`` is called in the handler and takes no lock."""

    def __init__(self, announce: Callable[[str], None]) -> None:
        self._announce = announce
        self._stop: Stop | None = None
        self.received: int | None = None

    @property
    def exit_code(self) -> int:
        """130 after SIGINT, 143 after SIGTERM, 129 after SIGHUP."""
        return 128 + (self.received or signal.SIGINT)

    @contextmanager
    def handled(self) -> Iterator[Signals]:
        """Handle the signals inside; elsewhere than in the main thread leave them alone."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {}
        for number in _SIGNALS:
            # A shell starts background jobs with SIGINT ignored, and nohup means it: leave that so.
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, self._handle)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def stopping(self) -> Iterator[Stop]:
        """Yield a Stop that the first signal inside sets, instead of interrupting."""
        outer, self._stop = self._stop, Stop()
        try:
            yield self._stop
        finally:
            self._stop = outer

    def ignore(self) -> None:
        """Let nothing interrupt any more: what follows is a short, bounded cleaning up."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_IGN)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            # The second one means it: no cleanup that could hang.
            os._exit(128 + number)
        self.received = number
        if self._stop is None:
            raise KeyboardInterrupt if number == signal.SIGINT else Terminated
        self._stop.signal = number
        # Not here: this thread may be inside the event's own lock, as in `stop.wait(2)`.
        threading.Thread(target=self._stop.set, name="stop", daemon=True).start()
        self._announce("finishing what is in hand; a second signal exits at once")
