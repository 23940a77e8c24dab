from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from fifo_cli.aws.stream_failures import FailureMessage, StreamFailures
from fifo_cli.errors import NotDeployedError
from fifo_cli.model.names import Names

URL = "https://sqs.eu-west-1.amazonaws.com/1/orders-stream-failures"


class StubbedAws:
    def __init__(self) -> None:
        self.sqs = boto3.client(
            "sqs", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
        )
        self.stub = Stubber(self.sqs)

    def client(self, service: str) -> Any:
        assert service == "sqs"
        return self.sqs

    def answer(self, call: str, answer: dict[str, Any], expected: dict[str, Any]) -> None:
        self.stub.add_response(call, answer, expected)


@pytest.fixture
def aws() -> Iterator[StubbedAws]:
    made = StubbedAws()
    with made.stub:
        yield made
        made.stub.assert_no_pending_responses()


@pytest.fixture
def failures(aws: StubbedAws) -> StreamFailures:
    aws.answer("get_queue_url", {"QueueUrl": URL}, {"QueueName": "orders-stream-failures"})
    return StreamFailures(aws, Names("orders"))  # type: ignore[arg-type]


def test_counts_are_visible_and_in_flight(aws, failures):
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    aws.answer(
        "get_queue_attributes",
        {"Attributes": {names[0]: "3", names[1]: "4"}},
        {"QueueUrl": URL, "AttributeNames": names},
    )
    assert failures.counts() == (3, 4)


def test_messages_are_received_with_their_bodies(aws, failures):
    aws.answer(
        "receive_message",
        {"Messages": [{"MessageId": "m", "ReceiptHandle": "h", "Body": "b"}]},
        {"QueueUrl": URL, "MaxNumberOfMessages": 10, "VisibilityTimeout": 30, "WaitTimeSeconds": 1},
    )
    assert failures.receive(visibility=30, wait=1) == [FailureMessage("m", "h", "b")]


def test_many_are_hidden_and_deleted_ten_a_call_and_what_is_refused_is_counted(aws, failures):
    handles = [f"h{n}" for n in range(12)]
    for part in (handles[:10], handles[10:]):
        entries = [{"Id": str(n), "ReceiptHandle": one, "VisibilityTimeout": 5} for n, one in enumerate(part)]
        aws.answer(
            "change_message_visibility_batch",
            {"Successful": [], "Failed": []},
            {"QueueUrl": URL, "Entries": entries},
        )
    failures.hide(handles, seconds=5)
    for part, failed in ((handles[:10], ["3"]), (handles[10:], ["0", "1"])):
        entries = [{"Id": str(n), "ReceiptHandle": one} for n, one in enumerate(part)]
        aws.answer(
            "delete_message_batch",
            {
                "Successful": [],
                "Failed": [
                    {"Id": one, "SenderFault": True, "Code": "ReceiptHandleIsInvalid"} for one in failed
                ],
            },
            {"QueueUrl": URL, "Entries": entries},
        )
    assert failures.delete(handles) == 3


def test_a_queue_that_does_not_exist_is_named(aws):
    aws.stub.add_client_error("get_queue_url", "QueueDoesNotExist", "no")
    with pytest.raises(NotDeployedError, match="orders-stream-failures does not exist"):
        StreamFailures(aws, Names("orders")).counts()
