"""How far long work is, how fast it goes, and how long it will take: one way to show it for all commands."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from fifo_cli.events import Listener, Progressed

PROGRESS_EVERY: Final = 0.2
_PACE_SECONDS: Final = 10.0
_PACE_SECONDS_MIN: Final = 0.5


class Progress:
    """Reports how far work is, a few times a second; ``what`` is what is done to each thing: "written".

    Its rate is that of the last ten seconds.
    """

    def __init__(
        self,
        listener: Listener,
        what: str,
        total: int | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listener = listener
        self._what = what
        self.total = total
        self._clock = clock
        self._marks: deque[tuple[float, int]] = deque([(clock(), 0)])
        self._reported_at = -math.inf

    def at(self, done: int, *, detail: str = "") -> None:
        """Report that ``done`` are done, unless that was reported just now; ``detail`` is added to it."""
        now = self._clock()
        if now - self._reported_at < PROGRESS_EVERY:
            return
        self._reported_at = now
        share = done / self.total if self.total and self.total >= done else None
        self._listener(Progressed(f"{self._text(now, done, self.total)}{detail}", share))

    def _text(self, now: float, done: int, total: int | None) -> str:
        """Return how far it is: "1,200 of 5,000 moved, 310/s, 13 s left".

        Rate and time left are left out until they are known, and after a wait in which nothing flowed.
        """
        while self._marks and now - self._marks[0][0] > _PACE_SECONDS:
            self._marks.popleft()
        self._marks.append((now, done))
        begun, before = self._marks[0]
        text = f"{done:,}" + (f" of {total:,}" if total and total >= done else "") + f" {self._what}"
        if now - begun < _PACE_SECONDS_MIN or done == before:
            return text
        rate = (done - before) / (now - begun)
        text += f", {rate:,.0f}/s" if rate >= 1 else f", {rate * 60:,.0f} a minute"
        return f"{text}, {time_left((total - done) / rate)} left" if total and total > done else text


def time_left(seconds: float) -> str:
    """Return seconds as progress shows them: "2 min 5 s"."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
