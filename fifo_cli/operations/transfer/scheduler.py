"""The messages in hand of a move, and what is the most useful thing to do with them next.

Pure bookkeeping: no call is made here. The engine asks ``choose`` for an act, performs it in one of its
threads, and tells what came of it; both under one lock.

A group is in one act at a time and waits for its head; different groups share a send. What was taken from a
group stays ours until all of it is settled, so nothing behind it is given out before (SQS Developer Guide,
"FIFO queue delivery logic").
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

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
    Receive,
    Rejections,
    Send,
)

FULL: Final = 10  # what one call to SQS holds
# For full sends by a third of the workers at groups of ten messages each, and as many again in stock.
IN_FLIGHT_PER_WORKER: Final = 60
IN_FLIGHT_MIN: Final = 20
# Before anything may be sent, enough for each worker's first send, and as many again.
FIRST_IN_FLIGHT_PER_WORKER: Final = 20
IN_FLIGHT_BYTES_MAX: Final = 24 * 1024 * 1024
# Pauses before a refused message is tried again: 0.1, 0.2, … 3.2 s; then its group stops for this run.
TRIES_MAX: Final = 7
FIRST_PAUSE: Final = 0.1
# After an error that ended the move, what the target has is settled if that goes at once.
TRIES_AT_THE_END: Final = 2
# A message that the target has waits at most so many seconds for nine others to be settled with.
SETTLE_WITHIN: Final = 2.0
# SQS knows a message that it was sent for five minutes (API Reference, SendMessageBatch): no send of which
# nobody knows whether it took effect is repeated later than this.
DOUBT_SECONDS_MAX: Final = 240.0
# A send waits at most so many seconds for a take under way that would fill it.
FILL_WITHIN: Final = 0.5
# A take of what settles under way will make free is sent so many seconds after them, to be there behind them.
AHEAD_AFTER: Final = 0.003
# What stays behind is kept longer each time, so that keeping very many of them stays cheap.
KEEP_SECONDS_MAX: Final = 600.0


class InFlightMessages:
    """The messages in hand. ``closing`` ends taking and sending; ``ended``: the source has no more.

    Nothing is sent before it ``may_send``. ``acts`` are under way.
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
        self._lanes: dict[str, GroupQueue] = {}
        self._ready: dict[str, GroupQueue] = {}  # neither busy nor pausing nor failed, with messages waiting
        self._pausing: dict[str, GroupQueue] = {}
        self._unsettled: deque[InFlightMessage] = deque()
        self._expiries: list[tuple[float, int, str]] = []  # a heap; what is out of date is passed over
        self._confirmed: set[str] = set()  # the target has them, and the source may give them again
        self._undeleted: set[str] = set()  # of these, those that could not be settled
        self._doubts: dict[str, float] = {}  # sends that may have taken effect, and when the first one began
        self._pending = 0  # to be sent
        self._held = 0
        self._bytes = 0
        self._mean_bytes = 0.0
        # Acts under way.
        self.acts = 0
        self._sends = self._sending_lanes = self._settles = 0
        self._took_at = self._settling_at = self._settle_at = self._send_at = 0.0
        self._supply = Prefetcher(options, groups_max=self._bound)

    # --- What to do.

    @property
    def active(self) -> int:
        """How many messages are on their way."""
        return len(self._items) - self._held

    @property
    def over(self) -> bool:
        """Whether nothing is to do, now or later."""
        if self.acts:
            return False
        return not self._unsettled if self.closing else self.ended and not self.active

    def choose(self, now: float, *, only_keep: bool = False) -> Action | None:
        """Choose the most useful act and count it as under way; None if none is useful at the moment.

        What is about to become visible first, or ``only`` that; then full calls, towards an empty hand; then
        more; and only then calls that are not full.
        """
        for lane in [lane for lane in self._pausing.values() if lane.not_before <= now]:
            del self._pausing[lane.group]
            self._ready[lane.group] = lane
        if self._doubts:
            self._stop_doubtful(now)
        act: Action | None = self._choose_keep(now)
        if act is None and not only_keep:
            act = self._choose_other(now)
        self.acts += act is not None
        return act

    def _choose_other(self, now: float) -> Action | None:
        return (
            self._choose_settle(now, full=True)
            or self._choose_send(now, full=True)
            or self._choose_take(now)
            or self._choose_send(now, full=False)
            or self._choose_settle(now, full=False)
        )

    def remaining(self) -> list[ReceivedMessage]:
        """Return what is in hand still, tails first, as it is to be given back."""
        left = sorted(self._items.values(), key=lambda item: item.number, reverse=True)
        return [item.taken for item in left]

    def _choose_keep(self, now: float) -> ExtendVisibility | None:
        margin = self._hidden_seconds / 2
        items: list[InFlightMessage] = []
        while self._expiries and len(items) < FULL and self._expiries[0][0] - now < margin:
            expiry, _, message_id = heapq.heappop(self._expiries)
            item = self._items.get(message_id)
            if item is not None and item.expiry == expiry:
                items.append(item)
        if not items:
            return None
        # Never hidden for longer than the run has lasted: so much a run after a crash has to wait.
        held = all(item.held for item in items)
        longest = max(item.keep_seconds for item in items)
        seconds = min(KEEP_SECONDS_MAX, 2 * longest) if held else self._hidden_seconds
        return ExtendVisibility(sorted(items, key=lambda item: item.number), seconds)

    def _choose_settle(self, now: float, *, full: bool) -> Delete | None:
        if not self._unsettled or now < self._settle_at:
            return None
        if full:
            due = len(self._unsettled) >= FULL or now - self._unsettled[0].sent_at > SETTLE_WITHIN
        else:
            # Not full only if no send, under way or about to begin, will bring more.
            due = not self._sends and (self.closing or not self._ready)
        if not due:
            return None
        self._settles += 1
        self._settling_at = now
        return Delete([self._unsettled.popleft() for _ in range(min(FULL, len(self._unsettled)))])

    def _choose_send(self, now: float, *, full: bool) -> Send | None:
        if self.closing or not (self.may_send and self._ready) or now < self._send_at:
            return None
        if not (self._fills_a_send() if full else self._may_send_less(now)):
            return None
        batch = self._compose()
        if self._options.max_rate:
            count = sum(len(items) for _, items in batch)
            self._send_at = max(now, self._send_at) + count / self._options.max_rate
        self._sends += 1
        self._sending_lanes += len(batch)
        return Send(batch, now)

    def _fills_a_send(self) -> bool:
        if self._target.strict:
            return len(self._ready) >= FULL
        return sum(len(lane.waiting) for lane in self._ready.values()) >= FULL

    def _may_send_less(self, now: float) -> bool:
        """Say whether a send that is not full is better than waiting for what would fill it."""
        if self._supply.takes and now - self._took_at < FILL_WITHIN:
            return False
        # So many sends at a time as it takes for all groups in hand; a group more comes back soon.
        return not self._target.strict or self._sends * FULL < self._sending_lanes + len(self._ready)

    def _compose(self) -> list[tuple[GroupQueue, list[InFlightMessage]]]:
        """Take the longest groups' heads up to the target's limits; more of a group if it is not strict."""
        limit = self._target.batch_max
        if self._options.max_rate:
            limit = max(1, min(limit, int(self._options.max_rate)))
        alone = next((lane for lane in self._ready.values() if lane.alone), None)
        if alone is not None:
            lanes, limit = [alone], 1
        else:
            lanes = heapq.nlargest(limit, self._ready.values(), key=lambda lane: len(lane.waiting))
        batch: list[tuple[GroupQueue, list[InFlightMessage]]] = []
        size = 0
        for lane in lanes:
            items: list[InFlightMessage] = []
            while lane.waiting and limit and not (items and self._target.strict):
                if size and size + lane.waiting[0].size > self._target.bytes_max:
                    break
                items.append(lane.waiting.popleft())
                size += items[-1].size
                limit -= 1
            if items:
                lane.busy = True
                del self._ready[lane.group]
                batch.append((lane, items))
        return batch

    def _choose_take(self, now: float) -> Receive | None:
        if self.closing or self.ended:
            return None
        count = self._count_to_take()
        if count <= 0:
            self.ended = not self._pending and not self._supply.takes
            return None
        probe = self._supply.dry and not self.active
        ahead = self._may_take_ahead(now)
        if not (ahead or (not self._supply.takes if probe else self._may_take())):
            return None
        self._took_at = now
        return self._supply.ask(count, wait=probe, ahead=ahead)

    def _count_to_take(self) -> int:
        if self._options.count is None:
            return FULL
        left = self._options.count - self.report.moved - self._pending
        # Among messages that are not all wanted, nobody knows how many to take.
        return (
            min(FULL, left - self._supply.coming) if self._options.wanted is None else min(FULL, left * FULL)
        )

    def _may_take(self) -> bool:
        coming = self._supply.coming + FULL
        in_hand = self.active if self.may_send else len(self._items)
        if in_hand + coming > self._most():
            return False
        if self.active and self._bytes + coming * self._mean_bytes > IN_FLIGHT_BYTES_MAX:
            return False
        return self._supply.may_give(at_all=not self._ready and not self._sends)

    def _most(self) -> int:
        """Return how many messages may be in hand."""
        first = FIRST_IN_FLIGHT_PER_WORKER * self._options.workers
        return self._bound if self.may_send else min(self._bound, max(IN_FLIGHT_MIN, first))

    def _may_take_ahead(self, now: float) -> bool:
        """Say whether all there is to do is to wait for settles, and for what they make free."""
        if not (self._settles and self._supply.dry and self._supply.prefetch_worthwhile):
            return False
        if self._pending or self._supply.takes or self._unsettled:
            return False
        return self._took_at < self.wakes_at <= now  # and none was sent behind these already

    @property
    def wakes_at(self) -> float:
        """When there may be something to do though nothing has come of any act."""
        return self._settling_at + AHEAD_AFTER if self._settles else math.inf

    # --- What came of it.

    def failed_act(self, act: Action) -> None:
        """Account for a take or a keep that failed as a whole."""
        self.acts -= 1
        match act:
            case Receive():
                self._supply.failed(act)
            case ExtendVisibility():
                for item in act.items:
                    self._expect(item, item.expiry, item.keep_seconds)
            case Send() | Delete():
                raise TypeError("a send or settle that fails refuses each of its messages")

    def taken(
        self, act: Receive, batch: Sequence[ReceivedMessage], *, asked_at: float, exhausted: bool
    ) -> None:
        """Put what was taken into the hand."""
        self.acts -= 1
        self._supply.gave(act, batch, self._lanes.keys())
        if not batch:
            self.ended = self.ended or (exhausted and not self.active)
        for one in batch:
            self._admit(one, asked_at)

    def sent(self, act: Send, refused: Rejections, *, whole: bool, now: float) -> list[ReceivedMessage]:
        """Account for a send, of which ``whole`` failed or none; return what the target has now."""
        self.acts -= 1
        self._sends -= 1
        self._sending_lanes -= len(act.batch)
        accepted: list[ReceivedMessage] = []
        for lane, items in act.batch:
            lane.busy = False
            lane.alone = whole and lane.tries > 0
            accepted += self._sent(lane, items, refused, now)
            if whole:
                for item in items:
                    self._doubts.setdefault(item.id, act.began)
        return accepted

    def settled(self, act: Delete, refused: Rejections, *, now: float) -> None:
        """Account for messages that the source let go, or did not."""
        self.acts -= 1
        self._settles -= 1
        again: list[InFlightMessage] = []
        tries_max = TRIES_MAX if self.report.complaint is None else TRIES_AT_THE_END
        for item in act.items:
            refusal = refused.get(item.id)
            if refusal is not None and refusal.retry and item.tries < tries_max:
                item.tries += 1
                again.append(item)
                continue
            if refusal is None:
                self._undeleted.discard(item.id)
            else:
                # Gone, or ours no more: then it comes again and is only settled, as the target has it.
                self._confirmed.add(item.id)
                if refusal.retry:
                    self._undeleted.add(item.id)
            self._drop(item)
        self.report.unsettled = len(self._undeleted)
        if again:
            self._unsettled.extendleft(reversed(again))
            self._settle_at = now + _pause(max(item.tries for item in again))

    def kept(self, act: ExtendVisibility, lost: set[str], *, asked_at: float) -> list[ReceivedMessage]:
        """Account for a keep; return what waits behind a lost message, tails first, to be given back."""
        self.acts -= 1
        back: list[ReceivedMessage] = []
        for item in act.items:
            if self._items.get(item.id) is not item:
                continue
            if item.id in lost:
                back += self._lost(item)
            else:
                self._expect(item, asked_at + act.seconds, act.seconds)
        return back

    def _admit(self, taken: ReceivedMessage, asked_at: float) -> None:
        """Put a message into its group's lane, or among those that stay behind."""
        seconds = self._hidden_seconds
        known = self._items.get(taken.message.message_id)
        if known is not None:
            # Its time ran out while we had it: the newest handle is the one that counts.
            known.taken = replace(known.taken, receipt_handle=taken.receipt_handle)
            self._expect(known, asked_at + seconds, seconds)
            return
        item = InFlightMessage(taken, next(self._numbers), self._target.size(taken.message), 0.0, seconds)
        self._items[item.id] = item
        self._bytes += item.size
        self._mean_bytes += (item.size - self._mean_bytes) / 16
        self._expect(item, asked_at + seconds, seconds)
        lane = self._lanes.setdefault(taken.message.group, GroupQueue(taken.message.group))
        lane.in_hand += 1
        self.ended = False
        if item.id in self._confirmed:
            item.sent_at = asked_at
            self._unsettled.append(item)
        elif self._options.leave(taken):
            self.report.left += 1
            self._hold(item)
        elif self._options.wanted is not None and not self._options.wanted(taken):
            self.report.skipped += 1
            self._hold(item)
        elif self._options.count is not None and self.report.moved + self._pending >= self._options.count:
            self._hold(item)
        elif lane.failed:
            self._fail(item, "behind a message of its group that failed")
        else:
            self._pending += 1
            lane.waiting.append(item)
            self._place(lane, asked_at)

    def _sent(
        self, lane: GroupQueue, items: Sequence[InFlightMessage], refused: Rejections, now: float
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
        self._unsettled.extend(accepted)
        self._pending -= len(accepted)
        self.report.moved += len(accepted)
        for item in back:
            after = tuple(one.id for one in accepted if one.number > item.number)
            if after:
                self.report.overtakings.append(Overtaking(item.id, lane.group, after))
        lane.waiting.extendleft(reversed(back))
        lane.tries = lane.tries + 1 if back else 0
        if back:
            refusal = refused[back[0].id]
            lane.not_before = now + _pause(lane.tries)
            if not refusal.retry or lane.tries >= TRIES_MAX:
                self._stop(lane, refusal.reason)
        self._place(lane, now)
        return [item.taken for item in accepted]

    def _place(self, lane: GroupQueue, now: float) -> None:
        """Put a lane where ``choose`` finds it."""
        if lane.busy or lane.failed or not lane.waiting:
            return
        place = self._pausing if lane.not_before > now else self._ready
        place[lane.group] = lane

    def _stop(self, lane: GroupQueue, reason: str) -> None:
        """Stop a group for this run: what we have of it stays hidden until the end."""
        lane.failed = True
        self._pending -= len(lane.waiting)
        for place, item in enumerate(lane.waiting):
            self._fail(item, reason if place == 0 else "behind a message of its group that failed")
        lane.waiting.clear()

    def _stop_doubtful(self, now: float) -> None:
        """Stop groups whose head would be a second copy if an earlier send took effect after all."""
        for lane in list(self._ready.values()):
            began = self._doubts.get(lane.waiting[0].id)
            if began is not None and now - began > DOUBT_SECONDS_MAX:
                del self._ready[lane.group]
                self._stop(lane, "a send was not answered, and SQS forgets it soon: it may have arrived")

    def _fail(self, item: InFlightMessage, reason: str) -> None:
        self.report.failed_with(Failure(item.id, item.message.group, reason))
        self._hold(item)

    def _hold(self, item: InFlightMessage) -> None:
        """Remember of a message only what it takes to give it back."""
        self._bytes -= item.size
        item.size = 0
        item.held = True
        item.taken = replace(item.taken, message=replace(item.message, body="", attributes={}))
        self._held += 1

    def _lost(self, item: InFlightMessage) -> list[ReceivedMessage]:
        """Let go of a message that is ours no more, and of what waits behind it: they come again in order."""
        lane = self._lanes[item.message.group]
        if item not in lane.waiting:
            return []  # on its way: settling it will tell. Or it stays behind, and its next handle is noted.
        dropped = list(itertools.dropwhile(lambda one: one is not item, lane.waiting))
        for one in dropped:
            lane.waiting.remove(one)
            self._pending -= 1
            self._drop(one)
        if not lane.waiting:
            self._ready.pop(lane.group, None)
            self._pausing.pop(lane.group, None)
        self.ended = False
        return [one.taken for one in reversed(dropped) if one is not item]

    def _drop(self, item: InFlightMessage) -> None:
        """Take a message out of the hand; with the last one of its group, what is behind them can be had."""
        del self._items[item.id]
        self._bytes -= item.size
        lane = self._lanes[item.message.group]
        lane.in_hand -= 1
        if lane.in_hand == 0:
            del self._lanes[lane.group]
            self._supply.let_go(lane.group)

    def _expect(self, item: InFlightMessage, expiry: float, seconds: float) -> None:
        item.expiry, item.keep_seconds = expiry, seconds
        if expiry != math.inf:
            heapq.heappush(self._expiries, (expiry, item.number, item.id))


def _bound(options: MoveOptions, hidden_seconds: float) -> int:
    """Return how many messages may be on their way: enough for full calls, no more than are sent in time."""
    bound = max(IN_FLIGHT_MIN, IN_FLIGHT_PER_WORKER * options.workers)
    if options.max_rate:
        bound = min(bound, max(IN_FLIGHT_MIN, math.ceil(options.max_rate * min(hidden_seconds, 60) / 2)))
    return bound


def _pause(tries: int) -> float:
    return FIRST_PAUSE * float(2 ** (tries - 1))
