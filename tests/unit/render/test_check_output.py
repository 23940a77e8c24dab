"""check's output as monitoring systems read it; Prometheus's by its own parser."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from fifo_cli.model.health import Measurements, Problem
from fifo_cli.model.queue_counts import Counted
from fifo_cli.model.worker_log import OpenBreaker, PausedGroup, Runs
from fifo_cli.operations.monitor.check import CheckResult
from fifo_cli.render.check_output import nagios_line, prometheus_text

COUNTS = Counted("x", 3, 2, 0, 5)
RESULT = CheckResult(
    "orders",
    Measurements(
        {
            "main": replace(COUNTS, oldest_age=61),
            "dlq": Counted("x", 0, 2, 0),
            "hold": Counted("x", 0, 0, 0),
            "stream_failures": Counted("x", 0, 0, 0),
        },
        worker="running",
        enqueuer="paused",
    ),
    (),
    {"depth": (1000, 10_000), "age": (900, 3600), "dlq": (1, 10)},
)
UNREACHED = CheckResult("orders", None, (Problem("unknown", "no answer"),), {})
# Monitoring Plugins Development Guidelines, "Performance data".
PERFDATA = re.compile(r"[a-z_]+=(U|\d+(s|%|c|[KMGT]?B)?);\d*;\d*;\d*")


def with_problems(*texts: str) -> CheckResult:
    return replace(RESULT, problems=tuple(Problem("warning", text) for text in texts))


def test_the_plugin_s_line_is_the_state_the_reason_and_the_numbers() -> None:
    assert nagios_line(RESULT) == (
        "FIFO orders OK: 5 waiting, 2 in the DLQ | depth=5;1000;10000;0 age=61s;900;3600;0 dlq=2;1;10;0"
        " iterator_age=U;900;3600;0 stream_failures=0;1;10;0 hold=0;;;0\n"
    )


def test_the_first_problems_are_reported_and_the_rest_are_counted() -> None:
    line = nagios_line(with_problems("one", "two", "three", "four", "five", "six"))

    assert line.startswith("FIFO orders WARNING: one; two; three; four; and 2 more | ")


def test_without_a_pipeline_the_line_is_still_one() -> None:
    problem = Problem("unknown", "fifo.toml has 2 problems:\n  api: x\n  table: y")
    result = replace(UNREACHED, pipeline="", problems=(problem,))

    assert nagios_line(result).startswith(
        "FIFO UNKNOWN: fifo.toml has 2 problems: api: x table: y | depth=U;;;0 "
    )


@given(text=st.text(max_size=200))
def test_whatever_aws_says_the_line_is_one_line_with_one_bar(text: str) -> None:
    line = nagios_line(with_problems(text))

    assert line.endswith("\n")
    assert len(line.splitlines()) == 1
    assert line.count("|") == 1
    assert "\x1b" not in line
    for word in line.partition("|")[2].split():
        assert PERFDATA.fullmatch(word), word


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_prometheus_text_is_what_prometheus_reads() -> None:
    found = samples(prometheus_text(RESULT, time=1_700_000_000.5))
    pipeline = ("pipeline", "orders")

    assert found["fifo_up", (pipeline,)] == 1
    assert found["fifo_check_state", (pipeline,)] == 0
    assert found["fifo_messages", (pipeline, ("queue", "main"), ("state", "visible"))] == 3
    assert found["fifo_messages", (pipeline, ("queue", "dlq"), ("state", "in_flight"))] == 2
    assert found["fifo_oldest_message_age_seconds", (pipeline, ("queue", "main"))] == 61
    assert ("fifo_oldest_message_age_seconds", (pipeline, ("queue", "dlq"))) not in found
    assert ("fifo_iterator_age_seconds", (pipeline,)) not in found
    assert found["fifo_function", (("function", "enqueuer"), pipeline, ("state", "paused"))] == 1
    assert found["fifo_function", (("function", "enqueuer"), pipeline, ("state", "running"))] == 0
    assert found["fifo_threshold", (("check", "age"), pipeline, ("state", "critical"))] == 3600
    assert found["fifo_check_timestamp_seconds", (pipeline,)] == 1_700_000_000.5


def test_every_family_of_prometheus_has_help_and_a_type() -> None:
    for family in text_string_to_metric_families(prometheus_text(RESULT, time=0)):
        assert family.documentation
        assert family.type == "gauge"


def test_when_aws_could_not_be_asked_prometheus_hears_that_and_no_number() -> None:
    found = samples(prometheus_text(UNREACHED, time=0))

    assert {name for name, _ in found} == {"fifo_up", "fifo_check_state", "fifo_check_timestamp_seconds"}
    assert found["fifo_up", (("pipeline", "orders"),)] == 0
    assert found["fifo_check_state", (("pipeline", "orders"),)] == 3


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "ümlaut", ""])
def test_a_label_survives_whatever_is_in_it(name: str) -> None:
    found = samples(prometheus_text(replace(RESULT, pipeline=name), time=0))

    assert ("fifo_up", (("pipeline", name),)) in found


def test_prometheus_hears_of_an_open_breaker_and_of_groups_that_are_paused() -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    runs = Runs(paused=(PausedGroup("ada", now, now),), breaker=OpenBreaker(now, now, None, 3))
    pipeline = (("pipeline", "orders"),)

    found = samples(prometheus_text(replace(RESULT, runs=runs), time=0))
    well = samples(prometheus_text(RESULT, time=0))

    assert (found["fifo_breaker_open", pipeline], found["fifo_paused_groups", pipeline]) == (3, 1)
    assert (well["fifo_breaker_open", pipeline], well["fifo_paused_groups", pipeline]) == (0, 0)
