"""A run: the oldest messages go to the API, in order within each group, and each one's fate is accounted for.

The worker function runs this on its schedule and ``drain`` in the operator's process.

A failed message keeps its group closed until the run ends (it stays hidden, and so does what is behind
it); then everything not delivered is released, tails first, so that the next run sees it at once and in
order.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .delivery import ApiDelivery, Attempt, Verdict
from .failure import ending, owner_of
from .json_log import Journal
from .limits import RECEIVE_MAX
from .message_turn import MessageTurns
from .pace import Pace
from .run_report import Outcome, Report
from .visibility import MainQueue, QueueMessage

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

_NAP_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a run may do.

    ``count`` is of messages that get their turn, None means until the line is empty; ``max_rate`` is messages
    a second.

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
        source: str = "worker",
        on_outcome: Callable[[Outcome], None] = lambda outcome: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._queue = MainQueue(sqs, urls["main"], needs=limits.needs, clock=clock)
        self._delivery = delivery
        self._limits = limits
        self._journal = journal
        self._report = Report()
        self._turns = MessageTurns(
            sqs,
            urls["dlq"],
            self._queue,
            delivery,
            self._report,
            journal=journal,
            source=source,
            on_outcome=on_outcome,
        )
        self._pace = Pace(limits.max_rate, patience=limits.patience, clock=clock)
        self._lock = threading.Lock()
        self._closed: set[str] = set()  # groups in which a message stayed behind
        self._behind = 0  # messages that had no turn because of that
        self._ended = threading.Event()

    def perform(self) -> Report:
        """Deliver until the count is reached, the line is empty, the time is up, or it is asked to stop.

        What is still held then is released in every case. An error of AWS's ends the run and is the
        report's ``error``.
        """
        try:
            with ThreadPoolExecutor(self._limits.concurrency, thread_name_prefix="group") as pool:
                self._pump(pool)
        except Exception as error:  # noqa: BLE001 - reported with what was done until then
            self._end_early(error)
        finally:
            self._release()
        return self._report

    def _pump(self, pool: ThreadPoolExecutor) -> None:
        """Keep the workers busy: receive while one is free, wait while none is."""
        groups: set[Future[None]] = set()
        received = 0
        try:
            while not self._over():
                wanted = self._wanted(received)
                if not (wanted or groups):
                    return
                if not wanted or len(groups) >= self._limits.concurrency:
                    groups = self._wait(groups)
                    continue
                self._queue.keep_all_hidden()
                batch = self._queue.receive(wanted)
                # A closed group's message comes again only if its time ran out: it is held, not tried again.
                fresh = [message for message in batch if message.group not in self._closed]
                if not fresh and not groups:
                    self._report.emptied = True
                    return
                if not fresh:  # the groups in flight may have more behind them
                    groups = self._wait(groups)
                received += len(fresh)
                groups |= {pool.submit(self._work, group_messages) for group_messages in self._split(fresh)}
        except Exception:
            self._ended.set()
            raise
        finally:
            while groups:
                groups = self._wait(groups)

    def _wanted(self, received: int) -> int:
        """Return how many messages to receive: what waits behind a failed one takes no other's turn."""
        if self._limits.count is None:
            return RECEIVE_MAX
        with self._lock:
            return min(RECEIVE_MAX, max(0, self._limits.count - received + self._behind))

    def _wait(self, groups: set[Future[None]]) -> set[Future[None]]:
        """Wait up to a second for a group to end; meanwhile what is held stays hidden."""
        done, going = wait(groups, timeout=1, return_when=FIRST_COMPLETED)
        for group_messages in done:
            if (error := group_messages.exception()) is not None:
                self._end_early(error)
        self._queue.keep_all_hidden()
        return going

    def _split(self, batch: list[QueueMessage]) -> list[list[QueueMessage]]:
        """One list a group; with one worker a single list, so that the oldest message goes first."""
        if self._limits.concurrency == 1:
            return [batch] if batch else []
        groups: dict[str, list[QueueMessage]] = {}
        for message in batch:
            groups.setdefault(message.group, []).append(message)
        return list(groups.values())

    def _work(self, group_messages: list[QueueMessage]) -> None:
        for message in group_messages:
            if message.group in self._closed:
                self._skip(message, "behind a message of its group that was not delivered")
                with self._lock:
                    self._behind += 1
            elif self._over():
                self._skip(message, "the run ended before its turn")
            else:
                self._deliver(message)

    def _over(self) -> bool:
        return (
            self._ended.is_set() or self._limits.stopped() or self._limits.time_left() <= self._limits.needs
        )

    def _deliver(self, message: QueueMessage) -> None:
        """Attempt one message, again as often as the API asks for a later time that is within the budget."""
        started = self._clock()
        attempt: Attempt | None = None
        try:
            while self._await_turn(message, first=attempt is None):
                if not self._queue.keep_hidden(message):
                    self._skip(message, "its visibility timeout ended; it will come again")
                    return
                attempt = self._turns.attempt(message, time_left=self._limits.time_left)
                if attempt.verdict is not Verdict.TRANSIENT or not attempt.retry_after:
                    break
                self._pace.resume_after(attempt.retry_after)
        except BaseException as error:  # noqa: BLE001 - each has an owner, and no message stops another
            if owner_of(error) in ("configuration", "aws"):
                self._end_early(error)
            self._close(message)
            self._turns.fail(message, error, round((self._clock() - started) * 1000))
            return
        if attempt is None:
            self._skip(message, "the run ended before its turn")
        elif not self._turns.conclude(message, attempt, round((self._clock() - started) * 1000)):
            self._close(message)

    def _skip(self, message: QueueMessage, reason: str) -> None:
        self._close(message)
        self._turns.skip(message, reason)

    def _close(self, message: QueueMessage) -> None:
        """Give no later message of this group a turn in this run."""
        with self._lock:
            self._closed.add(message.group)

    def _await_turn(self, message: QueueMessage, *, first: bool) -> bool:
        """Wait for the pace and for the API's Retry-After; False if that does not fit into the run."""
        now = self._clock()
        needs = self._limits.needs
        pause = self._pace.next_call(first=first, fits=lambda pause: pause + needs < self._limits.time_left())
        if pause is None:
            self._ended.set()
            return False
        if pause and self._queue.keep_hidden(message, extra=pause):
            until = now + pause
            while (left := until - self._clock()) > 0 and not self._limits.stopped():
                self._sleep(min(left, _NAP_SECONDS))
        return not (pause and self._limits.stopped())

    def _end_early(self, error: BaseException) -> None:
        """End the run because of ``error``; the first one is reported."""
        self._ended.set()
        if self._report.error is None:
            self._report.error = error
            self._journal("error", "run failed", **ending(error, self._delivery.redact))

    def _release(self) -> None:
        try:
            refused = self._queue.release()
        except Exception as error:  # noqa: BLE001 - they become visible by themselves when their time is over
            refused = [str(error)]
        for reason in refused:
            self._journal("warning", "not released", reason=self._delivery.redact(reason))
