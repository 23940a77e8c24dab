"""What a drain says of what it left."""

from __future__ import annotations

from fifo_cli.handlers.worker_run import Outcome
from fifo_cli.operations.queues.drain import DrainResult, ungiven


def outcome(name: str, status: str, error: str | None = None) -> Outcome:
    return Outcome(name, "g", status, None, 0, error)  # type: ignore[arg-type]


def test_what_is_counted_beside_what_stayed_behind_was_not_given() -> None:
    stayed = [outcome("a", "failed", "503"), outcome("b", "skipped", "behind"), outcome("c", "delivered")]
    assert ungiven(stayed, 12) == 10
    assert ungiven([], 360) == 360
    assert ungiven([outcome("a", "delivered", "not deleted")], 1) == 0


def test_counts_that_lag_or_are_unknown_make_nothing_up() -> None:
    assert ungiven([outcome("a", "failed", "503")], 0) == 0
    assert ungiven([outcome("a", "failed", "503")], None) == 0


def test_a_message_that_several_invocations_saw_counts_once() -> None:
    seen = [outcome("a", "skipped", "ended"), outcome("a", "delivered"), outcome("b", "skipped", "ended")]
    assert ungiven([*seen, outcome("b", "skipped", "ended")], 3) == 2


def test_what_is_parked_or_delivered_did_not_stay() -> None:
    gone = (outcome("a", "delivered"), outcome("b", "parked", "422"))
    assert not DrainResult(gone, 0).stayed
    assert DrainResult((*gone, outcome("c", "failed", "503")), 1).stayed
