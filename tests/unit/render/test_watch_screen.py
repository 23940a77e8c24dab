"""The screen of watch, whatever its size and whatever has happened."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fifo_cli.model.advice import Snapshot
from fifo_cli.model.health import Measurements
from fifo_cli.model.queue_counts import Counted
from fifo_cli.model.settings import Settings
from fifo_cli.model.watch_state import Lost, Sample, WatchState, lost, seen
from fifo_cli.model.worker_log import OpenBreaker, PausedGroup, Runs, WatchEvent
from fifo_cli.render.text import display_width
from fifo_cli.render.watch_screen import KEYS, as_text, frame, one_line, sparkline

SETTINGS = Settings.model_validate(
    {
        "pipeline": {"name": "orders"},
        "table": {"name": "orders"},
        "api": [{"url": "http://x"}],
        "schedule": {"timezone": "America/New_York"},
    }
)
NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)


def measured(main: int = 5, dlq: int = 0, **changes: Any) -> Measurements:
    queues: Any = {"main": Counted("m", main, 0, 0, 65), "dlq": Counted("d", dlq, 0, 0)}
    return Measurements(**{"queues": queues, "worker": "running", "enqueuer": "running", **changes})


def dashboard(reason: str = "the API answered 503", group: str = "ada") -> WatchState:
    events = (
        WatchEvent(
            NOW,
            "delivered",
            group="bob",
            message_id="m1",
            item_key='{"id":"1"}',
            http_status=200,
            elapsed_ms=12,
        ),
        WatchEvent(NOW, "failed", group=group, message_id="m2", http_status=503, receives=3, reason=reason),
    )
    first = seen(
        WatchState("orders", place="123456789012 eu-west-1", since=NOW),
        Sample(NOW - timedelta(seconds=2), measured(3)),
    )
    now = measured(5, 1)
    snapshot = Snapshot(SETTINGS, now, NOW)
    return seen(first, Sample(NOW, now, snapshot, events=events, next_run=NOW + timedelta(seconds=90)))


def text(shown: WatchState, width: int = 80, height: int = 24, **options: Any) -> list[str]:
    lines = frame(shown, width=width, height=height, now=NOW, **options)
    return ["".join(part for part, _ in line).rstrip() for line in lines]


def test_all_there_is_to_know_is_on_a_screen_of_80_by_24() -> None:
    lines = text(dashboard())

    assert len(lines) == 24
    assert lines[:20] == [
        "orders  123456789012 eu-west-1  12:00:00, every 2 s",
        "WARNING  group ada waits for its head: the API answered 503",
        "         next: `fifo-cli drain --count 1` tries it again; if the API is well,",
        "         `fifo-cli park --group ada` sets this message aside",
        "         do not park before you know that the API is well",
        "         1 more: `fifo-cli status`",
        "",
        "main             5  ▅█  oldest 1m 5s",
        "dlq              1  ▁█",
        "in           0.0/s  ▁▁",
        "out          0.5/s  ▁█",
        "",
        "API      200: 1   503: 1   since 12:00",
        "worker   running, next run 07:01 EST (in 1m 30s)   enqueuer running",
        "waiting  ada, 1 attempt as of 12:00:00 (0s ago): the API answered 503",
        "",
        "12:00:00 failed     503            ada                  m2  the API answered 503",
        '12:00:00 delivered  200     12 ms  bob                  {"id":"1"}',
        "",
        "",
    ]
    assert lines[-1] == KEYS


def test_a_question_stands_above_the_keys_and_a_notice_gives_way_to_it() -> None:
    message = replace(dashboard(), notice="the worker is paused")

    assert text(message)[-2:] == ["the worker is paused", KEYS]
    assert text(replace(message, question="Pause it?"))[-2:] == ["Pause it? [y/N]", KEYS]


def test_a_lost_connection_is_reported_with_the_reason_and_the_last_numbers_stay() -> None:
    gone = lost(
        dashboard(),
        Lost(
            NOW - timedelta(seconds=9), NOW + timedelta(seconds=4), "the credentials have expired", "sign in"
        ),
    )

    lines = text(gone)

    assert lines[1:3] == ["LOST for 9s, again in 4 s: the credentials have expired", "     sign in"]
    assert lines[4].startswith("main             5")


def test_numbers_that_are_old_are_reported_to_be_while_an_answer_is_waited_for() -> None:
    shown = dashboard()
    assert not any("no answer" in line for line in text(shown))

    late = frame(shown, width=80, height=24, now=NOW + timedelta(seconds=12))

    lines = ["".join(part for part, _ in line) for line in late]
    assert "no answer from AWS for 12s; the numbers are so old" in lines


def test_before_the_first_answer_it_says_that_it_waits() -> None:
    lines = text(WatchState("orders"))

    assert lines[1] == "waiting for AWS"
    assert lines[3].split() == ["main", "?"]


def test_a_log_that_may_not_be_read_is_told() -> None:
    unseen = seen(WatchState("orders"), Sample(NOW, measured(), logs_unseen="FilterLogEvents: denied"))

    assert "log      not seen: FilterLogEvents: denied" in text(unseen)


def test_without_logs_there_are_depths_and_nothing_to_press_but_q() -> None:
    lines = text(dashboard(), logs=False)

    assert lines[-1] == "q quit"
    assert [line.split()[0] for line in lines[7:9]] == ["main", "dlq"]
    assert not any(line.startswith(("in ", "out ", "no deliveries")) for line in lines)


@given(
    width=st.integers(20, 250),
    height=st.integers(5, 70),
    reason=st.text(max_size=80),
    group=st.text(max_size=40),
    plain=st.booleans(),
)
def test_it_never_leaves_the_screen_nor_lets_a_message_act_on_it(
    width: int, height: int, reason: str, group: str, plain: bool
) -> None:
    lines = text(dashboard(reason, group), width, height, plain=plain)

    assert len(lines) == height
    assert max(map(display_width, lines)) <= width
    assert lines[-1] == KEYS[:width] or lines[-1].endswith(("…", "~"))
    assert lines[0].startswith("orders")
    assert not set("".join(lines)) & set("\x1b\x07\r\n\x08\u202e")
    assert not plain or "".join(lines).isascii()


def test_markup_in_a_message_is_text() -> None:
    shown = as_text(frame(dashboard("[bold]no[/bold]"), width=100, height=24, now=NOW))

    assert "[bold]no[/bold]" in shown.plain


def test_every_state_and_fate_is_a_word_too() -> None:
    """Without colours, the plain text is all there is."""
    plain = "\n".join(text(dashboard()))

    for word in ("WARNING", "delivered", "failed", "503", "running"):
        assert word in plain


@pytest.mark.parametrize(
    ("values", "width", "drawn"),
    [
        ([], 5, ""),
        ([0, 0], 5, "▁▁"),
        ([1, 2, 4, 8], 10, "▂▃▅█"),
        ([1, 2, 4, 8], 2, "▅█"),
        ([1000, 1], 5, "█▂"),
        ([None, 3], 5, " █"),
        ([3], 0, ""),
    ],
)
def test_sparklines_are_as_high_as_the_highest_and_something_is_never_nothing(
    values: list[float | None], width: int, drawn: str
) -> None:
    assert sparkline(values, width) == drawn


def test_sparklines_in_ascii() -> None:
    assert sparkline([0, 1, 8], 5, plain=True) == "_.#"


def test_where_there_is_no_screen_a_line_says_it() -> None:
    assert one_line(dashboard(), now=NOW) == (
        "12:00:00 WARNING  main 5  dlq 1  in 0.0/s  out 0.5/s "
        " group ada waits for its head: the API answered 503; 1 message in the DLQ\n"
    )
    assert one_line(WatchState("orders"), now=NOW) == "12:00:00 orders waiting for AWS\n"
    assert one_line(lost(WatchState("orders"), Lost(NOW, NOW, "no\nway")), now=NOW) == (
        "12:00:00 orders LOST: no\\nway\n"
    )


def test_where_the_queue_starts_the_worker_pauses_are_shown_in_place_of_a_next_run() -> None:
    worker = SETTINGS.worker.model_copy(update={"trigger": "queue"})
    runs = Runs(
        paused=(
            PausedGroup("old", NOW - timedelta(seconds=1), NOW),
            PausedGroup("ada", NOW + timedelta(seconds=70), NOW),
            PausedGroup("bob", NOW + timedelta(minutes=5), NOW),
        ),
        breaker=OpenBreaker(NOW - timedelta(minutes=2), NOW, NOW + timedelta(minutes=1), 1),
        as_of=NOW - timedelta(minutes=1),
    )
    snapshot = Snapshot(SETTINGS.model_copy(update={"worker": worker}), measured(), NOW, runs=runs)

    lines = text(seen(WatchState("orders"), Sample(NOW, measured(), snapshot)))
    empty = text(seen(WatchState("orders"), Sample(NOW, measured(0), snapshot)))

    assert "worker   running, started by the queue   enqueuer running" in lines
    assert "breaker  open for 2m, one call at 12:01:00" in lines
    assert "paused   2 groups, the first until 12:01:10 (as of 11:59:00)" in lines
    assert not any(line.startswith(("breaker", "paused")) for line in empty)
    for state in ("paused", "stopped"):
        still = replace(measured(), worker=state)
        lines = text(seen(WatchState("orders"), Sample(NOW, still, replace(snapshot, measured=still))))
        assert "breaker  open for 2m, the worker does not run" in lines
