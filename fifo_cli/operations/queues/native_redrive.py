"""Redrive by SQS itself: start its message move task, follow it, cancel it when asked to stop.

A task takes everything, oldest first, to the end of the target; it knows no selection (SQS Developer Guide,
"Configuring a dead-letter queue redrive"). SQS lists a queue's earlier tasks, too, and shows a task's handle
only while it runs. So the tasks are listed before the start. Ours is the one with the handle that the start
gave; after its end, the one with that time of start. If it ended before it was listed, the only new one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from fifo_cli.aws.errors import is_passing
from fifo_cli.aws.move_tasks import MoveTask, MoveTasks
from fifo_cli.errors import AwsError, FifoError
from fifo_cli.events import Listener, Noted, Progressed, silent
from fifo_cli.invocation import aws_command_line, command_line
from fifo_cli.model.times import from_epoch_ms, iso
from fifo_cli.operations.pace import time_left

POLL_SECONDS: Final = 2.0
# How long SQS may take to list a task that it has started, or to end one that was cancelled. AWS documents
# neither.
LISTED_WITHIN_SECONDS: Final = 30.0
CANCELLED_WITHIN_SECONDS: Final = 60.0
_START_PAUSES: Final = (1.0, 2.0, 4.0)
_NAP_SECONDS: Final = 0.2


def _follows_again() -> str:
    return f"{command_line('redrive --engine native')} run again follows a task that is still running"


@dataclass(frozen=True, slots=True)
class NativeOutcome:
    """How a task ended; ``moved`` is SQS's approximate count."""

    moved: int
    status: str
    error: FifoError | None = None


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
    redrive.begin()
    try:
        return redrive.follow()
    except FifoError as error:
        hint = f"the task goes on in SQS; {_follows_again()}"
        return redrive.ended("UNKNOWN", f"the move task cannot be followed: {error.message}", hint)


@dataclass(slots=True)
class _Redrive:
    """One redrive by SQS: what it waits with, and which of the queue's tasks it started or follows."""

    tasks: MoveTasks
    target_arn: str
    listener: Listener
    stopped: Callable[[], bool]
    sleep: Callable[[float], None]
    clock: Callable[[], float]
    _before: frozenset[int] = field(default_factory=frozenset)  # when earlier tasks were started
    _handle: str | None = None
    _started_ms: int | None = None
    _last: MoveTask | None = None

    def begin(self) -> None:
        """Start a task, or take the one that is running."""
        listed = self.tasks.recent()
        self._before = frozenset(task.started_ms for task in listed)
        if self._take_running(listed):
            return
        for pause in (*_START_PAUSES, None):
            try:
                self._handle = self.tasks.start(self.target_arn)
                return
            except FifoError as error:
                if self._has_started(error):
                    return
                if pause is None or self.stopped() or not is_passing(error):
                    raise
                self.sleep(pause)

    def _has_started(self, error: FifoError) -> bool:
        """Look whether a task runs, or ran, though its start was refused or got no answer."""
        try:
            new = self._new(self.tasks.recent())
        except FifoError:
            if not is_passing(error):
                return False
            message = f"whether SQS has started a move task is not known: {error.message}"
            raise AwsError(message, hint=_follows_again()) from error
        return self._take_running(new) or (is_passing(error) and bool(new))

    def _take_running(self, listed: Sequence[MoveTask]) -> bool:
        """Follow the task that is running, if one is; raises AwsError if it moves to another queue."""
        running = next((task for task in listed if task.is_active), None)
        if running is None:
            return False
        if running.target_arn not in (None, self.target_arn):
            cancel = aws_command_line(
                "sqs cancel-message-move-task --task-handle", running.handle or "HANDLE"
            )
            raise AwsError(
                f"a move task to another queue ({running.target_arn}) is running already",
                hint=f"wait until it is done, or cancel it with {cancel}",
            )
        self._handle, self._started_ms = running.handle, running.started_ms
        started = iso(from_epoch_ms(running.started_ms))
        self.listener(Noted(f"a move task started at {started} is running; following it"))
        return True

    def follow(self) -> NativeOutcome:
        """Wait until the task has ended; cancel it when asked to stop."""
        began = seen = self.clock()
        cancelled: float | None = None
        while True:
            task = self._find()
            now = self.clock()
            if task is not None:
                seen = now
                if not task.is_active:
                    return self._outcome(task)
                self._report_progress(task, now - began)
                self._handle = task.handle or self._handle
            if now - seen > LISTED_WITHIN_SECONDS:
                # No other task's result is taken for ours.
                return self.ended(
                    "UNKNOWN",
                    "SQS has started the move task, but its list of tasks does not show which one it is:"
                    " whether it has ended, and how much it moved, is not known",
                    f"look at {command_line('depth')} and {self._listing()}; {_follows_again()}",
                )
            if cancelled is not None and now - cancelled > CANCELLED_WITHIN_SECONDS:
                return self.ended(
                    self._last.status if self._last else "UNKNOWN",
                    f"the move task was cancelled, but has not ended after {CANCELLED_WITHIN_SECONDS:.0f} s",
                    f"look at {self._listing()}; it may still move messages",
                )
            if self.stopped() and cancelled is None and self._handle is not None:
                cancelled = now
                self._cancel(self._handle)
            until = self.clock() + POLL_SECONDS
            while self.clock() < until and (cancelled is not None or not self.stopped()):
                self.sleep(_NAP_SECONDS)

    def _listing(self) -> str:
        return aws_command_line("sqs list-message-move-tasks --source-arn", self.tasks.source_arn)

    def _find(self) -> MoveTask | None:
        """Return our task; None while it is not listed, or if it may be one of several."""
        listed = self.tasks.recent()
        if self._started_ms is None:
            ours = [task for task in listed if task.handle and task.handle == self._handle]
            ended = [task for task in self._new(listed) if task.handle is None]
            if ours or len(ended) == 1:
                self._started_ms = (ours or ended)[0].started_ms
        found = next((task for task in listed if task.started_ms == self._started_ms), None)
        self._last = found or self._last
        return found

    def _new(self, listed: Sequence[MoveTask]) -> list[MoveTask]:
        """Return the tasks that were not there before the start."""
        return [task for task in listed if task.started_ms not in self._before]

    def _cancel(self, handle: str) -> None:
        """Cancel; a task that has just ended cannot be, and the next look shows it."""
        self.listener(Noted("cancelling the move task; what it has moved stays moved"))
        try:
            self.tasks.cancel(handle)
        except AwsError:
            task = self._find()
            if task is not None and task.status == "RUNNING":
                raise

    def _outcome(self, task: MoveTask) -> NativeOutcome:
        if task.status != "FAILED":
            return NativeOutcome(task.moved, task.status)
        return self.ended(
            task.status,
            f"SQS's move task failed after {task.moved} messages: {task.failure or 'no reason given'}",
            f"{command_line('redrive --engine client')} moves them from here, and says of each what is wrong",
        )

    def ended(self, status: str, message: str, hint: str) -> NativeOutcome:
        """Return an end that needs a look, with what the task had moved when it was seen last."""
        return NativeOutcome(self._last.moved if self._last else 0, status, AwsError(message, hint=hint))

    def _report_progress(self, task: MoveTask, seconds: float) -> None:
        of = f" of {task.total:,}" if task.total else ""
        rate = task.moved / max(seconds, 1.0)
        left = f", {time_left((task.total - task.moved) / rate)} left" if rate and task.total else ""
        share = min(1.0, task.moved / task.total) if task.total else None
        self.listener(Progressed(f"{task.moved:,}{of} moved by SQS, {rate:,.0f}/s{left}", share))
