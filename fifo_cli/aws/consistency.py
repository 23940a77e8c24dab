"""How long AWS takes until a change is seen everywhere, as its documents say.

The one place that decides whether an endpoint is eventually consistent: an emulator on this machine is not.
Nor does it have many servers, of which an empty answer shows only some, or limits of requests a second.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from fifo_cli.model.schedules import RUN_AGE_SECONDS
from fifo_cli.model.urls import host_of, is_this_machine

if TYPE_CHECKING:
    from botocore.client import BaseClient

# "It might take a short time": EventBridge's document for DisableRule gives no number, this is ours.
_RULE_SECONDS: Final = 60


class ConsistencyDelays(NamedTuple):
    """Seconds from a change until all of AWS knows of it.

    ``deleted_queue``: requests to a deleted queue may succeed for 60 s (SQS API Reference, DeleteQueue); the
    rest is for the call itself. ``queue_attributes``, ``queue_retention``: 60 s and 15 minutes
    (SetQueueAttributes). ``queue_counts``: "at least 1 minute" (GetQueueAttributes). ``purge``: "up to 60
    seconds" (PurgeQueue). ``last_run``: from the disabling of a rule until the last asynchronous invocation
    it caused has started. ``tag``: from another process's read of a queue's tag until what it then writes
    shows. That is one call, which botocore may repeat once, and takes time everywhere.
    """

    deleted_queue: float = 75
    queue_attributes: float = 60
    queue_retention: float = 900
    queue_counts: float = 60
    purge: float = 60
    last_run: float = _RULE_SECONDS + RUN_AGE_SECONDS
    tag: float = 0.3


LATE: Final = ConsistencyDelays()
AT_ONCE: Final = ConsistencyDelays(0, 0, 0, 0, 0, 0)


def is_one_server(client: BaseClient) -> bool:
    """Say whether a client's service is one server on this machine: what it does not show is not there."""
    return is_this_machine(host_of(client.meta.endpoint_url))


def delays_of(endpoints: Iterable[str]) -> ConsistencyDelays:
    """Return the delays of services with these endpoints: none only if all are on this machine."""
    return AT_ONCE if all(is_this_machine(host_of(url)) for url in endpoints) else LATE
