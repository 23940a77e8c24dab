"""What the enqueuer parks: the stream record as it came, in a message's body, and the way back.

Such a message is not one for the API: the user's code may leave out what must never reach it. Every move to
main makes a message of the record with the code and settings as they are then (docs/how-it-works.md).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from . import exact_json

PARK_FROM: Final = "enqueuer"  # the value of a parked record's attribute park_from
NOT_A_MESSAGE: Final = (
    "this is a record that the enqueuer parked, not a message for the API; a redrive makes a message of it"
    " with the code and fifo.toml as they are now"
)
_REPLAY: Final = (
    "a replay of its key reads the item's records from the stream, which keeps them for 24 hours; after that"
    " write the item again"
)


class NoRecordError(Exception):
    """A parked message does not hold the record; the text says why, and what to do."""


def is_parked_record(park_from: str | None) -> bool:
    """Say whether a message with this ``park_from`` is a record that the enqueuer parked."""
    return park_from == PARK_FROM


def record_body(record: Mapping[str, Any], *, bytes_max: int, images: bool = True) -> str:
    """Write a record as a parked message's body: with its images, as the stream had them, if that fits."""
    event, data = record.get("eventName"), record.get("dynamodb")
    data = data if isinstance(data, Mapping) else {}
    keys = {"event_name": event, "keys": data.get("Keys")}
    whole = {**keys, "new_image": data.get("NewImage"), "old_image": data.get("OldImage")}
    for document in (whole, keys) if images else (keys,):
        try:
            text = _json(document)
        except (TypeError, ValueError, RecursionError):
            continue
        if len(text.encode()) <= bytes_max:
            return text
    return _json({"event_name": str(event), "keys": None})


def record_of(body: str, attributes: Mapping[str, str]) -> dict[str, Any]:
    """Read a parked message back into the record; raises NoRecordError if it does not hold it."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if (
        not isinstance(document, dict)
        or not isinstance(document.get("keys"), dict)
        or "event_name" not in document
    ):
        raise NoRecordError(f"it was parked by an older fifo-cli, which did not keep the record; {_REPLAY}")
    if "new_image" not in document:
        raise NoRecordError(f"the record was too large to be kept, so only its key is here; {_REPLAY}")
    images = {"NewImage": document["new_image"], "OldImage": document.get("old_image")}
    return {
        "eventID": attributes.get("event_id", ""),
        "eventName": document["event_name"],
        "dynamodb": {
            "Keys": document["keys"],
            "SequenceNumber": attributes.get("stream_sequence", ""),
            "ApproximateCreationDateTime": _instant(attributes.get("created_at", "")),
            **{name: image for name, image in images.items() if image is not None},
        },
    }


def _json(document: Mapping[str, Any]) -> str:
    return exact_json.legal(
        json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_base64)
    )


def _base64(value: object) -> str:
    """Write binary as Lambda hands it over; GetRecords gives bytes."""
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} is not of a stream record")


def _instant(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
