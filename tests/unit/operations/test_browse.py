"""Looking through a queue: everything that can be seen, nothing kept."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.aws.sqs import Queue
from fifo_cli.model.message import ReceivedMessage
from fifo_cli.model.names import Names
from fifo_cli.operations.queues.browse import MESSAGES_MAX, browse, count_waiting
from fifo_cli.operations.queues.browse import look as look_through
from tests.fakes import Clock, FakeSqs
from tests.faults import AnswerWithError, Delay, Pass, on
from tests.unit.operations.fault_model import message


class CountingSqs(FakeSqs):
    """The fake queue with its names and counts."""

    policy = ""
    shown: int | None = None

    def counts(self, name: str) -> tuple[int, int]:
        visible, hidden = super().counts(name)
        return visible if self.shown is None else self.shown, hidden

    def get_queue_attributes(self, **request: Any) -> dict[str, Any]:
        self.queues[request["QueueUrl"]].attributes["RedrivePolicy"] = self.policy
        return super().get_queue_attributes(**request)


class FakeAws(Aws):
    def __init__(self, sqs: CountingSqs) -> None:
        super().__init__(AwsEndpoint(local=True))
        self.sqs = sqs

    def client(self, service: Any, **options: Any) -> Any:
        return self.sqs


@pytest.fixture
def sqs() -> CountingSqs:
    return CountingSqs(Clock(), "p.fifo")


def fill(sqs: CountingSqs, count: int, groups: int) -> None:
    for number in range(count):
        sqs.send_message(
            QueueUrl="p.fifo",
            MessageBody=str(number),
            MessageGroupId=f"g{number % groups}",
            MessageDeduplicationId=str(number),
        )


@pytest.mark.parametrize(
    ("there", "shown", "policy", "waiting", "receives"),
    [
        (0, 0, "", 0, 1),
        (3, 3, "", 3, 0),
        (3, 0, "", 3, 1),  # sent a moment ago
        (30, 0, "", 10, 1),
        (3, 9, "", 9, 0),
        (0, 9, "", 9, 0),
        (3, 0, '{"maxReceiveCount": 3}', 0, 0),  # a look could dead-letter one
        (3, 0, '{"maxReceiveCount": 1000}', 3, 1),
    ],
)
def test_what_counts_as_empty_is_looked_at_once_and_given_back(
    sqs: CountingSqs, there: int, shown: int, policy: str, waiting: int, receives: int
) -> None:
    fill(sqs, there, max(there, 1))
    sqs.shown, sqs.policy = shown, policy
    assert count_waiting(Queue(FakeAws(sqs), Names("p"), "main")) == waiting
    assert [action for action, _ in sqs.calls].count("ReceiveMessage") == receives
    assert all(message.visible_at <= sqs.clock() for message in sqs.queues["p.fifo"].messages)


def look(sqs: CountingSqs, stop_at: str = "") -> tuple[Any, list[str]]:
    seen: list[str] = []

    def take(message: Any) -> bool:
        seen.append(message.body)
        return bool(message.body == stop_at)

    aws = FakeAws(sqs)
    return browse(Queue(aws, Names("p"), "main"), take, clock=sqs.clock), seen


def test_all_is_seen_and_given_back_in_order(sqs: CountingSqs) -> None:
    fill(sqs, 25, 25)
    found, seen = look(sqs)
    assert (len(seen), found.seen, found.total, found.complete) == (25, 25, 25, True)
    assert all(message.visible_at <= sqs.clock() for message in sqs.queues["p.fifo"].messages)
    again = look(sqs)[1]
    assert again == seen


def test_heads_are_given_back_last(sqs: CountingSqs) -> None:
    fill(sqs, 12, 2)
    look(sqs)
    released = [
        entry["ReceiptHandle"].partition("#")[0]
        for action, request in sqs.calls
        if action == "ChangeMessageVisibilityBatch"
        for entry in request["Entries"]
    ]
    assert released == [f"m{number}" for number in range(10, 0, -1)]


def test_what_is_behind_the_first_ten_of_a_group_is_counted_as_unseen(sqs: CountingSqs) -> None:
    fill(sqs, 13, 1)
    found, seen = look(sqs)
    assert (len(seen), found.total, found.complete) == (10, 13, False)


@pytest.mark.parametrize(
    ("seconds", "groups", "count"),
    [
        ([1, 1, 1], 20, 20),  # nothing comes again
        ([1, 40], 20, 10),  # the second receive outlasts the visibility of the first ten
        ([1, 1, 40], 20, 20),  # and the third that of all twenty, which are all there are
        ([1, 40], 1, 10),  # one group
        ([1, 40], 11, 10),  # at first nothing of the last group came
    ],
)
def test_what_comes_again_in_a_slow_look_counts_once(
    sqs: CountingSqs, seconds: list[int], groups: int, count: int
) -> None:
    fill(sqs, 20, groups)
    durations = iter(seconds)
    sqs.rule = lambda call: Delay(next(durations)) if call.action == "ReceiveMessage" else Pass()
    found, seen = look(sqs)
    assert len(seen) == len(set(seen)) == found.seen == count
    assert found.complete == (count == 20)


def test_it_ends_early_when_the_one_looked_for_is_found(sqs: CountingSqs) -> None:
    fill(sqs, 25, 25)
    assert len(look(sqs, stop_at="3")[1]) == 10


def test_where_a_look_could_dead_letter_nothing_is_received(sqs: CountingSqs) -> None:
    fill(sqs, 1, 1)
    sqs.policy = '{"maxReceiveCount": 3}'
    found, seen = look(sqs)
    assert (seen, found.complete) == ([], False)
    assert found.failure == "its messages are dead-lettered after 3 receives, and a look is one"
    assert not any(action == "ReceiveMessage" for action, _ in sqs.calls)


def test_a_refusal_is_the_looks_failure(sqs: CountingSqs) -> None:
    fill(sqs, 1, 1)
    sqs.rule = on("ReceiveMessage", do=AnswerWithError("AccessDenied", "no"))
    found, _ = look(sqs)
    assert not found.complete
    assert found.failure.startswith("ReceiveMessage on p.fifo: permission denied (no")


def test_a_failure_midway_gives_back_what_is_hidden(sqs: CountingSqs) -> None:
    fill(sqs, 25, 25)
    sqs.rule = on("ReceiveMessage", nth=2, do=AnswerWithError("InternalError", "no"))
    found, _ = look(sqs)
    assert not found.complete
    assert all(message.visible_at <= sqs.clock() for message in sqs.queues["p.fifo"].messages)


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file grow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Endless(Queue):
    """A queue that has always more; a receipt handle of AWS has some 400 characters."""

    def __init__(self) -> None:
        self.given = 0
        self.released = 0

    long_poll_seconds = 0

    def receive(self, **_: Any) -> list[ReceivedMessage]:
        numbers = range(self.given, self.given + 10)
        self.given += 10
        one = message("m", "g")
        return [ReceivedMessage(replace(one, message_id=f"{n:036}"), f"{n:0600}") for n in numbers]

    def change_visibility(self, handles: Any, *, seconds: int) -> list[Any]:
        self.released += len(handles)
        return []


def test_a_look_needs_no_room_on_disk() -> None:
    queue = Endless()
    with full_disk():
        assert look_through(queue, lambda message: None) == MESSAGES_MAX
    assert queue.released == MESSAGES_MAX
