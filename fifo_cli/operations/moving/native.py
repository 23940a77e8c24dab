"""Redrive by SQS itself: start its message move task, follow it, cancel it when told to stop.

A task takes everything, oldest first, to the end of the target; it knows no selection (SQS Developer Guide,
"Configuring a dead-letter queue redrive").
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fifo_cli.aws.move_tasks import MoveTask, MoveTasks
from fifo_cli.errors import AwsError, FifoError
from fifo_cli.events import Listener, Noted, Progressed, silent
from fifo_cli.model.times import from_epoch_ms, iso
from fifo_cli.operations.moving.report import time_left

POLL_SECONDS: Final = 2.0
_NAP_SECONDS: Final = 0.2
_OVER: Final = frozenset({"COMPLETED", "CANCELLED", "FAILED"})


@dataclass(frozen=True, slots=True)
class NativeOutcome:
    """How a task ended; ``moved`` is SQS's approximate count."""

    moved: int
    status: str
    complaint: FifoError | None = None


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
    running = tasks.latest()
    if running is not None and running.status in ("RUNNING", "CANCELLING"):
        if running.target_arn not in (None, target_arn):
            raise AwsError(
                f"a move task to another queue ({running.target_arn}) is running already",
                hint="wait until it is done, or cancel it with `aws sqs cancel-message-move-task`",
            )
        started = iso(from_epoch_ms(running.started_ms))
        listener(Noted(f"a move task started at {started} is running; following it"))
        handle = running.handle
    else:
        handle = tasks.start(target_arn)
    try:
        return _follow(tasks, handle, listener, stopped, sleep, clock)
    except FifoError as error:
        hint = "the task goes on in SQS; `fifo-cli redrive --engine native` follows it again"
        complaint = AwsError(f"the move task cannot be followed: {error.message}", hint=hint)
        return NativeOutcome(0, "UNKNOWN", complaint)


def _follow(
    tasks: MoveTasks,
    handle: str | None,
    listener: Listener,
    stopped: Callable[[], bool],
    sleep: Callable[[float], None],
    clock: Callable[[], float],
) -> NativeOutcome:
    started = clock()
    cancelled = False
    while True:
        task = tasks.latest()
        if task is not None:
            if task.status in _OVER:
                return _outcome(task)
            _tell(task, listener, clock() - started)
            handle = task.handle or handle
        if stopped() and not cancelled and handle is not None:
            cancelled = True
            listener(Noted("cancelling the move task; what it has moved stays moved"))
            _cancel(tasks, handle)
        until = clock() + POLL_SECONDS
        while clock() < until and (cancelled or not stopped()):
            sleep(_NAP_SECONDS)


def _cancel(tasks: MoveTasks, handle: str) -> None:
    """Cancel; a task that has just ended cannot be, and the next look tells."""
    try:
        tasks.cancel(handle)
    except AwsError:
        latest = tasks.latest()
        if latest is not None and latest.status == "RUNNING":
            raise


def _outcome(task: MoveTask) -> NativeOutcome:
    if task.status != "FAILED":
        return NativeOutcome(task.moved, task.status)
    reason = task.failure or "no reason given"
    complaint = AwsError(
        f"SQS's move task failed after {task.moved} messages: {reason}",
        hint="`fifo-cli redrive --engine client` moves them from here, and says of each what is wrong",
    )
    return NativeOutcome(task.moved, task.status, complaint)


def _tell(task: MoveTask, listener: Listener, seconds: float) -> None:
    of = f" of {task.total:,}" if task.total else ""
    rate = task.moved / max(seconds, 1.0)
    left = f", {time_left((task.total - task.moved) / rate)} left" if rate and task.total else ""
    listener(Progressed(f"{task.moved:,}{of} moved by SQS, {rate:,.0f}/s{left}"))
