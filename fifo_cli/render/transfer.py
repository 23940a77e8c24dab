"""Redrives and parkings as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from fifo_cli.invocation import command_line
from fifo_cli.model.group_names import shown_group
from fifo_cli.model.message import Message
from fifo_cli.model.times import iso
from fifo_cli.render.text import as_lines, count, remain, short_id, table

if TYPE_CHECKING:
    from fifo_cli.operations.queues.park import ParkResult
    from fifo_cli.operations.queues.redrive import RedrivePreview, RedriveResult
    from fifo_cli.operations.queues.restore_order import RestoreOrderPreview, RestoreOrderResult

MORE_THAN_SHOWN: Final = "There are more than shown: of one group, SQS shows the first ten."


def redrive_text(result: RedriveResult, *, source: str, target: str) -> str:
    """The sum of a redrive, and below it what needs a look."""
    others = [f"{n:,} {word}" for n, word in ((result.skipped, "skipped"), (result.failed, "failed")) if n]
    moved = ", ".join([f"{count(result.moved, 'message')} moved to {target}", *others])
    nothing = not result.moved and not others and result.remaining == 0
    text = f"{moved}; {remain(result.remaining, source)}"
    return as_lines(
        f"nothing to move: {source} is empty" if nothing else text,
        *result.notes,
        *(f"look: {one}" for one in result.warnings),
    )


def redrive_preview(seen: RedrivePreview, *, width: int | None) -> str:
    """What a redrive would move, and what happens to order."""
    looks = [f"look: {one}" for one in seen.warnings]
    if not seen.remaining:
        return as_lines(f"dry run: nothing to move: {seen.source} is empty", *looks)
    shown = len(seen.messages)
    many = count(shown if seen.would_move is None else seen.would_move, "message")
    least = "at least " if seen.would_move is None else ""
    now = f"; SQS shows {shown:,} of them now" if seen.would_move not in (None, shown) else ""
    return messages_table(seen.messages, width=width) + as_lines(
        f"dry run: nothing was moved; {least}{many} would go"
        f" from {seen.source}, which counts {seen.remaining:,}, to {seen.target} ({seen.engine} engine){now}",
        takes_all(seen.remaining, seen.source, choose=CHOOSE_BY_REDRIVE)
        if seen.would_move == seen.remaining
        else "",
        "" if seen.would_move == 0 else order_note(seen.target, seen.behind),
        MORE_THAN_SHOWN if seen.truncated else "",
        *looks,
    )


def takes_all(total: int, queue: str, *, choose: str) -> str:
    """Say that a command takes every message, and what chooses some; "" where there is nothing to choose."""
    if total < 2:
        return ""
    return f"This takes all {total:,} messages of {queue}" + (f"; {choose}." if choose else ".")


CHOOSE_BY_REDRIVE: Final = "choose some with --group, --id, --filter, --since, --until or --count"
CHOOSE_IN_ORDER: Final = "without --in-order, --group, --id or --filter choose some"
# dump --move and purge have no option for it.
_CHOOSE_ELSEWHERE: Final[Mapping[str, str]] = {
    "main": "only park can choose some, with --group and --count",
    "dlq": "only redrive can choose some, with --group, --id or --filter",
}


def takes_all_there(total: int, queue: str, role: str) -> str:
    """Say the same of a command that cannot choose."""
    return takes_all(total, queue, choose=_CHOOSE_ELSEWHERE.get(role, ""))


def order_note(target: str, behind: int) -> str:
    """Say what appending does to the order of groups."""
    if not behind:
        return f"Order: nothing waits in {target}, so each group keeps its order."
    return (
        f"Order: they go to the end of {target}, behind the {count(behind, 'message')} counted there now, so"
        f" a group with messages there is no longer in stream order. {command_line('redrive --in-order')}"
        " puts each back in its place."
    )


def restore_order_plan(
    *, main: int, dlq: int, held: int, names: tuple[str, str, str], pauses: Iterable[str]
) -> str:
    """What an in-order redrive is about to do; ``names`` are those of main, DLQ and hold."""
    paused = " and ".join(pauses)
    lines = [
        f"put {count(dlq, 'message')} of {names[1]} back in place among {count(main, 'message')} of"
        f" {names[0]}",
        takes_all(dlq, names[1], choose=CHOOSE_IN_ORDER),
        "Order: afterwards each group is in stream order; all of it goes through " + names[2],
        f"Meanwhile nothing is delivered: {paused} paused, and resumed at the end"
        if paused
        else "Worker and enqueuer are not running, and stay so",
        f"{names[2]} counts {count(held, 'message')}: an earlier run's, if that is unfinished"
        if held
        else "",
    ]
    return "\n".join(filter(None, lines))


def restore_order_text(result: RestoreOrderResult, *, source: str, target: str) -> str:
    moved = f"{count(result.moved, 'message')} moved from {source} into place in {target}"
    return as_lines(f"{moved}; {remain(result.remaining)}", *result.notes)


def restore_order_unfinished(result: RestoreOrderResult, *, source: str, hold: str) -> str:
    """Where the messages are when an in-order redrive stopped halfway."""
    text = [
        f"{'an unknown number of messages' if number is None else count(number, 'message')} in {name}"
        for number, name in ((result.held, hold), (result.remaining, source))
    ]
    return f"unfinished: {', '.join(text)}\n"


def restore_order_preview(seen: RestoreOrderPreview, *, width: int | None) -> str:
    """The DLQ's messages that an in-order redrive would put back."""
    rows = [
        (one.message_id, shown_group(one.group), one.text("stream_sequence"), one.body)
        for one in seen.messages
    ]
    shown = table(rows, headers=("MESSAGE", "GROUP", "STREAM SEQUENCE", "BODY"), width=width) if rows else ""
    paused = " and ".join(sorted(seen.running))
    return shown + as_lines(
        f"dry run: nothing was touched; {count(seen.remaining, 'message')} of {seen.source} would"
        f" go into place among {count(seen.among, 'message')} of {seen.target}",
        takes_all(seen.remaining, seen.source, choose=CHOOSE_IN_ORDER),
        f"{paused} would be paused meanwhile" if paused else "worker and enqueuer are not running",
        MORE_THAN_SHOWN if seen.truncated else "",
    )


def park_text(result: ParkResult, *, dry_run: bool, width: int | None) -> str:
    """The parked messages, and what needs a look; without any, its notes say why."""
    number, notes = count(len(result.messages), "message"), list(result.notes)
    if result.messages or not notes:
        notes.insert(0, f"{number} {'would be parked; nothing was moved' if dry_run else 'parked'}")
    notes[0] = ("dry run: " if dry_run else "") + notes[0]
    warnings = (f"look: {one}" for one in result.warnings)
    return messages_table(result.messages, width=width) + as_lines(*notes, *warnings)


def messages_table(messages: Iterable[Message], *, width: int | None) -> str:
    """One line a message; into a pipe, with whole ids and times."""
    rows = [
        (
            short_id(one.message_id, width),
            shown_group(one.group),
            # No queue keeps a message for a year.
            one.sent_at and (iso(one.sent_at) if width is None else f"{one.sent_at:%m-%d %H:%M:%S}"),
            one.text("park_reason") or "",
            one.body,
        )
        for one in messages
    ]
    return table(rows, headers=("MESSAGE", "GROUP", "SENT", "REASON", "BODY"), width=width) if rows else ""
