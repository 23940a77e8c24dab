"""``drain``: deliver now what the worker would deliver, by the same code and in the same order."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Literal

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from fifo_cli.aws.errors import calling, explain
from fifo_cli.aws.session import Aws
from fifo_cli.aws.sqs import Queue
from fifo_cli.errors import AbandonedError, AwsError, FifoError, UsageError
from fifo_cli.events import Listener, Warned, silent
from fifo_cli.handlers import exact_json, runtime
from fifo_cli.handlers.api_keys import Keys, keys_of
from fifo_cli.handlers.batch_run import RATE_REACHED
from fifo_cli.handlers.delivery import ApiDelivery
from fifo_cli.handlers.failure import ConfigurationError, shown
from fifo_cli.handlers.json_log import Journal
from fifo_cli.handlers.redaction import SECRET_MIN
from fifo_cli.handlers.run_report import Outcome, Report, sums
from fifo_cli.handlers.worker import INVOCATION_KEY, breaker_of, delivery_of
from fifo_cli.handlers.worker_run import Limits, Run
from fifo_cli.interrupts import AWS_CALLS
from fifo_cli.invocation import command_line
from fifo_cli.model.key_faults import key_commands
from fifo_cli.model.names import LIVE_ALIAS, Names
from fifo_cli.model.results import WorkResult
from fifo_cli.model.settings import Project, Settings
from fifo_cli.model.worker_log import Fate, PausedGroup, Stuck, StuckGroups, WatchEvent, follow
from fifo_cli.operations.code_process import CodeProcess, CodeSetup
from fifo_cli.operations.log_shipping import shipped_journal
from fifo_cli.operations.maintenance_lock import refuse_while_unfinished
from fifo_cli.operations.pace import Progress
from fifo_cli.operations.queues.peek import peek
from fifo_cli.operations.runtime_settings import request_notes, runtime_settings

Status = Literal["delivered", "parked", "failed", "skipped"]
# An invocation answers when the function is done; the network may add a little.
_INVOKE_GRACE_SECONDS: Final = 30
# Lambda answers with 6 MB at most (Developer Guide, "Lambda quotas"), and fails a run whose report is longer
# though it is done. A message of a report takes 200 bytes as a rule, and some 4 KB with the longest reason.
_PER_INVOCATION: Final = 1_500
# Of an outcome, what the advice is made of, and the JSON does not show.
_FOR_ADVICE: Final = ("error_type", "owner")


@dataclass(frozen=True, slots=True)
class DrainOptions:
    """What to drain: ``count`` messages, or all that wait if it is None."""

    count: int | None
    concurrency: int = 1
    max_rate: float | None = None


@dataclass(frozen=True)
class DrainResult(WorkResult):
    """What became of each message; ``attempts`` are all of them, where several invocations had the same.

    ``ungiven`` is how many SQS counted at the end besides those that stayed behind here, though the drain
    went on until it was given nothing more: behind one that stayed, or another consumer's, if SQS still
    counts messages in flight (``held``). ``breaker`` is the last failure, if the breaker kept the drain from
    further calls. ``hidden_by_failure``: a failure before this drain hides groups of the ``ungiven``.
    """

    results: tuple[Outcome, ...]
    remaining: int | None
    ungiven: int = 0
    breaker: str | None = None
    held: bool = True
    attempts: tuple[Outcome, ...] = ()
    hidden_by_failure: bool = False

    @property
    def needs_look(self) -> bool:
        """Whether a message failed, was parked, stayed behind, or is delivered but not deleted."""
        return self.hidden_by_failure or any(outcome.error is not None for outcome in self.results)

    @property
    def stayed(self) -> bool:
        """Whether a message that was received stayed behind, and with it what follows in its group."""
        return any(outcome.status in ("failed", "skipped") for outcome in self.results)

    def stuck(self, *, at: datetime) -> tuple[Stuck, ...]:
        """Return the groups whose head could not be delivered, as this drain shows it; it ended ``at``."""
        tried = self.attempts or self.results
        events = [_event(outcome, at) for outcome in tried if outcome.status != "skipped"]
        # In the order in which they were tried.
        began = at - timedelta(microseconds=len(events))
        ordered = [
            replace(event, time=began + timedelta(microseconds=number)) for number, event in enumerate(events)
        ]
        return follow(StuckGroups(), ordered).stuck

    def count(self, status: Status) -> int:
        return sum(outcome.status == status for outcome in self.results)

    def document(self) -> dict[str, Any]:
        return {**sums(self.results), "results": list(self.rows()), "remaining": self.remaining}

    def rows(self) -> Iterable[dict[str, Any]]:
        return [_row(outcome) for outcome in self.results]


def _event(outcome: Outcome, at: datetime) -> WatchEvent:
    fate: Fate = "failed" if outcome.status == "skipped" else outcome.status
    return WatchEvent(
        time=at,
        fate=fate,
        group=outcome.group,
        message_id=outcome.message_id,
        http_status=outcome.http_status,
        reason=outcome.error or "",
        api=outcome.api or "",
        error_type=outcome.error_type or "",
        owner=outcome.owner or "",
    )


def _outcome(row: Mapping[str, Any]) -> Outcome:
    """Read a line of the function's report; another version's may have fewer fields, or more."""
    known: dict[str, Any] = {one.name: row.get(one.name) for one in fields(Outcome)}
    return Outcome(**known)


def _row(outcome: Outcome) -> dict[str, Any]:
    return {name: value for name, value in asdict(outcome).items() if name not in _FOR_ADVICE}


def drain_here(
    aws: Aws,
    project: Project,
    options: DrainOptions,
    *,
    code_folders: Iterable[str] = (),
    stopped: Callable[[], bool] = lambda: False,
    listener: Listener = silent,
) -> DrainResult:
    """Run the worker's own code in this process, and the user's, from ``code_folders``, in one of its own.

    What it does is logged where the worker logs, as far as CloudWatch takes it.
    """
    names = project.settings.names
    main, dlq = Queue(aws, names, "main"), Queue(aws, names, "dlq")
    refuse_while_unfinished(main.tags)
    urls = {"main": main.url, "dlq": dlq.url}
    facts = runtime.from_document(runtime_settings(project.settings))
    keys = keys_of(facts.parameters, aws.client)
    with shipped_journal(aws, names, "worker", "drain", listener=listener) as journal:
        setup = CodeSetup.of_request(facts, code_folders, options.concurrency)
        delivery = _api_delivery(project, facts, keys, setup, options, stopped)
        run = Run(
            aws.client("sqs"),
            urls,
            delivery,
            _limits(project, options, stopped),
            journal=journal,
            breaker=breaker_of(facts.worker),
            on_outcome=_announcer(listener, _total(main, options)),
        )
        # A call to the API that is in flight at a signal is awaited.
        AWS_CALLS.allowance = sum(api.timeout for api in facts.apis)
        report = run.perform()
        _log_end(journal, report, delivery.redact)
    delivery.close()
    for key in delivery.keys_too_short:
        listener(Warned(f"{key} has fewer than {SECRET_MIN} characters: it cannot be hidden in logs"))
    failure = _explained(report.error, delivery.redact, project.settings)
    return _concluded(report.results, main, options, failure, report.breaker, stopped=stopped())


def _limits(project: Project, options: DrainOptions, stopped: Callable[[], bool]) -> Limits:
    return Limits(
        count=options.count,
        needs=project.settings.run_needs.total_seconds(),
        concurrency=options.concurrency,
        max_rate=options.max_rate,
        patience=project.settings.functions.timeout.total_seconds(),
        stopped=stopped,
    )


def _log_end(journal: Journal, report: Report, redact: Callable[[str], str]) -> None:
    """Log the end of a run as the worker does; one that found nothing to do is not worth a line."""
    if report.results or report.error is not None:
        journal("error" if report.error else "info", "run ended", **report.facts(redact), by_hand=True)


def drain_by_function(
    aws: Aws,
    project: Project,
    options: DrainOptions,
    *,
    stopped: Callable[[], bool] = lambda: False,
    listener: Listener = silent,
) -> DrainResult:
    """Invoke the worker, again and again until the count is reached or a run delivers nothing more."""
    names = project.settings.names
    main = Queue(aws, names, "main")
    refuse_while_unfinished(main.tags)
    announce = _announcer(listener, _total(main, options))
    outcomes: list[Outcome] = []
    failure: FifoError | None = None
    breaker: str | None = None
    while not stopped() and (options.count is None or _turns(outcomes) < options.count):
        left = _PER_INVOCATION if options.count is None else options.count - _turns(outcomes)
        asked = replace(options, count=min(left, _PER_INVOCATION))
        try:
            answer = _invoke(aws, project, names, asked)
        except FifoError as error:
            failure = error
            break
        news = [_outcome(row) for row in answer["results"]]
        outcomes += news
        for outcome in news:
            announce(outcome)
        # A worker that an older version deployed says "complaint".
        if reason := answer.get("error") or answer.get("complaint"):
            failure = _of_function(project, reason, answer)
        breaker = answer.get("breaker")
        if failure or breaker or not any(outcome.status in ("delivered", "parked") for outcome in news):
            break
    return _concluded(outcomes, main, options, failure, breaker, stopped=stopped())


def _concluded(
    outcomes: Sequence[Outcome],
    main: Queue,
    options: DrainOptions,
    failure: FifoError | None,
    breaker: str | None,
    *,
    stopped: bool,
) -> DrainResult:
    # Where AWS cannot be asked, the failure says so.
    counts = main.counts() if failure is None else None
    remaining = counts.total if counts else main.total_if_known()
    early = stopped or failure is not None or breaker is not None
    reached = options.count is not None and _turns(outcomes) >= options.count
    left = 0 if early or reached else ungiven(outcomes, remaining)
    held = counts is None or counts.in_flight > 0
    results, attempts = last_of_each(outcomes), tuple(outcomes)
    return DrainResult(results, remaining, left, breaker, held, attempts, error=failure)


def _turns(outcomes: Iterable[Outcome]) -> int:
    """Count the messages that were tried."""
    return sum(outcome.status != "skipped" for outcome in outcomes)


def last_of_each(outcomes: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """Return what became of each message at last: several invocations may have tried the same one."""
    last: dict[str, Outcome] = {}
    for one in outcomes:
        known = last.get(one.message_id)
        if known is None or known.status == "skipped" or one.status != "skipped":
            last[one.message_id] = one
    return tuple(last.values())


def ungiven(outcomes: Iterable[Outcome], remaining: int | None) -> int:
    """Return how many of the ``remaining`` are not accounted for by what stayed behind."""
    ours = sum(
        one.status in ("failed", "skipped") or (one.status == "delivered" and one.error is not None)
        for one in last_of_each(outcomes)
    )
    return max(0, (remaining or 0) - ours)


def any_failed(paused: Iterable[PausedGroup]) -> bool:
    """Whether a failure paused any of these groups, and not only ``max_rate``."""
    return any(one.error != RATE_REACHED for one in paused)


def preview(aws: Aws, project: Project, options: DrainOptions) -> DrainResult:
    """Say what a drain would take, as far as it can be seen, without delivering anything."""
    main = Queue(aws, project.settings.names, "main")
    total = main.counts().total
    seen = peek(main, count=options.count if options.count is not None else max(total, 1))
    outcomes = tuple(
        Outcome(message.message_id, message.group, "skipped", None, 0, None) for message in seen.messages
    )
    return DrainResult(outcomes, total, 0 if outcomes else total)


def _api_delivery(
    project: Project,
    facts: runtime.Runtime,
    keys: Keys,
    setup: CodeSetup,
    options: DrainOptions,
    stopped: Callable[[], bool],
) -> ApiDelivery:
    elsewhere = None
    try:
        if facts.request_code is not None:
            process = CodeProcess(setup, stopped=stopped)
            process.start()
            elsewhere = partial(_request_by, process), process
        return delivery_of(facts, keys, request_notes(project), stopped=stopped, elsewhere=elsewhere)
    except runtime.UserCodeError as error:
        raise UsageError(f"[handlers] request: {error}", hint=without_code_here(options)) from error


def without_code_here(options: DrainOptions) -> str:
    """Say how to deliver although the code in this folder does not load: by what is deployed."""
    words = ["--all"] if options.count is None else ["--count", str(options.count)]
    words += ["--concurrency", str(options.concurrency)] if options.concurrency > 1 else []
    words += ["--max-rate", f"{options.max_rate:g}"] if options.max_rate is not None else []
    deployed = command_line("drain", *words, "--via", "lambda")
    return f"{deployed} delivers with the code that is deployed; or fix the code, or what it imports"


def _request_by(
    process: CodeProcess, body: Any, attributes: Mapping[str, Any], keys: Mapping[str, str]
) -> httpx.Request:
    """Have the user's ``request`` function called, and return what it made."""
    encoded = {
        name: {"binary": base64.b64encode(value).decode()} if isinstance(value, bytes) else value
        for name, value in attributes.items()
    }
    parts = process.call(exact_json.dumps(body), encoded, dict(keys))
    # With a stream, httpx adds no headers of its own.
    return httpx.Request(
        parts["method"],
        parts["url"],
        headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in parts["headers"]],
        stream=httpx.ByteStream(base64.b64decode(parts["body"])),
        extensions=parts["extensions"],
    )


def _of_function(project: Project, reason: str, answer: Mapping[str, Any]) -> FifoError:
    """Turn what ended the function's run into an error; a fault of configuration is named with its owner."""
    message = f"{project.settings.names.function('worker')} ended early: {reason}"
    if answer.get("owner") == "configuration":
        return UsageError(message, hint=_corrected(answer.get("what") or "", reason, project.settings))
    return AwsError(message, hint=f"{command_line('logs worker --since 15m')} shows more")


def _invoke(aws: Aws, project: Project, names: Names, options: DrainOptions) -> Mapping[str, Any]:
    """Invoke the worker once and return its report; raises AwsError if it failed.

    Never twice: botocore must not repeat the call because the answer is slow.
    """
    name = names.function("worker")
    timeout = project.settings.functions.timeout.total_seconds() + _INVOKE_GRACE_SECONDS
    asked = {"count": options.count, "concurrency": options.concurrency, "max_rate": options.max_rate}
    client = aws.client("lambda", read_timeout=timeout, attempts=1)
    try:
        with calling(name):
            answer = client.invoke(
                FunctionName=name, Qualifier=LIVE_ALIAS, Payload=json.dumps({INVOCATION_KEY: asked}).encode()
            )
            payload = answer["Payload"].read()
    except AbandonedError as error:
        raise AbandonedError(
            f"{name} was invoked and may still run; its answer is not waited for after the interrupt",
            hint=f"{command_line('logs worker --since 15m')} shows what it did",
        ) from error
    except AwsError as error:
        if isinstance(error.__cause__, client.exceptions.TooManyRequestsException):
            raise AwsError(
                f"{name} is running already, and only one run at a time is allowed",
                hint="run the command again in a minute, or with --via local",
            ) from error
        raise
    try:
        report: Any = json.loads(payload)
    except ValueError:
        raise AwsError(
            f"{name} answered {payload[:200]!r}, which is not a report",
            hint=f"{command_line('plan')} shows whether its code is what is here",
        ) from None
    if answer.get("FunctionError") or not isinstance(report, dict) or "results" not in report:
        message = report.get("errorMessage", report) if isinstance(report, dict) else report
        raise AwsError(
            f"{name} failed: {message}", hint=f"{command_line('logs worker --since 15m')} shows more"
        )
    return report


def _total(main: Queue, options: DrainOptions) -> int | None:
    """Return how many messages there seem to be to deliver, for the time left; None if SQS does not say."""
    total = main.total_if_known()
    return total if options.count is None or total is None else min(total, options.count)


def _announcer(listener: Listener, total: int | None) -> Callable[[Outcome], None]:
    counts: Counter[str] = Counter()
    progress = Progress(listener, "handled", total)

    def announce(outcome: Outcome) -> None:
        counts[outcome.status] += 1
        others = "".join(f", {number} {one}" for one, number in counts.items() if one != "delivered")
        progress.at(counts.total(), detail=others)

    return announce


def _corrected(what: str, text: str, settings: Settings) -> str:
    """Say how a fault of configuration is corrected."""
    in_file = (
        f"correct it in fifo.toml, then {command_line('deploy')}" if what.startswith("[") else "correct it"
    )
    return f"nothing was parked; {key_commands(what, text, settings) or in_file}, and run the command again"


def _explained(
    error: BaseException | None, redact: Callable[[str], str], settings: Settings
) -> FifoError | None:
    """Turn what ended a run into words; nothing a key could hide in is passed on."""
    match error:
        case None:
            return None
        case FifoError():
            return error
        case ClientError() | BotoCoreError():
            return explain(error)
        case ConfigurationError():
            text = shown(error, redact)
            return UsageError(text, hint=_corrected(error.what, text, settings))
        case _:
            return AwsError(
                f"the run ended early: {shown(error, redact)}",
                hint=f"nothing is lost: look with {command_line('status')}, and drain again",
            )
