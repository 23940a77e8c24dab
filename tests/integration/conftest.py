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

# What every run of pytest shows on the embedded stack: deploy and deliver, an outage, poison, redrive in
# order stopped halfway, replay, drift. All other integration tests are marked slow.
STORIES = {
    "test_audit.py": {"test_what_a_broken_enqueuer_lost_is_listed_replayed_and_then_proven_in_order"},
    "test_demo.py": {"test_it_ends_well_and_leaves_nothing_behind"},
    "test_drift.py": {"test_a_function_that_is_gone_is_made_again_with_all_that_hung_on_it"},
    "test_incidents.py": {
        "test_all_apis_are_down",
        "test_500_for_ever_for_one_group",
        "test_two_operators",
    },
    "test_moving.py": {"test_a_redrive_moves_everything_in_the_order_of_its_groups"},
    "test_pipeline.py": {
        "test_real_payloads_arrive_unchanged_and_in_order_within_their_group",
        "test_an_outage_parks_nothing_reorders_nothing_and_loses_nothing",
        "test_a_poison_item_is_parked_with_status_and_reason_and_its_group_goes_on",
    },
    "test_provisioning.py": {"test_a_pipeline_is_deployed_put_right_and_destroyed"},
    "test_restore_order.py": {
        "test_parked_messages_are_back_in_their_places",
        "test_interrupted_it_says_how_to_finish_and_a_second_run_does",
    },
    "test_replay.py": {
        "test_records_become_the_messages_that_the_enqueuer_makes_of_them_in_order",
        "test_killed_while_it_reads_it_begins_again",
    },
    "test_status.py": {"test_a_healthy_pipeline_has_all_the_contract_asks_for"},
}
# What waits for a minute of the clock begins first, so that nobody waits for it at the end.
FIRST = {"test_the_worker_runs_on_its_schedule"}
_WEBHOOKS = ROOT.parent / "shared" / "data" / "webhooks.jsonl"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what is neither a story nor long, and put what waits longest first."""
    here = Path(__file__).parent
    for item in items:
        name = getattr(item, "originalname", item.name)
        is_story = name in STORIES.get(item.path.name, ())
        if item.path.parent == here and not is_story and item.get_closest_marker("long") is None:
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: item.name not in FIRST)


@pytest.fixture(scope="module", autouse=True)
def own_litter() -> Iterator[None]:
    """Let a module hear of what it left open; some later test would fail for it otherwise."""
    yield
    gc.collect()


@pytest.fixture
def clients(stack: Stack) -> Aws:
    """Clients of the stack: ``clients.client("sqs")``."""
    return stack.aws()


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
def proxy(stack: Stack) -> Iterator[Proxy]:
    """A proxy in front of the stack; set ``proxy.rule`` to break things."""
    with Proxy(stack.endpoint) as between:
        yield between


@pytest.fixture(scope="module")
def fork_server(request: pytest.FixtureRequest) -> ForkServer:
    """A process that forks the program; a module may name what it imports besides, in ``PRELOADED``."""
    return forker(*getattr(request.module, "PRELOADED", ()))


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
