"""The in-memory queue and the lean service keep a real service's rules: the same tests for all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from fifo_cli.aws.session import Aws, AwsEndpoint
from tests.cli_harness import new_name
from tests.fakes import Clock, FakeSqs
from tests.integration.lean_sqs import lean_sqs


class Subject:
    """One FIFO queue, with the calls that this project makes."""

    def __init__(self, sqs: Any, url: str, wait: Callable[[float], None]) -> None:
        self.sqs = sqs
        self.url = url
        self.wait = wait

    def send(self, body: str, group: str = "g", dedup_id: str | None = None, **more: Any) -> str:
        answer = self.sqs.send_message(
            QueueUrl=self.url,
            MessageBody=body,
            MessageGroupId=group,
            MessageDeduplicationId=dedup_id or f"d-{body}",
            **more,
        )
        return str(answer["MessageId"])

    def receive(self, count: int = 10, visibility: int = 30) -> list[Any]:
        answer = self.sqs.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=count,
            VisibilityTimeout=visibility,
            WaitTimeSeconds=0,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        )
        return list(answer.get("Messages", []))

    def bodies(self, **options: Any) -> list[str]:
        return [message["Body"] for message in self.receive(**options)]

    def delete(self, message: Any) -> None:
        self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])

    def change(self, seconds: int, *messages: Any) -> Any:
        entries = [
            {"Id": str(n), "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": seconds}
            for n, message in enumerate(messages)
        ]
        return self.sqs.change_message_visibility_batch(QueueUrl=self.url, Entries=entries)


@pytest.fixture(scope="module")
def lean() -> Iterator[Aws]:
    with lean_sqs() as endpoint:
        yield Aws(AwsEndpoint(endpoint_url=endpoint, local=True))


@pytest.fixture(params=["fake", "lean", "real"])
def queue(request: pytest.FixtureRequest, clients: Aws, lean: Aws) -> Subject:
    if request.param == "fake":
        clock = Clock()
        return Subject(FakeSqs(clock, "q"), "q", clock.sleep)
    sqs = (clients if request.param == "real" else lean).client("sqs")
    url = sqs.create_queue(QueueName=f"{new_name()}.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    return Subject(sqs, url, time.sleep)


def test_a_group_is_given_out_in_the_order_it_was_sent(queue):
    for number in range(12):
        queue.send(str(number))
    assert queue.bodies() == [str(number) for number in range(10)]


def test_while_a_message_of_a_group_is_hidden_no_later_one_is_given_out(queue):
    queue.send("a1", "a")
    queue.send("a2", "a")
    queue.send("b1", "b")
    (first,) = queue.receive(count=1)
    assert first["Body"] == "a1"
    assert queue.bodies() == ["b1"]
    queue.delete(first)
    assert queue.bodies() == ["a2"]


def test_a_released_message_comes_first_again_and_counts_its_receives(queue):
    queue.send("1")
    queue.send("2")
    held = queue.receive()
    assert queue.change(0, *reversed(held))["Failed"] in ([], None)
    again = queue.receive()
    assert [message["Body"] for message in again] == ["1", "2"]
    assert [message["Attributes"]["ApproximateReceiveCount"] for message in again] == ["2", "2"]


def test_a_message_comes_back_by_itself_when_its_time_is_over(queue):
    queue.send("1")
    assert queue.bodies(visibility=1) == ["1"]
    assert queue.bodies() == []
    queue.wait(1.1)
    assert queue.bodies() == ["1"]


def test_extended_it_stays_hidden(queue):
    queue.send("1")
    held = queue.receive(visibility=1)
    queue.change(30, *held)
    queue.wait(1.1)
    assert queue.bodies() == []


def test_the_same_deduplication_id_is_suppressed_even_after_the_delete(queue):
    first = queue.send("1", dedup_id="same")
    queue.delete(queue.receive()[0])
    assert queue.send("2", dedup_id="same") == first
    assert queue.bodies() == []


def test_a_deleted_message_cannot_be_changed_or_deleted_again_for_good(queue):
    queue.send("1")
    (message,) = queue.receive()
    queue.delete(message)
    assert len(queue.change(0, message)["Failed"]) == 1
    with pytest.raises(ClientError):
        queue.delete(message)


def test_attributes_and_trace_header_come_back_as_they_were_sent(queue):
    attributes = {
        "text": {"DataType": "String", "StringValue": "é"},
        "blob": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    header = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-2"}}
    queue.send("1", MessageAttributes=attributes, MessageSystemAttributes=header)
    (message,) = queue.receive()
    assert message["MessageAttributes"] == attributes
    assert message["Attributes"]["AWSTraceHeader"] == "Root=1-2"
    assert message["Attributes"]["MessageGroupId"] == "g"
    assert message["Attributes"]["MessageDeduplicationId"] == "d-1"
    assert int(message["Attributes"]["SequenceNumber"]) > 0


def test_a_batch_is_sent_in_the_order_of_its_entries(queue):
    entries = [
        {
            "Id": str(n),
            "MessageBody": str(n),
            "MessageGroupId": "ab"[n % 2],
            "MessageDeduplicationId": f"x{n}",
        }
        for n in range(10)
    ]
    answer = queue.sqs.send_message_batch(QueueUrl=queue.url, Entries=entries)
    assert [entry["Id"] for entry in answer["Successful"]] == [str(n) for n in range(10)]
    assert sorted(queue.bodies()) == [str(n) for n in range(10)]
