"""``replay``: records of the table's stream through the enqueuer's own code again."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from fifo_cli.aws.logs import MissingLogGroup, get_log_events
from fifo_cli.aws.session import Aws
from fifo_cli.aws.sqs import Queue
from fifo_cli.errors import FifoError
from fifo_cli.events import Listener, Noted, Warned, silent
from fifo_cli.handlers.enqueuer import Enqueuer
from fifo_cli.handlers.records import Outgoing, Rules, Skipped, item_key
from fifo_cli.model.names import Names
from fifo_cli.model.results import Document, Fields, WorkResult, to_json_value
from fifo_cli.model.settings import Project
from fifo_cli.model.times import from_epoch_ms, iso
from fifo_cli.operations.log_shipping import shipped_journal
from fifo_cli.operations.maintenance_lock import maintenance
from fifo_cli.operations.monitor.logs import parse_line
from fifo_cli.operations.stream.audit import MissingIds, audit, unproven_tips
from fifo_cli.operations.stream.evidence import RUN_ENDED
from fifo_cli.operations.stream.failed_batches import InFlightBatches, Kept, delete_done, held, read_failed
from fifo_cli.operations.stream.item_keys import shown_key
from fifo_cli.operations.stream.message_rules import made_of, message_rules
from fifo_cli.operations.stream.reader import RETENTION, ReadPace, Window
from fifo_cli.operations.stream.record_filter import RecordFilter
from fifo_cli.operations.stream.replay_records import gather
from fifo_cli.operations.stream.replay_store import (
    FOLDER,
    ReplayStore,
    Sums,
    identity,
    open_checkpoint,
    temporary_checkpoint,
)
from fifo_cli.operations.stream.replay_transfer import EarlierMessages, ReplayTransfer
from fifo_cli.operations.transfer.result import Failure, MoveReport

# SQS's deduplication interval, and a little for clocks.
_RECENT: Final = timedelta(minutes=6)
DEDUPLICATION: Final = timedelta(minutes=5)
_RECENT_MAX: Final = 200_000
SHOWN_MAX: Final = 100
# What the reading found out, written down for a run that continues this one.
_FACTS: Final = ("read", "expired", "notes", "tips")


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """What to replay. ``asked`` is the command line as it was given, ``relative`` if a time of it is."""

    window: Window
    key: Mapping[str, Any] | None = None
    events: frozenset[str] = frozenset()
    expression: str | None = None
    failed: bool = False
    missing: bool = False
    settle: timedelta = timedelta()
    fresh: bool = False
    restart: bool = False
    asked: tuple[str, ...] = ()
    relative: bool = True

    @property
    def takes_all_missing(self) -> bool:
        """Whether nothing but the time at which they begin chooses among what is missing."""
        chosen = (self.key, self.expression, self.window.from_sequence, self.window.to_sequence)
        return not any(chosen) and not self.events and not any("--until" in one for one in self.asked)


@dataclass(frozen=True)
class ReplayResult(WorkResult):
    """What became of the records, those of an interrupted replay that was gone on with included.

    ``expired`` counts records that are known to be gone from the stream; None if some are, and nobody knows
    how many. ``kept`` says why failure records stay in their queue, ``notes`` what else needs a look.
    ``tips`` are the open shards behind whose last record more may be, with that record's number.
    """

    read: int
    sums: Sums
    bounds: tuple[str | None, str | None]
    expired: int | None
    failures: tuple[Failure, ...] = ()
    kept: tuple[Kept, ...] = ()
    tips: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether nothing of it waits for another run."""
        return self.error is None and not self.sums.failed and not self.sums.waiting

    @property
    def waits_for_another_run(self) -> bool:
        return bool(self.sums.failed or self.sums.waiting)

    @property
    def needs_look(self) -> bool:
        """Whether a record failed, was parked or has expired, or there are doubts."""
        return bool(self.sums.failed or self.sums.parked or self.expired != 0 or self.kept or self.notes)

    def document(self) -> Document:
        first, last = self.bounds
        return {
            "read": self.read,
            "matched": self.sums.matched,
            **asdict(self.sums),
            "first_sequence": first,
            "last_sequence": last,
            "expired": self.expired,
            "failures": [
                {"event_id": one.message_id, "group": one.group, "reason": one.reason}
                for one in self.failures
            ],
            "kept": to_json_value(self.kept),
            "notes": list(self.notes),
            "unproven_tips": to_json_value(unproven_tips(self.tips)),
        }


@dataclass(frozen=True, slots=True)
class PreviewedRecord(Fields):
    """A record of the stream, and what it would become: ``group`` is None where that is nothing."""

    event_id: str
    stream_sequence: str
    event_name: str
    item_key: str
    created_at: datetime | None
    becomes: str
    group: str | None
    reason: str | None


@dataclass(frozen=True)
class ReplayPreview(ReplayResult):
    """What a replay would do: the first hundred records, and what each would become."""

    records: tuple[PreviewedRecord, ...] = ()

    @property
    def waits_for_another_run(self) -> bool:
        return bool(self.sums.failed)

    @property
    def needs_look(self) -> bool:
        return bool(self.expired != 0 or self.kept or self.notes)

    def document(self) -> Document:
        return {**super().document(), "records": to_json_value(self.records)}


@dataclass
class ReplayWork:
    """What one run of replay works on: its checkpoint, and what the reading found out.

    ``in_flight`` are the failure records of ``--failed``.
    """

    checkpoint: ReplayStore
    read: int = 0
    expired: int | None = 0
    notes: list[str] = field(default_factory=list)
    tips: Mapping[str, str | None] = field(default_factory=dict)
    in_flight: InFlightBatches | None = None

    def save(self) -> None:
        self.checkpoint.note(**{name: json.dumps(getattr(self, name)) for name in _FACTS})

    @classmethod
    def of_earlier_run(cls, checkpoint: ReplayStore) -> ReplayWork:
        facts = {name: checkpoint.fact(name) for name in _FACTS}
        return cls(checkpoint, **{name: json.loads(fact) for name, fact in facts.items() if fact})


@dataclass(frozen=True)
class Replay:
    """One replay; ``folder`` keeps what an interrupted one has still to send."""

    aws: Aws
    project: Project
    options: ReplayOptions
    folder: Path
    code_folders: tuple[str, ...] = ()
    listener: Listener = silent
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    pace: ReadPace | None = None

    @cached_property
    def names(self) -> Names:
        return self.project.settings.names

    @cached_property
    def main(self) -> Queue:
        return Queue(self.aws, self.names, "main")

    @cached_property
    def failures(self) -> Queue:
        return Queue(self.aws, self.names, "stream-failures")

    @cached_property
    def rules(self) -> Rules:
        """The enqueuer's rules; raises UsageError if the user's code cannot be loaded."""
        return message_rules(self.project.settings, self.code_folders)

    # What is to be replayed.

    @contextlib.contextmanager
    def gathered(self, *, dry_run: bool = False) -> Iterator[ReplayWork]:
        """Give the records to replay, read from the stream, or left by an interrupted run of the same.

        Those of ``--failed`` are not among them: they are read while their failure records are in flight.
        """
        _ = self.rules, self.main.url  # What is wrong with these is said before anything is read.
        if dry_run:
            opened: contextlib.AbstractContextManager[ReplayStore] = temporary_checkpoint()
        else:
            name = identity(self.aws.place.queue(self.names.main), self.options.asked)
            opened = open_checkpoint(self.folder / FOLDER, name, restart=self.options.restart)
        with opened as checkpoint:
            work = self._earlier(checkpoint)
            if work is None:
                checkpoint.begin(now=self.now)
                work = ReplayWork(checkpoint)
                if not self.options.failed:
                    self._gather(work)
                work.save()
            yield work

    def _earlier(self, checkpoint: ReplayStore) -> ReplayWork | None:
        """Return the work of an interrupted run, if there is any to go on with."""
        if checkpoint.is_stale(now=self.now, relative=self.options.relative):
            return None
        sums, begun = checkpoint.sums(), checkpoint.fact("begun") or ""
        checkpoint.retry_failed()
        self.listener(
            Noted(
                f"going on with the same replay, begun {begun} and interrupted: {sums.finished:,} of"
                f" {sums.matched:,} records were done by then; --restart would begin again"
            )
        )
        return ReplayWork.of_earlier_run(checkpoint)

    def _gather(self, work: ReplayWork) -> None:
        if not self.options.missing:
            self._read_stream(work, self.options.window, None)
            return
        since = self.options.window.since or self.now - RETENTION
        audited = audit(
            self.aws,
            self.project,
            since=since,
            now=self.now,
            settle=self.options.settle,
            code_folders=lambda: self.code_folders,
            listener=self.listener,
        )
        with audited as result:
            ids = MissingIds(result)
            work.notes += ids.notes
            if ids.resting:
                self.listener(
                    Warned(
                        f"some are {ids.resting}. When the enqueuer runs again it sends these, too, and more"
                        " than five minutes after this replay SQS takes both copies: do one or the other"
                    )
                )
            if not len(ids):
                return
            window = replace(self.options.window, since=since)
            chosen = self._read_stream(work, window, ids)
            lacking = len(ids) - chosen.found if self.options.takes_all_missing else 0
            if lacking:
                work.expired = min(lacking, ids.expired) if work.tips else lacking
            if lacking and work.expired != lacking:
                work.notes.append(
                    f"{lacking - ids.expired} missing records were not read: a shard is still open, and the"
                    " newest records may not be in this replay; run the command again"
                )

    def _read_stream(self, work: ReplayWork, window: Window, ids: MissingIds | None) -> RecordFilter:
        options = self.options
        chosen = RecordFilter(
            key=options.key, events=options.events, expression=options.expression, event_ids=ids
        )
        found = gather(
            self.aws,
            self.project.settings.table.name,
            window,
            chosen,
            work.checkpoint,
            now=self.now,
            pace=self.pace,
            listener=self.listener,
        )
        work.read, work.expired, work.tips = found.read, None if found.gap else 0, found.tips
        if chosen.failures:
            work.notes.append(
                f"--filter failed on {chosen.failures:,} records, which are not replayed; on the first:"
                f" {chosen.failure}"
            )
        if options.key is not None and not options.missing and not work.checkpoint.sums().matched:
            key = json.dumps(shown_key(options.key), ensure_ascii=False)
            work.notes.append(f"no record of the item {key} in what was read of the stream")
        if found.gap:
            work.notes.append(
                "a part of what was asked for has expired: a stream keeps its records for 24 hours"
            )
        if found.tips and not found.reached:
            work.notes.append(
                f"the record {window.to_sequence} was not read: a shard is still open, and the newest records"
                " may not be in this replay; run it again"
            )
        return chosen

    # What happens with it.

    def behind(self) -> int:
        """Return how many messages are in main, behind which the records would come."""
        return self.main.counts().total

    def has_nothing(self, work: ReplayWork) -> bool:
        """Say whether there is nothing to send; what ``--failed`` finds is known only at the end."""
        return not (work.checkpoint.sums().waiting or self.options.failed)

    def untouched(self, work: ReplayWork) -> ReplayResult:
        """Return the result when there is nothing to send, or nothing more."""
        work.checkpoint.note(done="yes")
        return self._result(work, MoveReport())

    def preview(self, work: ReplayWork) -> ReplayPreview:
        """Show what would be sent, without sending anything."""
        if self.options.failed:
            with self._failed_batches(work):
                pass
        first = itertools.islice(work.checkpoint.waiting(), SHOWN_MAX)
        records = tuple(_previewed(record, self.rules) for record in first)
        return ReplayPreview(**vars(self._result(work, MoveReport())), records=records)

    def perform(
        self, work: ReplayWork, *, force: bool = False, stopped: Callable[[], bool] = lambda: False
    ) -> ReplayResult:
        """Send what is to be sent. Raises BusyError if another maintenance operation holds the pipeline."""
        if self.has_nothing(work):
            return self.untouched(work)
        tags = self.main.tags
        with (
            maintenance(tags, "replay", force=force, listener=self.listener),
            contextlib.ExitStack() as stack,
        ):
            if self.options.failed:
                stack.enter_context(self._failed_batches(work, stopped))
            report = self._send(work, stopped)
            left = 0
            if work.in_flight and not stopped():
                left = delete_done(self.failures, work.in_flight, work.checkpoint)
            if left:
                work.notes.append(f"{left} failure records are done, but could not be deleted: run it again")
            result = self._result(work, report)
            # Else another run is to know what was sent: as long as a stream has records at all.
            if result.is_whole and not left and not (work.in_flight and work.in_flight.partial):
                work.checkpoint.note(done="yes")
        return result

    @contextlib.contextmanager
    def _failed_batches(
        self, work: ReplayWork, stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[None]:
        """Read the records of the failed batches, whose failure records stay in flight meanwhile."""
        table_arn = self.aws.place.table(self.project.settings.table.name)
        with held(self.failures, table_arn=table_arn, listener=self.listener, stopped=stopped) as in_flight:
            read_failed(
                self.aws,
                in_flight,
                work.checkpoint,
                self.project.settings.message.events,
                pace=self.pace,
                listener=self.listener,
                stopped=stopped,
            )
            work.in_flight, work.read, work.expired = in_flight, in_flight.read, in_flight.expired
            yield

    def _send(self, work: ReplayWork, stopped: Callable[[], bool]) -> MoveReport:
        if not work.checkpoint.sums().waiting or stopped():
            return MoveReport(stopped=stopped())
        work.checkpoint.note(sending="begun")
        fresh = f"replay-{work.checkpoint.label}" if self.options.fresh else ""
        urls = {"main": self.main.url, "dlq": Queue(self.aws, self.names, "dlq").url}
        earlier = EarlierMessages(self._recent_messages())
        with shipped_journal(self.aws, self.names, "enqueuer", "replay", listener=self.listener) as journal:
            enqueuer = Enqueuer(self.rules, self.aws.client("sqs"), urls, journal)
            report = ReplayTransfer(work.checkpoint, enqueuer, earlier, fresh).perform(
                throttles=lambda: self.main.throttles, listener=self.listener, stopped=stopped
            )
            sums = work.checkpoint.sums()
            journal("info", RUN_ENDED, enqueued=sums.enqueued, failed=sums.failed, waiting=sums.waiting)
        if self.options.missing and sums.suppressed:
            work.notes.append(_still_missing(sums.suppressed, earlier.latest))
        return report

    def _recent_messages(self) -> dict[str, int]:
        """Return the ids and times of the messages that were logged within SQS's deduplication interval.

        Without the logs, or the permission to read them, fewer of the suppressed ones are known as such.
        """
        found: dict[str, int] = {}
        group = self.names.log_group("enqueuer")
        try:
            for event in get_log_events(self.aws, group, since=datetime.now(UTC) - _RECENT, text="enqueued"):
                line = parse_line("enqueuer", event)
                message_id = line.text("message_id")
                if line.message == "enqueued" and message_id is not None:
                    found[message_id] = event.time
                if len(found) >= _RECENT_MAX:
                    break
        except (MissingLogGroup, FifoError) as error:
            why = error.message if isinstance(error, FifoError) else f"{group} does not exist"
            self.listener(Warned(f"suppressed messages are counted as enqueued: {why}"))
        return found

    def _result(self, work: ReplayWork, report: MoveReport) -> ReplayResult:
        return ReplayResult(
            read=work.read,
            sums=work.checkpoint.sums(),
            bounds=work.checkpoint.bounds(),
            expired=work.expired,
            failures=tuple(report.failures),
            kept=tuple(Kept(*one) for one in sorted(work.in_flight.kept.items())) if work.in_flight else (),
            tips=work.tips,
            notes=tuple(work.notes),
            error=report.error,
        )


def _still_missing(number: int, sent_before: int) -> str:
    """Say that what SQS suppressed did not come back by that; ``sent_before`` is in epoch milliseconds."""
    since = from_epoch_ms(sent_before) if sent_before else datetime.now(UTC)
    return (
        f"{number} still missing: SQS took them within the last five minutes and drops a second copy; run it"
        f" again after {iso(since + DEDUPLICATION)}, or with --fresh"
    )


def _previewed(record: Mapping[str, Any], rules: Rules) -> PreviewedRecord:
    """Return what the enqueuer's code makes of a record."""
    data = record["dynamodb"]
    message = made_of(record, rules)
    group: str | None = None
    match message:
        case Skipped(reason=reason):
            becomes = "skipped"
        case Outgoing(queue=queue, group=group, reason=reason):
            becomes = "enqueued" if queue == "main" else "parked"
    created = data.get("ApproximateCreationDateTime")
    return PreviewedRecord(
        record["eventID"],
        data["SequenceNumber"],
        record["eventName"],
        item_key(record),
        datetime.fromtimestamp(created, UTC) if created else None,
        becomes,
        group,
        reason or None,
    )
