"""Redrive by SQS itself: start its message move task, follow it, cancel it when asked to stop.

A task takes everything, oldest first, to the end of the target; it knows no selection (SQS Developer Guide,
"Configuring a dead-letter queue redrive"). SQS lists a queue's earlier tasks, too, and shows a task's handle
only while it runs. So the tasks are listed before the start. Ours is the one with the handle that the start
gave; after its end, the one with that time of start. If it ended before it was listed, the only new one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from fifo_cli.aws.errors import is_passing
from fifo_cli.aws.move_tasks import MoveTask, MoveTasks
from fifo_cli.errors import AwsError, FifoError
from fifo_cli.events import Listener, Noted, Progressed, silent
from fifo_cli.model.times import from_epoch_ms, iso
from fifo_cli.operations.transfer.result import time_left

POLL_SECONDS: Final = 2.0
# How long SQS may take to list a task that it has started, or to end one that was cancelled. AWS documents
# neither.
LISTED_WITHIN_SECONDS: Final = 30.0
CANCELLED_WITHIN_SECONDS: Final = 60.0
_START_PAUSES: Final = (1.0, 2.0, 4.0)
_NAP_SECONDS: Final = 0.2
_FOLLOWS_AGAIN: Final = "`fifo-cli redrive --engine native` run again follows a task that is still running"


@dataclass(frozen=True, slots=True)
class NativeOutcome:
    """How a task ended; ``moved`` is SQS's approximate count."""

    moved: int
    status: str
    error: FifoError | None = None


@dataclass(slots=True)
class _OwnTask:
    """Which of the queue's tasks is the one that this command started, or follows."""

    before: frozenset[int]
    handle: str | None = None
    started_ms: int | None = None
    last: MoveTask | None = None

    def find(self, listed: Sequence[MoveTask]) -> MoveTask | None:
        """Return the task; None while it is not listed, or several may be it."""
        if self.started_ms is None:
            self.started_ms = self._recognize(listed)
        found = next((task for task in listed if task.started_ms == self.started_ms), None)
        self.last = found or self.last
        return found

    def new(self, listed: Sequence[MoveTask]) -> list[MoveTask]:
        """Return the tasks that were not there before the start."""
        return [task for task in listed if task.started_ms not in self.before]

    def _recognize(self, listed: Sequence[MoveTask]) -> int | None:
        for task in listed:
            if self.handle is not None and task.handle == self.handle:
                return task.started_ms
        ended = [task for task in self.new(listed) if task.handle is None]
        return ended[0].started_ms if len(ended) == 1 else None


@dataclass(frozen=True, slots=True)
class _Redrive:
    """One redrive by SQS, and what it waits with."""

    tasks: MoveTasks
    target_arn: str
    listener: Listener
    stopped: Callable[[], bool]
    sleep: Callable[[float], None]
    clock: Callable[[], float]

    def begin(self) -> _OwnTask:
        """Start a task, or take the one that is running."""
        listed = self.tasks.recent()
        running = next((task for task in listed if task.is_active), None)
        own = _OwnTask(frozenset(task.started_ms for task in listed))
        if running is not None:
            self._receive(own, running)
            return own
        for pause in (*_START_PAUSES, None):
            try:
                own.handle = self.tasks.start(self.target_arn)
            except FifoError as error:
                if self._has_started(own, error):
                    break
                if pause is None or self.stopped() or not is_passing(error):
                    raise
                self.sleep(pause)
            else:
                break
        return own

    def _has_started(self, own: _OwnTask, error: FifoError) -> bool:
        """Look whether a task runs, or ran, though its start was refused or got no answer."""
        try:
            new = own.new(self.tasks.recent())
        except FifoError:
            new = []
            if is_passing(error):
                raise AwsError(
                    f"whether SQS has started a move task is not known: {error.message}", hint=_FOLLOWS_AGAIN
                ) from error
        running = next((task for task in new if task.is_active), None)
        if running is not None:
            self._receive(own, running)
            return True
        return is_passing(error) and bool(new)

    def _receive(self, own: _OwnTask, running: MoveTask) -> None:
        """Follow a running task; raises AwsError if it moves to another queue."""
        if running.target_arn not in (None, self.target_arn):
            raise AwsError(
                f"a move task to another queue ({running.target_arn}) is running already",
                hint="wait until it is done, or cancel it with `aws sqs cancel-message-move-task`",
            )
        own.handle, own.started_ms = running.handle, running.started_ms
        started = iso(from_epoch_ms(running.started_ms))
        self.listener(Noted(f"a move task started at {started} is running; following it"))

    def follow(self, own: _OwnTask) -> NativeOutcome:
        """Wait until the task has ended; cancel it when asked to stop."""
        started = seen = self.clock()
        cancelled: float | None = None
        while True:
            task = own.find(self.tasks.recent())
            now = self.clock()
            if task is not None:
                seen = now
                if not task.is_active:
                    return _outcome(task)
                _report_progress(task, self.listener, now - started)
                own.handle = task.handle or own.handle
            if now - seen > LISTED_WITHIN_SECONDS:
                return _lost(own)
            if cancelled is not None and now - cancelled > CANCELLED_WITHIN_SECONDS:
                return _not_cancelled(own)
            if self.stopped() and cancelled is None and own.handle is not None:
                cancelled = now
                self.listener(Noted("cancelling the move task; what it has moved stays moved"))
                self._cancel(own)
            until = self.clock() + POLL_SECONDS
            while self.clock() < until and (cancelled is not None or not self.stopped()):
                self.sleep(_NAP_SECONDS)

    def _cancel(self, own: _OwnTask) -> None:
        """Cancel; a task that has just ended cannot be, and the next look shows it."""
        try:
            self.tasks.cancel(own.handle or "")
        except AwsError:
            task = own.find(self.tasks.recent())
            if task is not None and task.status == "RUNNING":
                raise


def redrive_natively(
    tasks: MoveTasks,
    target_arn: str,
    *,
    listener: Listener = silent,
    stopped: Callable[[], bool] = lambda: False,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> NativeOutcome:
    """Have SQS move everything and wait until it has; a task that runs already is followed.

    Raises UnknownCallError where the service knows no such tasks: nothing was moved then.
    """
    redrive = _Redrive(tasks, target_arn, listener, stopped, sleep, clock)
    own = redrive.begin()
    try:
        return redrive.follow(own)
    except FifoError as error:
        hint = f"the task goes on in SQS; {_FOLLOWS_AGAIN}"
        reason = AwsError(f"the move task cannot be followed: {error.message}", hint=hint)
        return NativeOutcome(own.last.moved if own.last else 0, "UNKNOWN", reason)


def _outcome(task: MoveTask) -> NativeOutcome:
    if task.status != "FAILED":
        return NativeOutcome(task.moved, task.status)
    why = task.failure or "no reason given"
    reason = AwsError(
        f"SQS's move task failed after {task.moved} messages: {why}",
        hint="`fifo-cli redrive --engine client` moves them from here, and says of each what is wrong",
    )
    return NativeOutcome(task.moved, task.status, reason)


def _lost(own: _OwnTask) -> NativeOutcome:
    """Say that SQS does not show which task is ours: no other task's result is taken for it."""
    reason = AwsError(
        "SQS has started the move task, but its list of tasks does not show which one it is:"
        " whether it has ended, and how much it moved, is not known",
        hint="look at `fifo-cli depth` and `aws sqs list-message-move-tasks --max-results 10`; "
        + _FOLLOWS_AGAIN,
    )
    return NativeOutcome(own.last.moved if own.last else 0, "UNKNOWN", reason)


def _not_cancelled(own: _OwnTask) -> NativeOutcome:
    reason = AwsError(
        f"the move task was cancelled, but has not ended after {CANCELLED_WITHIN_SECONDS:.0f} s",
        hint="look at `aws sqs list-message-move-tasks`; it may still move messages",
    )
    status = own.last.status if own.last else "UNKNOWN"
    return NativeOutcome(own.last.moved if own.last else 0, status, reason)


def _report_progress(task: MoveTask, listener: Listener, seconds: float) -> None:
    of = f" of {task.total:,}" if task.total else ""
    rate = task.moved / max(seconds, 1.0)
    left = f", {time_left((task.total - task.moved) / rate)} left" if rate and task.total else ""
    listener(Progressed(f"{task.moved:,}{of} moved by SQS, {rate:,.0f}/s{left}"))
