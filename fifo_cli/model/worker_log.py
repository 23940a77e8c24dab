"""What the functions logged of their work: runs, invocations, and the groups whose head does not move.

A group whose head failed is remembered until that message moves: it, or another of its group, is delivered
or parked, or an operator moved it. That a later run looked elsewhere does not count; that a run received all
there was, and did not meet it, does.

Where the queue starts the worker, a run is a batch: many functions log the ends of theirs at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from fifo_cli.model.results import INTERNAL, Fields

# What a consumer hides it for may be so long: its run, or the rest of a killed one.
HIDDEN_MAX: Final = timedelta(minutes=15)

Fate = Literal["enqueued", "delivered", "parked", "failed", "run ended", "moved"]


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One line of a function's log about a message, or about a run.

    "moved" is what an operator did; without a message id, with all that waited. Of a run, ``emptied`` says
    that it received all that could be received, ``delivered`` how many it delivered.
    """

    time: datetime
    fate: Fate
    group: str = ""
    message_id: str = ""
    item_key: str = ""
    http_status: int | None = None
    receives: int | None = None
    elapsed_ms: int | None = None
    reason: str = ""
    api: str = ""
    error_type: str = ""
    owner: str = ""
    emptied: bool = False
    delivered: int = 0
    paused_until: datetime | None = None

    @property
    def answer(self) -> str:
        """What the API answered, in a word; "" if it was not asked."""
        if self.http_status:
            return str(self.http_status)
        # Earlier versions log no error_type, and no owner of a failure of the network.
        unanswered = self.error_type or (self.fate == "failed" and self.owner in ("", "api"))
        return "no answer" if unanswered and not self.reason.startswith("no call to ") else ""


@dataclass(frozen=True, slots=True)
class WorkerRun(Fields):
    """One run that ended; ``error`` is why it ended early, its counts None if it did not live to log them.

    ``owner`` is whose failure that was, ``what`` the key, variable, file or setting that is unusable.
    ``by_hand``: a drain, and not the schedule.
    """

    time: datetime
    received: int | None = None
    delivered: int | None = None
    parked: int | None = None
    failed: int | None = None
    error: str | None = None
    owner: str | None = None
    what: str | None = None
    by_hand: bool = field(default=False, metadata=INTERNAL)


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
    """The head of a group that could not be delivered; ``time`` is its last failure, ``since`` its first.

    ``attempts`` are those that the log shows. Of other groups, ``beside`` says that one was delivered in a
    run in which this one failed, ``after`` that it was after a failure, ``lately`` that it was since the
    failure before the last one; ``passed`` is when one was delivered in a run that did not try this one.
    ``run_ended`` is when the run of its last failure ended; ``paused_until`` until when that run's function
    hides the group.
    """

    message_id: str
    group: str
    time: datetime
    receives: int | None = None
    http_status: int | None = None
    error: str | None = None
    item_key: str | None = None
    since: datetime | None = None
    attempts: int = 1
    api: str | None = None
    error_type: str | None = None
    owner: str | None = None
    paused_until: datetime | None = None
    beside: bool = field(default=False, metadata=INTERNAL)
    after: bool = field(default=False, metadata=INTERNAL)
    lately: bool = field(default=False, metadata=INTERNAL)
    passed: datetime | None = field(default=None, metadata=INTERNAL)
    run_ended: datetime | None = field(default=None, metadata=INTERNAL)


@dataclass(frozen=True, slots=True)
class PausedGroup(Fields):
    """A group that a function hides until a time: nobody else can end that, and no look or drain sees it.

    ``time`` is when it was logged, ``error`` why; ``retry_after`` is the pause that the API asked for, in
    seconds, if it did.
    """

    group: str
    until: datetime
    time: datetime
    error: str | None = None
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class OpenBreaker(Fields):
    """Functions call the API no more, after transient failures in a row of different groups.

    ``since`` is when the first of them began, ``time`` when the last line of it was logged. ``until`` is when
    each has let one call through; None if the worker's next run makes it. ``failures`` are those in a row.
    """

    since: datetime
    time: datetime
    until: datetime | None
    functions: int
    failures: int | None = None
    api: str | None = None
    http_status: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Runs:
    """The last runs, the newest first, and the heads that do not move, the one that failed last at the end.

    ``most_received`` is the message with the most receives of those that stayed behind in the newest run.
    ``by_itself`` is when the last run ended that was not by hand: a drain does not move a rate's next run.
    ``paused`` are the groups that are hidden now, ``as_of`` the time of the last line: logs come late.
    """

    runs: tuple[WorkerRun, ...] = ()
    stuck: tuple[Stuck, ...] = ()
    most_received: Stuck | None = None
    by_itself: datetime | None = None
    paused: tuple[PausedGroup, ...] = ()
    breaker: OpenBreaker | None = None
    as_of: datetime | None = None


@dataclass(frozen=True, slots=True)
class StuckGroups:
    """The groups that are stuck, by the lines of the worker's log so far.

    ``run_began`` is when the run before the present one ended; ``delivered`` are the last deliveries of two
    groups, the newer one first.
    """

    heads: Mapping[str, Stuck] = field(default_factory=dict)
    run_began: datetime | None = None
    delivered: tuple[tuple[str, datetime], ...] = ()

    @property
    def stuck(self) -> tuple[Stuck, ...]:
        """The heads, as of now, in the order of their last failure."""
        heads = (self._as_of_now(head) for head in self.heads.values())
        return tuple(sorted(heads, key=lambda one: one.time))

    def _as_of_now(self, head: Stuck) -> Stuck:
        other = self._other(head.group)
        if other is None or other[1] <= head.time:
            return head
        if self._in_this_run(head):
            return replace(head, beside=True, after=True, lately=True)
        return replace(head, passed=other[1]) if head.run_ended and other[1] > head.run_ended else head

    def _other(self, group: str) -> tuple[str, datetime] | None:
        """Return the last delivery of another group."""
        return next((one for one in self.delivered if one[0] != group), None)

    def _in_this_run(self, head: Stuck) -> bool:
        return self.run_began is None or head.time > self.run_began

    def _is_old(self, event: WatchEvent) -> bool:
        """Whether CloudWatch shows a line late, or twice, so that it says nothing new."""
        if event.fate == "run ended":
            return self.run_began is not None and event.time <= self.run_began
        if event.fate == "delivered" and event.time < dict(self.delivered).get(event.group, event.time):
            return True
        head = self.heads.get(event.group)
        again = event.fate == "failed" and head is not None and head.message_id == event.message_id
        return head is not None and (event.time < head.time or (again and event.time == head.time))

    def _failed(self, event: WatchEvent) -> Stuck:
        before, head, other = self.heads.get(event.group), _head(event), self._other(event.group)
        delivered = other[1] if other else None
        if delivered is not None and (self.run_began is None or delivered > self.run_began):
            head = replace(head, beside=True)
        if before is None or before.message_id != head.message_id:
            return head
        return replace(
            head,
            since=before.since,
            attempts=before.attempts + 1,
            beside=before.beside or head.beside,
            after=before.after or (delivered is not None and delivered > (before.since or before.time)),
            lately=delivered is not None and delivered > before.time,
        )

    def _after_run(self, head: Stuck, run: WatchEvent) -> Stuck:
        """Return a head that failed in the run that ends.

        Where it was stuck before the run began, what the run delivered was of other groups.
        """
        waited = self.run_began is not None and head.since is not None and head.since <= self.run_began
        ended = replace(self._as_of_now(head), run_ended=run.time)
        return replace(ended, beside=True, after=True, lately=True) if waited and run.delivered else ended


def follow(groups: StuckGroups, events: Iterable[WatchEvent]) -> StuckGroups:
    """Return the groups that are stuck after more events, which are in order of time."""
    heads, delivered, began = dict(groups.heads), groups.delivered, groups.run_began
    tried = set(heads)  # since a run ended: with many batches and heads, only these are looked at
    for event in events:
        now = StuckGroups(heads, began, delivered)
        if now._is_old(event):
            continue
        if event.fate == "run ended":
            ended = [head for group in tried if (head := heads.get(group)) and now._in_this_run(head)]
            heads |= {head.group: now._after_run(head, event) for head in ended}
            if event.emptied:
                heads = {group: head for group, head in heads.items() if not _missed(head, event)}
            began = event.time
            tried.clear()
        elif event.fate == "failed":
            heads[event.group] = now._failed(event)
            tried.add(event.group)
        elif event.fate == "moved":
            # Failed again after that, it is still there: the move was killed before it.
            heads = {group: head for group, head in heads.items() if not _was_moved(head, event)}
        elif event.fate in ("delivered", "parked"):
            # Where a later message of its group had its turn, the head is gone, however it went.
            heads.pop(event.group, None)
            if event.fate == "delivered":
                last = {**dict(delivered), event.group: event.time}
                delivered = tuple(sorted(last.items(), key=lambda one: one[1], reverse=True)[:2])
    return StuckGroups(heads, began, delivered)


def _missed(head: Stuck, run: WatchEvent) -> bool:
    """Whether a run that received all there was would have met the head, if that is there and visible."""
    return run.emptied and run.time - max(head.time, head.paused_until or head.time) >= HIDDEN_MAX


def _was_moved(head: Stuck, event: WatchEvent) -> bool:
    return event.time > head.time and event.message_id in ("", head.message_id)


def _head(event: WatchEvent) -> Stuck:
    return Stuck(
        message_id=event.message_id,
        group=event.group,
        time=event.time,
        receives=event.receives,
        http_status=event.http_status,
        error=event.reason or None,
        item_key=event.item_key or None,
        since=event.time,
        api=event.api or None,
        error_type=event.error_type or None,
        owner=event.owner or None,
        paused_until=event.paused_until,
    )
