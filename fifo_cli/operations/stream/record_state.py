"""Where one record is now, and why: judged by what stream, logs and queues say of it.

``trace`` asks for the records of one item, ``audit`` for every record that it finds nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from fifo_cli.model.message import Message
from fifo_cli.model.names import FunctionRole
from fifo_cli.model.times import iso
from fifo_cli.operations.monitor.logs import LogLine
from fifo_cli.operations.stream.audit_store import Logger

Stage = Literal["filtered", "stream", "queued", "stuck", "parked", "delivered", "lost", "unclear"]
# What needs a look comes first, then what is furthest from the API: an item is where its worst record is.
PRECEDENCE: Final[tuple[Stage, ...]] = (
    "lost", "stuck", "parked", "unclear", "stream", "queued", "delivered", "filtered",
)  # fmt: skip
# How many of its group SQS shows at most.
PLACES_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A line about a record; ``evidence`` is the log stream that it is in."""

    logger: Logger
    line: LogLine
    evidence: str

    @property
    def word(self) -> str:
        return self.line.message


@dataclass(frozen=True, slots=True)
class Found:
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
    spelled: str = ""
    key: str = ""
    shard: str = ""
    created: datetime | None = None
    unwanted: str = ""
    group: str = ""
    log: list[LogEntry] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)

    def last(self, *words: str, logger: Logger | None = None) -> LogEntry | None:
        """Return the last line in one of these words."""
        lines = [one for one in self.log if one.word in words and logger in (None, one.logger)]
        return max(lines, key=lambda one: one.line.time, default=None)

    @property
    def sent(self) -> LogEntry | None:
        """The last line that shows that it was in a queue."""
        words = ("enqueued", "suppressed", "parked")
        lines = [one for one in self.log if one.logger == "worker" or one.word in words]
        # What SQS suppressed had come into a queue before.
        return max(lines, key=lambda one: (one.word != "suppressed", one.line.time), default=None)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What else matters. Each text says what is so, "" if it is not.

    ``hidden``: queues that could not be seen through; ``unlogged``: no log would show a delivery;
    ``unread``: the enqueuer's log does not reach back; ``late`` and ``late_sent``: log lines of a delivery,
    or of a send, may still come; ``replaying``: a replay may have sent it; ``resting``: the enqueuer is not
    fed;
    ``given_up`` and ``overtaken`` are event ids: of failed batches, and of records behind which later ones
    were enqueued.
    """

    hidden: str = ""
    unlogged: str = ""
    unread: str = ""
    resting: str = ""
    given_up: frozenset[str] = frozenset()
    overtaken: frozenset[str] = frozenset()
    late: str = ""
    late_sent: str = ""
    replaying: str = ""


def log_reach(role: FunctionRole, since: datetime | None, created: datetime) -> str:
    """Say how far a function's log reaches back, if it is not far enough."""
    if since is None:
        return f"the {role}'s log is gone"
    covers = created >= since.replace(microsecond=0)
    return "" if covers else f"the {role}'s log reaches back to {iso(since)} only"


def may_be_late(settled: datetime, what: str) -> str:
    """Say that evidence may be late."""
    return f"a log line later than {iso(settled)} may not be readable yet, so {what} may not be seen"


def stage_of(life: RecordHistory, around: Surroundings) -> tuple[Stage, str]:
    """Return the stage of a record, and a sentence on it."""
    delivered = life.last("delivered", logger="worker")
    if delivered is not None:
        return "delivered", _delivered(life, delivered)
    for found in life.found:
        if found.message.queue != "dlq":
            return _in_line(life, found)
    for found in life.found:
        return "parked", _parked(found.message)
    if life.sent or (around.unread and not life.unwanted and not life.log):
        return _gone(life.sent, around)
    return _not_sent(life, around)


def _delivered(life: RecordHistory, last: LogEntry) -> str:
    times = sum(one.word == "delivered" and one.logger == "worker" for one in life.log)
    status = last.line.facts.get("status")
    again = f", {times} times in all" if times > 1 else ""
    return f"at {iso(last.line.time)}" + (f" with HTTP {status}" if status else "") + again


def _in_line(life: RecordHistory, found: Found) -> tuple[Stage, str]:
    message = found.message
    if message.queue == "hold":
        return "queued", "in hold, while an in-order redrive is unfinished"
    place = f"number {found.place} in its group {found.group}"
    tried = life.last("failed", "delivered", "parked", logger="worker")
    if tried is None or tried.word != "failed":
        return "queued", place
    why = tried.line.facts.get("reason") or "no reason was logged"
    return "stuck", f"{place}; the last attempt, at {iso(tried.line.time)}, failed: {why}"


def _parked(message: Message) -> str:
    status = message.text("park_status")
    reason = message.text("park_reason") or "moved to the DLQ by SQS: no reason is kept"
    at = message.text("park_at") or message.sent_at
    by = f" by {source}" if (source := message.text("park_from")) else ""
    said = f" (HTTP {status})" if status and status not in reason else ""
    return f"at {at}{by}{said}: {reason}"


def _gone(last: LogEntry | None, around: Surroundings) -> tuple[Stage, str]:
    """It was in a queue, or may have been, and is seen in none."""
    before = "" if last else f"{around.unread}; "
    if around.hidden and last:
        return "queued", f"further back than can be seen, or in flight: {around.hidden}"
    if around.hidden:
        return "unclear", f"{before}it may be further back than can be seen: {around.hidden}"
    if around.unlogged:
        return "unclear", f"{before}{around.unlogged}"
    if around.late:
        return "unclear", f"in no queue; {around.late}"
    was = f"{last.word} by the {last.logger} at {iso(last.line.time)}; now " if last else ""
    return "lost", f"{was}in no queue, and no log shows a delivery"


def _not_sent(life: RecordHistory, around: Surroundings) -> tuple[Stage, str]:
    """No log shows that it was ever in a queue."""
    if life.unwanted:
        return "filtered", f"becomes no message: {life.unwanted}"
    if around.replaying:
        return "unclear", around.replaying
    stage, why = _why_not_sent(life, around)
    if around.late_sent and (stage == "lost" or around.resting):
        return "unclear", f"{why}; {around.late_sent}"
    return stage, why


def _why_not_sent(life: RecordHistory, around: Surroundings) -> tuple[Stage, str]:
    skipped = life.last("skipped", logger="enqueuer")
    if skipped is not None:
        when, why = iso(skipped.line.time), skipped.line.facts.get("reason", "")
        return "lost", f"skipped by the enqueuer at {when}, by rules other than those now: {why}"
    if life.event_id in around.given_up:
        return "lost", "the enqueuer failed on its batch for good: `fifo-cli replay --failed` sends it"
    if life.event_id in around.overtaken:
        return "lost", "never enqueued, though later records of its shard were"
    if around.resting:
        return "stream", around.resting
    refused = life.last("not enqueued")
    if refused is not None:
        return "stream", f"refused by SQS at {iso(refused.line.time)}: {refused.line.facts.get('reason', '')}"
    return "stream", "its turn in the stream has not come"


def worst(stages: Sequence[Stage]) -> Stage | None:
    """Return the stage that needs a look most."""
    return min(stages, key=PRECEDENCE.index, default=None)
