"""The messages in flight of a move, and which step is the most useful one next.

This module makes no calls. The engine asks ``choose`` for an action, performs it in one of its threads, and
reports the result (``received``, ``sent``, ``deleted``, ``extended``); both under one lock.

A group is part of one action at a time, and its messages wait for its head. Different groups share a send.
While a message of a group is in flight, SQS gives out nothing behind it (SQS Developer Guide, "FIFO queue
delivery logic"): so what we received of a group stays invisible until all of it is deleted.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from fifo_cli.aws.retries import growing_pause
from fifo_cli.model.limits import BATCH_ENTRIES_MAX
from fifo_cli.model.message import ReceivedMessage
from fifo_cli.operations.transfer.interfaces import Target
from fifo_cli.operations.transfer.prefetcher import Prefetcher
from fifo_cli.operations.transfer.result import Failure, MoveOptions, MoveReport, Overtaking
from fifo_cli.operations.transfer.steps import (
    Action,
    Delete,
    ExtendVisibility,
    GroupQueue,
    InFlightMessage,
    Note,
    Receive,
    Rejections,
    Send,
)

# Per worker: 10 messages x 10 groups x a third of the workers, doubled as a reserve.
IN_FLIGHT_PER_WORKER: Final = 60
IN_FLIGHT_MIN: Final = 20
# Before the first send is allowed: one full send for each worker, doubled as a reserve.
FIRST_IN_FLIGHT_PER_WORKER: Final = 20
IN_FLIGHT_BYTES_MAX: Final = 24 * 1024 * 1024
# Pauses before a rejected message is sent again: 0.1, 0.2, … 3.2 s; then its group stops for this run.
TRIES_MAX: Final = 7
FIRST_PAUSE: Final = 0.1
# After an error that ended the move, what the target has is deleted from the source in so many tries.
TRIES_AT_THE_END: Final = 2
# What the target has is noted so many at a time, or after so many seconds, or when nothing else is to do:
# each note is a call to CloudWatch Logs. One note is under way at a time.
NOTE_MESSAGES: Final = 100
NOTE_WITHIN: Final = 0.2
# A message that the target has waits at most so many seconds for nine others to be deleted with.
DELETE_WITHIN: Final = 2.0
# SQS drops a second copy within five minutes of the first (API Reference, SendMessageBatch). A send without
# an answer may have taken effect, so it is not repeated later than this.
DOUBT_SECONDS_MAX: Final = 240.0
# A send waits at most so many seconds for a receive under way that would fill it.
FILL_WITHIN: Final = 0.5
# A receive of what deletes under way will make visible starts so many seconds after them.
AHEAD_AFTER: Final = 0.003
# Extensions that SQS does not confirm are asked for again after 0.1, 0.2, … s, at most so many.
EXTEND_PAUSE_MAX: Final = 4.0
# What stays behind is extended for longer each time, so that very many such messages stay cheap.
EXTEND_SECONDS_MAX: Final = 600.0


class InFlightMessages:
    """The messages in flight. ``closing`` ends receiving and sending; ``ended``: the source has no more.

    Nothing is sent before ``may_send``. ``actions`` counts the actions under way.
    """

    def __init__(self, target: Target, options: MoveOptions, *, hidden_seconds: float) -> None:
        self._target = target
        self._options = options
        self._hidden_seconds = hidden_seconds
        self._bound = _bound(options, hidden_seconds)
        self.report = MoveReport()
        self.closing = False
        self.may_send = False
        self.ended = False
        self._numbers = itertools.count()
        self._items: dict[str, InFlightMessage] = {}
        self._queues: dict[str, GroupQueue] = {}
        self._ready: dict[str, GroupQueue] = {}  # neither busy nor pausing nor failed, with messages waiting
        self._pausing: dict[str, GroupQueue] = {}
        self._to_note: deque[InFlightMessage] = deque()
        self._noting = False
        self._noted_ahead: dict[str, ReceivedMessage] = {}  # noted while they are sent, or to be sent again
        self._to_delete: deque[InFlightMessage] = deque()
        self._expiries: list[tuple[float, int, str]] = []  # a heap; what is out of date is passed over
        self._confirmed: set[str] = set()  # the target has them, and the source may give them again
        self._undeleted: set[str] = set()  # of these, those that could not be deleted
        self._doubts: dict[str, float] = {}  # sends that may have taken effect, and when the first one began
        self._pending = 0  # to be sent
        self._held = 0
        self._bytes = 0
        self._mean_bytes = 0.0
        # Actions under way.
        self.actions = 0
        self._sends: list[Send] = []
        self._sending_queues = self._deletes = 0
        self._extend_tries = 0
        self._received_at = self._deleting_at = self._delete_at = self._send_at = self._extend_at = 0.0
        self._prefetcher = Prefetcher(options, groups_max=self._bound)

    # --- What to do.

    @property
    def active(self) -> int:
        """How many messages are on their way."""
        return len(self._items) - self._held

    @property
    def over(self) -> bool:
        """Whether nothing is to do, now or later."""
        if self.actions:
            return False
        return not (self._to_note or self._to_delete) if self.closing else self.ended and not self.active

    def choose(self, now: float, *, only_extend_visibility: bool = False) -> Action | None:
        """Choose the most useful action and count it as under way; None if none is useful at the moment.

        The order: extend what is about to become visible (or only that); then full calls, notes and deletes
        before sends; then receives; and only then calls that are not full.
        """
        for queue in [queue for queue in self._pausing.values() if queue.not_before <= now]:
            del self._pausing[queue.group]
            self._ready[queue.group] = queue
        if self._doubts:
            self._stop_doubtful(now)
        action: Action | None = self._choose_extend_visibility(now)
        if action is None and not only_extend_visibility:
            action = self._choose_other(now)
        self.actions += action is not None
        return action

    def _choose_other(self, now: float) -> Action | None:
        return (
            self._choose_note(now, full=True)
            or self._choose_delete(now, full=True)
            or self._choose_send(now, full=True)
            or self._choose_receive(now)
            or self._choose_send(now, full=False)
            or self._choose_note(now, full=False)
            or self._choose_note_ahead()
            or self._choose_delete(now, full=False)
        )

    def remaining(self) -> list[ReceivedMessage]:
        """Return what is still in flight, the last of each group first: the order in which it is released."""
        left = sorted(self._items.values(), key=lambda item: item.number, reverse=True)
        return [item.received for item in left]

    def _choose_extend_visibility(self, now: float) -> ExtendVisibility | None:
        if now < self._extend_at:
            return None
        margin = self._hidden_seconds / 2
        items: list[InFlightMessage] = []
        while self._expiries and len(items) < BATCH_ENTRIES_MAX and self._expiries[0][0] - now < margin:
            expiry, _, message_id = heapq.heappop(self._expiries)
            item = self._items.get(message_id)
            if item is not None and item.expiry == expiry:
                items.append(item)
        if not items:
            return None
        # Never hidden for longer than the run has lasted: so much a run after a crash has to wait.
        held = all(item.held for item in items)
        longest = max(item.extend_seconds for item in items)
        seconds = min(EXTEND_SECONDS_MAX, 2 * longest) if held else self._hidden_seconds
        return ExtendVisibility(sorted(items, key=lambda item: item.number), seconds)

    def _choose_note(self, now: float, *, full: bool) -> Note | None:
        if self._noting or not self._to_note:
            return None
        if full:
            due = len(self._to_note) >= NOTE_MESSAGES or now - self._to_note[0].sent_at >= NOTE_WITHIN
        else:
            # What is on its way, or about to be, would want a note of its own.
            due = not self._sends and (self.closing or not (self._ready or self._prefetcher.receives))
        return self._begin_note(list(self._to_note)) if due else None

    def _choose_note_ahead(self) -> Note | None:
        """Note messages while they are sent, if all else waits for that: then they are deleted the sooner."""
        history = self._options.history
        if history is None or not history.ahead or self._noting or self.closing or self._prefetcher.receives:
            return None
        sending = [item for send in self._sends for item in send.items]
        ahead = [item for item in sending if not item.note]
        if not ahead or len(sending) < self._pending:
            return None
        for item in ahead:
            # Without its body: very many may stay behind.
            message = replace(item.message, body="")
            self._noted_ahead[item.id] = item.received._replace(message=message)
        return self._begin_note([*self._to_note, *ahead])

    def _begin_note(self, items: Sequence[InFlightMessage]) -> Note:
        self._noting = True
        self._to_note.clear()
        for item in items:
            item.note = "begun"
        return Note(items)

    @property
    def stayed(self) -> list[ReceivedMessage]:
        """Return what was noted while it was sent, and never arrived."""
        return list(self._noted_ahead.values())

    def _choose_delete(self, now: float, *, full: bool) -> Delete | None:
        if not self._to_delete or now < self._delete_at:
            return None
        if full:
            due = len(self._to_delete) >= BATCH_ENTRIES_MAX or (
                now - self._to_delete[0].sent_at > DELETE_WITHIN
            )
        else:
            # Not full only if no send, under way or about to begin, will bring more.
            due = not (self._sends or self._noting) and (self.closing or not self._ready)
        if not due:
            return None
        self._deletes += 1
        self._deleting_at = now
        return Delete(
            [self._to_delete.popleft() for _ in range(min(BATCH_ENTRIES_MAX, len(self._to_delete)))]
        )

    def _choose_send(self, now: float, *, full: bool) -> Send | None:
        if self.closing or not (self.may_send and self._ready) or now < self._send_at:
            return None
        if not (self._fills_a_send() if full else self._may_send_less(now)):
            return None
        batch = self._compose()
        if self._options.max_rate:
            count = sum(len(items) for _, items in batch)
            self._send_at = max(now, self._send_at) + count / self._options.max_rate
        self._sending_queues += len(batch)
        self._sends.append(Send(batch, now))
        return self._sends[-1]

    def _fills_a_send(self) -> bool:
        if self._target.strict:
            return len(self._ready) >= BATCH_ENTRIES_MAX
        return sum(len(queue.waiting) for queue in self._ready.values()) >= BATCH_ENTRIES_MAX

    def _may_send_less(self, now: float) -> bool:
        """Say whether a send that is not full is better than waiting for what would fill it."""
        if self._prefetcher.receives and now - self._received_at < FILL_WITHIN:
            return False
        # So many sends at a time as it takes for all groups in flight; a group more comes back soon.
        return not self._target.strict or len(self._sends) * BATCH_ENTRIES_MAX < self._sending_queues + len(
            self._ready
        )

    def _compose(self) -> list[tuple[GroupQueue, list[InFlightMessage]]]:
        """Pick the heads of the longest groups, up to the target's limits; more of each if not strict."""
        limit = self._target.batch_max
        if self._options.max_rate:
            limit = max(1, min(limit, int(self._options.max_rate)))
        alone = next((queue for queue in self._ready.values() if queue.alone), None)
        if alone is not None:
            queues, limit = [alone], 1
        else:
            queues = heapq.nlargest(limit, self._ready.values(), key=lambda queue: len(queue.waiting))
        batch: list[tuple[GroupQueue, list[InFlightMessage]]] = []
        size = 0
        for queue in queues:
            items: list[InFlightMessage] = []
            while queue.waiting and limit and not (items and self._target.strict):
                if size and size + queue.waiting[0].size > self._target.bytes_max:
                    break
                items.append(queue.waiting.popleft())
                size += items[-1].size
                limit -= 1
            if items:
                queue.busy = True
                del self._ready[queue.group]
                batch.append((queue, items))
        return batch

    def _choose_receive(self, now: float) -> Receive | None:
        if self.closing or self.ended:
            return None
        count = self._count_to_receive()
        if count <= 0:
            self.ended = not self._pending and not self._prefetcher.receives
            return None
        probe = self._prefetcher.source_drained and not self.active
        ahead = self._may_prefetch(now)
        if not (ahead or (not self._prefetcher.receives if probe else self._may_receive())):
            return None
        self._received_at = now
        return self._prefetcher.ask(count, wait=probe, ahead=ahead)

    def _count_to_receive(self) -> int:
        if self._options.count is None:
            return BATCH_ENTRIES_MAX
        left = self._options.count - self.report.moved - self._pending
        # Among messages that are not all wanted, nobody knows how many to take.
        return (
            min(BATCH_ENTRIES_MAX, left - self._prefetcher.coming)
            if self._options.wanted is None
            else min(BATCH_ENTRIES_MAX, left * BATCH_ENTRIES_MAX)
        )

    def _may_receive(self) -> bool:
        coming = self._prefetcher.coming + BATCH_ENTRIES_MAX
        in_flight = self.active if self.may_send else len(self._items)
        if in_flight + coming > self._most():
            return False
        if self.active and self._bytes + coming * self._mean_bytes > IN_FLIGHT_BYTES_MAX:
            return False
        return self._prefetcher.may_give(at_all=not self._ready and not self._sends)

    def _most(self) -> int:
        """Return how many messages may be in flight."""
        first = FIRST_IN_FLIGHT_PER_WORKER * self._options.workers
        return self._bound if self.may_send else min(self._bound, max(IN_FLIGHT_MIN, first))

    def _may_prefetch(self, now: float) -> bool:
        """Say whether all there is to do is to wait for deletes, and for what they make visible."""
        if not (self._deletes and self._prefetcher.source_drained and self._prefetcher.prefetch_worthwhile):
            return False
        if self._pending or self._prefetcher.receives or self._to_note or self._noting or self._to_delete:
            return False
        return self._received_at < self._prefetch_at <= now  # and none was sent behind these already

    @property
    def wakes_at(self) -> float:
        """When there may be something to do before any action reports its result."""
        note_at = self._to_note[0].sent_at + NOTE_WITHIN if self._to_note and not self._noting else math.inf
        return min(note_at, self._prefetch_at)

    @property
    def _prefetch_at(self) -> float:
        return self._deleting_at + AHEAD_AFTER if self._deletes else math.inf

    # --- What came of it.

    def failed_action(self, action: Receive | ExtendVisibility) -> None:
        """Account for an action that failed as a whole.

        Of a send or delete each message is refused then; a note never fails.
        """
        self.actions -= 1
        if isinstance(action, Receive):
            self._prefetcher.failed(action)
        else:
            for item in action.items:
                self._expect(item, item.expiry, item.extend_seconds)

    def received(
        self, action: Receive, batch: Sequence[ReceivedMessage], *, asked_at: float, exhausted: bool
    ) -> None:
        """Put what was received in flight."""
        self.actions -= 1
        self._prefetcher.gave(action, batch, self._queues.keys())
        if not batch:
            self.ended = self.ended or (exhausted and not self.active)
        for one in batch:
            self._admit(one, asked_at)

    def sent(self, action: Send, refused: Rejections, *, whole: bool, now: float) -> list[ReceivedMessage]:
        """Account for a send, of which ``whole`` failed or none; return what the target has now."""
        self.actions -= 1
        self._sends = [send for send in self._sends if send is not action]
        self._sending_queues -= len(action.batch)
        accepted: list[ReceivedMessage] = []
        for queue, items in action.batch:
            queue.busy = False
            queue.alone = whole and queue.tries > 0
            accepted += self._sent(queue, items, refused, now)
            for item in items:
                if whole or (item.id in refused and refused[item.id].doubtful):
                    self._doubts.setdefault(item.id, action.began)
        return accepted

    def noted(self, action: Note) -> None:
        """Account for a note: what it names may leave the source when the target has it."""
        self.actions -= 1
        self._noting = False
        for item in action.items:
            item.note = "written"
            if item.sent:
                self._to_delete.append(item)

    def deleted(self, action: Delete, refused: Rejections, *, now: float) -> None:
        """Account for messages that the source let go, or did not."""
        self.actions -= 1
        self._deletes -= 1
        again: list[InFlightMessage] = []
        tries_max = TRIES_MAX if self.report.error is None else TRIES_AT_THE_END
        for item in action.items:
            refusal = refused.get(item.id)
            if refusal is not None and refusal.retry and item.tries < tries_max:
                item.tries += 1
                again.append(item)
                continue
            if refusal is None:
                self._undeleted.discard(item.id)
            else:
                # Gone, or ours no more: then it comes again and is only deleted, as the target has it.
                self._confirmed.add(item.id)
                if refusal.retry:
                    self._undeleted.add(item.id)
            self._drop(item)
        self.report.not_deleted = len(self._undeleted)
        if again:
            self._to_delete.extendleft(reversed(again))
            self._delete_at = now + growing_pause(max(item.tries for item in again), FIRST_PAUSE)

    def extended(
        self, action: ExtendVisibility, refused: Rejections, *, asked_at: float, now: float
    ) -> list[ReceivedMessage]:
        """Account for an extension; return what waits behind a lost message, the last first, for release."""
        self.actions -= 1
        back: list[ReceivedMessage] = []
        for item in action.items:
            if self._items.get(item.id) is not item:
                continue
            refusal = refused.get(item.id)
            if refusal is None:
                self._expect(item, asked_at + action.seconds, action.seconds)
            elif refusal.retry:
                self._expect(item, item.expiry, item.extend_seconds)
            else:
                back += self._lost(item)
        unextended = any(refusal.retry for refusal in refused.values())
        self._extend_tries = self._extend_tries + 1 if unextended else 0
        if unextended:
            self._extend_at = now + growing_pause(self._extend_tries, FIRST_PAUSE, EXTEND_PAUSE_MAX)
        return back

    def _admit(self, received: ReceivedMessage, asked_at: float) -> None:
        """Put a message into its group's queue, or among those that stay behind."""
        seconds = self._hidden_seconds
        known = self._items.get(received.message.message_id)
        if known is not None:
            # Its time ran out while we had it: the newest handle is the one that counts.
            known.received = known.received._replace(receipt_handle=received.receipt_handle)
            self._expect(known, asked_at + seconds, seconds)
            return
        item = InFlightMessage(
            received, next(self._numbers), self._target.size(received.message), 0.0, seconds
        )
        self._items[item.id] = item
        self._bytes += item.size
        self._mean_bytes += (item.size - self._mean_bytes) / 16
        self._expect(item, asked_at + seconds, seconds)
        queue = self._queues.setdefault(received.message.group, GroupQueue(received.message.group))
        queue.in_flight += 1
        self.ended = False
        if item.id in self._confirmed:
            item.sent_at = asked_at
            self._to_delete.append(item)
        elif self._options.leave(received):
            self.report.left += 1
            self._hold(item)
        elif self._options.wanted is not None and not self._options.wanted(received):
            self.report.skipped += 1
            self._hold(item)
        elif self._options.count is not None and self.report.moved + self._pending >= self._options.count:
            self._hold(item)
        elif queue.failed:
            self._fail(item, "behind a message of its group that failed")
        else:
            self._pending += 1
            queue.waiting.append(item)
            self._place(queue, asked_at)

    def _sent(
        self, queue: GroupQueue, items: Sequence[InFlightMessage], refused: Rejections, now: float
    ) -> list[ReceivedMessage]:
        """Account for what the target took of one group, and put what it refused back at the head."""
        accepted = [item for item in items if item.id not in refused]
        back = [item for item in items if item.id in refused and not refused[item.id].aside]
        for item in items:
            if item.id in refused and refused[item.id].aside:
                self._doubts.pop(item.id, None)
                self._pending -= 1
                self.report.left += 1
                self._hold(item)
        for item in accepted:
            item.sent_at, item.tries = now, 0
            self._doubts.pop(item.id, None)
            self._noted_ahead.pop(item.id, None)
            if self._options.history is None or item.note == "written":
                self._to_delete.append(item)
            elif not item.note:
                self._to_note.append(item)
        self._pending -= len(accepted)
        self.report.moved += len(accepted)
        for item in back:
            after = tuple(one.id for one in accepted if one.number > item.number)
            if after:
                self.report.overtakings.append(Overtaking(item.id, queue.group, after))
        queue.waiting.extendleft(reversed(back))
        queue.tries = queue.tries + 1 if back else 0
        if back:
            refusal = refused[back[0].id]
            queue.not_before = now + growing_pause(queue.tries, FIRST_PAUSE)
            if not refusal.retry or queue.tries >= TRIES_MAX:
                self._stop(queue, refusal.reason)
        self._place(queue, now)
        return [item.received for item in accepted]

    def _place(self, queue: GroupQueue, now: float) -> None:
        """Put a queue where ``choose`` finds it."""
        if queue.busy or queue.failed or not queue.waiting:
            return
        place = self._pausing if queue.not_before > now else self._ready
        place[queue.group] = queue

    def _stop(self, queue: GroupQueue, reason: str) -> None:
        """Stop a group for this run: what we have of it stays hidden until the end."""
        queue.failed = True
        self._pending -= len(queue.waiting)
        for place, item in enumerate(queue.waiting):
            self._fail(item, reason if place == 0 else "behind a message of its group that failed")
        queue.waiting.clear()

    def _stop_doubtful(self, now: float) -> None:
        """Stop groups whose head would be a second copy if an earlier send took effect after all."""
        for queue in list(self._ready.values()):
            began = self._doubts.get(queue.waiting[0].id)
            if began is not None and now - began > DOUBT_SECONDS_MAX:
                del self._ready[queue.group]
                self._stop(queue, "a send was not answered, and SQS forgets it soon: it may have arrived")

    def _fail(self, item: InFlightMessage, reason: str) -> None:
        failure = Failure(item.id, item.message.group, reason)
        self.report.failed_with(failure)
        self._options.on_failed(failure)
        self._hold(item)

    def _hold(self, item: InFlightMessage) -> None:
        """Remember of a message only what it takes to release it."""
        self._bytes -= item.size
        item.size = 0
        item.held = True
        item.received = item.received._replace(message=replace(item.message, body="", attributes={}))
        self._held += 1

    def _lost(self, item: InFlightMessage) -> list[ReceivedMessage]:
        """Let go of a message that is ours no more, and of what waits behind it: they come again in order."""
        queue = self._queues[item.message.group]
        if item not in queue.waiting:
            return []  # sent or deleted now, which shows what it is; or it stays, with its next handle
        dropped = list(itertools.dropwhile(lambda one: one is not item, queue.waiting))
        for one in dropped:
            queue.waiting.remove(one)
            self._pending -= 1
            self._drop(one)
        if not queue.waiting:
            self._ready.pop(queue.group, None)
            self._pausing.pop(queue.group, None)
        self.ended = False
        return [one.received for one in reversed(dropped) if one is not item]

    def _drop(self, item: InFlightMessage) -> None:
        """Take a message out of flight; with the last one of its group, what is behind them can be had."""
        del self._items[item.id]
        self._bytes -= item.size
        queue = self._queues[item.message.group]
        queue.in_flight -= 1
        if queue.in_flight == 0:
            del self._queues[queue.group]
            self._prefetcher.group_done(queue.group)

    def _expect(self, item: InFlightMessage, expiry: float, seconds: float) -> None:
        item.expiry, item.extend_seconds = expiry, seconds
        if expiry != math.inf:
            heapq.heappush(self._expiries, (expiry, item.number, item.id))


def _bound(options: MoveOptions, hidden_seconds: float) -> int:
    """Return how many messages may be on their way: enough for full calls, no more than are sent in time."""
    bound = max(IN_FLIGHT_MIN, IN_FLIGHT_PER_WORKER * options.workers)
    if options.max_rate:
        bound = min(bound, max(IN_FLIGHT_MIN, math.ceil(options.max_rate * min(hidden_seconds, 60) / 2)))
    return bound
