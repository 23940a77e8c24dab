"""Redrives and parkings as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from fifo_cli.render.text import count, printable, table

_ID_SHOWN: Final = 8
_DAY_TO_SECOND: Final = slice(5, 19)  # of an ISO time: no queue keeps a message for longer than 14 days


def redrive_text(
    document: Mapping[str, Any], *, notes: Iterable[str], warnings: Iterable[str], source: str, target: str
) -> str:
    """The sum of a redrive, and below it what needs a look."""
    left = document["remaining"]
    remaining = "unknown how many remain" if left is None else f"{count(left, 'message')} remain in {source}"
    others = [f"{document[word]:,} {word}" for word in ("skipped", "failed") if document[word]]
    moved = ", ".join([f"{count(document['moved'], 'message')} moved to {target}", *others])
    nothing = not document["moved"] and not others and left == 0
    text = f"nothing to move: {source} is empty" if nothing else f"{moved}; {remaining}"
    lines = [text, *notes, *(f"look: {one}" for one in warnings)]
    return "".join(f"{printable(line)}\n" for line in lines)


def redrive_preview(document: Mapping[str, Any], *, width: int | None) -> str:
    """What a redrive would move, and what happens to order."""
    if not document["remaining"]:
        return f"dry run: nothing to move: {document['from']} is empty\n"
    shown = messages_table(document["messages"], width=width)
    number = count(len(document["messages"]), "message")
    shown_of = f" shown of {document['remaining']:,}" if document["truncated"] else ""
    lines = [
        f"dry run: nothing was moved; {number}{shown_of} would go"
        f" from {document['from']} to {document['to']} ({document['engine']} engine)",
        order_note(document["to"], document["behind"]),
    ]
    if document["truncated"]:
        lines.append("There are more than shown: of one group, SQS shows the first ten.")
    return shown + "".join(f"{line}\n" for line in lines)


def order_note(target: str, behind: int) -> str:
    """Say what appending does to the order of groups."""
    if not behind:
        return f"Order: nothing waits in {target}, so each group keeps its order."
    return (
        f"Order: they go to the end of {target}, behind the {count(behind, 'message')} counted there now, so"
        " a group with messages there is no longer in stream order. `fifo-cli redrive --in-order` puts each"
        " back in its place."
    )


def park_text(
    document: Mapping[str, Any],
    *,
    warnings: Iterable[str],
    dry_run: bool,
    width: int | None,
    notes: Iterable[str] = (),
) -> str:
    """The parked messages, and what needs a look; without any, ``notes`` say why."""
    rows, notes = document["parked"], list(notes)
    said = f"{count(len(rows), 'message')} {'would be parked; nothing was moved' if dry_run else 'parked'}"
    lines = notes if notes and not rows else [said, *notes]
    lines = [("dry run: " if dry_run else "") + lines[0], *lines[1:], *(f"look: {one}" for one in warnings)]
    return messages_table(rows, width=width) + "".join(f"{printable(line)}\n" for line in lines)


def messages_table(messages: Iterable[Mapping[str, Any]], *, width: int | None) -> str:
    """One line a message."""
    rows = [
        (
            message["message_id"] if width is None else message["message_id"][:_ID_SHOWN],
            message["group"],
            message["sent_at"] if width is None else message["sent_at"][_DAY_TO_SECOND].replace("T", " "),
            message["attributes"].get("park_reason", {}).get("value", ""),
            message["body"],
        )
        for message in messages
    ]
    headers = ("MESSAGE", "GROUP", "SENT", "REASON", "BODY")
    return table(rows, headers=headers, width=width) if rows else ""
