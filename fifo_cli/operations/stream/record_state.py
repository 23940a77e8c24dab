"""Where one record is now, and why: judged by what stream, logs and queues show of it.

``Judge`` is asked by ``trace`` for the records of one item, by ``audit`` for every record that is delivered
nowhere and seen in no queue. It takes the absence of a log line as proof only if the line would be readable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from fifo_cli.handlers.failure import may_have_arrived
from fifo_cli.invocation import command_line
from fifo_cli.model.group_names import shown_group
from fifo_cli.model.history_events import PUT_BACK, TAKEN_AWAY
from fifo_cli.model.message import Message
from fifo_cli.model.names import FunctionRole, QueueRole
from fifo_cli.model.times import iso
from fifo_cli.model.worker_log import PausedGroup
from fifo_cli.operations.monitor.logs import LogLine
from fifo_cli.operations.monitor.pauses import paused_until
from fifo_cli.operations.stream.audit_store import Logger
from fifo_cli.operations.stream.evidence import Feed, LogEntry, OpenRun, Purge
from fifo_cli.operations.stream.record_filter import SEQUENCE

Stage = Literal["filtered", "stream", "queued", "stuck", "parked", "moved", "delivered", "lost", "unclear"]
# What needs a look comes first, then what is furthest from the API: an item is where its worst record is.
PRECEDENCE: Final[tuple[Stage, ...]] = (
    "lost", "stuck", "parked", "moved", "unclear", "stream", "queued", "delivered", "filtered",
)  # fmt: skip
# A worker that an earlier version deployed says in the reason which error it was, and not how many doubts.
_NO_CALL: Final = "no call to "
# Why a record that the enqueuer has not come to is not enqueued; the reason follows.
NOT_ENQUEUED: Final = "not enqueued: "
# How long after its last line that was logged a process that was killed may have delivered something: its
# lines go out three times a second, but a slow API lets none come for a while.
LAST_WORK: Final = timedelta(minutes=5)
# What is sent while SQS purges may go with it (SQS API Reference, PurgeQueue).
_PURGE_TIME: Final = timedelta(minutes=1)
# So long after its mapping is disabled the enqueuer may be at work: a record's time is that of its second,
# and how long pollers go on is not documented; what they handed over may take as long as a function can.
_LAST_POLL: Final = timedelta(minutes=1)
_LAST_BATCH: Final = timedelta(minutes=16)
_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class FoundMessage:
    """A message of the record in a queue, and its place in its group, counted from 1."""

    message: Message
    group: str
    place: int


@dataclass(slots=True)
class RecordHistory:
    """What is known of one record. ``unwanted`` says why it should be no message, by fifo.toml as it is now.

    ``created`` is None for one that only logs and queues know of.
    """

    event_id: str
    event: str = ""
    stream_sequence: str = ""
    key: str = ""
    shard: str = ""
    created: datetime | None = None
    unwanted: str = ""
    group: str = ""
    log: list[LogEntry] = field(default_factory=list)
    found: list[FoundMessage] = field(default_factory=list)

    @property
    def sequence(self) -> int:
        """The number to compare; 0 if a line or an attribute that is not ours has something else there."""
        return int(self.stream_sequence) if SEQUENCE.fullmatch(self.stream_sequence) else 0

    @property
    def written(self) -> datetime:
        """When it was written; of one that only logs know of, when they mention it first."""
        return self.created or min(
            (one.line.time for one in self.log), default=datetime.min.replace(tzinfo=UTC)
        )

    def last(self, *words: str, logger: Logger | None = None) -> LogEntry | None:
        """Return the last line in one of these words."""
        lines = [one for one in self.log if one.word in words and logger in (None, one.logger)]
        return max(lines, key=lambda one: one.line.time, default=None)

    @property
    def sent(self) -> LogEntry | None:
        """The last line that shows that it was in a queue."""
        words = ("enqueued", "suppressed", "parked", *PUT_BACK)
        lines = [one for one in self.log if one.logger == "worker" or one.word in words]
        # What SQS suppressed had come into a queue before.
        return max(lines, key=lambda one: (one.word != "suppressed", one.line.time), default=None)

    @property
    def pause(self) -> tuple[datetime, LogLine] | None:
        """Until when the function hides its group that had it last, and the line that says so."""
        line = max(
            (one.line for one in self.log if one.logger == "worker"), key=lambda line: line.time, default=None
        )
        until = paused_until(line) if line is not None else None
        return (until, line) if line is not None and until is not None else None

    @property
    def taken_away(self) -> LogEntry | None:
        """The line that shows that an operator took it out of the queues, unless it came back since."""
        away = self.last(*TAKEN_AWAY, logger="operator")
        sent = [one for one in self.log if one.logger == "worker" or one.word in ("enqueued", *PUT_BACK)]
        back = away is not None and any(one.line.time > away.line.time for one in sent)
        return None if back else away


@dataclass(frozen=True, slots=True)
class Hidden:
    """Which queues hold more than could be seen; "" where all was seen. ``line`` is main, and hold."""

    line: str = ""
    dlq: str = ""

    def __str__(self) -> str:
        return " and ".join(text for text in (self.line, self.dlq) if text)


def log_reach(role: FunctionRole, since: datetime | None, created: datetime) -> str:
    """Say how far a function's log reaches back, if it is not far enough."""
    if since is None:
        return f"the {role}'s log is gone"
    covers = created >= since.replace(microsecond=0)
    return "" if covers else f"the {role}'s log reaches back to {iso(since)} only"


@dataclass(frozen=True)
class Judge:
    """Judges records by all that was found, each the same way, whoever asks.

    ``handled`` is the highest number in each shard of which the enqueuer function has logged something;
    ``settled_handled`` is the same by lines up to ``settled``, the time up to which all lines can be read
    (None: all can). What was sent up to ``gone_since`` and is in no queue left it longer ago than that.
    ``is_passed`` says of an event id whether a later message of its group was delivered by then.
    ``history_since`` is since when the history holds everything (None: there is none), ``history_failure``
    why it could not be read. ``now`` is known where the last line of each record is; ``paused`` are the
    groups that are hidden then, as far as they were asked for.
    """

    feed: Feed = field(default_factory=Feed)
    logs: Mapping[FunctionRole, datetime | None] = field(default_factory=dict)
    open_runs: tuple[OpenRun, ...] = ()
    hidden: Hidden = Hidden()
    related: Callable[[str, str], bool] = lambda one, other: one == other
    handled: Mapping[str, int] = field(default_factory=dict)
    settled_handled: Mapping[str, int] = field(default_factory=dict)
    settled: datetime | None = None
    gone_since: datetime | None = None
    is_passed: Callable[[str], bool] = lambda _: False
    without_code: bool = False
    purges: tuple[Purge, ...] = ()
    history_since: datetime | None = _BEGINNING
    history_failure: str = ""
    now: datetime = _BEGINNING
    paused: tuple[PausedGroup, ...] = ()

    def __call__(self, history: RecordHistory) -> tuple[Stage, str]:
        """Return the stage of a record, and a sentence on it."""
        delivered = history.last("delivered", logger="worker")
        if delivered is not None:
            return "delivered", _delivered(history, delivered)
        for found in history.found:
            if found.message.queue != "dlq":
                return _in_line(history, found)
        for found in history.found:
            return "parked", _parked(found.message)
        if away := history.taken_away:
            reason = away.line.facts.get("reason", "")
            return "moved", f"{away.word} at {iso(away.line.time)} {reason}".rstrip()
        sent = history.sent
        if sent or (self._unread(history) and not history.unwanted and not history.log):
            return self._gone(history, sent)
        return self._not_sent(history)

    def _gone(self, history: RecordHistory, sent: LogEntry | None) -> tuple[Stage, str]:
        """It was in a queue, or may have been, and is seen in none."""
        at = sent.line.time if sent else history.written
        queue: QueueRole = "dlq" if sent and _is_parking(sent) else "main"
        hidden = self.hidden.dlq if queue == "dlq" else self.hidden.line
        if sent and hidden:
            return self._unseen(history, sent, hidden)
        before = "" if sent else f"{self._unread(history)}; "
        if unseen := str(self.hidden):
            return "unclear", f"{before}it may be further back than can be seen: {unseen}"
        if unlogged := self._unlogged(history, at):
            return "unclear", f"{before}{unlogged}"
        if purged := self._purged(queue, at):
            return purged
        late = "" if self._left_early(sent, at, history.event_id) else self._late("a delivery")
        if doubts := "; ".join(filter(None, (self._unrecorded(at), late))):
            return "unclear", f"in no queue; {doubts}"
        was = f"{sent.word} by the {sent.logger} at {iso(sent.line.time)}; now " if sent else ""
        return "lost", f"{was}in no queue, and no log shows a delivery"

    def _unseen(self, history: RecordHistory, sent: LogEntry, hidden: str) -> tuple[Stage, str]:
        """It was sent to a queue that holds more than could be seen: ``hidden``."""
        pause = history.pause
        if pause is not None and pause[0] > self.now > _BEGINNING:
            return _paused(*pause)
        if not _is_parking(sent):
            behind = next((_behind(one) for one in self.paused if one.group == history.group), "")
            return "queued", behind or f"further back than can be seen, or in flight: {hidden}"
        why = sent.line.facts.get("reason") or "no reason was logged"
        return (
            "parked",
            f"at {iso(sent.line.time)} by {sent.logger}: {why}; further back than can be seen: {hidden}",
        )

    def _not_sent(self, history: RecordHistory) -> tuple[Stage, str]:
        """No log shows that it was ever in a queue."""
        if history.unwanted:
            return "filtered", f"becomes no message: {history.unwanted}"
        # What a replay sent without logging it is seen in a queue, if all of them can be seen through.
        replaying = any(run.logger == "replay" for run in self.open_runs)
        if replaying and self.hidden.line and not self._unread(history):
            return "unclear", f"a replay has not logged its end, and may have sent it: {self.hidden.line}"
        stage, why = self._why_not_sent(history)
        if self.without_code and stage == "lost":
            return "unclear", f"{why}; whether it becomes a message is not known without your code"
        if (stage == "lost" or not self.feed.running) and not self._is_settled(history):
            return "unclear", f"{why}; {self._late('that it was sent')}"
        return stage, why

    def _why_not_sent(self, history: RecordHistory) -> tuple[Stage, str]:
        shard, sequence = history.shard, history.sequence
        if skipped := history.last("skipped", logger="enqueuer"):
            return "lost", "the enqueuer skipped it" if self.without_code else _skipped(skipped)
        if any(one.shard == shard and one.first <= sequence <= one.last for one in self.feed.given_up):
            return (
                "lost",
                f"the enqueuer failed on its batch for good: {command_line('replay --failed')} sends it",
            )
        if self._passed(shard, self.handled) > sequence:
            return "lost", "never enqueued, though later records of its shard were"
        return "stream", self._its_turn(history) if self.feed.running else f"{NOT_ENQUEUED}{self.feed.reason}"

    def _its_turn(self, history: RecordHistory) -> str:
        """Say why the enqueuer, which is running, has not enqueued it."""
        if refused := history.last("not enqueued"):
            return f"refused by SQS at {iso(refused.line.time)}: {refused.line.facts.get('reason', '')}"
        failing = f"; the enqueuer's last batch failed: {self.feed.failing}" if self.feed.failing else ""
        return f"its turn in the stream has not come{failing}"

    def _unread(self, history: RecordHistory) -> str:
        """Say that the enqueuer's log does not reach back to it, "" if it does."""
        return log_reach("enqueuer", self.logs.get("enqueuer"), history.written)

    def _unlogged(self, history: RecordHistory, at: datetime) -> str:
        """Say that no log would show a delivery of what was in a queue ``at``, "" if one would."""
        unlogged = log_reach("worker", self.logs.get("worker"), history.written)
        return f"{unlogged}, so a delivery before may not be seen" if unlogged else self._taken(at)

    def _unrecorded(self, at: datetime) -> str:
        """Say that the history would not show who took away what was in a queue ``at``, and what to do."""
        if self.history_failure:
            why = f"the history could not be read ({self.history_failure})"
        elif self.history_since is None:
            why = "the history is gone"
        elif at < self.history_since.replace(microsecond=0):
            why = f"the history reaches back to {iso(self.history_since)} only"
        else:
            return ""
        return (
            f"{why}, so whether somebody dumped or purged it is not known: look into their files; if"
            f" nobody did, {command_line('replay --key KEY')} sends it"
        )

    def _purged(self, queue: QueueRole, at: datetime) -> tuple[Stage, str] | None:
        """Say who purged the queue in which it was ``at``; None if nobody did.

        A purge that has named all that it took, and not this, did not take it.
        """
        gone_before: Purge | None = None
        for one in self.purges:
            if one.queue != queue:
                continue
            if at <= one.at and one.unseen == 0:
                gone_before = gone_before or one
            elif at <= one.at:
                return "moved", one.text
            elif at <= one.at + _PURGE_TIME:
                return "moved", f"{one.text}, while it was sent"
        return ("unclear", not_purged(gone_before)) if gone_before else None

    def _passed(self, shard: str, handled: Mapping[str, int]) -> int:
        """Return how far the enqueuer has come in a shard, or in what came out of it; -1 if nowhere."""
        return max((number for other, number in handled.items() if self.related(other, shard)), default=-1)

    def _is_settled(self, history: RecordHistory) -> bool:
        """Say whether a line that shows that it was sent would be readable by now."""
        skipped = history.last("skipped", logger="enqueuer")
        if self.settled is None or (skipped and skipped.line.time <= self.settled):
            return True
        if self._is_behind_pause(history.written, self.settled):
            return True
        # With nothing behind it enqueued, it was not enqueued either, once all lines up to now can be read.
        shard, sequence = history.shard, history.sequence
        waited_out = self._passed(shard, self.handled) <= sequence and self._is_gone(history.written)
        return waited_out or self._passed(shard, self.settled_handled) > sequence

    def _is_behind_pause(self, written: datetime, settled: datetime) -> bool:
        """Say whether the enqueuer stopped before this was written, or so long ago that its lines show."""
        stopped = self.feed.stopped
        return stopped is not None and (written >= stopped + _LAST_POLL or stopped + _LAST_BATCH <= settled)

    def _left_early(self, sent: LogEntry | None, at: datetime, event_id: str) -> bool:
        """Say whether what was sent ``at`` left the queues so long ago that a delivery would be readable.

        A later message of its group that was delivered before then came after it. What was parked may have
        been moved back at any time since.
        """
        if self.settled is None or self._is_gone(at):
            return True
        # Its number in the line is that of its first time there.
        moved = sent is None or sent.word in ("parked", *PUT_BACK) or at > self.settled
        return not moved and self.is_passed(event_id)

    def _is_gone(self, sent: datetime) -> bool:
        return self.gone_since is not None and sent <= self.gone_since

    def _late(self, what: str) -> str:
        """Say that evidence may be late, and how to be certain."""
        return (
            f"a log line later than {iso(self.settled) if self.settled else ''} may not be readable yet, so"
            f" {what} may not be seen; to be certain, {command_line('pause --wait')}, wait for the settle"
            " time, then"
            f" {command_line('audit --settle 0')}"
        )

    def _taken(self, sent: datetime) -> str:
        """Say which drain may have delivered what was in a queue at ``sent``."""
        for run in self.open_runs:
            if run.logger == "worker" and sent <= run.last + LAST_WORK:
                return (
                    f"a drain begun about {iso(run.begun)} has not logged its end (it was killed, or is at"
                    " work still), so it may have delivered it"
                )
        return ""


def _is_parking(sent: LogEntry) -> bool:
    """Whether this line shows that it came into the DLQ."""
    return sent.word == "parked" or (sent.word == "loaded" and sent.line.text("target") == "dlq")


def is_doubtful(line: LogLine) -> bool:
    """Say of the worker's line about a message whether an API may have taken it at an unconfirmed attempt."""
    if (line.number("doubts") or 0) > 0:
        return True
    reason, status = line.text("reason") or "", line.number("status")
    if line.message not in ("failed", "parked") or line.facts.get("owner", "api") != "api" or not reason:
        return False
    error = line.text("error_type") or reason.partition(":")[0]
    return not reason.startswith(_NO_CALL) and may_have_arrived(status, error)


def not_purged(purge: Purge, number: int = 1) -> str:
    """Say of some records that are gone that a purge cannot have taken them all."""
    which = "it was gone" if number == 1 else f"some of these {number:,} were gone"
    return (
        f"{purge.text}, with {purge.unseen:,} that the history does not name, by SQS's count: {which} before;"
        f" {command_line('replay --key KEY')} sends one again"
    )


def _delivered(history: RecordHistory, last: LogEntry) -> str:
    times = sum(one.word == "delivered" and one.logger == "worker" for one in history.log)
    status = last.line.facts.get("status")
    again = f", {times} times in all" if times > 1 else ""
    before = [
        one.line
        for one in history.log
        if one.logger == "worker" and is_doubtful(one.line) and one.line.time <= last.line.time
    ]
    if before:
        first = min(before, key=lambda line: line.time)
        again += f"; possibly twice: {doubt(first)}"
    return f"at {iso(last.line.time)}" + (f" with HTTP {status}" if status else "") + again


def killed_run(run: OpenRun) -> str:
    """Say of a run that was killed what it may have done."""
    return (
        f"the run of {iso(run.begun)} did not log its end (it was killed, or ran out of time), and may have"
        " delivered it"
    )


def doubt(line: LogLine) -> str:
    """Say what became of the attempt that an API may have taken, and which API, where the line names it."""
    apis = line.facts.get("taken_by")
    who = ""
    if isinstance(apis, list) and apis:
        who = f"{' and '.join(map(str, apis))} may have it twice, as "
    if line.message == "delivered":
        return f"{who}an attempt before, in the same run as that of {iso(line.time)}, was not confirmed"
    why = line.text("reason") or "no reason was logged"
    return f"{who}the attempt of {iso(line.time)} was not confirmed: {why}"


def _in_line(history: RecordHistory, found: FoundMessage) -> tuple[Stage, str]:
    message = found.message
    if message.queue == "hold":
        return "queued", "in hold, while an in-order redrive is unfinished"
    place = f"number {found.place} in its group {shown_group(found.group)}"
    tried = history.last("failed", "delivered", "parked", logger="worker")
    if tried is None or tried.word != "failed":
        return "queued", place
    why = tried.line.facts.get("reason") or "no reason was logged"
    return "stuck", f"{place}; the last attempt, at {iso(tried.line.time)}, failed: {why}"


def _paused(until: datetime, line: LogLine) -> tuple[Stage, str]:
    """Its group is hidden: what failed is stuck, what had no turn waits."""
    why = line.text("reason") or "no reason was logged"
    hidden = f"its group is paused until {iso(until)}, and cannot be seen before that"
    if line.message == "failed":
        return "stuck", f"the last attempt, at {iso(line.time)}, failed: {why}; {hidden}"
    return "queued", f"{hidden}: {why}"


def _behind(group: PausedGroup) -> str:
    """Say of a message that a function did not receive why it waits."""
    return (
        f"behind others of its group {shown_group(group.group)}, which is paused until {iso(group.until)}:"
        f" {group.error or 'no reason was logged'}"
    )


def _parked(message: Message) -> str:
    status = message.text("park_status")
    reason = message.text("park_reason") or "moved to the DLQ by SQS: no reason is kept"
    at = message.text("park_at") or (iso(message.sent_at) if message.sent_at else "?")
    by = f" by {source}" if (source := message.text("park_from")) else ""
    said = f" (HTTP {status})" if status and status not in reason else ""
    return f"at {at}{by}{said}: {reason}"


def _skipped(last: LogEntry) -> str:
    when, why = iso(last.line.time), last.line.facts.get("reason", "")
    return f"skipped by the enqueuer at {when}, by rules other than those now: {why}"


def worst(stages: Sequence[Stage]) -> Stage | None:
    """Return the stage that needs a look most."""
    return min(stages, key=PRECEDENCE.index, default=None)
