"""A stream record → the message it becomes, or why it becomes none."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any, Final, Literal

from . import exact_jmespath, exact_json
from .code_guard import CodeGuard
from .exact_jmespath import is_true
from .failure import (
    ApiUnavailableError,
    ConfigurationError,
    MessageError,
    OutOfTimeError,
    described,
    is_interruption,
)
from .identifiers import sqs_id
from .json_log import iso
from .limits import MESSAGE_BYTES_MAX
from .parked_records import PARK_FROM, record_body
from .runtime import Runtime

DEFAULT_GROUP: Final = "all"
_REASON_MAX: Final = 500
# What SQS refuses in bodies and String attributes (API Reference, SendMessage, MessageBody).
_ILLEGAL_TEXT: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

Attributes = dict[str, str]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to send; one that can never go to main goes to the "dlq", and ``reason`` says why.

    ``instead`` makes what is sent if SQS refuses this one for what it holds, out of SQS's reason. ``size`` is
    the bytes that SQS counts.
    """

    queue: Literal["main", "dlq"]
    group: str
    dedup_id: str
    body: str
    attributes: Attributes
    stream_sequence: str
    reason: str = ""
    instead: Callable[[str], Outgoing] | None = field(default=None, compare=False, repr=False)
    size: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", message_size(self.body, self.attributes))


def message_size(body: str, attributes: Attributes) -> int:
    """Return what SQS counts towards its limit, in bytes, for String attributes."""
    extra = sum(len(name) + len("String") + len(value.encode()) for name, value in attributes.items())
    return len(body.encode()) + extra


@dataclass(frozen=True, slots=True)
class Skipped:
    """A record that becomes no message, by the user's own rules."""

    stream_sequence: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rules:
    """How records become messages: the settings, and the user's ``message`` function with its guard.

    What was written before ``start`` (seconds since 1970) becomes none.
    """

    runtime: Runtime
    code: Callable[[Any], Any] | None = None
    guard: CodeGuard | None = None
    start: float | None = None


def to_message(
    record: Mapping[str, Any], rules: Rules, *, seconds: float = float("inf")
) -> Outgoing | Skipped:
    """Turn one stream record into its message.

    Every fault is this record's: it becomes a message for the DLQ that holds the record. Only a fault
    of configuration and an interruption are raised, and OutOfTimeError, where ``seconds`` is less than the
    limit of the user's code and too little. The record is as Lambda or GetRecords hands it out
    (``StreamRecord``, DynamoDB Streams API).
    """
    try:
        return _made(record, rules, seconds)
    except _PartError as error:
        return _for_dlq(record, error.group, error.reason)
    except BaseException as error:
        if is_interruption(error) or isinstance(error, ConfigurationError | OutOfTimeError):
            raise
        return _for_dlq(record, DEFAULT_GROUP, f"the record cannot be read: {described(error)}")


class _PartError(Exception):
    """A record that cannot become a message; its ``group`` as far as it is known."""

    def __init__(self, group: str, reason: str) -> None:
        super().__init__(reason)
        self.group = group
        self.reason = reason


def _made(record: Mapping[str, Any], rules: Rules, seconds: float) -> Outgoing | Skipped:
    """Return what a record becomes; raises _PartError, or anything where the record is malformed."""
    data = record["dynamodb"]
    sequence, event = data["SequenceNumber"], record["eventName"]
    if _is_before(rules.start, data):
        return Skipped(sequence, "it was written before this pipeline began ([table] start)")
    if event not in rules.runtime.events:
        return Skipped(sequence, f"{event} is not in message.events")
    group = DEFAULT_GROUP
    try:
        item = _item(data, event)
        if rules.runtime.where and not is_true(_evaluate("where", rules.runtime.where, item)):
            return Skipped(sequence, "message.where is false")
        group = group_of(rules.runtime.group, item)
        body = _body(rules, item, sequence, seconds)
        if body is None:
            return Skipped(sequence, f"{rules.runtime.message_code} returned None")
        message = Outgoing(
            "main",
            group,
            sqs_id(record["eventID"]),
            body,
            _attributes(record),
            sequence,
            instead=partial(_for_dlq, record, group),
        )
        if message.size > MESSAGE_BYTES_MAX:
            raise MessageError(f"the message has {message.size} bytes; SQS takes {MESSAGE_BYTES_MAX}")
    except (MessageError, ApiUnavailableError) as problem:
        raise _PartError(group, str(problem)) from problem
    return message


def _is_before(start: float | None, data: Mapping[str, Any]) -> bool:
    """Say whether a record was written before the pipeline began.

    DynamoDB rounds the time of a record down to the second, and so is the start: what was written within
    that second counts as written after it. Lambda hands the time over as a number, GetRecords as a datetime.
    """
    written = data.get("ApproximateCreationDateTime")
    if start is None or written is None:
        return False
    seconds = written.timestamp() if isinstance(written, datetime) else float(written)
    return math.floor(seconds) < math.floor(start)


def plain(value: Mapping[str, Any]) -> Any:  # noqa: PLR0911 - a return for each of DynamoDB's types
    """Turn one DynamoDB attribute value into plain JSON: numbers exact, sets sorted, binary base64."""
    ((kind, inner),) = value.items()
    match kind:
        case "S" | "BOOL":
            return inner
        case "NULL":
            return None
        case "N":
            return exact_json.number(inner)
        case "B":
            return _base64(inner)
        case "M":
            return {name: plain(member) for name, member in inner.items()}
        case "L":
            return [plain(member) for member in inner]
        case "SS":
            return sorted(inner)
        case "NS":
            return [exact_json.number(member) for member in sorted(inner, key=Decimal)]
        case "BS":
            return sorted(_base64(member) for member in inner)
        case _:
            raise MessageError(f"an attribute has the unknown type {kind!r}")


def _base64(value: str | bytes) -> str:
    """Lambda hands binary over as base64 text, GetRecords as bytes."""
    return value if isinstance(value, str) else base64.b64encode(value).decode()


def _item(data: Mapping[str, Any], event: str) -> dict[str, Any]:
    image = "OldImage" if event == "REMOVE" else "NewImage"
    if image not in data:
        raise MessageError(f"the record has no {image}: the stream's view type does not hold it")
    return {name: plain(value) for name, value in data[image].items()}


def _evaluate(key: str, expression: str, item: Any) -> Any:
    try:
        return exact_jmespath.compiled(expression).search(item)
    except Exception as error:
        raise MessageError(f"message.{key} failed: {described(error)}") from error


def group_of(expression: str | None, item: Any) -> str:
    """Return the message group of an item; raises MessageError."""
    value = _evaluate("group", expression, item) if expression else None
    if value is None:
        return DEFAULT_GROUP
    try:
        return sqs_id(value if isinstance(value, str) else exact_json.dumps(_sorted(value)))
    except (TypeError, ValueError, RecursionError) as error:
        raise MessageError(f"message.group cannot be written: {described(error)}") from error


def _sorted(value: Any) -> Any:
    """Return a value with the keys of its objects in order, so that equal ones are spelled alike."""
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(member) for member in value] if isinstance(value, list) else value


def _body(rules: Rules, item: Any, sequence: str, seconds: float) -> str | None:
    """Build the body; None means that the user's code skips the item."""
    value = _evaluate("body", rules.runtime.body, item) if rules.runtime.body else item
    code, guard = rules.code, rules.guard
    if code is None:
        return written(value)
    assert guard is not None, "code of the user's is run by its guard"

    def make() -> str | None:
        made = code(value)
        return None if made is None else written(made)  # writing it may run the user's code as well

    return guard.run(sequence, make, seconds=seconds)


def written(value: Any) -> str:
    """Return the body for a value; raises MessageError if it is not JSON."""
    if isinstance(value, exact_json.Written):
        return value.text
    try:
        return exact_json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise MessageError(f"the body is not JSON: {error}") from error


def _attributes(record: Mapping[str, Any]) -> Attributes:
    """Build the attributes that every message of ours carries."""
    data = record["dynamodb"]
    return {
        "event_id": record["eventID"],
        "stream_sequence": data["SequenceNumber"],
        "event_name": record["eventName"],
        "item_key": _key(data),
        "created_at": _created(data.get("ApproximateCreationDateTime")),
    }


def item_key(record: Mapping[str, Any]) -> str:
    """Return the JSON of a record's table key, as messages carry it; that of a malformed one is empty."""
    try:
        return _key(record["dynamodb"])
    except Exception:  # noqa: BLE001 - any fault of the record
        return "{}"


def _key(data: Mapping[str, Any]) -> str:
    return exact_json.dumps({name: plain(value) for name, value in data.get("Keys", {}).items()})


def _created(value: float | datetime | None) -> str:
    """Lambda hands the time over in epoch seconds, GetRecords as a datetime."""
    instant = value if isinstance(value, datetime) else datetime.fromtimestamp(value or 0, UTC)
    return iso(instant)


def _for_dlq(record: Mapping[str, Any], group: str, reason: str, *, keys_only: bool = False) -> Outgoing:
    """Make the message that parks a record, exactly as the stream had it, with any fault it has."""
    reason = reason_text(reason)
    attributes = {
        **_attributes_of_any(record),
        "park_reason": reason,
        "park_at": iso(datetime.now(UTC)),
        "park_from": PARK_FROM,
    }
    room = MESSAGE_BYTES_MAX - message_size("", attributes)
    dedup_id = sqs_id(f"park-{attributes['event_id']}")
    body = record_body(record, bytes_max=room, images=not keys_only)
    instead = None if keys_only else partial(_for_dlq, record, group, keys_only=True)
    sequence = attributes["stream_sequence"]
    return Outgoing("dlq", group, dedup_id, body, attributes, sequence, reason, instead)


def _attributes_of_any(record: Mapping[str, Any]) -> Attributes:
    """Return the attributes of a record that may be malformed, each a legal one."""
    data = record.get("dynamodb")
    data = data if isinstance(data, Mapping) else {}
    try:
        created = _created(data.get("ApproximateCreationDateTime"))
    except (TypeError, ValueError, OverflowError, OSError):
        created = "-"
    facts = {
        "event_id": str(record.get("eventID")),
        "stream_sequence": str(data.get("SequenceNumber")),
        "event_name": str(record.get("eventName")),
        "item_key": item_key(record),
        "created_at": created,
    }
    return {name: legal_text(text) for name, text in facts.items()}


def reason_text(reason: str) -> str:
    """Return why something is parked, as ``park_reason`` has it."""
    return legal_text(reason[:_REASON_MAX])


def legal_text(text: str) -> str:
    """Return ``text`` as a legal, non-empty value of a message attribute."""
    return _ILLEGAL_TEXT.sub("?", text) or "-"
