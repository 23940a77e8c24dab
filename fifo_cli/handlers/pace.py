"""When the next call of the API may begin: ``max_rate``, and the API's own Retry-After."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Pace:
    """The pace of a function's calls; safe to share between threads.

    ``max_rate`` is calls a second, None: no limit. ``calls`` is how many a message makes, one for each API.
    ``patience`` is how many seconds in all may be waited because the API asked for it.
    """

    def __init__(
        self,
        max_rate: float | None = None,
        *,
        calls: int = 1,
        patience: float = float("inf"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval = 1 / max_rate if max_rate else 0.0
        self._calls = calls
        self._patience = patience
        self._clock = clock
        self._lock = threading.Lock()
        self._next_slot = 0.0  # when max_rate allows the next call
        self._resume_at = 0.0  # when the API wants to be called again
        self._waited_until = 0.0  # the end of what was taken from the patience

    def next_message(self, *, fits: Callable[[float], bool]) -> float | None:
        """Take the places of a message's calls: return the seconds until it may begin, None if that does not
        fit. Its calls follow each other without a wait."""
        with self._lock:
            now = self._clock()
            begin = max(now, self._next_slot, self._resume_at)
            # Threads that wait at the same time wait once.
            asked = max(0.0, self._resume_at - max(now, self._waited_until))
            if asked > self._patience or not fits(begin - now):
                return None
            self._patience -= asked
            self._waited_until = max(self._waited_until, self._resume_at)
            self._next_slot = begin + self._calls * self._interval
            return begin - now

    def count_call(self) -> None:
        """Count a further call of a message, which cannot wait: the next ones begin later."""
        with self._lock:
            self._next_slot = max(self._next_slot, self._clock()) + self._interval

    def wait(self) -> float:
        """Return the seconds until a call may begin."""
        with self._lock:
            return max(0.0, max(self._next_slot, self._resume_at) - self._clock())

    def resume_after(self, seconds: float) -> None:
        """The API wants no call for so long."""
        with self._lock:
            self._resume_at = max(self._resume_at, self._clock() + seconds)
