"""What operators took out of main is not stuck there: read from the history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fifo_cli.model.history_events import End, Header, HistoryEvent, Move, MovedMessage, MovedWord
from fifo_cli.model.worker_log import StuckGroups, WatchEvent, follow
from fifo_cli.operations.monitor.operator_moves import moves_of

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
HEADER = Header("1", "park", "fifo-cli park", "arn", "host", NOW)


def noted(
    minutes: float,
    *ids: str,
    source: str = "main",
    word: MovedWord = "parked",
    everything: bool = False,
    group: str = "ada",
) -> HistoryEvent:
    messages = tuple(MovedMessage(message_id=one, group=group) for one in ids)
    move = Move(word, source, "dlq", messages, everything)
    return HistoryEvent(HEADER, NOW + timedelta(minutes=minutes), move)


def stuck(*noted: HistoryEvent, again: float | None = None) -> list[str]:
    events = [WatchEvent(NOW, "failed", group=one, message_id=f"head-{one}") for one in ("ada", "bob")]
    if again is not None:
        events.append(WatchEvent(NOW + timedelta(minutes=again), "failed", "ada", "head-ada"))
    moves = [move for event in noted for move in moves_of(event)]
    found = follow(StuckGroups(), sorted([*events, *moves], key=lambda one: one.time))
    return [one.group for one in found.stuck]


@pytest.mark.parametrize(
    ("events", "again", "left"),
    [
        ([], None, ["ada", "bob"]),
        ([noted(1, "head-ada")], None, ["bob"]),
        ([noted(1, "head-ada", word="dumped")], None, ["bob"]),
        ([noted(1, "head-ada", "head-bob")], None, []),
        ([noted(1, "behind-ada")], None, ["ada", "bob"]),
        ([noted(1, "head-ada", source="dlq", word="redriven")], None, ["ada", "bob"]),
        ([noted(-1, "head-ada")], None, ["ada", "bob"]),  # it was put back, and failed since
        ([noted(1, "head-ada")], 2, ["bob", "ada"]),  # the move was killed before it left
        ([noted(1, everything=True, word="purged")], None, []),
        ([noted(1, everything=True, word="purged", source="dlq")], None, ["ada", "bob"]),
        ([noted(1, "", group="")], None, ["ada", "bob"]),
        (
            [HistoryEvent(HEADER, NOW + timedelta(1)), HistoryEvent(HEADER, NOW, end=End(0))],
            None,
            ["ada", "bob"],
        ),
    ],
)
def test_a_head_that_an_operator_moved_is_gone_at_once(
    events: list[HistoryEvent], again: float | None, left: list[str]
) -> None:
    assert stuck(*events, again=again) == left
