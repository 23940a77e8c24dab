"""What the functions logged of their last runs, and the messages that stayed behind in the worker's last one.

The head of the line is read from the log, not by a receive: a receive would count, hide the message for a
moment, and need a right that a monitor does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from fifo_cli.aws.logs import MissingLogGroup, get_log_events
from fifo_cli.errors import AwsError
from fifo_cli.invocation import command_line
from fifo_cli.model.results import INTERNAL, Fields
from fifo_cli.operations.monitor.logs import LogLine, parse_line
from fifo_cli.operations.parallel import Gathered, read_all

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.names import FunctionRole, Names

# One filter is one phrase. "failed" is in the lines of runs and batches that ended ("failed": 0), of those
# that failed and of messages that did; the others are the platform's, of runs that did not live to log their
# end.
_PHRASES: Final = ("failed", "Task timed out", "Runtime exited", "[ERROR]")
# Messages that were received and had no turn: each run counts as a receive of these, too.
_UNTRIED: Final = "skipped"
# A function that logs its failure and raises has another line of the platform's within moments.
_SAME_RUN: Final = timedelta(seconds=5)
_CONFIRMED: Final = 5
# A busy worker is found in the first, one that runs once a week in the last.
_WINDOWS: Final = (timedelta(hours=1), timedelta(hours=6), timedelta(hours=25), timedelta(days=8))
_MARGIN: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class WorkerRun(Fields):
    """One run that ended; ``error`` is why it ended early, its counts None if it did not live to log them.

    ``owner`` is whose failure that was, ``what`` the key, variable, file or setting that is unusable.
    """

    time: datetime
    received: int | None = None
    delivered: int | None = None
    parked: int | None = None
    failed: int | None = None
    error: str | None = None
    owner: str | None = None
    what: str | None = None


@dataclass(frozen=True, slots=True)
class Batch(Fields):
    """One invocation of the enqueuer that ended; ``raised`` if it answered nothing."""

    time: datetime
    enqueued: int | None = None
    error: str | None = None
    owner: str | None = None
    what: str | None = None
    raised: bool = field(default=False, metadata=INTERNAL)


@dataclass(frozen=True, slots=True)
class Batches:
    """The enqueuer's last invocations, the newest first; ``moved`` if records went on after the newest."""

    batches: tuple[Batch, ...] = ()
    moved: bool = False


@dataclass(frozen=True, slots=True)
class Stuck(Fields):
    """A message that the worker received and could not deliver; ``since`` is its first failure in the log."""

    message_id: str
    group: str
    time: datetime
    receives: int | None = None
    http_status: int | None = None
    error: str | None = None
    item_key: str | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Runs:
    """The last runs, the newest first, and the heads that did not move in the newest.

    ``most_received`` is the message with the most receives of those that stayed behind.
    """

    runs: tuple[WorkerRun, ...] = ()
    stuck: tuple[Stuck, ...] = ()
    most_received: Stuck | None = None


def last_runs(
    aws: Aws, names: Names, *, now: datetime, count: int = 5, ages: timedelta = timedelta(hours=1)
) -> Runs:
    """Read the worker's log back to its last run, a week at most; nothing, if it never ran.

    Failures of the heads are looked for as far back as ``ages``, and a little more.
    """
    for window in _WINDOWS:
        lines = _lines(aws, names, "worker", (*_PHRASES, _UNTRIED), now - window)
        runs = sorted(worker_runs(lines), key=lambda run: run.time, reverse=True)
        if runs:
            behind = behind_of(lines, runs)
            most = max(behind, key=lambda one: one.receives or 0, default=None)
            heads = stuck_of(lines, runs)
            seen = _seen(aws, names, {*heads[:_CONFIRMED], *([most] if most else [])}, now - ages - _MARGIN)
            return Runs(tuple(runs[:count]), _still_stuck(heads, seen), most if _stayed(most, seen) else None)
    return Runs()


def last_batches(aws: Aws, names: Names, *, now: datetime, count: int = 5) -> Batches:
    """Read the enqueuer's log back to its last invocation, a day at most: the stream keeps no more."""
    for window in _WINDOWS[:-1]:
        lines = _lines(aws, names, "enqueuer", _PHRASES, now - window)
        batches = sorted(batches_of(lines), key=lambda batch: batch.time, reverse=True)
        if batches:
            moved = batches[0].error is not None and _has_moved(aws, names, batches[0].time)
            return Batches(tuple(batches[:count]), moved)
    return Batches()


def _has_moved(aws: Aws, names: Names, since: datetime) -> bool:
    """Whether a record went on after ``since``: an enqueuer deployed earlier logs no end of its batches."""
    return any(
        line.message in ("enqueued", "parked", "skipped") and line.time > since
        for line in _matching(aws, names, "enqueuer", "stream_sequence", since)
    )


def _seen(aws: Aws, names: Names, heads: Iterable[Stuck], since: datetime) -> dict[str, list[LogLine]]:
    """Return what was logged of some messages, by whoever logs it."""
    gathered = read_all(
        {
            head.message_id: partial(_matching, aws, names, "worker", head.message_id, min(since, head.time))
            for head in heads
            if head.message_id
        }
    )
    return dict(gathered.answers)


def _stayed(head: Stuck | None, seen: dict[str, list[LogLine]]) -> bool:
    """Whether a message was neither delivered nor parked since."""
    return head is not None and not any(
        line.message in ("delivered", "parked") and line.time >= head.time
        for line in seen.get(head.message_id, ())
    )


def _still_stuck(heads: tuple[Stuck, ...], seen: dict[str, list[LogLine]]) -> tuple[Stuck, ...]:
    """Leave out the heads that moved since; of many, only the first few are known to."""
    return tuple(_dated(head, seen.get(head.message_id, ())) for head in heads if _stayed(head, seen))


def _dated(head: Stuck, lines: Iterable[LogLine]) -> Stuck:
    failures = [line.time for line in lines if line.message == "failed"]
    return replace(head, since=min([head.time, *failures]))


def stuck_of(lines: Iterable[LogLine], runs: list[WorkerRun]) -> tuple[Stuck, ...]:
    """Return the messages that failed after the last run but one, the last of each group.

    A failure closes its group for the run, so that is the head. ``runs`` are the newest first.
    """
    heads = {one.group: one for one in _left_by(lines, runs, ("failed",))}
    return tuple(sorted(heads.values(), key=lambda one: one.time))


def behind_of(lines: Iterable[LogLine], runs: list[WorkerRun]) -> tuple[Stuck, ...]:
    """Return the messages that were received after the last run but one, and stayed."""
    return tuple(_left_by(lines, runs, ("failed", _UNTRIED)))


def _left_by(lines: Iterable[LogLine], runs: list[WorkerRun], fates: tuple[str, ...]) -> Iterator[Stuck]:
    since = runs[1].time if len(runs) > 1 else None
    for line in lines:
        if line.message in fates and (since is None or line.time > since):
            yield stuck(line)


def stuck(line: LogLine) -> Stuck:
    """Read a line of a message that failed."""
    return Stuck(
        message_id=str(line.facts.get("message_id", "")),
        group=str(line.facts.get("group", "")),
        time=line.time,
        receives=line.receives,
        http_status=line.number("status"),
        error=line.text("reason"),
        item_key=line.text("item_key"),
    )


def _lines(
    aws: Aws, names: Names, role: FunctionRole, phrases: tuple[str, ...], since: datetime
) -> list[LogLine]:
    """Return the lines that report runs and failures, in order; raises what AWS answered."""
    questions: dict[str, Callable[[], Any]] = {
        phrase: partial(_matching, aws, names, role, phrase, since) for phrase in phrases
    }
    gathered: Gathered = read_all(questions)
    found: dict[tuple[object, ...], LogLine] = {}
    for phrase in phrases:
        for line in gathered[phrase]:
            found[line.time, line.message, line.facts.get("message_id")] = line
    return sorted(found.values(), key=lambda line: line.time)


def _matching(aws: Aws, names: Names, role: FunctionRole, phrase: str, since: datetime) -> list[LogLine]:
    group = names.log_group(role)
    try:
        return [parse_line(role, event) for event in get_log_events(aws, group, since=since, text=phrase)]
    except MissingLogGroup:
        raise AwsError(f"log group {group} does not exist", hint=command_line("plan")) from None


def worker_runs(lines: Iterable[LogLine]) -> list[WorkerRun]:
    """Return the runs that lines in order of time report; one that raised has two lines, and counts once."""
    runs: list[WorkerRun] = []
    for line in lines:
        run = run_of(line)
        if run is None:
            continue
        if runs and _is_echo(line, runs[-1].time, first=runs[-1].received is not None):
            runs[-1] = replace(runs[-1], error=runs[-1].error or run.error)
        else:
            runs.append(run)
    return runs


def batches_of(lines: Iterable[LogLine]) -> list[Batch]:
    """Return the enqueuer's invocations that lines in order of time report."""
    batches: list[Batch] = []
    for line in lines:
        batch = batch_of(line)
        if batch is not None and not (batches and _is_echo(line, batches[-1].time, first=batches[-1].raised)):
            batches.append(batch)
    return batches


def _is_echo(line: LogLine, ended: datetime, *, first: bool) -> bool:
    """Whether the platform's line is of the exception that the function has just logged itself."""
    return first and line.message.startswith("[ERROR]") and not line.facts and line.time - ended <= _SAME_RUN


def run_of(line: LogLine) -> WorkerRun | None:
    """Return the run that a line of the worker's log ends; None if it is about something else.

    A run that fails logs "run failed" and then, if it can, "run ended"; the second counts.
    """
    if line.message == "run ended" and line.facts:
        received, delivered, parked, failed = (
            line.number(word) for word in ("received", "delivered", "parked", "failed")
        )
        return WorkerRun(line.time, received, delivered, parked, failed, *_ending(line))
    if not line.facts and line.level == "error":
        return WorkerRun(line.time, error=line.message.strip())
    return None


def batch_of(line: LogLine) -> Batch | None:
    """Return the invocation of the enqueuer that a line ends; None if it is about something else."""
    error, owner, what = _ending(line)
    if line.message == "batch ended" and line.facts:
        return Batch(line.time, line.number("enqueued"), error, owner, what)
    if line.message == "batch failed" and line.facts:
        return Batch(line.time, None, error or "no reason logged", owner, what, raised=True)
    if not line.facts and line.level == "error":
        return Batch(line.time, error=line.message.strip(), raised=True)
    return None


def _ending(line: LogLine) -> tuple[str | None, str | None, str | None]:
    """Return why a run ended early: error, owner, what; all None if it did not."""
    owner, what, reason = (line.text(name) for name in ("owner", "what", "reason"))
    if owner is None and reason is None:
        return None, None, None
    said = reason or "no reason logged"
    return f"{what}: {said}" if what else said, owner, what
