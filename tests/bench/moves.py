"""What commands that move messages are measured with: who moves, from where, how many, with what delay."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from tests.bench.bench import LATENCY
from tests.bench.field import Field, Taken
from tests.bench.measure import middle

HEAD = (
    "who",
    "service",
    "messages",
    "groups",
    "runs",
    "messages/s",
    "ours beside it",
    "requests a message",
    "CPU ms a message",
    "peak MiB",
    "requests",
)
AS_IS = "as is"
DELAYED = f"+{LATENCY * 1000:.0f} ms"
OURS, FAST, LOOP, POOL = "ours", "ours, --same-group-batches", "boto3 loop", "boto3, 8 threads"
_TURNS, _SHORT_SECONDS = 3, 8.0
RUNS = "each row the median of its runs, which took turns with those that it stands beside"
_SHORT = {
    "ReceiveMessage": "receive",
    "SendMessageBatch": "send batches",
    "SendMessage": "send",
    "DeleteMessageBatch": "delete batches",
    "DeleteMessage": "delete",
    "ChangeMessageVisibilityBatch": "hide batches",
    "ChangeMessageVisibility": "hide",
    "GetRecords": "records",
    "PutLogEvents": "log",
}
# What the history takes; the budgets are about SQS.
_NOT_SQS = frozenset({"PutLogEvents", "CreateLogStream", "GetCallerIdentity"})


@dataclass(frozen=True, slots=True)
class Cell:
    """Several runs of one mover over the same number of messages; ``requests`` are of the last run.

    ``each`` holds the seconds of each run; ``seconds`` is their median. ``ratio``: how many times as fast
    as a peer ours was in the same race, by messages a second.
    """

    who: str
    service: str
    messages: int
    groups: int
    seconds: float
    cpu: float
    peak_mib: float
    requests: Counter[str]
    each: tuple[float, ...]
    ratio: float | None = None

    def beside(self, other: Cell) -> float:
        """Return how many times as fast as another it is: the median of the turns, each of which has both.

        What else the machine does, and how fast it is at the moment, falls on both of one turn.
        """
        turns = zip(self.each, other.each, strict=True)
        return median((self.messages / ours) / (other.messages / theirs) for ours, theirs in turns)

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds

    @property
    def requests_each(self) -> float:
        """Requests a message; 0 if they were not counted."""
        return self.requests.total() / self.messages

    @property
    def sqs_requests_each(self) -> float:
        """Requests of SQS a message."""
        return sum(n for action, n in self.requests.items() if action not in _NOT_SQS) / self.messages

    @property
    def cpu_ms(self) -> float:
        """Milliseconds of the client's CPU a message."""
        return 1000 * self.cpu / self.messages

    def row(self) -> tuple[str, ...]:
        """Write it as a row of a table."""
        counted = [
            f"{number} {_SHORT[action]}" for action, number in self.requests.most_common() if action in _SHORT
        ]
        others = sum(number for action, number in self.requests.items() if action not in _SHORT)
        counted += [f"{others} other"] if others else []
        return (
            self.who,
            self.service,
            f"{self.messages:,}",
            str(self.groups),
            str(len(self.each)),
            f"{self.rate:,.0f}",
            f"{self.ratio:.2f} x" if self.ratio else "",
            f"{self.requests_each:.2f}" if self.requests else "",
            f"{self.cpu_ms:.2f}",
            f"{self.peak_mib:.0f}",
            ", ".join(counted),
        )


def cell(who: str, service: str, messages: int, groups: int, taken: Sequence[Taken]) -> Cell:
    """Make a cell of several runs."""
    samples = [one.sample for one in taken]
    mid = middle(samples)
    return Cell(
        who, service, messages, groups, median(one.seconds for one in samples), mid.cpu, mid.peak_mib,
        taken[-1].requests, tuple(one.seconds for one in samples),
    )  # fmt: skip


Mover = Callable[[Field], Taken]


def race(
    movers: dict[str, tuple[int, Mover]],
    make: Callable[[], Field],
    prepare: Callable[[Field, int], None],
    check: Callable[[Field, int], None],
    *,
    service: str,
    groups: int,
    runs: int | None = None,
) -> list[Cell]:
    """Let movers (and how many messages each gets) run in turns, each on queues of its own.

    ``runs`` None: three turns if the first took a short time, else that one.
    """
    taken: dict[str, list[Taken]] = {who: [] for who in movers}
    turns = 0
    while turns < (_turns(taken) if runs is None else runs):
        for who, (count, mover) in movers.items():
            field = make()
            prepare(field, count)
            taken[who].append(mover(field))
            check(field, count)
            field.delete()
        turns += 1
    cells = [cell(who, service, movers[who][0], groups, each) for who, each in taken.items()]
    first = next(one for one in cells if one.who in (OURS, FAST))
    cells = [one if one.who.startswith(OURS) else replace(one, ratio=first.beside(one)) for one in cells]
    for one in cells:
        sys.stderr.write(f"          {', '.join(one.row()[:6])}/s\n")
    return cells


def _turns(taken: Mapping[str, Sequence[Taken]]) -> int:
    """Return how many turns are worth their time."""
    first = [each[0].sample.seconds for each in taken.values() if each]
    return _TURNS if sum(first) < _SHORT_SECONDS else 1
