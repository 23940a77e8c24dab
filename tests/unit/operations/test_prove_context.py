"""How a check waits: with a bound, and a failure has its reason."""

from __future__ import annotations

from typing import Any

import pytest

from fifo_cli.operations.prove.check_context import CheckContext, Waits
from fifo_cli.operations.prove.pipeline import CheckFailed


class Clock:
    """Time that passes in pauses alone."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def context(clock: Clock) -> CheckContext:
    nothing: Any = None
    return CheckContext(
        aws=nothing,
        layout=nothing,
        commands=nothing,
        open_receiver=lambda: nothing,
        remove=lambda: ([], []),
        waits=Waits(arrive=10),
        key="k",
        sleep=clock.sleep,
        clock=lambda: clock.now,
    )


def test_what_never_holds_fails_with_its_reason_and_the_time_that_was_waited() -> None:
    clock = Clock()
    with pytest.raises(CheckFailed, match=r"^a-1 never arrived \(after 10 s\)$"):
        context(clock).until(lambda: False, lambda: "a-1 never arrived")
    assert 10 < clock.now < 20


def test_what_holds_by_the_time_the_reason_is_asked_for_has_not_failed() -> None:
    """An item that comes between the last look and the question what is missing."""
    clock, looks = Clock(), 0

    def why() -> str:
        nonlocal looks
        looks = 1
        return ""

    assert context(clock).until(lambda: looks == 1, why) > 10
