"""What a command waits for when a signal arrives: calls to AWS, which may be answered, and child processes.

A thread that waits for an answer on a socket hears no signal, and Python cannot wake it. So each call to AWS
is noted here while it is in flight. Once a signal has arrived and no answer comes any more, ``give_up`` cuts
the connections: every call in flight fails, every later one fails at once, and the command ends as usual.
A child process has nothing in flight that is worth waiting for: the signal ends it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeVar

from fifo_cli.errors import Interrupted

Clock = Callable[[], float]
Child = TypeVar("Child")
_HURRIED_PAUSE: Final = 0.1
# A child is started in less, unless the system hangs; then a signal ends the others at least.
_START_SECONDS: Final = 1.0


class Calls:
    """The calls to AWS that are in flight; safe to share between threads."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._begun: dict[int, float] = {}
        self._unanswered: set[int] = set()
        self._answered_at = self._changed_at = clock()
        self._hurried = threading.Event()
        self._given_up = threading.Event()
        # Cuts the connections; set by whoever opens them.
        self.cut: Callable[[], None] = lambda: None
        # What else a command may wait for after a signal, in seconds: a call to the user's API in flight.
        self.allowance = 0.0

    @property
    def given_up(self) -> bool:
        """Whether AWS is not waited for any longer."""
        return self._given_up.is_set()

    @property
    def hurried(self) -> bool:
        """Whether a signal has arrived."""
        return self._hurried.is_set()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Note a call of this thread for as long as the block runs, its repetitions included.

        A call inside, such as one for the credentials that the outer one needs, is a part of it.
        """
        thread = threading.get_ident()
        if thread in self._begun:
            yield
            return
        self._begun[thread] = self._changed_at = self._clock()
        try:
            yield
        finally:
            self._begun.pop(thread, None)
            self._changed_at = self._clock()
            self._unanswered.discard(thread)

    def answered(self) -> None:
        """Note that AWS has answered this thread's call."""
        self._answered_at = self._clock()
        self._unanswered.discard(threading.get_ident())

    def unanswered(self) -> None:
        """Note that a try of this thread's call got no answer: refused, cut off, or too late."""
        self._unanswered.add(threading.get_ident())

    def hurry(self) -> None:
        """Note that a signal has arrived."""
        self._hurried.set()

    def quiet_for(self, since: float) -> float:
        """Return for how many seconds after ``since`` a call has waited with no answer to any."""
        begun = min(list(self._begun.values()), default=None)
        if begun is None:
            return 0.0
        return max(0.0, self._clock() - max(since, begun, self._answered_at))

    def idle_for(self, since: float) -> float:
        """Return for how many seconds after ``since`` no call has been begun, answered or in flight."""
        if self._begun:
            return 0.0
        return max(0.0, self._clock() - max(since, self._changed_at))

    def pause(self, seconds: float) -> None:
        """Wait between two tries of a call; no longer than AWS is waited for.

        After a signal, the next try of a call without an answer follows at once: of the time that AWS has to
        answer, a pause would leave it a part. What AWS throttles is repeated as slowly as before.
        """
        if threading.get_ident() in self._unanswered:
            if not self._hurried.wait(seconds):
                return
            seconds = min(seconds, _HURRIED_PAUSE)
        self._given_up.wait(seconds)

    def give_up(self) -> None:
        """Let every call in flight fail now, and every later one at once. May be called again."""
        self._given_up.set()
        self._hurried.set()
        self.cut()


class Children:
    """The child processes that a signal ends; safe to share between threads."""

    def __init__(self) -> None:
        # Held while a child starts: it is either ended with the others, or not started.
        self._starting = threading.RLock()
        self._ends: dict[Any, Callable[[], None]] = {}
        self.ended = False

    def start(self, begin: Callable[[], Child], end: Callable[[Child], None]) -> Child:
        """Start a child process, which a signal ends from now on until it is ``over``.

        Raises Interrupted, and starts none, if a signal has arrived already.
        """
        with self._starting:
            if self.ended:
                raise Interrupted
            child = begin()
            self._ends[child] = partial(end, child)
        return child

    def over(self, child: Any) -> None:
        """Note that a child process has ended."""
        self._ends.pop(child, None)

    def end(self) -> None:
        """End all there are; none is started from now on."""
        held = self._starting.acquire(timeout=_START_SECONDS)
        try:
            self.ended = True
            for end in list(self._ends.values()):
                end()
        finally:
            if held:
                self._starting.release()


# One of each for the process, as its signals are.
AWS_CALLS = Calls()
CHILDREN = Children()
