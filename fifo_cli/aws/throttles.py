"""How often AWS asked to slow down: botocore obeys by itself, with a pause before the call's next try.

Whoever makes many calls side by side can make fewer (SQS Developer Guide, "FIFO queue quotas").
"""

from __future__ import annotations

import threading
from typing import Any

from fifo_cli.aws.errors import THROTTLED


class Throttles:
    """Counts the throttled tries of the clients that it watches; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    @property
    def count(self) -> int:
        return self._count

    def watch(self, client: Any) -> None:
        """Count a client's throttled tries from now on."""
        client.meta.events.register("needs-retry.*", self._hear)

    def _hear(self, response: tuple[Any, dict[str, Any]] | None, **_: Any) -> None:
        """Hear of a try's answer, None if there was none; what it returns, None, leaves the retry alone."""
        error = response[1].get("Error", {}) if response is not None else {}
        if {error.get("Code"), error.get("QueryErrorCode")} & THROTTLED:
            with self._lock:
                self._count += 1
