"""The worker function: a few of the oldest messages to the API, on every tick of the schedule."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from . import clients, runtime
from .delivery import Courier
from .journal import stdout_journal
from .keys import Keys
from .run import Limits, Run

INVOCATION_KEY = "fifo_cli"


def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Lambda's entry point: a schedule's tick, or ``{"fifo_cli": {"count": …}}`` from ``drain --via lambda``.

    Returns the run's report (contract, *drain*, without ``remaining``); raises what ended the run early,
    unless that was asked for by ``drain``, which gets it as ``complaint`` beside what was done.
    """
    asked: Mapping[str, Any] | None = event.get(INVOCATION_KEY)
    options = asked or {}
    settings, urls, sqs, courier = _environment()
    limits = Limits(
        count=options.get("count", settings.messages_per_run),
        needs=settings.run_needs,
        concurrency=options.get("concurrency", 1),
        max_rate=options.get("max_rate"),
        time_left=lambda: context.get_remaining_time_in_millis() / 1000,
    )
    report = Run(sqs, urls, courier, limits, journal=stdout_journal).perform()
    document = report.document()
    stdout_journal(
        "info", "run ended", **{name: value for name, value in document.items() if name != "results"}
    )
    if report.complaint is not None and asked is None:
        raise report.complaint
    complaint = report.complaint and courier.redact(f"{type(report.complaint).__name__}: {report.complaint}")
    return {**document, "complaint": complaint}


@cache
def _environment() -> tuple[runtime.Runtime, dict[str, str], Any, Courier]:
    """Build what lasts for the execution environment; the keys are read when a message first needs them."""
    settings = runtime.load()
    sqs = clients.sqs()
    urls = {"main": clients.queue_url(sqs, settings.main), "dlq": clients.queue_url(sqs, settings.dlq)}
    keys = Keys(clients.ssm() if settings.parameters else None, settings.parameters)
    code = runtime.load_code(settings.request_code)
    return settings, urls, sqs, Courier(settings.apis, keys, code=code, code_name=settings.request_code or "")
