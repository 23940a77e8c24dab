"""Where an audit's evidence comes from: the stream, the logs, the queues, and what feeds the enqueuer."""

from __future__ import annotations

import contextlib
import heapq
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final

from fifo_cli.aws.dynamodb_streams import Stream, StreamSource, table_streams
from fifo_cli.aws.log_streams import holds_since
from fifo_cli.aws.logs import LogEvent, MissingLogGroup, get_log_events
from fifo_cli.aws.resources.event_source_mapping import MappingAdmin
from fifo_cli.aws.resources.gateway import Waiter
from fifo_cli.aws.session import Aws
from fifo_cli.aws.sqs import Queue
from fifo_cli.errors import FifoError, NotDeployedError
from fifo_cli.events import Listener, silent
from fifo_cli.invocation import command_line
from fifo_cli.model.history_events import (
    EVERYTHING_TEXT,
    OPERATION_TEXT,
    HistoryEvent,
    short_who,
)
from fifo_cli.model.message import Message
from fifo_cli.model.names import FUNCTION_ROLES, FunctionRole, Names, QueueRole
from fifo_cli.model.settings import Project
from fifo_cli.model.times import from_epoch_ms, iso
from fifo_cli.model.urls import host_of, is_aws
from fifo_cli.model.worker_log import PausedGroup
from fifo_cli.operations.history import read_events
from fifo_cli.operations.monitor.logs import LogLine, parse_line
from fifo_cli.operations.monitor.worker_runs import paused_now
from fifo_cli.operations.pace import Progress
from fifo_cli.operations.queues.browse import BrowseResult, browse, look
from fifo_cli.operations.stream.audit_store import Logger
from fifo_cli.operations.stream.failed_batches import NotAFailureRecordError, parse_failure
from fifo_cli.operations.stream.reader import Reader, StreamPage, Window, expired_before, pace_of

# In every line about one record or message, and in few others.
ABOUT_A_RECORD: Final = "event_id"
# A log stream that a replay writes, beside those of the enqueuer function (log_shipping.py).
_REPLAYS: Final = "replay/"
_RUNS: Final[Mapping[FunctionRole, str]] = {"worker": "drain/", "enqueuer": _REPLAYS}
RUN_ENDED: Final = "run ended"
# Lambda's own lines about an invocation (Developer Guide, "Viewing logs for Python Lambda functions").
_STARTED: Final = "START RequestId: "
_REPORTED: Final = "REPORT RequestId: "
_REQUEST: Final = re.compile(r"RequestId: ([0-9A-Za-z-]+)")
# Two clocks differ a little.
CLOCKS: Final = timedelta(seconds=5)
# How Lambda words that the function failed on a batch, which is then tried again; emulators say less.
_BATCH_FAILED: Final = ("PROBLEM", "FAILED")
# "It may take a few seconds" until what is logged can be read (CloudWatch Logs User Guide).
_LOG_LAG_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A line about a record, whose log it was in, and the name of log group and stream."""

    logger: Logger
    line: LogLine
    evidence: str = ""

    @property
    def word(self) -> str:
        return self.line.message


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A stretch of a shard that the enqueuer failed on for good; the numbers are inclusive."""

    shard: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Feed:
    """Whether the enqueuer is fed from the stream, and if not, why; what it gave up.

    ``paused``: it goes on where it stopped, when it is resumed. ``stopped`` is since when it has read
    nothing, None if that is not known. ``failing``: what became of its last batch, if it failed.
    """

    running: bool = True
    reason: str = ""
    given_up: tuple[GivenUp, ...] = ()
    paused: bool = False
    stopped: datetime | None = None
    failing: str = ""


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A drain or replay in an operator's process that has not logged its end: killed, or still at work.

    ``last`` is the time of its last line. What it did after that, or is doing now, nobody knows. Of a run of
    the worker function, which Lambda ended, it is the time of that end.
    """

    logger: Logger
    begun: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Purge:
    """A queue that somebody purged, with all that was in it; ``text`` says who.

    ``unseen`` is how many messages went, by SQS's approximate count, that the history does not name; None if
    that is not known.
    """

    queue: str
    at: datetime
    text: str
    unseen: int | None = None


class Evidence:
    """The evidence of one pipeline; ``history_failure`` says why the history could not be read, if so."""

    def __init__(self, aws: Aws, project: Project) -> None:
        self._aws = aws
        self._settings = project.settings
        self._names = project.settings.names
        self._related: dict[str, Callable[[str, str], bool]] = {}
        self._answers: dict[tuple[str, str], bool] = {}
        self._tips: dict[str, str | None] = {}
        self.history_failure = ""

    @cached_property
    def _table_streams(self) -> list[Stream]:
        return table_streams(self._aws, self._settings.table.name)

    def stream_pages(self, since: datetime, until: datetime) -> Iterator[StreamPage]:
        """Read the stream, each shard named with its stream; raises AwsError if it cannot be read."""
        window = Window(since=since, until=until)
        for stream in self._table_streams:
            source, pace = StreamSource(self._aws, stream.arn), pace_of(self._aws.client("dynamodbstreams"))
            reader = Reader(source, stream.arn, window, pace=pace)
            for read in reader.read():
                yield replace(read, shard=_shard(stream.arn, read.shard))
            self._related[stream.label] = reader.lineage.related
            self._tips |= {_shard(stream.arn, shard): last for shard, last in reader.tips.items()}

    def tips(self) -> Mapping[str, str | None]:
        """Return the open shards whose end nothing proved, each with the number of the last record read."""
        return self._tips

    def expired_before(self, since: datetime, now: datetime) -> datetime | None:
        """Return until when the stream has expired, if the window begins before that."""
        return expired_before(self._table_streams[0], since=since, now=now)

    def stream_begins(self) -> datetime | None:
        """Return when the oldest stream that can be read was switched on, if that is known."""
        return self._table_streams[0].created

    def related(self, one: str, other: str) -> bool:
        """Say whether the sequence numbers of two shards that were read compare."""
        if one == other:
            return True
        pair = (one, other)
        if pair not in self._answers:
            stream, _, shard = one.partition("/")
            another, _, child = other.partition("/")
            known = self._related.get(stream)
            self._answers[pair] = stream == another and known is not None and known(shard, child)
        return self._answers[pair]

    def log(self, since: datetime, text: str = "") -> Iterator[LogEntry]:
        """Read the lines about records from a moment on that contain ``text``, the enqueuer's log first.

        The last ones are of the history: messages that an operator moved.
        """
        for role in FUNCTION_ROLES:
            group = self._names.log_group(role)
            with contextlib.suppress(MissingLogGroup):
                for event in get_log_events(self._aws, group, since=since, text=text or ABOUT_A_RECORD):
                    place = f"log {group} {event.stream}".rstrip()
                    yield LogEntry(logger_of(role, event), parse_line(role, event), place)
        yield from self._moves(since, text)

    def _moves(self, since: datetime, text: str) -> Iterator[LogEntry]:
        """Read which messages an operator moved, parked, took away or put back."""
        for event in self._history(since, text or ABOUT_A_RECORD):
            move = event.move
            for message in move.messages if move else ():
                facts = {name: value for name, value in asdict(message).items() if value}
                facts["reason"] = _by(event)
                facts["target"] = move.target if move else ""
                place = f"log {self._names.operations_log} {event.stream}".rstrip()
                line = LogLine(event.time, "worker", "info", move.word if move else "", facts)
                yield LogEntry("operator", line, place)

    def purges(self, since: datetime) -> tuple[Purge, ...]:
        """Return the queues that an operator emptied for good."""
        return tuple(
            Purge(
                event.move.source,
                event.time,
                f"purged at {iso(event.time)} {_by(event)}",
                event.move.unseen,
            )
            for event in self._history(since, EVERYTHING_TEXT)
            if event.move is not None and event.move.everything
        )

    def _history(self, since: datetime, text: str) -> Iterator[HistoryEvent]:
        """Read the history; what cannot be read is not evidence, and said."""
        try:
            yield from read_events(self._aws, self._names, since=since, text=text)
        except MissingLogGroup:
            return
        except FifoError as error:
            self.history_failure = error.message

    def open_runs(self, since: datetime) -> tuple[OpenRun, ...]:
        """Return the runs in operators' processes that have begun since then, and not logged their end."""
        # Of a run that was killed after its first lines, the last one shows until when it was at work.
        runs: dict[str, OpenRun] = {}
        ended: set[str] = set()
        for role, prefix in _RUNS.items():
            with contextlib.suppress(MissingLogGroup):
                group = self._names.log_group(role)
                for event in get_log_events(self._aws, group, since=since, prefix=prefix):
                    time = from_epoch_ms(event.time)
                    begun = runs[event.stream].begun if event.stream in runs else time
                    runs[event.stream] = OpenRun(logger_of(role, event), begun, last=time)
                    # To read each of 100,000 lines takes 1.6 s, to search them 0.03 s.
                    if RUN_ENDED in event.text and parse_line(role, event).message == RUN_ENDED:
                        ended.add(event.stream)
        silent_ones = self._silent_drains(since, runs)
        return (*(run for stream, run in runs.items() if stream not in ended), *silent_ones)

    def _silent_drains(self, since: datetime, runs: Mapping[str, OpenRun]) -> Iterator[OpenRun]:
        """Yield the drains that have begun, by the history, and logged nothing: not even their end."""
        drains = [one for one in self._history(since, OPERATION_TEXT) if one.header.operation == "drain"]
        ended = {one.header.id for one in drains if one.end is not None}
        for one in drains:
            # Both streams of a process have its host and its number: drain/HOST/PID-TIME.
            process = one.stream.rpartition("-")[0]
            logged = any(
                stream.rpartition("-")[0] == process and run.begun >= one.time - CLOCKS
                for stream, run in runs.items()
            )
            if one.header.id not in ended and "lambda" not in one.header.command and not logged:
                yield OpenRun("worker", one.time, one.time)

    def killed_runs(self, since: datetime) -> tuple[OpenRun, ...]:
        """Return the runs of the worker function that ended without logging it: a timeout, no memory."""
        group = self._names.log_group("worker")
        # A worker that the queue starts has an invocation for each batch: not all of their lines at once.
        lines = [
            get_log_events(self._aws, group, since=since, text=text)
            for text in (_STARTED, RUN_ENDED, _REPORTED)
        ]
        with contextlib.suppress(MissingLogGroup):
            events = heapq.merge(*lines, key=lambda event: event.time)
            return tuple(killed_invocations(events, self._settings.functions.timeout))
        return ()

    def logs_since(self, now: datetime) -> Mapping[FunctionRole, datetime | None]:
        """Return since when each function's log holds everything; None if it has none."""
        return {role: holds_since(self._aws, self._names.log_group(role), now=now) for role in FUNCTION_ROLES}

    def history_since(self, now: datetime) -> datetime | None:
        """Return since when the history holds everything; None if there is none."""
        return holds_since(self._aws, self._names.operations_log, now=now)

    def paused_groups(self, now: datetime) -> tuple[PausedGroup, ...]:
        """Return the groups that functions hide now, where the queue starts them."""
        by_queue = self._settings.worker.by_queue
        return paused_now(self._aws, self._settings, now=now).paused if by_queue else ()

    def look(self, role: QueueRole, take: Callable[[Message], bool | None]) -> BrowseResult:
        """Look through a queue."""
        return browse(Queue(self._aws, self._names, role), take)

    def feed(self) -> Feed:
        """Ask how the enqueuer is fed."""
        name, table = self._names.function("enqueuer"), self._settings.table.name
        admin = MappingAdmin(self._aws.client("lambda"), self._aws.client("dynamodb"), table, Waiter())
        found = admin.read(name)
        given_up = self._given_up()
        if found is None:
            reason = f"{name} has no event source mapping ({command_line('deploy')} makes it)"
            return Feed(running=False, reason=reason, given_up=given_up)
        if found.properties["table"] != table:
            reason = (
                f"the enqueuer reads another stream than the table's present one ({command_line('deploy')})"
            )
            return Feed(running=False, reason=reason, given_up=given_up)
        result = str(found.facts["last_result"])
        failing = result if result.startswith(_BATCH_FAILED) else ""
        if found.facts["enabled"]:
            return Feed(given_up=given_up, failing=failing)
        return Feed(
            running=False,
            reason=f"the enqueuer is paused ({command_line('resume enqueuer')})",
            given_up=given_up,
            paused=True,
            stopped=found.facts["changed"] if found.facts["state"] == "Disabled" else None,
            failing=failing,
        )

    @property
    def log_lag(self) -> float:
        """After how many seconds what was logged can be read for sure; emulators log at once."""
        host = host_of(self._aws.client("logs").meta.endpoint_url)
        return _LOG_LAG_SECONDS if is_aws(host) else 0.0

    def _given_up(self) -> tuple[GivenUp, ...]:
        """Read the failure records that can be seen; what cannot be read is not evidence."""
        queue = Queue(self._aws, self._names, "stream-failures")
        table = self._table_streams[0].arn.partition("/stream/")[0]
        found: list[GivenUp] = []

        def take(message: Message) -> None:
            with contextlib.suppress(NotAFailureRecordError):
                batch = parse_failure(message.body, table_arn=table)
                found.append(GivenUp(_shard(batch.stream, batch.shard), int(batch.first), int(batch.last)))

        with contextlib.suppress(FifoError):
            if queue.counts().total:
                look(queue, take)
        return tuple(found)


def refuse_undeployed(aws: Aws, names: Names, *, now: datetime) -> None:
    """Raise NotDeployedError where neither main nor the enqueuer's log group exists: it is another pipeline.

    Where one of them is left, it is evidence.
    """
    try:
        _ = Queue(aws, names, "main").url
    except NotDeployedError:
        if holds_since(aws, names.log_group("enqueuer"), now=now) is None:
            raise


def read_stream(
    evidence: Evidence,
    *,
    since: datetime,
    now: datetime,
    take: Callable[[StreamPage], None],
    listener: Listener = silent,
) -> datetime | None:
    """Hand the pages of a window to ``take``; return until when its records have expired, if any have."""
    gap, read, oldest = False, 0, now
    progress = Progress(listener, "stream records read")
    for page in evidence.stream_pages(since, now):
        take(page)
        gap = gap or page.gap
        read += len(page.records)
        oldest = min([oldest, *(record.created for record in page.records if record.created)])
        progress.at(read)
    expired = evidence.expired_before(since, now)
    return max(expired or since, oldest) if gap else expired


def killed_invocations(events: Iterable[LogEvent], timeout: timedelta) -> Iterator[OpenRun]:
    """Yield the invocations of which Lambda logged beginning and end, and the function no end.

    ``events`` are in order of time. One that has no end was over when the next one of its environment began,
    and by the function's ``timeout``.
    """
    begun: dict[str, tuple[str, int]] = {}  # in each log stream, the invocation at work: request id and time
    for event in events:
        request = _REQUEST.search(event.text)
        open_one = begun.get(event.stream)
        ended = RUN_ENDED in event.text and parse_line("worker", event).message == RUN_ENDED
        if event.text.startswith(_STARTED) and request:
            if open_one is not None:
                over = open_one[1] + round(timeout.total_seconds() * 1000)
                yield _killed(open_one[1], min(event.time, over))
            begun[event.stream] = request[1], event.time
        elif open_one is not None and (ended or (request and request[1] == open_one[0])):
            del begun[event.stream]
            if not ended:
                yield _killed(open_one[1], event.time)


def _killed(begun: int, last: int) -> OpenRun:
    return OpenRun("worker", from_epoch_ms(begun), from_epoch_ms(last))


def _by(event: HistoryEvent) -> str:
    """Say who moved messages where, and by which command."""
    header, move = event.header, event.move
    where = f"to {move.target} " if move and move.word == "dumped" and move.target else ""
    return f"{where}by {short_who(header.who)}@{header.host}: {header.command}"


def logger_of(role: FunctionRole, event: LogEvent) -> Logger:
    """Return who wrote a line: a replay writes beside the enqueuer function, a drain counts as the worker."""
    return "replay" if role == "enqueuer" and event.stream.startswith(_REPLAYS) else role


def _shard(arn: str, shard: str) -> str:
    """Name a shard so that none of another stream is named alike."""
    return f"{arn.rpartition('/stream/')[2]}/{shard}"
