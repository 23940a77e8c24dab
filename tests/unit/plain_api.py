"""An API and two queues as most unit tests of the worker need them."""

from __future__ import annotations

from fifo_cli.handlers.breaker import Breaker
from fifo_cli.handlers.runtime import Api

API = Api(
    name="api.test",
    url="https://api.test/orders",
    method="POST",
    timeout=10,
    headers={},
    keys={},
    success=("2xx",),
    permanent=("422",),
    on_permanent="park",
    give_up_after=0,
)
URLS = {"main": "main", "dlq": "dlq"}


def no_breaker() -> Breaker:
    """Make one that never opens."""
    return Breaker(0, first=10, longest=300)
