"""``check`` for monitoring systems: a plugin's line with perfdata, and Prometheus's text format.

Monitoring Plugins Development Guidelines, "Plugin Output for Nagios" and "Performance data"; Prometheus,
"Exposition formats".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from fifo_cli.model.results import Document
from fifo_cli.render.text import printable

# A plugin's line is cut off by some systems; the first problems say most.
_PROBLEMS_TOLD: Final = 4
# Value, its unit, and the threshold it is held against.
_PERFDATA: Final = (
    ("depth", "depth", "", "depth"),
    ("age", "age_seconds", "s", "age"),
    ("dlq", "dlq", "", "dlq"),
    ("iterator_age", "iterator_age_seconds", "s", "age"),
    ("stream_failures", "stream_failures", "", "dlq"),
    ("hold", "hold", "", ""),
)
_CODES: Final = {"OK": 0, "WARNING": 1, "CRITICAL": 2, "UNKNOWN": 3}
_FEEDS: Final = ("running", "paused", "stopped", "missing")


def nagios_line(document: Document) -> str:
    """Write the plugin's one line: the state and why, then the numbers after a bar."""
    problems = document["problems"]
    said = [_problem(problem) for problem in problems[:_PROBLEMS_TOLD]]
    more = len(problems) - len(said)
    text = "; ".join(said) + (f"; and {more} more" if more > 0 else "")
    name = f"FIFO {document['pipeline']}".strip()
    line = f"{name} {document['state']}: {text or _well(document['values'])}"
    # The bar separates the numbers; a line break would start another part of the output.
    return f"{printable(line).replace('|', '/')} | {' '.join(_perfdata(document))}\n"


def _problem(problem: Mapping[str, str]) -> str:
    first, *rest = problem["text"].splitlines() or [""]
    return first.strip() if not rest else f"{first.strip()} {' '.join(line.strip() for line in rest)}"


def _well(values: Mapping[str, int | None]) -> str:
    return f"{values['depth']} waiting, {values['dlq']} in the DLQ"


def _perfdata(document: Document) -> Iterator[str]:
    """Yield ``label=value[unit];warning;critical;minimum``; U is a value that could not be determined."""
    for label, field, unit, threshold in _PERFDATA:
        value = document["values"][field]
        warning, critical = document["thresholds"].get(threshold, ("", ""))
        yield f"{label}={'U' if value is None else f'{value}{unit}'};{warning};{critical};0"


def prometheus_text(document: Document, *, time: float) -> str:
    """Write gauges in Prometheus's text format; what is not known has no sample. ``time`` is the epoch's."""
    label = f'pipeline="{_escaped(document["pipeline"])}"'
    lines: list[str] = []

    def gauge(name: str, help: str, samples: Mapping[str, float | int | None]) -> None:
        known = {labels: value for labels, value in samples.items() if value is not None}
        if known:
            lines.extend([f"# HELP fifo_{name} {help}", f"# TYPE fifo_{name} gauge"])
            lines.extend(f"fifo_{name}{{{','.join(filter(None, (label, labels)))}}} {value}"
                         for labels, value in known.items())  # fmt: skip

    queues: Mapping[str, Document] = document["queues"]
    values = document["values"]
    gauge("up", "Whether AWS could be asked.", {"": int(document["reached"])})
    gauge(
        "check_state",
        "What check thinks: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.",
        {"": _CODES[document["state"]]},
    )
    gauge(
        "messages",
        "Approximate number of messages in a queue.",
        {
            f'queue="{queue}",state="{state}"': counts[state]
            for queue, counts in queues.items()
            for state in ("visible", "in_flight", "delayed")
        },
    )
    gauge(
        "oldest_message_age_seconds",
        "Age of the oldest message.",
        {
            'queue="main"': values["age_seconds"],
            'queue="dlq"': queues.get("dlq", {}).get("oldest_age_seconds"),
        },
    )
    gauge(
        "iterator_age_seconds",
        "How far the enqueuer is behind the stream.",
        {"": values["iterator_age_seconds"]},
    )
    feeds = {
        f'function="{role}",state="{state}"': int(document[role] == state)
        for role in ("enqueuer", "worker")
        for state in _FEEDS
        if document[role]
    }
    gauge("function", "1 for the state that a function is in.", feeds)
    gauge(
        "maintenance",
        "Whether a maintenance operation or an unfinished rebuild holds the pipeline.",
        {"": int(bool(document["maintenance"] or document["rebuild"])) if document["reached"] else None},
    )
    gauge(
        "threshold",
        "From this number on check warns, or is critical.",
        {
            f'check="{name}",state="{state}"': value
            for name, pair in document["thresholds"].items()
            for state, value in zip(("warning", "critical"), pair, strict=True)
        },
    )
    gauge("check_timestamp_seconds", "When check ran, since the epoch.", {"": round(time, 3)})
    return "".join(f"{line}\n" for line in lines)


def _escaped(value: str) -> str:
    """Escape a label's value as the format demands."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
