"""Moves that were killed: which command goes on, and which brings the messages back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fifo_cli.model.health import Maintenance
from fifo_cli.model.history_events import Operation, Result
from fifo_cli.model.unfinished_operations import unfinished_problems

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)


def ran(line: str, result: Result = "unfinished", minutes: float = 5) -> Operation:
    at = NOW - timedelta(minutes=minutes)
    name = line.split(maxsplit=1)[0]
    return Operation(at, name, "ada", "ops", f"fifo-cli {line}", result, None, None, {}, 0)


def found(*operations: Operation) -> list[str]:
    return [one.next for one in unfinished_problems(operations, now=NOW)]


@pytest.mark.parametrize(
    ("line", "steps"),
    [
        ("dump q.jsonl --move --yes", ["q.jsonl --move --yes` goes on", "load --queue dlq q.jsonl` puts"]),
        ("dump 'a b' --queue main --move", ["dump 'a b' --queue main --move`", "load --queue main 'a b'`"]),
        ("dump q.jsonl --move --env prod", ["--move --env prod` goes on", "in the same folder on ops"]),
        ("dump - --move", ["if its output was saved to FILE", "`fifo-cli load --queue dlq FILE`"]),
        ("redrive --yes", ["run it again: `fifo-cli redrive --yes`"]),
        ("redrive --group 'a;b'", ["`fifo-cli redrive --group 'a;b'`"]),
        ("load q.jsonl", ["run it again: `fifo-cli load q.jsonl`"]),
        ("replay --missing", ["run it again: `fifo-cli replay --missing`"]),
        ("park --count 3", ["`fifo-cli peek --queue dlq` shows"]),
        ("redrive --count 3", ["`fifo-cli peek --queue main` shows"]),
        ("load - --queue hold", ["`fifo-cli peek --queue hold` shows"]),
    ],
)  # fmt: skip
def test_a_killed_move_comes_with_its_next_step(line: str, steps: list[str]) -> None:
    [problem] = unfinished_problems([ran(line)], now=NOW)

    assert (problem.state, [step for step in steps if step not in problem.next]) == ("warning", [])
    assert "begun 5m ago by ada@ops, has not logged its end" in problem.text
    assert "killed" in (problem.means or "")


@pytest.mark.parametrize("result", ["done", "attention"])
def test_a_later_run_that_ended_or_a_load_settles_it(result: Result) -> None:
    killed = ran("dump q.jsonl --move")

    assert found(killed, ran("dump q.jsonl --move", result, 2)) == []
    assert found(killed, ran("load q.jsonl", result, 2)) == []
    assert found(killed, ran("pause", result, 2)) != []
    assert found(killed, ran("dump q.jsonl --move", "refused", 2)) != []


def test_what_may_be_at_work_or_is_no_move_or_is_cut_off_gives_no_command() -> None:
    assert found(ran("dump q.jsonl --move", minutes=0.5)) == []
    assert found(ran("deploy"), ran("put …")) == []
    assert found(ran("dump 'q.jso")) == []
    assert found(ran("redrive --reason …")) == []


@pytest.mark.parametrize(
    ("what", "seconds_before", "said"),
    [
        ("dump", 10, True),  # taken just after it began
        ("dump", 11, True),  # its time is in whole seconds
        ("dump", 60, False),  # of a dump before this one, which is about to take it
        ("redrive", 10, False),
        ("redrive-in-order", 10, False),
    ],
)
def test_a_move_whose_lock_was_left_is_reported_at_once(what: str, seconds_before: int, said: bool) -> None:
    at = NOW - timedelta(seconds=seconds_before)
    lock = Maintenance(what, "ada@ops", at, at + timedelta(seconds=60), NOW)
    begun = ran("dump q.jsonl --move", minutes=1 / 6)

    assert len(list(unfinished_problems([begun], lock, now=NOW))) == said
    assert list(unfinished_problems([begun], None, now=NOW)) == []
    assert list(unfinished_problems([ran("dump q.jsonl --move", "done", 1 / 6)], lock, now=NOW)) == []
