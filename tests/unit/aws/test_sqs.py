"""Messages in batches, against botocore's own model: what was not confirmed is reported, entry by entry."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.aws.sqs import OutgoingMessage, Queue, RejectedEntry
from fifo_cli.errors import AwsError, NotDeployedError
from fifo_cli.model.message import Attribute
from fifo_cli.model.names import Names
from tests.batch_answers import NOT_DONE, UNPROVEN

# SQS's words for a message that is gone, and for one that would be hidden for more than twelve hours.
_GONE = "Message does not exist or is not available for visibility timeout change."
_TOO_LONG = "Reason: Total VisibilityTimeout for the message is beyond the limit [43200 seconds]"
URL = "https://sqs.us-east-1.amazonaws.com/123456789012/orders-dlq.fifo"


class Bench:
    """The DLQ's messages, over a stubbed client."""

    def __init__(self) -> None:
        aws = Aws(AwsEndpoint(local=True))
        self.stub = Stubber(aws.client("sqs"))
        self.stub.activate()
        self.messages = Queue(aws, Names("orders"), "dlq")
        self.answer("get_queue_url", {"QueueUrl": URL})
        assert self.messages.url == URL

    def answer(self, call: str, answer: dict[str, Any], expected: dict[str, Any] | None = None) -> None:
        self.stub.add_response(call, answer, expected)

    def refuse(self, call: str, code: str, message: str = "because") -> None:
        self.stub.add_client_error(call, service_error_code=code, service_message=message)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def md5(body: str) -> str:
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()


def accepted(n: int, body: str) -> dict[str, Any]:
    return {"Id": str(n), "MessageId": f"m{n}", "MD5OfMessageBody": md5(body)}


def outgoing(body: str, group: str = "g", **more: Any) -> OutgoingMessage:
    return OutgoingMessage(body=body, group=group, dedup_id=f"redrive-{body}", **more)


def test_a_receive_asks_for_everything_of_a_message_and_can_be_repeated(bench: Bench) -> None:
    raw = {
        "MessageId": "m1",
        "ReceiptHandle": "h1",
        "Body": "b",
        "Attributes": {
            "MessageGroupId": "g",
            "MessageDeduplicationId": "d",
            "SequenceNumber": "18874",
            "SentTimestamp": "1767323045678",
            "ApproximateReceiveCount": "2",
            "ApproximateFirstReceiveTimestamp": "1767323045679",
            "AWSTraceHeader": "Root=1-2-3",
            "DeadLetterQueueSourceArn": "arn:aws:sqs:us-east-1:123456789012:other.fifo",
        },
        "MessageAttributes": {"blob": {"DataType": "Binary", "BinaryValue": b"\x00"}},
    }
    bench.answer(
        "receive_message",
        {"Messages": [raw]},
        {
            "QueueUrl": URL,
            "MaxNumberOfMessages": 10,
            "VisibilityTimeout": 30,
            "WaitTimeSeconds": 1,
            "ReceiveRequestAttemptId": ANY,
            "MessageAttributeNames": ["All"],
            "MessageSystemAttributeNames": ["All"],
        },
    )
    (arrival,) = bench.messages.receive(count=10, visibility=30, wait=1)
    message = arrival.message
    assert (message.body, message.trace_header, message.receives) == ("b", "Root=1-2-3", 1)
    assert message.attributes == {"blob": Attribute("Binary", b"\x00")}
    assert arrival.receipt_handle == "h1"
    assert arrival.dead_letter_source.endswith(":other.fifo")


def test_a_send_carries_body_group_attributes_and_trace_header(bench: Bench) -> None:
    sent = outgoing(
        "b",
        attributes={"event_id": Attribute("String", "e"), "blob": Attribute("Binary", b"\xff")},
        trace_header="Root=1-2-3",
    )
    entry = {
        "Id": "0",
        "MessageBody": "b",
        "MessageGroupId": "g",
        "MessageDeduplicationId": "redrive-b",
        "MessageAttributes": {
            "event_id": {"DataType": "String", "StringValue": "e"},
            "blob": {"DataType": "Binary", "BinaryValue": b"\xff"},
        },
        "MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-2-3"}},
    }
    bench.answer(
        "send_message_batch",
        {"Successful": [accepted(0, "b")], "Failed": []},
        {"QueueUrl": URL, "Entries": [entry]},
    )
    assert bench.messages.send([sent]) == []


def test_only_what_the_answer_confirms_byte_for_byte_counts_as_sent(bench: Bench) -> None:
    failed = {"Id": "1", "Code": "InternalError", "Message": "sorry", "SenderFault": False}
    bench.answer(
        "send_message_batch",
        {"Successful": [accepted(0, "a"), accepted(2, "not c")], "Failed": [failed]},
    )
    assert bench.messages.send([outgoing(body) for body in "abcd"]) == [
        RejectedEntry(1, "InternalError: sorry"),
        RejectedEntry(2, "SQS's answer shows another body than was sent", doubtful=True),
        RejectedEntry(3, "SQS's answer does not confirm it", doubtful=True),
    ]


@pytest.mark.parametrize("kind", NOT_DONE)
@pytest.mark.parametrize(
    "call", ["send_message_batch", "delete_message_batch", "change_message_visibility_batch"]
)
def test_what_an_answer_does_not_name_once_as_successful_is_rejected(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, call: str, kind: str
) -> None:
    good = {"Successful": [accepted(n, f"b{n}") for n in range(3)], "Failed": []}
    # Not through the stub, which refuses what botocore's model does not have.
    monkeypatch.setattr(bench.messages._sqs, call, lambda **request: NOT_DONE[kind](good))
    handles = ["h0", "h1", "h2"]
    rejected = {
        "send_message_batch": lambda: bench.messages.send([outgoing(f"b{n}", f"g{n}") for n in range(3)]),
        "delete_message_batch": lambda: bench.messages.delete(handles),
        "change_message_visibility_batch": lambda: bench.messages.change_visibility(handles, seconds=30),
    }[call]()
    assert [(one.index, one.doubtful) for one in rejected] == [(1, kind in UNPROVEN)]


@pytest.mark.parametrize("digest", [{}, {"MD5OfMessageBody": None}, {"MD5OfMessageBody": md5("other")}])
def test_a_single_send_without_the_bodys_digest_is_not_confirmed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, digest: dict[str, Any]
) -> None:
    monkeypatch.setattr(bench.messages._sqs, "send_message", lambda **request: {"MessageId": "m", **digest})
    assert [(one.index, one.doubtful) for one in bench.messages.send_singly([outgoing("a")])] == [(0, True)]


def test_a_call_refused_for_one_of_its_messages_is_repeated_message_by_message(bench: Bench) -> None:
    bench.refuse("send_message_batch", "InvalidMessageContents")
    bench.answer("send_message", {"MessageId": "m", "MD5OfMessageBody": md5("a")})
    bench.refuse("send_message", "InvalidMessageContents")
    bench.answer("send_message", {"MessageId": "m", "MD5OfMessageBody": md5("d")})
    sent = [outgoing("a", "g1"), outgoing("b", "g2"), outgoing("c", "g2"), outgoing("d", "g3")]
    assert bench.messages.send(sent) == [
        RejectedEntry(1, "InvalidMessageContents: because", final=True),
        RejectedEntry(2, "behind a message of its group that was refused"),
    ]
    bench.stub.assert_no_pending_responses()


def test_a_message_that_is_refused_alone_is_refused_for_good(bench: Bench) -> None:
    bench.refuse("send_message_batch", "InvalidParameterValue", "longer than 1048576 bytes")
    assert bench.messages.send([outgoing("a")]) == [
        RejectedEntry(0, "InvalidParameterValue: longer than 1048576 bytes", final=True)
    ]


@pytest.mark.parametrize(
    ("code", "error"), [("AccessDenied", AwsError), ("QueueDoesNotExist", NotDeployedError)]
)
def test_any_other_refusal_of_a_whole_send_is_raised(bench: Bench, code: str, error: type[AwsError]) -> None:
    bench.refuse("send_message_batch", code)
    with pytest.raises(error, match=r"orders-dlq\.fifo"):
        bench.messages.send([outgoing("a"), outgoing("b")])


def test_a_single_send_that_aws_throttles_is_no_fault_of_the_message(bench: Bench) -> None:
    bench.refuse("send_message", "RequestThrottled")
    with pytest.raises(AwsError, match="throttled"):
        bench.messages.send_singly([outgoing("a")])


@pytest.mark.parametrize(
    ("code", "words", "gone"),
    [
        ("ReceiptHandleIsInvalid", "", True),
        ("InvalidParameterValue", "The receipt handle has expired.", True),
        (
            "InvalidParameterValue",
            f"Value AQEB for parameter ReceiptHandle is invalid. Reason: {_GONE}",
            True,
        ),
        ("MessageNotInflight", "", True),
        (
            "InvalidParameterValue",
            f"Value 43200 for parameter VisibilityTimeout is invalid. {_TOO_LONG}",
            False,
        ),
        ("InternalError", "sorry", False),
        ("RequestThrottled", "", False),
    ],
)
@pytest.mark.parametrize("call", ["delete_message_batch", "change_message_visibility_batch"])
def test_a_handle_that_is_over_is_known_from_a_service_that_fails(
    bench: Bench, call: str, code: str, words: str, gone: bool
) -> None:
    failed = {"Id": "1", "Code": code, "Message": words, "SenderFault": True}
    bench.answer(call, {"Successful": [{"Id": "0"}], "Failed": [failed]})
    if call == "delete_message_batch":
        (trouble,) = bench.messages.delete(["h0", "h1"])
    else:
        (trouble,) = bench.messages.change_visibility(["h0", "h1"], seconds=30)
    assert (trouble.index, trouble.gone) == (1, gone)


@pytest.mark.parametrize(("role", "named"), [("main", True), ("dlq", True), ("stream-failures", False)])
def test_each_receive_from_a_fifo_queue_has_a_name_of_its_own(
    monkeypatch: pytest.MonkeyPatch, role: Any, named: bool
) -> None:
    """A standard queue takes none."""
    aws = Aws(AwsEndpoint(local=True))
    asked: list[dict[str, Any]] = []
    sqs = aws.client("sqs")
    monkeypatch.setattr(sqs, "get_queue_url", lambda **request: {"QueueUrl": URL})

    def receive(**request: Any) -> dict[str, Any]:
        asked.append(request)
        return {}

    monkeypatch.setattr(sqs, "receive_message", receive)
    queue = Queue(aws, Names("orders"), role)
    for _ in range(3):
        assert queue.receive(visibility=30, wait=1) == []
    names = {request.get("ReceiveRequestAttemptId") for request in asked}
    assert len(names) == 3 if named else names == {None}


def test_what_is_hidden_is_hidden_in_the_order_given(bench: Bench) -> None:
    bench.answer(
        "change_message_visibility_batch",
        {"Successful": [{"Id": "0"}, {"Id": "1"}], "Failed": []},
        {
            "QueueUrl": URL,
            "Entries": [
                {"Id": "0", "ReceiptHandle": "tail", "VisibilityTimeout": 0},
                {"Id": "1", "ReceiptHandle": "head", "VisibilityTimeout": 0},
            ],
        },
    )
    assert bench.messages.change_visibility(["tail", "head"], seconds=0) == []


@pytest.mark.parametrize(
    ("endpoint", "kept"),
    [(None, True), ("http://127.0.0.1:4566", False), ("https://sqs.eu-west-1.amazonaws.com", True)],
)
def test_only_aws_itself_is_trusted_to_keep_trace_headers_in_batches(
    endpoint: str | None, kept: bool
) -> None:
    aws = Aws(AwsEndpoint(endpoint_url=endpoint, local=True))
    assert Queue(aws, Names("orders"), "dlq").batches_keep_trace_headers is kept


def test_many_are_changed_and_deleted_ten_a_call_and_each_rejection_has_its_index(bench: Bench) -> None:
    handles = [f"h{n}" for n in range(12)]
    for part in (handles[:10], handles[10:]):
        changed = [{"Id": str(n), "ReceiptHandle": one, "VisibilityTimeout": 5} for n, one in enumerate(part)]
        done = [{"Id": entry["Id"]} for entry in changed]
        answer = {"Successful": done, "Failed": []}
        bench.answer("change_message_visibility_batch", answer, {"QueueUrl": URL, "Entries": changed})
    assert bench.messages.change_visibility(handles, seconds=5) == []
    for part, refused in ((handles[:10], {"3"}), (handles[10:], {"0", "1"})):
        deleted = [{"Id": str(n), "ReceiptHandle": one} for n, one in enumerate(part)]
        failed = [
            {"Id": one, "SenderFault": True, "Code": "ReceiptHandleIsInvalid"} for one in sorted(refused)
        ]
        done = [{"Id": entry["Id"]} for entry in deleted if entry["Id"] not in refused]
        bench.answer(
            "delete_message_batch",
            {"Successful": done, "Failed": failed},
            {"QueueUrl": URL, "Entries": deleted},
        )
    assert [entry.index for entry in bench.messages.delete(handles)] == [3, 10, 11]


def test_a_message_of_a_standard_queue_has_no_group(bench: Bench) -> None:
    bench.answer("receive_message", {"Messages": [{"MessageId": "m", "ReceiptHandle": "h", "Body": "b"}]})
    (received,) = bench.messages.receive(visibility=30, wait=1)
    assert (received.message.body, received.message.group, received.receipt_handle) == ("b", "", "h")


def test_a_queue_that_does_not_exist_is_named() -> None:
    aws = Aws(AwsEndpoint(local=True))
    with Stubber(aws.client("sqs")) as stub:
        stub.add_client_error("get_queue_url", "QueueDoesNotExist", "no")
        with pytest.raises(NotDeployedError, match="orders-stream-failures does not exist"):
            Queue(aws, Names("orders"), "stream-failures").counts()
