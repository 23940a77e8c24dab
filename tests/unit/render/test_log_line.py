"""Log lines as text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fifo_cli.operations.monitor.logs import LogLine
from fifo_cli.render.log_line import log_line


def line(level: str = "warning", message: str = "parked", **facts: Any) -> LogLine:
    return LogLine(datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC), "worker", level, message, facts)


def test_a_line_shows_its_facts_as_name_and_value() -> None:
    shown = line(status=422, group="a b", reason="no", nested={"x": [1]}, empty="", time="x", function="y")

    assert log_line(shown, color=False) == (
        '2026-01-02T03:04:05.678Z worker   warning  parked status=422 group="a b" reason=no'
        ' nested={"x": [1]} empty=""\n'
    )


def test_further_lines_of_a_message_are_indented_and_escaped() -> None:
    shown = line("error", "[ERROR] KeyError\r  File x\n\n\x1b[31mred")

    assert log_line(shown, color=False) == (
        "2026-01-02T03:04:05.678Z worker   error    [ERROR] KeyError\n      File x\n    \\x1b[31mred\n"
    )


def test_colours_mark_level_and_function() -> None:
    shown = log_line(line(), color=True)

    assert "\x1b[32mworker  \x1b[0m" in shown
    assert "\x1b[33mwarning \x1b[0m" in shown


def test_a_level_nobody_knows_is_shown_as_it_is() -> None:
    assert " trace\\x07 " in log_line(line("trace\x07"), color=True)


def test_on_a_terminal_ids_are_shortened_in_the_middle_and_nothing_else_is() -> None:
    row = line(event_id="98fe2a89-9ec7-45e1-9d9f-0a34151c3b4f", reason="x" * 40)

    assert log_line(row, color=False, short=True).endswith(f"event_id=98fe2a…1c3b4f reason={'x' * 40}\n")
    assert "98fe2a89-9ec7-45e1-9d9f-0a34151c3b4f" in log_line(row, color=False)
