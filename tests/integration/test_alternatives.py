"""What docs/alternatives.md says of other ways, shown on the embedded stack."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from fifo_cli.aws.session import Aws
from tests.cli_harness import new_name
from tests.faults import RefuseEntries, on, position
from tests.integration.proxy import Proxy

Queues = Callable[..., str]


@pytest.fixture
def make_queue(clients: Aws) -> Queues:
    """Make a FIFO queue of a name of its own and return its URL."""

    def make(**more: str) -> str:
        attributes: Any = {"FifoQueue": "true", **more}
        created = clients.client("sqs").create_queue(QueueName=f"{new_name()}.fifo", Attributes=attributes)
        return created["QueueUrl"]

    return make


def send(aws: Aws, url: str, *names: str, group: str = "g") -> None:
    for name in names:
        aws.client("sqs").send_message(
            QueueUrl=url, MessageBody=name, MessageGroupId=group, MessageDeduplicationId=name
        )


def receive(aws: Aws, url: str, count: int = 10, visibility: int = 30) -> list[Any]:
    answer = aws.client("sqs").receive_message(
        QueueUrl=url,
        MaxNumberOfMessages=count,
        VisibilityTimeout=visibility,
        MessageSystemAttributeNames=["All"],
    )
    return list(answer.get("Messages", []))


def waiting(aws: Aws, url: str) -> int:
    found = aws.client("sqs").get_queue_attributes(
        QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"]
    )
    return int(found["Attributes"]["ApproximateNumberOfMessages"])


def test_a_dead_letter_rule_takes_a_good_message_out_of_line_during_an_outage(
    clients: Aws, make_queue: Queues
) -> None:
    sqs = clients.client("sqs")
    dlq = make_queue()
    arn = sqs.get_queue_attributes(QueueUrl=dlq, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    url = make_queue(RedrivePolicy=json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3}))
    send(clients, url, "first", "second")

    for _ in range(3):  # the API is down: each attempt gives the message back
        head = receive(clients, url, count=1, visibility=0)
        assert head[0]["Body"] == "first"

    assert [one["Body"] for one in receive(clients, url, count=1)] == ["second"], "it overtook the first"
    assert waiting(clients, dlq) == 1


def test_looking_by_receiving_counts_as_a_receive(clients: Aws, make_queue: Queues) -> None:
    url = make_queue()
    send(clients, url, "m")

    counts = [
        receive(clients, url, visibility=0)[0]["Attributes"]["ApproximateReceiveCount"] for _ in range(3)
    ]

    assert counts == ["1", "2", "3"]


def test_a_loop_that_keeps_the_deduplication_id_loses_the_message(clients: Aws, make_queue: Queues) -> None:
    """A message was in main minutes ago, was parked with its id, and is moved back with it."""
    sqs, main, dlq = clients.client("sqs"), make_queue(), make_queue()
    send(clients, main, "m")
    for source, target in ((main, dlq), (dlq, main)):
        moved = receive(clients, source)[0]
        sqs.send_message(
            QueueUrl=target,
            MessageBody=moved["Body"],
            MessageGroupId=moved["Attributes"]["MessageGroupId"],
            MessageDeduplicationId=moved["Attributes"]["MessageDeduplicationId"],
        )
        sqs.delete_message(QueueUrl=source, ReceiptHandle=moved["ReceiptHandle"])

    assert (waiting(clients, main), waiting(clients, dlq)) == (0, 0)


def test_two_messages_of_a_group_in_one_batch_can_change_places(
    clients: Aws, make_queue: Queues, proxy: Proxy
) -> None:
    from fifo_cli.aws.session import AwsEndpoint

    url = make_queue()
    proxy.rule = on("SendMessageBatch", do=RefuseEntries(position(0)), nth=1)
    sqs = Aws(AwsEndpoint(endpoint_url=proxy.endpoint, local=True)).client("sqs")

    def entry(name: str) -> Any:
        return {"Id": name, "MessageBody": name, "MessageGroupId": "g", "MessageDeduplicationId": name}

    left = ["first", "second"]
    while left:  # send what was refused once more, as loops do
        answer = sqs.send_message_batch(QueueUrl=url, Entries=[entry(name) for name in left])
        left = [one["Id"] for one in answer.get("Failed", [])]

    assert [one["Body"] for one in receive(clients, url)] == ["second", "first"]


def test_a_loop_with_random_ids_that_dies_before_the_delete_makes_a_second_copy(
    clients: Aws, make_queue: Queues
) -> None:
    sqs, source, target = clients.client("sqs"), make_queue(), make_queue()
    send(clients, source, "m")

    for run in range(2):
        moved = receive(clients, source, visibility=0)[0]
        sqs.send_message(
            QueueUrl=target, MessageBody=moved["Body"], MessageGroupId="g", MessageDeduplicationId=new_name()
        )
        if run == 0:
            continue  # killed here; the next run finds the message again
        sqs.delete_message(QueueUrl=source, ReceiptHandle=moved["ReceiptHandle"])

    assert waiting(clients, target) == 2
