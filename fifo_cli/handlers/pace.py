"""When the next call of the API may begin: ``max_rate``, and the API's own Retry-After."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Pace:
    """The pace of a run's calls; safe to share between threads.

    ``max_rate`` is first attempts a second, None: no limit. ``patience`` is how many seconds in all may be
    waited because the API asked for it.
    """

    def __init__(
        self,
        max_rate: float | None = None,
        *,
        patience: float = float("inf"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_rate = max_rate
        self._patience = patience
        self._clock = clock
        self._lock = threading.Lock()
        self._next_slot = 0.0  # when max_rate allows the next first attempt
        self._resume_at = 0.0  # when the API wants to be called again

    def next_call(self, *, first: bool, fits: Callable[[float], bool]) -> float | None:
        """Take the next call's place: return the seconds until it may begin, None if that does not fit."""
        with self._lock:
            now = self._clock()
            slot = max(self._next_slot, now) if first and self._max_rate else now
            asked = max(0.0, self._resume_at - now)
            pause = max(slot - now, asked)
            if asked > self._patience or not fits(pause):
                return None
            self._patience -= asked
            if first and self._max_rate:
                self._next_slot = slot + 1 / self._max_rate
            return pause

    def resume_after(self, seconds: float) -> None:
        """The API wants no call for so long."""
        with self._lock:
            self._resume_at = max(self._resume_at, self._clock() + seconds)
