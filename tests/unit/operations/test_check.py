"""check: the states, the codes, and AWS's refusals as UNKNOWN."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.aws.sqs import Seen
from fifo_cli.errors import AwsError
from fifo_cli.model.health import Measurements, Polling, Problem, ScheduleState, State
from fifo_cli.model.names import Names
from fifo_cli.model.queue_counts import Counted
from fifo_cli.model.settings import Project, Settings, Worker
from fifo_cli.operations.maintenance_lock import Lease
from fifo_cli.operations.monitor.check import CODES, CheckResult, check, unknown
from fifo_cli.operations.monitor.measure import measurement_questions, measurements_of, triggers_of
from fifo_cli.operations.parallel import read_all

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
NAMES = Names("orders")
SETTINGS = Settings.model_validate(
    {"pipeline": {"name": "orders"}, "table": {"name": "orders"}, "api": [{"url": "http://x"}]}
)
RATE = ScheduleState(enabled=True, expression="rate(5 minutes)")
POLLED = "how orders-worker reads main"


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ([], 0),
        (["warning"], 1),
        (["critical"], 2),
        (["unknown"], 3),
        (["unknown", "warning"], 1),
        (["unknown", "critical", "warning"], 2),
    ],
)
def test_the_exit_code_is_that_of_the_worst_problem(states: list[State], code: int) -> None:
    problems = tuple(Problem(state, state) for state in states)

    assert CheckResult("orders", Measurements(), problems, {}).code == code


def test_every_state_has_a_code_of_the_plugins() -> None:
    assert CODES == {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}


def test_a_check_that_could_not_ask_has_no_numbers_and_says_why() -> None:
    document = unknown("orders", AwsError("the AWS credentials have expired", hint="sign in")).document()

    assert (document["state"], document["code"], document["reached"]) == ("UNKNOWN", 3, False)
    assert document["problems"] == [
        {"state": "unknown", "text": "the AWS credentials have expired", "next": "sign in"}
    ]
    assert set(document["values"].values()) == {None}


def answers(settings: Settings = SETTINGS, /, **changes: Any) -> Measurements:
    """Put together what a pipeline answers that is well, but for some answers or failures by question."""
    aws = Aws(AwsEndpoint(local=True, region="eu-west-1"))
    questions = measurement_questions(aws, settings, NAMES, None)  # type: ignore[arg-type]
    usual: dict[str, Any] = {
        "the depth of orders.fifo": Counted("orders.fifo", 2, 0, 0),
        "the depth of orders-dlq.fifo": Counted("orders-dlq.fifo", 0, 0, 0),
        "the depth of orders-hold.fifo": Counted("orders-hold.fifo", 0, 0, 0),
        "the depth of orders-stream-failures": Counted("orders-stream-failures", 0, 0, 0),
        "the age of messages and stream records": {"main_age": 12.7, "dlq_age": 99.0, "iterator_age": 2500.0},
        "whether maintenance holds orders.fifo": Seen({}, NOW),
        POLLED if settings.worker.by_queue else "whether schedule orders-1 is on": RATE,
        "whether orders-enqueuer reads the stream": None,
        "the reserved concurrency of orders-enqueuer": None,
        "the reserved concurrency of orders-worker": 1,
    }
    assert set(questions) == set(usual)

    def ask(found: Any) -> Any:
        if isinstance(found, Exception):
            raise found
        return found

    given = {**usual, **changes}
    gathered = read_all({name: partial(ask, found) for name, found in given.items()})
    with mock_aws():
        # moto's router is made at a service's first call, and not safely by two threads at once.
        aws.client("lambda").list_functions()
        return measurements_of(gathered, triggers_of(aws, gathered, settings, NAMES), NAMES)


def test_the_numbers_are_put_together_from_the_answers() -> None:
    measured = answers()

    assert (measured.age, measured.iterator_age) == (12, 2)
    assert measured.queues["dlq"].oldest_age is None, "an empty queue has no oldest message"
    assert (measured.worker, measured.enqueuer) == ("running", "missing")
    assert measured.unseen == ()


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (RATE, "running"),
        (replace(RATE, enabled=False), "paused"),
        (None, "missing"),
        (AwsError("denied"), None),
    ],
)
def test_the_worker_is_as_its_schedules_are(answer: Any, state: str | None) -> None:
    measured = answers(**{"whether schedule orders-1 is on": answer})

    assert measured.worker == state
    assert bool(measured.unseen) == isinstance(answer, AwsError)


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (Polling("Enabled"), "running"),
        (Polling("Creating"), "running"),
        (Polling("Updating"), "running"),
        (Polling("Disabling"), "paused"),
        (Polling("Disabled"), "paused"),
        (None, "missing"),
        (AwsError("denied"), None),
    ],
)
def test_one_answer_shows_how_main_is_polled_and_whether_it_is(answer: Any, state: str | None) -> None:
    queue = SETTINGS.model_copy(update={"worker": Worker(trigger="queue")})

    measured = answers(queue, **{POLLED: answer})

    assert measured.worker == state
    assert measured.polling == (answer if isinstance(answer, Polling) else None)
    assert bool(measured.unseen) == isinstance(answer, AwsError)


def test_a_function_with_no_concurrency_is_stopped_whatever_starts_it() -> None:
    measured = answers(
        **{"the reserved concurrency of orders-worker": 0, "the reserved concurrency of orders-enqueuer": 0}
    )

    assert (measured.worker, measured.enqueuer) == ("stopped", "stopped")


def test_what_may_not_be_asked_is_unseen_with_the_reason() -> None:
    measured = answers(**{"the age of messages and stream records": AwsError("metrics: denied")})

    assert [(one.what, one.reason) for one in measured.unseen] == [
        ("the age of messages and stream records", "metrics: denied")
    ]
    assert measured.age is None


def marked(**tags: str) -> Measurements:
    seen = Seen({f"fifo-cli:{name}": value for name, value in tags.items()}, NOW)
    return answers(**{"whether maintenance holds orders.fifo": seen})


def claim(until: timedelta) -> Lease:
    return Lease("redrive", "ada@ops-1", NOW - timedelta(minutes=5), NOW + until, "0" * 12, 1, "ab")


def test_locks_come_from_the_tags_of_main() -> None:
    measured = marked(
        maintenance=claim(timedelta(seconds=40)).text(),
        rebuild="merge worker=running enqueuer=paused since 2026-01-02T11:55:00.000Z",
    )

    assert measured.maintenance is not None
    assert measured.maintenance.document() == {
        "what": "redrive",
        "who": "ada@ops-1",
        "since": "2026-01-02T11:55:00.000Z",
        "until": "2026-01-02T12:00:40.000Z",
    }
    assert measured.restore is not None
    assert measured.restore.document() == {
        "phase": "merge",
        "paused": ["worker"],
        "since": "2026-01-02T11:55:00.000Z",
    }


def test_a_lock_that_was_not_renewed_holds_nobody_up() -> None:
    measured = marked(maintenance=claim(timedelta(seconds=-1)).text())
    assert measured.maintenance is None
    assert str(measured.left_lock) == "redrive by ada@ops-1, begun 5m ago"
    assert marked(maintenance=claim(timedelta(seconds=1)).text()).left_lock is None
    assert marked(maintenance="hands off").left_lock is None
    assert marked().left_lock is None


def test_locks_that_none_of_ours_wrote_are_reported_as_they_are() -> None:
    measured = marked(maintenance="hands off", rebuild="merge")

    assert str(measured.maintenance) == "hands off"
    assert measured.restore is not None
    assert measured.restore.document() == {"phase": "merge", "paused": [], "since": None}


@pytest.fixture
def hanging() -> Iterator[Aws]:
    """AWS where no call ever returns until the test ends."""
    aws, gate = Aws(AwsEndpoint(local=True)), threading.Event()

    def hang(**_: Any) -> None:
        gate.wait(60)
        raise RuntimeError("the test is over")  # else it would go on to AWS

    for service in ("sqs", "cloudwatch", "events", "lambda", "logs"):
        client = aws.client(service)
        client.meta.events.register("before-send", hang)
    yield aws
    gate.set()
    for thread in threading.enumerate():
        if thread.name == "gather":
            thread.join(20)


def test_a_check_ends_in_time_though_aws_does_not_answer(hanging: Aws) -> None:
    result = check(hanging, Project(SETTINGS, Path("fifo.toml")), SETTINGS.check, limit=0.3)

    assert (result.state, result.code) == ("unknown", 3)
    assert result.problems[0].text == "no answer within 0.3 s"


def test_thresholds_are_numbers_with_ages_in_seconds() -> None:
    result = replace(check_result(), thresholds={})
    assert result.thresholds == {}
    assert check_result().thresholds == {"depth": (1000, 10_000), "age": (900, 3600), "dlq": (1, 10)}


def check_result() -> CheckResult:
    return unknown("orders", AwsError("x"), SETTINGS.check)
