"""Sampling: what is asked how often, and how failures are outlived."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fifo_cli.aws.logs import LogEvent
from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.errors import AwsError
from fifo_cli.model.drift import Drift, ResourceState
from fifo_cli.model.settings import Settings
from fifo_cli.model.watch_state import Lost, Sample
from fifo_cli.model.worker_log import WatchEvent
from fifo_cli.operations.monitor.logs import parse_line
from fifo_cli.operations.monitor.poll_backoff import LONGEST_PAUSE
from fifo_cli.operations.monitor.watch import Sampler, keep_sampling
from fifo_cli.operations.monitor.worker_runs import events_of

START = datetime(2026, 1, 2, 12, tzinfo=UTC)
SETTINGS = Settings.model_validate(
    {"pipeline": {"name": "orders"}, "table": {"name": "orders"}, "api": [{"url": "http://x"}]}
)
COUNTS = {f"ApproximateNumberOfMessages{suffix}": "1" for suffix in ("", "NotVisible", "Delayed")}
ANSWERS: dict[str, Any] = {
    "GetQueueUrl": {"QueueUrl": "http://127.0.0.1:9/q"},
    "GetQueueAttributes": {"Attributes": COUNTS},
    "ListQueueTags": {"ResponseMetadata": {"HTTPHeaders": {}}},
    "GetMetricData": {"MetricDataResults": []},
    "DescribeRule": {"State": "ENABLED", "ScheduleExpression": "rate(5 minutes)"},
    "ListEventSourceMappings": {"EventSourceMappings": [{"State": "Enabled"}]},
    "GetFunctionConcurrency": {},
    "FilterLogEvents": {"events": []},
}


class World:
    """AWS as clients see it: what it answers to each call, how often it was asked, and a clock."""

    def __init__(self) -> None:
        self.answers = dict(ANSWERS)
        self.asked: dict[str, int] = {}
        self.connected = 0
        self.now = START
        self._lock = threading.Lock()

    def connect(self) -> Aws:
        self.connected += 1
        aws = Aws(AwsEndpoint(local=True))
        for service in ("sqs", "cloudwatch", "events", "lambda", "logs"):
            aws.client(service).meta.events.register("before-call", self._answer)
        return aws

    def _answer(self, model: Any, **_: Any) -> Any:
        with self._lock:
            self.asked[model.name] = self.asked.get(model.name, 0) + 1
        answer = self.answers[model.name]
        if isinstance(answer, Exception):
            raise answer

        class Http:
            status_code = 200

        return Http(), answer

    def sampler(self, **options: Any) -> Sampler:
        return Sampler(self.connect, SETTINGS, now=lambda: self.now, **options)


@pytest.fixture
def world() -> World:
    return World()


def test_a_sample_has_depths_switches_and_what_was_logged(world: World) -> None:
    line = {"level": "info", "message": "delivered", "group": "ada", "message_id": "m1", "status": 200}
    world.answers["FilterLogEvents"] = {
        "events": [{"eventId": "1", "timestamp": int(START.timestamp() * 1000), "message": json.dumps(line)}]
    }

    sample = world.sampler().sample()

    assert (sample.measured.total("main"), sample.measured.worker, sample.measured.enqueuer) == (
        3,
        "running",
        "running",
    )
    # Both groups answered with it.
    assert [(one.fate, one.group, one.http_status) for one in sample.events] == [
        ("delivered", "ada", 200)
    ] * 2


def test_a_line_of_the_end_of_all_time_ends_no_watch(world: World) -> None:
    line = {"level": "info", "message": "run ended", "time": "9999-12-31T23:59:59.999999Z"}
    world.answers["FilterLogEvents"] = {
        "events": [{"eventId": "1", "timestamp": int(START.timestamp() * 1000), "message": json.dumps(line)}]
    }

    assert world.sampler().sample().next_run is not None


def test_drift_is_looked_at_first_and_once_a_minute(world: World) -> None:
    asked: list[datetime] = []
    gone = Drift((ResourceState("role", "orders-worker", "missing"),))

    def compare(_: Aws) -> Drift:
        asked.append(world.now)
        return gone

    sampler = world.sampler(compare=compare)
    for _ in range(6):
        sample = sampler.sample()
        world.now += timedelta(seconds=15)

    assert asked == [START, START + timedelta(minutes=1)]
    assert sample.snapshot is not None
    assert [(one.state, one.text) for one in sample.snapshot.others] == [
        ("critical", "missing: role orders-worker")
    ]


def test_what_changes_slowly_is_asked_for_every_half_minute_only(world: World) -> None:
    sampler = world.sampler()
    for _ in range(31):
        sampler.sample()
        world.now += timedelta(seconds=2)

    assert world.asked["GetMetricData"] == world.asked["DescribeRule"] == 3
    assert world.asked["GetQueueAttributes"] == 31 * 4
    assert world.connected == 1


def test_after_a_switch_everything_is_asked_for_at_once(world: World) -> None:
    sampler = world.sampler()
    sampler.sample()
    sampler.refresh()
    sampler.sample()

    assert world.asked["DescribeRule"] == 2


def test_without_logs_no_log_is_read(world: World) -> None:
    world.sampler(with_logs=False).sample()

    assert "FilterLogEvents" not in world.asked


def test_a_log_that_may_not_be_read_costs_no_more_than_itself(world: World) -> None:
    world.answers["FilterLogEvents"] = AwsError("denied")

    sample = world.sampler().sample()

    assert (sample.logs_unseen, sample.measured.total("main")) == ("denied", 3)


def test_after_a_failure_new_clients_are_made_which_may_have_new_credentials(world: World) -> None:
    sampler = world.sampler()
    sampler.sample()
    world.answers["GetQueueUrl"] = AwsError("the AWS credentials have expired")
    with pytest.raises(AwsError, match="expired"):
        sampler.sample()
    world.answers["GetQueueUrl"] = ANSWERS["GetQueueUrl"]

    sampler.sample()

    assert world.connected == 2


def lines(*objects: dict[str, Any]) -> list[Any]:
    texts = [json.dumps({"level": "info", **each}) for each in objects]
    texts.append("START RequestId: 1")
    return [parse_line("worker", LogEvent("1", int(START.timestamp() * 1000), text)) for text in texts]


def test_only_lines_that_tell_of_messages_and_runs_happen() -> None:
    found = events_of(
        lines(
            {
                "message": "failed",
                "group": "g",
                "message_id": "m",
                "attempt": 2,
                "reason": "no",
                "status": None,
            },
            {"message": "skipped", "group": "g"},
            {"message": "enqueued", "item_key": "{}"},
        )
    )

    assert found == (
        WatchEvent(START, "failed", "g", "m", "", None, 2, None, "no"),
        WatchEvent(START, "enqueued", item_key="{}"),
    )


class Taker:
    """Takes samples as reported: an error to raise, or a sample to give; ends when there are none left."""

    def __init__(self, *moves: Sample | Exception) -> None:
        self.moves: Iterator[Sample | Exception] = iter(moves)
        self.left = len(moves)

    def sample(self) -> Sample:
        self.left -= 1
        move = next(self.moves)
        if isinstance(move, Exception):
            raise move
        return move


def run(*moves: Sample | Exception) -> tuple[list[Sample | Lost], list[float]]:
    taker, stop = Taker(*moves), threading.Event()
    got: list[Sample | Lost] = []
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if not taker.left:
            stop.set()

    put: Callable[[Sample | Lost], None] = got.append
    keep_sampling(taker, put, interval=2, stop=stop, wait=wait, now=lambda: START)  # type: ignore[arg-type]
    return got, waits


def test_failures_are_reported_and_waited_out_longer_and_longer(world: World) -> None:
    sample = world.sampler().sample()
    failure = AwsError("unreachable", hint="check the network")

    got, waits = run(sample, *[failure] * 6, sample, failure)

    assert waits == [2, 4, 8, 16, 30, 30, 30, 2, 4]
    assert max(waits) == LONGEST_PAUSE
    assert got[1] == Lost(START, START + timedelta(seconds=4), "unreachable", "check the network")
    assert got[7] is sample
