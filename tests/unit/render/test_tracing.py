"""Audits and traces as text, whole."""

from __future__ import annotations

from typing import Any

import pytest

from fifo_cli.render.tracing import audit_text, key_text, trace_text

SUMMARY: dict[str, Any] = {
    "records": 5,
    "delivered": 5,
    "queued": 0,
    "parked": 0,
    "waiting": 0,
    "unknown": 0,
    "filtered": 0,
    "missing": 0,
    "duplicated": 0,
    "reordered": 0,
    "since": "2026-01-01T00:00:00.000Z",
    "until": "2026-01-02T00:00:00.000Z",
    "notes": [],
}


def row(name: str, **facts: Any) -> dict[str, Any]:
    return {
        "event_id": f"e-{name}",
        "event_name": "INSERT",
        "key": {"id": name},
        "group": "g",
        "stream_sequence": "100",
        "created_at": "2026-01-01T01:00:00.000Z",
        **facts,
    }


def text(summary: dict[str, Any], **lists: list[dict[str, Any]]) -> str:
    empty: dict[str, list[dict[str, Any]]] = {"missing": [], "duplicated": [], "reordered": []}
    return audit_text({**SUMMARY, **summary}, **{**empty, **lists}, width=None, color=False)


def test_a_proven_window_is_two_lines():
    assert text({}) == (
        "proven: what was delivered was delivered once and in order\n"
        "2026-01-01T00:00:00.000Z to 2026-01-02T00:00:00.000Z: 5 records: 5 delivered\n"
    )


@pytest.mark.parametrize(
    ("summary", "verdict"),
    [
        ({"records": 0}, "no record in this time should have become a message"),
        (
            {"queued": 2, "parked": 1},
            "proven: what was delivered was delivered once and in order; 3 still on the way or parked",
        ),
        ({"unknown": 2, "notes": ["x"]}, "not proven: 2 unknown"),
        ({"notes": ["expired"]}, "not proven: the evidence is incomplete"),
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
            "notes": ["n"],
        },
        missing=[row("a", reason="never enqueued")],
        duplicated=[row("b", deliveries=["t1", "t2"])],
        reordered=[row("c", delivered_at="t3", after="e-b")],
    )
    assert shown.splitlines()[1:] == [
        "2026-01-01T00:00:00.000Z to 2026-01-02T00:00:00.000Z: 3 records (4 more are no messages):"
        " 2 delivered, 1 missing",
        "look: n",
        "",
        "1 missing:",
        "ITEM  GROUP  WRITTEN                   WHY",
        "a     g      2026-01-01T01:00:00.000Z  never enqueued",
        "",
        "1 delivered twice or more:",
        "ITEM  GROUP  WRITTEN                   DELIVERED",
        "b     g      2026-01-01T01:00:00.000Z  t1 t2",
        "",
        "1 delivered after a later record of their group:",
        "ITEM  GROUP  WRITTEN                   DELIVERED  AFTER EVENT",
        "c     g      2026-01-01T01:00:00.000Z  t3         e-b",
    ]


def test_of_many_findings_the_first_twenty_are_shown():
    shown = text({"missing": 1020}, missing=[row(f"i{n}", reason="why") for n in range(1020)])
    assert "i19 " in shown
    assert "i20" not in shown
    assert shown.endswith("... and 1,000 more: -o jsonl lists them all\n")


def test_a_trace_is_where_it_is_and_its_timeline():
    event = {"event_name": "INSERT", "created_at": "t0", "stage": "delivered", "detail": "at t1"}
    document = {
        "key": {"id": "4711"},
        "stage": "stuck",
        "detail": "number 1",
        "events": [event, {**event, "event_name": "MODIFY", "stage": "stuck", "detail": "number 1"}],
        "history": [
            {
                "time": "t0",
                "step": "written",
                "event_id": "e",
                "event_name": "INSERT",
                "evidence": "stream s",
            },
            {"time": "t1", "step": "delivered (worker)", "event_id": "e", "status": 200, "evidence": "log l"},
        ],
        "notes": ["the stream has expired"],
    }
    assert trace_text(document, width=None, color=False) == (
        "4711  stuck: number 1\n"
        "  INSERT of t0: delivered: at t1\n"
        "  MODIFY of t0: stuck: number 1\n"
        "look: the stream has expired\n"
        "\n"
        "t0  written             event_name=INSERT\n"
        "    stream s\n"
        "t1  delivered (worker)  status=200\n"
        "    log l\n"
    )


def test_what_items_hold_cannot_act_on_the_terminal():
    document = {
        "key": {"id": "\x1b[31mred"},
        "stage": "stuck",
        "detail": "failed: \x1b]0;title\x07",
        "events": [],
        "history": [{"time": "t", "step": "s", "event_id": None, "reason": "\x1b[2J", "evidence": "\x9b1m"}],
        "notes": ["\x1b[1m"],
    }
    assert not {"\x1b", "\x07", "\x9b"} & set(trace_text(document, width=80, color=False))
    shown = text({"missing": 1, "notes": ["\x1b[1m"]}, missing=[row("\x1b[31m", reason="\x1b[2J")])
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("key", "shown"),
    [({"id": "a"}, "a"), ({"id": 1}, "1"), ({"id": "a", "n": 2}, '{"id": "a", "n": 2}'), (None, "null")],
)
def test_a_key_is_shown_as_it_is_typed(key, shown):
    assert key_text(key) == shown
