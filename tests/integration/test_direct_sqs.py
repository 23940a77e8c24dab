"""The worker's SQS client and boto3 get the same from a real service: answers and errors."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from fifo_cli.handlers.direct_sqs import DirectSqs
from tests.cli_harness import new_name
from tests.integration.emulators import Emulator

ATTRIBUTES = {
    "text": {"DataType": "String", "StringValue": "h\u00e9 \U0001f511"},
    "number": {"DataType": "Number", "StringValue": "1.50"},
    "bytes": {"DataType": "Binary", "BinaryValue": b"\0\1\xff"},
}
# Different in each receive.
OWN = ("ReceiptHandle", "ApproximateReceiveCount", "ApproximateFirstReceiveTimestamp")


class Both:
    """A queue, asked by each of the two clients in turn."""

    def __init__(self, emulator: Emulator) -> None:
        session: Any = boto3.session.Session("test", "test", region_name="us-east-1")
        self.boto = session.client("sqs", endpoint_url=emulator.endpoint)
        self.direct = DirectSqs(
            session.client("sqs", endpoint_url=emulator.endpoint), session.get_credentials()
        )
        attributes = {"FifoQueue": "true"}
        self.url = self.boto.create_queue(QueueName=f"{new_name()}.fifo", Attributes=attributes)["QueueUrl"]
        self.receive(self.direct)  # the first call is boto3's
        assert self.direct._route is not None

    def send(self, body: str, group: str = "g") -> None:
        self.boto.send_message(
            QueueUrl=self.url,
            MessageBody=body,
            MessageGroupId=group,
            MessageDeduplicationId=body,
            MessageAttributes=ATTRIBUTES,
        )

    def receive(self, client: Any, visibility: int = 30) -> Any:
        return client.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=10,
            VisibilityTimeout=visibility,
            WaitTimeSeconds=0,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        )

    def released(self, client: Any, handle: str) -> Any:
        entries = [
            {"Id": "good", "ReceiptHandle": handle, "VisibilityTimeout": 0},
            {"Id": "bad", "ReceiptHandle": "nonsense", "VisibilityTimeout": 0},
        ]
        return client.change_message_visibility_batch(QueueUrl=self.url, Entries=entries)


@pytest.fixture
def both(emulator: Emulator) -> Both:
    return Both(emulator)


def without_metadata(answer: Any) -> Any:
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def test_both_receive_and_release_the_same(both):
    for body in ("one", "two \u2028 \U0001f511"):
        both.send(body)
    seen = []
    for client in (both.boto, both.direct):
        answer = both.receive(client)
        for message in reversed(answer["Messages"]):
            released = both.released(client, message["ReceiptHandle"])
        for message in answer["Messages"]:
            for name in OWN:
                message.pop(name, None)
                message["Attributes"].pop(name, None)
        seen.append((without_metadata(answer), without_metadata(released)))
    assert seen[0] == seen[1]
    assert len(seen[0][0]["Messages"]) == 2
    assert seen[0][0]["Messages"][0]["MessageAttributes"] == ATTRIBUTES


def test_an_empty_queue_is_empty_to_both(both):
    assert without_metadata(both.receive(both.boto)) == without_metadata(both.receive(both.direct)) == {}


def test_what_the_one_deletes_the_other_does_not_find(both):
    both.send("gone")
    message = both.receive(both.direct)["Messages"][0]
    both.direct.delete_message(QueueUrl=both.url, ReceiptHandle=message["ReceiptHandle"])
    assert both.receive(both.boto).get("Messages", []) == []


def expired(both: Both) -> str:
    both.send(new_name(), group="expired")
    handle: str = both.receive(both.boto, visibility=1)["Messages"][0]["ReceiptHandle"]
    time.sleep(1.1)  # the service's clock
    return handle


FAULTS: dict[str, Callable[[Both, Any], Any]] = {
    "a queue that is missing": lambda both, client: client.receive_message(QueueUrl=f"{both.url}x.fifo"),
    "a delete in a queue that is missing": lambda both, client: client.delete_message(
        QueueUrl=f"{both.url}x.fifo", ReceiptHandle="h"
    ),
    "a handle that is none": lambda both, client: client.delete_message(
        QueueUrl=both.url, ReceiptHandle="nonsense"
    ),
    "too many messages": lambda both, client: client.receive_message(
        QueueUrl=both.url, MaxNumberOfMessages=11
    ),
    "no entries": lambda both, client: client.change_message_visibility_batch(QueueUrl=both.url, Entries=[]),
    "a handle that expired": lambda both, client: client.delete_message(
        QueueUrl=both.url, ReceiptHandle=expired(both)
    ),
}


def outcome(call: Callable[[], Any]) -> Any:
    try:
        return without_metadata(call())
    except ClientError as error:
        fault = error.response["Error"]
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return type(error).__name__, fault["Code"], fault["Message"], status


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_the_same_error_to_both(both, fault):
    assert outcome(lambda: fault(both, both.direct)) == outcome(lambda: fault(both, both.boto))
