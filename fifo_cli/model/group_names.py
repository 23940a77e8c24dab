"""The names of message groups as people know them, and as SQS has them.

SQS takes only some of ASCII as a message group id, so the enqueuer encodes every other name: ``zoë`` becomes
``zo%C3%AB`` (handlers/identifiers.py). Text for people has the name; JSON has the id, which a load has to
send again as it was. What is typed may be either. A name that itself reads like an encoded id stays encoded
where it is shown, so that what is shown and typed again always means the same group.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from fifo_cli.handlers.identifiers import sqs_id

# The id of the empty name, and that of a name too long for an id, which ends in its digest.
_NOT_READABLE: Final = re.compile(r"%~|.*%~[0-9a-f]{64}")


def shown_group(group_id: str) -> str:
    """Return a message group id as people know it; one that is not an encoded name as it is."""
    name = _encoded_name(group_id)
    if name is None or not name.isprintable() or _is_encoded(name):
        return group_id
    return name


def group_ids(typed: str) -> frozenset[str]:
    """Return the message group ids that a name on the command line means: an encoded one means itself."""
    return frozenset({typed} if _is_encoded(typed) else {typed, sqs_id(typed)})


def named_group(typed: str) -> str:
    """Name a group in a sentence about what was typed: with its id, if that is spelled otherwise."""
    name, (group_id, *_) = shown_group(typed), sorted(group_ids(typed) - {typed}) or [typed]
    return f"group {name}" if name == group_id else f"group {name} ({group_id})"


def _is_encoded(text: str) -> bool:
    return _encoded_name(text) is not None or _NOT_READABLE.fullmatch(text) is not None


def _encoded_name(group_id: str) -> str | None:
    """Return the name that the enqueuer encodes as this id; None if that is the same text."""
    if "%" not in group_id:
        return None
    try:
        name = unquote_to_bytes(group_id).decode("utf-8", "surrogatepass")
        return name if sqs_id(name) == group_id and name else None
    except UnicodeError:
        return None
