"""What AWS shows late: deleted queues, attributes, counts and the last runs are waited for, with a bound.

The double behaves as AWS's documents say, the clock is turned by the waits themselves.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fifo_cli.aws.consistency import AT_ONCE, LATE, ConsistencyDelays, delays_of
from fifo_cli.aws.resources.gateway import Waiter
from fifo_cli.aws.resources.queue import QueueAdmin
from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.aws.sqs import LONG_POLL_SECONDS, Queue
from fifo_cli.errors import AwsError, Interrupted
from fifo_cli.events import Event, Noted, Waiting, Warned
from fifo_cli.handlers.visibility import MainQueue
from fifo_cli.model.names import DELETED_TAG, PIPELINE_TAG, Names
from fifo_cli.model.planning import make_destroy_plan, make_plan
from fifo_cli.model.resources import Found, Key, Resource
from fifo_cli.model.settings import Api, Functions, Pipeline, Settings, Table
from fifo_cli.operations.deploy.apply import Work, sleep_unless
from fifo_cli.operations.deploy.deploy import apply, wait_until_shown
from fifo_cli.operations.deploy.plan import Prepared, _without_deleted
from fifo_cli.operations.deploy.remote_state import Gateways, observe
from fifo_cli.operations.deploy.wait_until_idle import RunTimes, wait_for_enqueuer, wait_for_worker
from fifo_cli.operations.stream.reader import READ_PAUSE, pace_of
from tests.fakes import Clock
from tests.faults import Kill, forward_all, on
from tests.unit.operations.late_sqs import LateSqs

NAME = "orders.fifo"
TAGS = {PIPELINE_TAG: "orders"}
PROPERTIES: dict[str, Any] = {
    "fifo": True, "content_based_deduplication": False, "retention": 345_600, "visibility_timeout": 45,
    "encryption": "sqs",
}  # fmt: skip
MAIN = Resource("queue", NAME, PROPERTIES, TAGS)


class Bench:
    """A pipeline that is one queue, deployed and destroyed by provisioning's own code."""

    def __init__(self, sqs: LateSqs, delays: ConsistencyDelays = LATE) -> None:
        self.sqs, self.delays, self.clock = sqs, delays, sqs.clock
        self.events: list[Event] = []
        self.waiter = Waiter(self.events.append, self.clock.sleep, self.clock)
        client: Any = sqs
        self.queues = QueueAdmin(client, self.waiter, delays)
        unused: Any = None
        self.gates = Gateways({"queue": self.queues}, unused, self.queues, *[unused] * 5)

    def prepare(self, wanted: Resource = MAIN) -> Prepared:
        found = _without_deleted(observe(self.gates, [wanted.key]), self.events.append)
        plan = make_plan([wanted], found, pipeline="orders")
        return Prepared(settings_with(), plan, (wanted,), found, self.gates)

    def deploy(self, wanted: Resource = MAIN) -> dict[Key, Found]:
        prepared = self.prepare(wanted)
        apply(prepared, adopt=False, work=Work("deploy", self.events.append, threading.Event()))
        return dict(wait_until_shown(prepared, self.delays, self.waiter))

    def destroy(self) -> int:
        found = observe(self.gates, [MAIN.key])
        changes = make_destroy_plan([MAIN], found, pipeline="orders").changes
        for one in changes:
            self.queues.delete(found[one.key])
        return len(changes)

    def changes(self) -> list[str]:
        return [change.action for change in self.prepare().plan.changes]

    def reasons(self) -> list[str]:
        return [one.reason for one in self.events if isinstance(one, Waiting)]


# --- A deleted queue may answer for a minute.


@pytest.mark.parametrize("after", [0.0, 1.0, 30.0, 59.0, 61.0, 600.0])
@pytest.mark.parametrize(
    "ghost",
    [
        {"answers": 0.0},  # an emulator's: gone at once, its name not free
        {"answers": 5.0},
        {"answers": 60.0},
        {"answers": 60.0, "flaps": True},
        {"answers": 60.0, "lenient": True},
        {"answers": 60.0, "lenient": True, "flaps": True},
        {"answers": 72.0, "lenient": True},  # DeleteQueue itself was answered late
    ],
    ids=str,
)
@pytest.mark.parametrize("retention", [345_600, 60])
def test_deploy_after_destroy_makes_a_new_queue_and_keeps_no_deleted_one(ghost, after, retention):
    bench = Bench(LateSqs(Clock(), **ghost))
    bench.deploy()
    bench.destroy()
    bench.clock.sleep(after)
    before = bench.clock()

    bench.deploy(replace(MAIN, properties={**PROPERTIES, "retention": retention}))

    waited = bench.clock() - before
    assert waited <= max(0.0, 75 - after) + 5
    bench.clock.sleep(600)
    queue = bench.sqs.queues[NAME]
    assert (queue.number, queue.deleted_at) == (2, None)
    assert DELETED_TAG not in queue.tags
    assert queue.attributes["MessageRetentionPeriod"] == str(retention)


def test_a_deleted_queue_that_answers_is_not_there_for_a_plan_but_a_destroy_deletes_it_again():
    bench = Bench(LateSqs(Clock(), answers=60))
    bench.deploy()
    bench.destroy()
    assert bench.changes() == ["create"]
    assert bench.destroy() == 1
    bench.clock.sleep(61)
    assert bench.destroy() == 0


def test_the_wait_for_a_deleted_queue_says_what_is_waited_for():
    bench = Bench(LateSqs(Clock(), answers=60))
    bench.deploy()
    bench.destroy()
    bench.deploy()
    assert bench.reasons() == ["gone: it was deleted, and SQS may still answer for it for up to a minute"]


@pytest.mark.parametrize("after", [0.0, 30.0, 90.0, 90_000.0])
def test_a_destroy_killed_between_mark_and_delete_loses_nothing_and_both_commands_go_on(after):
    bench = Bench(LateSqs(Clock(), answers=60))
    bench.deploy()
    bench.sqs.rule = on("DeleteQueue", do=Kill())
    with pytest.raises(KeyboardInterrupt):
        bench.destroy()
    bench.sqs.rule = forward_all
    bench.clock.sleep(after)

    bench.deploy()

    queue = bench.sqs.queues[NAME]
    assert (queue.number, queue.deleted_at, DELETED_TAG in queue.tags) == (1, None, False)
    assert bench.changes() == []
    assert bench.destroy() == 1
    assert bench.sqs.queues[NAME].deleted_at is not None


def test_a_deploy_killed_in_the_wait_is_run_again_and_waits_for_the_rest_only():
    bench = Bench(LateSqs(Clock(), answers=60))
    bench.deploy()
    bench.destroy()

    def die(seconds: float) -> None:
        bench.clock.sleep(seconds)
        if bench.clock() - began > 40:
            raise KeyboardInterrupt

    began = bench.clock()
    patient = bench.queues
    bench.queues = replace(patient, waiter=replace(bench.waiter, sleep=die))
    bench.gates = replace(bench.gates, by_kind={"queue": bench.queues})
    with pytest.raises(KeyboardInterrupt):
        bench.deploy()
    assert bench.sqs.queues[NAME].number == 1

    bench.gates = replace(bench.gates, by_kind={"queue": patient})
    bench.deploy()
    assert bench.clock() - began < 85
    assert bench.sqs.queues[NAME].number == 2


@pytest.mark.parametrize("mark", ["", "yesterday", "2026-01-02", "2026-01-02T03:04:05", "²"])
def test_a_mark_that_somebody_else_wrote_hides_no_queue(mark):
    bench = Bench(LateSqs(Clock(), answers=60))
    bench.deploy()
    bench.sqs.queues[NAME].tags[DELETED_TAG] = mark
    assert bench.changes() == ["update"]
    bench.deploy()
    assert bench.changes() == []


def test_a_queue_that_never_goes_is_waited_for_with_a_bound():
    bench = Bench(LateSqs(Clock(), answers=60))
    bench.deploy()
    bench.sqs.queues[NAME].tags[DELETED_TAG] = "2999-01-01T00:00:00.000Z"
    began = bench.clock()
    with pytest.raises(AwsError, match="still gone"):
        bench.deploy()
    assert bench.clock() - began <= 125


# --- Attributes take up to a minute to show.

CHANGED = replace(MAIN, properties={**PROPERTIES, "visibility_timeout": 99})
LONGER = replace(MAIN, properties={**PROPERTIES, "retention": 1_209_600})


@pytest.mark.parametrize(
    ("wanted", "shows", "retention", "least", "most"),
    [
        (CHANGED, 0, 0, 60, 66),
        (CHANGED, 1, 0, 60, 66),
        (CHANGED, 59, 0, 60, 66),
        (CHANGED, 60, 0, 60, 66),
        (CHANGED, 100, 0, 100, 106),
        (LONGER, 0, 30, 60, 66),
        (LONGER, 0, 840, 840, 846),
    ],
)
def test_a_plan_after_deploy_shows_no_difference_that_is_only_late(wanted, shows, retention, least, most):
    bench = Bench(LateSqs(Clock(), shows=shows, shows_retention=retention))
    bench.deploy()
    began = bench.clock()
    bench.deploy(wanted)
    assert least <= bench.clock() - began <= most
    assert bench.prepare(wanted).plan.changes == ()
    assert bench.reasons()[0].startswith("known to all of SQS, 60 s: all changes are made")


@pytest.mark.parametrize(
    ("wanted", "shows", "most"), [(CHANGED, 3_600.0, 126), (LONGER, 3_600.0, 906)], ids=["60 s", "15 min"]
)
def test_what_never_shows_is_warned_of_and_stays_a_difference(wanted, shows, most):
    bench = Bench(LateSqs(Clock(), shows=shows, shows_retention=shows))
    bench.deploy()
    began = bench.clock()
    bench.deploy(wanted)
    assert bench.clock() - began <= most
    text = f"SQS does not show yet what was set: {NAME}; look with `fifo-cli plan --diff`"
    assert bench.events[-1] == Warned(text)
    assert [change.action for change in bench.prepare(wanted).plan.changes] == ["update"]


def test_real_drift_is_seen_at_once():
    bench = Bench(LateSqs(Clock()))
    bench.deploy()
    bench.sqs.set_queue_attributes(QueueUrl=NAME, Attributes={"VisibilityTimeout": "7"})
    assert bench.changes() == ["update"]


def test_a_deploy_that_sets_no_attribute_waits_for_nothing():
    bench = Bench(LateSqs(Clock(), shows=30))
    began = bench.clock()
    bench.deploy()
    bench.deploy()
    bench.deploy(replace(MAIN, tags={**TAGS, "team": "payments"}))
    assert bench.clock() == began


# --- The last run starts late, and counts lag behind.


class Queues:
    """Counts of what is in flight: ``runs`` are (from, until) in seconds, shown ``lag`` seconds late."""

    def __init__(self, clock: Clock, *runs: tuple[float, float], lag: float = 0.0) -> None:
        self.clock, self.runs, self.lag, self.began = clock, runs, lag, clock()

    def in_flight(self, name: str) -> int:
        assert name == NAME
        seen = self.clock() - self.began - self.lag
        return sum(start <= seen < end for start, end in self.runs)


class Mappings:
    """An event source mapping that is disabled."""

    def read(self, name: str) -> Found:
        return Found("event-source-mapping", name, {}, TAGS, {"enabled": False})

    def wait_settled(self, found: Found) -> None:
        """It is settled."""


def settings_with(timeout: int = 60) -> Settings:
    return Settings(
        pipeline=Pipeline(name="orders"),
        table=Table(name="orders"),
        api=(Api(url="https://api.example.com"),),
        functions=Functions(timeout=timedelta(seconds=timeout)),
    )


def waited(
    *runs: tuple[float, float], lag: float = 60.0, timeout: int = 60, delays: ConsistencyDelays = LATE
) -> tuple[bool, float, list[Event]]:
    """Return what `pause worker --wait` says, and when, in seconds after the rules were disabled."""
    clock, events = Clock(), list[Event]()
    queues: Any = Queues(clock, *runs, lag=lag)
    unused: Any = None
    gates = Gateways({}, unused, queues, *[unused] * 5)
    began = clock()
    waiter = Waiter(events.append, clock.sleep, clock)
    settings, rule = settings_with(timeout), Found("rule", "orders-1", {}, TAGS, {"enabled": True})
    times = RunTimes.of(settings)
    settled = wait_for_worker(gates, settings.names, [rule], times, waiter, delays, since=began)
    return settled, clock() - began, events


@pytest.mark.parametrize(
    ("runs", "lag"),
    [
        ([], 0),
        ([(0, 10)], 0),
        ([(0, 59)], 60),
        ([(59, 110)], 60),  # fired a minute after the rule was disabled
        ([(119, 125)], 0),  # and its run started another minute later
        ([(119, 179)], 0),
        ([(119, 179)], 30),
        ([(119, 179)], 60),
        ([(0, 1), (30, 31), (60, 61), (119, 120)], 60),
        ([(0, 59), (60, 119), (119.9, 170)], 59),
    ],
)
def test_pause_waits_until_no_run_can_start_or_be_under_way_any_more(runs, lag):
    settled, elapsed, _ = waited(*runs, lag=lag)
    ends = max((end for _, end in runs), default=0)
    assert settled
    assert elapsed >= max(180, ends)
    assert elapsed <= max(180, ends + lag + 60) + 10


def test_a_pause_says_what_it_waits_for_and_how_long():
    _, _, events = waited((0, 30), lag=0)
    assert [event for event in events if isinstance(event, Waiting)] == [
        Waiting("orders-worker", "delivering what it has received"),
        Waiting(
            "orders-worker",
            "started for the last time: a disabled rule may still fire, and its run start later,"
            " 87 s at most",
        ),
        Waiting("orders-worker", "seen at rest for 60 s: so late may SQS's counts be"),
    ]


def test_what_stays_in_flight_is_waited_for_with_a_bound_and_reported():
    settled, elapsed, events = waited((0, 1e9))
    assert not settled
    assert elapsed <= 240 + 60 + 60 + 30 + 10
    assert "still has messages in flight" in str(events[-1])


def polled(
    *runs: tuple[float, float], until_visible: bool = False, delays: ConsistencyDelays = LATE
) -> tuple[bool, float, list[Event]]:
    """Return the same where the queue starts the worker: its mapping is disabled at once."""
    clock, events = Clock(), list[Event]()
    queues: Any = Queues(clock, *runs, lag=0)
    mappings: Any = Mappings()
    unused: Any = None
    gates = Gateways({}, unused, queues, unused, mappings, unused, unused, unused)
    began = clock()
    waiter = Waiter(events.append, clock.sleep, clock)
    mapping = Found("event-source-mapping", "orders-worker", {}, TAGS, {"enabled": True})
    times = RunTimes(timedelta(seconds=60), timedelta(seconds=360))
    names = Names("orders")
    settled = wait_for_worker(
        gates, names, [mapping], times, waiter, delays, since=began, until_visible=until_visible
    )
    return settled, clock() - began, events


def test_a_worker_that_the_queue_started_is_at_rest_when_nothing_was_in_flight_for_a_minute():
    settled, elapsed, events = polled((0, 30))
    assert settled
    assert 90 <= elapsed <= 90 + 2 * 5
    assert not [one for one in events if isinstance(one, Noted)]


def test_a_group_that_waits_for_its_pause_is_in_flight_and_not_waited_for():
    settled, elapsed, events = polled((0, 300))
    assert settled
    # The functions' timeout, and a minute in which the poller may hand over what it has read.
    assert 120 <= elapsed <= 120 + 2 * 5
    (said,) = (one.text for one in events if isinstance(one, Noted))
    assert "the last run has ended; some messages of orders.fifo are hidden" in said


def test_unless_all_is_to_be_visible():
    settled, elapsed, _ = polled((0, 300), until_visible=True)
    assert settled
    assert 360 <= elapsed <= 360 + 2 * 5
    settled, elapsed, events = polled((0, 1e9), until_visible=True)
    assert not settled
    assert elapsed <= 60 + 360 + 120 + 120 + 30
    assert "still has messages in flight" in str(events[-1])
    assert "a longer pause (Retry-After); look with `fifo-cli status`" in str(events[-1])


def test_on_this_machine_an_invocation_that_runs_is_waited_for_and_nothing_else():
    assert polled(delays=AT_ONCE)[:2] == (True, 0)
    settled, elapsed, _ = polled((0, 20), delays=AT_ONCE)
    assert settled
    assert 20 <= elapsed <= 25


@pytest.mark.parametrize("timeout", [60, 300])
def test_the_enqueuers_last_invocation_has_its_time(timeout):
    clock = Clock()
    mappings: Any = Mappings()
    unused: Any = None
    gates = Gateways({}, unused, unused, unused, mappings, unused, unused, unused)
    began = clock()
    waiter = Waiter(sleep=clock.sleep, clock=clock)
    mapping = mappings.read("orders-enqueuer")
    wait_for_enqueuer(gates, mapping, timedelta(seconds=timeout), waiter, LATE)
    assert timeout <= clock() - began <= timeout + 5


# --- Where nothing settles late, nothing is waited for.


@pytest.mark.parametrize(
    ("endpoints", "delays"),
    [
        (["http://127.0.0.1:4566", "http://localhost:4566"], AT_ONCE),
        (["http://[::1]:4566"], AT_ONCE),
        (["http://LOCALHOST.:4566"], AT_ONCE),
        (["http://127.9.9.9"], AT_ONCE),
        (["https://sqs.eu-west-1.amazonaws.com", "https://events.eu-west-1.amazonaws.com"], LATE),
        (["http://127.0.0.1:9324", "https://lambda.eu-west-1.amazonaws.com"], LATE),
        (["http://localstack:4566"], LATE),
        (["http://10.0.0.1:4566"], LATE),
        (["https://localhost.example.com"], LATE),
    ],
)
def test_an_endpoint_on_this_machine_settles_at_once(endpoints, delays):
    assert delays_of(endpoints) == delays


@pytest.mark.parametrize(
    ("endpoint", "one"),
    [
        ("http://127.0.0.1:4566", True),
        ("http://localhost:4566", True),
        ("https://sqs.eu-west-1.amazonaws.com", False),
        ("http://localstack:4566", False),
    ],
)
def test_one_server_on_this_machine_is_neither_polled_long_nor_read_slowly(endpoint, one, monkeypatch):
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "eu-west-1"}
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    aws = Aws(AwsEndpoint(endpoint_url=endpoint))
    assert Queue(aws, Names("orders"), "main").long_poll_seconds == (0 if one else LONG_POLL_SECONDS)
    pause = pace_of(aws.client("dynamodbstreams")).pause
    assert pause < READ_PAUSE if one else pause == READ_PAUSE
    sqs: Any = Asked()
    MainQueue(sqs, f"{endpoint}/1/orders.fifo", needs=1).receive(10)
    assert sqs.asked["WaitTimeSeconds"] == (0 if one else 1)


class Asked:
    """A client that keeps what a receive asks for."""

    def receive_message(self, **asked: Any) -> dict[str, Any]:
        self.asked = asked
        return {}


@pytest.mark.parametrize(
    ("target", "variables", "delays"),
    [
        (AwsEndpoint(local=True, endpoint_url="http://127.0.0.1:1"), {}, AT_ONCE),
        (AwsEndpoint(endpoint_url="http://127.0.0.1:1"), {}, AT_ONCE),
        (AwsEndpoint(), {"AWS_ENDPOINT_URL": "http://localhost:4566"}, AT_ONCE),
        (AwsEndpoint(), {}, LATE),
        (AwsEndpoint(), {"AWS_ENDPOINT_URL_SQS": "http://localhost:9324"}, LATE),
        (AwsEndpoint(), {"AWS_ENDPOINT_URL_LAMBDA": "http://localhost:3001"}, LATE),
        (AwsEndpoint(endpoint_url="http://moto:5000"), {}, LATE),
    ],
    ids=str,
)
def test_a_session_knows_how_its_endpoints_settle(target, variables, delays, monkeypatch):
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "eu-west-1"}
    for name, value in {**keys, **variables}.items():
        monkeypatch.setenv(name, value)
    assert Aws(target).delays == delays


def test_where_all_settles_at_once_nothing_costs_time_or_a_call():
    bench = Bench(LateSqs(Clock()), AT_ONCE)
    began = bench.clock()
    bench.deploy()
    bench.deploy(CHANGED)
    bench.destroy()
    assert bench.clock() == began
    assert bench.sqs.calls.count("CreateQueue") == 1
    assert bench.sqs.calls.count("TagQueue") == 1  # the update's
    assert waited(delays=AT_ONCE) == (True, 0, [])


@pytest.mark.parametrize("runs", [[(0, 1)], [(0, 20)], [(0, 3), (2, 7)]])
def test_where_all_settles_at_once_a_run_under_way_is_waited_for_all_the_same(runs):
    settled, elapsed, events = waited(*runs, lag=0, delays=AT_ONCE)
    ends = max(end for _, end in runs)
    assert settled
    assert ends <= elapsed <= ends + 5
    assert events == [Waiting("orders-worker", "delivering what it has received")]


# --- An interrupt is heard at once.


@pytest.mark.parametrize("seconds", [0.1, 0.25, 5.0, 60.0])
def test_a_long_sleep_ends_soon_after_an_interrupt(seconds):
    clock = Clock()
    began = clock()
    stopped: Callable[[], bool] = lambda: clock() - began >= 0.05  # noqa: E731
    with pytest.raises(Interrupted):
        sleep_unless(stopped, clock.sleep)(seconds)
    assert clock() - began <= 0.5


def test_a_sleep_that_is_not_interrupted_lasts_as_long_as_it_should():
    clock = Clock(0.0)
    sleep_unless(lambda: False, clock.sleep)(3.1)
    assert clock() == pytest.approx(3.1)
