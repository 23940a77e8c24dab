"""How well a pipeline is: what was measured of it, from which number on it is a problem, the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal, get_args

from fifo_cli.model.results import INTERNAL, OPTIONAL, Fields, named
from fifo_cli.model.times import rough

if TYPE_CHECKING:
    from fifo_cli.model.queue_counts import Counted

State = Literal["ok", "unknown", "warning", "critical"]
# The later, the worse, as in the monitoring plugins' own max_state_alt(): what is known to be wrong comes
# before what is not known.
STATES: Final[tuple[State, ...]] = get_args(State)
QueueKind = Literal["main", "dlq", "hold", "stream_failures"]
# Whether something starts a function: its schedules or mapping are disabled, its concurrency is 0, or nothing
# is there to start it.
TriggerState = Literal["running", "paused", "stopped", "missing"]
# What may be held up: the messages of main, or the records of the stream.
Flow = Literal["messages", "records"]


@dataclass(frozen=True, slots=True)
class Problem(Fields):
    """Something that needs a look: how bad, what it is, and the command or step that goes on from there.

    ``means`` is what it means, and ``avoid`` what not to do, where that is not plain. ``cause_of`` and
    ``symptom_of`` say what it holds up, or what is held up.
    """

    state: State
    text: str
    next: str = ""
    means: str | None = field(default=None, metadata=OPTIONAL)
    avoid: str | None = field(default=None, metadata=OPTIONAL)
    cause_of: Flow | None = field(default=None, metadata=INTERNAL)
    symptom_of: Flow | None = field(default=None, metadata=INTERNAL)


@dataclass(frozen=True, slots=True)
class Unavailable(Fields):
    """Something that AWS did not tell, and why."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Polling(Fields):
    """The event source mapping of main to the worker: its state in AWS's word, and what is wrong with it."""

    state: str
    problem: str = ""

    @property
    def enabled(self) -> bool:
        """Whether it reads its source, or is about to (Lambda API Reference, GetEventSourceMapping)."""
        return self.state not in ("Disabled", "Disabling")


@dataclass(frozen=True, slots=True)
class ScheduleState:
    """A rule or schedule that starts the worker, as it is in AWS; rules know no time zone but UTC."""

    enabled: bool
    expression: str
    timezone: str | None = None
    name: str = ""


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
    worker was resumed last, if it ever was. ``polling`` is how main is polled, where the queue starts the
    worker, ``schedules`` are those that start it, where they do. ``changes_trigger``: a deploy has begun to
    change what starts it, and has not ended. ``started_by``: others' rules and schedules that start it, too.
    ``left_lock`` is the lock of a command that died, or could not remove it; it holds nobody up.
    """

    queues: Mapping[QueueKind, Counted] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    iterator_age: int | None = None
    worker: TriggerState | None = None
    enqueuer: TriggerState | None = None
    maintenance: Maintenance | None = None
    left_lock: Maintenance | None = None
    restore: UnfinishedRestore | None = None
    resumed_at: datetime | None = None
    polling: Polling | None = None
    schedules: tuple[ScheduleState, ...] = ()
    changes_trigger: bool = False
    started_by: tuple[str, ...] = ()
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


def count_messages(number: int) -> str:
    return f"{number:,} message{'' if number == 1 else 's'}"
