"""redrive beside a plain boto3 loop and a pool of eight threads, the service as it is and with latency."""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from tests.bench.bench import LATENCY, Bench
from tests.bench.field import Field, Taken
from tests.bench.moves import AS_IS, DELAYED, FAST, HEAD, LOOP, OURS, POOL, RUNS, Cell, Mover, race
from tests.bench.relay import Relay, relay
from tests.bench.report import Budget, Section

# sqsmover is a Go program and is not run here; this takes the same calls, one after the other.
BATCHES = "boto3 batches, as sqsmover"


def measure(bench: Bench) -> list[Section]:
    """Race the movers over few and many groups, then over many messages."""
    size = bench.size
    with ExitStack() as services:
        races = Races(bench, services.enter_context(bench.stack()), services)
        cells: list[Cell] = []
        most = size.groups[-1]
        everyone = {OURS: ours(), POOL: peer("move-by-pool"), LOOP: peer("move-by-loop")}
        for messages, groups in itertools.product(size.messages, size.groups):
            # One by one takes long, and takes as long for the first as for the last.
            counts = {**dict.fromkeys(everyone, messages), LOOP: min(200, messages // 5)}
            for delayed in (False, True):
                cells += races.race(everyone, counts, groups, delayed=delayed, runs=size.matrix)
            if groups == 1:
                batched = {FAST: ours("--same-group-batches"), BATCHES: peer("move-by-batches")}
                cells += races.race(
                    batched, dict.fromkeys(batched, messages), 1, delayed=True, runs=size.matrix
                )
        batchers = {OURS: ours(), POOL: peer("move-by-pool")}
        for messages in size.many:
            for delayed in (False, True):
                cells += races.race(
                    batchers, dict.fromkeys(batchers, messages), most, delayed=delayed, runs=size.runs
                )
        ceiling = races.ceiling(1_000)
    note = (
        f"DLQ to main on the embedded stack; {RUNS}. {AS_IS}: straight to the stack. {DELAYED}: through a"
        " relay that counts, and adds as much to every request."
        f" One thread that only sends, ten a call, reaches {ceiling:,.0f} messages/s here"
    )
    return [Section("redrive", note, HEAD, [one.row() for one in cells], _budgets(cells))]


def ours(*options: str) -> Mover:
    """Make a mover of our redrive."""
    return lambda field: field.run("redrive", "--yes", "--engine", "client", "-o", "json", *options)


def peer(what: str) -> Mover:
    """Make a mover of one of the peers."""
    return lambda field: field.peer(what, field.url("dlq"), field.url("main"))


@dataclass
class Races:
    """Where the races are: one embedded stack, and a relay before it."""

    bench: Bench
    endpoint: str
    services: ExitStack

    def __post_init__(self) -> None:
        self.relay: Relay = self.services.enter_context(relay(self.endpoint))
        self.relay.delay(LATENCY)

    def race(
        self,
        movers: dict[str, Mover],
        counts: dict[str, int],
        groups: int,
        *,
        delayed: bool,
        runs: int | None,
    ) -> list[Cell]:
        """Let each move its own number of messages."""
        return race(
            {who: (counts[who], mover) for who, mover in movers.items()},
            partial(Field.create, self.bench.folder, self.endpoint, self.relay if delayed else None),
            lambda field, count: field.fill("dlq", count, groups),
            _all_moved,
            service=DELAYED if delayed else AS_IS,
            groups=groups,
            runs=runs,
        )

    def ceiling(self, messages: int) -> float:
        """Return the messages a second that one thread can send."""
        field = Field.create(self.bench.folder, self.endpoint, None)
        taken: Taken = field.peer("send-raw", field.url("main"), str(messages))
        return messages / taken.sample.seconds


def _all_moved(field: Field, count: int) -> None:
    found = (field.count("dlq"), field.count("main"))
    assert found == (0, count), f"{found} in DLQ and main, of {count}"


def _budgets(cells: list[Cell]) -> list[Budget]:
    if max(one.messages for one in cells) < 1_000:
        return []  # a short run measures start-up
    by = {(one.who, one.service, one.groups, one.messages): one for one in cells}
    most = max(one.groups for one in cells)
    # In a short run, starting up and the marker's pause weigh more than the moving.
    longest = min(5_000, max(one.messages for one in cells))
    found: list[Budget] = []
    for (who, service, groups, messages), one in by.items():
        if who != OURS:
            continue
        if service == DELAYED and groups >= 100:
            what = f"redrive, {messages:,} messages over {groups} groups: SQS requests a message"
            found.append(_least(what, 0.35, one.sqs_requests_each))
        if service == DELAYED and groups == 1:
            what = f"redrive, {messages:,} messages of one group: SQS requests a message"
            found.append(_least(what, 1.25, one.sqs_requests_each))
        pool = by.get((POOL, service, groups, messages))
        if pool is not None and groups == most and messages == longest:
            what = f"redrive, {messages:,} messages over {groups} groups, {service}"
            found.append(_most(f"{what}, beside {POOL}", 1.0, one.beside(pool)))
        if service == AS_IS and groups == most and messages == longest:
            found.append(_least(f"redrive, {messages:,} messages: ms of CPU a message", 0.9, one.cpu_ms))
    for one in cells:
        if one.who == BATCHES and one.ratio is not None:
            what = f"redrive, {one.messages:,} messages of one group, --same-group-batches, {DELAYED}"
            found.append(_most(f"{what}, beside {BATCHES}", 1.0, one.ratio))
    return found


def _least(what: str, allowed: float, found: float) -> Budget:
    return Budget(what, f"≤ {allowed:g}", f"{found:.2f}", found <= allowed)


def _most(what: str, allowed: float, found: float) -> Budget:
    return Budget(what, f"≥ {allowed:g} x", f"{found:.2f} x", found >= allowed)
