"""The worker's last runs, and the messages that stayed behind in the last one, as the worker logged them.

The head of the line is told from the log, not by a receive: a receive would count, hide the message for a
moment, and need a right that a monitor does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from fifo_cli.aws.logs import MissingLogGroup, get_log_events
from fifo_cli.model.results import Document
from fifo_cli.model.times import iso
from fifo_cli.operations.observing.gathering import Gathered, gather
from fifo_cli.operations.observing.logs import LogLine, parse_line

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.names import Names

# One filter is one phrase. "failed" is in the lines of runs that ended ("failed": 0), of runs that failed and
# of messages that did; the others are the platform's, of runs that did not live to log their end.
_PHRASES: Final = ("failed", "Task timed out", "Runtime exited", "[ERROR]")
_CONFIRMED: Final = 5
# A busy worker is found in the first, one that runs once a day in the last.
_WINDOWS: Final = (timedelta(hours=1), timedelta(hours=6), timedelta(hours=25))


@dataclass(frozen=True, slots=True)
class WorkerRun:
    """One run that ended; ``error`` is why it failed as a whole, its counts then being None."""

    time: datetime
    received: int | None = None
    delivered: int | None = None
    parked: int | None = None
    failed: int | None = None
    error: str | None = None

    def document(self) -> Document:
        return {
            "time": iso(self.time),
            "received": self.received,
            "delivered": self.delivered,
            "parked": self.parked,
            "failed": self.failed,
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class Stuck:
    """A message that the worker tried and could not deliver: the head of its group."""

    message_id: str
    group: str
    time: datetime
    receives: int | None = None
    http_status: int | None = None
    error: str | None = None
    item_key: str | None = None

    def document(self) -> Document:
        return {
            "message_id": self.message_id,
            "group": self.group,
            "time": iso(self.time),
            "receives": self.receives,
            "http_status": self.http_status,
            "error": self.error,
            "item_key": self.item_key,
        }


@dataclass(frozen=True, slots=True)
class Runs:
    """The last runs, the newest first, and the heads that did not move in the newest."""

    runs: tuple[WorkerRun, ...] = ()
    stuck: tuple[Stuck, ...] = ()


def last_runs(aws: Aws, names: Names, *, now: datetime, count: int = 5) -> Runs:
    """Read the worker's log back to its last run, a day at most; nothing, if it never ran."""
    for window in _WINDOWS:
        lines = _lines(aws, names, now - window)
        runs = sorted(_runs(lines), key=lambda run: run.time, reverse=True)
        if runs:
            return Runs(tuple(runs[:count]), _still_stuck(aws, names, stuck_of(lines, runs)))
    return Runs()


def _still_stuck(aws: Aws, names: Names, heads: tuple[Stuck, ...]) -> tuple[Stuck, ...]:
    """Leave out the heads that were delivered or parked since, by whoever logs it; of many, the first few."""
    group = names.log_group("worker")
    gathered = gather(
        {
            head.message_id: partial(_matching, aws, group, head.message_id, head.time)
            for head in heads[:_CONFIRMED]
            if head.message_id
        }
    )
    moved = {
        message_id
        for message_id, lines in gathered.answers.items()
        if any(line.message in ("delivered", "parked") for line in lines)
    }
    return tuple(head for head in heads if head.message_id not in moved)


def stuck_of(lines: Iterable[LogLine], runs: list[WorkerRun]) -> tuple[Stuck, ...]:
    """Return the messages that failed after the last run but one, the last of each group.

    A failure closes its group for the run, so that is the head. ``runs`` are the newest first.
    """
    since = runs[1].time if len(runs) > 1 else None
    heads: dict[str, Stuck] = {}
    for line in lines:
        if line.message == "failed" and (since is None or line.time > since):
            one = stuck(line)
            heads[one.group] = one
    return tuple(sorted(heads.values(), key=lambda one: one.time))


def stuck(line: LogLine) -> Stuck:
    """Read a line of a message that failed."""
    return Stuck(
        message_id=str(line.facts.get("message_id", "")),
        group=str(line.facts.get("group", "")),
        time=line.time,
        receives=_number(line.facts.get("attempt")),
        http_status=_number(line.facts.get("status")),
        error=_text(line.facts.get("reason")),
        item_key=_text(line.facts.get("item_key")),
    )


def _lines(aws: Aws, names: Names, since: datetime) -> list[LogLine]:
    """Return the lines that tell of runs and failures, in order; raises what AWS answered."""
    questions: dict[str, Callable[[], Any]] = {
        phrase: partial(_matching, aws, names.log_group("worker"), phrase, since) for phrase in _PHRASES
    }
    gathered: Gathered = gather(questions)
    found: dict[tuple[object, ...], LogLine] = {}
    for phrase in _PHRASES:
        for line in gathered[phrase]:
            found[line.time, line.message, line.facts.get("message_id")] = line
    return sorted(found.values(), key=lambda line: line.time)


def _matching(aws: Aws, group: str, phrase: str, since: datetime) -> list[LogLine]:
    try:
        return [parse_line("worker", event) for event in get_log_events(aws, group, since=since, text=phrase)]
    except MissingLogGroup:
        return []


def _runs(lines: Iterable[LogLine]) -> Iterator[WorkerRun]:
    for line in lines:
        run = run_of(line)
        if run is not None:
            yield run


def run_of(line: LogLine) -> WorkerRun | None:
    """Return the run that a line of the worker's log ends; None if it tells of something else.

    A run that fails logs "run failed" and then, if it can, "run ended"; the second counts.
    """
    if line.message == "run ended" and line.facts:
        received, delivered, parked, failed = (
            _number(line.facts.get(word)) for word in ("received", "delivered", "parked", "failed")
        )
        return WorkerRun(line.time, received, delivered, parked, failed)
    if not line.facts and line.level == "error":
        return WorkerRun(line.time, error=line.message.strip())
    return None


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
