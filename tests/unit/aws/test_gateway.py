"""How AWS is waited for."""

from __future__ import annotations

import pytest

from fifo_cli.aws.resources.gateway import LONGEST_PAUSE, Pending, Waiter, tag_list, tag_map
from fifo_cli.errors import AwsError
from fifo_cli.events import Event, Waiting


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def test_waiting_is_announced_once_a_reason_with_pauses_that_grow_to_a_limit() -> None:
    clock, events = Clock(), list[Event]()
    answers = iter([*[Pending("creating")] * 7, Pending("starting"), "ready"])
    waiter = Waiter(events.append, clock.sleep, clock)
    assert waiter.until(lambda: next(answers), name="orders", limit=60) == "ready"
    assert events == [Waiting("orders", "creating"), Waiting("orders", "starting")]
    assert clock.pauses == [0.25, 0.5, 1, 2, 4, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]


def test_waiting_ends_within_its_bound_and_says_what_for() -> None:
    clock = Clock()
    with pytest.raises(AwsError) as failed:
        Waiter(sleep=clock.sleep, clock=clock).until(lambda: Pending("creating"), name="orders", limit=10)
    assert failed.value.message == "orders: still creating after 8 s"
    assert "run the command again" in failed.value.hint
    assert clock.now <= 10


def test_no_time_passes_when_the_first_answer_is_final() -> None:
    clock, events = Clock(), list[Event]()
    assert Waiter(events.append, clock.sleep, clock).until(lambda: None, name="orders", limit=0) is None
    assert (clock.pauses, events) == ([], [])


def test_tags_go_to_aws_as_a_list_and_come_back_as_a_mapping() -> None:
    assert tag_list({"a": "b"}) == [{"Key": "a", "Value": "b"}]
    assert tag_map(tag_list({"a": "b", "c": ""})) == {"a": "b", "c": ""}
    assert tag_map(None) == {}
