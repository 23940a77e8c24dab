"""A message of a queue: its fields are the JSON that ``peek`` prints and ``dump`` saves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from fifo_cli.model.names import QueueRole
from fifo_cli.model.results import OPTIONAL, Document, Fields
from fifo_cli.model.times import from_epoch_ms

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef


@dataclass(frozen=True, slots=True)
class Attribute(Fields):
    """A message attribute; ``value`` is text, or bytes where ``type`` begins with Binary."""

    type: str
    value: str | bytes


@dataclass(frozen=True, slots=True)
class Message(Fields):
    """A message; ``receives`` and ``first_received_at`` leave our own looking out of account.

    ``sent_at`` is known of every message of a queue; in JSON it is text, "" where it is not known.
    """

    message_id: str
    group: str
    dedup_id: str
    sequence_number: str
    queue: QueueRole
    sent_at: datetime | None
    first_received_at: datetime | None
    receives: int
    body: str
    attributes: Mapping[str, Attribute]
    trace_header: str | None = field(default=None, metadata=OPTIONAL)  # X-Ray's, a system attribute

    def document(self) -> Document:
        return Fields.document(self) | ({} if self.sent_at else {"sent_at": ""})

    @property
    def order(self) -> tuple[int, int]:
        """The sort key of the line: SQS's sequence number, compared as an integer."""
        return (int(self.sequence_number or "0"), self.sent_ms)

    @property
    def sent_ms(self) -> int:
        """When it was sent, in epoch milliseconds; 0 if that is not known."""
        return round(self.sent_at.timestamp() * 1000) if self.sent_at else 0

    def sent_after(self, instant: datetime) -> bool:
        return self.sent_at is not None and self.sent_at > instant

    def text(self, attribute: str) -> str | None:
        """Return an attribute's text, or None if the message has no such."""
        found = self.attributes.get(attribute)
        return found.value if found is not None and isinstance(found.value, str) else None


class ReceivedMessage(NamedTuple):
    """A message, and how its source knows it: a receipt handle, or the digest of a file's line.

    ``receipt_handle`` is never stored or printed. ``dead_letter_source`` is the ARN of the queue whose
    redrive policy moved the message here, "" if none did.
    """

    message: Message
    receipt_handle: str
    dead_letter_source: str = ""


def read_attributes(raw: Mapping[str, Mapping[str, Any]]) -> dict[str, Attribute]:
    """Read message attributes as SQS's API has them."""
    return {
        name: Attribute(value["DataType"], value.get("StringValue", value.get("BinaryValue", "")))
        for name, value in raw.items()
    }


def from_sqs(raw: MessageTypeDef, queue: QueueRole) -> ReceivedMessage:
    """Read a message of ReceiveMessage's answer (all attributes asked for)."""
    system: dict[str, str] = dict(raw.get("Attributes", {}))  # type: ignore[arg-type]
    receives = max(0, int(system.get("ApproximateReceiveCount", "1")) - 1)
    first = int(system.get("ApproximateFirstReceiveTimestamp", "0"))
    message = Message(
        message_id=raw["MessageId"],
        group=system.get("MessageGroupId", ""),
        dedup_id=system.get("MessageDeduplicationId", ""),
        sequence_number=system.get("SequenceNumber", ""),
        queue=queue,
        sent_at=from_epoch_ms(int(system.get("SentTimestamp", "0"))),
        first_received_at=from_epoch_ms(first) if receives and first else None,
        receives=receives,
        body=raw["Body"],
        attributes=read_attributes(raw.get("MessageAttributes", {})),
        trace_header=system.get("AWSTraceHeader"),
    )
    return ReceivedMessage(message, raw["ReceiptHandle"], system.get("DeadLetterQueueSourceArn", ""))
