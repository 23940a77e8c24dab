"""What a move asks for ahead of answers, as the engine's tests with one worker cannot show it."""

from __future__ import annotations

import itertools
import math

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
        self.hand = InFlightMessages(Arrivals(FaultModel(), strict=False), MoveOptions(), hidden_seconds=30.0)
        self.hand.may_send = True
        self.numbers = itertools.count()

    def arrive(self, take: Receive | None = None) -> None:
        """Take ten messages."""
        ten = [ReceivedMessage(message(f"m{next(self.numbers)}"), "receipt_handle") for _ in range(10)]
        self.hand.taken(take or self.take(), ten, asked_at=NOW, exhausted=False)

    def settle(self) -> Delete:
        """Send what is in hand, find that what is behind it is not to be had, and begin to settle."""
        while not isinstance(act := self.hand.choose(NOW), Delete):
            match act:
                case Send():
                    self.hand.sent(act, {}, whole=False, now=NOW)
                case Receive():
                    assert not act.ahead
                    self.miss(act)
                case _:
                    raise AssertionError(act)
        while (take := self.hand.choose(NOW)) is not None:
            assert isinstance(take, Receive)
            assert not take.ahead
            self.miss(take)
        return act

    def settled(self, settle: Delete) -> None:
        self.hand.settled(settle, {}, now=NOW)

    def take(self, now: float = NOW) -> Receive:
        take = self.hand.choose(now)
        assert isinstance(take, Receive)
        return take

    def miss(self, take: Receive) -> None:
        self.hand.taken(take, [], asked_at=NOW, exhausted=False)


def test_what_settles_make_free_is_asked_for_a_moment_behind_them_once() -> None:
    bench = Bench()
    bench.arrive()
    bench.settle()
    assert bench.hand.choose(NOW) is None
    assert bench.hand.wakes_at == LATER
    ahead = bench.take(LATER)
    assert (ahead.ahead, ahead.wait) == (True, False)
    assert bench.hand.choose(LATER) is None
    bench.miss(ahead)
    assert bench.hand.choose(LATER + 1) is None


def test_what_is_taken_before_the_settle_is_answered_is_sent_in_its_turn() -> None:
    bench = Bench()
    bench.arrive()
    settle = bench.settle()
    bench.arrive(bench.take(LATER))
    following = bench.hand.choose(LATER)
    assert isinstance(following, Send)
    assert [item.id for item in following.items] == [f"m{number}" for number in range(10, 20)]
    bench.settled(settle)
    bench.hand.sent(following, {}, whole=False, now=LATER)
    assert bench.hand.report.moved == 20


def test_after_the_settle_what_it_made_free_is_asked_for_whether_or_not_it_was_before() -> None:
    bench = Bench()
    bench.arrive()
    settle = bench.settle()
    bench.miss(bench.take(LATER))
    bench.settled(settle)
    assert not bench.take().ahead
    assert bench.hand.wakes_at == math.inf


def test_a_service_with_which_it_does_not_pay_is_asked_afterwards_only() -> None:
    bench = Bench()
    bench.arrive()
    asked_ahead = 0
    for _ in range(AHEAD_CREDIT):
        settle = bench.settle()
        if (take := bench.hand.choose(LATER)) is not None:
            assert isinstance(take, Receive)
            asked_ahead += take.ahead
            bench.miss(take)
        bench.settled(settle)
        bench.arrive()
    assert asked_ahead == AHEAD_CREDIT / 2


def test_where_it_did_not_pay_it_is_tried_again_after_a_while() -> None:
    bench = Bench()
    bench.arrive()
    tries = []
    for turn in range(100):
        settle = bench.settle()
        if (take := bench.hand.choose(LATER)) is not None:
            assert isinstance(take, Receive)
            tries.append(turn)
            bench.miss(take)
        bench.settled(settle)
        bench.arrive()
    assert tries[:2] == [0, 1]
    assert 4 <= len(tries) <= 5


def test_what_is_in_hand_is_kept_even_if_nothing_else_may_be_done() -> None:
    bench = Bench()
    bench.arrive()
    assert bench.hand.choose(NOW, only_keep=True) is None
    keep = bench.hand.choose(NOW + 16, only_keep=True)
    assert isinstance(keep, ExtendVisibility)
    assert len(keep.items) == 10


def test_nothing_is_asked_for_ahead_while_there_is_something_to_send() -> None:
    bench = Bench()
    bench.arrive()
    settle = bench.settle()
    bench.arrive(bench.take(LATER))
    assert isinstance(bench.hand.choose(LATER), Send)
    assert bench.hand.choose(LATER + 1) is None
    bench.settled(settle)
