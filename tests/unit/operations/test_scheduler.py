"""What a move asks for ahead of answers, as the engine's tests with one worker cannot show it."""

from __future__ import annotations

import itertools
import math

import pytest

from fifo_cli.model.message import ReceivedMessage
from fifo_cli.operations.transfer.prefetcher import AHEAD_CREDIT
from fifo_cli.operations.transfer.result import MoveOptions
from fifo_cli.operations.transfer.scheduler import AHEAD_AFTER, InFlightMessages
from fifo_cli.operations.transfer.steps import Delete, ExtendVisibility, Receive, Send
from tests.unit.operations.fault_model import Arrivals, FaultModel, message

NOW = 100.0
LATER = NOW + AHEAD_AFTER


class Bench:
    """A hand with ten messages of one group, of which there are more behind them."""

    def __init__(self) -> None:
        self.in_flight = InFlightMessages(
            Arrivals(FaultModel(), strict=False), MoveOptions(), hidden_seconds=30.0
        )
        self.in_flight.may_send = True
        self.numbers = itertools.count()

    def arrive(self, take: Receive | None = None) -> None:
        """Take ten messages."""
        ten = [ReceivedMessage(message(f"m{next(self.numbers)}"), "receipt_handle") for _ in range(10)]
        self.in_flight.received(take or self.receive(), ten, asked_at=NOW, exhausted=False)

    def delete(self) -> Delete:
        """Send what is in flight, find that what is behind it is not to be had, and begin to settle."""
        while not isinstance(action := self.in_flight.choose(NOW), Delete):
            match action:
                case Send():
                    self.in_flight.sent(action, {}, whole=False, now=NOW)
                case Receive():
                    assert not action.ahead
                    self.miss(action)
                case _:
                    raise AssertionError(action)
        while (take := self.in_flight.choose(NOW)) is not None:
            assert isinstance(take, Receive)
            assert not take.ahead
            self.miss(take)
        return action

    def deleted(self, delete: Delete) -> None:
        self.in_flight.deleted(delete, {}, now=NOW)

    def receive(self, now: float = NOW) -> Receive:
        take = self.in_flight.choose(now)
        assert isinstance(take, Receive)
        return take

    def miss(self, take: Receive) -> None:
        self.in_flight.received(take, [], asked_at=NOW, exhausted=False)


def test_what_settles_make_free_is_asked_for_a_moment_behind_them_once() -> None:
    bench = Bench()
    bench.arrive()
    bench.delete()
    assert bench.in_flight.choose(NOW) is None
    assert bench.in_flight.wakes_at == LATER
    ahead = bench.receive(LATER)
    assert (ahead.ahead, ahead.wait) == (True, False)
    assert bench.in_flight.choose(LATER) is None
    bench.miss(ahead)
    assert bench.in_flight.choose(LATER + 1) is None


def test_what_is_taken_before_the_settle_is_answered_is_sent_in_its_turn() -> None:
    bench = Bench()
    bench.arrive()
    delete = bench.delete()
    bench.arrive(bench.receive(LATER))
    following = bench.in_flight.choose(LATER)
    assert isinstance(following, Send)
    assert [item.id for item in following.items] == [f"m{number}" for number in range(10, 20)]
    bench.deleted(delete)
    bench.in_flight.sent(following, {}, whole=False, now=LATER)
    assert bench.in_flight.report.moved == 20


def test_after_the_settle_what_it_made_free_is_asked_for_whether_or_not_it_was_before() -> None:
    bench = Bench()
    bench.arrive()
    delete = bench.delete()
    bench.miss(bench.receive(LATER))
    bench.deleted(delete)
    assert not bench.receive().ahead
    assert bench.in_flight.wakes_at == math.inf


def test_a_service_with_which_it_does_not_pay_is_asked_afterwards_only() -> None:
    bench = Bench()
    bench.arrive()
    asked_ahead = 0
    for _ in range(AHEAD_CREDIT):
        delete = bench.delete()
        if (take := bench.in_flight.choose(LATER)) is not None:
            assert isinstance(take, Receive)
            asked_ahead += take.ahead
            bench.miss(take)
        bench.deleted(delete)
        bench.arrive()
    assert asked_ahead == AHEAD_CREDIT / 2


def test_where_it_did_not_pay_it_is_tried_again_after_a_while() -> None:
    bench = Bench()
    bench.arrive()
    tries = []
    for turn in range(100):
        delete = bench.delete()
        if (take := bench.in_flight.choose(LATER)) is not None:
            assert isinstance(take, Receive)
            tries.append(turn)
            bench.miss(take)
        bench.deleted(delete)
        bench.arrive()
    assert tries[:2] == [0, 1]
    assert 4 <= len(tries) <= 5


def test_what_is_in_hand_is_kept_even_if_nothing_else_may_be_done() -> None:
    bench = Bench()
    bench.arrive()
    assert bench.in_flight.choose(NOW, only_extend_visibility=True) is None
    keep = bench.in_flight.choose(NOW + 16, only_extend_visibility=True)
    assert isinstance(keep, ExtendVisibility)
    assert len(keep.items) == 10


@pytest.mark.parametrize("when", ["waiting", "sent", "to be deleted"])
def test_of_a_message_that_came_again_the_newest_handle_counts(when: str) -> None:
    """An old one may seem to succeed, and delete nothing (API Reference, DeleteMessage)."""
    bench = Bench()
    bench.arrive()
    hand = bench.in_flight
    again = [ReceivedMessage(message(f"m{n}"), "newest") for n in range(10)]

    def come_again() -> None:
        take = Receive(10, wait=False, started=99, ahead=False)
        hand.actions += 1
        hand._prefetcher.receives += 1
        hand.received(take, again, asked_at=NOW, exhausted=False)

    if when == "waiting":
        come_again()
    send = hand.choose(NOW)
    assert isinstance(send, Send)
    if when == "sent":
        come_again()
    hand.sent(send, {}, whole=False, now=NOW)
    if when == "to be deleted":
        come_again()
    delete = hand.choose(NOW)
    assert isinstance(delete, Delete)
    assert {item.received.receipt_handle for item in delete.items} == {"newest"}
    assert len(delete.items) == 10


def test_nothing_is_asked_for_ahead_while_there_is_something_to_send() -> None:
    bench = Bench()
    bench.arrive()
    delete = bench.delete()
    bench.arrive(bench.receive(LATER))
    assert isinstance(bench.in_flight.choose(LATER), Send)
    assert bench.in_flight.choose(LATER + 1) is None
    bench.deleted(delete)
