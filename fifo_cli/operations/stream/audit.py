"""audit: whether every record of the stream that should be a message was delivered once and in order.

By the rules of fifo.toml as they are now, every record of the window is one of: delivered (a log says so),
queued or parked (seen in a queue, or sent to one that holds enough that cannot be seen), waiting (its turn in
the stream has not come, or the enqueuer is paused), moved (an operator took it away: the history says who),
missing, or unknown: what the evidence does not reach is never taken for fine.

Evidence may be late: a log line can take minutes to be readable. So nothing is called missing because of a
line that may only be late. With ``settle``, a message that is gone from the queues is missing only if it was
gone longer ago than that, and only order can prove it: a later message of its group was delivered before
then. A record without an enqueuer's line is missing only if a later one of its shard has a line that old.
A short ``settle`` is waited out between two looks instead: what the first did not see has been logged then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from fifo_cli.errors import ExitCode
from fifo_cli.events import Listener, Progressed, silent
from fifo_cli.handlers.records import Outgoing, item_key
from fifo_cli.invocation import command_line
from fifo_cli.model.history_events import MOVED_WORDS
from fifo_cli.model.message import Message
from fifo_cli.model.names import FunctionRole, QueueRole
from fifo_cli.model.results import Document, Fields, Result
from fifo_cli.model.times import from_epoch_ms, iso
from fifo_cli.operations.monitor.logs import LogLine
from fifo_cli.operations.pace import Progress
from fifo_cli.operations.queues.browse import ROLES, BrowseResult
from fifo_cli.operations.stream.audit_store import (
    AuditedRecord,
    AuditStore,
    Delivery,
    Logger,
    Numbered,
    Step,
    Verdict,
)
from fifo_cli.operations.stream.evidence import (
    CLOCKS,
    Evidence,
    Feed,
    LogEntry,
    Purge,
    read_stream,
    refuse_undeployed,
)
from fifo_cli.operations.stream.item_keys import read_key, shown_key
from fifo_cli.operations.stream.message_rules import KnownRules, going_without, known_rules
from fifo_cli.operations.stream.reader import StreamPage
from fifo_cli.operations.stream.record_filter import SEQUENCE
from fifo_cli.operations.stream.record_state import (
    LAST_WORK,
    NOT_ENQUEUED,
    Hidden,
    Judge,
    RecordHistory,
    doubt,
    is_doubtful,
    killed_run,
    not_purged,
)
from fifo_cli.operations.stream.shards import StreamRecord

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.settings import Project

T = TypeVar("T")

# A record's time is rounded down to the second, and two machines' clocks differ a little.
_SLACK: Final = timedelta(seconds=60)
# Longer than a record waits for an enqueuer that keeps up: batches, retries, a deploy.
_LATE: Final = timedelta(minutes=5)
# So long a settle time is waited out; a longer one is not.
_WAITED_OUT: Final = timedelta(seconds=60)
_CHUNK: Final = 500
_NAMED_MAX: Final = 5
_REASONS_MAX: Final = 20
# A stream keeps a record for 24 hours: from here on, what waits behind a paused enqueuer needs a look.
_KEPT_HOURS: Final = 24
_PAUSED_LATE: Final = timedelta(hours=18)
# A first deploy makes stream and log groups within so long of each other.
_DEPLOYED: Final = timedelta(minutes=2)
# The words of handlers/enqueuer.py and handlers/message_turn.py for what became of a record.
# A message that SQS suppressed had been sent before.
_SENT: Final = frozenset({"enqueued", "suppressed", "parked"})
_ENQUEUER_WORDS: Final = frozenset({"enqueued", "suppressed", "skipped", "parked", "not enqueued"})
_WORKER_WORDS: Final = frozenset({"delivered", "parked", "failed", "skipped"})
_WORDS: Final[Mapping[Logger, frozenset[str]]] = {
    "enqueuer": _ENQUEUER_WORDS,
    "replay": _ENQUEUER_WORDS,
    "worker": _WORKER_WORDS,
    "operator": frozenset(MOVED_WORDS),
}


@dataclass(frozen=True, slots=True)
class Finding(Fields):
    """A record that is not proven fine."""

    event_id: str
    event_name: str | None
    key: Any
    group: str | None
    stream_sequence: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Unplaced(Finding):
    """One that is missing, or may be fine; ``reason`` says what the evidence shows or does not show."""

    reason: str


@dataclass(frozen=True, slots=True)
class Duplicated(Finding):
    deliveries: tuple[datetime, ...]


@dataclass(frozen=True, slots=True)
class PossiblyTwice(Finding):
    """A delivered one that an API may have taken at an earlier attempt, too; ``reason`` is of the first.

    ``unanswered`` is when those attempts ended.
    """

    unanswered: tuple[datetime, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Reordered(Finding):
    """One that was delivered after a later one of its group: event id and item of that one."""

    delivered_at: datetime
    after: str
    after_key: Any


@dataclass(frozen=True, slots=True)
class Tip(Fields):
    """An open shard, behind whose last record that was read more may be."""

    shard: str
    read_to: str | None


@dataclass(frozen=True, slots=True)
class Reason(Fields):
    """Why so many records are thought to be in a place in which they were not seen."""

    state: Verdict
    number: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSummary(Fields):
    """How many records were found in which place, and what makes the proof incomplete.

    ``queued_unseen`` and ``parked_unseen`` are those of the queued and parked that are in a queue by its
    count alone. ``oldest_waiting`` is when the oldest of those that wait in the stream was written.
    """

    records: int
    delivered: int
    queued: int
    parked: int
    waiting: int
    moved: int
    unknown: int
    filtered: int
    missing: int
    duplicated: int
    possibly_twice: int
    reordered: int
    since: datetime
    until: datetime
    notes: tuple[str, ...]
    unproven_tips: tuple[Tip, ...]
    queued_unseen: int
    parked_unseen: int
    oldest_waiting: datetime | None
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Findings:
    """What is not proven fine, by the words of the JSON; read as it is asked for."""

    missing: Iterable[Unplaced] = ()
    duplicated: Iterable[Duplicated] = ()
    possibly_twice: Iterable[PossiblyTwice] = ()
    reordered: Iterable[Reordered] = ()
    unknown: Iterable[Unplaced] = ()

    def items(self) -> Iterator[tuple[str, Iterable[Finding]]]:
        return ((one.name, getattr(self, one.name)) for one in fields(self))


@dataclass(frozen=True)
class AuditResult(Result):
    """What an audit found out, as long as its store is open; the lists are read when they are asked for."""

    store: AuditStore
    summary: AuditSummary
    related: Callable[[str, str], bool]

    @property
    def exit_code(self) -> ExitCode:
        """1 if anything is missing, was delivered twice or out of order, or cannot be known.

        What waits, or is in a queue, is not a gap.
        """
        found = self.summary
        gap = found.missing or found.duplicated or found.reordered or found.unknown or found.notes
        return ExitCode.ATTENTION if gap else ExitCode.OK

    def document(self) -> Document:
        """Return the sums, with the lists in place of their lengths."""
        lists = {word: [one.document() for one in found] for word, found in self.findings().items()}
        unknown = lists.pop("unknown")
        return {**self.summary.document(), **lists, "unknown_records": unknown}

    def rows(self) -> Iterator[Document]:
        """Yield a line for each finding, and the sums last."""
        for word, found in self.findings().items():
            yield from ({"finding": word, **one.document()} for one in found)
        yield {"finding": "summary", **self.summary.document()}

    def findings(self) -> Findings:
        """Return what is not proven fine; each list can be read once."""
        return Findings(
            missing=self._unplaced("missing"),
            duplicated=(
                Duplicated(*_described(entry), tuple(map(from_epoch_ms, times)))
                for entry, times in self.store.duplicated()
            ),
            possibly_twice=(
                PossiblyTwice(*_described(entry), tuple(map(from_epoch_ms, times)), reason)
                for entry, times, reason in self.store.possibly_twice()
            ),
            reordered=(
                Reordered(
                    *_described(entry), from_epoch_ms(at), after.event_id, shown_key(read_key(after.key))
                )
                for entry, at, after in self.store.reordered(self.related)
            ),
            unknown=self._unplaced("unknown"),
        )

    def _unplaced(self, verdict: Verdict) -> Iterator[Unplaced]:
        return (Unplaced(*_described(entry), reason) for entry, reason in self.store.judged(verdict))


def unproven_tips(tips: Mapping[str, str | None]) -> tuple[Tip, ...]:
    """Return the open shards behind whose last record more may be."""
    return tuple(Tip(shard, last) for shard, last in sorted(tips.items()))


class MissingIds:
    """The event ids that an audit finds missing; on disk, not in memory.

    ``notes`` say what it cannot know, and of which records; ``resting`` is why the enqueuer has not come to
    some that it will send when it goes on, "" if there are none. ``expired`` counts those that the stream did
    not hold any more, of which only the log is known.

    What sends them again must log it in the enqueuer's log group (``log_shipping``): of a record that waits
    deep in main, another audit knows nothing else.
    """

    def __init__(self, result: AuditResult) -> None:
        self._store = result.store
        self._count = result.summary.missing
        self.expired = sum(not entry.shard for entry, _ in self._store.judged("missing"))
        self.notes = (*result.summary.notes, *_doubtful(result))
        reasons = [reason for reason, _ in self._store.reasons("missing")]
        self.resting = next((one for one in reasons if one.startswith(NOT_ENQUEUED)), "")

    def __contains__(self, event_id: object) -> bool:
        return isinstance(event_id, str) and self._store.is_judged(event_id, "missing")

    def __len__(self) -> int:
        return self._count


def _doubtful(result: AuditResult) -> Iterator[str]:
    """Name the first of those that may be safe or not."""
    rows = list(islice(result.store.judged("unknown"), _NAMED_MAX))
    if not rows:
        return
    more = result.summary.unknown - len(rows)
    keys = ", ".join(entry.key for entry, _ in rows) + (f" and {more:,} more" if more else "")
    yield f"not known to be safe, and not replayed: {keys} ({command_line('audit')} shows more)"


def audit(
    aws: Aws,
    project: Project,
    *,
    since: datetime,
    now: datetime,
    settle: timedelta,
    code_folders: Callable[[], Iterable[str]] = tuple,
    listener: Listener = silent,
) -> Audit:
    """Return an audit of what was written from ``since`` to ``now``.

    The user's own code is imported from ``code_folders``; if that fails, or it does not return, the audit
    goes without it and says so. Raises NotDeployedError if nothing is deployed; when the audit is entered,
    NotDeployedError or AwsError if stream or logs cannot be read.
    """
    refuse_undeployed(aws, project.settings.names, now=now)
    return Audit(
        Evidence(aws, project),
        known_rules(aws, project.settings, code_folders),
        since=since,
        now=now,
        settle=settle,
        listener=listener,
    )


@dataclass
class Audit:
    """One audit; its result can be read as long as its ``with`` block runs.

    Log lines younger than ``settle`` may not be readable yet. The evidence is taken in the direction in which
    messages go, the logs last: what moved on meanwhile is then seen in one place at least.
    """

    evidence: Evidence
    rules: KnownRules
    _: KW_ONLY
    since: datetime
    now: datetime
    settle: timedelta = timedelta()
    listener: Listener = silent
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        self.store = AuditStore()
        self.expired: datetime | None = None
        self.begins: datetime | None = None
        # What happened up to here has been logged readably; None: all of it.
        self.settled = self.now - self.settle if self.settle else None
        # What was sent up to here and is in no queue has been gone for longer than the settle time.
        self.gone_since: datetime | None = None
        self.looks: dict[QueueRole, BrowseResult] = {}
        self.feed = Feed()
        self.looked = 0

    def __enter__(self) -> AuditResult:
        try:
            return self._result()
        except BaseException:
            self.store.close()
            raise

    def __exit__(self, *error: object) -> None:
        self.store.close()

    def _result(self) -> AuditResult:
        self.expired = read_stream(
            self.evidence, since=self.since, now=self.now, take=self._add_page, listener=self.listener
        )
        self.begins = self.evidence.stream_begins()
        if self.begins is not None and self._is_renewed(self.begins):
            self.expired = max(self.expired or self.begins, self.begins)
        self._read_logs(self.since - _SLACK)
        if self.store.has_unplaced():
            self._look_and_judge()
            if any(number for verdict, number in self.store.verdicts().items() if verdict != "moved"):
                self._look_again()
        self._note_killed_runs()
        return AuditResult(self.store, self._summary(), self.evidence.related)

    def _note_killed_runs(self) -> None:
        """Note what a run that was killed had received, and may have delivered without logging it."""
        received = list(self.store.received_unlogged())
        if not received:
            return
        since = self.since - _SLACK
        drains = [run for run in self.evidence.open_runs(since) if run.logger == "worker"]
        # A process may have received more after its last line; of a function Lambda knows when it ended.
        runs = [(run, LAST_WORK) for run in drains]
        runs += [(run, CLOCKS) for run in self.evidence.killed_runs(since)]
        for event_id, written, delivered in received:
            for run, more in runs:
                last = _milliseconds(run.last)
                # What it received was written before, and it was not this run that delivered it.
                if written <= _milliseconds(run.last + more) and last < delivered:
                    self.store.add_unanswered([(event_id, last, killed_run(run))])

    def _add_page(self, page: StreamPage) -> None:
        self.store.add_records(self._entry(page.shard, record) for record in page.records)

    def _is_renewed(self, begins: datetime) -> bool:
        """Say whether the pipeline is older than its stream: what was written before is in no stream."""
        logs = [since for since in self.evidence.logs_since(self.now).values() if since is not None]
        return begins > self.since and any(since < begins - _DEPLOYED for since in logs)

    def _entry(self, shard: str, record: StreamRecord) -> AuditedRecord:
        message = self.rules.made_of(record.raw)
        return AuditedRecord(
            record.event_id,
            shard,
            record.stream_sequence,
            str(record.raw["eventName"]),
            item_key(record.raw),
            int(record.created.timestamp()) if record.created else 0,
            message.group if isinstance(message, Outgoing) else None,
        )

    def _read_logs(self, since: datetime) -> None:
        read, progress = 0, Progress(self.listener, "log lines read")
        for entries in _chunks(self.evidence.log(since)):
            self.store.add_records(filter(None, map(self._logged_record, entries)))
            self._add_facts(entries)
            read += len(entries)
            progress.at(read)

    def _add_facts(self, entries: Iterable[LogEntry]) -> None:
        """Put what log lines show of records into the store; other lines have none of our words."""
        deliveries: list[Delivery] = []
        unanswered: list[tuple[str, int, str]] = []
        numbers: list[Numbered] = []
        steps: list[Step] = []
        receives: list[tuple[str, str, int]] = []
        for entry in entries:
            line, word, time = entry.line, entry.word, _milliseconds(entry.line.time)
            event_id, by_worker = line.text("event_id"), entry.logger == "worker"
            if not event_id or word not in _WORDS[entry.logger]:
                continue
            steps.append(Step(event_id, entry.logger, word, time, line.text("reason") or ""))
            number = line.text("sequence_number") or ""
            if by_worker and line.receives is not None:
                receives.append((event_id, line.text("message_id") or "", line.receives))
            if by_worker and is_doubtful(line):
                # One that was delivered in the same run was tried before that.
                unanswered.append((event_id, time - (word == "delivered"), doubt(line)))
            if by_worker and word == "delivered":
                message_id = line.text("message_id") or ""
                deliveries.append(Delivery(event_id, time, message_id, line.receives or 0))
            elif word in ("enqueued", "suppressed") and SEQUENCE.fullmatch(number):
                numbers.append(Numbered(event_id, line.text("group") or "", int(number)))
        self.store.add_deliveries(deliveries)
        self.store.add_unanswered(unanswered)
        self.store.add_receives(receives)
        self.store.add_steps(steps)
        self.store.add_numbers(numbers)

    def _logged_record(self, fact: LogEntry) -> AuditedRecord | None:
        """Return the record that an enqueuer's line shows, if the stream no longer has it."""
        line = fact.line
        if fact.logger in ("worker", "operator") or line.message not in _SENT or line.time < self.since:
            return None
        if self.begins is not None and line.time < self.begins:
            # There was another stream then, which can no longer be read.
            self.expired = max(self.expired or self.begins, self.begins)
        if self.expired is None or line.time >= self.expired:
            return None
        event_id, group = line.text("event_id"), line.text("group")
        sequence, key = line.text("stream_sequence") or "", line.text("item_key") or ""
        if not event_id or not SEQUENCE.fullmatch(sequence) or not group:
            return None
        return AuditedRecord(event_id, "", sequence, "", key, int(line.time.timestamp()), group)

    def _look_and_judge(self) -> None:
        """Look through the queues; what was seen in an earlier look was there, wherever it is now."""
        self.looks = {role: self._look(role) for role in ROLES}
        self.store.clear_verdicts()
        self._judge()

    def _look(self, role: QueueRole) -> BrowseResult:
        number = self.looked = self.looked + 1

        def take(message: Message) -> None:
            event_id = message.text("event_id")
            if event_id is not None:
                self.store.add_seen(role, [event_id])
            if role == "main" and message.sequence_number:
                self.store.add_in_line(number, [(message.group, int(message.sequence_number))])

        self.listener(Progressed(f"looking through {role}"))
        look = self.evidence.look(role, take)
        return replace(look, known=self.store.close_line(number)) if role == "main" else look

    def _look_again(self) -> None:
        """Ask once more before saying that something is missing.

        It may have moved from a queue that we had not looked through yet into one that we had, or its
        delivery may have been logged too late to be seen.
        """
        waited_out = timedelta() < self.settle <= _WAITED_OUT
        whole = all(look.complete and not look.failure for look in self.looks.values())
        self.sleep(max(self.evidence.log_lag, self.settle.total_seconds() if waited_out else 0))
        before = self.store.changes
        self._read_logs(self.now - 2 * _SLACK)
        if waited_out and whole:
            self.settled = self.gone_since = self.now
        # Nothing new, and nothing missing: the first look stands.
        if self.gone_since or self.store.changes != before or self.store.verdicts()["missing"]:
            self._look_and_judge()

    def _judge(self) -> None:
        settled = None if self.settled is None else _milliseconds(self.settled)
        if settled is not None:
            self.store.close_passed(settled)
        line, dlq = [self.looks[role] for role in ("main", "hold")], [self.looks["dlq"]]
        self.feed = self.evidence.feed()
        judge = Judge(
            feed=self.feed,
            logs=self.evidence.logs_since(self.now),
            history_since=self.evidence.history_since(self.now),
            history_failure=self.evidence.history_failure,
            open_runs=self.evidence.open_runs(self.since - _SLACK),
            hidden=Hidden(_hidden(line), _hidden(dlq)),
            related=self.evidence.related,
            handled=self.store.handled(),
            settled_handled=self.store.handled(until=settled),
            settled=self.settled,
            gone_since=self.gone_since,
            is_passed=self.store.is_passed,
            without_code=bool(self.rules.without_code),
            purges=self.evidence.purges(self.since - _SLACK),
        )
        for chunk in _chunks(self.store.unplaced()):
            self.store.judge((entry.event_id, *_verdict(judge, entry, said)) for entry, said in chunk)
        self._check_room("queued", line)
        self._check_room("parked", dlq)
        self._check_purges(judge.purges)

    def _check_purges(self, purges: Iterable[Purge]) -> None:
        """Take none for purged where more are gone than the purge can have taken: which ones is not known."""
        numbers = dict(self.store.reasons("moved"))
        for one in purges:
            number = numbers.get(one.text, 0)
            if one.unseen is not None and number > one.unseen:
                self.store.judge_again("moved", "unknown", not_purged(one, number), was=one.text)

    def _check_room(self, verdict: Verdict, looks: Sequence[BrowseResult]) -> None:
        """Take none for queued by a count that is too small for all of them: which ones left is not known."""
        number, room = self.store.verdicts()[verdict], _room(looks)
        if room is not None and number > room:
            reason = (
                f"sent, and {number - room:,} of these {number:,} are in no queue any more:"
                f" {room:,} can be behind those that were seen: {_hidden(looks)}"
            )
            self.store.judge_again(verdict, "unknown", reason)
        elif room is None:
            self.store.judge_again(verdict, "unknown", f"sent, and perhaps in {_hidden(looks)}")

    def _summary(self) -> AuditSummary:
        places, verdicts = self.store.places(), self.store.verdicts()
        oldest = self.store.oldest("waiting")
        return AuditSummary(
            records=len(self.store),
            delivered=places["delivered"],
            queued=places["queued"] + verdicts["queued"],
            parked=places["parked"] + verdicts["parked"],
            waiting=verdicts["waiting"],
            moved=verdicts["moved"],
            unknown=verdicts["unknown"],
            filtered=self.store.filtered,
            missing=verdicts["missing"],
            duplicated=sum(1 for _ in self.store.duplicated()),
            possibly_twice=sum(1 for _ in self.store.possibly_twice()),
            reordered=sum(1 for _ in self.store.reordered(self.evidence.related)),
            since=self.since,
            until=self.now,
            notes=tuple(self._notes()),
            unproven_tips=unproven_tips(self.evidence.tips()),
            queued_unseen=verdicts["queued"],
            parked_unseen=verdicts["parked"],
            oldest_waiting=None if oldest is None else datetime.fromtimestamp(oldest, UTC),
            reasons=tuple(self._reasons()),
        )

    def _reasons(self) -> Iterator[Reason]:
        for state in ("queued", "parked", "waiting"):
            for reason, number in islice(self.store.reasons(state), _REASONS_MAX):
                yield Reason(state, number, reason)

    def _notes(self) -> Iterator[str]:
        """Say what makes the proof incomplete."""
        if self.rules.without_code:
            yield going_without(self.rules.without_code)
        if self.expired is not None:
            yield (
                f"the stream has expired up to {iso(self.expired)}, or begins only then: of what was written"
                " before, only what the enqueuer logged is known, and the order of that was not checked"
            )
        for reason, number in self.store.reasons("unknown"):
            yield f"{number} unknown: {reason}"
        late = self.now - (_PAUSED_LATE if self.feed.paused else _LATE)
        behind = sum(entry.written < late for entry, _ in self.store.judged("waiting"))
        if behind and self.feed.paused:
            yield (
                f"{behind} wait in the stream for more than {_PAUSED_LATE.total_seconds() / 3600:.0f} hours,"
                f" and it keeps a record for {_KEPT_HOURS}: {command_line('resume enqueuer')} before that"
            )
        elif behind:
            yield (
                f"{behind} wait in the stream for more than {_LATE.seconds // 60} minutes: the enqueuer is"
                f" behind ({command_line('status')} shows its iterator age,"
                f" {command_line('logs enqueuer')} why)"
            )


def _verdict(judge: Judge, entry: AuditedRecord, said: Iterable[Step]) -> tuple[Verdict, str]:
    """Return what is to be thought of a record that is delivered nowhere and seen in no queue, and why."""
    history = RecordHistory(
        entry.event_id,
        stream_sequence=entry.stream_sequence,
        shard=entry.shard,
        created=entry.written,
        log=[_log_entry(step) for step in said],
    )
    stage, why = judge(history)
    if stage == "queued":
        return "queued", f"sent, and deeper than can be seen, or in flight, in {judge.hidden.line}"
    if stage == "parked":
        return "parked", f"parked, and deeper than can be seen, or in flight, in {judge.hidden.dlq}"
    if stage == "stream":
        # Without a mapping of this stream nothing will come to them.
        stopped = why.startswith(NOT_ENQUEUED) and not judge.feed.paused
        return "missing" if stopped else "waiting", why
    if stage == "moved":
        return "moved", why
    return "missing" if stage == "lost" else "unknown", why


def _room(looks: Iterable[BrowseResult]) -> int | None:
    """Return how many messages the queues hold besides those that are known; None if that is not known."""
    rooms = [0 if look.complete else look.total - look.seen - look.known for look in looks]
    return None if any(look.counts is None for look in looks) else sum(rooms)


def _hidden(looks: Iterable[BrowseResult]) -> str:
    """Say in which queues a message may be all the same."""
    hidden = [look for look in looks if not look.complete]
    if not hidden:
        return ""
    places = " and ".join(
        f"{one.queue} (could not be looked through: {one.failure})"
        if one.failure
        else f"{one.queue} ({one.seen + one.known} of {one.total} known)"
        for one in hidden
    )
    held = sum(look.held for look in hidden)
    advice = (
        f": {held} held by a consumer, behind which nothing is shown; audit again when it is done, or"
        f" after {command_line('pause worker --wait')}"
        if held
        else ""
    )
    return f"{places}{advice}"


def _log_entry(step: Step) -> LogEntry:
    role: FunctionRole = "enqueuer" if step.logger in ("enqueuer", "replay") else "worker"
    line = LogLine(from_epoch_ms(step.time), role, "", step.word, {"reason": step.reason})
    return LogEntry(step.logger, line, "")


def _described(entry: AuditedRecord) -> tuple[str, str | None, Any, str | None, str, datetime]:
    """Return the fields of a Finding."""
    key = shown_key(read_key(entry.key))
    return entry.event_id, entry.event or None, key, entry.group, entry.stream_sequence, entry.written


def _milliseconds(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)


def _chunks(source: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(source)
    while chunk := list(islice(iterator, _CHUNK)):
        yield chunk
