"""A queue, an API, and functions that Lambda's poller invokes, on a simulated clock."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fifo_cli.handlers.batch_run import BatchWorker
from fifo_cli.handlers.delivery import Attempt, Verdict
from fifo_cli.handlers.runtime import WorkerSettings
from tests.fakes import AwsMeta, Clock, FakeSqs
from tests.faults import MemoryCall, Rule, forward_all, perform
from tests.lambda_poller import Poller
from tests.unit.plain_api import API, URLS

NEEDS = 15.0


class AwsRule(FakeSqs):
    """As AWS does, what is before the first hidden message of a group is given out, too."""

    aws_rule = True


@dataclass
class Call:
    """One call of the API."""

    group: str
    body: int
    began: float
    status: int | None = None


@dataclass
class World:
    """``answer`` says what the API answers to a message (a status) and after how many seconds.

    ``rule`` says what happens to a call of SQS that a function makes.
    """

    settings: WorkerSettings = field(default_factory=WorkerSettings)
    service: type[FakeSqs] = AwsRule
    max_functions: int = 2
    timeout: float = 60
    choose: Callable[[int], int] = lambda count: 0
    delay: Callable[[], float] = lambda: 0.0
    answer: Callable[[str, int], tuple[int, float]] = lambda group, body: (200, 0.2)
    rule: Rule = forward_all
    api_kills: Callable[[], bool] = lambda: False

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.sqs = self.service(self.clock, "main", "dlq")
        self.random = random.Random(1)
        self.log: list[tuple[str, dict[str, Any]]] = []
        self.calls: list[Call] = []
        self.sent: dict[str, list[int]] = defaultdict(list)
        self.settled: dict[str, list[int]] = defaultdict(list)  # what the API took, or will never take
        self.violations: list[str] = []  # of what must never be
        self.workers: list[BatchWorker] = []
        self.busy: dict[str, Call] = {}
        self._number = 0
        self.poller = Poller(
            self.sqs,
            "main",
            self.clock,
            self._start,
            max_functions=self.max_functions,
            timeout=self.timeout,
            choose=self.choose,
            delay=self.delay,
        )

    def put(self, *groups: str) -> None:
        """Send a message to each of these groups, in this order; the body is its number."""
        for group in groups:
            self._number += 1
            self.sent[group].append(self._number)
            self.sqs.send_message(
                QueueUrl="main",
                MessageBody=json.dumps(self._number),
                MessageGroupId=group,
                MessageDeduplicationId=f"put-{self._number}",
                MessageAttributes={"event_id": {"DataType": "String", "StringValue": f"e{self._number}"}},
            )
        self.poller.wake()

    def run(self, until: Callable[[], bool] | None = None, *, seconds: float = float("inf")) -> None:
        """Let the poller work until main is empty, or for so long."""
        self.poller.run(until or (lambda: not self.sqs.queues["main"].messages), seconds=seconds)

    def journal(self, level: str, message: str, **facts: Any) -> None:
        if not self.poller.has_killed:
            self.log.append((message, {"level": level, **facts}))

    def lines(self, word: str) -> list[dict[str, Any]]:
        return [facts for message, facts in self.log if message == word]

    def bodies(self, queue: str = "main") -> list[int]:
        return [json.loads(body) for body in self.sqs.bodies(queue)]

    def waits(self) -> dict[int, float]:
        """For how many seconds each message in main is still hidden."""
        now = self.clock()
        return {json.loads(m.body): max(0.0, m.visible_at - now) for m in self.sqs.queues["main"].messages}

    def actions(self) -> list[str]:
        return [action for action, _ in self.sqs.calls]

    def _start(self) -> Callable[[Mapping[str, Any], Any], Any]:
        """What worker.handler does, for one execution environment."""
        worker = BatchWorker(
            FunctionSqs(self),  # type: ignore[arg-type]
            URLS,
            Deliveries(self),  # type: ignore[arg-type]
            self.settings,
            needs=NEEDS,
            journal=self.journal,
            clock=self.clock,
            sleep=self.poller.pause,
            chance=self.random.random,
        )
        self.workers.append(worker)

        def handler(event: Mapping[str, Any], context: Any) -> Any:
            report, left = worker.deliver(
                event["Records"], lambda: context.get_remaining_time_in_millis() / 1000
            )
            if report.error is not None:
                raise report.error
            return {"batchItemFailures": [{"itemIdentifier": one} for one in left]}

        return handler


class FunctionSqs:
    """The SQS client of a function: its calls take time, may fail, and may be its last."""

    meta = AwsMeta()

    def __init__(self, world: World) -> None:
        self._world = world

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(**request: Any) -> Any:
            world = self._world
            poller = world.poller
            poller.pause(0.01)

            def effect(**request: Any) -> Any:
                answer = getattr(world.sqs, name)(**request)
                hidden = [entry["VisibilityTimeout"] for entry in request.get("Entries", [])]
                poller.wake(min(hidden, default=0))
                return answer

            made = MemoryCall.of(name, request)
            return perform(world.rule(made), made, effect, sleep=poller.pause, kill=poller.kill)

        return call


class Deliveries:
    """In the place of ApiDelivery: notes each call, and two of a group at a time, or one too early."""

    calls = 1
    keys_too_short = ()

    def __init__(self, world: World) -> None:
        self._world = world

    def redact(self, text: str) -> str:
        return text

    def attempt(self, message: Any, *, time_left: Any, on_doubt: Any, on_repeat: Any) -> Attempt:
        world, group, body = self._world, message.group, json.loads(message.body)
        assert message.attribute("event_id") == f"e{body}"
        call = Call(group, body, world.clock())
        if group in world.busy:
            world.violations.append(f"{body} of {group} beside {world.busy[group].body}")
        if early := {one for one in world.sent[group] if one < body} - set(world.settled[group]):
            world.violations.append(f"{body} of {group} before {early}")
        world.calls.append(call)
        world.busy[group] = call
        try:
            status, seconds = world.answer(group, body)
            world.poller.pause(min(seconds, API.timeout))
            if world.api_kills():
                world.poller.kill()
        finally:
            del world.busy[group]
        if seconds >= API.timeout:
            return Attempt(
                Verdict.TRANSIENT, None, "no answer", api=API, owner="api", error_type="ReadTimeout"
            )
        call.status = status
        if status == 200:
            world.settled[group].append(body)
            return Attempt(Verdict.SUCCESS, status, api=API)
        if status == 422:
            world.settled[group].append(body)
            return Attempt(Verdict.PERMANENT, status, "HTTP 422", api=API, owner="message")
        return Attempt(Verdict.TRANSIENT, status, f"HTTP {status}", api=API, owner="api")


def good_deliveries(
    stuck: int, *, seconds: float, functions: int = 10, each: int = 3, **settings: Any
) -> int:
    """Deliver for ten minutes; return how many messages of 40 groups with a backlog got through.

    ``stuck`` groups are in front of them, with so many messages ``each``, whose heads fail after so many
    seconds (over 10: no answer).
    """
    bad = {f"stuck{number}" for number in range(stuck)}
    chance = random.Random(stuck)
    world = World(
        settings=WorkerSettings(**settings), max_functions=functions, choose=chance.randrange, timeout=60
    )
    world.answer = lambda group, body: (503, seconds) if group in bad else (200, 1.0)
    world.put(*(group for group in sorted(bad) for _ in range(each)))
    good = [f"good{number}" for number in range(40)]
    end = world.clock() + 600

    def refilled() -> bool:
        if len(world.sqs.queues["main"].messages) < each * stuck + 200:
            world.put(*(group for group in good for _ in range(10)))
        return world.clock() >= end

    world.run(refilled, seconds=600)
    assert world.violations == []
    return sum(call.status == 200 for call in world.calls)
