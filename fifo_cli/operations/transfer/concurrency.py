"""How many calls of a move may be under way at a time: fewer when AWS throttles, more when it does not.

The queues' quotas are shared with the enqueuer and the worker, which are not to suffer from a move (SQS
Developer Guide, "FIFO queue quotas").
"""

from __future__ import annotations

import math
from typing import Final

STEP_SECONDS: Final = 1.0
# One that sends and one that settles: fewer would wait for themselves.
SIZE_MIN: Final = 2


class AdaptiveConcurrency:
    """``size`` calls at a time: half at a throttle, once a second, and one more after a second without.

    ``throttles`` are those before it began.
    """

    def __init__(self, most: int, *, throttles: int = 0) -> None:
        self.size = most
        self._most = self._told = most
        self._least = min(most, SIZE_MIN)
        self._heard = throttles  # at the last change
        self._changed_at = -math.inf

    def hear(self, throttles: int, now: float) -> bool:
        """Hear how often AWS has throttled so far; return whether the crew is smaller than it ever was."""
        if now - self._changed_at < STEP_SECONDS:
            return False
        before = self.size
        self.size = max(self._least, before // 2) if throttles > self._heard else min(self._most, before + 1)
        if throttles > self._heard or self.size > before:
            self._heard, self._changed_at = throttles, now
        if self.size >= self._told:
            return False
        self._told = self.size
        return True
