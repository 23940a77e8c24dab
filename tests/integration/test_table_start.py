"""A table that was there before: only what is written from the first deploy on becomes messages."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from fifo_cli.aws.session import Aws
from fifo_cli.aws.sqs import Queue
from fifo_cli.model.names import START_TAG
from tests.cli_harness import Project, wait_until


@pytest.fixture
def streaming(project: Callable[..., Project], clients: Aws) -> Callable[..., Project]:
    """Make a project over a table that streams already, with two items in it."""

    def make(**table: Any) -> Project:
        name = f"shared-{time.monotonic_ns()}"
        clients.client("dynamodb").create_table(
            TableName=name,
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        made = project(table={"name": name, "create": False, **table})
        put(made, "old-1", "old-2")
        time.sleep(1.1)  # a record's time is of whole seconds
        return made

    return make


def put(made: Project, *ids: str) -> None:
    made.local("put", "-", input="\n".join(json.dumps({"id": one}) for one in ids)).ok()


def ids_in_main(made: Project) -> list[str]:
    messages = made.local("peek", "--count", "50", "-o", "json").ok().json()["messages"]
    return [json.loads(one["body"])["id"] for one in messages]


def start_of(made: Project, clients: Aws) -> str | None:
    queue = Queue(clients, made.names, "main")
    tags = clients.client("sqs").list_queue_tags(QueueUrl=queue.url).get("Tags", {})
    return tags.get(START_TAG)


def test_only_what_is_written_from_the_first_deploy_on_becomes_messages(streaming, clients):
    made = streaming()
    plan = made.local("plan")
    assert '[table] start = "now": what was written before 20' in plan.err + plan.out
    made.local("deploy", "--yes").ok()
    put(made, "new-1", "new-2")
    wait_until(lambda: ids_in_main(made) == ["new-1", "new-2"])

    first = start_of(made, clients)
    assert first is not None
    time.sleep(1.1)
    again = made.local("deploy", "--yes", "-o", "json").ok().json()
    assert again["changes"] == []
    assert start_of(made, clients) == first
    assert made.local("plan", "--check").ok()
    audit = made.local("audit", "-o", "json").json()
    assert (audit["records"], audit["missing"]) == (2, [])

    made.local("destroy", "--yes").ok()
    time.sleep(1.1)
    made.local("deploy", "--yes").ok()
    put(made, "newer")
    wait_until(lambda: ids_in_main(made) == ["newer"])


def test_oldest_sends_what_the_stream_holds_and_is_asked_about(streaming):
    made = streaming(start="oldest")
    plan = made.local("plan")
    assert "the changes of the last 24 hours that its stream holds are sent to the API" in plan.err + plan.out
    made.local("deploy", "--yes").ok()
    wait_until(lambda: ids_in_main(made) == ["old-1", "old-2"])
    assert made.local("plan", "--check").ok()


def test_a_deploy_that_was_cut_off_goes_on_with_its_start(streaming, clients):
    made = streaming()
    made.local("deploy", "--yes").ok()
    first = start_of(made, clients)
    clients.client("lambda").delete_function(FunctionName=made.names.function("enqueuer"))
    time.sleep(1.1)
    made.local("deploy", "--yes").ok()
    assert start_of(made, clients) == first


def test_queues_that_destroy_kept_carry_no_start(streaming, clients):
    made = streaming()
    made.local("deploy", "--yes").ok()
    first = start_of(made, clients)
    made.local("destroy", "--yes", "--keep-queues").ok()
    assert start_of(made, clients) is None
    time.sleep(1.1)
    made.local("deploy", "--yes").ok()
    assert start_of(made, clients) not in (None, first)


def test_a_pipeline_deployed_before_there_was_a_start_gets_none(streaming, clients):
    made = streaming(start="oldest")
    made.local("deploy", "--yes").ok()
    config = made.config.read_text().replace('start = "oldest"', 'start = "now"')
    made.config.write_text(config)
    assert made.local("deploy", "--yes", "-o", "json").ok().json()["changes"] == []
    assert start_of(made, clients) is None
