"""Calls that may change something: what has to be done before the first of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

_EVERY_CALL: Final = "before-call"
# Operations whose names begin so change nothing. ReceiveMessage is not one of them: it hides what it returns.
READS: Final = ("Get", "List", "Describe", "Query", "Scan", "BatchGet", "Filter", "Simulate", "Assume")


class ChangeGate:
    """Holds up the calls of the clients that it watches, those that only read aside, until it may go on.

    Safe to share between threads.
    """

    def __init__(self) -> None:
        self._wait: Callable[[], None] | None = None

    def wait_for(self, wait: Callable[[], None]) -> None:
        """Call ``wait`` before each change from now on; the call follows when it returns."""
        self._wait = wait

    def watch(self, client: Any) -> None:
        """Let a client's changes wait."""
        client.meta.events.register(_EVERY_CALL, self._before_call)

    def _before_call(self, model: Any, **_: Any) -> None:
        wait = self._wait
        if wait is not None and not model.name.startswith(READS):
            wait()
