"""What the threads of a run pass before each call of the API: open while the breaker is closed.

Calls that are in flight when the breaker opens may still succeed, and close it: a few groups that fail fast
say little beside others whose answers take longer. So the next calls wait until none is in flight. If the
breaker is open even then, the run calls no more. A run that begins with an open breaker makes one call alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from .breaker import Breaker
from .delivery import Attempt, Verdict

_LOOK_SECONDS: Final = 1.0


class CallGate:
    """Counts the calls in flight; ``over`` says that the run has ended, and nobody must wait."""

    def __init__(self, breaker: Breaker, *, over: Callable[[], bool]) -> None:
        self._breaker = breaker
        self._over = over
        self._changed = threading.Condition()
        self._calls = 0
        self._failure: str | None = None
        self.shut_by: str | None = None
        """The last failure, once the run calls no more."""

    def enter(self, group: str) -> bool:
        """Wait until the API may be called for ``group``; False: not in this run. ``leave`` ends a call."""
        while True:
            with self._changed:
                while self._breaker.is_open and self._calls and not self._over():
                    self._changed.wait(_LOOK_SECONDS)
                if self._breaker.is_open and (self._calls or self._failure):
                    self.shut_by = None if self._calls else self._failure
                    return False
                self._calls += 1
            if self._breaker.admits(group):
                return True
            self.leave(group, None)

    def leave(self, group: str, attempt: Attempt | None) -> None:
        """End a call; the breaker has noted what the attempt showed, if there was one."""
        if attempt is None:
            self._breaker.passed_over(group)
        with self._changed:
            self._calls -= 1
            if attempt is not None and attempt.verdict is Verdict.TRANSIENT:
                self._failure = attempt.error
            self._changed.notify_all()
