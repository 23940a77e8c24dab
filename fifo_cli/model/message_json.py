"""Messages as lines of a file: one JSON object a line, as ``dump`` writes them and ``load`` reads them.

Reading checks all that SQS would refuse (API Reference, SendMessage and MessageAttributeValue; Developer
Guide, "Amazon SQS message metadata"), so that a file is sent whole or not at all.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, Final

from fifo_cli.model.json_text import repeated_name, to_json
from fifo_cli.model.limits import MESSAGE_ATTRIBUTES_MAX, MESSAGE_BYTES_MAX
from fifo_cli.model.message import Attribute, Message
from fifo_cli.model.names import QueueRole
from fifo_cli.model.results import to_json_object
from fifo_cli.model.times import from_iso

# A body of the largest size, every byte of it escaped, and room for all else.
LINE_BYTES_MAX: Final = 8 * MESSAGE_BYTES_MAX
_FIELDS: Final = frozenset(one.name for one in fields(Message))
_GROUP: Final = re.compile(r"[!-~]{1,128}")
_ILLEGAL_TEXT: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_NAME: Final = re.compile(r"(?!aws\.|amazon\.)[a-z0-9_-]+(\.[a-z0-9_-]+)*", re.IGNORECASE)
_NAME_MAX: Final = 256
_TYPE: Final = re.compile(r"(String|Number|Binary)(\.[^\x00-\x1f]+)?")
_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
# json.dumps and json.loads would make an encoder and a decoder for each message.
_canonical: Final = json.JSONEncoder(sort_keys=True, ensure_ascii=True).encode


class LineError(ValueError):
    """A line is not a message that SQS would take; ``problems`` says all that is wrong with it."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def to_line(message: Message) -> bytes:
    """Write the JSON of a message as a line of UTF-8, newline included."""
    return to_json(message.document()).encode() + b"\n"


def from_line(line: bytes, *, queue: QueueRole, bytes_max: int = MESSAGE_BYTES_MAX) -> Message:
    """Read a line as a message for ``queue``; raise LineError with everything that is wrong.

    ``group`` and ``body`` must be there; ``attributes`` may be left out, and what SQS itself gives a message
    (id, times, counts) is kept as it is.
    """
    document = _document(line)
    problems = [*_unknown(document), *_content_problems(document)]
    if problems:
        raise LineError(*problems)
    attributes = {
        name: Attribute(given["type"], _value(given))
        for name, given in document.get("attributes", {}).items()
    }
    message = Message(
        message_id=_text(document, "message_id"),
        group=document["group"],
        dedup_id=_text(document, "dedup_id"),
        sequence_number=_text(document, "sequence_number"),
        queue=queue,
        sent_at=from_iso(document.get("sent_at")),
        first_received_at=None,
        receives=0,
        body=document["body"],
        attributes=attributes,
        trace_header=document.get("trace_header"),
    )
    if (size := message_bytes(message)) > bytes_max:
        raise LineError(f"body and attributes have {size:,} bytes; the queue takes {bytes_max:,}")
    return message


def message_bytes(message: Message) -> int:
    """Return what SQS counts towards its limits: the body, and each attribute's name, type and value.

    An emulator may have taken half of a surrogate pair; to move such a message must not fail here.
    """
    extra = 0
    for name, attribute in message.attributes.items():
        value = attribute.value if isinstance(attribute.value, bytes) else _utf_8(attribute.value)
        extra += len(_utf_8(name)) + len(_utf_8(attribute.type)) + len(value)
    return len(_utf_8(message.body)) + extra


def _utf_8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def identity(message: Message, *, salt: str = "") -> str:
    """Return a digest, 64 hexadecimal digits, of what makes a line: the id, and all that a load restores."""
    text = [message.message_id, message.group, message.body, to_json_object(message.attributes)]
    canonical = _canonical([salt, *text, message.trace_header])
    return hashlib.sha256(canonical.encode()).hexdigest()


def _document(line: bytes) -> Mapping[str, Any]:
    try:
        document = _decode(line.decode(json.detect_encoding(line), "surrogatepass"))
    except UnicodeDecodeError:
        raise LineError("it is not UTF-8") from None
    except RecursionError:
        raise LineError("it is nested too deeply") from None
    except LineError:
        raise
    except ValueError as error:
        raise LineError(f"it is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise LineError("it is JSON, but no object")
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if (twice := repeated_name(pairs)) is not None:
        raise LineError(f"{twice!r} is there twice")
    return dict(pairs)


_decode: Final = json.JSONDecoder(object_pairs_hook=_once).decode


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) else ""


def _unknown(document: Mapping[str, Any]) -> Iterator[str]:
    unknown = sorted(document.keys() - _FIELDS)
    if unknown:
        yield f"unknown field {', '.join(map(repr, unknown))}"


def _content_problems(document: Mapping[str, Any]) -> Iterator[str]:
    group, trace = document.get("group"), document.get("trace_header")
    if "group" not in document:
        yield "'group' is missing"
    elif not isinstance(group, str) or not _GROUP.fullmatch(group):
        yield f"'group' {group!r:.160} is not 1 to 128 ASCII letters, digits and punctuation"
    yield from _body_problems(document)
    if trace is not None and (not isinstance(trace, str) or not trace or _ILLEGAL_TEXT.search(trace)):
        yield "'trace_header' must be a string"
    yield from _attributes_problems(document.get("attributes", {}))


def _body_problems(document: Mapping[str, Any]) -> Iterator[str]:
    body = document.get("body")
    if "body" not in document:
        yield "'body' is missing"
    elif not isinstance(body, str) or not body:
        yield "'body' must be a string of at least one character (JSON goes in as text)"
    elif bad := _ILLEGAL_TEXT.search(body):
        yield f"'body' has the character {bad.group()!a} at {bad.start()}, which SQS refuses"


def _attributes_problems(attributes: Any) -> Iterator[str]:
    if not isinstance(attributes, dict):
        yield "'attributes' must be an object"
        return
    if len(attributes) > MESSAGE_ATTRIBUTES_MAX:
        yield f"there are {len(attributes)} attributes; SQS takes {MESSAGE_ATTRIBUTES_MAX}"
    for name, attribute in attributes.items():
        if problem := _attribute_problem(name, attribute):
            yield f"attribute {name!r:.80}: {problem}"


def _attribute_problem(name: str, attribute: Any) -> str | None:  # noqa: PLR0911 - a return a rule
    if len(name) > _NAME_MAX or not _NAME.fullmatch(name):
        return "not a name that SQS takes (letters, digits, _ - and single dots; not AWS. or Amazon.)"
    if not isinstance(attribute, dict) or attribute.keys() != {"type", "value"}:
        return 'must be {"type": …, "value": …}'
    kind, value = attribute["type"], attribute["value"]
    if not isinstance(kind, str) or len(kind) > _NAME_MAX or not _TYPE.fullmatch(kind):
        return f"the type {kind!r:.80} is not String, Number or Binary (with or without .LABEL)"
    if not isinstance(value, str) or not value:
        return "the value must be a string of at least one character"
    if kind.startswith("Binary"):
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            return "the value of a Binary attribute must be base64"
        return None
    if kind.startswith("Number") and not _NUMBER.fullmatch(value):
        return f"{value!r:.80} is not a number"
    bad = _ILLEGAL_TEXT.search(value)
    return f"the value has the character {bad.group()!a}, which SQS refuses" if bad else None


def _value(attribute: Mapping[str, str]) -> str | bytes:
    value = attribute["value"]
    return base64.b64decode(value, validate=True) if attribute["type"].startswith("Binary") else value
