"""When the next call of the API may begin: ``max_rate``, and the API's own Retry-After."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

# Who waits looks up so often, in seconds: whether it is to wait any longer.
_NAP_SECONDS: Final = 0.2


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

    def await_message(
        self,
        *,
        within: float,
        sleep: Callable[[float], None],
        hide: Callable[[float], bool] = lambda seconds: True,
        over: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Take the places of a message's calls, and wait until it may begin: False if that takes more than
        ``within`` seconds, or if all is ``over`` meanwhile.

        ``hide`` hides the message for so many seconds more; if it is not ours any more, nobody waits.
        """
        wait = self.next_message(within=within)
        if wait is None:
            return False
        until = self._clock() + wait
        if wait and hide(wait):
            while (left := until - self._clock()) > 0 and not over():
                sleep(min(left, _NAP_SECONDS))
        return not (wait and over())

    def next_message(self, *, within: float) -> float | None:
        """Take the places of a message's calls: return the seconds until it may begin, None if these are not
        less than ``within``. Its calls follow each other without a wait."""
        with self._lock:
            now = self._clock()
            begin = max(now, self._next_slot, self._resume_at)
            # Threads that wait at the same time wait once.
            asked = max(0.0, self._resume_at - max(now, self._waited_until))
            if asked > self._patience or begin - now >= within:
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
