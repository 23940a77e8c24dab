"""``check`` for monitoring systems: a plugin's line with perfdata, and Prometheus's text format.

Monitoring Plugins Development Guidelines, "Plugin Output for Nagios" and "Performance data"; Prometheus,
"Exposition formats".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, get_args

from fifo_cli.model.health import Measurements, TriggerState
from fifo_cli.render.text import printable

if TYPE_CHECKING:
    from fifo_cli.operations.monitor.check import CheckResult

# A plugin's line is cut off by some systems; the first problems say most.
_PROBLEMS_SHOWN: Final = 4
# Value, its unit, and the threshold it is held against.
_PERFDATA: Final = (
    ("depth", "depth", "", "depth"),
    ("age", "age_seconds", "s", "age"),
    ("dlq", "dlq", "", "dlq"),
    ("iterator_age", "iterator_age_seconds", "s", "age"),
    ("stream_failures", "stream_failures", "", "dlq"),
    ("hold", "hold", "", ""),
)


def nagios_line(result: CheckResult) -> str:
    """Write the plugin's one line: the state and why, then the numbers after a bar."""
    shown = [" ".join(one.text.split()) for one in result.problems[:_PROBLEMS_SHOWN]]
    more = len(result.problems) - len(shown)
    values = result.values
    fine = f"{values['depth']} waiting, {values['dlq']} in the DLQ"
    text = "; ".join(shown) + (f"; and {more} more" if more > 0 else "")
    line = f"{f'FIFO {result.pipeline}'.strip()} {result.state.upper()}: {text or fine}"
    # The bar separates the numbers; a line break would start another part of the output.
    return f"{printable(line).replace('|', '/')} | {' '.join(_perfdata(result))}\n"


def _perfdata(result: CheckResult) -> Iterator[str]:
    """Yield ``label=value[unit];warning;critical;minimum``; U is a value that could not be determined."""
    for label, field, unit, threshold in _PERFDATA:
        value = result.values[field]
        warning, critical = result.thresholds.get(threshold, ("", ""))
        yield f"{label}={'U' if value is None else f'{value}{unit}'};{warning};{critical};0"


class _Gauge(NamedTuple):
    """A metric, and its values by their labels; None for what is not known."""

    name: str
    text: str
    samples: Mapping[str, float | int | None]


def prometheus_text(result: CheckResult, *, time: float) -> str:
    """Write gauges in Prometheus's text format; what is not known has no sample. ``time`` is the epoch's."""
    label = f'pipeline="{_escaped(result.pipeline)}"'
    lines: list[str] = []
    for name, text, samples in _gauges(result, time):
        known = {labels: value for labels, value in samples.items() if value is not None}
        if known:
            lines.extend([f"# HELP fifo_{name} {text}", f"# TYPE fifo_{name} gauge"])
            lines.extend(f"fifo_{name}{{{','.join(filter(None, (label, labels)))}}} {value}"
                         for labels, value in known.items())  # fmt: skip
    return "".join(f"{line}\n" for line in lines)


def _gauges(result: CheckResult, time: float) -> Iterator[_Gauge]:
    yield _Gauge("up", "Whether AWS could be asked.", {"": int(result.reached)})
    yield _Gauge(
        "check_state", "What check thinks: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.", {"": result.code}
    )
    measured = result.measured or Measurements()
    yield from _numbers(result, measured)
    triggers = {"enqueuer": measured.enqueuer, "worker": measured.worker}
    states = {
        f'function="{role}",state="{state}"': int(now == state)
        for role, now in triggers.items()
        for state in get_args(TriggerState)
        if now
    }
    yield _Gauge("function", "1 for the state that a function is in.", states)
    if result.reached:
        yield from _uncalled(result)
    held = int(bool(measured.maintenance or measured.restore)) if result.reached else None
    yield _Gauge(
        "maintenance",
        "Whether a maintenance operation or an unfinished rebuild holds the pipeline.",
        {"": held},
    )
    thresholds = {
        f'check="{name}",state="{state}"': value
        for name, pair in result.thresholds.items()
        for state, value in zip(("warning", "critical"), pair, strict=True)
    }
    yield _Gauge("threshold", "From this number on check warns, or is critical.", thresholds)
    yield _Gauge("check_timestamp_seconds", "When check ran, since the epoch.", {"": round(time, 3)})


def _numbers(result: CheckResult, measured: Measurements) -> Iterator[_Gauge]:
    """Yield how much there is, and how old it is."""
    messages = {
        f'queue="{queue}",state="{state}"': getattr(counts, state)
        for queue, counts in measured.queues.items()
        for state in ("visible", "in_flight", "delayed")
    }
    yield _Gauge("messages", "Approximate number of messages in a queue.", messages)
    ages = {
        'queue="main"': result.values["age_seconds"],
        'queue="dlq"': measured.queues["dlq"].oldest_age if "dlq" in measured.queues else None,
    }
    yield _Gauge("oldest_message_age_seconds", "Age of the oldest message.", ages)
    behind = result.values["iterator_age_seconds"]
    yield _Gauge("iterator_age_seconds", "How far the enqueuer is behind the stream.", {"": behind})


def _uncalled(result: CheckResult) -> Iterator[_Gauge]:
    """Yield for how many functions and groups the API is not called now."""
    breaker, paused = result.runs.breaker, len(result.runs.paused)
    yield _Gauge(
        "breaker_open",
        "Functions that call the API no more, after failures in a row, as far as the log shows.",
        {"": breaker.functions if breaker else 0},
    )
    yield _Gauge(
        "paused_groups",
        "Groups that a function has paused after a failure, as far as the log shows.",
        {"": paused},
    )


def _escaped(value: str) -> str:
    """Escape a label's value as the format demands."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
