"""A source and a target of the moving engine in memory, with weather, for its unit tests.

As a service does, they do one thing at a time, however many threads call them.
"""

from __future__ import annotations

import functools
import itertools
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar, cast

from botocore.exceptions import ConnectionClosedError, EndpointConnectionError

from fifo_cli.errors import AwsError
from fifo_cli.model.message import Message, ReceivedMessage
from fifo_cli.operations.transfer.interfaces import Rejection
from tests.fakes import Clock
from tests.faults import Action, Delay, Drop, DropAnswer, MemoryCall, Pass, perform

DEDUP_SECONDS = 300.0
HIDDEN_SECONDS = 30.0

_Answer = TypeVar("_Answer")
_Call = TypeVar("_Call", bound=Callable[..., Any])


def message(message_id: str, group: str = "g", body: str = "") -> Message:
    """Make a message; its id is its body if none is given."""
    return Message(
        message_id=message_id,
        group=group,
        dedup_id=f"d-{message_id}",
        sequence_number="",
        queue="dlq",
        sent_at=datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
        first_received_at=None,
        receives=1,
        body=body or message_id,
        attributes={},
    )


@dataclass
class FaultModel:
    """How often, of one, a call or its answer is lost or refuses an entry, and how slow it is.

    ``around`` does a call with what is drawn of that.
    """

    lost_requests: float = 0.0
    lost_answers: float = 0.0
    refusals: float = 0.0
    slowest: float = 0.0
    dice: random.Random = field(default_factory=lambda: random.Random(0))
    clock: Clock = field(default_factory=Clock)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def around(self, effect: Callable[[], _Answer]) -> _Answer:
        answer: _Answer
        try:
            call = MemoryCall("any", {})
            answer = perform(self._drawn(), call, effect, sleep=self.clock.sleep, kill=_never)
        except EndpointConnectionError as error:
            raise AwsError("the request was lost") from error
        except ConnectionClosedError as error:
            raise AwsError("the answer was lost") from error
        return answer

    def _drawn(self) -> Action:
        then: Action = DropAnswer() if self.dice.random() < self.lost_answers else Pass()
        if self.dice.random() < self.lost_requests:
            then = Drop()
        return Delay(self.dice.random() * self.slowest, then)

    def refused(self, received: ReceivedMessage) -> Rejection | None:
        return Rejection(received, "InternalError") if self.dice.random() < self.refusals else None


def _never() -> None:
    raise AssertionError("the engine's process is not killed here")


def _alone(call: _Call) -> _Call:
    @functools.wraps(call)
    def alone(self: Any, *given: Any, **named: Any) -> Any:
        with self.faults.lock:
            return call(self, *given, **named)

    return cast("_Call", alone)


class Line:
    """A FIFO queue as a source: ten of a group at most, hidden for a time, receipt_handles that run out."""

    def __init__(self, messages: Sequence[Message], faults: FaultModel) -> None:
        self.messages = list(messages)
        self.faults = faults
        self.given_back: list[str] = []
        self.extended: list[tuple[str, float]] = []
        self.most_hidden = 0
        self.deletes = 0
        self.hidden_seconds = HIDDEN_SECONDS
        self._hidden: dict[str, tuple[str, float]] = {}  # message id: receipt_handle, until
        self._lost: set[str] = set()
        self._numbers = itertools.count()

    @_alone
    def receive(self, count: int, *, wait: bool) -> list[ReceivedMessage]:
        received = self.faults.around(partial(self._receive, count, wait))
        self._lost -= {one.message.message_id for one in received}
        return received

    def _receive(self, count: int, wait: bool) -> list[ReceivedMessage]:
        if wait and not self._available(count):
            self.faults.clock.sleep(1)
        received = []
        for one in self._available(count):
            receipt_handle = f"{one.message_id}#{next(self._numbers)}"
            self._hidden[one.message_id] = (receipt_handle, self.faults.clock() + self.hidden_seconds)
            received.append(ReceivedMessage(one, receipt_handle))
        self._lost |= {one.message.message_id for one in received}
        self.most_hidden = max(self.most_hidden, len(self._hidden))
        return received

    @_alone
    def exhausted(self) -> bool:
        self._expire()
        return not self._available(1) and not self._lost & self._hidden.keys()

    @_alone
    def extend_visibility(self, received: Sequence[ReceivedMessage], *, seconds: float) -> list[Rejection]:
        return self.faults.around(partial(self._extend, received, seconds))

    def _extend(self, received: Sequence[ReceivedMessage], seconds: float) -> list[Rejection]:
        lost = [Rejection(one, "expired", retry=False) for one in received if not self._is_ours(one)]
        for one in received:
            if self._is_ours(one):
                self._hidden[one.message.message_id] = (one.receipt_handle, self.faults.clock() + seconds)
                self.extended.append((one.message.message_id, seconds))
        return lost

    @_alone
    def delete(self, received: Sequence[ReceivedMessage]) -> list[Rejection]:
        self.deletes += 1
        return self.faults.around(partial(self._delete, received))

    def _delete(self, received: Sequence[ReceivedMessage]) -> list[Rejection]:
        refusals = []
        for one in received:
            if not self._is_ours(one):
                refusals.append(Rejection(one, "ReceiptHandleIsInvalid", retry=False))
            elif refusal := self.faults.refused(one):
                refusals.append(refusal)
            else:
                self.messages.remove(one.message)
                del self._hidden[one.message.message_id]
        return refusals

    @_alone
    def release(self, received: Sequence[ReceivedMessage]) -> None:
        self.given_back += [one.message.message_id for one in received]
        for one in received:
            if self._is_ours(one):
                del self._hidden[one.message.message_id]

    def _available(self, count: int) -> list[Message]:
        self._expire()
        locked = {one.group for one in self.messages if one.message_id in self._hidden}
        return list(itertools.islice((one for one in self.messages if one.group not in locked), count))

    def _expire(self) -> None:
        now = self.faults.clock()
        self._hidden = {one: hidden for one, hidden in self._hidden.items() if hidden[1] > now}

    def _is_ours(self, received: ReceivedMessage) -> bool:
        self._expire()
        return self._hidden.get(received.message.message_id, ("", 0.0))[0] == received.receipt_handle


class Arrivals:
    """A FIFO queue as a target: it suppresses what it has seen within five minutes, and notes each call."""

    def __init__(self, faults: FaultModel, *, strict: bool = True, bytes_max: int = 1_000_000) -> None:
        self.faults = faults
        self.strict = strict
        self.bytes_max = bytes_max
        self.batch_max = 10
        self.bodies: list[tuple[str, str]] = []  # group, body
        self.doubles: list[str] = []  # second copies, which SQS takes after five minutes
        self.calls: list[list[str]] = []
        self.sent_at: list[float] = []
        self.refuse: Callable[[ReceivedMessage], Rejection | None] = faults.refused
        self._seen: dict[str, float] = {}

    def size(self, message: Message) -> int:
        return len(message.body)

    @_alone
    def send(self, received: Sequence[ReceivedMessage]) -> list[Rejection]:
        groups = [one.message.group for one in received]
        assert not self.strict or len(set(groups)) == len(groups), "two of a group in one call"
        assert len(received) <= self.batch_max
        assert len(received) == 1 or sum(len(one.message.body) for one in received) <= self.bytes_max
        self.calls.append([one.message.message_id for one in received])
        self.sent_at.append(self.faults.clock())
        return self.faults.around(partial(self._send, received))

    def _send(self, received: Sequence[ReceivedMessage]) -> list[Rejection]:
        refusals = []
        for one in received:
            if refusal := self.refuse(one):
                refusals.append(refusal)
            else:
                self._accept(one.message)
        return refusals

    def of(self, group: str) -> list[str]:
        return [body for name, body in self.bodies if name == group]

    def _accept(self, message: Message) -> None:
        now = self.faults.clock()
        seen_at = self._seen.get(message.message_id)
        if seen_at is None:
            self.bodies.append((message.group, message.body))
        elif now - seen_at >= DEDUP_SECONDS:
            self.doubles.append(message.message_id)
        else:
            return
        self._seen[message.message_id] = now
