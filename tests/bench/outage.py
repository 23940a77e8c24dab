"""An hour's outage of the API on a simulated clock: what it costs with each trigger, and how it ends.

Beside them a plain consumer of the queue, as it is commonly written: an event source mapping, a redrive
policy of five receives, and a handler that lists what failed and what is behind it of its group. Lambda's
poller (tests/lambda_poller.py) and SQS (tests/fakes.py) are the same doubles for all. Nothing is wrong with
any message: what is in the DLQ at the end stays there until somebody moves it, behind newer messages.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fifo_cli.handlers.batch_run import read_record
from fifo_cli.handlers.breaker import Breaker
from fifo_cli.handlers.delivery import Verdict
from fifo_cli.handlers.runtime import WorkerSettings
from fifo_cli.handlers.worker import breaker_of
from fifo_cli.handlers.worker_run import Limits, Run
from tests.bench.bench import Bench
from tests.bench.report import Budget, Section
from tests.fakes import FakeQueue, Stored
from tests.unit.handlers.queue_world import NEEDS, AwsRule, Deliveries, FunctionSqs, World, good_deliveries
from tests.unit.plain_api import API, URLS

MINUTES = 60
GROUPS = 1_000
_FEW_GROUPS = 50
FUNCTIONS = 10
TIMEOUT = 60.0
MAX_RECEIVES = 5
# Each group has a message that waits when the outage begins, and gets another one every so many minutes.
_PERIOD = 15
_API_SECONDS = 0.2
_DOWN, _UP = (503, _API_SECONDS), (200, _API_SECONDS)
# For so many minutes after the outage it is seen what comes of each group.
_AFTERWARDS = 240
# The pauses are at their longest then, in seconds before the end of the outage.
_LATE = 900
# The row that opens the breaker, the rows of probes until the pauses double, the doubling, and then one call
# in each pause of five minutes (handlers/breaker.py).
_CALLS_MAX = FUNCTIONS * (4 + 35 + 5 + MINUTES // 5)
# Three times the default of messages_per_run.
_STUCK = 30
_SHARE_MIN = 0.5
_STUCK_HEAD = ("functions", "a failure takes s", "delivered alone", "beside stuck groups", "share")
_HEAD = (
    "how",
    "calls of the API",
    "runs or batches",
    "seconds of functions",
    "receives",
    "other requests to SQS",
    "good messages in the DLQ",
    "groups out of order",
    "first delivery after s",
    "longest time without a call s",
    "every group after s",
)


class Pipeline(World):
    """The queue starts the worker; ``seconds`` is how long functions were at work.

    A batch is one receive: looks that bring nothing depend on when the double looks, and are not counted.
    """

    seconds = 0.0

    @property
    def runs(self) -> int:
        return self.poller.invocations

    @property
    def receives(self) -> int:
        return self.poller.invocations

    def work(self) -> None:
        """Go on for a minute."""
        self.run(lambda: False, seconds=60)

    def handler(self) -> Callable[[Mapping[str, Any], Any], Any]:
        """Start an execution environment."""
        return super()._start()

    def _start(self) -> Callable[[Mapping[str, Any], Any], Any]:
        handler = self.handler()

        def timed(event: Mapping[str, Any], context: Any) -> Any:
            began = self.clock()
            answer = handler(event, context)
            self.seconds += self.clock() - began
            return answer

        return timed


class Scheduled(Pipeline):
    """A run begins every minute."""

    messages_per_run = 10
    _runs = 0

    @property
    def runs(self) -> int:
        return self._runs

    @property
    def receives(self) -> int:
        return self.actions().count("ReceiveMessage")

    @cached_property
    def breaker(self) -> Breaker:
        """Lasts as long as the execution environment, over all runs."""
        return breaker_of(self.settings)

    def work(self) -> None:
        self._runs += 1
        began = self.clock()
        limits = Limits(self.messages_per_run, NEEDS, time_left=lambda: began + self.timeout - self.clock())
        report = Run(
            FunctionSqs(self),  # type: ignore[arg-type]
            URLS,
            Deliveries(self),  # type: ignore[arg-type]
            limits,
            journal=self.journal,
            breaker=self.breaker,
            clock=self.clock,
            sleep=self.clock.sleep,
        ).perform()
        assert report.error is None, report.error
        self.seconds += self.clock() - began
        self.clock.now = max(self.clock.now, began + 60)


class RedrivingSqs(AwsRule):
    """A queue with a redrive policy: who receives a message once too often finds it in the DLQ instead."""

    def _take(self, queue: FakeQueue, count: int, now: float, until: float) -> Iterator[Stored]:
        while taken := list(super()._take(queue, count, now, until)):
            for message in taken:
                if message.receives > MAX_RECEIVES:
                    queue.remove(message)
                    self.queues["dlq"].add(message)
            if kept := [message for message in taken if message.receives <= MAX_RECEIVES]:
                yield from kept
                return


class PlainConsumer(Pipeline):
    """A handler as it is commonly written: it calls, and lists what stays."""

    def handler(self) -> Callable[[Mapping[str, Any], Any], Any]:
        delivery = Deliveries(self)

        def deliver(event: Mapping[str, Any], context: Any) -> Any:
            failed_groups: set[str] = set()
            stays = []
            for message in map(read_record, event["Records"]):
                if message.group not in failed_groups:
                    attempt = delivery.attempt(message, time_left=None, on_doubt=None, on_repeat=None)
                    if attempt.verdict is Verdict.SUCCESS:
                        continue
                    failed_groups.add(message.group)
                stays.append(message.message_id)
            return {"batchItemFailures": [{"itemIdentifier": one} for one in stays]}

        return deliver


@dataclass(frozen=True)
class Outage:
    """What an outage cost, and how it ended; times are in seconds after its end."""

    calls: int
    runs: int
    seconds: float
    receives: int
    others: int
    messages: int
    parked: int
    groups: int
    disordered: int
    first: float
    silence: float  # during the end of the outage: had it ended another moment, so long at most
    every: float | None  # None: not within the time that was looked at

    def row(self, how: str) -> tuple[str, ...]:
        return (
            how,
            f"{self.calls:,}",
            f"{self.runs:,}",
            f"{self.seconds:,.0f}",
            f"{self.receives:,}",
            f"{self.others:,}",
            f"{self.parked:,} of {self.messages:,}",
            f"{self.disordered:,} of {self.groups:,}",
            f"{self.first:.0f}",
            f"{self.silence:.0f}",
            "not in four hours" if self.every is None else f"{self.every:,.0f}",
        )


def measure(bench: Bench) -> list[Section]:
    """Let the API be down for an hour, in each way."""
    groups = GROUPS if bench.size.many else _FEW_GROUPS
    ours = {
        "schedule, messages_per_run = 10": scheduled(10),
        "schedule, messages_per_run = 100": scheduled(100),
        "queue, breaker = 5": pipeline(Pipeline),
        "queue, breaker = 0": pipeline(Pipeline, breaker=0),
    }
    found = {how: outage(world, groups) for how, world in ours.items()}
    calls = found["queue, breaker = 5"].calls
    harm = sum(one.parked + one.disordered for one in found.values())
    plain = outage(pipeline(PlainConsumer, service=RedrivingSqs), groups)
    found[f"plain consumer, maxReceiveCount = {MAX_RECEIVES}"] = plain
    what = "an hour's outage"
    budgets = [
        Budget(f"{what}, queue: calls of the API", f"≤ {_CALLS_MAX}", str(calls), calls <= _CALLS_MAX),
        Budget(f"{what}: messages parked, groups out of order", "0", str(harm), harm == 0),
    ]
    note = (
        f"simulated: {groups:,} groups, each with a message that waits and another one every {_PERIOD}"
        f" minutes; the API answers 503 after {_API_SECONDS * 1000:.0f} ms; rate(1 minute);"
        f" max_functions = {FUNCTIONS}; functions of {TIMEOUT:.0f} s, a visibility timeout of six times as"
        " long; looks of Lambda's poller that bring nothing are not counted; the longest time without a call"
        " is of the last 15 minutes of the outage: whenever it ends, the first delivery is so late at most"
    )
    rows = [one.row(how) for how, one in found.items()]
    return [Section("An hour's outage", note, _HEAD, rows, budgets), _stuck_groups(few=not bench.size.many)]


def _stuck_groups(*, few: bool) -> Section:
    """With the queue as trigger: what groups that always fail leave of the rate of the others."""
    rows: list[tuple[str, ...]] = []
    shares: list[float] = []
    for functions in (2,) if few else (2, FUNCTIONS):
        alone = good_deliveries(0, seconds=0, functions=functions)
        for seconds in (_API_SECONDS, API.timeout):
            beside = good_deliveries(_STUCK, seconds=seconds, functions=functions)
            shares.append(beside / alone)
            rows.append((str(functions), f"{seconds:g}", str(alone), str(beside), f"{shares[-1]:.2f}"))
    note = (
        f"simulated: ten minutes, started by the queue; {_STUCK} groups that always fail stand in front, with"
        " three messages each; 40 others have a backlog, and their calls take 1 s; concurrency = 1"
    )
    least = min(shares)
    budget = Budget("stuck groups leave of the rate", f"≥ {_SHARE_MIN}", f"{least:.2f}", least >= _SHARE_MIN)
    return Section("Stuck groups", note, _STUCK_HEAD, rows, [budget])


def pipeline(kind: type[Pipeline], *, service: Any = AwsRule, **settings: Any) -> Pipeline:
    """Make a pipeline that the queue starts."""
    return kind(WorkerSettings("queue", **settings), service, FUNCTIONS, TIMEOUT)


def scheduled(count: int) -> Scheduled:
    """Make one with a run every minute."""
    world = Scheduled(WorkerSettings(), timeout=TIMEOUT)
    world.messages_per_run = count
    return world


def outage(world: Pipeline, groups: int) -> Outage:
    """All calls fail for an hour, while messages come in; then the API is back."""
    names = [f"g{number}" for number in range(groups)]
    world.answer = lambda group, body: _DOWN
    world.put(*names)
    for minute in range(1, MINUTES + 1):
        world.work()
        world.put(*(name for number, name in enumerate(names) if number % _PERIOD == minute % _PERIOD))
    calls, back_at = len(world.calls), world.clock()
    runs, seconds, receives = world.runs, world.seconds, world.receives
    others = sum(action not in ("SendMessage", "ReceiveMessage") for action in world.actions())
    world.answer = lambda group, body: _UP
    for _ in range(_AFTERWARDS):
        if not world.sqs.queues["main"].messages:
            break
        world.work()
    delivered: dict[str, list[int]] = {}
    began: dict[str, float] = {}
    for call in world.calls[calls:]:
        delivered.setdefault(call.group, []).append(call.body)
        began.setdefault(call.group, call.began - back_at)
    late = [call.began for call in world.calls if back_at - _LATE < call.began < back_at]
    return Outage(
        calls=calls,
        runs=runs,
        seconds=seconds,
        receives=receives,
        others=others,
        messages=sum(map(len, world.sent.values())),
        parked=len(world.bodies("dlq")),
        groups=groups,
        disordered=sum(world.sent[group][: len(bodies)] != bodies for group, bodies in delivered.items()),
        first=min(began.values()),
        silence=max(
            after - before for before, after in itertools.pairwise([back_at - _LATE, *late, back_at])
        ),
        every=max(began.values()) if len(began) == groups else None,
    )
