"""Calls that are repeated: how long to pause, and what hears of botocore's retries or adds to them.

botocore repeats in silence what AWS throttles, what gets no answer, and what is a fault of AWS's own (Retries
guide, "Standard retry mode"). Hooks on its event ``needs-retry`` say so aloud, count the throttles, and let
it repeat changes that another change at the same moment stopped.
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from fifo_cli.aws.errors import THROTTLED

if TYPE_CHECKING:
    from botocore.client import BaseClient

_EVENT: Final = "needs-retry"
_EVERY_CALL: Final = f"{_EVENT}.*"
_ID: Final = "fifo-cli-says-so"
CHANGE_TRIES_MAX: Final = 7
CHANGE_FIRST_PAUSE: Final = 0.1
_CHANGE_LONGEST_PAUSE: Final = 4.0
_CONCURRENT_CHANGE: Final = frozenset(
    {
        "ConcurrentModification",
        "ConcurrentModificationException",
        "OperationAbortedException",
        "TooManyUpdates",
    }
)


def growing_pause(tries: int, first: float, longest: float = math.inf) -> float:
    """Return the seconds to wait after so many tries: twice as long each time, up to ``longest``."""
    return min(longest, first * 2.0 ** min(tries - 1, 100))


def spread(seconds: float) -> float:
    """Return half the seconds at least, by chance: who failed at the same moment does not return together."""
    return seconds * random.uniform(0.5, 1.0)


def announce_retries(client: BaseClient, listener: Callable[[str, str], None]) -> None:
    """Report every call of a client that is about to be repeated: its service, and which call and why.

    Of several listeners to one client, only the last one given hears of it.
    """
    config: Any = client.meta.config

    def text(*, operation: Any, attempts: int, response: Any, caught_exception: Any, **_: Any) -> None:
        retries = config.retries or {}
        reason = _reason(response, caught_exception)
        if reason and attempts < int(retries.get("total_max_attempts", 1)):
            listener(client.meta.service_model.service_name, f"{operation.name} again: {reason}")

    client.meta.events.unregister(_EVENT, unique_id=_ID)
    client.meta.events.register(_EVENT, text, unique_id=_ID)


def _reason(response: Any, caught: Exception | None) -> str:
    """Say why botocore would repeat a call; "" if it would not."""
    if caught is not None:
        return f"no answer ({type(caught).__name__})"
    status, error = response[0].status_code, response[1].get("Error", {})
    if status == 429 or error.get("Code") in THROTTLED:
        return f"AWS throttles ({error.get('Code', status)})"
    return f"AWS had a fault of its own ({error.get('Code', status)})" if status >= 500 else ""


class Throttles:
    """Counts the throttled tries of the clients that it watches; safe to share between threads.

    Whoever makes many calls side by side can make fewer (SQS Developer Guide, "FIFO queue quotas").
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    @property
    def count(self) -> int:
        return self._count

    def watch(self, client: Any) -> None:
        """Count a client's throttled tries from now on."""
        client.meta.events.register(_EVERY_CALL, self._hear)

    def _hear(self, response: tuple[Any, dict[str, Any]] | None, **_: Any) -> None:
        """Hear of a try's answer, None if there was none; what it returns, None, leaves the retry alone."""
        error = response[1].get("Error", {}) if response is not None else {}
        if {error.get("Code"), error.get("QueryErrorCode")} & THROTTLED:
            with self._lock:
                self._count += 1


def repeat_concurrent_changes(client: Any) -> None:
    """Let a client repeat changes that AWS refuses because of another change at the same moment.

    deploy changes several resources side by side, and others may do so, too. Each of these answers says that
    nothing was changed (API References: EventBridge PutRule and PutTargets, IAM CreateRole, CloudWatch Logs
    CreateLogGroup, Systems Manager PutParameter, Lambda AddPermission).
    """
    client.meta.events.register(_EVERY_CALL, _pause_of_change)


def is_concurrent(error: Mapping[str, Any]) -> bool:
    """Say whether an answer's ``Error`` is that of another change at the same moment.

    Lambda's ResourceConflictException stands for other things as well, so its text decides.
    """
    code, text = error.get("Code"), str(error.get("Message", "")).lower()
    return code in _CONCURRENT_CHANGE or (code == "ResourceConflictException" and "concurrent" in text)


def _pause_of_change(response: tuple[Any, dict[str, Any]] | None, attempts: int, **_: Any) -> float | None:
    """Return how long to pause before the next try; None leaves it to botocore."""
    if response is None or attempts >= CHANGE_TRIES_MAX or not is_concurrent(response[1].get("Error", {})):
        return None
    return spread(growing_pause(attempts, CHANGE_FIRST_PAUSE, _CHANGE_LONGEST_PAUSE))
