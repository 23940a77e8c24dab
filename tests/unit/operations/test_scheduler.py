"""What a move asks for ahead of answers, as the engine's tests with one worker cannot show it."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fifo_cli.model.message import ReceivedMessage
from fifo_cli.operations.history import MoveNotes, unnoted
from fifo_cli.operations.transfer.interfaces import Rejection
from fifo_cli.operations.transfer.prefetcher import AHEAD_CREDIT
from fifo_cli.operations.transfer.result import MoveOptions
from fifo_cli.operations.transfer.scheduler import AHEAD_AFTER, InFlightMessages
from fifo_cli.operations.transfer.steps import Action, Delete, ExtendVisibility, Note, Receive, Send
from tests.unit.operations.fault_model import Arrivals, FaultModel, message

NOW = 100.0
LATER = NOW + AHEAD_AFTER
NOTED = MoveOptions(history=MoveNotes(unnoted, "redriven", "dlq", "main"))


class Bench:
    """Ten messages of one group in flight; there are more of it behind them."""

    def __init__(self, options: MoveOptions | None = None) -> None:
        self.in_flight = InFlightMessages(
            Arrivals(FaultModel(), strict=False), options or MoveOptions(), hidden_seconds=30.0
        )
        self.in_flight.may_send = True
        self.numbers = itertools.count()

    def arrive(self, take: Receive | None = None) -> None:
        """Take ten messages."""
        ten = [ReceivedMessage(message(f"m{next(self.numbers)}"), "receipt_handle") for _ in range(10)]
        self.in_flight.received(take or self.receive(), ten, asked_at=NOW, exhausted=False)

    def delete(self) -> Delete:
        """Send what is in flight, find that what is behind it is not to be had, and begin to delete."""
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

    def send_all(self) -> Send:
        """Take ten messages, begin to send them, and find that there is nothing else to be had."""
        self.arrive()
        send = self.in_flight.choose(NOW)
        assert isinstance(send, Send)
        self.miss(self.receive())
        return send

    def deleted(self, delete: Delete) -> None:
        self.in_flight.deleted(delete, {}, now=NOW)

    def receive(self, now: float = NOW) -> Receive:
        take = self.in_flight.choose(now)
        assert isinstance(take, Receive)
        return take

    def miss(self, take: Receive) -> None:
        self.in_flight.received(take, [], asked_at=NOW, exhausted=False)


def test_what_deletes_make_free_is_asked_for_a_moment_behind_them_once() -> None:
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


def test_what_is_deleted_makes_room_for_a_receive_and_what_is_noted_does_not() -> None:
    bench = Bench(NOTED)
    bench.arrive()
    while not isinstance(action := bench.in_flight.choose(NOW), Note):
        match action:
            case Send():
                bench.in_flight.sent(action, {}, whole=False, now=NOW)
            case Receive():
                bench.miss(action)
            case _:
                raise AssertionError(action)
    assert len(action.items) == 10
    # The receive that is sent ahead would find nothing yet.
    assert bench.in_flight.choose(LATER) is None
    bench.in_flight.noted(action)
    assert isinstance(bench.in_flight.choose(LATER), Delete)
    assert bench.receive(LATER + AHEAD_AFTER).ahead


def test_the_last_of_a_group_is_noted_while_it_is_sent() -> None:
    bench = Bench(NOTED)
    send = bench.send_all()
    note = bench.in_flight.choose(NOW)
    assert isinstance(note, Note)
    assert note.items == send.items
    bench.in_flight.noted(note)
    assert bench.in_flight.choose(NOW) is None
    bench.in_flight.sent(send, {}, whole=False, now=NOW)
    delete = bench.in_flight.choose(NOW)
    assert isinstance(delete, Delete)
    assert delete.items == send.items
    assert bench.in_flight.stayed == []


def test_what_comes_from_a_file_is_noted_when_it_has_arrived() -> None:
    bench = Bench(replace(NOTED, history=MoveNotes(unnoted, "loaded", "a.jsonl", "main", ahead=False)))
    send = bench.send_all()
    assert bench.in_flight.choose(NOW) is None
    bench.in_flight.sent(send, {}, whole=False, now=NOW)
    assert isinstance(bench.in_flight.choose(NOW), Note)


def test_what_is_noted_while_it_is_sent_and_refused_for_good_has_stayed() -> None:
    bench = Bench(NOTED)
    send = bench.send_all()
    note = bench.in_flight.choose(NOW)
    assert isinstance(note, Note)
    refused = {item.id: Rejection(item.received, "too long", retry=False) for item in send.items[4:]}
    bench.in_flight.sent(send, refused, whole=False, now=NOW)
    bench.in_flight.noted(note)
    delete = bench.in_flight.choose(NOW)
    assert isinstance(delete, Delete)
    assert delete.items == send.items[:4]
    stayed = [one.message for one in bench.in_flight.stayed]
    assert [one.message_id for one in stayed] == list(refused)
    # Very many may stay: memory does not grow with what they say.
    assert not any(one.body for one in stayed)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=60), st.integers(0, 2**32), st.booleans(), st.booleans())
def test_in_whichever_order_calls_end_what_is_deleted_was_noted_and_the_history_is_true(
    groups: list[int], seed: int, strict: bool, stopped: bool
) -> None:
    dice = random.Random(seed)
    rest = [ReceivedMessage(message(f"m{n}", f"g{group}"), "handle") for n, group in enumerate(groups)]
    in_flight = InFlightMessages(Arrivals(FaultModel(), strict=strict), NOTED, hidden_seconds=1e6)
    in_flight.may_send = True
    under_way: list[Action] = []
    noted, arrived, deleted = set[str](), list[str](), list[str]()
    now = NOW
    for _ in range(10_000):
        now += 0.05
        if in_flight.over:
            break
        if stopped and len(arrived) > len(groups) / 2:
            in_flight.closing = True
        action = in_flight.choose(now) if len(under_way) < 5 and dice.random() < 0.7 else None
        if action is not None:
            under_way.append(action)
        elif under_way:
            match action := under_way.pop(dice.randrange(len(under_way))):
                case Receive():
                    batch, rest = rest[: action.count], rest[action.count :]
                    in_flight.received(action, batch, asked_at=now, exhausted=not rest)
                case Send():
                    refused = {
                        item.id: Rejection(item.received, "no", retry=dice.random() < 0.8)
                        for item in action.items
                        if dice.random() < 0.2
                    }
                    arrived += [item.id for item in action.items if item.id not in refused]
                    in_flight.sent(action, refused, whole=False, now=now)
                case Note():
                    noted |= {item.id for item in action.items}
                    in_flight.noted(action)
                case Delete():
                    assert {item.id for item in action.items} <= noted & set(arrived)
                    deleted += [item.id for item in action.items]
                    in_flight.deleted(action, {}, now=now)
                case _:
                    raise AssertionError(action)
    assert in_flight.over
    assert sorted(deleted) == sorted(arrived)
    assert noted - {one.message.message_id for one in in_flight.stayed} == set(arrived)


def test_what_is_received_before_the_delete_is_answered_is_sent_in_its_turn() -> None:
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


def test_after_the_delete_what_it_made_free_is_asked_for_whether_or_not_it_was_before() -> None:
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


def test_what_is_in_flight_is_kept_hidden_even_if_nothing_else_may_be_done() -> None:
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
    in_flight = bench.in_flight
    again = [ReceivedMessage(message(f"m{n}"), "newest") for n in range(10)]

    def come_again() -> None:
        take = Receive(10, wait=False, started=99, ahead=False)
        in_flight.actions += 1
        in_flight._prefetcher.receives += 1
        in_flight.received(take, again, asked_at=NOW, exhausted=False)

    if when == "waiting":
        come_again()
    send = in_flight.choose(NOW)
    assert isinstance(send, Send)
    if when == "sent":
        come_again()
    in_flight.sent(send, {}, whole=False, now=NOW)
    if when == "to be deleted":
        come_again()
    delete = in_flight.choose(NOW)
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
