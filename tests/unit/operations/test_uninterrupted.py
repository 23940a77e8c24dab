"""Looks that an interrupt does not break."""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable

import pytest

from fifo_cli.operations.queues import browse as module
from fifo_cli.operations.queues.browse import run_uninterrupted


def test_it_returns_what_the_look_returns() -> None:
    assert run_uninterrupted(lambda stopped: [1, stopped()]) == [1, False]


def test_it_raises_what_the_look_raises() -> None:
    def look(stopped: Callable[[], bool]) -> None:
        raise LookupError("no such queue")

    with pytest.raises(LookupError, match="no such queue"):
        run_uninterrupted(look)


def test_interrupted_the_look_is_reported_and_ends_before_the_interrupt_goes_on() -> None:
    ended = []

    def look(stopped: Callable[[], bool]) -> None:
        _thread.interrupt_main()
        while not stopped():
            pass
        ended.append("gave back")

    with pytest.raises(KeyboardInterrupt):
        run_uninterrupted(look)
    assert ended == ["gave back"]


def test_a_look_that_does_not_end_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ENDS_WITHIN", 0.01)
    answered = threading.Event()

    def look(stopped: Callable[[], bool]) -> None:
        _thread.interrupt_main()
        assert answered.wait(60)

    with pytest.raises(KeyboardInterrupt):
        run_uninterrupted(look)
    answered.set()
