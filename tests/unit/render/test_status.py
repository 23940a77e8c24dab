"""The screen of status: the verdict first, all within the terminal, and nothing said by colour alone."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fifo_cli.model.drift import Drift, ResourceState
from fifo_cli.model.health import (
    Maintenance,
    Measurements,
    Polling,
    Problem,
    Unavailable,
    UnfinishedRestore,
)
from fifo_cli.model.names import Names, Place
from fifo_cli.model.next_runs import NextRuns
from fifo_cli.model.planning import Difference
from fifo_cli.model.queue_counts import Counted
from fifo_cli.model.settings import Settings
from fifo_cli.model.worker_log import OpenBreaker, PausedGroup, Runs, Stuck, WorkerRun
from fifo_cli.operations.deploy.api_keys import Key, Keys
from fifo_cli.operations.monitor.status import StatusResult
from fifo_cli.render.status import status_screen
from fifo_cli.render.text import display_width

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
QUEUE = Counted("orders.fifo", 1, 0, 0, oldest_age=125)
VITALS = Measurements(
    queues={"main": QUEUE, "dlq": QUEUE}, iterator_age=4, worker="running", enqueuer="running"
)
DRIFTED = ResourceState(
    "rule", "orders-1", "drift", (Difference("expression", "rate(1 hour)", "rate(5 minutes)"),)
)
RESOURCES = (ResourceState("alias", "orders-enqueuer:live", "ok", version="3"), DRIFTED)
STUCK = Stuck(
    "0123456789-0123456789-0123456789-0123456789",
    "ada",
    NOW - timedelta(minutes=2),
    receives=30,
    attempts=2,
    http_status=503,
    error="the API answered 503",
    item_key='{"id":"7"}',
)
RUNS = Runs(
    (
        WorkerRun(NOW - timedelta(minutes=2), received=5, delivered=2, parked=0, failed=1),
        WorkerRun(NOW - timedelta(minutes=7), received=0, delivered=0, parked=0, failed=0),
        WorkerRun(NOW - timedelta(minutes=12), error="Task timed out"),
    ),
    (STUCK,),
)
SETTINGS = Settings.model_validate(
    {"pipeline": {"name": "orders"}, "table": {"name": "orders"}, "api": [{"url": "http://x"}]}
)
RESULT = StatusResult(
    names=Names("orders"),
    settings=SETTINGS,
    place=Place("123456789012", "eu-west-1"),
    measured=VITALS,
    runs=RUNS,
    drift=Drift(RESOURCES),
    keys=Keys((Key("api_key", "/orders/api-key", True, 1, NOW - timedelta(days=1)),)),
    next_runs=NextRuns((NOW + timedelta(minutes=3),), estimated=True),
    problems=(
        Problem("critical", "10 messages in the DLQ", "fifo-cli peek --queue dlq"),
        Problem("warning", "the worker is paused", "fifo-cli resume worker"),
    ),
    unseen=(Unavailable("role orders-worker", "iam:GetRole: permission denied"),),
)


def screen(
    width: int | None = 80,
    *,
    color: bool = False,
    absolute: bool = False,
    height: int | None = None,
    **changes: Any,
) -> str:
    return status_screen(
        replace(RESULT, **changes), width=width, color=color, now=NOW, absolute=absolute, height=height
    )


def test_the_screen_says_what_is_wrong_first_and_what_to_type_next() -> None:
    assert (
        screen()
        == """\
CRITICAL  orders is in trouble  (123456789012, eu-west-1)
  critical 10 messages in the DLQ
           next: fifo-cli peek --queue dlq
  warning  the worker is paused
           next: fifo-cli resume worker

QUEUE            NAME                    VISIBLE  IN FLIGHT  DELAYED  OLDEST
main             orders.fifo                   1          0        0   2m 5s
dlq              orders.fifo                   1          0        0   2m 5s
hold             orders-hold.fifo              -          -        -       -
stream failures  orders-stream-failures        -          -        -       -

enqueuer    running, version 3, 4s behind the stream
worker      running
next run    about 12:03 UTC (in 3m)
last runs   2m ago        2 delivered, 1 failed, 2 left for the next run
            7m ago        nothing to deliver
            12m ago       failed: Task timed out
waiting     group ada: message 0123456789-0123456…456789-0123456789, item
            {"id":"7"}, HTTP 503, 2 attempts as of 11:58 UTC (2m ago)
              the API answered 503
resources   1 of 2 resources as in fifo.toml
            drift: rule orders-1
              expression: rate(1 hour) -> rate(5 minutes)
keys        api_key: /orders/api-key set 1d ago
not seen    role orders-worker: iam:GetRole: permission denied
"""
    )


@pytest.mark.parametrize(("below", "verdict_first"), [(0, False), (-1, False), (1, True), (50, True)])
def test_on_a_terminal_that_is_too_low_the_verdict_and_what_to_do_come_last(
    below: int, verdict_first: bool
) -> None:
    lines = screen().splitlines()
    shown = screen(height=len(lines) + below).splitlines()

    assert sorted(shown) == sorted(lines)
    assert shown[:5] == lines[:5] if verdict_first else shown[-5:] == lines[:5]


def test_a_healthy_pipeline_has_its_verdict_first_on_every_terminal() -> None:
    assert screen(height=5, problems=()) == screen(problems=())


def test_colours_add_nothing_that_the_words_do_not_say() -> None:
    colored = screen(color=True)

    assert "\x1b[" in colored
    assert re.sub(r"\x1b\[\d+m", "", colored) == screen()


def test_in_a_pipe_nothing_is_shortened_or_wrapped() -> None:
    out = screen(None)

    stuck = "message 0123456789-0123456789-0123456789-0123456789"
    stuck += ', item {"id":"7"}, HTTP 503, 2 attempts as of 11:58 UTC (2m ago)\n'
    assert stuck in out
    assert "…" not in out


def test_instants_are_reported_only_when_asked_for() -> None:
    assert "2026-01-02T11:58:00.000Z" in screen(absolute=True)
    assert "2026-01-02T11:58:00.000Z" not in screen()


def test_a_schedule_that_is_off_has_no_next_run_and_a_rate_that_never_ran_an_unknown_one() -> None:
    off = replace(VITALS, worker="paused")

    assert "next run    none: the schedule is off\n" in screen(measured=off, next_runs=NextRuns())
    assert "next run    rate(5 minutes): only AWS knows when\n" in screen(
        next_runs=NextRuns(unknown=("rate(5 minutes)",))
    )


def test_a_later_run_that_is_known_does_not_hide_a_sooner_one_that_is_not() -> None:
    runs = NextRuns((NOW + timedelta(minutes=3),), unknown=("rate(1 minute)",))

    assert "next run    rate(1 minute): only AWS knows when\n            12:03 UTC (in 3m)\n" in screen(
        next_runs=runs
    )


def test_a_problem_says_what_it_means_what_to_do_first_and_what_not_to_do_a_line_each() -> None:
    down = Problem(
        "warning", "group ada waits", "wait", means="shop is down", avoid="park: the messages are good"
    )

    assert screen(problems=(down,)).splitlines()[1:5] == [
        "  warning  group ada waits",
        "           means: shop is down",
        "           next: wait",
        "           do not park: the messages are good",
    ]


def test_next_runs_are_in_the_time_zone_of_the_schedule() -> None:
    settings = SETTINGS.model_copy(
        update={"schedule": SETTINGS.schedule.model_copy(update={"timezone": "Asia/Tokyo"})}
    )
    runs = NextRuns((NOW + timedelta(minutes=3), NOW + timedelta(hours=9)))

    shown = screen(settings=settings, next_runs=runs)
    assert "next run    21:03 JST (in 3m), then Sat 03 Jan 06:00 JST\n" in shown
    assert "as of 20:58 JST (2m ago)" in shown


def test_locks_say_who_what_and_until_when() -> None:
    held = Maintenance("redrive", "ada@ops-1", NOW - timedelta(minutes=5), NOW + timedelta(seconds=40))
    restore = UnfinishedRestore("merge", ("worker",), NOW - timedelta(minutes=10))

    shown = screen(measured=replace(VITALS, maintenance=held, restore=restore))
    assert "rebuild     unfinished, at its step merge, begun 10m ago; it paused worker\n" in shown
    assert "maintenance redrive by ada@ops-1, begun 5m ago\n" in shown
    assert "its marker expires in 40s unless it is renewed\n" in screen(
        measured=replace(VITALS, maintenance=held)
    )
    assert "hands off\n" in screen(measured=replace(VITALS, maintenance=Maintenance("hands off")))


def test_a_healthy_pipeline_says_so_in_one_line() -> None:
    out = screen(problems=(), unseen=())

    assert out.startswith("OK  orders is healthy  (123456789012, eu-west-1)\n\nQUEUE")
    assert "not seen" not in out


@given(text=st.text(max_size=120), width=st.integers(60, 220))
def test_whatever_is_in_a_message_stays_within_the_terminal_and_does_not_act_on_it(
    text: str, width: int
) -> None:
    out = screen(
        width,
        runs=Runs(
            (*RUNS.runs[:2], replace(RUNS.runs[2], error=text)),
            (replace(STUCK, group=text, error=text, message_id=text),),
        ),
        problems=(replace(RESULT.problems[0], text=text), *RESULT.problems[1:]),
        unseen=(Unavailable("role orders-worker", text),),
        drift=Drift(
            (RESOURCES[0], replace(DRIFTED, diff=(Difference("expression", text, "rate(5 minutes)"),)))
        ),
    )

    assert max(map(display_width, out.split("\n"))) <= width
    assert not set(out) & set("\x1b\x07\r\x08\u202e")


def test_drift_is_written_as_in_a_plan() -> None:
    differs = replace(DRIFTED, diff=(Difference("max_functions", None, 1), Difference("filters", ["a"], [])))

    out = screen(drift=Drift((differs,)))
    assert "max_functions: (none) -> 1\n" in out
    assert 'filters: ["a"] -> []\n' in out


def test_of_code_that_differs_the_beginnings_of_the_hashes_do() -> None:
    differs = replace(DRIFTED, diff=(Difference("code_sha256", "a" * 44, "b" * 44),))

    assert "the code is not what is here: aaaaaaaa -> bbbbbbbb\n" in screen(drift=Drift((differs,)))


BY_QUEUE = SETTINGS.model_copy(update={"worker": SETTINGS.worker.model_copy(update={"trigger": "queue"})})
PAUSED = replace(
    RUNS,
    paused=(
        PausedGroup("ada", NOW + timedelta(minutes=3), NOW - timedelta(minutes=2), "HTTP 503 from shop"),
        *(PausedGroup(f"g{n}", NOW + timedelta(minutes=5), NOW, "HTTP 503 from shop") for n in range(3)),
    ),
    as_of=NOW - timedelta(minutes=1),
)


def test_where_the_queue_starts_the_worker_there_is_no_next_run_and_runs_are_batches() -> None:
    polled = replace(VITALS, polling=Polling("Disabling"))

    out = screen(110, settings=BY_QUEUE, measured=polled, next_runs=NextRuns())

    assert "worker      running, started by the queue; its mapping is Disabling\n" in out
    assert "batches     2m ago        2 delivered, 1 failed, 2 given back\n" in out
    assert not any(word in out.partition("resources")[0] for word in ("next run", "schedule", "last runs"))


def test_groups_that_are_paused_are_listed_with_their_ends_and_as_of_when_that_is_known() -> None:
    out = screen(110, settings=BY_QUEUE, runs=PAUSED)

    assert (
        "paused      group ada until 12:03:00 UTC (in 3m): HTTP 503 from shop\n"
        "            group g0 until 12:05:00 UTC (in 5m): HTTP 503 from shop\n"
        "            group g1 until 12:05:00 UTC (in 5m): HTTP 503 from shop\n"
        "            and 1 more group that is paused\n"
        "            as of 11:59:00 UTC (1m ago); only the function that paused a group can end it\n"
    ) in out


def test_an_open_breaker_has_its_beginning_and_its_end() -> None:
    open_ = OpenBreaker(NOW - timedelta(minutes=9), NOW, NOW + timedelta(minutes=3), 2)

    assert (
        "breaker     open in up to 2 functions since 11:51:00 UTC (9m ago); one call each, the last at "
    ) in screen(110, settings=BY_QUEUE, runs=replace(RUNS, breaker=open_))
    due = replace(open_, until=NOW - timedelta(minutes=1))
    assert "(9m ago); a call was due at 11:59:00 UTC\n" in screen(
        110, settings=BY_QUEUE, runs=replace(RUNS, breaker=due)
    )
    paused = replace(VITALS, worker="paused")
    assert "(9m ago); the worker does not run, and calls nothing\n" in screen(
        110, settings=BY_QUEUE, runs=replace(RUNS, breaker=open_), measured=paused
    )
    assert "breaker     open since 11:51:00 UTC (9m ago); the next run makes one call\n" in screen(
        110, runs=replace(RUNS, breaker=replace(open_, until=None, functions=1))
    )


def test_the_json_names_the_trigger_and_what_is_paused() -> None:
    open_ = OpenBreaker(NOW, NOW, None, 1, 5, "shop", 503, "HTTP 503 from shop")
    document = replace(
        RESULT,
        settings=BY_QUEUE,
        measured=replace(VITALS, polling=Polling("Enabled")),
        runs=replace(PAUSED, breaker=open_),
        next_runs=NextRuns(),
    ).document()

    schedule = document["schedule"]
    assert (schedule["enabled"], schedule["expressions"], schedule["next_runs"]) == (True, [], [])
    worker = document["worker"]
    assert (worker["trigger"], worker["polling"]) == ("queue", {"state": "Enabled", "problem": ""})
    assert worker["paused"][0] == {
        "group": "ada",
        "until": "2026-01-02T12:03:00.000Z",
        "time": "2026-01-02T11:58:00.000Z",
        "error": "HTTP 503 from shop",
        "retry_after": None,
    }
    assert worker["breaker"]["failures"] == 5
    assert worker["as_of"] == "2026-01-02T11:59:00.000Z"
    assert RESULT.document()["worker"]["trigger"] == "schedule"
