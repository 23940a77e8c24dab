"""The history as text."""

from __future__ import annotations

from datetime import UTC, datetime

from fifo_cli.model.history_events import Operation
from fifo_cli.operations.history import HistoryResult
from fifo_cli.render.history_table import history_text
from fifo_cli.render.timeline import Clock


def test_one_long_name_does_not_move_the_commands_of_all_lines() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    done = tuple(
        Operation(at, "park", "ada", host, "fifo-cli park", "done", None, at, {}, 0)
        for host in ("ops-1", "9" * 3000)
    )
    text = history_text(HistoryResult(done), clock=Clock(at), width=None, color=False)
    assert max(len(line) for line in text.splitlines()) < 160
    assert "ada@ops-1" in text
