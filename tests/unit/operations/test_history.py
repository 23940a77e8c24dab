"""Writing the history: in order, whole, and never in the way of the command."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from fifo_cli.aws.interruptible_calls import GivenUpError
from fifo_cli.aws.logs import LogEvent
from fifo_cli.errors import NotDeployedError
from fifo_cli.events import Event, Warned
from fifo_cli.interrupts import AWS_CALLS
from fifo_cli.model.history_events import (
    EVERYTHING_TEXT,
    OPERATION_TEXT,
    Move,
    MovedMessage,
    operations_of,
    parse,
)
from fifo_cli.model.names import Names
from fifo_cli.model.settings import Settings
from fifo_cli.operations import history as module
from fifo_cli.operations.history import History, Invocation, read_events

SETTINGS = Settings.model_validate(
    {
        "pipeline": {"name": "orders"},
        "table": {"name": "orders"},
        "schedule": {"expressions": ["rate(5 minutes)"]},
        "api": ({"url": "https://api.example.com"},),
    }
)
WHO = "arn:aws:iam::123456789012:user/alice"


class Logs:
    """As much of CloudWatch Logs as is written to; ``fault`` is its answer, ``gate`` when it answers."""

    def __init__(self, fault: str = "", gate: threading.Event | None = None) -> None:
        self.lines: list[str] = []
        self.calls = 0
        self._fault, self._gate = fault, gate

    def create_log_stream(self, **_: Any) -> None:
        self.calls += 1
        if self._gate is not None:
            self._gate.wait(60)
        if self._fault:
            raise ClientError({"Error": {"Code": self._fault, "Message": "no"}}, "CreateLogStream")

    def put_log_events(self, *, logEvents: Any, **_: Any) -> dict[str, Any]:
        self.calls += 1
        self.lines += [one["message"] for one in logEvents]
        return {}


class FakeAws:
    """An account whose caller is alice; ``ahead`` is how far AWS's clock is."""

    def __init__(self, logs: Logs, ahead: timedelta = timedelta()) -> None:
        self.logs, self.caller, self.clock_ahead = logs, WHO, ahead
        self.change: Callable[[], None] = lambda: None

    def before_changes(self, wait: Callable[[], None]) -> None:
        self.change = wait

    def client(self, service: str, **_: Any) -> Any:
        return self.logs


def history(logs: Logs, events: list[Event], command: str = "fifo-cli park", **more: Any) -> History:
    aws: Any = FakeAws(logs, **more)
    return History(aws, SETTINGS, Invocation("park", command, "because"), listener=events.append)


def read(logs: Logs) -> Any:
    found = [parse(line, logged=datetime.now(UTC)) for line in logs.lines]
    assert None not in found
    return operations_of(one for one in found if one)


def move(*ids: str) -> Move:
    return Move("parked", "main", "dlq", tuple(MovedMessage(one) for one in ids))


def test_nothing_is_written_before_it_begins() -> None:
    logs = Logs()
    history(logs, []).end(0)
    assert logs.calls == 0


def test_a_beginning_moves_and_an_end_are_one_operation() -> None:
    logs, events = Logs(), list[Event]()
    made = history(logs, events)
    made.begin()
    made.begin()
    made.note(move("1", "2"))
    made.end(1, counts={"parked": 2}, error="look")
    made.end(0)
    (one,) = read(logs)
    assert (one.who, one.result, one.counts, one.messages, one.error) == (
        WHO,
        "attention",
        {"parked": 2},
        2,
        "look",
    )
    assert (one.reason, one.command) == ("because", "fifo-cli park")
    assert events == []


def test_what_is_noted_is_written_when_note_returns() -> None:
    logs = Logs()
    made = history(logs, [])
    made.note(move("1"))
    assert any('"message_id": "1"' in line for line in logs.lines)


def test_notes_of_many_threads_all_arrive() -> None:
    logs = Logs()
    made = history(logs, [])
    threads = [threading.Thread(target=made.note, args=(move(f"{n}-1", f"{n}-2"),)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made.end(0)
    (one,) = read(logs)
    assert one.messages == 40


@pytest.mark.parametrize(
    "code", ["AccessDeniedException", "ThrottlingException", "ServiceUnavailableException"]
)
def test_a_log_that_refuses_is_said_once_and_not_asked_again(code: str) -> None:
    logs, events = Logs(code), list[Event]()
    made = history(logs, events)
    made.begin()
    for _ in range(3):
        made.note(move("1"))
    made.end(0)
    assert logs.calls == 1
    assert [type(one) for one in events] == [Warned]
    assert "the history of orders has not all of this" in str(events[0])


def test_a_log_that_does_not_answer_is_not_waited_for_after_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, events = threading.Event(), list[Event]()
    monkeypatch.setattr(module, "_NOTE_SECONDS", 0.1)
    monkeypatch.setattr(module, "_HURRIED_SECONDS", 0.05)
    made = history(Logs(gate=gate), events)
    made.begin()
    made.note(move("1"))
    assert "did not answer" in str(events[0])
    AWS_CALLS._hurried.set()
    try:
        made.end(130)
    finally:
        AWS_CALLS._hurried.clear()
    assert len(events) == 1
    gate.set()


@pytest.mark.parametrize(("ahead", "moved"), [(3600, True), (-3600, True), (1, False)])
def test_times_are_those_of_aws(ahead: int, moved: bool) -> None:
    logs = Logs()
    made = history(logs, [], ahead=timedelta(seconds=ahead))
    made.begin()
    made.end(0)
    (one,) = read(logs)
    off = (one.time - datetime.now(UTC)).total_seconds()
    assert abs(off - (ahead if moved else 0)) < 60


@pytest.mark.parametrize(
    ("command", "hidden"),
    [
        ("fifo-cli park --reason wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY", "wJalrXUtnFEMI"),
        ("fifo-cli drain --proxy http://me:secret-word@proxy", "secret-word"),
    ],
)
def test_what_may_be_a_secret_is_not_written(
    command: str, hidden: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY")
    logs = Logs()
    made = history(logs, [], command)
    made.begin()
    made.end(3, error=f"failed: {command}")
    assert logs.lines
    assert not any(hidden in line for line in logs.lines)


def test_the_first_change_waits_until_the_beginning_is_written() -> None:
    gate, order = threading.Event(), list[str]()
    logs = Logs(gate=gate)
    aws: Any = FakeAws(logs)
    made = History(aws, SETTINGS, Invocation("park", "fifo-cli park"))
    aws.change()  # before it begins nothing is waited for
    made.begin()

    def change() -> None:
        aws.change()
        order.extend(["changed", *logs.lines])

    changing = threading.Thread(target=change)
    changing.start()
    changing.join(0.1)
    assert order == []
    gate.set()
    changing.join(10)
    assert order[0] == "changed"
    assert '"message": "begun"' in order[1]


def test_after_a_signal_no_first_change_is_made_that_would_not_be_on_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate, events = threading.Event(), list[Event]()
    monkeypatch.setattr(module, "_HURRIED_SECONDS", 0.05)
    aws: Any = FakeAws(Logs(gate=gate))
    made = History(aws, SETTINGS, Invocation("park", "fifo-cli park"), listener=events.append)
    made.begin()
    AWS_CALLS._hurried.set()
    try:
        for _ in range(2):
            with pytest.raises(GivenUpError):
                aws.change()
    finally:
        AWS_CALLS._hurried.clear()
    gate.set()
    assert events == []


def test_a_change_does_not_wait_for_a_log_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, events = threading.Event(), list[Event]()
    monkeypatch.setattr(module, "_NOTE_SECONDS", 0.05)
    monkeypatch.setattr(module, "_END_SECONDS", 60.0)
    began = time.monotonic()
    aws: Any = FakeAws(Logs(gate=gate))
    made = History(aws, SETTINGS, Invocation("park", "fifo-cli park"), listener=events.append)
    made.begin()
    for _ in range(3):
        aws.change()
    made.end(0)
    assert time.monotonic() - began < 30
    gate.set()
    assert len(events) == 1
    assert "did not answer" in str(events[0])


@pytest.mark.parametrize(
    ("operation", "env", "warned"),
    [
        ("put", "stage", True),
        ("put", "", False),
        ("keys set", "stage", False),
        ("pause", "stage", False),
    ],
)
def test_put_into_an_environment_that_is_not_deployed_warns_before_its_first_item(
    operation: str, env: str, warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(self: History) -> None:
        raise NotDeployedError("queue orders.fifo does not exist")

    monkeypatch.setattr(History, "_make_group", missing)
    events = list[Event]()
    aws: Any = FakeAws(Logs(fault="ResourceNotFoundException"))
    typed = Invocation(operation, f"fifo-cli {operation}", env=env)
    made = History(aws, SETTINGS, typed, listener=events.append)
    made.begin()
    aws.change()
    before = [str(event) for event in events]
    made.end(0)

    assert [f"{SETTINGS.pipeline.name} (--env stage) is not deployed here" in one for one in before] == [
        True
    ] * warned
    assert len(events) == len(before)


def test_the_history_is_read_as_it_comes_without_what_stayed(monkeypatch: pytest.MonkeyPatch) -> None:
    logs, taken, asked = Logs(), list[int](), list[tuple[str, str]]()
    made = history(logs, [])
    for n in range(5):
        made.note(move(f"{n}-a", f"{n}-b"))
    made.note(Move("stayed", "main", "dlq", (MovedMessage("3-b"),)))
    made.end(0)

    def events(*_: Any, text: str, word: str, **more: Any) -> Iterator[LogEvent]:
        asked.append((text, word))
        for n, line in enumerate(logs.lines):
            if (word or text) in line:
                taken.append(n)
                yield LogEvent(str(n), n, line)

    monkeypatch.setattr(module, "get_log_events", events)
    aws: Any = FakeAws(logs)

    def found(text: str = "") -> Iterator[str]:
        for event in read_events(aws, Names("orders"), since=datetime.now(UTC), text=text):
            yield " ".join(one.message_id for one in event.move.messages) if event.move else ""

    reading = found()
    first = [next(reading), next(reading)]
    # All of a long history is never in memory.
    assert len(taken) == 3
    assert [*first, *reading] == ["", "0-a 0-b", "1-a 1-b", "2-a 2-b", "3-a", "4-a 4-b", ""]
    assert list(found('"3-a"')) == ["3-a"]
    asked.clear()
    assert list(found(OPERATION_TEXT)) == ["", ""]
    assert list(found(EVERYTHING_TEXT)) == []
    assert asked == [(OPERATION_TEXT, ""), (EVERYTHING_TEXT, "")]
