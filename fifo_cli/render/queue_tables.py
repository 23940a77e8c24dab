"""Depths, messages and drains as text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from fifo_cli.invocation import command_line
from fifo_cli.model.group_names import shown_group
from fifo_cli.model.message import Message
from fifo_cli.model.results import to_json_value
from fifo_cli.model.times import rough
from fifo_cli.render.text import count, fit, paint, printable, short_id, table

if TYPE_CHECKING:
    from fifo_cli.handlers.run_report import Status
    from fifo_cli.model.queue_counts import Counted
    from fifo_cli.operations.queues.drain import DrainResult
    from fifo_cli.operations.queues.summary import GroupedDepth, QueueSummary

_OWN: Final = ("event_id", "stream_sequence", "event_name", "item_key", "created_at")
_SUMS_SHOWN: Final = 20


def depth_table(
    queues: Iterable[tuple[str, Counted | str]], *, width: int | None, name: Callable[[str], str] = str
) -> str:
    """One line a queue: its role and counts, or its name if they are not known; ``name`` shows its name."""
    rows = [
        (role.replace("_", " "), name(one), None, None, None, None)
        if isinstance(one, str)
        else (
            role.replace("_", " "),
            name(one.name),
            one.visible,
            one.in_flight,
            one.delayed,
            None if one.oldest_age is None else rough(timedelta(seconds=one.oldest_age)),
        )
        for role, one in queues
    ]
    headers = ("QUEUE", "NAME", "VISIBLE", "IN FLIGHT", "DELAYED", "OLDEST")
    return table(rows, headers=headers, right=(2, 3, 4, 5), width=width)


def grouped_depth_table(result: GroupedDepth, *, width: int | None, now: datetime) -> str:
    """The depths, and below them a line for each group that was seen."""
    rows = [
        (role, shown_group(one.group), one.seen, _ago(one.oldest_sent_at, now))
        for role, seen in result.by_group.items()
        for one in seen.groups
    ]
    shown = table(rows, headers=("QUEUE", "GROUP", "SEEN", "OLDEST"), right=(2, 3), width=width)
    hidden = [_hidden(one) for one in result.by_group.values() if one.hidden]
    return "\n".join([depth_table(result.queues.items(), width=width), *([shown] if rows else []), *hidden])


def summary_table(result: QueueSummary, *, width: int | None, now: datetime) -> str:
    """What was seen of a queue, by reason and by group, those with the most first."""
    groups = table(
        [
            (shown_group(one.group), one.seen, _ago(one.oldest_sent_at, now), _ago(one.newest_sent_at, now))
            for one in result.groups[:_SUMS_SHOWN]
        ],
        headers=("GROUP", "SEEN", "OLDEST", "NEWEST"),
        right=(1, 2, 3),
        width=width,
    )
    reasons = table(
        [(one.seen, one.groups, one.reason or "not parked") for one in result.reasons[:_SUMS_SHOWN]],
        headers=("SEEN", "GROUPS", "REASON"),
        right=(0, 1),
        width=width,
    )
    more = [
        f"and {count(len(all_) - _SUMS_SHOWN, noun)} more: -o json has all of them\n"
        for all_, noun in ((result.reasons, "reason"), (result.groups, "group"))
        if len(all_) > _SUMS_SHOWN
    ]
    parked = [reasons] if any(one.reason for one in result.reasons) else []
    text = f"{result.name} counts {result.counted:,}; {result.seen:,} seen\n"
    hidden = [_hidden(result)] if result.hidden else []
    return "\n".join([text, *([*parked, groups] if result.groups else []), *more, *hidden])


def _hidden(one: QueueSummary) -> str:
    return (
        f"{one.name}: {one.hidden:,} of {one.counted:,} could not be seen; they are in flight, or behind"
        " those that were seen of their group\n"
    )


def peek_table(
    messages: Iterable[Message], *, truncated: bool, queue: str, width: int | None, color: bool, now: datetime
) -> str:
    """A block of a few lines for each message, its body last."""
    blocks = [_message(number, message, width, color, now) for number, message in enumerate(messages, 1)]
    if not blocks:
        return f"{queue}: no messages to show{'; not all could be seen' if truncated else ''}\n"
    more = "There are more messages than shown.\n" if truncated else ""
    return "\n".join(blocks) + ("\n" + more if more else "")


def _message(number: int, message: Message, width: int | None, color: bool, now: datetime) -> str:
    group = printable(shown_group(message.group))
    head = f"{number}. group {group}, sent {_ago(message.sent_at, now)} ago"
    lines = [paint(fit(head, width), "bold", color=color), f"   id        {message.message_id}"]
    if reason := message.text("park_reason"):
        status = message.text("park_status")
        text = f"by {message.text('park_from') or '?'}" + (f", HTTP {status}" if status else "")
        lines.append(f"   parked    {printable(message.text('park_at') or '?')} {text}")
        lines.append(paint(fit(f"   reason    {printable(reason)}", width), "yellow", color=color))
    if key := message.text("item_key"):
        lines.append(fit(f"   item      {printable(key)}", width))
    others = [name for name in message.attributes if name not in _OWN and not name.startswith("park_")]
    lines += [fit(f"   {name:<9} {_value(message, name)}", width) for name in others]
    lines.append(fit(f"   body      {printable(message.body)}", width))
    return "\n".join(lines) + "\n"


def _value(message: Message, name: str) -> str:
    return printable(json.dumps(to_json_value(message.attributes[name].value), ensure_ascii=False))


def _ago(then: datetime | None, now: datetime) -> str:
    return "?" if then is None else rough(now - then)


def drain_table(result: DrainResult, *, width: int | None, dry_run: bool, every: bool = False) -> str:
    """The sum, and above it what was not delivered, a line a message; with ``every`` all messages."""
    listed = [one for one in result.results if every or one.status != "delivered" or one.error]
    rows = [
        (
            short_id(one.message_id, width),
            shown_group(one.group),
            "would deliver" if dry_run else one.status,
            one.http_status,
            None if dry_run else f"{one.elapsed_ms} ms",
            one.error or "",
        )
        for one in listed
    ]
    shown = table(
        rows, headers=("MESSAGE", "GROUP", "STATUS", "HTTP", "TIME", "WHY"), right=(3, 4), width=width
    )
    left = result.remaining
    remaining = "unknown how many remain" if left is None else f"{count(left, 'message')} in the queue"
    if dry_run:
        return (shown if rows else "") + f"dry run: nothing was delivered, {remaining}\n"
    statuses: tuple[Status, ...] = ("delivered", "parked", "failed")
    parts = [f"{result.count(one)} {one}" for one in statuses]
    parts += [f"{skipped} given back"] if (skipped := result.count("skipped")) else []
    return (shown if rows else "") + f"{', '.join(parts)}; {remaining}\n"


def drain_breaker(failure: str) -> str:
    """Why a drain called the API no more; ``failure`` is the last one."""
    return (
        "stopped: calls for several groups failed in a row, so the API is not called for the others;"
        f" the last: {printable(failure)}\n"
        f"next: {command_line('status')} shows what fails; when the API works again, run it again: groups"
        " that were not tried go first. With breaker = 0 in [worker] of fifo.toml it stops for no failure"
    )


def drain_left(number: int, *, stayed: bool, held: bool) -> str:
    """Why a drain left messages that it was not given.

    ``stayed``: failed ones may be before them; ``held``: SQS counts some in flight.
    """
    left = (
        f"{count(number, 'message')}{' more' if stayed else ''} left in the queue that SQS did not give out"
    )
    if stayed and not held:
        return (
            f"{left}: behind one that stayed in its group\n"
            "next: correct what fails, then run it again; they follow when the one before them is delivered"
        )
    ours = "behind one that stayed in its group, or " if stayed else ""
    return (
        f"{left}: {ours}another consumer holds them or an earlier message of their group. If it was killed,"
        " they are hidden until its visibility timeout ends\n"
        f"next: run it again when the other consumer has ended, or in a minute; {command_line('depth')}"
        " shows how many are in flight (SQS's counts may lag by a minute)"
    )
