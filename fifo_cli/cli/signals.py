"""SIGINT, SIGTERM and SIGHUP, for every command, at every moment.

A command that asked for it (``stopping``) finishes what it has begun; any other is interrupted. Python runs
a signal's handler in the main thread only, and only when that thread is not in a call of C, such as a name
lookup. So a thread of its own hears of each signal from the system (``signal.set_wakeup_fd``). It says at
once that the signal was heard and ends child processes; then it watches until the command has ended:

- AWS does not answer any more: the waiting for it ends (interrupts.py).
- The command calls nothing and does nothing: it waits for what a signal does not end, such as the user's
  code. A command that finishes what it has begun is now interrupted, too.
- Neither helped: the process ends here.
"""

from __future__ import annotations

import os
import select
import signal
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final, NoReturn

from fifo_cli.interrupts import AWS_CALLS, CHILDREN

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Interrupts the main thread from the other one; nothing else here uses it, and by default it does nothing.
_INTERRUPT: Final = signal.SIGURG
# A receive waits for a message for one second; what takes longer than this is not answered.
AWS_ANSWERS_WITHIN: Final = 1.25
# A command that works without calling AWS, such as one that removes its files, may take so long.
_WORKS_WITHIN: Final = 10.0
# What has not ended by now is stuck where nothing can wake it.
_ENDS_WITHIN: Final = 1.9
_UNWINDS_WITHIN: Final = 0.5
_TICK: Final = 0.05
# A command that ends sooner has printed its end by then.
_SILENT_FOR: Final = 0.1


def exit_code_after(number: int) -> int:
    """Return the exit code of a process that a signal ended, as shells have it."""
    return 128 + number


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP arrived where nothing waited for it; handled as Ctrl-C is, with another exit code."""


class Terminal:
    """The terminal's settings as they were; a prompt for a secret switches the echo off."""

    def __init__(self, descriptor: int = -1, settings: list[Any] | None = None) -> None:
        self._descriptor = descriptor
        self._settings = settings

    @classmethod
    def current(cls) -> Terminal:
        """Note the settings of the terminal that the command is on, if there is one."""
        for descriptor in (0, 2, 1):
            with suppress(OSError, termios.error):
                return cls(descriptor, termios.tcgetattr(descriptor))
        return cls()

    def restore(self) -> None:
        """Set what was changed back, unless the terminal is another process's by now."""
        with suppress(OSError, termios.error):
            if self._settings is None or os.tcgetpgrp(self._descriptor) != os.getpgrp():
                return
            if termios.tcgetattr(self._descriptor) != self._settings:
                termios.tcsetattr(self._descriptor, termios.TCSANOW, self._settings)


class Signals:
    """What a signal does while a command runs; ``announce`` writes a line to stderr and takes no lock."""

    def __init__(
        self, announce: Callable[[str], None], *, aws_answers_within: float = AWS_ANSWERS_WITHIN
    ) -> None:
        self._announce = announce
        self._aws_answers_within = aws_answers_within
        self._stop: threading.Event | None = None
        self._number = int(signal.SIGINT)
        self._heard_at = self._worked_at = self._late_at = 0.0
        self._gave_up_at: float | None = None
        self._ticked_at = self._cpu = 0.0
        self._terminal = Terminal()
        self._announced = False
        self._interrupting = self._interrupted = False
        self._may_leave = True
        self._then = "ending what is in flight"  # after the first signal
        self.received: int | None = None

    @property
    def exit_code(self) -> int:
        """130 after SIGINT, 143 after SIGTERM, 129 after SIGHUP."""
        return exit_code_after(self.received or signal.SIGINT)

    @contextmanager
    def handled(self) -> Iterator[Signals]:
        """Handle the signals inside; elsewhere than in the main thread leave them alone."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        CHILDREN.ended = False  # of a command before this one in the same process
        self._terminal = Terminal.current()
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        outer = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        threading.Thread(target=self._listen, args=(reading,), name="signals", daemon=True).start()
        before = {_INTERRUPT: signal.signal(_INTERRUPT, self._interrupt)}
        for number in _SIGNALS:
            # A shell starts background jobs with SIGINT ignored, and nohup means it: leave that so.
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, self._handle)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(outer)
            os.close(writing)  # the thread ends when it sees this
            if self.received is not None:
                # The thread that hears of the signal may not have come to it yet.
                CHILDREN.end()
                self._terminal.restore()

    @contextmanager
    def stopping(self) -> Iterator[threading.Event]:
        """Yield an event that the first signal inside sets, instead of interrupting."""
        outer, self._stop = self._stop, threading.Event()
        try:
            yield self._stop
        finally:
            self._stop = outer

    def received_elsewhere(self, number: int) -> None:
        """Go on as after a signal that somebody else handled; any other one counts as SIGTERM."""
        number = number if number in _SIGNALS else signal.SIGTERM
        self._hear(number)
        self.received = number
        threading.Thread(target=self._watch, args=(None,), name="signals", daemon=True).start()

    def first_only(self, then: str = "") -> None:
        """Let no second signal end the process: ``then`` is what is done after the first, in any case."""
        self._may_leave = False
        self._then = then or self._then

    def ignore(self) -> None:
        """Let nothing interrupt any more: what follows is a short, bounded cleaning up."""
        self._may_leave = False
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_IGN)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Interrupt the main thread, unless the command stops by itself."""
        if self.received is not None:
            # The second one means it: no cleanup that could hang.
            if self._may_leave:
                self._leave(number)
            return
        self.received = number
        if self._stop is None:
            raise KeyboardInterrupt if number == signal.SIGINT else Terminated

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        """Interrupt the main thread of a command that was to stop by itself, and did not."""
        if self._interrupting and self._may_leave:
            self._interrupting = False
            raise KeyboardInterrupt

    def _listen(self, reading: int) -> None:
        """Hear of the signals; ``reading`` gives the number of each as a byte."""
        try:
            while numbers := os.read(reading, 64):
                for number in numbers:
                    if number in _SIGNALS:
                        self._hear(number)
                        self._watch(reading)
                        return
        finally:
            os.close(reading)

    def _hear(self, number: int) -> None:
        self._heard_at, self._number = time.monotonic(), number
        AWS_CALLS.hurry()
        self._worked_at = self._late_at = self._ticked_at = self._heard_at
        self._cpu = time.process_time()
        if (stop := self._stop) is not None:
            self._say("finishing what is in flight; a second signal exits at once")
            stop.set()
        CHILDREN.end()

    def _watch(self, reading: int | None) -> None:
        """See to it that the command ends, until it has."""
        poll = select.poll()
        if reading is not None:
            poll.register(reading, select.POLLIN)
        while True:
            if poll.poll(_TICK * 1000) and reading is not None:
                numbers = os.read(reading, 64)
                if not numbers:
                    return
                if self._may_leave and (again := [one for one in numbers if one in _SIGNALS]):
                    self._leave(again[0])
            self._tick(time.monotonic() - self._heard_at)

    def _tick(self, elapsed: float) -> None:
        stop = self._stop
        if stop is not None:
            stop.set()  # it may have been begun after the signal
        if self.received is None:
            # It came in the moment between Python's last look for signals and a call that waits, such as that
            # for an answer to a question: the call goes on, and ends by another signal.
            signal.pthread_kill(threading.main_thread().ident or 0, _INTERRUPT)
        if elapsed > _SILENT_FOR and not self._announced:
            self._say("interrupted: ending what is in flight; a second signal exits at once")
        if AWS_CALLS.given_up or AWS_CALLS.quiet_for(self._heard_at) > self._aws_answers_within:
            AWS_CALLS.give_up()
        elif not self._is_stuck(elapsed):
            return
        if self._gave_up_at is None:
            self._gave_up_at = elapsed
        ends = max(_ENDS_WITHIN, self._gave_up_at + _UNWINDS_WITHIN)
        if AWS_CALLS.given_up:
            ends += AWS_CALLS.allowance
        if elapsed > ends and self._may_leave:
            why = "AWS does not answer, and not" if AWS_CALLS.given_up else "not"
            self._announce(f"interrupted: {why} all could be ended in time")
            self._leave(self._number)

    def _is_stuck(self, elapsed: float) -> bool:
        """Say whether the process neither calls AWS nor does anything else; interrupt one that should end."""
        now, cpu = self._heard_at + elapsed, time.process_time()
        # On a busy machine this thread itself is late, and the others get no time either.
        if elapsed < _WORKS_WITHIN and now - self._ticked_at > 3 * _TICK:
            self._late_at = self._worked_at = now
        if elapsed < _WORKS_WITHIN and cpu - self._cpu > _TICK / 2:
            self._worked_at = now
        self._ticked_at, self._cpu = now, cpu
        limit = self._aws_answers_within + AWS_CALLS.allowance
        if AWS_CALLS.idle_for(self._late_at) <= limit:
            return False
        if self._stop is not None and not self._interrupted:
            self._interrupted = self._interrupting = True
            signal.pthread_kill(threading.main_thread().ident or 0, _INTERRUPT)
        return AWS_CALLS.idle_for(self._worked_at) > limit

    def _leave(self, number: int) -> NoReturn:
        """End the process where it stands, but leave no child of it, and the terminal as it was."""
        CHILDREN.end()
        self._terminal.restore()
        os._exit(exit_code_after(number))

    def _say(self, text: str) -> None:
        self._announced = True
        only = f"interrupted: {self._then}; a second signal changes nothing"
        self._announce(text if self._may_leave else only)
