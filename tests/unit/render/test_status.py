"""The screen of status: the verdict first, all within the terminal, and nothing said by colour alone."""

from __future__ import annotations

import re
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fifo_cli.render.status import status_screen
from fifo_cli.render.text import display_width

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
QUEUE = {"name": "orders.fifo", "visible": 1, "in_flight": 0, "delayed": 0, "oldest_age_seconds": 125}
UNKNOWN = {
    "name": "orders-hold.fifo",
    "visible": None,
    "in_flight": None,
    "delayed": None,
    "oldest_age_seconds": None,
}
DOCUMENT: dict[str, Any] = {
    "pipeline": "orders",
    "account": "123456789012",
    "region": "eu-west-1",
    "verdict": {
        "state": "critical",
        "problems": [
            {"state": "critical", "text": "10 messages in the DLQ", "next": "fifo-cli peek --queue dlq"},
            {"state": "warning", "text": "the worker is paused", "next": "fifo-cli resume worker"},
        ],
    },
    "resources": [
        {"type": "queue", "name": "orders.fifo", "state": "ok", "diff": [], "reason": None},
        {
            "type": "rule",
            "name": "orders-1",
            "state": "drift",
            "diff": [{"path": "expression", "old": "rate(1 hour)", "new": "rate(5 minutes)"}],
            "reason": None,
        },
    ],
    "queues": {"main": QUEUE, "dlq": QUEUE, "hold": UNKNOWN, "stream_failures": UNKNOWN},
    "schedule": {
        "enabled": True,
        "expressions": ["rate(5 minutes)"],
        "timezone": None,
        "next_runs": ["2026-01-02T12:03:00.000Z"],
        "estimated": True,
        "unknown": [],
    },
    "enqueuer": {"state": "running", "version": "3", "iterator_age_seconds": 4},
    "worker": {
        "state": "running",
        "version": None,
        "last_runs": [
            {
                "time": "2026-01-02T11:58:00.000Z",
                "received": 5,
                "delivered": 2,
                "parked": 0,
                "failed": 1,
                "error": None,
            },
            {
                "time": "2026-01-02T11:53:00.000Z",
                "received": 0,
                "delivered": 0,
                "parked": 0,
                "failed": 0,
                "error": None,
            },
            {
                "time": "2026-01-02T11:48:00.000Z",
                "received": None,
                "delivered": None,
                "parked": None,
                "failed": None,
                "error": "Task timed out",
            },
        ],
        "stuck": [
            {
                "message_id": "0123456789-0123456789-0123456789-0123456789",
                "group": "ada",
                "time": "2026-01-02T11:58:00.000Z",
                "receives": 3,
                "http_status": 503,
                "error": "the API answered 503",
                "item_key": '{"id":"7"}',
            }
        ],
    },
    "keys": [
        {
            "name": "api_key",
            "parameter": "/orders/api-key",
            "exists": True,
            "version": 1,
            "modified_at": "2026-01-01T12:00:00.000Z",
        }
    ],
    "maintenance": None,
    "rebuild": None,
    "unseen": [{"what": "role orders-worker", "reason": "iam:GetRole: permission denied"}],
}


def screen(width: int | None = 80, *, color: bool = False, absolute: bool = False, **changes: Any) -> str:
    return status_screen({**DOCUMENT, **changes}, width=width, color=color, now=NOW, absolute=absolute)


def test_the_screen_says_what_is_wrong_first_and_what_to_type_next() -> None:
    assert (
        screen()
        == """\
CRITICAL  orders is in trouble  (123456789012, eu-west-1)
  critical 10 messages in the DLQ
           next: fifo-cli peek --queue dlq
  warning  the worker is paused
           next: fifo-cli resume worker

QUEUE            NAME              VISIBLE  IN FLIGHT  DELAYED  OLDEST
main             orders.fifo             1          0        0   2m 5s
dlq              orders.fifo             1          0        0   2m 5s
hold             orders-hold.fifo        -          -        -       -
stream failures  orders-hold.fifo        -          -        -       -

enqueuer    running, version 3, 4s behind the stream
worker      running
next run    about 12:03 UTC (in 3m)
last runs   2m ago        2 delivered, 1 failed, 2 left for the next run
            7m ago        nothing to deliver
            12m ago       failed: Task timed out
waiting     group ada: message 0123456789-0123456…456789-0123456789, item
            {"id":"7"}, received 3 times, HTTP 503, tried 2m ago
              the API answered 503
resources   1 of 2 resources as in fifo.toml
            drift: rule orders-1
              expression: 'rate(1 hour)' -> 'rate(5 minutes)'
keys        api_key: /orders/api-key set 1d ago
not seen    role orders-worker: iam:GetRole: permission denied
"""
    )


def test_colours_add_nothing_that_the_words_do_not_say() -> None:
    colored = screen(color=True)

    assert "\x1b[" in colored
    assert re.sub(r"\x1b\[\d+m", "", colored) == screen()


def test_in_a_pipe_nothing_is_shortened_or_wrapped() -> None:
    out = screen(None)

    stuck = "message 0123456789-0123456789-0123456789-0123456789"
    stuck += ', item {"id":"7"}, received 3 times, HTTP 503, tried 2m ago\n'
    assert stuck in out
    assert "…" not in out


def test_instants_are_reported_only_when_asked_for() -> None:
    assert "2026-01-02T11:58:00.000Z" in screen(absolute=True)
    assert "2026-01-02T11:58:00.000Z" not in screen()


def test_a_schedule_that_is_off_has_no_next_run_and_a_rate_that_never_ran_an_unknown_one() -> None:
    schedule = {**DOCUMENT["schedule"], "next_runs": [], "unknown": ["rate(5 minutes)"]}

    assert "next run    none: the schedule is off\n" in screen(schedule={**schedule, "enabled": False})
    assert "next run    of rate(5 minutes) known to AWS only\n" in screen(schedule=schedule)


def test_a_later_run_that_is_known_does_not_hide_a_sooner_one_that_is_not() -> None:
    schedule = {**DOCUMENT["schedule"], "unknown": ["rate(1 minute)"], "estimated": False}

    assert "next run    of rate(1 minute) known to AWS only\n            12:03 UTC (in 3m)\n" in screen(
        schedule=schedule
    )


def test_markers_tell_who_what_and_until_when() -> None:
    held = {
        "what": "redrive",
        "who": "ada@ops-1",
        "since": "2026-01-02T11:55:00.000Z",
        "until": "2026-01-02T12:00:40.000Z",
    }
    rebuild = {"phase": "merge", "paused": ["worker"], "since": "2026-01-02T11:50:00.000Z"}

    shown = screen(maintenance=held, rebuild=rebuild)
    assert "rebuild     unfinished, at its step merge, begun 10m ago; it paused worker\n" in shown
    assert "maintenance redrive by ada@ops-1, begun 5m ago\n" in shown
    assert "its marker expires in 40s unless it is renewed\n" in screen(maintenance=held)
    foreign = {"what": "hands off", "who": None, "since": None, "until": None}
    assert "hands off\n" in screen(maintenance=foreign)


def test_a_healthy_pipeline_says_so_in_one_line() -> None:
    out = screen(verdict={"state": "ok", "problems": []}, unseen=[])

    assert out.startswith("OK  orders is healthy  (123456789012, eu-west-1)\n\nQUEUE")
    assert "not seen" not in out


@given(text=st.text(max_size=120), width=st.integers(60, 220))
def test_whatever_is_in_a_message_stays_within_the_terminal_and_does_not_act_on_it(
    text: str, width: int
) -> None:
    document = deepcopy(DOCUMENT)
    document["worker"]["stuck"][0] |= {"group": text, "error": text, "message_id": text}
    document["worker"]["last_runs"][2]["error"] = text
    document["verdict"]["problems"][0]["text"] = text
    document["unseen"][0]["reason"] = text
    document["resources"][1]["diff"][0]["old"] = text

    out = status_screen(document, width=width, color=False, now=NOW)

    assert max(map(display_width, out.split("\n"))) <= width
    assert not set(out) & set("\x1b\x07\r\x08\u202e")


def test_of_code_that_differs_the_beginnings_of_the_hashes_do() -> None:
    resources = deepcopy(DOCUMENT["resources"])
    resources[1]["diff"] = [{"path": "code_sha256", "old": "a" * 44, "new": "b" * 44}]

    assert "the code is not what is here: aaaaaaaa -> bbbbbbbb\n" in screen(resources=resources)
