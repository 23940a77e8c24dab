"""Runs over any history: every answer, calls that fail or whose answers are lost, kills, late deletes.

What must be true is true of what the API and the queues see, whatever the runs say of themselves.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from fifo_cli.handlers.api_keys import Keys
from fifo_cli.handlers.breaker import Breaker
from fifo_cli.handlers.delivery import ApiDelivery
from fifo_cli.handlers.run_report import Report
from fifo_cli.handlers.worker_run import Limits, Run
from tests.fakes import Clock, FakeSqs, silent_journal
from tests.faults import Action, AnswerWithError, Call, Delay, DropAnswer, Kill, Pass
from tests.unit.plain_api import API, URLS, no_breaker

# The longest that a message may take; the API answers within it. A run hides what it holds for 50 s.
NEEDS = 15
SUSPENDED = 400.0


class KilledError(Exception):
    """The process is killed: nothing that it does has an effect any more."""


class FaultySqs(FakeSqs):
    """Calls fail as drawn; one that is made by a killed process has no effect."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock, "main", "dlq")
        self.faults: Iterator[Action] = iter(())
        self.killed = False
        self.calling: Callable[[], bool] = lambda: False
        self.rule = self._next_fault

    def kill(self) -> None:
        self.killed = True
        raise KilledError

    def _next_fault(self, call: Call) -> Action:
        fault = Kill() if self.killed else next(self.faults, Pass())
        # Not suspended in the middle of a call to the API: none takes longer than its timeout.
        return Pass() if isinstance(fault, Delay) and self.calling() else fault


FAULTS = (
    *[Pass()] * 6,
    AnswerWithError("InternalError", "not now"),
    DropAnswer(),
    Kill(),
    Kill(after=True),
    Delay(SUSPENDED),
    Delay(SUSPENDED, after=True),
)
ANSWERS = (200, 200, 200, 503, 422, 401, 0)


@dataclass
class History:
    """A queue, an API that follows a plan, and what they saw."""

    clock: Clock = field(default_factory=Clock)
    answers: Iterator[int] = field(default_factory=lambda: iter(()))
    second_run_at: int = -1
    breaker: Breaker = field(default_factory=no_breaker)
    busy: set[str] = field(default_factory=set)
    attempts: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    accepted: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    calls: int = 0

    def __post_init__(self) -> None:
        self.sqs: Any = FaultySqs(self.clock)
        self.sqs.calling = lambda: bool(self.busy)

    def put(self, groups: list[str]) -> None:
        for number, group in enumerate(groups):
            body = json.dumps(f"{group}{number}")
            self.sqs.send_message(
                QueueUrl="main",
                MessageBody=body,
                MessageGroupId=group,
                MessageDeduplicationId=f"put-{number}",
            )

    def run(self, *, concurrency: int = 1, count: int | None = None, seconds: float = 10_000) -> Report:
        delivery = ApiDelivery((API,), Keys(None, {}), transport=httpx.MockTransport(self._answer))
        end = self.clock() + seconds
        limits = Limits(
            count=count,
            needs=NEEDS,
            concurrency=concurrency,
            time_left=lambda: end - self.clock(),
            patience=30,
        )
        made = Run(
            self.sqs,
            URLS,
            delivery,
            limits,
            journal=silent_journal,
            breaker=self.breaker,
            clock=self.clock,
            sleep=self.clock.sleep,
        )
        try:
            return made.perform()
        finally:
            delivery.close()

    def _answer(self, request: httpx.Request) -> httpx.Response:
        name = json.loads(request.content)
        with self.sqs.lock:
            if self.sqs.killed:
                raise httpx.ConnectError("the process is killed")
            if name[0] in self.busy:
                self.wrong.append(f"two deliveries of {name[0]} at a time")
            self.busy.add(name[0])
            self.attempts[name[0]].append(int(name[1:]))
            self.calls += 1
            second = self.calls == self.second_run_at
            status = next(self.answers, 200)
        self.clock.sleep(1)
        if second:
            self.run(seconds=NEEDS + 5)  # by accident, beside this one, and no longer than a call takes
        with self.sqs.lock:
            self.busy.discard(name[0])
            if status == 200:
                self.accepted.add(name)
            if status == 422:
                self.refused.add(name)
        if status == 0:
            raise httpx.ReadError("cut")
        return httpx.Response(status, headers={"Retry-After": "2"} if status == 503 else {})

    def parked(self) -> set[str]:
        return {json.loads(body) for body in self.sqs.bodies("dlq")}


@settings(deadline=None, max_examples=300)
@given(data=st.data(), concurrency=st.integers(1, 4))
def test_whatever_happens_order_holds_and_nothing_is_lost_or_parked_without_a_reason(data, concurrency):
    history = History(second_run_at=data.draw(st.integers(-1, 8)))
    groups = data.draw(st.lists(st.sampled_from("abcde"), min_size=1, max_size=25))
    history.put(groups)
    history.breaker = Breaker(data.draw(st.integers(0, 3)), first=10, longest=60, clock=history.clock)
    for _ in range(data.draw(st.integers(1, 4))):
        history.sqs.killed = False
        history.sqs.faults = iter(data.draw(st.lists(st.sampled_from(FAULTS), max_size=15)))
        history.answers = iter(data.draw(st.lists(st.sampled_from(ANSWERS), max_size=15)))
        count = data.draw(st.one_of(st.none(), st.integers(1, 10)))
        history.run(
            concurrency=concurrency, count=count, seconds=data.draw(st.sampled_from([40.0, 10_000.0]))
        )
        history.clock.sleep(data.draw(st.sampled_from([1.0, 55.0, 1000.0])))

    history.sqs.killed, history.sqs.faults, history.answers = False, iter(()), iter(())
    for _ in range(3):
        history.clock.sleep(1000)
        report = history.run(concurrency=concurrency)
        assert report.error is None

    assert not history.wrong
    for group, numbers in history.attempts.items():
        assert numbers == sorted(numbers), f"{group} was called out of order"
    names = {f"{group}{number}" for number, group in enumerate(groups)}
    assert history.accepted | history.parked() == names
    assert history.parked() <= history.refused, "only what is permanent is parked"
    assert history.sqs.bodies("main") == []


@settings(deadline=None, max_examples=100)
@given(data=st.data(), concurrency=st.integers(1, 4))
def test_after_a_run_that_could_reach_sqs_nothing_stays_hidden(data, concurrency):
    history = History()
    history.put(data.draw(st.lists(st.sampled_from("abcde"), min_size=1, max_size=25)))
    history.breaker = Breaker(data.draw(st.integers(0, 3)), first=10, longest=60, clock=history.clock)
    for _ in range(3):
        history.answers = iter(data.draw(st.lists(st.sampled_from(ANSWERS), max_size=20)))
        count = data.draw(st.one_of(st.none(), st.integers(1, 10)))
        history.run(
            concurrency=concurrency, count=count, seconds=data.draw(st.sampled_from([40.0, 10_000.0]))
        )
        assert all(one.visible_at <= history.clock() for one in history.sqs.queues["main"].messages)
