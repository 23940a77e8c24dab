"""Shipping a journal: complete where CloudWatch takes it, and never in the way where it does not."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from fifo_cli.aws.log_streams import Stamped
from fifo_cli.errors import AwsError
from fifo_cli.events import Event, Warned
from fifo_cli.operations import log_shipping
from fifo_cli.operations.log_shipping import LogShipper, stream_name


class Group:
    """A log stream that takes lines as it is asked."""

    group = "/aws/lambda/p-worker"
    lines_max = 5

    def __init__(self, behave: Callable[[], None] = lambda: None) -> None:
        self.batches: list[list[dict[str, Any]]] = []
        self._behave = behave

    def put(self, lines: Sequence[Stamped]) -> None:
        self._behave()
        self.batches.append([{**json.loads(one.text), "at": one.time} for one in lines])


def waiting_for(event: threading.Event) -> Callable[[], None]:
    """Return a behaviour: no answer until the event."""

    def wait() -> None:
        event.wait(60)

    return wait


def shipper(group: Group, events: list[Event], every: float = 0.01) -> LogShipper:
    made: Any = group
    return LogShipper(made, listener=events.append, every=every)


def test_every_line_arrives_in_batches_with_its_own_time() -> None:
    group, events = Group(), list[Event]()
    shipping = shipper(group, events)
    for number in range(12):
        shipping.journal("info", "delivered", number=number, nothing=None)
    shipping.close()
    assert max(map(len, group.batches)) <= 5
    lines = [line for batch in group.batches for line in batch]
    assert [line["number"] for line in lines] == list(range(12))
    assert all("nothing" not in line and line["message"] == "delivered" for line in lines)
    assert all(abs(line["at"] / 1000 - time.time()) < 60 for line in lines)
    assert events == []


def test_the_first_line_goes_at_once_so_that_a_run_that_is_killed_has_begun_in_the_log() -> None:
    arrived = threading.Event()
    shipping = shipper(Group(arrived.set), [], every=60.0)
    shipping.journal("info", "delivered")
    assert arrived.wait(60)
    shipping.close()


def test_lines_of_many_threads_all_arrive() -> None:
    group, events = Group(), list[Event]()
    shipping = shipper(group, events)

    def write() -> None:
        for number in range(50):
            shipping.journal("info", "x", n=number)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shipping.close()
    assert sum(map(len, group.batches)) == 200


def test_a_refusal_is_said_once_and_ends_the_shipping_but_nothing_else() -> None:
    calls: list[int] = []

    def refuse() -> None:
        calls.append(1)
        raise AwsError("CreateLogStream: permission denied")

    events: list[Event] = []
    shipping = shipper(Group(refuse), events)
    for number in range(30):
        shipping.journal("info", "x", n=number)
    shipping.close()
    (warning,) = events
    assert isinstance(warning, Warned)
    assert "did not reach /aws/lambda/p-worker in full" in warning.text
    assert warning.text.endswith("CreateLogStream: permission denied")
    assert len(calls) == 1


def test_whatever_else_goes_wrong_is_reported_too() -> None:
    def fail() -> None:
        raise OSError("no route")

    events: list[Event] = []
    shipping = shipper(Group(fail), events)
    shipping.journal("info", "x")
    shipping.close()
    assert [type(event) for event in events] == [Warned]
    assert "OSError: no route" in str(events[0])


def test_one_that_hangs_is_left_behind(monkeypatch) -> None:
    monkeypatch.setattr(log_shipping, "_LAST_SECONDS", 0.05)
    released = threading.Event()
    events: list[Event] = []
    shipping = shipper(Group(waiting_for(released)), events)
    shipping.journal("info", "x")
    started = time.monotonic()
    shipping.close()
    assert time.monotonic() - started < 30
    assert "did not answer in time" in str(events[0])
    released.set()


def test_what_waits_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(log_shipping, "_WAITING_MAX", 10)
    held = threading.Event()
    group, events = Group(waiting_for(held)), list[Event]()
    shipping = shipper(group, events)
    for number in range(100):
        shipping.journal("info", "x", n=number)
    held.set()
    shipping.close()
    assert sum(map(len, group.batches)) <= 16
    assert "more than 10 waited" in str(events[-1])


def test_without_a_line_nothing_is_made() -> None:
    group, events = Group(), list[Event]()
    shipper(group, events).close()
    assert (group.batches, events) == ([], [])


def test_a_line_too_long_for_cloudwatch_says_so() -> None:
    group, events = Group(), list[Event]()
    shipping = shipper(group, events)
    shipping.journal("error", "failed", reason="ü" * 200_000)
    shipping.close()
    ((line,),) = group.batches
    assert (line["message"], line["reason"]) == ("failed", "this line was too long for CloudWatch Logs")


def test_a_streams_name_is_its_own_and_legal() -> None:
    names = {stream_name("drain") for _ in range(3)}
    assert len(names) == 3
    assert all(re.fullmatch(r"drain/[A-Za-z0-9._-]+/[0-9]+-[0-9T]+", name) for name in names)
