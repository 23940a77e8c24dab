"""How much of a function's time may go to heads that were tried before and fail again.

A retry budget, as load balancers have it. Without one, a few groups whose heads always fail, each after the
API's whole timeout, take most of the time of all functions: the queue hands them out as often as their pauses
end, and no function knows what else is waiting.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

_SHARE: Final = 1 / 3


class RetryBudget:
    """Seconds that retries may fail for: a third of the time in which the function works, and its idle time.

    ``threads`` is how many groups it delivers at a time. ``most`` is what may be saved up, in seconds of one
    thread; a new budget has that.
    """

    def __init__(self, *, threads: int, most: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._threads = threads
        self._most = self._balance = threads * most
        self._clock = clock
        self._seen = clock()
        self._working = False
        self._lock = threading.Lock()

    def begin(self) -> None:
        """The function begins to work: until now it was idle."""
        with self._lock:
            self._settle()
            self._working = True

    def end(self) -> None:
        with self._lock:
            self._settle()
            self._working = False

    def allows(self) -> bool:
        """Whether a head that was tried before may have its turn."""
        with self._lock:
            self._settle()
            return self._balance > 0

    def spend(self, seconds: float) -> None:
        """A head that was tried before failed again, after so long."""
        with self._lock:
            self._balance -= seconds

    def _settle(self) -> None:
        now = self._clock()
        gained = (now - self._seen) * self._threads * (_SHARE if self._working else 1)
        self._balance = min(self._most, self._balance + gained)
        self._seen = now
