"""Sending a replay's records: the enqueuer's own code, and between it and SQS what a replay adds.

That code decides what a record becomes and sends it strictly. A replay adds, where it calls SQS: new
deduplication ids for ``--fresh``, a note on disk of each message as soon as SQS has it, and evidence of
messages that SQS suppressed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

from fifo_cli.aws.errors import THROTTLED, error_codes, explain
from fifo_cli.errors import AwsError, FifoError
from fifo_cli.events import Listener, Progressed, silent
from fifo_cli.handlers.batch_answer import read_batch
from fifo_cli.handlers.enqueuer import Enqueuer
from fifo_cli.handlers.identifiers import sqs_id
from fifo_cli.handlers.json_log import Journal, Level, silent_journal
from fifo_cli.handlers.ordered_send import SendReport
from fifo_cli.handlers.records import Rules
from fifo_cli.model.results import Fields
from fifo_cli.model.times import iso
from fifo_cli.operations.stream.replay_store import ReplayStore, State
from fifo_cli.operations.stream.shards import record_of

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

_TRIES_MAX: Final = 6
_BACKOFF_MAX: Final = 8.0
FAILURES_SHOWN_MAX: Final = 100
_HELD_BACK: Final = "HeldBack"

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Unsent(Fields):
    """A record that could not be sent, and why."""

    event_id: str
    group: str
    reason: str


@dataclass(slots=True)
class Sending:
    """What one run of sending did beyond what the checkpoint holds; ``complaint`` is why it ended early."""

    failures: list[Unsent] = field(default_factory=list)
    complaint: FifoError | None = None
    stopped: bool = False


class WatchedSqs:
    """SQS as ``send_strictly`` calls it.

    ``fresh`` is put before every deduplication id, if given. ``known`` are message ids that were given out
    before, and when, in epoch milliseconds: an answer with one of them is not a new message. ``sent_before``
    is the latest such time of a message that SQS suppressed; 0 if it is not known.
    """

    def __init__(
        self,
        sqs: SQSClient,
        main_url: str,
        checkpoint: ReplayStore,
        *,
        fresh: str = "",
        known: Mapping[str, int] | None = None,
    ) -> None:
        self._sqs = sqs
        self._main_url = main_url
        self._checkpoint = checkpoint
        self._fresh = fresh
        self._known = known or {}
        self._newest: dict[str, int] = {}
        self._suppressed: set[str] = set()
        self.sent_before: int = 0
        self.held_back: set[tuple[str, str]] = set()

    def send_message_batch(self, *, QueueUrl: str, Entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Send a batch, but for groups that are held back; note at once what SQS took."""
        held = [entry for entry in Entries if (QueueUrl, entry["MessageGroupId"]) in self.held_back]
        going = [self._renamed(entry) for entry in Entries if entry not in held]
        answer: Any = {}
        if going:
            answer = self._sqs.send_message_batch(QueueUrl=QueueUrl, Entries=cast("Any", going))
        entries = {entry["Id"]: entry for entry in Entries}
        read = read_batch(answer, [entry["Id"] for entry in going])
        taken = read.done
        self._checkpoint.settle(
            {_event_id(entries[one]): self._state(QueueUrl, entries[one], taken[one]) for one in taken}
        )
        refused = [
            {"Id": one, "Code": error.code, "Message": error.message, "SenderFault": error.sender_fault}
            for one, error in read.failed.items()
            if error.refused
        ]
        refused += [{"Id": entry["Id"], "Code": _HELD_BACK, "Message": _WHY_HELD} for entry in held]
        return {"Successful": list(taken.values()), "Failed": refused}

    def _renamed(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        if not self._fresh:
            return dict(entry)
        return {**entry, "MessageDeduplicationId": sqs_id(f"{self._fresh}-{entry['MessageDeduplicationId']}")}

    def _state(self, url: str, entry: Mapping[str, Any], answer: Mapping[str, Any]) -> State:
        if url != self._main_url:
            return "parked"
        if not self._is_suppressed(entry["MessageGroupId"], answer):
            return "enqueued"
        self.sent_before = max(self.sent_before, self._known.get(answer.get("MessageId", ""), 0))
        self._suppressed.add(_event_id(entry))
        return "suppressed"

    def telling(self, journal: Journal) -> Journal:
        """Return a journal in which the enqueuer's word for what SQS suppressed is not "enqueued"."""

        def tell(level: Level, message: str, **facts: Any) -> None:
            if message == "enqueued" and facts.get("event_id") in self._suppressed:
                self._suppressed.discard(facts["event_id"])
                message = "suppressed"
            journal(level, message, **facts)

        return tell

    def _is_suppressed(self, group: str, answer: Mapping[str, Any]) -> bool:
        """Say whether SQS's answer shows an older message: SQS numbers a group's messages upwards.

        That a suppressed send is answered with the first message's id and number is documented nowhere, but
        seen; where it is not so, nothing is counted as suppressed.
        """
        if answer.get("MessageId") in self._known:
            return True
        number = int(answer.get("SequenceNumber") or 0)
        newest = self._newest.get(group, 0)
        self._newest[group] = max(number, newest)
        return bool(number) and number <= newest


_WHY_HELD: Final = "an earlier record of its group was refused"


@dataclass(frozen=True)
class Sender:
    """Sends what waits in a checkpoint; ``sleep`` and ``jitter`` are arguments for tests."""

    sqs: WatchedSqs
    rules: Rules
    urls: Mapping[str, str]
    checkpoint: ReplayStore
    journal: Journal = silent_journal
    listener: Listener = silent
    stopped: Callable[[], bool] = lambda: False
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random

    def send(self) -> Sending:
        """Send until nothing waits, a call fails for good, or ``stopped``; a refused group is left."""
        done = Sending()
        total = self.checkpoint.sums().matched
        journal = self.sqs.telling(self.journal)
        enqueuer = Enqueuer(self.rules, cast("SQSClient", self.sqs), self.urls, journal)
        for chunk in self.checkpoint.chunks():
            self._send_chunk(enqueuer, chunk, done)
            if done.complaint is not None or done.stopped:
                break
            self._tell(total, chunk[-1])
        return done

    def _send_chunk(self, enqueuer: Enqueuer, chunk: list[Record], done: Sending) -> None:
        pending = chunk
        for attempt in range(1, _TRIES_MAX + 1):
            report = enqueuer.enqueue(pending, may_go_on=lambda: not self.stopped())
            self._settle_skipped(pending, report)
            if not report.unsent:
                return
            if self.stopped():
                done.stopped = True
                return
            refused = [one for one in report.unsent if _HELD_BACK not in one[1]]
            if report.error is not None and (attempt == _TRIES_MAX or not _may_pass(report.error)):
                done.complaint = _explained(report.error, self.urls["main"].rpartition("/")[2])
                return
            if not refused or attempt == _TRIES_MAX:
                self._give_up(report, done)
                return
            self.sleep(min(_BACKOFF_MAX, 0.25 * 2**attempt) * (0.5 + self.jitter() / 2))
            waiting = {message.attributes["event_id"] for message, _ in report.unsent}
            pending = [record for record in pending if record["eventID"] in waiting]

    def _settle_skipped(self, pending: list[Record], report: SendReport) -> None:
        """Note the records that became no message, by the pipeline's own rules."""
        messages = {message.attributes["event_id"] for message, _ in (*report.sent, *report.unsent)}
        self.checkpoint.settle(
            {record["eventID"]: "skipped" for record in pending if record["eventID"] not in messages}
        )

    def _give_up(self, report: SendReport, done: Sending) -> None:
        """Leave the groups that were refused; what comes later in them must not overtake."""
        for message, reason in report.unsent:
            self.sqs.held_back.add((self.urls[message.queue], message.group))
            if len(done.failures) < FAILURES_SHOWN_MAX:
                done.failures.append(Unsent(message.attributes["event_id"], message.group, reason))
        self.checkpoint.settle({message.attributes["event_id"]: "failed" for message, _ in report.unsent})

    def _tell(self, total: int, last: Record) -> None:
        sums = self.checkpoint.sums()
        one = record_of("", last)
        at = f", written {iso(one.created)}" if one.created else ""
        self.listener(
            Progressed(
                f"{sums.settled:,} of {total:,} records done, {sums.enqueued:,} enqueued; at sequence number"
                f" {one.spelling}{at}"
            )
        )


def _event_id(entry: Mapping[str, Any]) -> str:
    return str(entry["MessageAttributes"]["event_id"]["StringValue"])


def _may_pass(error: Exception) -> bool:
    """Say whether the same call may succeed in a moment."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return bool(error_codes(error) & THROTTLED) or status >= 500
    return isinstance(error, ConnectionError | HTTPClientError)


def _explained(error: Exception, queue: str) -> FifoError:
    if isinstance(error, ClientError | BotoCoreError):
        return explain(error, queue)
    if isinstance(error, FifoError):
        return error
    return AwsError(f"sending ended early: {type(error).__name__}: {error}")
