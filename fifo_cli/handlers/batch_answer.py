"""What the answer to a batch call of SQS proves, entry by entry.

SQS answers 200 though some entries failed (API Reference, SendMessageBatch, DeleteMessageBatch,
ChangeMessageVisibilityBatch). An entry is done only if the answer names it once, as successful. One that is
in neither list, in both, or named twice may have taken effect or not. Other ids are passed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class EntryError(NamedTuple):
    """Why an entry is not done. ``refused``: SQS says so; otherwise it may have taken effect."""

    reason: str
    code: str = ""
    message: str = ""
    sender_fault: bool = False
    refused: bool = True


class BatchAnswer(NamedTuple):
    """The entries of a call by their ids: each is in one of the two, in the order of the call."""

    done: Mapping[str, Mapping[str, Any]]
    failed: Mapping[str, EntryError]


NOT_CONFIRMED = EntryError("SQS's answer does not confirm it", refused=False)


def read_batch(answer: Mapping[str, Any], ids: Sequence[str]) -> BatchAnswer:
    """Read the answer to a call with the entries ``ids``."""
    successful, failed = _entries(answer, "Successful"), _entries(answer, "Failed")
    times = Counter(entry.get("Id") for entry in (*successful, *failed))
    once = {entry_id for entry_id in ids if times[entry_id] == 1}
    done = {entry["Id"]: entry for entry in successful if entry.get("Id") in once}
    refused = {entry["Id"]: _error(entry) for entry in failed if entry.get("Id") in once}
    return BatchAnswer(
        {one: done[one] for one in ids if one in done},
        {one: refused.get(one, NOT_CONFIRMED) for one in ids if one not in done},
    )


def _entries(answer: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return [entry for entry in answer.get(name) or [] if isinstance(entry, Mapping)]


def _error(entry: Mapping[str, Any]) -> EntryError:
    code, message = entry.get("Code") or "no code", entry.get("Message") or ""
    return EntryError(
        f"{code}: {message}" if message else code, code, message, sender_fault=bool(entry.get("SenderFault"))
    )
