"""How long to wait for a connection that comes and goes, for everything that asks again and again."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from fifo_cli.aws.errors import is_passing
from fifo_cli.aws.retries import growing_pause
from fifo_cli.errors import FifoError
from fifo_cli.events import Listener, Noted, Warned

# After a failure the time between two tries doubles up to this.
LONGEST_PAUSE: Final = 30.0


class PollBackoff:
    """Says how long to wait after each failure, and reports the first one and the end of them."""

    def __init__(self, period: timedelta, listener: Listener) -> None:
        self._period = period
        self._listener = listener
        self._reached = False
        self._failures = 0

    def answered(self) -> None:
        """Note that AWS answers, for the first time or again."""
        self._reached = True
        if self._failures:
            self._failures = 0
            self._listener(Noted("AWS answers again"))

    def failed(self, error: FifoError) -> float:
        """Return the seconds to wait; raise ``error`` if AWS never answered, or refused for good."""
        if not (self._reached and is_passing(error)):
            raise error
        self._failures += 1
        if self._failures == 1:
            self._listener(Warned(f"{error.message}; trying again until it answers"))
        return growing_pause(self._failures + 1, self._period.total_seconds(), LONGEST_PAUSE)
