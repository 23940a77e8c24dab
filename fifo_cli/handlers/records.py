"""A stream record → the message it becomes, or why it becomes none."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from . import exact_jmespath, exact_json
from .exact_jmespath import is_true
from .identifiers import sqs_id
from .runtime import Runtime

DEFAULT_GROUP: Final = "all"
MESSAGE_BYTES_MAX: Final = 1_048_576  # body and attributes; API Reference, SendMessage
_REASON_MAX: Final = 500
# What SQS refuses in bodies and String attributes (API Reference, SendMessage, MessageBody).
_ILLEGAL_TEXT: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

Attributes = dict[str, str]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to send; one that can never go to main goes to the "dlq", and ``reason`` says why."""

    queue: Literal["main", "dlq"]
    group: str
    dedup_id: str
    body: str
    attributes: Attributes
    stream_sequence: str
    reason: str = ""

    @property
    def size(self) -> int:
        """Bytes as SQS counts them: body, and each attribute's name, type and value."""
        return message_size(self.body, self.attributes)


def message_size(body: str, attributes: Attributes) -> int:
    """Return what SQS counts towards its limit, in bytes, for String attributes."""
    extra = sum(len(name) + len("String") + len(value.encode()) for name, value in attributes.items())
    return len(body.encode()) + extra


@dataclass(frozen=True, slots=True)
class Skipped:
    """A record that becomes no message, by the user's own rules."""

    stream_sequence: str
    reason: str


class _Unsendable(Exception):
    """The record can never become a message; the text says why."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How records become messages: the settings and the user's ``message`` function."""

    runtime: Runtime
    code: Callable[[Any], Any] | None = None


def to_message(record: Mapping[str, Any], rules: Rules) -> Outgoing | Skipped:
    """Turn one stream record into its message.

    What raises, or exceeds SQS's limits, becomes a message for the DLQ: as much of the item as fits, else
    its key. The record is as Lambda or GetRecords hands it out (``StreamRecord``, DynamoDB Streams API).
    """
    data = record["dynamodb"]
    sequence, event = data["SequenceNumber"], record["eventName"]
    if event not in rules.runtime.events:
        return Skipped(sequence, f"{event} is not in message.events")
    group = DEFAULT_GROUP
    item: Any = None
    try:
        item = _item(data, event)
        if rules.runtime.where and not is_true(_evaluate("where", rules.runtime.where, item)):
            return Skipped(sequence, "message.where is false")
        group = _group(rules.runtime.group, item)
        body = _body(rules, item)
        if body is None:
            return Skipped(sequence, f"{rules.runtime.message_code} returned None")
        message = Outgoing("main", group, sqs_id(record["eventID"]), body, _attributes(record), sequence)
        if message.size > MESSAGE_BYTES_MAX:
            raise _Unsendable(f"the message has {message.size} bytes; SQS takes {MESSAGE_BYTES_MAX}")
    except _Unsendable as problem:
        return _for_dlq(record, group, item, str(problem)[:_REASON_MAX])
    return message


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
            return sorted(exact_json.number(member) for member in inner)
        case "BS":
            return sorted(_base64(member) for member in inner)
        case _:
            raise _Unsendable(f"an attribute has the unknown type {kind!r}")


def _base64(value: str | bytes) -> str:
    """Lambda hands binary over as base64 text, GetRecords as bytes."""
    return value if isinstance(value, str) else base64.b64encode(value).decode()


def _item(data: Mapping[str, Any], event: str) -> dict[str, Any]:
    image = "OldImage" if event == "REMOVE" else "NewImage"
    if image not in data:
        raise _Unsendable(f"the record has no {image}: the stream's view type does not hold it")
    return {name: plain(value) for name, value in data[image].items()}


def _evaluate(key: str, expression: str, item: Any) -> Any:
    try:
        return exact_jmespath.compiled(expression).search(item)
    except Exception as error:
        raise _Unsendable(f"message.{key} failed: {type(error).__name__}: {error}") from error


def _group(expression: str | None, item: Any) -> str:
    value = _evaluate("group", expression, item) if expression else None
    if value is None:
        return DEFAULT_GROUP
    return sqs_id(value if isinstance(value, str) else exact_json.dumps(_sorted(value)))


def _sorted(value: Any) -> Any:
    """Return a value with the keys of its objects in order, so that equal ones are spelled alike."""
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(member) for member in value] if isinstance(value, list) else value


def _body(rules: Rules, item: Any) -> str | None:
    """Build the body; None means that the user's code skips the item."""
    value = _evaluate("body", rules.runtime.body, item) if rules.runtime.body else item
    if rules.code is not None:
        try:
            value = rules.code(value)
        except (Exception, SystemExit) as error:  # whatever the user's code does, the shard must not stop
            raise _Unsendable(
                f"{rules.runtime.message_code} raised {type(error).__name__}: {error}"
            ) from error
        if value is None:
            return None
    try:
        return exact_json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise _Unsendable(f"the body is not JSON: {error}") from error


def _attributes(record: Mapping[str, Any]) -> Attributes:
    """Build the attributes that every message of ours carries (contract, *A message*)."""
    data = record["dynamodb"]
    return {
        "event_id": record["eventID"],
        "stream_sequence": data["SequenceNumber"],
        "event_name": record["eventName"],
        "item_key": _key(data),
        "created_at": _created(data.get("ApproximateCreationDateTime")),
    }


def item_key(record: Mapping[str, Any]) -> str:
    """Return the JSON of a record's table key, as messages carry it."""
    return _key(record["dynamodb"])


def _key(data: Mapping[str, Any]) -> str:
    return exact_json.dumps({name: plain(value) for name, value in data.get("Keys", {}).items()})


def _created(value: float | datetime | None) -> str:
    """Lambda hands the time over in epoch seconds, GetRecords as a datetime."""
    instant = value if isinstance(value, datetime) else datetime.fromtimestamp(value or 0, UTC)
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _for_dlq(record: Mapping[str, Any], group: str, item: Any, reason: str) -> Outgoing:
    sequence = record["dynamodb"]["SequenceNumber"]
    attributes = {
        **_attributes(record),
        "park_reason": legal_text(reason),
        "park_at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "park_from": "enqueuer",
    }
    only_key = f'{{"item_key":{attributes["item_key"]},"stream_sequence":"{sequence}"}}'
    body = exact_json.dumps(item) if item is not None else only_key
    if message_size(body, attributes) > MESSAGE_BYTES_MAX:
        body = only_key
    return Outgoing("dlq", group, sqs_id(f"park-{record['eventID']}"), body, attributes, sequence, reason)


def legal_text(text: str) -> str:
    """Return ``text`` as a legal, non-empty value of a message attribute."""
    return _ILLEGAL_TEXT.sub("?", text) or "-"
