"""Queues as resources."""

from __future__ import annotations

from typing import Any

import pytest

from fifo_cli.aws.resources.gateway import Waiter
from fifo_cli.aws.resources.queue import QueueAdmin
from fifo_cli.events import Event, Waiting
from fifo_cli.model.names import VERSION_TAG
from fifo_cli.model.resources import Found, Resource
from tests.unit.aws.resource_life import TAGS, client, live, stubbed

pytestmark = pytest.mark.usefixtures("moto")


FIFO: dict[str, Any] = {
    "fifo": True,
    "content_based_deduplication": False,
    "deduplication_scope": "queue",
    "throughput_limit": "perQueue",
    "max_message_bytes": 1_048_576,
    "retention": 345_600,
    "visibility_timeout": 45,
    "delay": 0,
    "encryption": "sqs",
}


def test_a_queue_is_made_changed_and_deleted() -> None:
    sqs = client("sqs")
    sqs.create_queue(QueueName="orders-dlq.fifo", Attributes={"FifoQueue": "true"})
    redrive = {"target": "arn:aws:sqs:eu-west-1:123456789012:orders-dlq.fifo", "max_receives": 1000}
    wanted = Resource("queue", "orders.fifo", {**FIFO, "redrive": redrive}, TAGS)
    changed = {
        **wanted.properties,
        "retention": 60,
        "deduplication_scope": "messageGroup",
        "throughput_limit": "perMessageGroupId",
        "redrive": {**redrive, "max_receives": 3},
    }
    live(QueueAdmin(sqs), wanted, Resource("queue", "orders.fifo", changed, {**TAGS, "team": "other"}))


def test_a_redrive_policy_is_taken_away_and_the_dlq_has_hold_as_its_source() -> None:
    sqs = client("sqs")
    target = sqs.create_queue(QueueName="orders-dlq.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    redrive = {"target": "arn:aws:sqs:eu-west-1:123456789012:orders-dlq.fifo", "max_receives": 1000}
    admin = QueueAdmin(sqs)
    for name in ("orders.fifo", "orders-hold.fifo"):
        admin.create(Resource("queue", name, {**FIFO, "redrive": redrive}, TAGS))

    found = admin.read("orders.fifo")
    assert found is not None
    without = Resource("queue", "orders.fifo", {**FIFO, "redrive": None}, TAGS)
    admin.update(without, found, frozenset({"redrive"}))

    again = admin.read("orders.fifo")
    assert again is not None
    assert again.properties.get("redrive") is None
    sources = sqs.list_dead_letter_source_queues(QueueUrl=target)["queueUrls"]
    assert [url.rpartition("/")[2] for url in sources] == ["orders-hold.fifo"]


def test_a_new_queue_carries_its_tags_and_our_version_from_the_start() -> None:
    sqs = client("sqs")
    QueueAdmin(sqs).create(Resource("queue", "orders.fifo", FIFO, TAGS))
    url = sqs.get_queue_url(QueueName="orders.fifo")["QueueUrl"]
    tags = sqs.list_queue_tags(QueueUrl=url)["Tags"]
    assert {**TAGS, VERSION_TAG: tags[VERSION_TAG]} == tags


def test_a_name_that_was_deleted_just_now_is_waited_for() -> None:
    sqs, stub = stubbed("sqs")
    stub.add_client_error("create_queue", service_error_code="AWS.SimpleQueueService.QueueDeletedRecently")
    stub.add_response("create_queue", {"QueueUrl": "u"})
    events: list[Event] = []
    QueueAdmin(sqs, Waiter(events.append, lambda _: None)).create(
        Resource("queue", "orders.fifo", FIFO, TAGS)
    )
    assert events == [
        Waiting("orders.fifo", "not free: a queue of this name was deleted within the last minute")
    ]


def test_a_dead_letter_queue_that_is_not_known_yet_is_waited_for() -> None:
    sqs, stub = stubbed("sqs")
    stub.add_client_error(
        "create_queue",
        service_error_code="InvalidParameterValue",
        service_message="Value {...} for parameter RedrivePolicy is invalid. Reason: Dead letter target"
        " does not exist.",
    )
    stub.add_response("create_queue", {"QueueUrl": "u"})
    events: list[Event] = []
    QueueAdmin(sqs, Waiter(events.append, lambda _: None)).create(
        Resource("queue", "orders.fifo", FIFO, TAGS)
    )
    assert events == [Waiting("orders.fifo", "waiting for its dead-letter queue to be known")]
    stub.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("encryption", "attributes"),
    [
        ("sqs", {"SqsManagedSseEnabled": "true", "KmsMasterKeyId": ""}),
        ("alias/mine", {"KmsMasterKeyId": "alias/mine"}),
    ],
)
def test_one_kind_of_encryption_takes_the_place_of_the_other(
    encryption: str, attributes: dict[str, str]
) -> None:
    sqs, stub = stubbed("sqs")
    stub.add_response("set_queue_attributes", {}, {"QueueUrl": "u", "Attributes": attributes})
    stub.add_response("tag_queue", {})
    wanted = Resource("queue", "orders.fifo", {**FIFO, "encryption": encryption}, TAGS)
    QueueAdmin(sqs).update(
        wanted, Found("queue", "orders.fifo", {}, facts={"url": "u"}), frozenset({"encryption"})
    )
    stub.assert_no_pending_responses()
