"""The worker with one group at a time and with many, for both triggers: an API of 200 ms, a warm function."""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench.bench import Bench
from tests.bench.field import Field
from tests.bench.functions import invoked, unpacked
from tests.bench.report import Budget, Section
from tests.bench.service import receiver
from tests.integration.lean_sqs import lean_sqs

API_SECONDS = 0.2
GROUPS = 64
_SPEEDUP_MIN = 25
# What a run delivers, so that it takes some seconds; rounds are what a group has.
_MESSAGES_ALONE = 25
_ROUNDS = {"quick": 10, "normal": 30}
_BATCH = 10
_BATCHES = {"quick": 10, "normal": 60}
_BATCHES_ALONE = 3
_HEAD = (
    "trigger",
    "concurrency",
    "messages",
    "groups",
    "messages/s",
    "of one at a time",
    "CPU ms a message",
    "peak MiB",
)


@dataclass(frozen=True, slots=True)
class Cell:
    """A function with so much to deliver; the lean double fills an answer from one group first."""

    trigger: str
    concurrency: int
    messages: int
    groups: int


def measure(bench: Bench) -> list[Section]:
    """Deliver with more and more groups side by side."""
    rates: dict[Cell, float] = {}
    rows: list[tuple[str, ...]] = []
    with lean_sqs() as endpoint, receiver(API_SECONDS) as url:
        for cell in _cells("quick" if not bench.size.many else "normal"):
            rate, cpu, peak = deliver(bench, endpoint, url, cell)
            rates[cell] = rate
            alone = next(one for known, one in rates.items() if known.trigger == cell.trigger)
            rows.append(
                (
                    cell.trigger,
                    str(cell.concurrency),
                    f"{cell.messages:,}",
                    f"{cell.groups:,}",
                    f"{rate:.1f}",
                    f"{rate / alone:.1f}",
                    f"{cpu:.2f}",
                    f"{peak:.0f}",
                )
            )
    one, many = (
        next(rate for cell, rate in rates.items() if (cell.trigger, cell.concurrency) == ("schedule", count))
        for count in (1, 32)
    )
    note = (
        f"one function; the API answers after {API_SECONDS * 1000:.0f} ms; SQS is the lean double; a batch of"
        f" the queue has at most {_BATCH} messages, of {_BATCH} groups where each group has one message, and"
        " of one where groups have more; what is between two batches is not counted"
    )
    what = "worker, API of 200 ms: concurrency = 32 beside 1"
    speedup = many / one
    budget = Budget(what, f"at least {_SPEEDUP_MIN} x", f"{speedup:.1f} x", speedup >= _SPEEDUP_MIN)
    return [Section("Groups side by side", note, _HEAD, rows, [budget])]


def _cells(amount: str) -> list[Cell]:
    """Say what to measure; of each trigger, one group at a time first."""
    run, batches = GROUPS * _ROUNDS[amount], _BATCH * _BATCHES[amount]
    alone = _BATCH * _BATCHES_ALONE
    return [
        Cell("schedule", 1, _MESSAGES_ALONE, GROUPS),
        *(Cell("schedule", concurrency, run, GROUPS) for concurrency in (8, 32, 64)),
        Cell("queue", 1, alone, alone),
        *(Cell("queue", concurrency, batches, batches) for concurrency in (8, 32)),
        Cell("queue", 32, alone, _BATCHES_ALONE),
    ]


def deliver(bench: Bench, endpoint: str, url: str, cell: Cell) -> tuple[float, float, float]:
    """Run a function; return messages a second, milliseconds of CPU a message, and MiB at its peak."""
    worker = {"trigger": cell.trigger, "concurrency": cell.concurrency}
    field = Field.create(bench.folder, endpoint, None, api=url, others=endpoint, tables={"worker": worker})
    by_queue = cell.trigger == "queue"
    # One more, which comes first: it is for the cold start.
    field.fill("main", 1, 1)
    field.fill("main", cell.messages, cell.groups)
    function, asked = ("queue", ()) if by_queue else ("worker", (cell.concurrency,))
    sample, text = invoked(field, unpacked(field), function, cell.messages, cell.groups, *asked)
    assert field.audit("main")["Count"] == 0
    field.delete()
    return 1000 / text["record_ms"], text["record_cpu_ms"], sample.peak_mib
