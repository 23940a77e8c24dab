"""Messages on the move: received, kept, deleted and sent in batches, each entry's fate reported."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from fifo_cli.aws.errors import THROTTLED, calling, error_codes
from fifo_cli.aws.queues import Queue
from fifo_cli.aws.session import Aws
from fifo_cli.model.limits import RECEIVE_MAX
from fifo_cli.model.message import Attribute, ReceivedMessage, from_sqs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import (
        BatchResultErrorEntryTypeDef,
        MessageAttributeValueTypeDef,
        SendMessageBatchRequestEntryTypeDef,
    )

# What SQS says of a receipt handle that is over or of a message that is gone (Developer Guide, "Amazon SQS
# visibility timeout"; seen as code of a batch's entry, and as InvalidParameterValue with these words).
_HANDLE_CODES: Final = frozenset({"ReceiptHandleIsInvalid", "MessageNotInflight"})
_HANDLE_WORDS: Final = "receipt handle"
# What no later try fixes: the message itself is not as SQS wants it.
_MESSAGE_FAULTS: Final = frozenset(
    {
        "BatchRequestTooLong",
        "AWS.SimpleQueueService.BatchRequestTooLong",
        "InvalidMessageContents",
        "InvalidParameterValue",
        "InvalidAttributeValue",
        "MissingParameter",
    }
)
_AWS_DOMAINS: Final = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A message to send."""

    body: str
    group: str
    dedup_id: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    trace_header: str | None = None


@dataclass(frozen=True, slots=True)
class RejectedEntry:
    """Why the entry at ``index`` was refused. ``gone``: its handle is over; ``final``: no try helps."""

    index: int
    reason: str
    gone: bool = False
    final: bool = False


class Messages:
    """The messages of one queue, in batches of at most ten; safe to share between threads."""

    def __init__(self, aws: Aws, queue: Queue) -> None:
        self._aws = aws
        self.queue = queue

    @property
    def _sqs(self) -> SQSClient:
        return self._aws.client("sqs")

    @property
    def throttles(self) -> int:
        """How many tries AWS has throttled so far."""
        return self._aws.throttles

    @property
    def batches_keep_trace_headers(self) -> bool:
        """Whether the service is AWS itself: emulators drop the trace header of a batch's entries."""
        host = urlsplit(self._sqs.meta.endpoint_url).hostname or ""
        return host.endswith(_AWS_DOMAINS)

    def receive(self, *, count: int, visibility: int, wait: int, attempt: str) -> list[ReceivedMessage]:
        """Receive up to ten messages, hidden for ``visibility`` seconds.

        ``attempt`` names this receive, so that botocore's retry of a lost answer gets the same messages (API
        Reference, ReceiveMessage, ReceiveRequestAttemptId).
        """
        with calling(self.queue.name):
            answer = self._sqs.receive_message(
                QueueUrl=self.queue.url,
                MaxNumberOfMessages=min(count, RECEIVE_MAX),
                VisibilityTimeout=visibility,
                WaitTimeSeconds=wait,
                ReceiveRequestAttemptId=attempt,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["All"],
            )
        return [from_sqs(raw, self.queue.role) for raw in answer.get("Messages", [])]

    def hide(self, handles: Sequence[str], *, seconds: int) -> list[RejectedEntry]:
        """Hide messages for ``seconds`` from now (0: release), in the order given; return those refused."""
        with calling(self.queue.name):
            answer = self._sqs.change_message_visibility_batch(
                QueueUrl=self.queue.url,
                Entries=[
                    {"Id": str(n), "ReceiptHandle": handle, "VisibilityTimeout": seconds}
                    for n, handle in enumerate(handles)
                ],
            )
        return _rejected(
            answer.get("Failed"), {entry["Id"] for entry in answer.get("Successful", [])}, handles
        )

    def delete(self, handles: Sequence[str]) -> list[RejectedEntry]:
        """Delete messages; return those refused."""
        with calling(self.queue.name):
            answer = self._sqs.delete_message_batch(
                QueueUrl=self.queue.url,
                Entries=[{"Id": str(n), "ReceiptHandle": handle} for n, handle in enumerate(handles)],
            )
        return _rejected(
            answer.get("Failed"), {entry["Id"] for entry in answer.get("Successful", [])}, handles
        )

    def send(self, parcels: Sequence[OutgoingMessage]) -> list[RejectedEntry]:
        """Send messages in one call, in the order given; return those refused or not confirmed byte for byte.

        A call that SQS refuses because of a message in it is repeated message by message, up to the first
        refusal of each group. Raises AwsError for any other refusal of the whole call.
        """
        with calling(self.queue.name):
            try:
                return self._send_batch(parcels)
            except ClientError as error:
                if not error_codes(error) & _MESSAGE_FAULTS or error_codes(error) & THROTTLED:
                    raise
                if len(parcels) == 1:
                    return [RejectedEntry(0, _said(error), final=True)]
        return self.send_singly(parcels)

    def send_singly(self, parcels: Sequence[OutgoingMessage]) -> list[RejectedEntry]:
        """Send messages one call each, in order; behind a refused one of its group, none is sent."""
        rejected: list[RejectedEntry] = []
        stopped: set[str] = set()
        for index, parcel in enumerate(parcels):
            if parcel.group in stopped:
                rejected.append(RejectedEntry(index, "behind a message of its group that was refused"))
                continue
            try:
                answer = self._sqs.send_message(QueueUrl=self.queue.url, **_entry(parcel))
            except ClientError as error:
                codes = error_codes(error)
                final = bool(codes & _MESSAGE_FAULTS) and not codes & THROTTLED
                if not final and not rejected and index == 0:
                    with calling(self.queue.name):
                        raise
                rejected.append(RejectedEntry(index, _said(error), final=final))
                stopped.add(parcel.group)
                continue
            if answer["MD5OfMessageBody"] != _md5(parcel.body):
                rejected.append(RejectedEntry(index, "SQS's answer shows another body than was sent"))
                stopped.add(parcel.group)
        return rejected

    def _send_batch(self, parcels: Sequence[OutgoingMessage]) -> list[RejectedEntry]:
        entries: list[SendMessageBatchRequestEntryTypeDef] = [
            {"Id": str(n), **_entry(parcel)}  # type: ignore[typeddict-item]
            for n, parcel in enumerate(parcels)
        ]
        answer = self._sqs.send_message_batch(QueueUrl=self.queue.url, Entries=entries)
        accepted = {
            entry["Id"]
            for entry in answer.get("Successful", [])
            if entry["MD5OfMessageBody"] == _md5(parcels[int(entry["Id"])].body)
        }
        return _rejected(answer.get("Failed"), accepted, parcels)


def _entry(parcel: OutgoingMessage) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "MessageBody": parcel.body,
        "MessageGroupId": parcel.group,
        "MessageDeduplicationId": parcel.dedup_id,
    }
    if parcel.attributes:
        entry["MessageAttributes"] = {name: _value(each) for name, each in parcel.attributes.items()}
    if parcel.trace_header:
        header = {"DataType": "String", "StringValue": parcel.trace_header}
        entry["MessageSystemAttributes"] = {"AWSTraceHeader": header}
    return entry


def _value(attribute: Attribute) -> MessageAttributeValueTypeDef:
    if isinstance(attribute.value, bytes):
        return {"DataType": attribute.type, "BinaryValue": attribute.value}
    return {"DataType": attribute.type, "StringValue": attribute.value}


def _md5(body: str) -> str:
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()


def _rejected(
    failed: Sequence[BatchResultErrorEntryTypeDef] | None, accepted: set[str], sent: Sequence[object]
) -> list[RejectedEntry]:
    """Return what became of the entries that SQS's answer does not confirm."""
    refused = {entry["Id"]: entry for entry in failed or []}
    rejected = []
    for index in range(len(sent)):
        if str(index) in accepted and str(index) not in refused:
            continue
        entry = refused.get(str(index))
        if entry is None:
            rejected.append(RejectedEntry(index, "SQS's answer does not confirm it"))
            continue
        code, words = entry["Code"], entry.get("Message", "")
        gone = code in _HANDLE_CODES or _HANDLE_WORDS in words.lower()
        final = not gone and code in _MESSAGE_FAULTS
        rejected.append(RejectedEntry(index, f"{code}: {words}" if words else code, gone=gone, final=final))
    return rejected


def _said(error: ClientError) -> str:
    details = error.response.get("Error", {})
    return f"{details.get('Code', 'no code')}: {details.get('Message', '')}"
