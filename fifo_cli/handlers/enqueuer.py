"""The enqueuer function: stream records in, messages out, in order, and an honest answer about the rest."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from . import clients, runtime
from .code_guard import CodeGuard, CodeProcess, Notes, function_notes, load_noted, memory_bounded
from .failure import OutOfTimeError, ending
from .guarded_output import guard_streams
from .json_log import Journal, Level, keep_stdout, stdout_journal
from .ordered_send import SendReport, send_strictly
from .records import Outgoing, Rules, item_key, to_message

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# What a call to SQS, with botocore's retries, may still take when the function's time ends.
TIME_RESERVE_MS: Final = 5_000
# What the user's code leaves of the time, and gets at least.
_CODE_RESERVE_SECONDS: Final = 2.0
_CODE_SECONDS_MIN: Final = 1.0
_LEVELS: Final[Mapping[str, Level]] = {"enqueued": "info", "suppressed": "info", "parked": "warning"}


@dataclass(frozen=True, slots=True)
class Enqueuer:
    """The rules by which records become messages, and the queues they go to."""

    rules: Rules
    sqs: SQSClient
    urls: Mapping[str, str]
    journal: Journal = stdout_journal

    def enqueue(
        self,
        records: Iterable[Mapping[str, Any]],
        *,
        may_go_on: Callable[[], bool] = lambda: True,
        time_left: Callable[[], float] = lambda: float("inf"),
    ) -> SendReport:
        """Send what the records become, strictly in order within each group, and log each one's fate.

        ``time_left`` is in seconds. Raises OutOfTimeError, with nothing sent, if the user's code needs more:
        what is known by then of records whose code hangs is kept, so that a repeat gets further.
        """
        messages: list[Outgoing] = []
        skipped = 0
        for record in records:
            message = self.message_of(record, seconds=time_left())
            if message is None:
                skipped += 1
            else:
                messages.append(message)
        report = send_strictly(self.sqs, self.urls, messages, may_go_on=may_go_on)
        report.skipped = skipped
        self.log(report)
        return report

    def message_of(self, record: Mapping[str, Any], *, seconds: float = float("inf")) -> Outgoing | None:
        """Return the message that a record becomes, or log why it becomes none; see ``to_message``."""
        made = to_message(record, self.rules, seconds=seconds)
        if isinstance(made, Outgoing):
            return made
        self.journal(
            "info",
            "skipped",
            event_id=record.get("eventID"),
            stream_sequence=made.stream_sequence,
            item_key=item_key(record),
            reason=made.reason,
        )
        return None

    def log(self, report: SendReport, *, suppressed: Container[str] = ()) -> None:
        """Log each message's fate; SQS had those with an event id in ``suppressed`` before."""
        for message, message_id in report.sent:
            word = "suppressed" if message.attributes["event_id"] in suppressed else "enqueued"
            self._log(
                word if message.queue == "main" else "parked",
                message,
                message_id=message_id,
                sequence_number=report.numbers.get(message_id),
                reason=message.reason or None,
            )
        for message, reason in report.unsent:
            self._log("not enqueued", message, reason=reason)

    def _log(self, word: str, message: Outgoing, **facts: str | None) -> None:
        self.journal(
            _LEVELS.get(word, "error"),
            word,
            event_id=message.attributes["event_id"],
            stream_sequence=message.stream_sequence,
            item_key=message.attributes["item_key"],
            group=message.group,
            **facts,
        )


def handler(event: Mapping[str, Any], context: Any) -> dict[str, list[dict[str, str]]]:
    """Lambda's entry point for the stream's event source mapping.

    Answers with the lowest sequence number that was not sent, from which Lambda retries (Lambda Developer
    Guide, "Reporting batch item failures"). If nothing at all could be sent because SQS could not be
    called, or because code that hangs took the time, raises that error instead: the same retry, but counted
    in the function's Errors metric.
    """

    def left_ms() -> int:
        return int(context.get_remaining_time_in_millis())

    try:
        enqueuer = _enqueuer()
        guard = enqueuer.rules.guard
        times_over = guard.times_over if guard else 0
        with memory_bounded(enqueuer.rules.runtime.memory, threads=1):
            report = enqueuer.enqueue(
                event["Records"],
                may_go_on=lambda: left_ms() > TIME_RESERVE_MS,
                # Code that hangs may use up the time for sending: what is then known of it is kept.
                time_left=lambda: max(_CODE_SECONDS_MIN, left_ms() / 1000 - _CODE_RESERVE_SECONDS),
            )
        if report.error and not report.sent:
            raise report.error
        if guard and guard.times_over > times_over and report.unsent and not report.sent:
            raise OutOfTimeError("the time was over before anything could be sent; it is tried again")
    except Exception as error:
        stdout_journal("error", "batch failed", **ending(error))
        raise
    stdout_journal("warning" if report.unsent else "info", "batch ended", **_counts(report))
    return {"batchItemFailures": checkpoint(report)}


def _counts(report: SendReport) -> dict[str, Any]:
    """Return what an invocation did, and why it did not do all."""
    parked = sum(message.queue == "dlq" for message, _ in report.sent)
    early = ending(report.error)
    if report.unsent and not early:
        early = {"owner": "aws", "reason": report.unsent[0][1]}
    return {
        "records": len(report.sent) + len(report.unsent) + report.skipped,
        "enqueued": len(report.sent) - parked,
        "parked": parked,
        "skipped": report.skipped,
        "failed": len(report.unsent),
        **early,
    }


def checkpoint(report: SendReport) -> list[dict[str, str]]:
    """Return the one item from which Lambda has to retry, or nothing."""
    if not report.unsent:
        return []
    return [{"itemIdentifier": min((message.stream_sequence for message, _ in report.unsent), key=_place)}]


def _place(sequence: str) -> int:
    """Return a sequence number's place; a malformed record's is before all, so that all are tried again."""
    return int(sequence) if sequence.isascii() and sequence.isdigit() else -1


@cache
def _enqueuer() -> Enqueuer:
    keep_stdout()
    guard_streams(str)  # there are no keys here, but no record's code may close them for another's
    settings = runtime.load()
    sqs = clients.sqs()
    urls = {"main": clients.queue_url(sqs, settings.main), "dlq": clients.queue_url(sqs, settings.dlq)}
    rules = rules_of(settings, function_notes("enqueuer", urls["main"]))
    start = runtime.pipeline_start(os.environ.get(runtime.START_VARIABLE))
    return Enqueuer(replace(rules, start=start), sqs, urls)


def rules_of(
    settings: runtime.Runtime,
    notes: Path,
    *,
    stopped: Callable[[], bool] = lambda: False,
    elsewhere: tuple[Callable[[Any], Any], CodeProcess] | None = None,
) -> Rules:
    """Return the rules with the user's code, if there is any, and its guard; raises UserCodeError.

    The code is loaded here, unless it runs ``elsewhere``.
    """
    if settings.message_code is None:
        return Rules(settings)
    name, kept, limit = settings.message_code, Notes(notes), settings.code_limit
    code, process = elsewhere or (load_noted(name, kept, limit=limit), None)
    guard = CodeGuard(name, kept, limit=limit, calls_network=False, stopped=stopped, process=process)
    return Rules(settings, code, guard)
