"""The worker function: a few of the oldest messages to the API on every tick of the schedule, or a batch that
Lambda's poller hands over, where the queue starts the worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from . import clients, runtime
from .api_keys import Keys, keys_of
from .batch_run import BatchWorker
from .breaker import Breaker
from .code_guard import CodeGuard, CodeProcess, Notes, function_notes, load_noted, memory_bounded
from .delivery import ApiDelivery, RequestCode
from .failure import described, ending, shown
from .guarded_output import guard_logs, guard_streams
from .json_log import keep_stdout, stdout_journal
from .run_report import Report
from .worker_run import Limits, Run

INVOCATION_KEY = "fifo_cli"
QUEUE_SOURCE = "aws:sqs"
_NOT_BY_QUEUE: Final = "a mapping of the queue may delete them, as [worker] trigger was deployed as schedule"


class RunEndedEarlyError(Exception):
    """What ended a run, in words in which no key is left."""


def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Lambda's entry point: a schedule's tick, a batch of messages, or ``drain --via lambda``.

    The latter sends ``{"fifo_cli": {"count": …}}``. Returns the run's report (the JSON of ``drain`` without
    ``remaining``); raises what ended the run early, unless that was asked for by ``drain``, which gets it as
    ``error`` beside what was done. For a batch it returns which messages Lambda must not delete.
    """
    records: Sequence[Mapping[str, Any]] = event.get("Records") or ()
    if records and records[0].get("eventSource") == QUEUE_SOURCE:
        return _deliver_batch(records, context)
    asked: Mapping[str, Any] | None = event.get(INVOCATION_KEY)
    try:
        settings, urls, sqs, delivery = _environment()
    except Exception as error:  # noqa: BLE001 - logged as any run that ended early
        stdout_journal("error", "run failed", **ending(error))
        return _ended(Report(error=error), str, asked)
    limits = run_limits(settings, asked or {}, lambda: context.get_remaining_time_in_millis() / 1000)
    with memory_bounded(settings.memory, threads=3 * limits.concurrency):
        report = Run(sqs, urls, delivery, limits, journal=stdout_journal, breaker=_breaker()).perform()
    for key in delivery.keys_too_short:
        stdout_journal("warning", "key too short to hide in logs", what=key)
    return _ended(report, delivery.redact, asked)


def _deliver_batch(records: Sequence[Mapping[str, Any]], context: Any) -> dict[str, Any]:
    """Deliver a batch; raises what ended it early, which for Lambda is a failure of all of it.

    So it does where the settings know the schedule only, and something is left: a mapping that was made by
    hand may not ask for the answer, and Lambda would delete what that lists.
    """
    try:
        settings, *_ = _environment()
        worker = _batch_worker()
    except Exception as error:  # noqa: BLE001 - logged as any run that ended early
        stdout_journal("error", "run failed", **ending(error))
        stdout_journal("error", "run ended", **Report(error=error).facts(), trigger="queue")
        raise RunEndedEarlyError(described(error)) from None
    with memory_bounded(settings.memory, threads=3 * worker.threads):
        report, left = worker.deliver(records, lambda: context.get_remaining_time_in_millis() / 1000)
    redact = worker.delivery.redact
    for key in worker.delivery.keys_too_short:
        stdout_journal("warning", "key too short to hide in logs", what=key)
    stdout_journal("error" if report.error else "info", "run ended", **report.facts(redact), trigger="queue")
    if report.error is not None:
        raise RunEndedEarlyError(shown(report.error, redact)) from None
    if left and settings.worker.trigger != "queue":
        raise RunEndedEarlyError(f"{len(left)} of {len(records)} messages wait: {_NOT_BY_QUEUE}")
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in left]}


@cache
def _batch_worker() -> BatchWorker:
    """Build what delivers batches, with the breaker and the pace that last for the execution environment."""
    settings, urls, sqs, delivery = _environment()
    return BatchWorker(sqs, urls, delivery, settings.worker, needs=settings.run_needs, journal=stdout_journal)


def run_limits(settings: runtime.Runtime, asked: Mapping[str, Any], time_left: Callable[[], float]) -> Limits:
    """Return how much a run may do: what was asked for, else what the settings say."""
    return Limits(
        count=asked.get("count", settings.messages_per_run),
        needs=settings.run_needs,
        concurrency=asked.get("concurrency") or settings.worker.concurrency,
        max_rate=asked.get("max_rate") or settings.worker.max_rate,
        time_left=time_left,
    )


def _ended(report: Report, redact: Callable[[str], str], asked: Mapping[str, Any] | None) -> dict[str, Any]:
    """Log the end of a run, and return its report or raise what ended it."""
    document = report.document()
    early = ending(report.error, redact)
    by_hand = {} if asked is None else {"by_hand": True}
    stdout_journal("error" if early else "info", "run ended", **report.facts(redact), **by_hand)
    error = report.error and shown(report.error, redact)
    if report.error is not None and asked is None:
        # Not the exception itself: Lambda logs what is raised, and more may be chained to it or noted on it.
        raise RunEndedEarlyError(error) from None
    early_end = {"error": error, "owner": early.get("owner"), "what": early.get("what")}
    return {**document, **early_end, "breaker": report.breaker}


@cache
def _environment() -> tuple[runtime.Runtime, dict[str, str], Any, ApiDelivery]:
    """Build what lasts for the execution environment; the keys are read when a message first needs them."""
    keep_stdout()
    settings = runtime.load()
    sqs = clients.direct_sqs()
    urls = {"main": clients.queue_url(sqs, settings.main), "dlq": clients.queue_url(sqs, settings.dlq)}
    keys = keys_of(settings.parameters, clients.key_store)
    guard_streams(keys.redact_long)
    return settings, urls, sqs, delivery_of(settings, keys, function_notes("worker", urls["main"]))


@cache
def _breaker() -> Breaker:
    """Build the breaker of the runs, which lasts for the execution environment."""
    settings, *_ = _environment()
    return breaker_of(settings.worker)


def breaker_of(settings: runtime.WorkerSettings) -> Breaker:
    return Breaker(settings.breaker, first=settings.retry_first, longest=settings.retry_longest)


def delivery_of(
    settings: runtime.Runtime,
    keys: Keys,
    notes: Path,
    *,
    stopped: Callable[[], bool] = lambda: False,
    elsewhere: tuple[RequestCode, CodeProcess] | None = None,
) -> ApiDelivery:
    """Build the delivery with the user's code, if there is any; raises UserCodeError.

    The code is loaded here, unless it runs ``elsewhere``.
    """
    guard_logs(keys.redact_long)  # before the user's code, which may switch debug logs on
    if settings.request_code is None:
        return ApiDelivery(settings.apis, keys)
    name, kept, limit = settings.request_code, Notes(notes), settings.code_limit
    code, process = elsewhere or (load_noted(name, kept, limit=limit), None)
    guard = CodeGuard(name, kept, limit=limit, calls_network=True, stopped=stopped, process=process)
    return ApiDelivery(settings.apis, keys, code=code, guard=guard)
