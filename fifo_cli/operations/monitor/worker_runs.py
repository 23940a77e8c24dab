"""What the functions logged of their last runs, and the messages that stayed behind in the worker's last one.

The head of the line is read from the log, not by a receive: a receive would count, hide the message for a
moment, and need a right that a monitor does not have.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, get_args

from fifo_cli.aws.logs import MissingLogGroup, get_log_events
from fifo_cli.errors import AwsError
from fifo_cli.invocation import command_line
from fifo_cli.model.history_events import HistoryEvent, short_who
from fifo_cli.model.names import FUNCTION_ROLES
from fifo_cli.model.worker_log import (
    Batch,
    Batches,
    Fate,
    PausedGroup,
    Runs,
    Stuck,
    StuckGroups,
    WatchEvent,
    WorkerRun,
    follow,
)
from fifo_cli.model.worker_trigger import longest_pause
from fifo_cli.operations.monitor.logs import LogLine, parse_line
from fifo_cli.operations.monitor.operator_moves import dlq_moves, operator_moves
from fifo_cli.operations.monitor.pauses import (
    BREAKER,
    PAUSED,
    open_breaker,
    paused_groups,
    paused_until,
)
from fifo_cli.operations.parallel import Gathered, read_all

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.names import FunctionRole, Names
    from fifo_cli.model.settings import Settings

# One filter is one phrase. "failed" is in the lines of runs and batches that ended ("failed": 0), of those
# that failed and of messages that did; the others are the platform's, of runs that did not live to log their
# end.
_PHRASES: Final = ("failed", "Task timed out", "Runtime exited", "[ERROR]")
# Messages that were received and had no turn: each run counts as a receive of these, too.
_UNTRIED: Final = "skipped"
# A function that logs its failure and raises has another line of the platform's within moments.
_SAME_RUN: Final = timedelta(seconds=5)
# The item and its number in the stream, or the id of a message that has none.
_MessageKey = tuple[str | None, ...]
# A busy worker is found in the first, one that runs once a week in the last.
_WINDOWS: Final = (timedelta(hours=1), timedelta(hours=6), timedelta(hours=25), timedelta(days=8))
_MARGIN: Final = timedelta(minutes=10)
# A run takes no longer (Lambda Developer Guide, "Lambda quotas").
_RUN_MAX: Final = timedelta(minutes=15)
# A worker that the queue starts logs the end of each batch: an hour of that may be too much to read. Lines
# are late by 10 minutes at the most, and the longest pause is 5 as a rule.
_BATCH_WINDOW: Final = timedelta(minutes=15)
# So long its older failures are read, the oldest first: since when each group fails.
_OLDER_SECONDS: Final = 5.0
# Of so many heads it is asked one by one whether they moved, where all deliveries cannot be read.
_ASKED_MAX: Final = 20
# So far back a head is remembered that no run has met since.
_MEMORY: Final = _WINDOWS[2]
# So many deliveries are read to know which heads moved: 10 MB, some seconds.
_MOVES_MAX: Final = 20_000
_MOVED: Final[tuple[Fate, ...]] = ("delivered", "parked")
_REASON_MAX: Final = 60
_TIME: Final = attrgetter("time")
_FATES: Final[dict[str, Fate]] = {fate: fate for fate in get_args(Fate)}


def last_runs(
    aws: Aws,
    names: Names,
    *,
    now: datetime,
    count: int = 5,
    ages: timedelta = timedelta(hours=1),
    by_queue: bool = False,
    late: timedelta = _MARGIN,
) -> Runs:
    """Read the worker's log back to its last run, a week at most; nothing, if it never ran.

    Where something failed lately, failures are read a day back, or as far as ``ages``: heads that no run has
    met since, and since when each fails. ``by_queue``: the queue starts the worker, and its runs are batches.
    Lines may be ``late``.
    """
    memory = max(_MEMORY, ages + _MARGIN)
    for window in (_BATCH_WINDOW, *_WINDOWS) if by_queue else _WINDOWS:
        since = now - window
        phrases = (*_PHRASES, _UNTRIED, BREAKER)
        lines = [line for line in _lines(aws, names, "worker", phrases, since) if line.time <= now]
        runs = sorted(worker_runs(lines), key=_TIME, reverse=True)
        failed = any(line.message == "failed" for line in lines)
        if not (runs or failed):  # what was killed has logged its failures, and not its end
            if not (lines or _has_run(aws, names, "worker", now - _WINDOWS[-1])):
                break
            continue
        if (failed or by_queue) and window < memory:
            if by_queue:
                older = _older_batches(aws, names, now - memory)
            else:
                older = _lines(aws, names, "worker", _PHRASES[:1], now - memory)
            lines = [*(line for line in older if line.time < since), *lines]
        paused = paused_groups(lines, now=now)
        stuck = _stuck_groups(aws, names, lines, now, paused, since if by_queue else None)
        most = max(behind_of(lines, runs), key=lambda one: one.receives or 0, default=None)
        stayed = most is not None and not _has_gone(aws, names, most)
        return Runs(
            runs=tuple(runs[:count]),
            stuck=stuck,
            most_received=most if stayed else None,
            by_itself=next((run.time for run in runs if not run.by_hand), None),
            paused=paused,
            breaker=open_breaker(lines, now=now, late=late, by_queue=by_queue),
            as_of=lines[-1].time,
        )
    return Runs()


def paused_now(aws: Aws, settings: Settings, *, now: datetime) -> Runs:
    """Return the groups that are paused now, and as of when that is known; of the runs nothing else.

    What an API asked for (Retry-After) may be longer, and is read by ``last_runs`` only.
    """
    names, window = settings.names, settings.worker.retry[1] + _BATCH_WINDOW
    lines = list(_matching(aws, names, "worker", PAUSED, now - window))
    return Runs(paused=paused_groups(lines, now=now), as_of=max((line.time for line in lines), default=None))


def long_pause(aws: Aws, settings: Settings, *, now: datetime) -> datetime | None:
    """Return when the last group comes back that an API had paused for longer than ``[worker] retry`` would.

    None if the log shows no such group. A schedule's runs leave nothing hidden, but before a change the queue
    may have started the worker.
    """
    found = last_runs(aws, settings.names, now=now, by_queue=True).paused
    return max((one.until for one in found if one.until - now > longest_pause(settings)), default=None)


def _older_batches(aws: Aws, names: Names, since: datetime) -> list[LogLine]:
    """Return the failures and the breaker's lines, as far as they can be read in a moment, the oldest first.

    What is left out is of groups that failed before and still do: their first failure is what counts.
    """
    ends = time.monotonic() + _OLDER_SECONDS

    def read(*, text: str = "", word: str = "") -> list[LogLine]:
        group, enough = names.log_group("worker"), lambda: time.monotonic() > ends
        events = get_log_events(aws, group, since=since, text=text, word=word, enough=enough)
        return [parse_line("worker", event) for event in events]

    found = read_all({"failed": lambda: read(word="failed"), BREAKER: lambda: read(text=BREAKER)})
    return sorted([*found["failed"], *found[BREAKER]], key=_TIME)


def _has_gone(aws: Aws, names: Names, one: Stuck) -> bool:
    """Whether a message was delivered or parked since."""
    return bool(one.message_id) and any(
        line.message in ("delivered", "parked") and line.time >= one.time
        for line in _matching(aws, names, "worker", one.message_id, one.time)
    )


def _stuck_groups(
    aws: Aws,
    names: Names,
    lines: Iterable[LogLine],
    now: datetime,
    paused: Iterable[PausedGroup] = (),
    earliest: datetime | None = None,
) -> tuple[Stuck, ...]:
    """Follow the lines of failures and runs, with those of deliveries as far as they matter.

    Those are read from ``earliest`` on, if it is given. A group that is paused was not delivered since.
    """
    events = [one for one in events_of(lines) if one.time <= now]
    since = _unresolved_since(events)
    if since is None:
        return ()
    since = max(since, earliest or since)
    moves = (
        event
        for word in _MOVED
        for event in islice(_moves(aws, names, word, since, exact=earliest is not None), _MOVES_MAX)
        if event.time <= now
    )
    began = events[0].time if earliest else since
    taken = (one for one in operator_moves(aws, names, since=began) if one.time <= now)
    found = follow(StuckGroups(), sorted([*moves, *events, *taken], key=_TIME))
    # What failed last before the deliveries that were read may be gone, unless it is paused still.
    ends = {one.group: one.until for one in paused}
    older = [head for head in found.stuck if head.time < since and head.group not in ends]
    asked = older[-_ASKED_MAX:] if earliest else []
    gone = {head.group for head in older} - {head.group for head in asked if not _has_gone(aws, names, head)}
    return tuple(
        replace(head, paused_until=ends.get(head.group, head.paused_until))
        for head in found.stuck
        if head.group not in gone
    )


def _moves(aws: Aws, names: Names, word: Fate, since: datetime, *, exact: bool) -> Iterator[WatchEvent]:
    """Yield what was delivered, or parked; ``exact``: without the ends of runs, which have the word, too."""
    for line in _matching(aws, names, "worker", word, since, exact=exact):
        yield from (event for event in events_of([line]) if event.fate == word)


def _unresolved_since(events: Sequence[WatchEvent]) -> datetime | None:
    """Return from when on deliveries are to be read: from the end of the run before a head's first failure.

    From its last one, where the counts of runs show already that others were delivered. Not further back than
    a number of deliveries that can be read in a moment; None if nothing failed. Where no run ended before,
    from when the run of the first line may have begun: what it delivered before its failure counts.
    """
    heads = follow(StuckGroups(), events).heads.values()
    if not heads:
        return None
    first = min(head.time if head.after else head.since or head.time for head in heads)
    since, number = events[0].time - _RUN_MAX, 0
    for event in reversed(events):
        if event.fate == "run ended":
            number += event.delivered
            if event.time < first or number > _MOVES_MAX:
                return event.time
    return since


def last_batches(aws: Aws, names: Names, *, now: datetime, count: int = 5) -> Batches:
    """Read the enqueuer's log back to its last invocation, a day at most: the stream keeps no more."""
    for window in _WINDOWS[:-1]:
        lines = _lines(aws, names, "enqueuer", _PHRASES, now - window)
        batches = sorted(batches_of(lines), key=_TIME, reverse=True)
        if batches:
            moved = batches[0].error is not None and _has_moved(aws, names, batches[0].time)
            return Batches(tuple(batches[:count]), moved)
        if not (lines or _has_run(aws, names, "enqueuer", now - _WINDOWS[-2])):
            break
    return Batches()


def parked_reasons(aws: Aws, names: Names, *, now: datetime) -> tuple[str, ...]:
    """Return why the messages of the DLQ were parked, the newest first, as the logs of a day show.

    Each message counts once. What an operator took out again does not count, and what an operator put there
    is by the operator.
    """
    for window in _WINDOWS[:-1]:
        lines = [
            line
            for role in FUNCTION_ROLES
            for line in _matching(aws, names, role, "parked", now - window)
            if line.message == "parked" and line.facts
        ]
        if lines:
            return _reasons_left(lines, dlq_moves(aws, names, since=now - window))
    return ()


def _reasons_left(lines: Iterable[LogLine], moves: Iterable[HistoryEvent]) -> tuple[str, ...]:
    parked: dict[_MessageKey, str] = {}
    found: list[LogLine | HistoryEvent] = [*lines, *moves]
    for one in sorted(found, key=_TIME):
        if isinstance(one, LogLine):
            _put_last(parked, _message_key(one.text), _park_reason(one))
        elif (move := one.move) is not None and move.source == "dlq":
            for message in move.messages:
                parked.pop(_message_key(message.facts.get), None)
            if move.everything:
                parked.clear()
        elif move is not None:
            reason = f"an operator ({short_who(one.header.who)})"
            for message in move.messages:
                _put_last(parked, _message_key(message.facts.get), reason)
    return tuple(reversed(parked.values()))


def _put_last(parked: dict[_MessageKey, str], key: _MessageKey, reason: str) -> None:
    parked.pop(key, None)
    parked[key] = reason


def _message_key(fact: Callable[[str], str | None]) -> _MessageKey:
    """Return what stays of a message where a redrive gives it another id: it may be parked again."""
    sequence = fact("stream_sequence")
    return (fact("item_key"), sequence) if sequence else (fact("message_id"),)


def _park_reason(line: LogLine) -> str:
    """Return a reason that is the same for all that were parked for it: without what an answer quotes."""
    status, api = line.number("status"), line.text("api")
    if status is not None:
        return f"HTTP {status}" + (f" from {api}" if api else "")
    reason = line.text("reason") or "no reason logged"
    return reason if len(reason) <= _REASON_MAX else f"{reason[:_REASON_MAX]}…"


def _has_moved(aws: Aws, names: Names, since: datetime) -> bool:
    """Whether a record went on after ``since``: an enqueuer deployed earlier logs no end of its batches."""
    return any(
        line.message in ("enqueued", "parked", "skipped") and line.time > since
        for line in _matching(aws, names, "enqueuer", "stream_sequence", since)
    )


def behind_of(lines: Iterable[LogLine], runs: list[WorkerRun]) -> tuple[Stuck, ...]:
    """Return the messages that were received after the last run but one, and stayed."""
    since = runs[1].time if len(runs) > 1 else None
    return tuple(
        Stuck(
            str(line.facts.get("message_id", "")), str(line.facts.get("group", "")), line.time, line.receives
        )
        for line in lines
        if line.message in ("failed", _UNTRIED) and (since is None or line.time > since)
    )


def events_of(lines: Iterable[LogLine]) -> tuple[WatchEvent, ...]:
    """Return the events of messages and runs among the lines."""
    return tuple(
        _event(line, _FATES[line.message]) for line in lines if line.facts and line.message in _FATES
    )


def _event(line: LogLine, fate: Fate) -> WatchEvent:
    return WatchEvent(
        time=line.time,
        fate=fate,
        group=str(line.facts.get("group") or ""),
        message_id=str(line.facts.get("message_id") or ""),
        item_key=str(line.facts.get("item_key") or ""),
        http_status=line.number("status"),
        receives=line.receives,
        elapsed_ms=line.number("elapsed_ms"),
        reason=str(line.facts.get("reason") or ""),
        api=line.text("api") or "",
        error_type=line.text("error_type") or "",
        owner=line.text("owner") or "",
        emptied=line.facts.get("emptied") is True,
        delivered=line.number("delivered") or 0,
        paused_until=paused_until(line),
    )


def _lines(
    aws: Aws, names: Names, role: FunctionRole, phrases: tuple[str, ...], since: datetime
) -> list[LogLine]:
    """Return the lines that report runs and failures, in order; raises what AWS answered."""
    questions: dict[str, Callable[[], Any]] = {
        phrase: partial(_matching_list, aws, names, role, phrase, since) for phrase in phrases
    }
    gathered: Gathered = read_all(questions)
    found: dict[tuple[object, ...], LogLine] = {}
    for phrase in phrases:
        for line in gathered[phrase]:
            found[line.time, line.message, line.facts.get("message_id")] = line
    return sorted(found.values(), key=_TIME)


def _has_run(aws: Aws, names: Names, role: FunctionRole, since: datetime) -> bool:
    """Whether a function logged anything since: of one that never ran, nothing more need be asked."""
    return next(_matching(aws, names, role, "", since), None) is not None


def _matching(
    aws: Aws, names: Names, role: FunctionRole, phrase: str, since: datetime, *, exact: bool = False
) -> Iterator[LogLine]:
    group = names.log_group(role)
    text, word = ("", phrase) if exact else (phrase, "")
    try:
        for event in get_log_events(aws, group, since=since, text=text, word=word):
            yield parse_line(role, event)
    except MissingLogGroup:
        raise AwsError(f"log group {group} does not exist", hint=command_line("plan")) from None


def _matching_list(aws: Aws, names: Names, role: FunctionRole, phrase: str, since: datetime) -> list[LogLine]:
    return list(_matching(aws, names, role, phrase, since))


def worker_runs(lines: Iterable[LogLine]) -> list[WorkerRun]:
    """Return the runs that lines in order of time report.

    One that raised has two lines, and counts once; several functions may log theirs at a time.
    """
    runs: list[WorkerRun] = []
    newest: dict[str, int] = {}  # the place of each log stream's last run
    for line in lines:
        run = run_of(line)
        if run is None:
            continue
        at = newest.get(line.stream)
        if at is not None and _is_echo(line, runs[at].time, first=runs[at].received is not None):
            runs[at] = replace(runs[at], error=runs[at].error or run.error)
        else:
            newest[line.stream] = len(runs)
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
        by_hand = is_by_hand(line)
        return WorkerRun(line.time, received, delivered, parked, failed, *_ending(line), by_hand=by_hand)
    if not line.facts and line.level == "error":
        return WorkerRun(line.time, error=line.message.strip())
    return None


def is_by_hand(line: LogLine) -> bool:
    """Whether a line is of a drain, and not of the schedule's run."""
    return line.facts.get("by_hand") is True


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
