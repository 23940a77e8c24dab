"""How a message is labelled on its way through hold, so that its group and its old place survive.

In hold every message has a message group of its own: SQS shows only the first ten of a group, and all must be
seen. The group id there is the message's *origin* and the beginning of its real group, the deduplication id
holds the rest, as both together may be longer than 128 characters:

    group             m1767323045678.18849496460467696128.3f0c…#customer-7
    deduplication id  hold-<message id>#

The origin stays with a message for good: in main it is part of the deduplication id that the merge gives it.
So a message that a killed merge had sent already is known for what it is, however long ago that was.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final, Literal

from fifo_cli.model.message import Message

Kind = Literal["m", "x", "d"]
"""m: sent to main in its turn, so its time is its place. x: sent to main again later. d: from the DLQ."""

_ID_MAX: Final = 128
_SEQUENCE_MAX: Final = 25
_SHORT: Final = re.compile(r"[!-\"$-~]{1,36}")  # a UUID is; no "#", which ends the origin
_ORIGIN: Final = re.compile(r"([mxd])([0-9]{1,15})\.([0-9]{1,25})\.([!-\"$-~]{1,36})")
_MERGED: Final = re.compile(r"merge-[0-9a-f]{8}-(.+)")
_HELD: Final = re.compile(r"hold-[^#]*#(.*)")
_MOVED_AGAIN: Final = ("redrive-", "load-", "park-", "hold-", "merge-")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a message first was: ``sent_ms`` and SQS's ``sequence`` there, and its ``message_id`` there."""

    kind: Kind
    sent_ms: int
    sequence: int
    message_id: str

    def text(self) -> str:
        return f"{self.kind}{self.key}"

    @property
    def key(self) -> str:
        """What no other message has."""
        return f"{self.sent_ms}.{self.sequence}.{self.message_id}"

    @classmethod
    def parse(cls, text: str) -> Origin | None:
        """Read an origin; None if it is none."""
        match = _ORIGIN.fullmatch(text)
        if match is None:
            return None
        kind: Kind = "m" if match[1] == "m" else "x" if match[1] == "x" else "d"
        return cls(kind, int(match[2]), int(match[3]), match[4])


@dataclass(frozen=True, slots=True)
class Label:
    """A message's group and deduplication id in hold."""

    group: str
    dedup_id: str


def origin_of(message: Message) -> Origin:
    """Return the origin that an earlier in-order redrive gave a message, or a new one."""
    merged = _MERGED.fullmatch(message.dedup_id)
    if merged is not None and (known := Origin.parse(merged[1])) is not None:
        return known
    kind: Kind = "d" if message.queue == "dlq" else "x" if message.dedup_id.startswith(_MOVED_AGAIN) else "m"
    sequence = int(message.sequence_number or "0") if kind == "m" else 0
    if len(str(sequence)) > _SEQUENCE_MAX:
        sequence = 0
    return Origin(kind, message.sent_ms, sequence, _short(message.message_id))


def label(message: Message) -> Label:
    """Return a message's label in hold: the same whenever this message is moved there again."""
    origin = origin_of(message).text()
    cut = _ID_MAX - len(origin) - 1
    rest = f"hold-{_short(message.message_id)}#{message.group[cut:]}"
    return Label(f"{origin}#{message.group[:cut]}", rest)


def unlabel(message: Message) -> tuple[Origin, str]:
    """Return origin and real group of a message in hold; one that nobody labelled is as it is."""
    text, mark, start = message.group.partition("#")
    origin, rest = Origin.parse(text), _HELD.fullmatch(message.dedup_id)
    if not mark or origin is None or rest is None:
        return Origin("x", message.sent_ms, 0, _short(message.message_id)), message.group
    return origin, start + rest[1]


def real_group(message: Message) -> str:
    """Return the group that a message has in main, also of one that is in hold under its label."""
    return unlabel(message)[1] if message.queue == "hold" else message.group


def merge_id(origin: Origin, token: str) -> str:
    """Return the deduplication id in main; ``token``, eight hexadecimal digits, is another for every run.

    With the same one, a message that a killed run had merged, and this one took back to hold, would be
    swallowed by SQS and then deleted from hold: lost.
    """
    return f"merge-{token}-{origin.text()}"


def _short(message_id: str) -> str:
    if _SHORT.fullmatch(message_id):
        return message_id
    return hashlib.sha256(message_id.encode()).hexdigest()[:32]
