"""A run: the oldest messages go to the API, in order within each group, and each one's fate is accounted for.

The worker function runs this on its schedule and ``drain`` in the operator's process.

One thread receives, others deliver, each a group at a time. Which group is next: turn_order.py. A failed
message keeps its group closed until the run ends (it stays hidden, and so does what is behind it); then
everything not delivered is released, tails first, so that the next run sees it at once and in order.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .breaker import Breaker
from .call_gate import CallGate
from .delivery import ApiDelivery, Attempt, Verdict
from .failure import owner_of
from .json_log import Journal
from .message_turn import BEHIND, BREAKER_OPEN, NOT_OURS, RUN_ENDED, MessageTurns, milliseconds
from .pace import Pace
from .run_report import Outcome, Report
from .turn_order import Turn, TurnOrder
from .visibility import MainQueue, QueueMessage

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# Who waits for another thread looks up so often: the time may be over, or a stop asked for.
_LOOK_SECONDS: Final = 1.0
# Groups that are received before a thread is free for them: a fourth of what is delivered side by side.
_STOCK_SHARE: Final = 4
# When to receive again after a receive that brought nothing, though there is other work: at the latest, and
# after a group was delivered, which may have more behind it.
_SEARCH_SECONDS: Final = 0.5
_SEARCH_AFTER_SUCCESS_SECONDS: Final = 0.02
# The search for new heads ends after a third of the run's time. While so many messages are held, nothing is
# received: a queue has 120,000 in flight at most (SQS Developer Guide, "FIFO queue quotas"), once 20,000.
_SEARCH_SHARE: Final = 3
_HELD_MAX: Final = 10_000
_NEVER: Final = float("inf")
# What it takes to release one held message at the end, ten a call.
_RELEASE_SECONDS: Final = 0.003


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a run may do.

    ``count`` is of messages that get their turn, None means until the line is empty; ``max_rate`` is API
    calls a second.

    ``time_left`` shows the seconds until the run must have ended; ``needs`` what one message may take;
    ``patience`` how long in all the run may wait because the API asked it to (Retry-After).
    """

    count: int | None
    needs: float
    concurrency: int = 1
    max_rate: float | None = None
    time_left: Callable[[], float] = lambda: float("inf")
    patience: float = float("inf")
    stopped: Callable[[], bool] = lambda: False


class Run:
    """One run over the main queue; ``perform`` may be called once."""

    def __init__(  # noqa: PLR0913 - its edges: a queue, an API, a log, an observer, a clock
        self,
        sqs: SQSClient,
        urls: Mapping[str, str],
        delivery: ApiDelivery,
        limits: Limits,
        *,
        journal: Journal,
        breaker: Breaker,
        on_outcome: Callable[[Outcome], None] = lambda outcome: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._queue = MainQueue(sqs, urls["main"], needs=limits.needs, clock=clock)
        self._limits = limits
        self._report = Report()
        self._breaker = breaker
        self._pace = Pace(limits.max_rate, calls=delivery.calls, patience=limits.patience, clock=clock)
        self._turns = MessageTurns(
            sqs,
            urls["dlq"],
            self._queue,
            delivery,
            self._report,
            journal=journal,
            breaker=breaker,
            pace=self._pace,
            on_outcome=on_outcome,
        )
        self._order = TurnOrder(limits.count, breaker, clock=clock)
        self._stock = limits.concurrency + limits.concurrency // _STOCK_SHARE
        self._lock = threading.Lock()  # of the order, and of what follows
        self._turn_ready = threading.Condition(self._lock)
        self._turn_ended = threading.Condition(self._lock)
        self._ended = threading.Event()
        self._gate = CallGate(breaker, over=self._over)
        self._next_search = 0.0  # by the clock
        self._search_time = limits.time_left() / _SEARCH_SHARE  # seconds that are left for it

    def perform(self) -> Report:
        """Deliver until the count is reached, the line is empty, the time is up, or it is asked to stop.

        What is still held then is released in every case. An error of AWS's ends the run and is the
        report's ``error``; an open breaker ends it when no call is in flight any more.
        """
        self._breaker.begin_run()
        try:
            with ThreadPoolExecutor(self._limits.concurrency, thread_name_prefix="group") as pool:
                self._receive_all(pool)
            for message in self._order.unserved():
                self._turns.skip(message, self._no_turn())
        finally:
            self._turns.give_back()
        return self._report

    def _receive_all(self, pool: ThreadPoolExecutor) -> None:
        """Receive until there is nothing more to do; threads of ``pool`` deliver it."""
        try:
            self._receive_while_wanted(pool)
        except Exception as error:  # noqa: BLE001 - reported with what was done until then
            self._end_early(error)
        finally:
            self._end()

    def _receive_while_wanted(self, pool: ThreadPoolExecutor) -> None:
        threads = 0
        while not self._over():
            self._queue.keep_all_hidden()
            with self._lock:
                idle = self._idle()
                if not self._wants_more(idle=idle):
                    if idle:
                        return
                    self._turn_ended.wait(self._until_next_look())
                    continue
                wanted = self._order.wanted()
            if not self._receive(wanted, idle=idle) and idle:
                self._report.emptied = True
                return
            for _ in range(threads, min(self._order.groups, self._limits.concurrency)):
                pool.submit(self._work)
                threads += 1

    def _idle(self) -> bool:
        return not (self._order.in_flight or self._order.waiting)

    def _wants_more(self, *, idle: bool) -> bool:
        """Whether to receive now; with the lock. A stock of groups keeps the threads busy meanwhile."""
        if not self._may_receive():
            return False
        return idle or (self._low() and self._clock() >= self._next_search)

    def _may_receive(self) -> bool:
        return self._order.wanted() > 0 and self._queue.held < _HELD_MAX

    def _low(self) -> bool:
        return self._order.looks_further or self._order.in_flight + self._order.ready < self._stock

    def _until_next_look(self) -> float:
        left = self._next_search - self._clock()
        return min(left, _LOOK_SECONDS) if left > 0 else _LOOK_SECONDS

    def _receive(self, wanted: int, *, idle: bool) -> bool:
        """Receive once, and put it in order; say whether anything came. What is ``idle`` may wait for it."""
        began = self._clock()
        batch = self._queue.receive(wanted, wait=idle)
        now = self._clock()
        with self._lock:
            self._order.add(batch)
            if not batch:
                self._next_search = now + _SEARCH_SECONDS
            elif not self._order.ready:
                self._search_time -= now - began
            if self._search_time < 0:
                self._next_search = _NEVER
            self._turn_ready.notify_all()
        return bool(batch)

    def _work(self) -> None:
        """Deliver one group after the other, until the run ends."""
        try:
            while (turn := self._next_turn()) is not None:
                tried, stays = self._perform(turn)
                with self._lock:
                    self._order.finish(turn, tried=tried, stays=stays)
                    if not stays and self._next_search < _NEVER:
                        soon = self._clock() + _SEARCH_AFTER_SUCCESS_SECONDS
                        self._next_search = min(self._next_search, soon)
                    if self._low() or self._idle():
                        self._turn_ended.notify()
        except Exception as error:  # noqa: BLE001 - a defect: reported with what was done until then
            self._end_early(error)

    def _next_turn(self) -> Turn | None:
        """Wait for a turn; None if the run has ended."""
        with self._lock:
            while not self._over():
                searching = self._may_receive() and self._clock() >= self._next_search
                if (turn := self._order.take(searching=searching)) is not None:
                    return turn
                self._turn_ready.wait(_LOOK_SECONDS)
        return None

    def _perform(self, turn: Turn) -> tuple[int, bool]:
        """Deliver a group's messages; return how many were tried, and whether one of them stays."""
        tried, stays = 0, False
        for message in turn.messages:
            if stays:
                self._turns.skip(message, BEHIND)
            elif self._over():
                self._turns.skip(message, self._no_turn())
                stays = True
            else:
                gone = self._deliver(message)
                tried += gone is not None
                stays = not gone
                if gone and not self._order.proven:
                    self._prove()
        return tried, stays

    def _prove(self) -> None:
        """A first call succeeded: those who waited for that may have their turn."""
        with self._lock:
            self._order.proven = True
            self._turn_ready.notify_all()

    def _over(self) -> bool:
        needs = self._limits.needs + self._queue.held * _RELEASE_SECONDS
        return self._ended.is_set() or self._limits.stopped() or self._limits.time_left() <= needs

    def _deliver(self, message: QueueMessage) -> bool | None:
        """Attempt one message, again as often as the API asks for a later time that is within the budget.

        Return whether it is gone from the queue; None if it had no turn. The time that is reported is of the
        last attempt, without what was waited before.
        """
        attempt: Attempt | None = None
        began, took = self._clock(), 0.0
        try:
            while self._await_turn(message) and self._may_call(message):
                began = self._clock()
                attempt = self._call(message)
                took = self._clock() - began
                if attempt is None:
                    self._turns.skip(message, NOT_OURS)
                    return None
                if attempt.verdict is not Verdict.TRANSIENT or not attempt.retry_after:
                    break
                self._pace.resume_after(attempt.retry_after)
        except BaseException as error:  # noqa: BLE001 - each has an owner, and no message stops another
            if owner_of(error) in ("configuration", "aws"):
                self._end_early(error)
            self._turns.fail(message, error, milliseconds(self._clock() - began))
            return False
        if attempt is None:
            self._turns.skip(message, self._no_turn())
            return None
        return self._turns.conclude(message, attempt, milliseconds(took))

    def _may_call(self, message: QueueMessage) -> bool:
        if self._gate.enter(message.group):
            return True
        if self._gate.shut_by is not None:
            self._report.breaker = self._gate.shut_by
            self._end()
        return False

    def _call(self, message: QueueMessage) -> Attempt | None:
        """Make one attempt; None if the message is not ours any more."""
        attempt: Attempt | None = None
        try:
            if self._queue.keep_hidden(message):
                attempt = self._turns.attempt(message, time_left=self._limits.time_left)
            return attempt
        finally:
            self._gate.leave(message.group, attempt)

    def _no_turn(self) -> str:
        return BREAKER_OPEN if self._report.breaker else RUN_ENDED

    def _await_turn(self, message: QueueMessage) -> bool:
        """Wait for the pace and for the API's Retry-After; if that does not fit into the run, it ends."""
        may_begin = self._pace.await_message(
            within=self._limits.time_left() - self._limits.needs,
            sleep=self._sleep,
            hide=lambda wait: self._queue.keep_hidden(message, extra=wait),
            over=self._broken_off,
        )
        if not may_begin:
            self._end()
        return may_begin

    def _broken_off(self) -> bool:
        return self._limits.stopped() or self._report.error is not None

    def _end(self) -> None:
        """Let nothing more begin; who waits for a turn, or for its end, sees it at once."""
        self._ended.set()
        with self._lock:
            self._turn_ready.notify_all()
            self._turn_ended.notify_all()

    def _end_early(self, error: BaseException) -> None:
        self._end()
        self._turns.end_early(error)
