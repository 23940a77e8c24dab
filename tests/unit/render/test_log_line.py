"""Log lines as text."""

from __future__ import annotations

from fifo_cli.render.log_line import log_line

ROW = {"time": "2026-01-02T03:04:05.678Z", "function": "worker", "level": "warning", "message": "parked"}


def test_a_line_shows_its_facts_as_name_and_value() -> None:
    row = {**ROW, "status": 422, "group": "a b", "reason": "no", "nested": {"x": [1]}, "empty": ""}

    assert log_line(row, color=False) == (
        '2026-01-02T03:04:05.678Z worker   warning  parked status=422 group="a b" reason=no'
        ' nested={"x": [1]} empty=""\n'
    )


def test_further_lines_of_a_message_are_indented_and_escaped() -> None:
    row = {**ROW, "level": "error", "message": "[ERROR] KeyError\r  File x\n\n\x1b[31mred"}

    assert log_line(row, color=False) == (
        "2026-01-02T03:04:05.678Z worker   error    [ERROR] KeyError\n      File x\n    \\x1b[31mred\n"
    )


def test_colours_mark_level_and_function() -> None:
    shown = log_line(ROW, color=True)

    assert "\x1b[32mworker  \x1b[0m" in shown
    assert "\x1b[33mwarning \x1b[0m" in shown


def test_a_level_nobody_knows_is_shown_as_it_is() -> None:
    assert " trace\\x07 " in log_line({**ROW, "level": "trace\x07"}, color=True)


def test_on_a_terminal_ids_are_shortened_in_the_middle_and_nothing_else_is() -> None:
    row = {**ROW, "event_id": "98fe2a89-9ec7-45e1-9d9f-0a34151c3b4f", "reason": "x" * 40}

    assert log_line(row, color=False, short=True).endswith(f"event_id=98fe2a…1c3b4f reason={'x' * 40}\n")
    assert "98fe2a89-9ec7-45e1-9d9f-0a34151c3b4f" in log_line(row, color=False)
