"""The engine of every move between queues and files: receive → send → read the answer → note → delete.

Worker threads share the messages in flight (scheduler.py) under one lock. Each thread takes the most useful
step next. A message is deleted from the source only after the target has confirmed it, and its ids are in the
history. What is not finished at the end is released, the last of each group first.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, assert_never

from fifo_cli.errors import AbandonedError, AwsError, FifoError, NotDeployedError, UsageError
from fifo_cli.events import Listener, Noted, Warned, silent
from fifo_cli.model.message import ReceivedMessage
from fifo_cli.operations.pace import Progress
from fifo_cli.operations.transfer.concurrency import AdaptiveConcurrency
from fifo_cli.operations.transfer.interfaces import Rejection, Source, Target
from fifo_cli.operations.transfer.result import MoveOptions, MoveReport
from fifo_cli.operations.transfer.scheduler import InFlightMessages
from fifo_cli.operations.transfer.steps import (
    Action,
    Delete,
    ExtendVisibility,
    Note,
    Receive,
    Rejections,
    Send,
)

# Calls that fail as a whole were repeated by botocore already; so many rounds without any progress end it.
ROUNDS_MAX: Final = 3
ROUND_PAUSE: Final = 1.0
_NAP: Final = 0.1


def move(
    source: Source,
    target: Target,
    options: MoveOptions | None = None,
    *,
    on_sent: Callable[[ReceivedMessage], None] = lambda received: None,
    listener: Listener = silent,
    stopped: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> MoveReport:
    """Move messages until the source is exhausted, the count is reached, or it is asked to stop.

    Nothing is raised for what AWS refuses: the report shows, with the error that ended the move early as its
    ``error``. What ``before_sending`` raises is raised, with nothing sent, when what was taken until then
    has been given back. ``on_sent`` hears of each message once, when the target has it. With one worker,
    nothing but ``sleep`` waits.
    """
    return _Engine(
        source, target, options or MoveOptions(), on_sent, listener, stopped, clock, sleep
    ).perform()


@dataclass(eq=False)
class _Engine:
    """One move; ``perform`` may be called once."""

    _source: Source
    _target: Target
    _options: MoveOptions
    _on_sent: Callable[[ReceivedMessage], None]
    _listener: Listener
    _stopped: Callable[[], bool]
    _clock: Callable[[], float]
    _sleep: Callable[[float], None]

    def __post_init__(self) -> None:
        options = self._options
        self._in_flight = InFlightMessages(self._target, options, hidden_seconds=self._source.hidden_seconds)
        self._concurrency = AdaptiveConcurrency(options.workers, throttles=options.throttles())
        total = options.total if options.count is None else options.count
        self._progress = Progress(self._listener, "moved", total, clock=self._clock)
        self._changed = threading.Condition()
        self._broken = False
        self._rounds = 0
        self._resume_at = -math.inf
        self._spilled: list[ReceivedMessage] = []  # taken, but not in flight because of a defect; tails first

    def perform(self) -> MoveReport:
        """Run the workers, then give back what is left."""
        threads = [
            threading.Thread(target=self._work, name=f"move-{number}", daemon=True)
            for number in range(1, self._options.workers)
        ]
        for thread in threads:
            thread.start()
        try:
            self._options.before_sending()
            with self._changed:
                self._in_flight.may_send = True
                self._changed.notify_all()
            self._work()
        finally:
            self._broken = True
            for thread in threads:
                thread.join()
            left = self._in_flight.remaining()
            in_flight = {one.message.message_id for one in left}
            spilled = [one for one in self._spilled if one.message.message_id not in in_flight]
            if spilled or left:
                self._source.release([*spilled, *left])
            if self._options.history and (stayed := self._in_flight.stayed):
                self._options.history.stayed(stayed)
        return self._in_flight.report

    def _work(self) -> None:
        try:
            while (action := self._await_action()) is not None:
                self._perform(action)
        except Exception as error:  # noqa: BLE001 - a defect must not leave the other workers waiting
            with self._changed:
                self._broken = True
                self._end(AwsError(f"internal error while moving: {type(error).__name__}: {error}"))
                self._changed.notify_all()

    def _await_action(self) -> Action | None:
        """Return what to do next, waiting for something to do; None when it is over."""
        while True:
            with self._changed:
                action = None if self._is_over() else self._choose()
                if action is not None:
                    # One more worker may find something; if it does, it calls the next. Calling all of them
                    # each time would cost more than the work.
                    self._changed.notify()
                    return action
                if self._is_over():
                    self._changed.notify_all()
                    return None
                if self._options.workers > 1:
                    self._changed.wait(min(_NAP, max(0.0, self._in_flight.wakes_at - self._clock()) or _NAP))
                    continue
            self._sleep(_NAP)

    def _is_over(self) -> bool:
        return self._broken or self._in_flight.over

    def _choose(self) -> Action | None:
        if not self._in_flight.closing and self._stopped():
            self._in_flight.report.stopped = True
            self._in_flight.closing = True
        now = self._clock()
        if self._concurrency.adapt(self._options.throttles(), now):
            self._listener(Noted(f"AWS throttles: {self._concurrency.size} calls at a time"))
        if now < self._resume_at:
            return None
        # What would be lost is kept at any concurrency: a thread for it is free.
        return self._in_flight.choose(
            now, only_extend_visibility=self._in_flight.actions >= self._concurrency.size
        )

    def _perform(self, action: Action) -> None:
        match action:
            case Receive():
                self._receive(action)
            case Send():
                self._send(action)
            case Note():
                self._note(action)
            case Delete():
                self._delete(action)
            case ExtendVisibility():
                self._extend_visibility(action)
            case _:
                assert_never(action)

    def _receive(self, action: Receive) -> None:
        asked_at = self._clock()
        exhausted = False
        try:
            batch = self._source.receive(action.count, wait=action.wait)
            if not batch and action.wait:
                exhausted = self._source.exhausted()
        except FifoError as error:
            self._failed(action, error)
            return
        with self._changed:
            self._rounds = 0
            try:
                self._in_flight.received(action, batch, asked_at=asked_at, exhausted=exhausted)
            except Exception:
                self._spilled = [*reversed(batch), *self._spilled]
                raise

    def _send(self, action: Send) -> None:
        received = [item.received for item in action.items]
        refused, error = _refusals(self._target.send, received)
        with self._changed:
            self._after_call(error)
            for one in self._in_flight.sent(action, refused, whole=error is not None, now=self._clock()):
                self._on_sent(one)

    def _note(self, action: Note) -> None:
        assert self._options.history is not None
        self._options.history.leaving([item.received for item in action.items])
        with self._changed:
            self._in_flight.noted(action)

    def _delete(self, action: Delete) -> None:
        received = [item.received for item in action.items]
        refused, error = _refusals(self._source.delete, received)
        with self._changed:
            self._after_call(error)
            self._in_flight.deleted(action, refused, now=self._clock())
            self._progress.at(self._in_flight.report.moved)

    def _extend_visibility(self, action: ExtendVisibility) -> None:
        asked_at = self._clock()
        try:
            refused = self._source.extend_visibility(
                [item.received for item in action.items], seconds=action.seconds
            )
        except FifoError as error:
            self._failed(action, error)
            return
        rejections = {one.received.message.message_id: one for one in refused}
        with self._changed:
            back = self._in_flight.extended(action, rejections, asked_at=asked_at, now=self._clock())
        if back:
            self._source.release(back)

    def _failed(self, action: Receive | ExtendVisibility, error: FifoError) -> None:
        with self._changed:
            self._in_flight.failed_action(action)
            self._after_call(error)

    def _after_call(self, error: FifoError | None) -> None:
        """Pause after a call that failed as a whole; end the move if nothing else gets through either."""
        now = self._clock()
        if error is None:
            self._rounds = 0
            return
        if isinstance(error, NotDeployedError | UsageError):
            self._end(error)
        if isinstance(error, AbandonedError):
            self._broken = True
            self._end(error)
            return
        if now < self._resume_at:
            return  # another call of the same round
        self._rounds += 1
        self._resume_at = now + ROUND_PAUSE
        if self._rounds >= ROUNDS_MAX:
            self._end(error)
        elif not self._in_flight.closing:
            self._listener(Warned(f"{error.message}; trying again"))

    def _end(self, error: FifoError) -> None:
        self._in_flight.closing = True
        if self._in_flight.report.error is None:
            self._in_flight.report.error = error


def _refusals(
    call: Callable[[list[ReceivedMessage]], list[Rejection]], received: list[ReceivedMessage]
) -> tuple[Rejections, FifoError | None]:
    """Return what was refused by message id: each message, if the call failed as a whole, and its error."""
    try:
        return {one.received.message.message_id: one for one in call(received)}, None
    except FifoError as error:
        return {one.message.message_id: Rejection(one, error.message) for one in received}, error
