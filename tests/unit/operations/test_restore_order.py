"""In-order rebuilds of random lines on queues in memory, undisturbed and interrupted anywhere."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fifo_cli.aws.consistency import AT_ONCE, LATE, ConsistencyDelays
from fifo_cli.aws.sqs import Queue
from fifo_cli.errors import BusyError, ExitCode, FifoError, UsageError
from fifo_cli.model.names import FunctionRole, Names
from fifo_cli.operations.maintenance_lock import MAINTENANCE_TAG, RESTORE_TAG, maintenance
from fifo_cli.operations.queues.restore_order import RestoreOrder, State, UnfinishedError
from tests.fakes import Clock, FakeSqs
from tests.faults import DropAnswer, Pass, RefuseEntries, dead_after, forward_all

NAMES = Names("orders")
ROLES = ("main", "dlq", "hold")


class Service(FakeSqs):
    """The fake queues as a rebuild sees them: counts may be late or too small, and few messages in flight."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock, NAMES.main, NAMES.dlq, NAMES.hold)
        self.tags = self.queues[NAMES.main].tags
        self.in_flight_max = 120_000
        self.lag = 0.0  # by how many seconds counts are late
        self.share = 1.0  # how much of the truth they show
        self._past: list[tuple[float, dict[str, tuple[int, int]]]] = []

    def counts(self, name: str) -> tuple[int, int]:
        visible, hidden = self._counted_late(name) if self.lag else super().counts(name)
        return int(visible * self.share), int(hidden * self.share)

    def receive_message(self, **request: Any) -> Any:
        with self.lock:
            _, hidden = super().counts(request["QueueUrl"])
            if hidden >= self.in_flight_max:
                answer = {}  # "Amazon SQS returns no error messages" (Developer Guide, FIFO queue quotas)
            else:
                count = min(request["MaxNumberOfMessages"], self.in_flight_max - hidden)
                answer = super().receive_message(**{**request, "MaxNumberOfMessages": count})
            if not answer:
                self.clock.sleep(request["WaitTimeSeconds"])
            return answer

    def _called(self, action: str, request: dict[str, Any]) -> None:
        super()._called(action, request)
        if self.lag:
            counted = {name: FakeSqs.counts(self, name) for name in self.queues}
            self._past.append((self.clock(), counted))

    def _counted_late(self, name: str) -> tuple[int, int]:
        past = [counts for at, counts in self._past if at <= self.clock() - self.lag]
        return past[-1][name] if past else (0, 0)


class FakeAws:
    throttles = 0
    delays = AT_ONCE

    def __init__(self, service: Service) -> None:
        self._service = service

    def client(self, name: str) -> Service:
        assert name == "sqs"
        return self._service


class FakePause:
    """Says what was done, and what was done while the rebuild's tag reported of it."""

    def __init__(self, service: Service, *running: FunctionRole) -> None:
        self.fed = set(running)
        self._service = service

    def running(self) -> frozenset[FunctionRole]:
        return frozenset(self.fed)

    def pause(self, stopped: Callable[[], bool]) -> None:
        assert RESTORE_TAG in self._service.tags
        self.fed.clear()

    def resume(self, role: FunctionRole) -> None:
        assert RESTORE_TAG in self._service.tags
        self.fed.add(role)


@dataclass(frozen=True)
class Bench:
    """A pipeline in memory and a rebuild of it."""

    clock: Clock
    service: Service
    pause: FakePause

    @classmethod
    def make(cls, *running: FunctionRole) -> Bench:
        clock = Clock()
        service = Service(clock)
        return cls(clock, service, FakePause(service, *running))

    def restore(self, workers: int = 1, delays: ConsistencyDelays = AT_ONCE) -> RestoreOrder:
        aws: Any = FakeAws(self.service)
        aws.delays = delays
        return RestoreOrder(aws, NAMES, self.pause, workers=workers, clock=self.clock, sleep=self.clock.sleep)

    def send(self, role: Any, body: str, group: str, sequence: int | None = None, **more: str) -> str:
        self.clock.now += 0.001
        attributes = dict(more) if sequence is None else {"stream_sequence": str(sequence), **more}
        return str(
            self.service.send_message(
                QueueUrl=NAMES.queue(role),
                MessageBody=body,
                MessageGroupId=group,
                MessageDeduplicationId=f"{role}-{body}-{self.clock.now}",
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
                },
            )["MessageId"]
        )

    def park(self, body: str) -> None:
        """Move a message of main to the DLQ, as the worker does."""
        main = self.service.queues[NAMES.main]
        parked = next(message for message in main.messages if message.body == body)
        main.remove(parked)
        extended = {name: value["StringValue"] for name, value in parked.attributes.items()}
        self.send("dlq", body, parked.group, **extended)

    def line(self) -> dict[str, list[str]]:
        groups: dict[str, list[str]] = defaultdict(list)
        for message in self.service.queues[NAMES.main].messages:
            groups[message.group].append(message.body)
        return dict(groups)

    def left(self) -> list[int]:
        return [len(self.service.queues[NAMES.queue(role)].messages) for role in ("dlq", "hold")]


Step = tuple[Literal["stream", "foreign", "park", "deliver"], int, int]
GROUPS = ["g", "a#1", "x" * 128, "%~m1.2.3#"]
HISTORIES = st.lists(
    st.tuples(
        st.sampled_from(["stream", "stream", "stream", "foreign", "park", "park", "deliver"]),
        st.integers(0, len(GROUPS) - 1),
        st.integers(0, 30),
    ),
    max_size=40,
)


@dataclass
class Lived:
    """A pipeline that lived through a history: what was sent, and which messages stayed in main all along."""

    bench: Bench
    sent: dict[str, str]
    undisturbed: list[str]


def live(history: Sequence[Step]) -> Lived:
    bench = Bench.make("worker", "enqueuer")
    sent: dict[str, str] = {}
    parked: set[str] = set()
    numbers = itertools.count(98)  # across a change of digits: 98, 99, 100 …
    for kind, group, place in history:
        name = GROUPS[group]
        waiting = bench.line().get(name, [])
        if kind in ("stream", "foreign"):
            number = next(numbers)
            body = f"{kind[0]}{number}"
            bench.send("main", body, name, number if kind == "stream" else None)
            sent[body] = name
        elif waiting:
            body = waiting[place % len(waiting)] if kind == "park" else waiting[0]
            if kind == "park":
                bench.park(body)
                parked.add(body)
            else:
                queue = bench.service.queues[NAMES.main]
                queue.remove(next(message for message in queue.messages if message.body == body))
                del sent[body]
    return Lived(bench, sent, [body for body in sent if body not in parked])


def check_in_order(lived: Lived) -> None:
    """Each message is there once; the stream's are in its order, and nobody else's place has changed."""
    line = lived.bench.line()
    assert sorted(body for bodies in line.values() for body in bodies) == sorted(lived.sent)
    for group, bodies in line.items():
        assert {lived.sent[body] for body in bodies} == {group}
        streamed = [int(body[1:]) for body in bodies if body[0] == "s"]
        assert streamed == sorted(streamed)
        stayed = [body for body in bodies if body in lived.undisturbed]
        assert stayed == [body for body in lived.undisturbed if lived.sent[body] == group]
    assert lived.bench.left() == [0, 0]
    assert lived.bench.service.tags == {}
    assert lived.bench.pause.fed == {"worker", "enqueuer"}


@settings(max_examples=150, deadline=None)
@given(history=HISTORIES)
def test_after_any_history_each_group_is_in_stream_order_and_foreign_messages_keep_their_places(history):
    lived = live(history)
    lived.bench.restore().perform()
    check_in_order(lived)


@settings(max_examples=150, deadline=None)
@given(
    history=HISTORIES,
    deaths=st.lists(st.tuples(st.integers(1, 60), st.booleans(), st.sampled_from([0, 31, 400])), max_size=3),
)
def test_a_network_that_dies_anywhere_and_again_costs_neither_a_message_nor_order(history, deaths):
    lived = live(history)
    service = lived.bench.service
    for lives, late, pause in deaths:
        service.rule = dead_after(lives, last=DropAnswer() if late else None)
        failures: list[FifoError] = []
        try:
            lived.bench.restore().perform()
        except FifoError as error:
            failures.append(error)
        assert {error.exit_code for error in failures} <= {ExitCode.AWS}
        service.rule = forward_all
        lived.bench.clock.now += pause
        service.tags.pop(MAINTENANCE_TAG, None)  # this process still lives, so its marker would hold
    lived.bench.restore().perform()
    check_in_order(lived)


@settings(max_examples=25, deadline=None)
@given(
    history=HISTORIES,
    lag=st.sampled_from([0.0, 1.0, 20.0, 60.0, 90.0]),
    share=st.sampled_from([0.0, 0.3, 0.7, 1.0]),
    hidden=st.integers(0, 3),
)
def test_counts_that_are_late_or_too_low_cost_neither_a_message_nor_order(history, lag, share, hidden):
    """Somebody looks at the first messages when it begins, and SQS's counts show little of what there is."""
    lived = live(history)
    service = lived.bench.service
    service.lag, service.share = lag, share
    for name in (NAMES.main, NAMES.dlq)[: hidden % 3]:
        service.receive_message(
            QueueUrl=name, MaxNumberOfMessages=hidden, VisibilityTimeout=30, WaitTimeSeconds=0
        )
    try:
        lived.bench.restore(delays=LATE).perform()
    except UnfinishedError:
        # It says so, and worker and enqueuer stay paused. Counts that are late as documented do not cause it.
        assert share < 1.0 or lag > LATE.queue_counts
        assert lived.bench.pause.fed == set()
        service.share = 1.0
        lived.bench.clock.now += 120
        lived.bench.restore(delays=LATE).perform()
    check_in_order(lived)


@pytest.mark.parametrize("lag", [1.0, 34.0, 37.0, 59.0])
def test_counts_that_still_show_what_was_moved_are_waited_out(lag):
    """They are taken for messages that a consumer holds, but not for longer than counts are late."""
    lived = live([("stream", n % 2, 0) for n in range(8)] + [("park", 0, 1), ("park", 1, 0)])
    lived.bench.service.lag = lag
    lived.bench.clock.now += 100
    lived.bench.service.list_queue_tags(QueueUrl=NAMES.main)  # from then on they are counted
    lived.bench.clock.now += 100
    lived.bench.restore(delays=LATE).perform()
    check_in_order(lived)


def test_a_queue_that_is_not_counted_yet_is_not_called_empty():
    bench = broken()
    bench.service.share = 0.0
    assert bench.restore().nothing() is None
    for queue in bench.service.queues.values():
        queue.clear()
    nothing = bench.restore().nothing()
    assert nothing is not None
    assert nothing.notes == ("nothing to put in order: orders.fifo and orders-dlq.fifo are empty",)


def test_many_workers_keep_order_as_one_does():
    lived = live([("stream", n % 4, 0) for n in range(300)] + [("park", n % 4, n) for n in range(120)])
    lived.bench.restore(workers=12).perform()
    check_in_order(lived)


# --- What else holds.


def broken() -> Bench:
    bench = Bench.make("worker")
    for n in (1, 3):
        bench.send("main", str(n), "g", n)
    bench.send("dlq", "2", "g", 2)
    return bench


def test_what_ran_before_runs_again_and_what_was_paused_stays_so():
    bench = broken()
    result = bench.restore().perform()
    assert bench.pause.fed == {"worker"}
    assert (result.moved, result.merged, result.remaining) == (1, 3, 0)
    assert result.notes == (
        "3 messages in main, each group in stream order",
        "the enqueuer did not run before, nor now",
    )


def test_a_run_that_finishes_anothers_work_resumes_what_ran_before_that_one():
    bench = broken()
    bench.service.rule = dead_after(25)
    with pytest.raises(UnfinishedError):
        bench.restore().perform()
    assert bench.pause.fed == set()
    assert bench.service.tags.keys() == {RESTORE_TAG, MAINTENANCE_TAG}
    bench.service.rule = forward_all
    del bench.service.tags[MAINTENANCE_TAG]
    bench.clock.now += 31
    bench.restore().perform()
    assert bench.pause.fed == {"worker"}
    assert bench.line() == {"g": ["1", "2", "3"]}


def test_while_restoring_order_is_unfinished_other_moves_are_refused_and_say_how_to_finish_it():
    bench = broken()
    bench.service.rule = dead_after(25)
    with pytest.raises(UnfinishedError):
        bench.restore().perform()
    bench.service.rule = forward_all
    del bench.service.tags[MAINTENANCE_TAG]
    aws: Any = FakeAws(bench.service)
    tags = Queue(aws, NAMES, "main").tags
    with (
        pytest.raises(BusyError) as caught,
        maintenance(tags, "dump", sleep=bench.clock.sleep),
    ):
        pass
    assert "redrive --in-order` finishes it" in caught.value.hint


@pytest.mark.parametrize("running", [set(), {"worker"}, {"worker", "enqueuer"}])
def test_the_tag_shows_the_phase_and_what_ran_before(running):
    state = State("merge", frozenset(running), "2026-01-02T03:04:05.000Z")
    assert State.parse(state.text()) == state
    assert set(state.text()) <= set("abcdefghijklmnopqrstuvwxyz0123456789TZ _.:/=+-@")


def test_a_tag_that_somebody_spoilt_resumes_nothing():
    assert State.parse("").running == frozenset()
    assert State.parse("done").running == frozenset()


def test_stopped_it_is_unfinished_and_nothing_is_lost():
    bench = broken()
    with pytest.raises(UnfinishedError, match="interrupted") as caught:
        bench.restore().perform(stopped=lambda: True)
    assert "run `fifo-cli redrive --in-order` again" in caught.value.hint
    bench.restore().perform()
    assert bench.line() == {"g": ["1", "2", "3"]}


def test_what_another_queue_dead_lettered_stays_in_the_dlq():
    bench = broken()
    foreign = {"StringValue": "arn:aws:sqs:us-east-1:1:other.fifo"}
    bench.send("dlq", "theirs", "g", 1)
    bench.service.queues[NAMES.dlq].messages[-1].system["DeadLetterQueueSourceArn"] = foreign
    result = bench.restore().perform()
    assert (result.moved, result.skipped, result.remaining) == (1, 1, 1)
    assert bench.line() == {"g": ["1", "2", "3"]}
    assert bench.service.bodies(NAMES.dlq) == ["theirs"]


def test_more_than_sqs_lets_be_in_hand_is_refused_before_anything_is_touched():
    bench = broken()
    bench.service.share = 120_000
    with pytest.raises(UsageError, match="at most 120,000") as caught:
        bench.restore().perform()
    assert caught.value.exit_code is ExitCode.USAGE
    assert bench.service.tags == {}
    assert bench.pause.fed == {"worker"}


def test_a_pause_that_is_longer_than_the_wait_is_refused_before_anything_is_touched():
    """Else both functions would rest, and the rebuild stay unfinished, until a group is back in hours."""
    bench = broken()
    until = datetime(2026, 1, 2, 12, tzinfo=UTC)
    restore = replace(bench.restore(), hidden_until=lambda: until)
    moved = restore.perform().moved
    assert moved, "nothing is in flight: the group was moved since by other means"

    bench = broken()
    restore = replace(bench.restore(), hidden_until=lambda: until)
    bench.service.receive_message(QueueUrl=NAMES.main, MaxNumberOfMessages=1, VisibilityTimeout=30)
    with pytest.raises(UsageError, match="hidden until 2026-01-02T12:00:00"):
        restore.perform()
    assert bench.service.tags == {}
    assert bench.pause.fed == {"worker"}
    assert restore.perform(force=True).moved == moved


def test_more_than_sqs_lets_be_in_flight_that_counts_show_only_once_paused_is_refused_and_resumed():
    bench = broken()
    bench.service.share = 0.0
    before = bench.line()

    class LatePause(FakePause):
        def pause(self, stopped: Callable[[], bool]) -> None:
            super().pause(stopped)
            bench.service.share = 1.0

    pause = LatePause(bench.service, "worker")
    result = replace(bench.restore(), pause=pause, in_flight_max=2).perform()
    assert isinstance(result.error, UsageError)
    assert result.exit_code is ExitCode.USAGE
    assert pause.fed == {"worker"}
    assert bench.service.tags == {}
    assert bench.line() == before


def test_more_in_hold_than_sqs_lets_be_in_flight_is_unfinished_and_the_next_run_finishes_it():
    """Counts were too low until all was in hold."""
    bench = broken()
    bench.service.share, bench.service.in_flight_max = 0.0, 2
    with pytest.raises(UnfinishedError, match="in flight at a time: they cannot all be read") as caught:
        replace(bench.restore(), in_flight_max=2).perform()
    assert caught.value.exit_code is ExitCode.ATTENTION
    assert bench.pause.fed == set()
    assert bench.left() == [0, 3]
    bench.service.share, bench.service.in_flight_max = 1.0, 120_000
    bench.restore().perform()
    assert bench.line() == {"g": ["1", "2", "3"]}
    assert bench.left() == [0, 0]


def test_what_is_in_hold_though_nothing_is_unfinished_is_asked_about():
    bench = broken()
    bench.send("hold", "strange", "s")
    with pytest.raises(UsageError, match="though no rebuild is unfinished"):
        bench.restore().perform()
    assert bench.service.bodies(NAMES.hold) == ["strange"]
    bench.restore().perform(force=True)
    assert bench.line() == {"g": ["1", "2", "3"], "s": ["strange"]}


def test_a_copy_that_is_hidden_behind_another_of_itself_in_hold_goes_with_it():
    """Two runs that were killed more than five minutes apart leave such."""
    bench = broken()
    for _ in range(2):
        bench.service.rule = dead_after(12)
        with pytest.raises(UnfinishedError):
            bench.restore().perform()
        bench.service.rule = forward_all
        bench.service.tags.pop(MAINTENANCE_TAG, None)
        bench.clock.now += 400
    bench.restore().perform()
    assert bench.line() == {"g": ["1", "2", "3"]}
    assert bench.left() == [0, 0]


def test_a_preview_touches_nothing_and_says_what_would_be_paused():
    bench = broken()
    preview = bench.restore().preview()
    assert preview.document()["pauses"] == ["worker"]
    assert [message["body"] for message in preview.document()["messages"]] == ["2"]
    assert (preview.remaining, preview.among) == (1, 2)
    assert bench.service.tags == {}
    assert bench.line() == {"g": ["1", "3"]}


@pytest.mark.parametrize("role", ["main", "dlq"])
def test_a_message_that_another_consumer_holds_for_longer_than_the_wait_leaves_it_unfinished(role: str):
    """Without it the order of its group would be wrong, and nobody would say so."""
    bench = broken()
    name = {"main": NAMES.main, "dlq": NAMES.dlq}[role]
    bench.service.receive_message(
        QueueUrl=name, MaxNumberOfMessages=1, VisibilityTimeout=3600, WaitTimeSeconds=0
    )
    with pytest.raises(UnfinishedError, match="messages are in flight with another consumer"):
        bench.restore().perform()
    bench.clock.now += 3600
    bench.restore().perform()
    assert bench.line() == {"g": ["1", "2", "3"]}
    assert bench.left() == [0, 0]


@pytest.mark.parametrize("role", ["main", "dlq", "hold"])
def test_where_a_queues_limit_was_lowered_the_deploy_that_raises_it_is_advised(role: str):
    """Else each run would end at the same message, with worker and enqueuer paused."""
    bench = broken()
    name = {"main": NAMES.main, "dlq": NAMES.dlq, "hold": NAMES.hold}[role]
    attributes = bench.service.queues[name].attributes
    attributes["MaximumMessageSize"] = "1024"

    def too_large(call: Any) -> Any:
        to = call.action == "SendMessageBatch" and call.json()["QueueUrl"] in (name, NAMES.hold)
        return RefuseEntries(lambda place, entry: True, "InvalidParameterValue", True) if to else Pass()

    bench.service.rule = too_large
    for _ in range(2):
        with pytest.raises(UnfinishedError, match=r"\(group g\): InvalidParameterValue") as caught:
            bench.restore().perform()
        advice = (
            f"run `fifo-cli deploy` first: it lets {name} take messages of 1,048,576 bytes again; then run"
        )
        assert caught.value.hint.startswith(advice)
        bench.clock.now += 31
    attributes.clear()
    bench.service.rule = forward_all
    bench.restore().perform()
    assert bench.line() == {"g": ["1", "2", "3"]}
    assert bench.left() == [0, 0]
