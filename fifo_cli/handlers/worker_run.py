"""A run: the oldest messages go to the API, in order within each group, and each one's fate is accounted for.

The worker function runs this on its schedule and ``drain`` in the operator's process.

A failed message keeps its group closed until the run ends (it stays hidden, and so does what is behind
it); then everything not delivered is released, tails first, so that the next run sees it at once and in
order. What happens if the process dies: before the delete, the message comes again with the same
Idempotency-Key; between parking and delete, the copy in the DLQ has a deduplication id that suppresses
a second one for five minutes.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from .delivery import ApiDelivery, Attempt, Verdict
from .failure import Owner, described, ending, owner_of
from .json_log import Journal, Level
from .limits import RECEIVE_MAX
from .parking import park
from .visibility import MainQueue, QueueMessage

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

Status = Literal["delivered", "parked", "failed", "skipped"]
_NAP_SECONDS: Final = 0.2
_LEVELS: Final[dict[Status, Level]] = {
    "delivered": "info",
    "skipped": "info",
    "parked": "warning",
    "failed": "error",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one received message.

    ``api`` is the name of the API that it did not get past; ``error_type`` is the class of the error where
    that one did not answer; ``owner`` is whose failure it was.
    """

    message_id: str
    group: str
    status: Status
    http_status: int | None
    elapsed_ms: int
    error: str | None
    api: str | None = None
    error_type: str | None = None
    owner: Owner | None = None


def sums(results: Sequence[Outcome]) -> dict[str, int]:
    """Return how many messages came to what, as the contract's JSON has it."""
    counts = Counter(outcome.status for outcome in results)
    return {
        "received": len(results),
        "delivered": counts["delivered"],
        "parked": counts["parked"],
        "failed": counts["failed"],
    }


@dataclass(slots=True)
class Report:
    """What a run did. ``error`` is why it ended early, if it did; nothing is lost then either.

    ``emptied`` says that it received until there was nothing more to receive.
    """

    results: list[Outcome] = field(default_factory=list)
    error: BaseException | None = None
    emptied: bool = False

    def facts(self, redact: Callable[[str], str] = str) -> dict[str, Any]:
        """Return what the log's line of its end has."""
        emptied = {"emptied": True} if self.emptied else {}
        return {**sums(self.results), **emptied, **ending(self.error, redact)}

    def document(self) -> dict[str, Any]:
        """Return the report as the contract's JSON, without ``remaining``."""
        return {**sums(self.results), "results": [asdict(outcome) for outcome in self.results]}


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
        self._sqs = sqs
        self._dlq_url = urls["dlq"]
        self._clock = clock
        self._sleep = sleep
        self._queue = MainQueue(sqs, urls["main"], needs=limits.needs, clock=clock)
        self._delivery = delivery
        self._limits = limits
        self._journal = journal
        self._source = source
        self._on_outcome = on_outcome
        self._report = Report()
        self._lock = threading.Lock()
        self._closed: set[str] = set()  # groups in which a message stayed behind
        self._doubts: Counter[str] = Counter()  # attempts of each message that an API may have taken
        self._taken_by: dict[str, dict[str, None]] = {}  # and the names of these APIs, in order
        self._behind = 0  # messages that had no turn because of that
        self._ended = threading.Event()
        self._next_slot = 0.0  # when --max-rate allows the next message
        self._resume_at = 0.0  # when the API wants to be called again (Retry-After)
        self._patience = limits.patience

    def perform(self) -> Report:
        """Deliver until the count is reached, the line is empty, the time is up, or it is asked to stop.

        What is still held then is released in every case. An error of AWS's ends the run and is the
        report's ``error``.
        """
        try:
            with ThreadPoolExecutor(self._limits.concurrency, thread_name_prefix="lane") as pool:
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
                self._settle(message, "skipped", error="behind a message of its group that was not delivered")
                with self._lock:
                    self._behind += 1
            elif self._over():
                self._settle(message, "skipped", error="the run ended before its turn")
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
                    self._settle(message, "skipped", error="its visibility timeout ended; it will come again")
                    return
                attempt = self._delivery.attempt(
                    message, time_left=self._limits.time_left, on_doubt=partial(self._doubt, message)
                )
                if attempt.verdict is not Verdict.TRANSIENT or not attempt.retry_after:
                    break
                self._resume_at = max(self._resume_at, self._clock() + attempt.retry_after)
        except BaseException as error:  # noqa: BLE001 - each has an owner, and no message stops another
            self._attribute(message, error, elapsed_ms=round((self._clock() - started) * 1000))
            return
        elapsed_ms = round((self._clock() - started) * 1000)
        if attempt is None:
            self._settle(message, "skipped", error="the run ended before its turn")
        else:
            self._conclude(message, attempt, elapsed_ms)

    def _doubt(self, message: QueueMessage, apis: Sequence[str]) -> None:
        """Note that these APIs may have taken the message at an attempt that did not deliver it."""
        with self._lock:
            self._doubts[message.message_id] += 1
            self._taken_by.setdefault(message.message_id, {}).update(dict.fromkeys(apis))

    def _attribute(self, message: QueueMessage, error: BaseException, *, elapsed_ms: int) -> None:
        """Act on what was raised while a message was handled: only configuration and AWS end the run."""
        owner, text = owner_of(error), described(error)
        if owner in ("configuration", "aws"):
            self._end_early(error)
            self._settle(message, "skipped", error=text, owner=owner)
        else:
            if owner == "program":
                text = f"internal error: {text}"
            self._settle(message, "failed", error=text, owner=owner, elapsed_ms=elapsed_ms)

    def _await_turn(self, message: QueueMessage, *, first: bool) -> bool:
        """Wait for the pace and for the API's Retry-After; False if that does not fit into the run."""
        with self._lock:
            now = self._clock()
            slot = max(self._next_slot, now) if first and self._limits.max_rate else now
            asked = max(0.0, self._resume_at - now)
            pause = max(slot - now, asked)
            fits = pause + self._limits.needs < self._limits.time_left() and asked <= self._patience
            if not fits:
                self._ended.set()
                return False
            self._patience -= asked
            if first and self._limits.max_rate:
                self._next_slot = slot + 1 / self._limits.max_rate
        if pause and self._queue.keep_hidden(message, extra=pause):
            until = now + pause
            while (left := until - self._clock()) > 0 and not self._limits.stopped():
                self._sleep(min(left, _NAP_SECONDS))
        return not (pause and self._limits.stopped())

    def _conclude(self, message: QueueMessage, attempt: Attempt, elapsed_ms: int) -> None:
        """Act on the attempt: delete, park and delete, or leave the message at the head of its group."""
        facts: dict[str, Any] = {"attempt": attempt, "elapsed_ms": elapsed_ms}
        if attempt.verdict is Verdict.SUCCESS:
            self._delete(message, "delivered", facts)
            return
        reason = self._reason_to_park(message, attempt)
        if reason is None:
            self._settle(message, "failed", error=attempt.error, owner=attempt.owner, **facts)
            return
        reason, status = self._delivery.redact(reason), attempt.http_status
        try:
            park(self._sqs, self._dlq_url, message, reason=reason, status=status, source=self._source)
        except Exception as error:  # noqa: BLE001 - it stays in main, where the next run finds it
            text = f"{reason}; parking failed: {described(error)}"
            self._settle(message, "failed", error=text, owner=owner_of(error), **facts)
            return
        self._delete(message, "parked", {**facts, "error": reason, "owner": attempt.owner})

    def _reason_to_park(self, message: QueueMessage, attempt: Attempt) -> str | None:
        """Return why the message leaves the line, or None if it stays."""
        api = attempt.api
        if api is None:  # not for any API
            return attempt.error
        if attempt.verdict is Verdict.PERMANENT:
            return attempt.error if api.on_permanent == "park" else None
        age = time.time() - message.sent_at
        if 0 < api.give_up_after < age:
            return f"gave up after {age:.0f} s in the queue: {attempt.error}"
        return None

    def _delete(self, message: QueueMessage, status: Status, facts: dict[str, Any]) -> None:
        try:
            self._queue.delete(message)
        except Exception as error:  # noqa: BLE001 - reported in the result; the message comes again
            text = f"{status}, but not deleted from the queue, so it may come again: {error}"
            if before := facts.pop("error", None):
                text = f"{before}; {text}"
            self._settle(message, status, error=text, closes=True, **facts)
        else:
            self._settle(message, status, **facts)

    def _settle(
        self,
        message: QueueMessage,
        status: Status,
        *,
        attempt: Attempt | None = None,
        elapsed_ms: int = 0,
        error: str | None = None,
        owner: Owner | None = None,
        closes: bool = False,
    ) -> None:
        """Account for a message and log it; one that stays behind closes its group for this run.

        An ``error`` may quote the API, AWS or an exception: it is redacted here.
        """
        outcome = Outcome(
            message_id=message.message_id,
            group=message.group,
            status=status,
            http_status=attempt.http_status if attempt else None,
            elapsed_ms=elapsed_ms,
            error=error and self._delivery.redact(error),
            api=attempt.failed_at if attempt else None,
            error_type=attempt.error_type if attempt else None,
            owner=owner,
        )
        with self._lock:
            if closes or status in ("failed", "skipped"):
                self._closed.add(message.group)
            self._report.results.append(outcome)
        self._journal(
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
            reason=outcome.error,
        )
        self._on_outcome(outcome)

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
