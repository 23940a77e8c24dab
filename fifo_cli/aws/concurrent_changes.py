"""Changes that AWS refuses because of another change at the same moment: they are made again after a pause.

deploy changes several resources side by side, and others may do so, too. botocore does not repeat these by
itself. Each of these answers says that nothing was changed (API References: EventBridge PutRule and
PutTargets, IAM CreateRole, CloudWatch Logs CreateLogGroup, Systems Manager PutParameter, Lambda
AddPermission).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Final

TRIES_MAX: Final = 7
FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 4.0
_CODES: Final = frozenset(
    {
        "ConcurrentModification",
        "ConcurrentModificationException",
        "OperationAbortedException",
        "TooManyUpdates",
    }
)


def repeat_concurrent_changes(client: Any) -> None:
    """Let a client repeat such changes from now on."""
    client.meta.events.register("needs-retry.*", _pause)


def is_concurrent(error: Mapping[str, Any]) -> bool:
    """Say whether an answer's ``Error`` is that of another change at the same moment.

    Lambda's ResourceConflictException stands for other things as well, so its text decides.
    """
    code, said = error.get("Code"), str(error.get("Message", "")).lower()
    return code in _CODES or (code == "ResourceConflictException" and "concurrent" in said)


def _pause(response: tuple[Any, dict[str, Any]] | None, attempts: int, **_: Any) -> float | None:
    """Return how long to pause before the next try; None leaves it to botocore."""
    if response is None or attempts >= TRIES_MAX or not is_concurrent(response[1].get("Error", {})):
        return None
    pause: float = min(_LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempts - 1))
    return pause * random.uniform(0.5, 1.0)
