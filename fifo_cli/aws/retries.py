"""Saying aloud when botocore repeats a call, which by itself it does in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fifo_cli.aws.errors import THROTTLED
from fifo_cli.events import Listener, Waiting

if TYPE_CHECKING:
    from botocore.client import BaseClient

_EVENT: Final = "needs-retry"
_ID: Final = "fifo-cli-says-so"


def announce_retries(client: BaseClient, listener: Listener) -> None:
    """Tell the listener of every call of a client that is about to be repeated, and why.

    Of several listeners to one client, the last one given is reported.
    """
    config: Any = client.meta.config

    def text(*, operation: Any, attempts: int, response: Any, caught_exception: Any, **_: Any) -> None:
        retries = config.retries or {}
        reason = _reason(response, caught_exception)
        if reason and attempts < int(retries.get("total_max_attempts", 1)):
            listener(Waiting(client.meta.service_model.service_name, f"{operation.name} again: {reason}"))

    client.meta.events.unregister(_EVENT, unique_id=_ID)
    client.meta.events.register(_EVENT, text, unique_id=_ID)


def _reason(response: Any, caught: Exception | None) -> str:
    """Say why botocore would repeat a call; "" if it would not (Retries guide, "Standard retry mode")."""
    if caught is not None:
        return f"no answer ({type(caught).__name__})"
    status, error = response[0].status_code, response[1].get("Error", {})
    if status == 429 or error.get("Code") in THROTTLED:
        return f"AWS throttles ({error.get('Code', status)})"
    return f"AWS had a fault of its own ({error.get('Code', status)})" if status >= 500 else ""
