"""SIGINT and SIGTERM while a command runs."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress

import pytest

from fifo_cli.cli.signals import Signals
from fifo_cli.errors import Interrupted
from fifo_cli.interrupts import CHILDREN, Children
from tests.cli_harness import wait_until


def collect() -> tuple[Signals, list[str]]:
    said: list[str] = []
    return Signals(said.append), said


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_nobody_waits_for_interrupts(number: signal.Signals, code: int) -> None:
    signals, said = collect()

    with pytest.raises(KeyboardInterrupt), signals.handled():
        signal.raise_signal(number)

    assert (signals.received, signals.exit_code, said) == (number, code, [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_inside_stopping_sets_the_stop_and_interrupts_nothing(number: signal.Signals) -> None:
    signals, said = collect()

    with signals.handled(), signals.stopping() as stop:
        assert not stop.is_set()
        signal.raise_signal(number)
        assert stop.wait(60)

    assert (signals.received, signals.exit_code) == (number, 128 + number)
    assert said == ["finishing what is in flight; a second signal exits at once"]


def test_a_signal_reaches_a_stop_that_is_just_waited_on() -> None:
    signals, _ = collect()

    with signals.handled(), signals.stopping() as stop:
        threading.Timer(0.05, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)).start()
        assert stop.wait(60)


def test_after_stopping_a_signal_interrupts_again() -> None:
    signals, _ = collect()

    with signals.handled():
        with signals.stopping():
            pass
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    signals, _ = collect()

    with signals.handled():
        assert signal.getsignal(signal.SIGTERM) not in before

    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        signals, _ = collect()
        with signals.handled():
            signal.raise_signal(signal.SIGINT)
        assert signals.received is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_signals_are_left_alone() -> None:
    signals, _ = collect()
    ran: list[bool] = []

    def work() -> None:
        with signals.handled(), signals.stopping():
            ran.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert ran == [True]


def test_a_child_is_ended_before_the_command_is_over_however_late_the_thread_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipes: list[int] = []
    monkeypatch.setattr(Signals, "_listen", lambda self, reading: pipes.append(reading))
    ended: list[bool] = []
    child = CHILDREN.start(object, lambda child: ended.append(True))
    with suppress(KeyboardInterrupt), Signals(lambda text: None).handled():
        signal.raise_signal(signal.SIGINT)

    assert ended == [True]
    CHILDREN.over(child)
    os.close(pipes[0])


def test_after_a_signal_no_child_is_started() -> None:
    with suppress(KeyboardInterrupt), Signals(lambda text: None).handled():
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(Interrupted):
        CHILDREN.start(object, lambda child: None)


def test_a_child_that_starts_while_a_signal_arrives_is_ended() -> None:
    children, starts, ended = Children(), threading.Event(), threading.Event()

    def begin() -> object:
        starts.set()
        signalled.join(0.1)
        return object()

    def interrupt() -> None:
        starts.wait(5)
        children.end()

    signalled = threading.Thread(target=interrupt)
    signalled.start()
    children.start(begin, lambda child: ended.set())

    assert ended.wait(5)
    signalled.join()


def test_where_only_the_first_signal_counts_a_second_one_ends_nothing() -> None:
    signals, said = collect()
    with suppress(KeyboardInterrupt), signals.handled():
        signals.first_only("removing all that was made")
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGTERM)
            wait_until(lambda: said, timeout=10)

    assert signals.exit_code == 130
    assert said == ["interrupted: removing all that was made; a second signal changes nothing"]
