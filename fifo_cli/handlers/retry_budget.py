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

# First failures cannot be foreseen. They take time from the other groups, too, and so save up nothing.
_SHARE: Final = 1 / 5


class RetryBudget:
    """Seconds that retries may fail for: a fifth of the time in which the function works and no first try
    fails, and all of its idle time.

    ``most`` is what may be saved up, in seconds; a new budget has that. Of calls side by side each counts
    from the end of the one before: a function is held up by its slowest call.
    """

    def __init__(self, *, most: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = self._balance = most
        self._clock = clock
        self._seen = clock()
        self._lock = threading.Lock()

    def begin(self) -> None:
        """The function begins to work: until now it was idle."""
        with self._lock:
            self._gain(self._passed())

    def allows(self) -> bool:
        """Whether a head that was tried before may have its turn."""
        return self._balance > 0

    def ended(self) -> None:
        """A call that did not fail has ended, or the whole batch has."""
        with self._lock:
            self._gain(_SHARE * self._passed())

    def failed(self, began: float, *, retry: bool) -> None:
        """A call that began then has failed; ``retry``: its head was tried before."""
        with self._lock:
            before, passed = self._seen, self._passed()
            took = self._seen - max(began, before)
            self._gain(_SHARE * passed - (took if retry else _SHARE * took))

    def _passed(self) -> float:
        """Return the seconds that are not accounted for yet."""
        before, self._seen = self._seen, self._clock()
        return self._seen - before

    def _gain(self, seconds: float) -> None:
        self._balance = min(self._most, self._balance + seconds)
