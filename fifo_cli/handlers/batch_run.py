"""A batch: up to ten messages of main that Lambda's poller hands over, where the queue starts the worker.

The policy is that of a run on a schedule, by other means. Lambda deletes what the answer does not list. So
the answer begins with all messages and loses those that were deleted here, each as soon as its API said yes.
What it lists comes again when its visibility timeout ends, and the poller never changes that. So what is
left of a group that failed gets one pause here, tails first, head last: a head that is visible before its
tail comes alone, and its group then waits for the tail. (Lambda Developer Guide, "Handling errors for an SQS
event source in Lambda")

Before anything is delivered the whole batch is hidden until after the end of the function, heads first. That
also shows what is ours: SQS refuses a receipt handle that has expired, and then the group is someone else's.
If the function dies, everything left comes again shortly after its time would have been over.
"""

from __future__ import annotations

import base64
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .breaker import Breaker
from .delivery import ApiDelivery, Attempt, Verdict
from .failure import owner_of
from .json_log import Journal
from .limits import RECEIVE_MAX, VISIBILITY_SECONDS_MAX
from .message_turn import BEHIND, BREAKER_OPEN, NOT_OURS, RUN_ENDED, MessageTurns, milliseconds
from .pace import Pace
from .retry_budget import RetryBudget
from .run_report import Report
from .runtime import WorkerSettings
from .visibility import MainQueue, QueueMessage

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# So long after the end of the function (seconds) its messages come again if it dies. More than MainQueue's
# margin, so that nothing has to be extended a second time.
_HIDDEN_AFTER_END: Final = 10.0
# SQS hides a message for at most 12 hours from its receipt, which was before the function began (by less than
# the queue's visibility timeout): a longer pause of a group is cut to this.
_GROUP_PAUSE_MAX: Final = VISIBILITY_SECONDS_MAX - 7_200.0
_DOUBLINGS_MAX: Final = 30

_TIME_UP: Final = "the function's time was up before its turn"
RATE_REACHED: Final = "max_rate allows its call only later"
_BUDGET: Final = "it failed before, and calls that failed took their share of the function's time"


@dataclass(eq=False)
class BatchWorker:
    """Delivers batches; lasts as long as the execution environment, and so do its pace and its breaker.

    ``needs`` is the longest a message may take, in seconds.
    """

    sqs: SQSClient
    urls: Mapping[str, str]
    delivery: ApiDelivery
    settings: WorkerSettings
    needs: float
    journal: Journal
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random

    def __post_init__(self) -> None:
        settings, clock = self.settings, self.clock
        self.first = first = min(settings.retry_first, _GROUP_PAUSE_MAX)
        self.longest = longest = min(settings.retry_longest, _GROUP_PAUSE_MAX)
        # What is given back unseen comes again over so many seconds: chance says which group is the probe.
        self.spread = min(first / 2, longest - first)
        self.breaker = Breaker(settings.breaker, first=first, longest=longest - self.spread, clock=clock)
        self.pace = Pace(settings.max_rate, calls=self.delivery.calls, clock=clock)
        self.threads = min(settings.concurrency, RECEIVE_MAX)
        self.budget = RetryBudget(most=self.needs, clock=clock)  # it saves up one call of full length
        self._pool: ThreadPoolExecutor | None = None

    def deliver(
        self, records: Sequence[Mapping[str, Any]], time_left: Callable[[], float]
    ) -> tuple[Report, list[str]]:
        """Deliver a batch; return what was done, and the ids of all messages that are not deleted.

        ``time_left`` shows the seconds until the function must have ended.
        """
        self.budget.begin()
        try:
            return _Batch(self, [read_record(record) for record in records], time_left).perform()
        finally:
            self.budget.ended()

    def pause_of(self, message: QueueMessage, attempt: Attempt | None = None) -> float:
        """Return for how long a group waits whose head stays: Retry-After, else longer with each receive."""
        asked = attempt.retry_after if attempt and attempt.verdict is Verdict.TRANSIENT else None
        if asked and asked >= 1:
            return min(asked, _GROUP_PAUSE_MAX)
        doublings = min(max(message.receives - 1, 0), _DOUBLINGS_MAX)
        return min(self.first * 2.0**doublings, self.longest)

    def pause_unseen(self, message: QueueMessage) -> float:
        """Return for how long a group waits that the breaker turned away: for what is left of its pause.

        While few have failed, what was received before waits longer, and is not in front of what was not.
        """
        left = self.breaker.pause_left(message.group)
        own = self.pause_of(message) if self.breaker.is_young else 0.0
        return max(left, min(own, self.longest - self.spread)) + self.spread * self.chance()

    def pool(self) -> ThreadPoolExecutor:
        """Return the threads, which keep their connections from one batch to the next."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="group")
        return self._pool


class _Batch:
    """One batch; ``perform`` may be called once."""

    def __init__(
        self, worker: BatchWorker, messages: list[QueueMessage], time_left: Callable[[], float]
    ) -> None:
        self._worker = worker
        self._time_left = time_left
        self._messages = messages
        self._groups: dict[str, list[QueueMessage]] = {}
        for message in messages:
            self._groups.setdefault(message.group, []).append(message)
        self._queue = MainQueue(worker.sqs, worker.urls["main"], needs=worker.needs, clock=worker.clock)
        self._report = Report()
        self._turns = MessageTurns(
            worker.sqs,
            worker.urls["dlq"],
            self._queue,
            worker.delivery,
            self._report,
            journal=worker.journal,
            breaker=worker.breaker,
            pace=worker.pace,
        )
        self._lock = threading.Lock()
        self._left = {message.message_id: None for message in messages}
        self._due: dict[str, float] = {}  # when a group may have its next turn; not there: at once

    def perform(self) -> tuple[Report, list[str]]:
        """Deliver, give back what is left, and return the ids of what is left."""
        try:
            self._queue.adopt(self._messages)
            wait = self._breaker_pause()
            if not wait or self._waits_for_probe(wait):
                self._queue.hide(seconds=self._time_left() + _HIDDEN_AFTER_END)
                if wait:
                    self._worker.sleep(wait)
            self._deliver_groups()
        except Exception as error:  # noqa: BLE001 - reported with what was done until then
            self._turns.end_early(error)
        finally:
            now = self._worker.clock()  # one for all: what is left of a group gets the same pause
            self._turns.give_back(lambda message: self._pause_left(message, now))
        return self._report, list(self._left)

    def _breaker_pause(self) -> float:
        """Return after how many seconds the breaker lets a first group through."""
        breaker = self._worker.breaker
        return min(
            breaker.pause_left(group, new=messages[0].receives == 1)
            for group, messages in self._groups.items()
        )

    def _waits_for_probe(self, wait: float) -> bool:
        """Whether to wait until the breaker lets a group through: only early, and for one not tried before.

        Otherwise those that always fail could be held here, and the others not be received.
        """
        breaker = self._worker.breaker
        return (
            breaker.is_young
            and wait + self._worker.needs < self._time_left()
            and any(
                messages[0].receives == 1 or not breaker.has_failed(group)
                for group, messages in self._groups.items()
            )
        )

    def _deliver_groups(self) -> None:
        """Deliver groups side by side: those that were not tried before go first."""
        breaker = self._worker.breaker
        waiting = sorted(
            self._groups, key=lambda group: (breaker.has_failed(group), self._groups[group][0].receives > 1)
        )
        if self._worker.threads == 1 or len(waiting) == 1:
            for group in waiting:
                self._deliver_group(group)
            return
        futures = [self._worker.pool().submit(self._deliver_group, group) for group in waiting]
        for future in futures:
            future.exception()  # waits: a group that is being delivered is never given back
        for future in futures:
            future.result()

    def _deliver_group(self, group: str) -> None:
        """Deliver the messages of a group in their order, up to the first that stays."""
        messages = self._groups[group]
        if not all(self._queue.holds(message) for message in messages):
            self._stay(group, messages, NOT_OURS, 0.0)
            return
        for number, message in enumerate(messages):
            turned_away = self._turned_away(message, first=number == 0)
            if turned_away is not None:
                self._stay(group, messages[number:], *turned_away)
                return
            pause = self._deliver(message)
            if pause is not None:
                self._stay(group, messages[number + 1 :], BEHIND, pause)
                return

    def _turned_away(self, message: QueueMessage, *, first: bool) -> tuple[str, float] | None:
        """Return why a message gets no turn now, and for how long its group waits; None: it gets one.

        What had no turn because the time is up is given back at once, or when ``max_rate`` allows a call.
        """
        worker, group = self._worker, message.group
        if self._report.error is not None:
            return RUN_ENDED, worker.pause_of(message)
        if self._time_up():
            return _TIME_UP, 0.0
        if first and message.receives > 1 and not worker.budget.allows():
            return _BUDGET, worker.pause_of(message)
        if not worker.breaker.admits(group, new=message.receives == 1):
            return BREAKER_OPEN, worker.pause_unseen(message)
        if not self._await_pace():
            worker.breaker.passed_over(group)
            wait = min(worker.pace.wait(), _GROUP_PAUSE_MAX)
            return (RATE_REACHED, wait) if wait else (_TIME_UP, 0.0)
        return None

    def _time_up(self) -> bool:
        return self._time_left() <= self._worker.needs

    def _await_pace(self) -> bool:
        """Wait until max_rate allows a call; False if that does not fit into the function's time."""
        worker = self._worker
        within = self._time_left() - worker.needs
        return worker.pace.await_message(within=within, sleep=worker.sleep) and not self._time_up()

    def _deliver(self, message: QueueMessage) -> float | None:
        """Attempt one message; return for how long its group waits if it stays, None if it is gone."""
        worker = self._worker
        started = worker.clock()
        try:
            if not self._queue.keep_hidden(message):
                worker.breaker.passed_over(message.group)
                self._turns.skip(message, NOT_OURS)
                return 0.0
            attempt = self._turns.attempt(message, time_left=self._time_left)
        except BaseException as error:  # noqa: BLE001 - each has an owner, and no message stops another
            worker.breaker.passed_over(message.group)
            if owner_of(error) in ("configuration", "aws"):
                self._turns.end_early(error)
            pause = worker.pause_of(message)
            self._turns.fail(message, error, milliseconds(worker.clock() - started), pause=pause)
            return pause
        pause, took = worker.pause_of(message, attempt), worker.clock() - started
        if self._turns.conclude(message, attempt, milliseconds(took), pause=pause):
            worker.budget.ended()
            with self._lock:
                del self._left[message.message_id]
            return None
        worker.budget.failed(started, retry=message.receives > 1)
        return pause

    def _stay(self, group: str, messages: list[QueueMessage], reason: str, pause: float) -> None:
        """Leave these in the queue; their group has its next turn after the pause."""
        with self._lock:
            self._due[group] = self._worker.clock() + pause
        for message in messages:
            self._turns.skip(message, reason, pause=pause or None)

    def _pause_left(self, message: QueueMessage, now: float) -> float:
        due = self._due.get(message.group)
        if due is not None:
            return max(0.0, due - now)
        # Its group had no turn. After an error, what is given back at once would come again at once.
        return self._worker.pause_of(self._groups[message.group][0]) if self._report.error else 0.0


def read_record(record: Mapping[str, Any]) -> QueueMessage:
    """Read a message as Lambda hands it over, in boto3's words."""
    system: Mapping[str, str] = record.get("attributes") or {}
    return QueueMessage(
        message_id=record["messageId"],
        receipt_handle=record["receiptHandle"],
        body=record["body"],
        group=system.get("MessageGroupId", ""),
        attributes={
            name: _attribute(value) for name, value in (record.get("messageAttributes") or {}).items()
        },
        system=system,
    )


def _attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    attribute: dict[str, Any] = {"DataType": value["dataType"]}
    if value.get("stringValue") is not None:
        attribute["StringValue"] = value["stringValue"]
    if value.get("binaryValue") is not None:
        attribute["BinaryValue"] = base64.b64decode(value["binaryValue"])
    return attribute
