"""A message of a queue, as it is printed and saved (contract, *A message*)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fifo_cli.model.names import QueueRole
from fifo_cli.model.times import from_epoch_ms, iso

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef


@dataclass(frozen=True, slots=True)
class Attribute:
    """A message attribute; ``value`` is text, or bytes where ``type`` begins with Binary."""

    type: str
    value: str | bytes

    def document(self) -> dict[str, str]:
        value = self.value if isinstance(self.value, str) else base64.b64encode(self.value).decode("ascii")
        return {"type": self.type, "value": value}


@dataclass(frozen=True, slots=True)
class Message:
    """A message; ``receives`` and ``first_received_at`` leave our own looking out of account."""

    message_id: str
    group: str
    dedup_id: str
    sequence_number: str
    queue: QueueRole
    sent_at: str
    first_received_at: str | None
    receives: int
    body: str
    attributes: Mapping[str, Attribute]
    trace_header: str | None = None  # X-Ray's, a system attribute of the message

    @property
    def order(self) -> tuple[int, str]:
        """The sort key of the line: SQS's sequence number, compared as an integer."""
        return (int(self.sequence_number or "0"), self.sent_at)

    def document(self) -> dict[str, Any]:
        """Return the contract's JSON; ``trace_header`` is in it only if the message has one."""
        traced = {} if self.trace_header is None else {"trace_header": self.trace_header}
        return {
            "message_id": self.message_id,
            "group": self.group,
            "dedup_id": self.dedup_id,
            "sequence_number": self.sequence_number,
            "queue": self.queue,
            "sent_at": self.sent_at,
            "first_received_at": self.first_received_at,
            "receives": self.receives,
            "body": self.body,
            "attributes": {name: attribute.document() for name, attribute in self.attributes.items()},
            **traced,
        }

    def text(self, attribute: str) -> str | None:
        """Return an attribute's text, or None if the message has no such."""
        found = self.attributes.get(attribute)
        return found.value if found is not None and isinstance(found.value, str) else None


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A message, and how its source knows it: a receipt handle, or the digest of a file's line.

    ``receipt_handle`` is never stored or printed. ``dead_letter_source`` is the ARN of the queue whose
    redrive policy moved the message here, "" if none did.
    """

    message: Message
    receipt_handle: str
    dead_letter_source: str = ""


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
        sent_at=iso(from_epoch_ms(int(system.get("SentTimestamp", "0")))),
        first_received_at=iso(from_epoch_ms(first)) if receives and first else None,
        receives=receives,
        body=raw["Body"],
        attributes={
            name: Attribute(value["DataType"], value.get("StringValue", value.get("BinaryValue", "")))
            for name, value in raw.get("MessageAttributes", {}).items()
        },
        trace_header=system.get("AWSTraceHeader"),
    )
    return ReceivedMessage(message, raw["ReceiptHandle"], system.get("DeadLetterQueueSourceArn", ""))
