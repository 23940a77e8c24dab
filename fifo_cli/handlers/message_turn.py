"""One message's turn: an attempt at its APIs, and what follows from it.

A message that is delivered is deleted; one that can never be delivered is parked, then deleted; any other
stays at the head of its group. Each is accounted for in the report and logged. What happens if the process
dies: before the delete, the message comes again with the same Idempotency-Key; between parking and delete,
the copy in the DLQ has a deduplication id that suppresses a second one for five minutes.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from .breaker import Breaker
from .delivery import ApiDelivery, Attempt, Verdict
from .failure import Owner, ending, owner_of, shown
from .json_log import Journal, Level, iso
from .pace import Pace
from .parking import park
from .run_report import Outcome, Report, Status
from .visibility import MainQueue, QueueMessage

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# Why a message gets no turn, or none that counts.
BEHIND: Final = "behind a message of its group that was not delivered"
NOT_OURS: Final = "its visibility timeout ended; it will come again"
BREAKER_OPEN: Final = "the API is not called: calls for several groups failed in a row"
RUN_ENDED: Final = "the run ended before its turn"

_LEVELS: Final[dict[Status, Level]] = {
    "delivered": "info",
    "skipped": "info",
    "parked": "warning",
    "failed": "error",
}


@dataclass(eq=False)
class MessageTurns:
    """Gives messages their turn, and puts their outcomes into ``report``; safe to share between threads.

    The methods that conclude a turn return whether the message is gone from the queue: if not, no later
    message of its group may have a turn. Their ``pause`` is for how many seconds its group then waits, where
    that is known; it is logged. What an attempt shows of the API is noted in the ``breaker``, and its
    repeated calls in the ``pace``.
    """

    sqs: SQSClient
    dlq_url: str
    queue: MainQueue
    delivery: ApiDelivery
    report: Report
    journal: Journal
    breaker: Breaker
    pace: Pace
    on_outcome: Callable[[Outcome], None] = lambda outcome: None
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    # Of each message: attempts that an API may have taken, and the names of these APIs, in order.
    _doubts: Counter[str] = field(default_factory=Counter, init=False)
    _taken_by: dict[str, dict[str, None]] = field(default_factory=dict, init=False)

    def attempt(self, message: QueueMessage, *, time_left: Callable[[], float]) -> Attempt:
        """Try every API once; raises what is neither the message's failure nor the API's."""
        noted = False
        try:
            attempt = self.delivery.attempt(
                message,
                time_left=time_left,
                on_doubt=partial(self._doubt, message),
                on_repeat=self.pace.count_call,
            )
            noted = self._note(message, attempt)
        finally:
            if not noted:
                self.breaker.passed_over(message.group)
        return attempt

    def conclude(
        self, message: QueueMessage, attempt: Attempt, elapsed_ms: int, *, pause: float | None = None
    ) -> bool:
        """Act on the attempt: delete, park and delete, or leave the message at the head of its group."""
        facts: dict[str, Any] = {"attempt": attempt, "elapsed_ms": elapsed_ms, "pause": pause}
        if attempt.verdict is Verdict.SUCCESS:
            return self._delete(message, "delivered", facts)
        reason = _reason_to_park(message, attempt)
        if reason is None:
            self._settle(message, "failed", error=attempt.error, owner=attempt.owner, **facts)
            return False
        status = attempt.http_status
        try:
            park(self.sqs, self.dlq_url, message, reason=reason, status=status, source="worker")
        except Exception as error:  # noqa: BLE001 - it stays in main, where the next run finds it
            text = f"{reason}; parking failed: {shown(error, self.delivery.redact)}"
            self._settle(message, "failed", error=text, owner=owner_of(error), **facts)
            return False
        return self._delete(message, "parked", {**facts, "error": reason, "owner": attempt.owner})

    def fail(
        self, message: QueueMessage, error: BaseException, elapsed_ms: int, *, pause: float | None = None
    ) -> None:
        """Account for what was raised while a message was handled; it stays.

        A fault of configuration or of AWS was no attempt: the message had no turn.
        """
        owner, text = owner_of(error), shown(error, self.delivery.redact)
        if owner in ("configuration", "aws"):
            self._settle(message, "skipped", error=text, owner=owner, pause=pause)
            return
        if owner == "program":
            text = f"internal error: {text}"
        self._settle(message, "failed", error=text, owner=owner, elapsed_ms=elapsed_ms, pause=pause)

    def skip(self, message: QueueMessage, reason: str, *, pause: float | None = None) -> None:
        """Account for a message that gets no turn; it stays."""
        self._settle(message, "skipped", error=reason, pause=pause)

    def end_early(self, error: BaseException) -> None:
        """Note that a run ends because of ``error``; the first one is reported."""
        with self._lock:
            first, self.report.error = self.report.error is None, self.report.error or error
        if first:
            self.journal("error", "run failed", **ending(error, self.delivery.redact))

    def give_back(self, pause: Callable[[QueueMessage], float] = lambda message: 0) -> None:
        """Give back all that is held, visible again after ``pause`` seconds.

        What SQS refuses becomes visible by itself when its visibility timeout is over.
        """
        try:
            refused = self.queue.release(pause)
        except Exception as error:  # noqa: BLE001 - nothing is lost
            refused = [str(error)]
        for reason in refused:
            self.journal("warning", "not released", reason=self.delivery.redact(reason))

    def _note(self, message: QueueMessage, attempt: Attempt) -> bool:
        """Note in the breaker what the attempt shows of the API; False if it shows nothing."""
        if attempt.verdict is Verdict.TRANSIENT and attempt.owner == "api":
            new = message.receives == 1
            if opened := self.breaker.failed(message.group, new=new, retry_after=attempt.retry_after):
                self.journal(
                    "warning",
                    "breaker opened",
                    api=attempt.failed_at,
                    status=attempt.http_status,
                    error_type=attempt.error_type,
                    reason=attempt.error,
                    failures=opened.failures,
                    until=_iso_in(opened.pause),
                )
            return True
        if attempt.http_status is None:
            return False
        if self.breaker.succeeded(message.group):
            self.journal("info", "breaker closed")
        return True

    def _doubt(self, message: QueueMessage, apis: Sequence[str]) -> None:
        """Note that these APIs may have taken the message at an attempt that did not deliver it."""
        with self._lock:
            self._doubts[message.message_id] += 1
            self._taken_by.setdefault(message.message_id, {}).update(dict.fromkeys(apis))

    def _delete(self, message: QueueMessage, status: Status, facts: dict[str, Any]) -> bool:
        try:
            self.queue.delete(message)
        except Exception as error:  # noqa: BLE001 - reported in the result; the message comes again
            why = self.delivery.redact(str(error))
            text = f"{status}, but not deleted from the queue, so it may come again: {why}"
            if before := facts.pop("error", None):
                text = f"{before}; {text}"
            self._settle(message, status, error=text, **facts)
            return False
        self._settle(message, status, **facts)
        return True

    def _settle(
        self,
        message: QueueMessage,
        status: Status,
        *,
        attempt: Attempt | None = None,
        elapsed_ms: int = 0,
        error: str | None = None,
        owner: Owner | None = None,
        pause: float | None = None,
    ) -> None:
        """Account for a message and log it; in an ``error`` that quotes others, the keys are hidden."""
        outcome = Outcome(
            message_id=message.message_id,
            group=message.group,
            status=status,
            http_status=attempt.http_status if attempt else None,
            elapsed_ms=elapsed_ms,
            error=error,
            api=attempt.failed_at if attempt else None,
            error_type=attempt.error_type if attempt else None,
            owner=owner,
        )
        with self._lock:
            self.report.results.append(outcome)
        if status not in ("failed", "skipped"):
            pause = None
        asked = attempt.retry_after if attempt and attempt.verdict is Verdict.TRANSIENT else None
        self.journal(
            _LEVELS[status],
            status,
            message_id=message.message_id,
            group=message.group,
            event_id=message.attribute("event_id"),
            stream_sequence=message.attribute("stream_sequence"),
            item_key=message.attribute("item_key"),
            status=outcome.http_status,
            # Every receive counts, a look too: it is not the number of attempts.
            receives=message.receives,
            elapsed_ms=elapsed_ms,
            api=outcome.api,
            error_type=outcome.error_type,
            owner=owner,
            doubts=self._doubts.get(message.message_id),
            taken_by=list(self._taken_by.get(message.message_id, ())) or None,
            reason=error,
            pause=None if pause is None else round(pause, 3),
            paused_until=None if pause is None else _iso_in(pause),
            # In seconds; of less, no use is made for a pause.
            retry_after=round(asked) if pause is not None and asked and asked >= 1 else None,
        )
        self.on_outcome(outcome)


def _reason_to_park(message: QueueMessage, attempt: Attempt) -> str | None:
    """Return why the message leaves the line, or None if it stays."""
    api = attempt.api
    if api is None:  # not for any API
        return attempt.error
    if attempt.verdict is Verdict.PERMANENT:
        return attempt.error if api.on_permanent == "park" else None
    if attempt.no_token:  # nobody but the token endpoint failed, and not at this message
        return None
    age = time.time() - message.sent_at
    if 0 < api.give_up_after < age:
        return f"gave up after {age:.0f} s in the queue: {attempt.error}"
    return None


def _iso_in(seconds: float) -> str:
    """Return the time in so many seconds."""
    return iso(datetime.now(UTC) + timedelta(seconds=seconds))


def milliseconds(seconds: float) -> int:
    """Return a duration as results and logs have it."""
    return round(seconds * 1000)
