"""Which groups are paused, and whether the breaker is open, by the worker's log alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fifo_cli.aws.logs import LogEvent
from fifo_cli.model.times import iso
from fifo_cli.model.worker_log import OpenBreaker, PausedGroup
from fifo_cli.operations.monitor.logs import LogLine, parse_line
from fifo_cli.operations.monitor.pauses import open_breaker, paused_groups

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
LATE = timedelta(minutes=15)


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def line(minutes_ago: float, message: str, *, stream: str = "a", **facts: Any) -> LogLine:
    text = json.dumps({"time": iso(at(-minutes_ago)), "level": "info", "message": message, **facts})
    return parse_line("worker", LogEvent(text, int(at(-minutes_ago).timestamp() * 1000), text, stream))


def failed(minutes_ago: float, group: str, until: datetime, **facts: Any) -> LogLine:
    return line(minutes_ago, "failed", group=group, paused_until=iso(until), **{"reason": "no", **facts})


def breaker(*lines: LogLine, by_queue: bool = True) -> OpenBreaker | None:
    return open_breaker(lines, now=NOW, late=LATE, by_queue=by_queue)


def opened(minutes_ago: float, until: float | None = None, **facts: Any) -> LogLine:
    until_ = {} if until is None else {"until": iso(at(until))}
    about = {"api": "shop", "status": 503, "reason": "HTTP 503 from shop", "failures": 5}
    return line(minutes_ago, "breaker opened", **{**about, **until_, **facts})


def test_a_group_is_paused_until_the_time_that_its_last_failure_gives() -> None:
    found = paused_groups(
        [failed(4, "ada", at(-1)), failed(3, "bob", at(2)), failed(1, "ada", at(4))], now=NOW
    )

    assert found == (PausedGroup("bob", at(2), at(-3), "no"), PausedGroup("ada", at(4), at(-1), "no"))


def test_a_pause_that_the_api_asked_for_is_known_as_such() -> None:
    assert paused_groups([failed(1, "ada", at(4), retry_after=300)], now=NOW) == (
        PausedGroup("ada", at(4), at(-1), "no", 300),
    )


def test_a_group_whose_pause_is_over_is_not_paused() -> None:
    assert paused_groups([failed(4, "ada", at(-1))], now=NOW) == ()


def test_the_reason_of_a_pause_is_that_of_the_head_and_not_of_what_is_behind_it() -> None:
    behind = line(
        1, "skipped", group="ada", paused_until=iso(at(3) + timedelta(milliseconds=4)), reason="behind it"
    )

    [found] = paused_groups([failed(1, "ada", at(3), reason="HTTP 503"), behind], now=NOW)

    assert found.error == "HTTP 503"


def test_what_the_breaker_turned_away_is_paused_too() -> None:
    turned_away = line(1, "skipped", group="ada", paused_until=iso(at(3)), reason="the API is not called")

    assert [one.group for one in paused_groups([turned_away], now=NOW)] == ["ada"]


def test_a_line_without_a_pause_pauses_nothing() -> None:
    """On a schedule, or by a drain, what failed is released."""
    lines = [line(1, "failed", group="ada"), line(1, "failed", group="bob", paused_until="soon")]

    assert paused_groups(lines, now=NOW) == ()


def test_a_breaker_is_open_since_its_first_line_until_the_time_that_the_last_one_gives() -> None:
    found = breaker(opened(6, -5), opened(1, 4, failures=6))

    assert found == OpenBreaker(at(-6), at(-1), at(4), 1, 6, "shop", 503, "HTTP 503 from shop")


@pytest.mark.parametrize(
    ("lines", "functions"),
    [
        pytest.param([opened(2, 3), line(1, "breaker closed")], 0, id="closed"),
        pytest.param([opened(2, 3), line(1, "breaker closed", stream="b")], 1, id="another one closed"),
        pytest.param([opened(2, 3), opened(1, 4, stream="b")], 2, id="two functions"),
        pytest.param([opened(2, 3), line(1, "run ended", delivered=5, stream="b")], 1, id="others deliver"),
        pytest.param([opened(9, -4)], 1, id="the line of its probe may be late"),
        pytest.param(
            [opened(9, -4), line(3, "run ended", delivered=5, stream="b")], 0, id="others, after it"
        ),
        pytest.param(
            [opened(9, -4), line(5, "run ended", delivered=5, stream="b")], 1, id="others, before it"
        ),
        pytest.param(
            [opened(9, -4), line(3, "run ended", delivered=0, stream="b")], 1, id="nothing delivered"
        ),
        pytest.param([opened(9, -4), line(3, "breaker closed", stream="b")], 0, id="another's, after it"),
        pytest.param(
            [opened(9, -4), line(3, "run ended", delivered=5, stream="drain/host/1")],
            0,
            id="a drain, after it",
        ),
        pytest.param([opened(29, -16)], 0, id="its function has ended"),
        pytest.param([opened(2, 3, stream="drain/host/1")], 0, id="a drain's ended with it"),
        pytest.param([line(1, "breaker opened by hand")], 0, id="another word"),
    ],
)
def test_each_function_has_a_breaker_of_its_own(lines: list[LogLine], functions: int) -> None:
    found = breaker(*lines)

    assert (found.functions if found else 0) == functions


def test_of_several_functions_the_last_call_is_said() -> None:
    found = breaker(opened(2, 5, stream="b"), opened(1, 3), opened(4, -1, stream="c"))

    assert found is not None
    assert (found.functions, found.until) == (2, at(5)), "the third may have ended"


def test_breakers_of_an_earlier_version_are_gone_with_its_functions() -> None:
    before = opened(5, 3, stream="2026/01/02/[1]aa")

    assert breaker(before, line(4, "run ended", delivered=0, stream="2026/01/02/[1]bb")) is not None
    assert breaker(before, line(4, "run ended", delivered=0, stream="2026/01/02/[2]cc")) is None
    assert breaker(before, line(4, "run ended", delivered=0, stream="drain/host/1")) is not None


def test_a_schedule_starts_one_function_whatever_environments_it_had() -> None:
    found = breaker(opened(5, 3, stream="a"), opened(4, 3, stream="b"), by_queue=False)

    assert found is not None
    assert found.functions == 1


def test_on_a_schedule_a_breaker_is_open_until_a_run_delivers() -> None:
    """The next run makes one call at once, however long the pause would be."""
    stays = breaker(opened(40, -39), line(9, "run ended", delivered=0), by_queue=False)

    assert stays is not None
    assert stays.until is None
    assert breaker(opened(40, -39), line(9, "run ended", delivered=1), by_queue=False) is None


def test_what_a_run_delivered_before_its_breaker_opened_closes_nothing() -> None:
    ended = line(8, "run ended", delivered=3, failed=5, breaker="HTTP 503 from shop")

    assert breaker(opened(9), ended, by_queue=False) is not None
