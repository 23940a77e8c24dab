"""Parking: a message goes to the DLQ with the reason, before it is deleted from main."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from .identifiers import sqs_id
from .json_log import iso
from .limits import MESSAGE_ATTRIBUTES_MAX, MESSAGE_BYTES_MAX
from .parked_records import PARK_FROM, is_parked_record
from .records import reason_text
from .visibility import QueueMessage

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

_SENT: Final = ("DataType", "StringValue", "BinaryValue")


def park(
    sqs: SQSClient, dlq_url: str, message: QueueMessage, *, reason: str, status: int | None, source: str
) -> None:
    """Send a copy to the DLQ, with ``park_*`` attributes.

    The deduplication id is made of the source message's id and the operation, so a repeat within five
    minutes makes no second copy; the original id would be swallowed if it was used there before.
    Raises botocore's errors; the message is then still only in its old place.
    """
    extra: dict[str, Any] = {}
    if header := message.system.get("AWSTraceHeader"):
        extra["MessageSystemAttributes"] = {"AWSTraceHeader": {"DataType": "String", "StringValue": header}}
    sqs.send_message(
        QueueUrl=dlq_url,
        MessageBody=message.body,
        MessageGroupId=message.group,
        MessageDeduplicationId=sqs_id(f"park-{message.message_id}"),
        MessageAttributes=parked_attributes(message, reason=reason, status=status, source=source),
        **extra,
    )


def parked_attributes(
    message: QueueMessage, *, reason: str, status: int | None, source: str
) -> dict[str, Any]:
    """The message's own attributes, and as many of ours as the limits on count and size leave room for."""
    own = {
        name: {key: value for key, value in attribute.items() if key in _SENT}
        for name, attribute in message.attributes.items()
        if not name.startswith("park_")
    }
    own_bytes = len(message.body.encode()) + sum(_size(name, value) for name, value in own.items())
    room = MESSAGE_BYTES_MAX - own_bytes
    ours = {
        "park_reason": reason_text(reason),
        "park_status": str(status) if status is not None else None,
        "park_at": iso(datetime.now(UTC)),
        # A record stays one, whoever parks it again: it is never to be sent as it is.
        "park_from": PARK_FROM if is_parked_record(message.attribute("park_from")) else source,
    }
    for name, text in ours.items():
        if text is None or len(own) >= MESSAGE_ATTRIBUTES_MAX:
            continue
        attribute = {"DataType": "String", "StringValue": text}
        if _size(name, attribute) <= room:
            own[name] = attribute
            room -= _size(name, attribute)
    return own


def _size(name: str, attribute: dict[str, Any]) -> int:
    value = attribute.get("BinaryValue", attribute.get("StringValue", ""))
    value_bytes = len(value if isinstance(value, bytes) else value.encode())
    return len(name.encode()) + len(attribute["DataType"]) + value_bytes
