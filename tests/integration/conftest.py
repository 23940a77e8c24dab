"""The test bed's AWS side: clients, a fault-injecting proxy, and real items."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from fifo_cli.aws.session import Aws
from tests.bed import ROOT, Stack
from tests.integration.proxy import Proxy

_WEBHOOKS = ROOT.parent / "shared" / "data" / "webhooks.jsonl"


@pytest.fixture
def clients(stack: Stack) -> Aws:
    """Clients of the stack: ``clients.client("sqs")``."""
    return stack.aws()


@pytest.fixture
def proxy(stack: Stack) -> Iterator[Proxy]:
    """A proxy in front of the stack; set ``proxy.rule`` to break things."""
    with Proxy(stack.endpoint) as between:
        yield between


@pytest.fixture(scope="session")
def webhooks() -> list[dict[str, Any]]:
    """100 real webhook deliveries, 1 to 28 KB each."""
    if not _WEBHOOKS.exists():
        pytest.skip(f"{_WEBHOOKS} is not there: real webhook deliveries, kept outside this repository")
    with _WEBHOOKS.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
