"""The test bed's AWS side: clients, a fault-injecting proxy, and real items."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fifo_cli.aws.session import Aws
from tests.cli_harness import ROOT, Stack
from tests.integration.emulators import Emulator, moto_server
from tests.integration.fork_server import ForkServer, forker
from tests.integration.proxy import Proxy
from tests.integration.queue_pipeline import Make, Queues, queues

_WEBHOOKS = ROOT.parent / "shared" / "data" / "webhooks.jsonl"


@pytest.fixture(scope="module", autouse=True)
def own_litter() -> Iterator[None]:
    """Let a module hear of what it left open; some later test would fail for it otherwise."""
    yield
    gc.collect()


@pytest.fixture
def clients(request: pytest.FixtureRequest) -> Aws:
    """Clients of the stack, or of the ``emulator`` that the test takes: ``clients.client("sqs")``."""
    return _aws_of(request).aws()


@pytest.fixture(scope="session")
def moto() -> Iterator[Emulator]:
    """moto's server, one for all tests of a worker."""
    with moto_server() as server:
        yield server


@pytest.fixture(params=["ministack", "moto"])
def emulator(request: pytest.FixtureRequest) -> Emulator:
    """The embedded stack, then moto's server: a second opinion on what AWS answers."""
    if request.param == "moto":
        moto: Emulator = request.getfixturevalue("moto")
        return moto
    stack: Stack = request.getfixturevalue("stack")
    return Emulator("ministack", stack.endpoint)


@pytest.fixture
def proxy(request: pytest.FixtureRequest) -> Iterator[Proxy]:
    """A proxy in front of the stack, or the ``emulator``; set ``proxy.rule`` to break things."""
    with Proxy(_aws_of(request).endpoint) as between:
        yield between


def _aws_of(request: pytest.FixtureRequest) -> Stack | Emulator:
    found: Stack | Emulator = request.getfixturevalue(
        "emulator" if "emulator" in request.fixturenames else "stack"
    )
    return found


@pytest.fixture(scope="module")
def fork_server(request: pytest.FixtureRequest) -> ForkServer:
    """A process that forks the program; a module may say in ``DELAYS`` how late AWS shows changes."""
    return forker(getattr(request.module, "DELAYS", None))


@pytest.fixture
def make(stack: Stack, clients: Aws, fork_server: ForkServer, tmp_path: Path) -> Make:
    """Makes the queues of a pipeline, behind a proxy of their own."""
    return lambda **options: queues(tmp_path, stack.endpoint, clients, fork_server, **options)


@pytest.fixture
def one(make: Make) -> Iterator[Queues]:
    with make() as made:
        yield made


@pytest.fixture(scope="session")
def webhooks() -> list[dict[str, Any]]:
    """100 real webhook deliveries, 1 to 28 KB each."""
    if not _WEBHOOKS.exists():
        pytest.skip(f"{_WEBHOOKS} is not there: real webhook deliveries, kept outside this repository")
    with _WEBHOOKS.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
