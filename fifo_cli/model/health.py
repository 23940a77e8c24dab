"""How well a pipeline is: what was measured of it, from which number on it is a problem, the verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal, get_args

from fifo_cli.invocation import command_line
from fifo_cli.model.group_names import shown_group
from fifo_cli.model.results import INTERNAL, Fields, named

if TYPE_CHECKING:
    from fifo_cli.errors import FifoError
    from fifo_cli.model.names import Names
    from fifo_cli.model.queue_counts import Counted
    from fifo_cli.model.settings import Check

State = Literal["ok", "unknown", "warning", "critical"]
# The later, the worse, as in the monitoring plugins' own max_state_alt(): what is known to be wrong comes
# before what is not known.
STATES: Final[tuple[State, ...]] = get_args(State)
QueueKind = Literal["main", "dlq", "hold", "stream_failures"]
QUEUE_KINDS: Final[tuple[QueueKind, ...]] = get_args(QueueKind)
# Whether something starts a function: its schedules or mapping are disabled, its concurrency is 0, or nothing
# is there to start it.
TriggerState = Literal["running", "paused", "stopped", "missing"]
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


@dataclass(frozen=True, slots=True)
class Problem(Fields):
    """Something that needs a look: how bad, what it is, and the command or step that goes on from there."""

    state: State
    text: str
    next: str = ""


@dataclass(frozen=True, slots=True)
class Unavailable(Fields):
    """Something that AWS did not tell, and why."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Maintenance(Fields):
    """Who holds the pipeline for what, as of ``at``; only ``what`` is known of a marker that is not ours."""

    what: str
    who: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    at: datetime | None = field(default=None, metadata=INTERNAL)

    def __str__(self) -> str:
        if self.who is None or self.since is None or self.at is None:
            return self.what
        return f"{self.what} by {self.who}, begun {rough(self.at - self.since)} ago"


@dataclass(frozen=True, slots=True)
class UnfinishedRestore(Fields):
    """An in-order rebuild that stopped in ``phase``; ``running`` are the functions that it paused."""

    phase: str
    running: tuple[str, ...] = field(default=(), metadata=named("paused"))
    since: datetime | None = None
    at: datetime | None = field(default=None, metadata=INTERNAL)

    def __str__(self) -> str:
        if self.since is None or self.at is None:
            return self.phase
        paused = f"; it paused {' and '.join(self.running)}" if self.running else ""
        return f"begun {rough(self.at - self.since)} ago, at its step {self.phase}{paused}"


@dataclass(frozen=True, slots=True)
class Measurements:
    """What was measured at one moment; what is None, ``unseen`` gives the reason for, or nobody knows it.

    A queue that does not exist is in ``missing``. ``iterator_age`` is in seconds. ``resumed_at`` is when the
    worker was resumed last, if it ever was.
    """

    queues: Mapping[QueueKind, Counted] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    iterator_age: int | None = None
    worker: TriggerState | None = None
    enqueuer: TriggerState | None = None
    maintenance: Maintenance | None = None
    restore: UnfinishedRestore | None = None
    resumed_at: datetime | None = None
    unseen: tuple[Unavailable, ...] = ()

    def total(self, kind: QueueKind) -> int | None:
        """Return how many messages a queue holds; None if that is not known."""
        return self.queues[kind].total if kind in self.queues else None

    @property
    def age(self) -> int | None:
        """The age of main's oldest message in seconds; 0 if there is none, None if it is not known."""
        main = self.queues.get("main")
        return None if main is None else 0 if not main.total else main.oldest_age


def worst(states: Iterable[State]) -> State:
    """Return the worst of the states; of none, "ok"."""
    return max(states, key=STATES.index, default="ok")


def by_badness(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return the problems, the worst first, else in their order."""
    return tuple(sorted(problems, key=lambda problem: -STATES.index(problem.state)))


def evaluate(measured: Measurements, check: Check, names: Names) -> tuple[Problem, ...]:
    """Return the problems, the worst first; a number is one from its threshold on, as for the alarms."""
    problems = [
        *_missing(measured),
        *_numbers(measured, check, names),
        *_stopped(measured),
        *_maintenance(measured),
    ]
    problems += [Problem("unknown", f"{one.what} is not known: {one.reason}") for one in measured.unseen]
    return by_badness(problems)


def _missing(measured: Measurements) -> Iterator[Problem]:
    for name in measured.missing:
        yield Problem("critical", f"queue {name} does not exist", command_line("plan"))


def _numbers(measured: Measurements, check: Check, names: Names) -> Iterator[Problem]:
    ages = tuple(int(age.total_seconds()) for age in check.age)
    age = (ages[0], ages[-1])
    rules: list[tuple[int | None, tuple[int, int], Callable[[int], str], str]] = [
        (measured.total("dlq"), check.dlq, lambda n: f"{_count(n)} in the DLQ", _parked()),
        (
            measured.age,
            age,
            lambda n: f"the oldest message has waited {_age(n)}",
            command_line("logs worker"),
        ),
        (
            measured.total("main"),
            check.depth,
            lambda n: f"{_count(n)} waiting",
            command_line("peek --count 3"),
        ),
        (
            measured.iterator_age,
            age,
            lambda n: f"the enqueuer is {_age(n)} behind the stream",
            command_line("logs enqueuer"),
        ),
        (
            measured.total("stream_failures"),
            check.dlq,
            lambda n: f"{_count(n)} in {names.stream_failures}: stream records that were given up",
            f"{command_line('replay --failed')}, within 24 h of the record",
        ),
    ]
    for value, (warning, critical), message, step in rules:
        if value is not None and value >= min(warning, critical) and value > 0:
            yield Problem("critical" if value >= critical else "warning", message(value), step)


def _parked() -> str:
    return f"{command_line('peek --queue dlq')} shows why; once that is fixed, {command_line('redrive')}"


def _stopped(measured: Measurements) -> Iterator[Problem]:
    for role, state in (("worker", measured.worker), ("enqueuer", measured.enqueuer)):
        what = "schedule" if role == "worker" else "event source mapping"
        late = "" if role == "worker" else "; the stream forgets a record after 24 h"
        if state == "paused":
            # Resumed now, it would meet a main that lacks the heads of its groups.
            step = command_line(f"resume {role}" if measured.restore is None else "redrive --in-order")
            yield Problem("warning", f"the {role} is paused{late}", step)
        if state == "stopped":
            yield Problem(
                "critical",
                f"the {role} is stopped: its reserved concurrency is 0{late}",
                "raise it again in Lambda",
            )
        if state == "missing":
            yield Problem(
                "critical", f"the {role} has no {what}: nothing starts it{late}", command_line("plan")
            )


def _maintenance(measured: Measurements) -> Iterator[Problem]:
    if measured.restore is not None and measured.maintenance is None:
        yield Problem(
            "critical",
            f"an in-order rebuild is unfinished: {measured.restore}",
            f"{command_line('redrive --in-order')} finishes it",
        )
    elif measured.maintenance is not None:
        yield Problem(
            "warning",
            f"maintenance is going on: {measured.maintenance}",
            "wait for it to finish; if it was killed, its lock expires within 60 s",
        )
    elif measured.total("hold"):
        held = _count(measured.total("hold") or 0)
        yield Problem("warning", f"{held} left in the hold queue", command_line("peek --queue hold"))


def unknown(what: str, failure: FifoError) -> Problem:
    """Return the problem of something that AWS did not answer."""
    return Problem("unknown", f"{what} is not known: {failure.message}", failure.hint)


def waiting(
    group: str, reason: str | None, *, more: int, state: State = "warning", age: timedelta | None = None
) -> Problem:
    """Return the problem of a group whose head could not be delivered, with so many ``more`` like it.

    ``age`` is since when its failures are known, where that is long.
    """
    others = f" ({more} more group{' waits' if more == 1 else 's wait'})" if more else ""
    since = f" and has failed for {rough(age)}" if age is not None else ""
    group = shown_group(group)
    text = f"group {group} waits for its head{since}: {reason or 'no reason logged'}{others}"
    step = f"{command_line('drain --count 1')} tries again"
    if not more:
        # Of several heads the API is the likelier cause, and setting messages aside the wrong thing to do.
        step += f"; if the API is well, {command_line('park --group', group)} sets that message aside"
    return Problem(state, text, step)


def _count(number: int) -> str:
    return f"{number:,} message{'' if number == 1 else 's'}"


def _age(seconds: int) -> str:
    return rough(timedelta(seconds=seconds))


def rough(duration: timedelta) -> str:
    """Write a duration in its two largest units: 2d 3h, 5m 10s."""
    seconds = max(0, int(duration.total_seconds()))
    for (size, unit), (smaller, smaller_unit) in pairwise(_UNITS):
        if seconds >= size:
            rest = seconds % size // smaller
            return f"{seconds // size}{unit}" + (f" {rest}{smaller_unit}" if rest else "")
    return f"{seconds}s"
