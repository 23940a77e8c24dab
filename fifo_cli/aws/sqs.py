"""SQS: the pipeline's FIFO queues; what they count, and their messages, in batches with each entry's result.

Everything that the command line asks of SQS about messages goes through ``Queue``. The functions have their
own small client (handlers/visibility.py, handlers/ordered_send.py), as their zips hold nothing of this.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from fifo_cli.aws.consistency import is_one_server
from fifo_cli.aws.errors import THROTTLED, calling, error_codes, unless_answered
from fifo_cli.aws.foreign_responses import served_at
from fifo_cli.aws.session import Aws
from fifo_cli.errors import FifoError
from fifo_cli.handlers.batch_answer import read_batch
from fifo_cli.model.limits import BATCH_ENTRIES_MAX, MESSAGE_BYTES_MAX, RECEIVE_MAX
from fifo_cli.model.message import Attribute, ReceivedMessage, from_sqs
from fifo_cli.model.names import Names, QueueRole
from fifo_cli.model.queue_counts import Counted
from fifo_cli.model.urls import host_of, is_aws

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import (
        MessageAttributeValueTypeDef,
        SendMessageBatchRequestEntryTypeDef,
    )

# What SQS says of a receipt handle that is over or of a message that is gone (Developer Guide, "Amazon SQS
# visibility timeout"; seen as code of a batch's entry, and as InvalidParameterValue with these words:
# DeleteMessage has "The receipt handle has expired", ChangeMessageVisibility "for parameter ReceiptHandle").
_HANDLE_CODES: Final = frozenset({"ReceiptHandleIsInvalid", "MessageNotInflight"})
_HANDLE_WORDS: Final = "receipthandle"
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
LONG_POLL_SECONDS: Final = 1
_OTHER_BODY: Final = "SQS's answer shows another body than was sent"
# SQS gives ApproximateAgeOfOldestMessage to CloudWatch once a minute (Developer Guide, "Metrics").
_AGE_WINDOW: Final = timedelta(minutes=10)
_AGE_PERIOD_SECONDS: Final = 60


class OutgoingMessage(NamedTuple):
    """A message to send."""

    body: str
    group: str
    dedup_id: str
    attributes: Mapping[str, Attribute] = MappingProxyType({})
    trace_header: str | None = None


@dataclass(frozen=True, slots=True)
class RejectedEntry:
    """Why the entry at ``index`` is not done. ``gone``: its handle is over; ``final``: no try helps.

    ``doubtful``: SQS's answer does not say, so it may have taken effect.
    """

    index: int
    reason: str
    gone: bool = False
    final: bool = False
    doubtful: bool = False


def read_counts(sqs: SQSClient, url: str, name: str) -> Counted:
    """Ask for a queue's approximate counts, and the receives that its redrive policy allows.

    All attributes are asked for: `status` and `check` compare the others with fifo.toml.
    """
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    policy = json.loads(found.get("RedrivePolicy") or "{}")
    return Counted(
        name,
        visible=int(found["ApproximateNumberOfMessages"]),
        in_flight=int(found["ApproximateNumberOfMessagesNotVisible"]),
        delayed=int(found["ApproximateNumberOfMessagesDelayed"]),
        max_receives=int(policy["maxReceiveCount"]) if "maxReceiveCount" in policy else None,
    )


@dataclass(frozen=True)
class PipelineQueues:
    """The queues of one pipeline; for what works on several of them."""

    aws: Aws
    names: Names

    @cached_property
    def main(self) -> Queue:
        return Queue(self.aws, self.names, "main")

    @cached_property
    def dlq(self) -> Queue:
        return Queue(self.aws, self.names, "dlq")

    @cached_property
    def hold(self) -> Queue:
        return Queue(self.aws, self.names, "hold")


class Queue:
    """One FIFO queue of the pipeline; its URL is asked for once. Safe to share between threads."""

    def __init__(self, aws: Aws, names: Names, role: QueueRole) -> None:
        self._aws = aws
        self.role = role
        self.name = names.queue(role)

    @property
    def _sqs(self) -> SQSClient:
        return self._aws.client("sqs")

    @cached_property
    def url(self) -> str:
        """The queue's URL; raises NotDeployedError if the queue does not exist."""
        with calling(self.name):
            return self._sqs.get_queue_url(QueueName=self.name)["QueueUrl"]

    @cached_property
    def arn(self) -> str:
        """The queue's ARN."""
        with calling(self.name):
            answer = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])
        return answer["Attributes"]["QueueArn"]

    @cached_property
    def tags(self) -> QueueTags:
        """The queue's tags."""
        return QueueTags(self._aws, self)

    def dead_letter_sources(self) -> list[str]:
        """Return the names of the queues whose dead-letter queue this is; none if the call is unknown."""
        pages = self._sqs.get_paginator("list_dead_letter_source_queues").paginate(QueueUrl=self.url)
        with calling(self.name):
            # The embedded stack does not know the call.
            answer = unless_answered({"InvalidAction"}, pages.build_full_result)
        return sorted(url.rpartition("/")[2] for url in answer.get("queueUrls", [])) if answer else []

    def counts(self) -> Counted:
        """Ask for the approximate counts, and the receives that the redrive policy allows."""
        with calling(self.name):
            return read_counts(self._sqs, self.url, self.name)

    def total_if_known(self) -> int | None:
        """Ask how many messages are in the queue; None if AWS cannot be asked, as a report's end needs it."""
        try:
            return self.counts().total
        except FifoError:
            return None

    def oldest_age(self) -> int | None:
        """Ask CloudWatch for the oldest message's age in seconds; None if it does not say."""
        until = datetime.now(UTC)
        try:
            answer = self._aws.client("cloudwatch").get_metric_statistics(
                Namespace="AWS/SQS",
                MetricName="ApproximateAgeOfOldestMessage",
                Dimensions=[{"Name": "QueueName", "Value": self.name}],
                StartTime=until - _AGE_WINDOW,
                EndTime=until,
                Period=_AGE_PERIOD_SECONDS,
                Statistics=["Maximum"],
            )
        except (ClientError, BotoCoreError):
            return None
        points = sorted(answer.get("Datapoints", []), key=lambda point: point["Timestamp"])
        return int(points[-1]["Maximum"]) if points else None

    def max_message_bytes(self) -> int:
        """Ask for the queue's own limit; one made before 2025 may keep 256 KiB."""
        with calling(self.name):
            answer = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["MaximumMessageSize"])
        return int(answer.get("Attributes", {}).get("MaximumMessageSize", MESSAGE_BYTES_MAX))

    def purge(self) -> bool:
        """Delete every message for good; False if the queue was purged within the last minute.

        SQS takes up to 60 s to do it, and may delete what is sent meanwhile (API Reference, PurgeQueue).
        """
        url = self.url
        with calling(self.name):
            try:
                self._sqs.purge_queue(QueueUrl=url)
            except ClientError as error:
                if not any("PurgeQueueInProgress" in code for code in error_codes(error)):
                    raise
                return False
        return True

    @property
    def throttles(self) -> int:
        """How many tries AWS has throttled so far."""
        return self._aws.throttles

    @property
    def batches_keep_trace_headers(self) -> bool:
        """Whether the service is AWS itself: emulators drop the trace header of a batch's entries."""
        return is_aws(host_of(self._sqs.meta.endpoint_url))

    @cached_property
    def long_poll_seconds(self) -> int:
        """How long a receive waits, so that one without a message has asked all of SQS's servers.

        Where there is one server it need not wait (Developer Guide, "Short and long polling").
        """
        return 0 if is_one_server(self._sqs) else LONG_POLL_SECONDS

    def receive(self, *, count: int = RECEIVE_MAX, visibility: int, wait: int) -> list[ReceivedMessage]:
        """Receive up to ten messages, invisible to others for ``visibility`` seconds.

        From a FIFO queue, each receive has a name, so that botocore's retry of a lost answer gets the same
        messages (API Reference, ReceiveMessage, ReceiveRequestAttemptId).
        """
        fifo = self.name.endswith(".fifo")
        named: dict[str, Any] = {"ReceiveRequestAttemptId": uuid.uuid4().hex} if fifo else {}
        with calling(self.name):
            answer = self._sqs.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=min(count, RECEIVE_MAX),
                VisibilityTimeout=visibility,
                WaitTimeSeconds=wait,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["All"],
                **named,
            )
        return [from_sqs(raw, self.role) for raw in answer.get("Messages", [])]

    def change_visibility(self, handles: Sequence[str], *, seconds: int) -> list[RejectedEntry]:
        """Make messages invisible for ``seconds`` from now (0: release them), in the order given."""
        return _in_batches(handles, lambda part: self._change_visibility(part, seconds))

    def _change_visibility(self, handles: Sequence[str], seconds: int) -> list[RejectedEntry]:
        with calling(self.name):
            answer = self._sqs.change_message_visibility_batch(
                QueueUrl=self.url,
                Entries=[
                    {"Id": str(n), "ReceiptHandle": handle, "VisibilityTimeout": seconds}
                    for n, handle in enumerate(handles)
                ],
            )
        return _rejected(answer, len(handles))

    def delete(self, handles: Sequence[str]) -> list[RejectedEntry]:
        """Delete messages; return those that SQS rejected."""
        return _in_batches(handles, self._delete)

    def _delete(self, handles: Sequence[str]) -> list[RejectedEntry]:
        with calling(self.name):
            answer = self._sqs.delete_message_batch(
                QueueUrl=self.url,
                Entries=[{"Id": str(n), "ReceiptHandle": handle} for n, handle in enumerate(handles)],
            )
        return _rejected(answer, len(handles))

    def send(self, outgoing: Sequence[OutgoingMessage]) -> list[RejectedEntry]:
        """Send messages in one call, in the order given; return those refused or not confirmed byte for byte.

        A call that SQS refuses because of a message in it is repeated message by message, up to the first
        refusal of each group. Raises AwsError for any other refusal of the whole call.
        """
        with calling(self.name):
            try:
                return self._send_batch(outgoing)
            except ClientError as error:
                if not error_codes(error) & _MESSAGE_FAULTS or error_codes(error) & THROTTLED:
                    raise
                if len(outgoing) == 1:
                    return [RejectedEntry(0, _reason_of(error), final=True)]
        return self.send_singly(outgoing)

    def send_singly(self, outgoing: Sequence[OutgoingMessage]) -> list[RejectedEntry]:
        """Send messages one call each, in order; behind a refused one of its group, none is sent."""
        rejected: list[RejectedEntry] = []
        stopped: set[str] = set()
        for index, message in enumerate(outgoing):
            if message.group in stopped:
                rejected.append(RejectedEntry(index, "behind a message of its group that was refused"))
                continue
            try:
                answer = self._sqs.send_message(QueueUrl=self.url, **_entry(message))
            except ClientError as error:
                codes = error_codes(error)
                final = bool(codes & _MESSAGE_FAULTS) and not codes & THROTTLED
                if not final and not rejected and index == 0:
                    with calling(self.name):
                        raise
                rejected.append(RejectedEntry(index, _reason_of(error), final=final))
                stopped.add(message.group)
                continue
            if not _shows_body(answer, message):
                rejected.append(RejectedEntry(index, _OTHER_BODY, doubtful=True))
                stopped.add(message.group)
        return rejected

    def _send_batch(self, outgoing: Sequence[OutgoingMessage]) -> list[RejectedEntry]:
        entries: list[SendMessageBatchRequestEntryTypeDef] = [
            {"Id": str(n), **_entry(message)}  # type: ignore[typeddict-item]
            for n, message in enumerate(outgoing)
        ]
        answer = self._sqs.send_message_batch(QueueUrl=self.url, Entries=entries)
        return _rejected(answer, len(outgoing), lambda entry, n: _shows_body(entry, outgoing[n]))


@dataclass(frozen=True, slots=True)
class Seen:
    """A queue's tags as they were at ``at``, by the service's clock."""

    tags: Mapping[str, str]
    at: datetime


class QueueTags:
    """The tags of one queue."""

    def __init__(self, aws: Aws, queue: Queue) -> None:
        self._aws = aws
        self.queue = queue

    @property
    def settles(self) -> float:
        """In how many seconds what another wrote at the same time shows."""
        return self._aws.delays.tag

    @property
    def _sqs(self) -> SQSClient:
        return self._aws.client("sqs")

    def read(self) -> Seen:
        """Return all tags."""
        with calling(self.queue.name):
            answer = self._sqs.list_queue_tags(QueueUrl=self.queue.url)
        return Seen(answer.get("Tags") or {}, served_at(answer["ResponseMetadata"]))

    def write(self, tag: str, value: str) -> None:
        """Set one tag."""
        with calling(self.queue.name):
            self._sqs.tag_queue(QueueUrl=self.queue.url, Tags={tag: value})

    def remove(self, tag: str) -> None:
        """Take one tag away, if it is there."""
        with calling(self.queue.name):
            self._sqs.untag_queue(QueueUrl=self.queue.url, TagKeys=[tag])


def _in_batches(
    handles: Sequence[str], call: Callable[[Sequence[str]], list[RejectedEntry]]
) -> list[RejectedEntry]:
    """Call for ten handles at a time; the entries' indexes are those in ``handles``."""
    return [
        replace(entry, index=start + entry.index)
        for start in range(0, len(handles), BATCH_ENTRIES_MAX)
        for entry in call(handles[start : start + BATCH_ENTRIES_MAX])
    ]


def _entry(message: OutgoingMessage) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "MessageBody": message.body,
        "MessageGroupId": message.group,
        "MessageDeduplicationId": message.dedup_id,
    }
    if message.attributes:
        entry["MessageAttributes"] = {name: _value(each) for name, each in message.attributes.items()}
    if message.trace_header:
        header = {"DataType": "String", "StringValue": message.trace_header}
        entry["MessageSystemAttributes"] = {"AWSTraceHeader": header}
    return entry


def _value(attribute: Attribute) -> MessageAttributeValueTypeDef:
    if isinstance(attribute.value, bytes):
        return {"DataType": attribute.type, "BinaryValue": attribute.value}
    return {"DataType": attribute.type, "StringValue": attribute.value}


def _md5(body: str) -> str:
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()


def _rejected(
    answer: Mapping[str, Any],
    count: int,
    is_right: Callable[[Mapping[str, Any], int], bool] = lambda entry, index: True,
) -> list[RejectedEntry]:
    """Return what became of the entries of a call that SQS's answer does not confirm."""
    read = read_batch(answer, [str(n) for n in range(count)])
    rejected = []
    for index in range(count):
        error = read.failed.get(str(index))
        if error is None:
            if not is_right(read.done[str(index)], index):
                rejected.append(RejectedEntry(index, _OTHER_BODY, doubtful=True))
            continue
        gone = error.code in _HANDLE_CODES or _HANDLE_WORDS in error.message.lower().replace(" ", "")
        final = not gone and error.code in _MESSAGE_FAULTS
        rejected.append(
            RejectedEntry(index, error.reason, gone=gone, final=final, doubtful=not error.refused)
        )
    return rejected


def _shows_body(entry: Mapping[str, Any], message: OutgoingMessage) -> bool:
    """Say whether SQS's answer to a send shows that it has the body byte for byte."""
    return bool(entry.get("MD5OfMessageBody") == _md5(message.body))


def _reason_of(error: ClientError) -> str:
    details = error.response.get("Error", {})
    return f"{details.get('Code', 'no code')}: {details.get('Message', '')}"
