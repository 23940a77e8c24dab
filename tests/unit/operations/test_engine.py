"""The moving engine between a source and a target in memory: nothing lost, doubled or reordered."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fifo_cli.errors import AwsError, BusyError, ExitCode, NotDeployedError
from fifo_cli.events import Event, Noted, Progressed, Warned
from fifo_cli.model.message import Message, ReceivedMessage
from fifo_cli.operations.transfer.engine import move
from fifo_cli.operations.transfer.interfaces import Rejection
from fifo_cli.operations.transfer.result import Failure, MoveOptions, MoveReport, Overtaking
from fifo_cli.operations.transfer.scheduler import (
    FIRST_IN_FLIGHT_PER_WORKER,
    IN_FLIGHT_PER_WORKER,
    NOTE_MESSAGES,
)
from tests.unit.operations.fault_model import Arrivals, FaultModel, Line, message


def messages(groups: list[int]) -> list[Message]:
    """Make a message for each number, which is its group's."""
    return [message(f"m{place}", f"g{group}") for place, group in enumerate(groups)]


def run(source: Line, target: Arrivals, *, workers: int = 1, **options: Any) -> MoveReport:
    clock = source.faults.clock
    return move(source, target, MoveOptions(workers=workers, **options), clock=clock, sleep=clock.sleep)


def in_order(expected: list[Message], target: Arrivals) -> None:
    """Check that each message is in the target once, its group in order."""
    for group in {one.group for one in expected}:
        assert target.of(group) == [one.body for one in expected if one.group == group]
    assert len(target.bodies) == len(expected)


def prefixes(expected: list[Message], target: Arrivals) -> None:
    """Check that of each group the target has the first few, in order, once."""
    for group in {one.group for one in expected}:
        whole = [one.body for one in expected if one.group == group]
        assert target.of(group) == whole[: len(target.of(group))]


@settings(max_examples=150, deadline=None)
@given(
    groups=st.lists(st.integers(0, 6), max_size=60),
    seed=st.integers(0, 2**32),
    lost_requests=st.sampled_from([0.0, 0.1, 0.4]),
    lost_answers=st.sampled_from([0.0, 0.1, 0.3]),
    refusals=st.sampled_from([0.0, 0.1, 0.5]),
    slowest=st.sampled_from([0.0, 0.5, 20.0]),
    noted=st.booleans(),
)
def test_whatever_fails_each_message_is_moved_once_and_in_order_by_the_second_run_at_the_latest(
    groups: list[int],
    seed: int,
    lost_requests: float,
    lost_answers: float,
    refusals: float,
    slowest: float,
    noted: bool,
) -> None:
    faults = FaultModel(lost_requests, lost_answers, refusals, slowest, random.Random(seed))
    everything = messages(groups)
    target = Arrivals(faults)
    source = NotedLine(everything, faults, target) if noted else Line(everything, faults)
    noted_in = source if isinstance(source, NotedLine) else None
    report = run(source, target, history=noted_in)
    prefixes(everything, target)
    here, there = {one.body for one in source.messages}, {body for _, body in target.bodies}
    assert here | there == {one.body for one in everything}
    assert report.moved <= len(target.bodies)
    if isinstance(source, NotedLine):
        assert source.noted <= there
    # No send is repeated after five minutes, when SQS would take it for another message.
    assert target.doubles == []
    if report.error is None and not report.failed and not report.not_deleted:
        assert (report.moved, source.messages) == (len(everything), [])

    faults.lost_requests = faults.lost_answers = faults.refusals = faults.slowest = 0.0
    faults.clock.sleep(31)
    again = run(source, target, history=noted_in)
    assert (again.failed, again.not_deleted, again.error) == (0, 0, None)
    in_order(everything, target)
    assert source.messages == []


class NotedLine(Line):
    """A queue, and the history of the move: what is deleted must be noted by then, and in the target."""

    ahead = True

    def __init__(self, messages: Sequence[Message], faults: FaultModel, target: Arrivals) -> None:
        super().__init__(messages, faults)
        self.target = target
        self.notes: list[list[str]] = []
        self.after_all: set[str] = set()

    @property
    def noted(self) -> set[str]:
        """What left, by the history."""
        return set(itertools.chain(*self.notes)) - self.after_all

    def leaving(self, received: Sequence[ReceivedMessage]) -> None:
        self.notes.append([one.message.message_id for one in received])

    def stayed(self, received: Sequence[ReceivedMessage]) -> None:
        self.after_all |= {one.message.message_id for one in received}

    def delete(self, received: Sequence[ReceivedMessage]) -> list[Rejection]:
        ids = {one.message.message_id for one in received}
        assert ids <= self.noted & {body for _, body in self.target.bodies}
        return super().delete(received)


def test_what_leaves_is_noted_once_and_many_at_a_time() -> None:
    faults = FaultModel()
    everything = messages(list(range(1000)))
    target = Arrivals(faults)
    source = NotedLine(everything, faults, target)
    run(source, target, history=source)
    assert sorted(itertools.chain(*source.notes)) == sorted(one.message_id for one in everything)
    assert len(source.notes) <= 1000 / IN_FLIGHT_PER_WORKER + 1
    assert source.messages == []


def test_of_one_group_all_that_sqs_gives_at_a_time_is_noted_together() -> None:
    faults = FaultModel()
    everything = messages([0] * 100)
    target = Arrivals(faults)
    source = NotedLine(everything, faults, target)
    run(source, target, history=source)
    assert [len(ids) for ids in source.notes] == [10] * 10


def test_a_slow_move_notes_what_the_target_has_within_a_moment() -> None:
    faults = FaultModel(slowest=1.0)
    everything = messages(list(range(200)))
    target = Arrivals(faults)
    source = NotedLine(everything, faults, target)
    run(source, target, history=source)
    assert max(map(len, source.notes)) < NOTE_MESSAGES / 2


def test_asked_to_stop_it_notes_and_deletes_what_the_target_has() -> None:
    faults = FaultModel()
    everything = messages(list(range(50)))
    target = Arrivals(faults)
    source = NotedLine(everything, faults, target)
    clock = faults.clock
    report = move(
        source,
        target,
        MoveOptions(workers=1, history=source),
        stopped=lambda: len(target.bodies) >= 20,
        clock=clock,
        sleep=clock.sleep,
    )
    assert report.stopped
    assert {one.message_id for one in source.messages} == {one.message_id for one in everything} - {
        body for _, body in target.bodies
    }


@pytest.mark.parametrize("seed", range(4))
def test_twelve_workers_at_once_keep_the_order_of_every_group(seed: int) -> None:
    dice = random.Random(seed)
    everything = messages([dice.randrange(9) for _ in range(400)])
    faults = FaultModel(refusals=0.02, dice=random.Random(seed))
    target = Arrivals(faults)
    source = NotedLine(everything, faults, target)
    report = move(source, target, MoveOptions(workers=12, history=source))
    assert (report.moved, report.failed, report.error) == (400, 0, None)
    in_order(everything, target)
    assert source.noted == {one.message_id for one in everything}
    assert source.messages == []


def test_groups_share_sends_and_both_sends_and_deletes_are_full() -> None:
    faults = FaultModel()
    # A take gives ten of one group.
    everything = messages([place // 10 for place in range(400)])
    source, target = Line(everything, faults), Arrivals(faults)
    run(source, target)
    in_order(everything, target)
    assert len(target.calls) <= 50
    assert source.deletes == 40


def test_of_a_refused_message_the_group_waits_and_the_others_go_on() -> None:
    faults = FaultModel()
    everything = messages([0, 1, 0, 1, 0, 1])
    source, target = Line(everything, faults), Arrivals(faults)
    target.refuse = lambda received: (
        Rejection(received, "KmsDisabled") if received.message.message_id == "m2" else None
    )
    report = run(source, target)
    assert (report.moved, report.failed) == (4, 2)
    assert report.failures == [
        Failure("m2", "g0", "KmsDisabled"),
        Failure("m4", "g0", "behind a message of its group that failed"),
    ]
    assert (target.of("g0"), target.of("g1")) == (["m0"], ["m1", "m3", "m5"])
    # Given back tails first, so that the group comes out in order.
    assert source.given_back == ["m4", "m2"]


def test_a_refusal_that_no_try_can_change_is_not_tried_again() -> None:
    faults = FaultModel()
    source, target = Line(messages([0]), faults), Arrivals(faults)
    target.refuse = lambda received: Rejection(received, "too long", retry=False)
    report = run(source, target)
    assert (report.failed, len(target.calls)) == (1, 1)


def test_without_strictness_a_partial_refusal_is_reported_with_who_overtook_whom() -> None:
    faults = FaultModel()
    everything = messages([0] * 4)
    source, target = Line(everything, faults), Arrivals(faults, strict=False)
    refused: list[str] = []

    def refuse_once(received: ReceivedMessage) -> Rejection | None:
        if received.message.message_id != "m1" or refused:
            return None
        refused.append(received.message.message_id)
        return Rejection(received, "InternalError")

    target.refuse = refuse_once
    report = run(source, target)
    assert (report.moved, report.failed) == (4, 0)
    assert report.overtakings == [Overtaking("m1", "g0", ("m2", "m3"))]
    assert target.of("g0") == ["m0", "m2", "m3", "m1"]


def test_a_message_that_cannot_be_deleted_is_counted_and_not_sent_again() -> None:
    faults = FaultModel()
    source, target = Line(messages([0, 1]), faults), Arrivals(faults)
    source.faults = FaultModel(refusals=1.0, clock=faults.clock)
    report = run(source, target)
    assert (report.moved, report.not_deleted, len(source.messages)) == (2, 2, 2)
    assert len(target.bodies) == 2


def test_a_service_that_is_down_ends_the_move_after_three_rounds_with_its_error() -> None:
    faults = FaultModel(lost_requests=1.0)
    source, target = Line(messages([0]), faults), Arrivals(faults)
    heard: list[Event] = []
    clock = faults.clock
    report = move(
        source, target, MoveOptions(workers=1), listener=heard.append, clock=clock, sleep=clock.sleep
    )
    assert report.error is not None
    assert (report.error.message, report.error.exit_code) == ("the request was lost", ExitCode.AWS)
    assert heard == [Warned("the request was lost; trying again")] * 2


def test_a_queue_that_does_not_exist_ends_the_move_at_once() -> None:
    faults = FaultModel()
    source, target = Line(messages([0, 1]), faults), Arrivals(faults)
    missing = NotDeployedError("orders.fifo does not exist")

    def refuse(received: ReceivedMessage) -> Rejection | None:
        raise missing

    target.refuse = refuse
    report = run(source, target)
    assert (report.error, report.moved, len(target.calls)) == (missing, 0, 1)
    assert sorted(source.given_back) == ["m0", "m1"]


def test_a_send_that_may_have_arrived_is_not_repeated_when_sqs_may_have_forgotten_it() -> None:
    faults = FaultModel()
    source = Line(messages([0, *([1] * 9)]), faults)
    source.hidden_seconds = 3600

    class Deaf(Arrivals):
        """Takes m0 and never says so."""

        def send(self, received: Sequence[ReceivedMessage]) -> list[Rejection]:
            refusals = super().send(received)
            if any(one.message.message_id == "m0" for one in received):
                faults.clock.sleep(70)
                raise AwsError("the answer was lost")
            return refusals

    target = Deaf(faults)
    report = run(source, target)
    assert target.doubles == []
    assert report.failures == [
        Failure("m0", "g0", "a send was not answered, and SQS forgets it soon: it may have arrived")
    ]
    assert (report.moved, target.of("g0"), len(target.of("g1"))) == (9, ["m0"], 9)


def test_an_entry_that_the_answer_does_not_confirm_may_have_arrived_and_is_not_repeated_too_late() -> None:
    faults = FaultModel()
    source = Line(messages([0, *([1] * 9)]), faults)
    source.hidden_seconds = 3600

    class Silent(Arrivals):
        """Takes m0, and names it in neither list of its answers."""

        def send(self, received: Sequence[ReceivedMessage]) -> list[Rejection]:
            refusals = super().send(received)
            silent = [one for one in received if one.message.message_id == "m0"]
            if silent:
                faults.clock.sleep(70)
            return [*refusals, *(Rejection(one, "not confirmed", doubtful=True) for one in silent)]

    target = Silent(faults)
    report = run(source, target)
    assert target.doubles == []
    assert report.failures == [
        Failure("m0", "g0", "a send was not answered, and SQS forgets it soon: it may have arrived")
    ]
    assert (report.moved, target.of("g0"), len(target.of("g1"))) == (9, ["m0"], 9)


def test_an_extension_that_is_not_confirmed_is_asked_for_again_in_time() -> None:
    faults = FaultModel()
    asked: list[float] = []

    class Forgetful(Line):
        """Does nothing the first five times it is asked, and does not say so."""

        def extend_visibility(
            self, received: Sequence[ReceivedMessage], *, seconds: float
        ) -> list[Rejection]:
            asked.append(faults.clock())
            if len(asked) <= 5:
                return [Rejection(one, "not confirmed", doubtful=True) for one in received]
            return super().extend_visibility(received, seconds=seconds)

    start = faults.clock()
    source, target = Forgetful(messages([0] * 10), faults), Arrivals(faults)
    report = run(source, target, max_rate=0.1)
    assert (report.moved, target.of("g0")) == (10, [f"m{n}" for n in range(10)])
    # In pauses that grow from a tenth of a second; and while the messages were still ours.
    pauses = [after - before for before, after in itertools.pairwise(asked[:6])]
    assert all(pause > 0.05 for pause in pauses)
    assert pauses == sorted(pauses)
    assert asked[5] < start + source.hidden_seconds


def test_a_defect_in_one_worker_ends_the_move_and_gives_everything_back() -> None:
    faults = FaultModel()
    source, target = Line(messages([0, 1]), faults), Arrivals(faults)

    def fail(received: ReceivedMessage) -> Rejection | None:
        raise ZeroDivisionError("oops")

    target.refuse = fail
    report = move(source, target, MoveOptions(workers=4))
    assert isinstance(report.error, AwsError)
    assert report.error.message == "internal error while moving: ZeroDivisionError: oops"
    assert sorted(source.given_back) == ["m0", "m1"]


def test_a_defect_while_messages_are_received_gives_all_of_them_back() -> None:
    faults = FaultModel()
    source, target = Line(messages([0, 1, 0, 1, 0, 1]), faults), Arrivals(faults)

    def wanted(received: ReceivedMessage) -> bool:
        if received.message.message_id == "m2":
            raise TypeError("no such comparison")
        return True

    report = run(source, target, wanted=wanted)
    assert isinstance(report.error, AwsError)
    assert "no such comparison" in report.error.message
    assert source.given_back == ["m5", "m4", "m3", "m2", "m1", "m0"]


def test_reported_to_stop_it_deletes_what_the_target_has_and_gives_back_the_rest() -> None:
    faults = FaultModel()
    everything = messages([0] * 8)
    source, target = Line(everything, faults), Arrivals(faults)
    clock = faults.clock
    report = move(
        source,
        target,
        MoveOptions(workers=1),
        stopped=lambda: len(target.bodies) >= 3,
        clock=clock,
        sleep=clock.sleep,
    )
    assert (report.stopped, report.moved) == (True, 3)
    assert [one.message_id for one in source.messages] == ["m3", "m4", "m5", "m6", "m7"]
    assert source.given_back == ["m7", "m6", "m5", "m4", "m3"]


@settings(max_examples=50, deadline=None)
@given(groups=st.lists(st.integers(0, 4), max_size=50), count=st.integers(1, 30))
def test_a_count_moves_as_many_from_the_heads_of_groups_and_no_more(groups: list[int], count: int) -> None:
    faults = FaultModel()
    everything = messages(groups)
    source, target = Line(everything, faults), Arrivals(faults)
    report = run(source, target, count=count)
    assert report.moved == len(target.bodies) == min(count, len(everything))
    assert len(source.messages) == len(everything) - report.moved
    prefixes(everything, target)


def test_what_is_not_wanted_stays_and_is_given_back_tails_first() -> None:
    faults = FaultModel()
    everything = messages([0, 0, 0, 1])
    source, target = Line(everything, faults), Arrivals(faults)
    report = run(source, target, wanted=lambda received: received.message.message_id in ("m1", "m3"))
    assert (report.moved, report.skipped) == (2, 2)
    assert sorted(body for _, body in target.bodies) == ["m1", "m3"]
    assert source.given_back == ["m2", "m0"]


def test_what_is_to_be_left_alone_is_neither_moved_nor_counted_as_skipped() -> None:
    faults = FaultModel()
    source, target = Line(messages([0, 1]), faults), Arrivals(faults)
    report = run(source, target, leave=lambda received: received.message.group == "g1")
    assert (report.moved, report.left, report.skipped) == (1, 1, 0)


def test_a_rate_is_kept_to() -> None:
    faults = FaultModel()
    source, target = Line(messages([place % 20 for place in range(60)]), faults), Arrivals(faults)
    began = faults.clock()
    report = run(source, target, max_rate=4.0)
    assert report.moved == 60
    assert 13 <= faults.clock() - began <= 17
    assert max(len(call) for call in target.calls) <= 4


def test_what_waits_for_long_is_kept_ours() -> None:
    faults = FaultModel()
    source, target = Line(messages([0] * 10), faults), Arrivals(faults)
    report = run(source, target, max_rate=0.1)
    assert report.moved == 10
    assert len(target.bodies) == 10
    assert {seconds for _, seconds in source.extended} == {30.0}


def test_a_call_never_holds_more_bytes_than_the_target_takes() -> None:
    faults = FaultModel()
    everything = [message(f"m{n}", f"g{n}", "x" * 400) for n in range(12)]
    source, target = Line(everything, faults), Arrivals(faults, bytes_max=1000)
    report = run(source, target)
    assert report.moved == 12
    assert max(len(call) for call in target.calls) == 2


def test_what_is_in_flight_does_not_grow_with_the_queue() -> None:
    faults = FaultModel()
    everything = messages([place % 50 for place in range(1000)])
    source, target = Line(everything, faults), Arrivals(faults)
    run(source, target)
    assert source.most_hidden <= IN_FLIGHT_PER_WORKER


@pytest.mark.parametrize("workers", [1, 12])
def test_nothing_is_sent_before_it_may_be_though_workers_take_meanwhile(workers: int) -> None:
    faults = FaultModel()
    everything = messages([place % 50 for place in range(1000)])
    source, target = Line(everything, faults), Arrivals(faults)
    seen: list[tuple[int, int]] = []

    def wait() -> None:
        deadline = time.monotonic() + 60
        while workers > 1 and source.most_hidden < 50 and time.monotonic() < deadline:
            time.sleep(0.01)
        seen.append((len(target.calls), source.most_hidden))

    report = move(source, target, MoveOptions(workers=workers, before_sending=wait))
    assert report.moved == 1000
    in_order(everything, target)
    assert seen == [(0, 0 if workers == 1 else 50)]


@pytest.mark.parametrize("workers", [1, 12])
@pytest.mark.parametrize("wanted", [None, lambda received: False], ids=["all", "none"])
def test_what_forbids_to_send_ends_it_and_few_were_in_flight_and_are_given_back(
    workers: int, wanted: Callable[[ReceivedMessage], bool] | None
) -> None:
    faults = FaultModel()
    everything = messages(list(range(1000)))
    source, target = Line(everything, faults), Arrivals(faults)
    most = FIRST_IN_FLIGHT_PER_WORKER * workers

    def refuse() -> None:
        deadline = time.monotonic() + 60
        while workers > 1 and source.most_hidden < most and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        raise BusyError("another has it")

    with pytest.raises(BusyError):
        move(source, target, MoveOptions(workers=workers, wanted=wanted, before_sending=refuse))
    assert (target.calls, source.messages) == ([], everything)
    assert source.most_hidden == (0 if workers == 1 else most)
    assert len(set(source.given_back)) == source.most_hidden
    assert [one.message for one in source.receive(10, wait=False)] == everything[:10]


def test_what_a_delete_makes_free_is_asked_for_while_it_is_under_way() -> None:
    class SlowToDelete(Line):
        def delete(self, received: Sequence[ReceivedMessage]) -> list[Rejection]:
            found.clear()
            refused = super().delete(received)
            if self.messages:
                ahead.append(found.wait(10))
            return refused

        def receive(self, count: int, *, wait: bool) -> list[ReceivedMessage]:
            batch = super().receive(count, wait=wait)
            if batch:
                found.set()
            return batch

    faults, found = FaultModel(), threading.Event()
    ahead: list[bool] = []
    everything = messages([0] * 50)
    source, target = SlowToDelete(everything, faults), Arrivals(faults, strict=False)
    assert move(source, target, MoveOptions(workers=12)).moved == 50
    in_order(everything, target)
    assert ahead
    assert all(ahead)


class Busy(Arrivals):
    """A target that notes how many sends are under way at a time, and throttles when they are too many."""

    def __init__(self, faults: FaultModel, *, bearable: int) -> None:
        super().__init__(faults)
        self.throttled = 0
        self.most: list[int] = []
        self._bearable = bearable
        self._under_way = 0

    def send(self, received: Sequence[ReceivedMessage]) -> list[Rejection]:
        with self.faults.lock:
            self._under_way += 1
            self.most.append(self._under_way)
            self.throttled += self._under_way > self._bearable
        time.sleep(0.02)
        with self.faults.lock:
            self._under_way -= 1
            return super().send(received)


def test_when_the_service_throttles_fewer_calls_are_made_at_a_time_and_that_is_said() -> None:
    faults = FaultModel()
    everything = messages([place % 200 for place in range(2000)])
    source, target = Line(everything, faults), Busy(faults, bearable=4)
    heard: list[Event] = []
    options = MoveOptions(workers=12, throttles=lambda: target.throttled)
    # Ten times as fast, so that a second of the crew's is a tenth.
    report = move(source, target, options, listener=heard.append, clock=lambda: 10 * time.monotonic())
    assert report.moved == 2000
    in_order(everything, target)
    assert max(target.most[:40]) > 4
    assert max(target.most[-40:]) <= 8
    assert Noted("AWS throttles: 6 calls at a time") in heard


def test_progress_shows_how_many_how_fast_and_how_long() -> None:
    faults = FaultModel(slowest=1.0, dice=random.Random(1))
    source, target = Line(messages([place % 30 for place in range(90)]), faults), Arrivals(faults)
    heard: list[Event] = []
    clock = faults.clock
    move(
        source,
        target,
        MoveOptions(workers=1, total=90),
        listener=heard.append,
        clock=clock,
        sleep=clock.sleep,
    )
    text = [event.text for event in heard if isinstance(event, Progressed)]
    assert text[0].startswith("10 of 90 moved, ")
    assert text[0].endswith(" s left")
    assert text[-1].startswith("90 of 90 moved, ")
