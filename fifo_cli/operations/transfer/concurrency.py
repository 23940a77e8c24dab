"""How many calls of a move may run at a time: fewer when AWS throttles, more when it does not.

The enqueuer and the worker share the queues' quotas and must not suffer from a move (SQS Developer Guide,
"FIFO queue quotas").
"""

from __future__ import annotations

import math
from typing import Final

STEP_SECONDS: Final = 1.0
# One call that sends and one that deletes: fewer would wait for each other.
SIZE_MIN: Final = 2


class AdaptiveConcurrency:
    """``size`` calls at a time: halved at a throttle, at most once a second; one more after a second without.

    ``throttles`` is how often AWS had throttled before the move began.
    """

    def __init__(self, most: int, *, throttles: int = 0) -> None:
        self.size = most
        self._most = self._reported = most
        self._least = min(most, SIZE_MIN)
        self._throttles = throttles  # at the last change
        self._changed_at = -math.inf

    def adapt(self, throttles: int, now: float) -> bool:
        """Adapt to how often AWS has throttled so far; return whether ``size`` is now at its smallest yet."""
        if now - self._changed_at < STEP_SECONDS:
            return False
        before = self.size
        self.size = (
            max(self._least, before // 2) if throttles > self._throttles else min(self._most, before + 1)
        )
        if throttles > self._throttles or self.size > before:
            self._throttles, self._changed_at = throttles, now
        if self.size >= self._reported:
            return False
        self._reported = self.size
        return True
