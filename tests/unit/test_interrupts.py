"""Calls to AWS after a signal: how long silence is waited through, and the pauses between two tries."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from fifo_cli.interrupts import Calls
from tests.fakes import Clock

_SOON = 30.0  # far from an hour, and long enough for a busy machine


def test_silence_counts_from_the_signal_the_call_or_the_last_answer_whatever_is_latest() -> None:
    clock = Clock()
    calls = Calls(clock)
    signal_at = clock()
    assert calls.quiet_for(signal_at) == 0, "nothing is asked"
    with calls.one():
        clock.sleep(3)
        assert calls.quiet_for(signal_at) == 3
        assert calls.quiet_for(clock()) == 0
        calls.answered()
        clock.sleep(1)
        assert calls.quiet_for(signal_at) == 1
    assert calls.quiet_for(signal_at) == 0


def paused(calls: Calls, seconds: float, prepare: Callable[[], None], wake: Callable[[], None]) -> float:
    """Return how long a pause of another thread lasts that is woken."""
    took: list[float] = []

    def call() -> None:
        with calls.one():
            prepare()
            began = time.monotonic()
            calls.pause(seconds)
            took.append(time.monotonic() - began)

    thread = threading.Thread(target=call)
    thread.start()
    wake()
    thread.join(_SOON)
    calls.give_up()
    thread.join()
    return took[0]


@pytest.mark.parametrize("first", [True, False], ids=["before the pause", "during it"])
def test_after_a_signal_a_call_without_an_answer_is_repeated_at_once(first: bool) -> None:
    calls = Calls()
    if first:
        calls.hurry()
    wake = (lambda: None) if first else calls.hurry

    assert paused(calls, 3600, calls.unanswered, wake) < _SOON
    # What had no answer before is another thread's matter, or an earlier call's.
    assert paused(Calls(), 0.01, lambda: None, lambda: None) < _SOON


def test_after_a_signal_what_aws_throttles_is_repeated_as_slowly_as_before() -> None:
    calls = Calls()
    calls.hurry()

    def throttled() -> None:
        calls.unanswered()
        calls.answered()

    began = time.monotonic()
    assert paused(calls, 0.2, throttled, lambda: None) >= 0.19
    assert time.monotonic() - began < _SOON


def test_given_up_no_pause_lasts() -> None:
    calls = Calls()
    calls.give_up()

    assert paused(calls, 3600, lambda: None, lambda: None) < _SOON
    assert paused(calls, 3600, calls.unanswered, lambda: None) < _SOON
