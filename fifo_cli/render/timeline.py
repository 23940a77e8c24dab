"""Audits and traces as text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from fifo_cli.invocation import command_line
from fifo_cli.model.group_names import shown_group
from fifo_cli.model.times import iso
from fifo_cli.render.text import Style, count, fit, open_shards, paint, printable, table

if TYPE_CHECKING:
    from fifo_cli.operations.stream.audit import AuditSummary, Finding, Findings
    from fifo_cli.operations.stream.trace import Step, TracedItem, TraceResult

_SHOWN: Final = 20
_INDENT: Final = "    "
# What each number of an audit means, in the order in which a record goes on.
_MEANINGS: Final = {
    "delivered": "the API took them",
    "queued": "in line for the worker",
    "parked": "in the DLQ",
    "waiting": "in the stream: the enqueuer has not come to them yet",
    "missing": "neither delivered nor in a queue; see below",
    "moved": "taken away by an operator",
    "unknown": "the evidence does not reach that far; see above",
    "possibly_twice": "of the delivered: an earlier attempt may have arrived, too; see below",
}


@dataclass(frozen=True, slots=True)
class Clock:
    """How instants are shown: short on a terminal, as UTC of today or of a day; whole with ``whole``."""

    now: datetime
    whole: bool = True

    def __call__(self, then: datetime) -> str:
        if self.whole:
            return iso(then)
        then = then.astimezone(UTC)
        today = then.date() == self.now.astimezone(UTC).date()
        return f"{then:%H:%M:%SZ}" if today else f"{then:%m-%d %H:%M:%SZ}"

    def dated(self, then: datetime) -> str:
        """Write an instant with its year and day, so that it needs no other beside it."""
        return iso(then) if self.whole else f"{then.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def audit_text(
    summary: AuditSummary, found: Findings, *, clock: Clock, width: int | None, color: bool
) -> str:
    """The verdict, the sums, and below them the first findings of each kind."""
    fine, verdict = _verdict(summary)
    filtered = f" ({summary.filtered:,} more are no messages)" if summary.filtered else ""
    parts = [
        paint(verdict, "green" if fine else "red", color=color),
        f"written {clock.dated(summary.since)} to {clock.dated(summary.until)}:"
        f" {count(summary.records, 'record')}{filtered}",
        *(f"look: {printable(note)}" for note in summary.notes),
        *open_shards(len(summary.unproven_tips), "audit"),
    ]
    sums = [
        (f"{getattr(summary, word):,}", word, meaning)
        for word, meaning in _MEANINGS.items()
        if getattr(summary, word) or word == "delivered"
    ]
    headers = ("ITEM", "GROUP", "WRITTEN")

    def start(one: Finding) -> tuple[object, ...]:
        return (key_text(one.key), one.group and shown_group(one.group), clock(one.created_at))

    def block(title: str, number: int, rows: Iterable[tuple[object, ...]], *more: str) -> str:
        if not number:
            return ""
        lines = table(islice(rows, _SHOWN), headers=(*headers, *more), width=width)
        rest = f"... and {number - _SHOWN:,} more: -o jsonl lists them all\n" if number > _SHOWN else ""
        return f"\n{number:,} {title}:\n{lines}{rest}"

    return "".join(
        [
            *(f"{part}\n" for part in parts),
            table(sums, right=(0,), width=width) if summary.records else "",
            *(f"{one.number:,} {one.state}: {printable(one.reason)}\n" for one in summary.reasons),
            f"{command_line('peek --queue dlq')} shows why they are in the DLQ\n" if summary.parked else "",
            f"{command_line('history')} shows who took them away\n" if summary.moved else "",
            block("missing", summary.missing, ((*start(one), one.reason) for one in found.missing), "WHY"),
            block(
                "delivered twice or more",
                summary.duplicated,
                ((*start(one), " ".join(map(clock, one.deliveries))) for one in found.duplicated),
                "DELIVERED",
            ),
            block(
                "possibly delivered twice",
                summary.possibly_twice,
                ((*start(one), one.reason) for one in found.possibly_twice),
                "WHY",
            ),
            block(
                "delivered after a later record of their group",
                summary.reordered,
                ((*start(one), clock(one.delivered_at), key_text(one.after_key)) for one in found.reordered),
                "DELIVERED",
                "AFTER ITEM",
            ),
            block("unknown", summary.unknown, ((*start(one), one.reason) for one in found.unknown), "WHY"),
        ]
    )


def _verdict(summary: AuditSummary) -> tuple[bool, str]:
    wrong = [
        f"{number:,} {what}"
        for number, what in (
            (summary.missing, "missing"),
            (summary.duplicated, "delivered more than once"),
            (summary.reordered, "delivered out of order"),
            (summary.unknown, "unknown"),
        )
        if number
    ]
    if wrong:
        return False, f"not proven: {', '.join(wrong)}"
    if summary.notes:
        return False, "not proven: the evidence is incomplete"
    if not summary.records:
        return True, "no record in this time should have become a message"
    left = summary.queued + summary.parked + summary.waiting
    unseen = summary.queued_unseen + summary.parked_unseen
    by_count = f" ({unseen:,} of them by the queues' counts alone)" if unseen else ""
    rest = f"; {left:,} still on the way or parked{by_count}" if left else ""
    rest += f"; {summary.moved:,} taken away by an operator" if summary.moved else ""
    return True, f"proven: what was delivered was delivered once and in order{rest}"


def key_text(key: Any) -> str:
    """Write a table key: the plain value if it is one string, else JSON."""
    if isinstance(key, dict) and len(key) == 1:
        (key,) = key.values()
    return key if isinstance(key, str) else json.dumps(key, ensure_ascii=False)


_STAGES: Final[Mapping[str, Style]] = {
    "delivered": "green",
    "queued": "cyan",
    "stream": "cyan",
    "parked": "yellow",
    "moved": "yellow",
    "stuck": "red",
    "lost": "red",
    "unclear": "red",
    "unknown": "red",
}


def trace_text(result: TraceResult, *, clock: Clock, width: int | None, color: bool) -> str:
    """Where the item is, then its timeline: a line a step, then what proves it."""
    lines = [
        f"{printable(key_text(result.key))}  "
        f"{paint(result.stage, _STAGES.get(result.stage, 'bold'), color=color)}: {printable(result.detail)}"
    ]
    events = [event for event in result.events if event.stage != "filtered"]
    if len(events) > 1:
        lines += [
            f"  {event.record.event or 'record'} of"
            f" {clock(event.record.created) if event.record.created else 'before'}:"
            f" {paint(event.stage, _STAGES.get(event.stage, 'bold'), color=color)}: {printable(event.detail)}"
            for event in events
        ]
    lines += [f"look: {printable(note)}" for note in result.notes]
    lines += [f"next: {printable(result.next)}"] if result.next else []
    if not result.is_whole_key and result.items:
        lines += ["", *_items(result.items, width)]
    timeline = _timeline(result.history, clock=clock, width=width, color=color)
    return "".join(f"{line}\n" for line in lines) + "\n" + timeline


def _items(items: Sequence[TracedItem], width: int | None) -> Iterator[str]:
    """Yield a line for each of the first items of a partition key, and how to see one alone."""
    shown = items[:_SHOWN]
    there = ("in the table", "not in the table now")
    rows = [(one.exact, one.stage, there[not one.in_table]) for one in shown]
    yield from table(rows, headers=("ITEM", "STAGE", ""), width=width).splitlines()
    if len(items) > len(shown):
        yield f"... and {len(items) - len(shown):,} more: -o json lists them all"
    yield f"{command_line('trace', shown[0].exact)} shows one of them alone"


def _timeline(history: Sequence[Step], *, clock: Clock, width: int | None, color: bool) -> str:
    """A line for each step, and below it where that is written."""
    steps = table([(clock(step.time), step.step, _facts(step.facts, clock)) for step in history], width=width)
    evidence = [_INDENT + printable(step.evidence) for step in history]
    return "".join(
        f"{line}\n{paint(fit(below, width), 'dim', color=color)}\n"
        for line, below in zip(steps.splitlines(), evidence, strict=True)
    )


def _fact(name: str, value: Any, clock: Clock) -> Any:
    if name == "group":
        return shown_group(str(value))
    return clock(value) if isinstance(value, datetime) else value


def _facts(facts: Mapping[str, Any], clock: Clock) -> str:
    """Write the facts of a step as name=value, without the message's id."""
    return " ".join(
        f"{name}={_fact(name, value, clock)}" for name, value in facts.items() if name != "message_id"
    )
