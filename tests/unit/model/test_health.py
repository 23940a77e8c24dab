"""What is a problem, how bad it is, and in which order problems are reported."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fifo_cli.model.advice import Snapshot, advise, evaluate
from fifo_cli.model.health import (
    STATES,
    Maintenance,
    Measurements,
    Problem,
    QueueKind,
    ScheduleState,
    TriggerState,
    Unavailable,
    UnfinishedRestore,
    worst,
)
from fifo_cli.model.queue_counts import Counted
from fifo_cli.model.settings import Check, Settings
from fifo_cli.model.times import rough
from tests.unit.model.test_stuck_advice import NOW, SETTINGS

CHECK = Check(depth=(10, 100), age=(timedelta(minutes=15), timedelta(hours=1)), dlq=(1, 5))
WELL = Measurements(worker="running", enqueuer="running")


def queues(age: int | None = None, **totals: int) -> dict[QueueKind, Counted]:
    kinds: tuple[QueueKind, ...] = ("main", "dlq", "hold", "stream_failures")
    return {kind: Counted(kind, totals.get(kind, 0), 0, 0, age if kind == "main" else None) for kind in kinds}


def judged(**changes: Any) -> list[tuple[str, str]]:
    measured = replace(WELL, **{"queues": queues(), **changes})
    return [(problem.state, problem.text) for problem in evaluated(measured)]


def evaluated(
    measured: Measurements, check: Check = CHECK, settings: Settings = SETTINGS
) -> tuple[Problem, ...]:
    return evaluate(Snapshot(settings, measured, NOW, check=check))


def test_a_pipeline_with_empty_queues_and_running_functions_is_well() -> None:
    assert judged() == []


@pytest.mark.parametrize(
    ("totals", "expected"),
    [
        ({"main": 9}, []),
        ({"main": 10}, [("warning", "10 messages waiting")]),
        ({"main": 99}, [("warning", "99 messages waiting")]),
        ({"main": 100}, [("critical", "100 messages waiting")]),
        ({"dlq": 1}, [("warning", "1 message in the DLQ")]),
        ({"dlq": 5}, [("critical", "5 messages in the DLQ")]),
        (
            {"stream_failures": 1},
            [("warning", "1 message in orders-stream-failures: stream records that were given up")],
        ),
        ({"hold": 2}, [("warning", "2 messages left in the hold queue")]),
    ],
)
def test_a_number_is_a_problem_from_its_threshold_on(
    totals: dict[str, int], expected: list[tuple[str, str]]
) -> None:
    assert judged(queues=queues(**totals)) == expected


@pytest.mark.parametrize(
    ("age", "state"), [(899, None), (900, "warning"), (3599, "warning"), (3600, "critical")]
)
def test_ages_count_for_the_oldest_message_and_for_the_stream(age: int, state: str | None) -> None:
    assert [found for found, _ in judged(queues=queues(age=age, main=1))] == [state] * bool(state)
    assert [found for found, _ in judged(iterator_age=age)] == [state] * bool(state)


def test_an_age_that_is_said_of_an_empty_queue_is_none() -> None:
    assert Measurements(queues=queues(age=999_999)).age == 0
    assert judged(queues=queues(age=999_999)) == []


def test_a_threshold_of_zero_does_not_make_an_empty_queue_a_problem() -> None:
    check = CHECK.model_copy(update={"dlq": (0, 0), "depth": (0, 0)})

    assert evaluated(replace(WELL, queues=queues()), check) == ()
    assert [one.state for one in evaluated(replace(WELL, queues=queues(dlq=1)), check)] == ["critical"]


@pytest.mark.parametrize(
    ("feeds", "expected"),
    [
        ({"worker": "paused"}, ("warning", "the worker is paused")),
        (
            {"enqueuer": "paused"},
            ("warning", "the enqueuer is paused; the stream forgets a record after 24 h"),
        ),
        ({"worker": "stopped"}, ("critical", "the worker is stopped: its reserved concurrency is 0")),
        (
            {"worker": "missing"},
            ("critical", "the worker has no schedule: nothing starts it"),
        ),
        (
            {"enqueuer": "missing"},
            (
                "critical",
                "the enqueuer has no event source mapping: nothing starts it;"
                " the stream forgets a record after 24 h",
            ),
        ),
    ],
)
def test_what_is_not_fed_is_told(feeds: dict[str, Any], expected: tuple[str, str]) -> None:
    assert judged(**feeds) == [expected]


REDRIVE = Maintenance("redrive by ada")


def test_maintenance_is_reported_with_who_and_how_long() -> None:
    at = datetime(2026, 1, 2, 12, 5, tzinfo=UTC)
    held = Maintenance("redrive", "ada@ops-1", at - timedelta(seconds=190), at + timedelta(seconds=40), at)

    assert judged(maintenance=held) == [
        ("warning", "maintenance is going on: redrive by ada@ops-1, begun 3m 10s ago")
    ]


@pytest.mark.parametrize(("maintenance", "said"), [(None, False), (REDRIVE, True)])
def test_a_redrive_is_advised_for_after_the_maintenance(maintenance: Maintenance | None, said: bool) -> None:
    vitals = replace(WELL, queues=queues(dlq=5), maintenance=maintenance)
    (dlq,) = [one for one in evaluated(vitals) if "in the DLQ" in one.text]
    assert ("and the maintenance is over, `fifo-cli redrive`" in dlq.next) is said


@pytest.mark.parametrize(
    "found",
    [
        {"queues": {"dlq": 5}},
        {"queues": {"dlq": 900}},
        {"queues": {"dlq": 900, "main": 90_000}},
        {"queues": {"hold": 7}},
        {"worker": "paused"},
        {"enqueuer": "paused", "iterator_age": 90_000},
        {"worker": "paused", "enqueuer": "paused", "restore": UnfinishedRestore("merge")},
        {"worker": "paused", "queues": {"dlq": 900, "hold": 7}, "restore": UnfinishedRestore("back")},
        {"unseen": (Unavailable("the age", "denied"),)},
        {},
    ],
)
def test_while_maintenance_is_going_on_nobody_is_sent_to_do_the_same(found: dict[str, Any]) -> None:
    facts = {**found, "queues": queues(**found.get("queues", {}))}

    first, *rest = advise(Snapshot(SETTINGS, replace(WELL, maintenance=REDRIVE, **facts), NOW))

    assert first.text == "maintenance is going on: redrive by ada"
    assert first.next.startswith("wait for it to finish")
    assert all(
        first.state == one.state or STATES.index(first.state) > STATES.index(one.state) for one in rest
    )
    assert not any(one.next.startswith(("`fifo-cli redrive", "`fifo-cli resume")) for one in rest)


def test_an_unfinished_restore_is_critical_only_when_nobody_works_on_it() -> None:
    at = datetime(2026, 1, 2, 12, 5, tzinfo=UTC)
    begun = UnfinishedRestore("merge", ("enqueuer", "worker"), at - timedelta(minutes=5), at)

    assert judged(restore=begun)[0] == (
        "critical",
        "an in-order rebuild is unfinished: begun 5m ago, at its step merge; it paused enqueuer and worker",
    )
    assert judged(restore=begun, maintenance=REDRIVE)[0][0] == "warning"


def test_what_restoring_order_paused_is_not_to_be_resumed_before_it_is_finished() -> None:
    measured = Measurements(worker="paused", enqueuer="paused", restore=UnfinishedRestore("merge"))

    assert {problem.next.removesuffix(" finishes it") for problem in evaluated(measured)} == {
        "`fifo-cli redrive --in-order`"
    }


def test_messages_on_hold_are_no_problem_while_maintenance_goes_on() -> None:
    held = queues(hold=7)

    assert [text for _, text in judged(queues=held, maintenance=REDRIVE)] == [
        "maintenance is going on: redrive by ada"
    ]


def test_what_is_known_to_be_wrong_comes_before_what_is_not_known() -> None:
    found = judged(
        queues=queues(dlq=9, main=10), missing=("orders.fifo",), unseen=(Unavailable("the age", "denied"),)
    )

    assert [state for state, _ in found] == ["critical", "critical", "warning", "unknown"]
    assert found[-1] == ("unknown", "the age is not known: denied")


def test_every_problem_but_what_is_not_known_says_what_to_do_next() -> None:
    measured = Measurements(
        queues=queues(dlq=9, main=999, hold=1, stream_failures=1, age=9999),
        missing=("x",),
        iterator_age=9999,
        worker="paused",
        enqueuer="stopped",
    )

    found = evaluated(measured)

    assert len(found) == 9
    assert all(problem.next for problem in found)


def test_the_worst_state_is_critical_then_warning_then_unknown() -> None:
    assert worst([]) == "ok"
    assert worst(["ok", "unknown"]) == "unknown"
    assert worst(["unknown", "warning", "ok"]) == "warning"
    assert worst(["warning", "critical", "unknown"]) == "critical"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59, "59s"),
        (60, "1m"),
        (61, "1m 1s"),
        (3600, "1h"),
        (3660, "1h 1m"),
        (3601, "1h"),
        (86_400, "1d"),
        (90_000, "1d 1h"),
        (-5, "0s"),
        (400 * 86_400, "400d"),
    ],
)
def test_durations_are_reported_in_their_two_largest_units(seconds: int, text: str) -> None:
    assert rough(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("worker", "enqueuer", "steps"),
    [
        ("paused", "paused", ["`fifo-cli resume`", "`fifo-cli resume`"]),
        ("paused", "running", ["`fifo-cli resume worker`"]),
        ("running", "paused", ["`fifo-cli resume enqueuer`"]),
    ],
)
def test_one_resume_is_named_where_both_parts_are_paused(
    worker: TriggerState, enqueuer: TriggerState, steps: list[str]
) -> None:
    found = evaluated(Measurements(worker=worker, enqueuer=enqueuer), Check())

    assert [one.next for one in found] == steps


def test_schedules_that_are_disabled_beside_others_are_named() -> None:
    def schedules(*enabled: bool) -> tuple[ScheduleState, ...]:
        rate = "rate(5 minutes)"
        return tuple(ScheduleState(one, rate, name=f"orders-{n}") for n, one in enumerate(enabled, 1))

    [found] = evaluated(replace(WELL, schedules=schedules(True, False)), Check())

    assert (found.state, found.text) == ("warning", "1 of 2 schedules is disabled: orders-2")
    assert found.next == "`fifo-cli resume worker`"
    assert judged(schedules=schedules(True, False, False)) == [
        ("warning", "2 of 3 schedules are disabled: orders-2, orders-3")
    ]
    assert judged(schedules=schedules(True, True)) == []
    paused = [text for _, text in judged(worker="paused", schedules=schedules(False, False))]
    assert paused == ["the worker is paused"]


@pytest.mark.parametrize("worker", ["paused", "missing"])
def test_a_change_of_the_trigger_that_was_cut_off_is_no_pause(worker: TriggerState) -> None:
    measured = replace(WELL, worker=worker, enqueuer="paused", changes_trigger=True)

    found = evaluated(measured, Check())

    assert [(one.text.partition(";")[0], one.next) for one in found] == [
        (
            "a deploy that changes what starts the worker was cut off, or is at work still:"
            " nothing starts it",
            "`fifo-cli deploy` completes it, unless one is at work",
        ),
        ("the enqueuer is paused", "`fifo-cli resume enqueuer`"),
    ]


@pytest.mark.parametrize(
    ("polled", "then"), [(True, ""), (False, ", then `fifo-cli deploy`")]
)  # a schedule's worker has one reserved by deploy
def test_a_function_whose_concurrency_is_0_has_that_taken_away(polled: bool, then: str) -> None:
    trigger = SETTINGS.worker.model_copy(update={"trigger": "queue" if polled else "schedule"})
    given = SETTINGS.model_copy(update={"worker": trigger})
    found = evaluated(Measurements(worker="stopped", enqueuer="stopped"), settings=given)

    command = "`aws lambda delete-function-concurrency --function-name orders-"
    assert [one.next for one in found] == [f"{command}worker`{then}", f"{command}enqueuer`"]


def test_a_missing_key_says_what_it_means() -> None:
    found = advise(Snapshot(SETTINGS, Measurements(), NOW, missing_keys=(("api_key", "/orders/api-key"),)))

    assert found[0].means == "messages wait in the queue, in order; nothing is lost meanwhile"
