"""Dumps, loads and purges as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fifo_cli.render.text import count, printable, table


def dump_text(
    document: Mapping[str, Any], *, queue: str, to: str, moved: int | None, remaining: int | None
) -> str:
    """The sum of a dump; ``moved`` is None if it only looked.

    More were deleted than written if a run that was killed had written them, and not deleted them yet.
    """
    lines = f"{count(document['written'], 'message')} written to {printable(to)}"
    if not document["written"] and moved == 0 and remaining == 0:
        return f"nothing to move: {queue} is empty\n"
    if moved is None:
        return f"{lines}; nothing was taken out of {queue}\n"
    left = "unknown how many remain" if remaining is None else f"{count(remaining, 'message')} remain"
    before = moved - document["written"]
    known = f" ({before:,} had been written before)" if before > 0 else ""
    return f"{lines}, {moved:,} deleted from {queue}{known}; {left}\n"


def load_text(document: Mapping[str, Any], *, queue: str, left: int) -> str:
    """The sum of a load; ``left`` lines were not reached."""
    nothing = not (document["loaded"] or document["failed"] or left)
    said = ["nothing to load" if nothing else f"{count(document['loaded'], 'message')} loaded to {queue}"]
    if document["already_loaded"]:
        said.append(f"{document['already_loaded']:,} had been loaded before")
    if document["failed"]:
        said.append(f"{document['failed']:,} failed")
    if left:
        said.append(f"{left:,} not sent yet")
    return ", ".join(said) + "\n"


def purge_text(document: Mapping[str, Any], *, queue: str, remaining: int | None) -> str:
    """The sum of a purge."""
    if not document["purged"] and remaining == 0:
        return f"nothing to purge: {queue} is empty\n"
    saved = f", saved in {printable(document['backup'])}" if document["backup"] else ", not saved"
    left = "unknown how many remain" if remaining is None else f"{count(remaining, 'message')} remain"
    return f"{count(document['purged'], 'message')} purged from {queue}{saved}; {left}\n"


def lines_preview(
    messages: Iterable[Mapping[str, Any]], *, new: int, already: int, queue: str, width: int | None
) -> str:
    """What a load would send: the first lines, how many there are, and what happens to order."""
    rows = [(one["message_id"], one["group"], one["body"]) for one in messages]
    shown = table(rows, headers=("MESSAGE", "GROUP", "BODY"), width=width) if rows else ""
    more = f"and {new - len(rows):,} more\n" if new > len(rows) else ""
    before = f" ({already:,} were loaded before)" if already else ""
    return f"{shown}{more}dry run: nothing was sent; {count(new, 'line')} would go to {queue}{before}\n"


def restore_order_plan(
    *, main: int, dlq: int, held: int, names: tuple[str, str, str], pauses: Iterable[str]
) -> str:
    """What an in-order redrive is about to do; ``names`` are those of main, DLQ and hold."""
    paused = " and ".join(pauses)
    lines = [
        f"put {count(dlq, 'message')} of {names[1]} back in place among {count(main, 'message')} of"
        f" {names[0]}",
        "Order: afterwards each group is in stream order; all of it goes through " + names[2],
        f"Meanwhile nothing is delivered: {paused} paused, and resumed at the end"
        if paused
        else "Worker and enqueuer are not running, and stay so",
    ]
    if held:
        lines.append(f"{names[2]} counts {count(held, 'message')}: an earlier run's, if that is unfinished")
    return "\n".join(lines)


def restore_order_text(document: Mapping[str, Any], *, notes: Iterable[str], source: str, target: str) -> str:
    """The sum of an in-order redrive."""
    left = document["remaining"]
    remaining = "unknown how many remain" if left is None else f"{count(left, 'message')} remain"
    moved = count(document["moved"], "message")
    lines = [f"{moved} moved from {source} into place in {target}; {remaining}", *notes]
    return "".join(f"{printable(line)}\n" for line in lines)


def restore_order_unfinished(document: Mapping[str, Any], *, source: str, hold: str) -> str:
    """Where the messages are when an in-order redrive stopped halfway."""
    text = [
        f"{'an unknown number of messages' if number is None else count(number, 'message')} in {name}"
        for number, name in ((document["held"], hold), (document["remaining"], source))
    ]
    return f"unfinished: {', '.join(text)}\n"


def restore_order_preview(document: Mapping[str, Any], *, width: int | None) -> str:
    """The DLQ's messages that an in-order redrive would put back."""
    rows = [
        (
            one["message_id"],
            one["group"],
            one["attributes"].get("stream_sequence", {}).get("value"),
            one["body"],
        )
        for one in document["messages"]
    ]
    shown = table(rows, headers=("MESSAGE", "GROUP", "STREAM SEQUENCE", "BODY"), width=width) if rows else ""
    paused = " and ".join(document["pauses"])
    lines = [
        f"dry run: nothing was touched; {count(document['remaining'], 'message')} of {document['from']} would"
        f" go into place among {count(document['among'], 'message')} of {document['to']}",
        f"{paused} would be paused meanwhile" if paused else "worker and enqueuer are not running",
    ]
    if document["truncated"]:
        lines.append("There are more than shown: of one group, SQS shows the first ten.")
    return shown + "".join(f"{line}\n" for line in lines)
