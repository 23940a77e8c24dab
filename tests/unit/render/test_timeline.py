"""Audits and traces as text, whole."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fifo_cli.operations.stream.audit import (
    AuditSummary,
    Duplicated,
    Findings,
    PossiblyTwice,
    Reason,
    Reordered,
    Unplaced,
)
from fifo_cli.operations.stream.record_state import RecordHistory, Stage
from fifo_cli.operations.stream.trace import Event, Step, TraceResult
from fifo_cli.render.timeline import Clock, audit_text, key_text, trace_text

NOW = datetime(2026, 1, 2, 13, tzinfo=UTC)
WHOLE = Clock(NOW)
WRITTEN = datetime(2026, 1, 1, 1, tzinfo=UTC)

SUMMARY = AuditSummary(
    records=5,
    delivered=5,
    queued=0,
    parked=0,
    waiting=0,
    moved=0,
    unknown=0,
    filtered=0,
    missing=0,
    duplicated=0,
    possibly_twice=0,
    reordered=0,
    since=datetime(2026, 1, 1, tzinfo=UTC),
    until=datetime(2026, 1, 2, tzinfo=UTC),
    notes=(),
    unproven_tips=(),
    queued_unseen=0,
    parked_unseen=0,
    oldest_waiting=None,
    reasons=(),
)


def row(name: str, created_at: datetime = WRITTEN) -> tuple[str, str, Any, str, str, datetime]:
    return f"e-{name}", "INSERT", {"id": name}, "g", "100", created_at


def text(
    summary: dict[str, Any], *, clock: Clock = WHOLE, width: int | None = None, **lists: list[Any]
) -> str:
    return audit_text(replace(SUMMARY, **summary), Findings(**lists), clock=clock, width=width, color=False)


def test_a_proven_window_is_three_lines():
    assert text({}) == (
        "proven: what was delivered was delivered once and in order\n"
        "written 2026-01-01T00:00:00.000Z to 2026-01-02T00:00:00.000Z: 5 records\n"
        "5  delivered  the API took them\n"
    )


def test_the_sums_say_what_each_number_means_and_none_that_is_nought():
    numbers = {"delivered": 0, "queued": 1200, "parked": 3, "waiting": 1, "missing": 2, "unknown": 4}
    assert text({"records": 1210, **numbers}).splitlines()[2:9] == [
        "    0  delivered  the API took them",
        "1,200  queued     in line for the worker",
        "    3  parked     in the DLQ",
        "    1  waiting    in the stream: the enqueuer has not come to them yet",
        "    2  missing    neither delivered nor in a queue; see below",
        "    4  unknown    the evidence does not reach that far; see above",
        "`fifo-cli peek --queue dlq` shows why they are in the DLQ",
    ]


def test_where_records_are_that_were_not_seen_is_said_with_the_number_and_the_reason():
    reasons = (
        Reason("queued", 15, "sent, and deeper than can be seen, or in flight, in main (10 of 25 known)"),
        Reason("waiting", 40, "not enqueued: the enqueuer is paused (`fifo-cli resume enqueuer`)"),
    )
    numbers = {"delivered": 0, "queued": 25, "queued_unseen": 15, "waiting": 40, "records": 65}
    assert text({**numbers, "reasons": reasons}).splitlines() == [
        "proven: what was delivered was delivered once and in order; 65 still on the way or parked"
        " (15 of them by the queues' counts alone)",
        "written 2026-01-01T00:00:00.000Z to 2026-01-02T00:00:00.000Z: 65 records",
        " 0  delivered  the API took them",
        "25  queued     in line for the worker",
        "40  waiting    in the stream: the enqueuer has not come to them yet",
        "15 queued: sent, and deeper than can be seen, or in flight, in main (10 of 25 known)",
        "40 waiting: not enqueued: the enqueuer is paused (`fifo-cli resume enqueuer`)",
    ]


def test_what_possibly_arrived_twice_is_listed_with_the_reason():
    why = "the attempt of 2026-01-01T01:00:00.000Z was not confirmed: no answer from a.test: ReadTimeout"
    listed = [PossiblyTwice(*row("o1"), (WRITTEN,), why)]
    lines = text({"possibly_twice": 1}, possibly_twice=listed).splitlines()
    assert (
        lines[3] == "1  possibly_twice  of the delivered: an earlier attempt may have arrived, too; see below"
    )
    assert lines[5:] == [
        "1 possibly delivered twice:",
        "ITEM  GROUP  WRITTEN                   WHY",
        f"o1    g      2026-01-01T01:00:00.000Z  {why}",
    ]


def test_no_time_is_cut_on_a_terminal_of_80_columns():
    at = datetime(2026, 1, 2, 12, 42, 10, tzinfo=UTC)
    shown = text(
        {
            "missing": 1,
            "duplicated": 1,
            "reordered": 1,
            "since": datetime(2026, 1, 1, 13, tzinfo=UTC),
            "until": at,
        },
        clock=Clock(NOW, whole=False),
        width=80,
        missing=[Unplaced(*row("a" * 30, at), "never enqueued, " * 9)],
        duplicated=[Duplicated(*row("b" * 30), (at, at + timedelta(seconds=61.987)))],
        reordered=[Reordered(*row("c" * 30), at, "e" * 40, {"id": "d" * 30})],
    )
    lines = shown.splitlines()
    assert lines[1] == "written 2026-01-01 13:00:00Z to 2026-01-02 12:42:10Z: 5 records"
    assert all(len(line) <= 80 for line in lines)
    assert "  12:42:10Z 12:43:11Z" in shown
    assert shown.count("12:42:10Z") == 4
    assert shown.count("01-01 01:00:00Z") == 2


@pytest.mark.parametrize(
    ("summary", "verdict"),
    [
        ({"records": 0}, "no record in this time should have become a message"),
        (
            {"queued": 2, "parked": 1},
            "proven: what was delivered was delivered once and in order; 3 still on the way or parked",
        ),
        ({"unknown": 2, "notes": ("x",)}, "not proven: 2 unknown"),
        ({"notes": ("expired",)}, "not proven: the evidence is incomplete"),
        (
            {"missing": 1000, "duplicated": 1, "reordered": 2},
            "not proven: 1,000 missing, 1 delivered more than once, 2 delivered out of order",
        ),
    ],
)
def test_the_verdict_comes_first(summary, verdict):
    assert text(summary).splitlines()[0] == verdict


def test_findings_are_tables_with_their_keys():
    shown = text(
        {
            "records": 3,
            "delivered": 2,
            "missing": 1,
            "duplicated": 1,
            "reordered": 1,
            "filtered": 4,
            "notes": ("n",),
        },
        missing=[Unplaced(*row("a"), "never enqueued")],
        duplicated=[Duplicated(*row("b"), (WRITTEN, NOW))],
        unknown=[],
        reordered=[Reordered(*row("c"), NOW, "e-b", {"id": "b"})],
    )
    assert shown.splitlines()[1:] == [
        "written 2026-01-01T00:00:00.000Z to 2026-01-02T00:00:00.000Z: 3 records (4 more are no messages)",
        "look: n",
        "2  delivered  the API took them",
        "1  missing    neither delivered nor in a queue; see below",
        "",
        "1 missing:",
        "ITEM  GROUP  WRITTEN                   WHY",
        "a     g      2026-01-01T01:00:00.000Z  never enqueued",
        "",
        "1 delivered twice or more:",
        "ITEM  GROUP  WRITTEN                   DELIVERED",
        "b     g      2026-01-01T01:00:00.000Z  2026-01-01T01:00:00.000Z 2026-01-02T13:00:00.000Z",
        "",
        "1 delivered after a later record of their group:",
        "ITEM  GROUP  WRITTEN                   DELIVERED                 AFTER ITEM",
        "c     g      2026-01-01T01:00:00.000Z  2026-01-02T13:00:00.000Z  b",
    ]


def test_of_many_findings_the_first_twenty_are_shown():
    shown = text({"missing": 1020}, missing=[Unplaced(*row(f"i{n}"), "why") for n in range(1020)])
    assert "i19 " in shown
    assert "i20" not in shown
    assert shown.endswith("... and 1,000 more: -o jsonl lists them all\n")


def event(stage: Stage, detail: str, created: datetime | None, name: str = "INSERT") -> Event:
    return Event(RecordHistory("e", name, created=created), stage, detail)


def test_a_trace_is_where_it_is_and_its_timeline():
    result = TraceResult(
        {"id": "4711"},
        "stuck",
        "number 1",
        (event("delivered", "at t1", WRITTEN), event("stuck", "number 1", WRITTEN, "MODIFY")),
        (
            Step(WRITTEN, "written", "stream s", "e", {"event_name": "INSERT"}),
            Step(NOW, "delivered (worker)", "log l", "e", {"status": 200}),
        ),
        ("the stream has expired",),
    )
    assert trace_text(result, clock=WHOLE, width=None, color=False) == (
        "4711  stuck: number 1\n"
        "  INSERT of 2026-01-01T01:00:00.000Z: delivered: at t1\n"
        "  MODIFY of 2026-01-01T01:00:00.000Z: stuck: number 1\n"
        "look: the stream has expired\n"
        "\n"
        "2026-01-01T01:00:00.000Z  written             event_name=INSERT\n"
        "    stream s\n"
        "2026-01-02T13:00:00.000Z  delivered (worker)  status=200\n"
        "    log l\n"
    )


def test_a_timeline_fits_80_columns_with_its_times_whole():
    at = datetime(2026, 1, 2, 12, 42, 10, 123000, tzinfo=UTC)
    facts = {"group": "g" * 60, "sent_at": at - timedelta(days=1)}
    result = TraceResult(
        {"id": "4711"},
        "queued",
        "d",
        (event("queued", "d", datetime(2026, 1, 2, 12, 42, 9, tzinfo=UTC)), event("queued", "d", None)),
        tuple(
            Step(at, "delivered (worker)", "log l", "e", {**facts, "group": one}) for one in ("g" * 60, "g")
        ),
        (),
    )
    shown = trace_text(result, clock=Clock(NOW, whole=False), width=80, color=False)
    assert shown.splitlines()[1:3] == ["  INSERT of 12:42:09Z: queued: d", "  INSERT of before: queued: d"]
    assert shown.count("\n12:42:10Z  delivered (worker)  group=g") == 2
    assert "sent_at=01-01 12:42:10Z" in shown


def test_what_items_hold_cannot_act_on_the_terminal():
    result = TraceResult(
        {"id": "\x1b[31mred"},
        "stuck",
        "failed: \x1b]0;title\x07",
        (),
        (Step(NOW, "s", "\x9b1m", None, {"reason": "\x1b[2J"}),),
        ("\x1b[1m",),
    )
    assert not {"\x1b", "\x07", "\x9b"} & set(trace_text(result, clock=WHOLE, width=80, color=False))
    shown = text({"missing": 1, "notes": ("\x1b[1m",)}, missing=[Unplaced(*row("\x1b[31m"), "\x1b[2J")])
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("key", "shown"),
    [({"id": "a"}, "a"), ({"id": 1}, "1"), ({"id": "a", "n": 2}, '{"id": "a", "n": 2}'), (None, "null")],
)
def test_a_key_is_shown_as_it_is_typed(key, shown):
    assert key_text(key) == shown
