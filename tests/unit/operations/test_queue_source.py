"""A queue as a source: when it is over, what is waited for, and how messages are given back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from fifo_cli.aws.sqs import RejectedEntry
from fifo_cli.errors import AwsError
from fifo_cli.events import Event, Waiting
from fifo_cli.model.message import ReceivedMessage
from fifo_cli.model.queue_counts import Counted
from fifo_cli.operations.transfer.interfaces import Rejection
from fifo_cli.operations.transfer.queue_source import HIDDEN_SECONDS, QueueSource
from tests.fakes import Clock
from tests.unit.operations.fault_model import message


class Messages:
    """A queue whose messages and counts are what the test says."""

    name = "orders-dlq.fifo"
    long_poll_seconds = 1
    now = Counted("orders.fifo", 0, 0, 0)

    def counts(self) -> Counted:
        return self.now

    def __init__(self) -> None:
        self.arrivals: list[str] = []
        self.asked: list[dict[str, Any]] = []
        self.hidden: list[tuple[list[str], int]] = []
        self.rejected: list[RejectedEntry] = []
        self.down = False

    def receive(self, **asked: Any) -> list[ReceivedMessage]:
        self.asked.append(asked)
        given, self.arrivals = self.arrivals[:10], self.arrivals[10:]
        return [ReceivedMessage(message(one), f"h-{one}", "arn") for one in given]

    def change_visibility(self, handles: Sequence[str], *, seconds: int) -> list[RejectedEntry]:
        self.hidden.append((list(handles), seconds))
        if self.down:
            raise AwsError("down")
        return self.rejected

    def delete(self, handles: Sequence[str]) -> list[RejectedEntry]:
        return self.rejected


class Bench:
    def __init__(self) -> None:
        self.messages = Messages()
        self.clock = Clock()
        self.heard: list[Event] = []
        self.source = QueueSource(
            self.messages,  # type: ignore[arg-type]
            listener=self.heard.append,
            clock=self.clock,
        )

    def counted(self, visible: int = 0, in_flight: int = 0, delayed: int = 0) -> None:
        self.messages.now = Counted("orders.fifo", visible, in_flight, delayed)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_receive_polls_long_only_if_nothing_else_is_to_do(bench: Bench) -> None:
    bench.messages.arrivals = ["a"]
    (received,) = bench.source.receive(10, wait=False)
    assert (received.message.message_id, received.receipt_handle, received.dead_letter_source) == (
        "a",
        "h-a",
        "arn",
    )
    bench.source.receive(10, wait=True)
    first, second = bench.messages.asked
    assert (first["wait"], second["wait"]) == (0, 1)
    assert first["visibility"] == HIDDEN_SECONDS


def test_one_server_is_waited_for_only_after_it_gave_nothing_at_once(bench: Bench) -> None:
    bench.messages.long_poll_seconds = 0
    bench.counted(in_flight=1)
    for _ in range(2):
        bench.source.receive(10, wait=True)
        assert not bench.source.exhausted()
    bench.messages.arrivals = ["a"]
    bench.source.receive(10, wait=True)
    bench.source.receive(10, wait=True)
    assert [asked["wait"] for asked in bench.messages.asked] == [0, 1, 1, 0]


def test_it_is_over_when_a_long_poll_gave_nothing_and_nothing_is_counted(bench: Bench) -> None:
    assert not bench.source.exhausted()
    bench.source.receive(10, wait=True)
    assert bench.source.exhausted()
    assert bench.heard == []


def test_if_as_many_are_settled_as_were_counted_and_none_is_counted_a_short_poll_will_do(
    bench: Bench,
) -> None:
    bench.source = QueueSource(bench.messages, expected=2)  # type: ignore[arg-type]
    bench.messages.arrivals = ["a", "b"]
    one, two = bench.source.receive(10, wait=False)
    bench.source.delete([one])
    bench.source.receive(10, wait=True)
    bench.source.delete([two])
    bench.counted(visible=1)
    bench.source.receive(10, wait=True)
    bench.counted()
    bench.source.receive(10, wait=True)
    assert [asked["wait"] for asked in bench.messages.asked] == [0, 1, 1, 0]
    bench.counted(visible=1)  # sent since then
    assert bench.source.exhausted()
    assert bench.source.emptied


def test_it_is_not_emptied_while_we_hold_what_was_not_counted(bench: Bench) -> None:
    bench.source = QueueSource(bench.messages, expected=1)  # type: ignore[arg-type]
    bench.messages.arrivals = ["a", "b"]
    one, _ = bench.source.receive(10, wait=False)
    bench.source.delete([one])
    bench.source.receive(10, wait=True)
    assert not bench.source.emptied


def test_counts_that_lag_are_not_waited_for_if_all_that_was_counted_at_the_start_has_been_seen(
    bench: Bench,
) -> None:
    bench.source = QueueSource(bench.messages, expected=2, listener=bench.heard.append)  # type: ignore[arg-type]
    bench.messages.arrivals = ["a", "b"]
    one, _ = bench.source.receive(10, wait=False)
    bench.source.delete([one])
    bench.counted(visible=2, in_flight=2)
    bench.source.receive(10, wait=True)
    assert not bench.source.exhausted()
    bench.source.receive(10, wait=True)
    assert bench.source.exhausted()
    assert (bench.source.given_up, bench.source.emptied, bench.heard) == (0, False, [])


def waited_for(bench: Bench) -> str:
    """Return what was said, once, of what is waited for."""
    (said,) = bench.heard
    assert isinstance(said, Waiting)
    return said.reason


def test_what_is_counted_is_waited_for_until_patience_is_over_and_said(bench: Bench) -> None:
    bench.counted(visible=1, in_flight=2)
    bench.source.receive(10, wait=True)
    assert not bench.source.exhausted()
    bench.clock.sleep(34)
    assert not bench.source.exhausted()
    bench.clock.sleep(2)
    assert bench.source.exhausted()
    assert bench.source.given_up == 3
    assert waited_for(bench) == (
        "SQS counts 2 in flight with another consumer or a run that was killed, and 1 visible that it"
        " does not give out while those before them in their groups are held; they are waited for,"
        " 35 s at most"
    )


def test_without_patience_nothing_is_waited_for_and_nothing_said(bench: Bench) -> None:
    bench.source = QueueSource(bench.messages, patience=0, listener=bench.heard.append)  # type: ignore[arg-type]
    bench.counted(visible=1, in_flight=2)
    bench.source.receive(10, wait=True)
    assert bench.source.exhausted()
    assert (bench.source.given_up, bench.heard) == (3, [])


def test_only_what_is_waited_for_is_said(bench: Bench) -> None:
    bench.messages.arrivals = ["a", "b"]
    bench.source.receive(10, wait=False)
    bench.counted(visible=720, in_flight=12)
    bench.source.receive(10, wait=True)
    assert not bench.source.exhausted()
    assert waited_for(bench) == (
        "SQS counts 10 in flight with another consumer or a run that was killed; they are waited for,"
        " 35 s at most"
    )


def test_what_we_hide_ourselves_and_what_is_behind_it_is_not_waited_for(bench: Bench) -> None:
    bench.messages.arrivals = ["a", "b"]
    bench.source.receive(10, wait=False)
    bench.counted(visible=5, in_flight=2)
    bench.source.receive(10, wait=True)
    assert not bench.source.exhausted()  # it may have become visible after that poll
    bench.source.receive(10, wait=True)
    assert bench.source.exhausted()
    bench.counted(visible=5, in_flight=3)
    assert not bench.source.exhausted()


def test_a_message_that_comes_makes_it_wait_again(bench: Bench) -> None:
    bench.counted(in_flight=1)
    bench.source.receive(10, wait=True)
    assert not bench.source.exhausted()
    bench.messages.arrivals = ["a"]
    (received,) = bench.source.receive(10, wait=True)
    assert not bench.source.exhausted()
    bench.source.delete([received])
    bench.clock.sleep(36)
    bench.source.receive(10, wait=True)
    assert not bench.source.exhausted()  # its patience began again


def test_a_handle_that_is_over_is_no_more_ours_and_another_refusal_is_tried_again(bench: Bench) -> None:
    one, two = ReceivedMessage(message("a"), "h-a"), ReceivedMessage(message("b"), "h-b")
    bench.messages.rejected = [RejectedEntry(0, "expired", gone=True), RejectedEntry(1, "InternalError")]
    assert bench.source.delete([one, two]) == [
        Rejection(one, "expired", retry=False),
        Rejection(two, "InternalError", retry=True),
    ]
    assert bench.source.extend_visibility([one, two], seconds=30.0) == [
        Rejection(one, "expired", retry=False),
        Rejection(two, "InternalError", retry=True),
    ]


def test_messages_are_released_each_group_in_the_order_given(bench: Bench) -> None:
    received = [ReceivedMessage(message(f"m{n}", "g"), f"h-{n}") for n in reversed(range(12))]
    bench.source.release(received)
    assert [hidden for hidden in bench.messages.hidden if hidden[0]] == [
        ([f"h-{n}" for n in range(11, -1, -1)], 0)
    ]


def test_a_release_that_fails_is_left_to_the_visibility_timeout(bench: Bench) -> None:
    bench.messages.down = True
    bench.source.release([ReceivedMessage(message(f"m{n}", "g"), f"h-{n}") for n in range(12)])
    # What is behind is not released before its head.
    assert len(bench.messages.hidden) == 1


@pytest.mark.parametrize(
    ("quiet", "empty", "over"), [(0, 0, True), (60, 59, False), (60, 60, True), (60, 120, True)]
)
def test_with_counts_that_may_be_late_nothing_has_to_come_for_so_long(
    bench: Bench, quiet: float, empty: float, over: bool
) -> None:
    source = QueueSource(bench.messages, quiet=quiet, listener=bench.heard.append, clock=bench.clock)  # type: ignore[arg-type]
    assert source.receive(10, wait=True) == []
    bench.clock.sleep(empty)
    assert source.receive(10, wait=True) == []
    assert source.exhausted() is over
    assert [event for event in bench.heard if isinstance(event, Waiting)] == (
        [] if over else [Waiting("orders-dlq.fifo", "seen empty for 60 s: so late may SQS's counts be")]
    )


def test_a_message_that_comes_begins_the_quiet_time_again(bench: Bench) -> None:
    source = QueueSource(bench.messages, quiet=60, clock=bench.clock)  # type: ignore[arg-type]
    source.receive(10, wait=True)
    bench.clock.sleep(59)
    bench.messages.arrivals = ["late"]
    (received,) = source.receive(10, wait=True)
    source.delete([received])
    bench.clock.sleep(30)
    source.receive(10, wait=True)
    assert not source.exhausted()
    bench.clock.sleep(60)
    source.receive(10, wait=True)
    assert source.exhausted()
