"""The dashboard of watch, sample by sample."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fifo_cli.model.advice import Snapshot
from fifo_cli.model.health import Measurements
from fifo_cli.model.queue_counts import Counted
from fifo_cli.model.settings import Settings
from fifo_cli.model.watch_state import EVENTS_KEPT, POINTS_KEPT, Lost, Sample, WatchState, lost, seen
from fifo_cli.model.worker_log import Fate, Stuck, WatchEvent

SETTINGS = Settings.model_validate(
    {"pipeline": {"name": "orders"}, "table": {"name": "orders"}, "api": [{"url": "http://x"}]}
)
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def sample(seconds: float, *events: WatchEvent, main: int = 5) -> Sample:
    measured = Measurements(queues={"main": Counted("m", main, 0, 0)})
    return Sample(at(seconds), measured, Snapshot(SETTINGS, measured, at(seconds)), events=events)


def happening(fate: Fate, message: str = "m1", group: str = "g", status: int | None = None) -> WatchEvent:
    return WatchEvent(START, fate, group=group, message_id=message, http_status=status)


def test_rates_are_taken_over_the_last_seconds_and_not_over_what_was_logged_before() -> None:
    dashboard = seen(WatchState("orders"), sample(0, *[happening("delivered")] * 50))
    assert dashboard.rate("left") is None

    dashboard = seen(dashboard, sample(2, happening("delivered"), happening("enqueued"), happening("parked")))

    assert (dashboard.rate("left"), dashboard.rate("entered")) == (1.0, 0.5)


def test_a_rate_falls_when_nothing_happens_any_more() -> None:
    dashboard = seen(WatchState("orders"), sample(0))
    dashboard = seen(dashboard, sample(2, *[happening("delivered")] * 10))
    for seconds in range(4, 60, 2):
        dashboard = seen(dashboard, sample(seconds))

    assert dashboard.rate("left") == 0


def test_a_stuck_head_is_followed_until_it_moves() -> None:
    dashboard = seen(WatchState("orders"), sample(0, happening("failed"), happening("failed", "x1", "other")))
    assert {one.group: one.message_id for one in dashboard.stuck} == {"g": "m1", "other": "x1"}

    dashboard = seen(dashboard, sample(4, happening("delivered", "m1"), happening("parked", "x1", "other")))

    assert dashboard.stuck == ()


def test_a_head_that_was_delivered_unlogged_gives_way_to_the_next_that_fails() -> None:
    dashboard = seen(WatchState("orders"), sample(0, happening("failed", "m1")))

    dashboard = seen(dashboard, sample(2, happening("failed", "m2")))

    assert [one.message_id for one in dashboard.stuck] == ["m2"]


def test_an_empty_queue_has_no_stuck_head_whoever_delivered_it() -> None:
    dashboard = seen(WatchState("orders"), sample(0, happening("failed")))

    assert seen(dashboard, sample(2, main=0)).stuck == ()


def test_statuses_are_counted_and_no_answer_is_one_of_them() -> None:
    dashboard = seen(WatchState("orders"), sample(0, happening("delivered", status=200), happening("failed")))
    dashboard = seen(dashboard, sample(2, happening("delivered", status=200), happening("enqueued")))

    assert dashboard.statuses == {"200": 2, "no answer": 1}


def test_what_is_lost_is_lost_since_the_first_failure_and_found_by_the_next_sample() -> None:
    dashboard = lost(seen(WatchState("orders"), sample(0)), Lost(at(2), at(6), "refused"))
    dashboard = lost(dashboard, Lost(at(6), at(14), "still refused"))

    assert dashboard.lost == Lost(at(2), at(14), "still refused")
    assert dashboard.sample is not None
    assert seen(dashboard, sample(20)).lost is None


def test_memory_is_bounded_however_long_it_is_watched() -> None:
    dashboard = WatchState("orders")
    for number in range(POINTS_KEPT + 50):
        dashboard = seen(dashboard, sample(number, happening("delivered", str(number))))

    assert (len(dashboard.points), len(dashboard.recent)) == (POINTS_KEPT, EVENTS_KEPT)
    assert dashboard.recent[-1].message_id == str(POINTS_KEPT + 49)


def test_a_head_that_does_not_move_is_a_problem_until_it_does() -> None:
    dashboard = seen(WatchState("orders"), sample(0, happening("failed"), happening("failed", "x1", "other")))

    assert [(one.state, one.text) for one in dashboard.problems] == [
        ("warning", "group g waits for its head: no reason logged (1 more group waits)")
    ]

    dashboard = seen(dashboard, sample(4, happening("delivered", "m1"), happening("parked", "x1", "other")))
    assert dashboard.problems == ()


def ended(seconds: float, *, emptied: bool = False) -> WatchEvent:
    return WatchEvent(at(seconds), "run ended", emptied=emptied)


def failed(seconds: float, message: str, group: str) -> WatchEvent:
    return WatchEvent(at(seconds), "failed", group=group, message_id=message)


def groups(dashboard: WatchState) -> set[str]:
    return {one.group for one in dashboard.stuck}


def test_a_head_is_remembered_though_the_next_run_looks_elsewhere() -> None:
    """As ``d`` does, which tries one message."""
    dashboard = seen(
        WatchState("orders"), sample(0, failed(-3, "m1", "g"), failed(-2, "x1", "other"), ended(-1))
    )
    dashboard = seen(dashboard, sample(60, failed(58, "m1", "g"), ended(59)))

    assert groups(dashboard) == {"g", "other"}


def test_a_head_that_a_run_over_all_there_was_did_not_meet_has_gone_another_way() -> None:
    dashboard = seen(
        WatchState("orders"), sample(0, failed(-3, "m1", "g"), failed(-2, "x1", "other"), ended(-1))
    )
    dashboard = seen(dashboard, sample(600, failed(598, "m1", "g"), ended(599, emptied=True)))
    assert groups(dashboard) == {"g", "other"}, "a consumer may hold it"

    dashboard = seen(dashboard, sample(1000, failed(998, "m1", "g"), ended(999, emptied=True)))
    assert groups(dashboard) == {"g"}


def test_what_was_stuck_before_the_watch_began_is_shown_until_it_moves() -> None:
    first = sample(0)
    before = (Stuck("m1", "g", at(-9000)), Stuck("x1", "other", at(-9000)))
    dashboard = seen(WatchState("orders"), replace(first, before=before))
    assert groups(dashboard) == {"g", "other"}

    dashboard = seen(dashboard, replace(sample(2, happening("delivered", "m1")), before=before))
    assert groups(dashboard) == {"other"}
    assert groups(seen(dashboard, sample(4, WatchEvent(START, "moved", message_id="x1")))) == set()


@pytest.mark.parametrize(
    ("event", "counted"),
    [
        (WatchEvent(START, "delivered", http_status=200), {"200": 1}),
        (WatchEvent(START, "parked", http_status=422), {"422": 1}),
        (WatchEvent(START, "parked", reason="orders:to_request raised KeyError: 'a'", owner="message"), {}),
        (WatchEvent(START, "parked", reason="the body is not JSON", owner="message"), {}),
        (WatchEvent(START, "parked", reason="parked by hand"), {}),
        (WatchEvent(START, "failed", error_type="ReadTimeout", owner="api"), {"no answer": 1}),
        (WatchEvent(START, "parked", error_type="ReadTimeout", owner="api"), {"no answer": 1}),
        (WatchEvent(START, "failed", reason="ConnectError: refused"), {"no answer": 1}),
        (WatchEvent(START, "failed", reason="no call to x: orders:f raised OSError", owner="api"), {}),
        (WatchEvent(START, "failed", reason="internal error: x", owner="program"), {}),
        (WatchEvent(START, "failed", http_status=503, owner="api"), {"503": 1}),
        (WatchEvent(START, "enqueued"), {}),
    ],
)
def test_no_answer_is_of_an_api_that_was_asked(event: WatchEvent, counted: dict[str, int]) -> None:
    assert seen(WatchState("orders"), sample(0, event)).statuses == counted
