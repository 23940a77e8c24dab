"""SQS's own message move tasks (Developer Guide, "Configuring a dead-letter queue redrive").

SQS shows a task's handle only while it runs (API reference, ListMessageMoveTasks: "only populated for tasks
that are in RUNNING status"). After that its time of start identifies it: one task of a queue runs at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fifo_cli.aws.errors import calling
from fifo_cli.aws.session import Aws

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# "The upper limit is 10" (API reference, ListMessageMoveTasks); there are no further pages.
_LISTED_AT_MOST: Final = 10


class UnknownCallError(Exception):
    """The service knows no message move tasks."""


# What services answer that do not know the call, or not for this kind of queue.
_UNKNOWN: Final = dict.fromkeys(
    (
        "InvalidAction",
        "UnsupportedOperation",
        "AWS.SimpleQueueService.UnsupportedOperation",
        "UnknownOperationException",
        "NotImplemented",
    ),
    UnknownCallError,
)


@dataclass(frozen=True, slots=True)
class MoveTask:
    """A task as SQS reports it; ``handle`` is there while it runs, ``total`` is approximate."""

    status: str
    moved: int
    total: int | None
    handle: str | None
    target_arn: str | None
    started_ms: int
    failure: str

    @property
    def is_active(self) -> bool:
        """Whether it is still moving messages."""
        return self.status in ("RUNNING", "CANCELLING")


class MoveTasks:
    """The move tasks of one dead-letter queue."""

    def __init__(self, aws: Aws, *, name: str, source_arn: str) -> None:
        self._aws = aws
        self._name = name
        self.source_arn = source_arn

    @property
    def _sqs(self) -> SQSClient:
        return self._aws.client("sqs")

    def start(self, target_arn: str) -> str:
        """Start moving everything to a queue and return the task's handle.

        It is asked once: where an answer is lost, a second call might start a second task.
        Raises UnknownCallError if the service has no such call.
        """
        with calling(self._name, _UNKNOWN):
            answer = self._aws.client("sqs", attempts=1).start_message_move_task(
                SourceArn=self.source_arn, DestinationArn=target_arn
            )
        return answer["TaskHandle"]

    def recent(self) -> list[MoveTask]:
        """Return the tasks started last, the newest first; raises UnknownCallError where there are none."""
        with calling(self._name, _UNKNOWN):
            answer = self._sqs.list_message_move_tasks(SourceArn=self.source_arn, MaxResults=_LISTED_AT_MOST)
        found = [
            MoveTask(
                status=task.get("Status", "RUNNING"),
                moved=task.get("ApproximateNumberOfMessagesMoved", 0),
                total=task.get("ApproximateNumberOfMessagesToMove"),
                handle=task.get("TaskHandle"),
                target_arn=task.get("DestinationArn"),
                started_ms=task.get("StartedTimestamp", 0),
                failure=task.get("FailureReason", ""),
            )
            for task in answer.get("Results", [])
        ]
        return sorted(found, key=lambda task: task.started_ms, reverse=True)

    def cancel(self, handle: str) -> None:
        """Cancel a running task; what it has moved stays moved, and a few more may follow."""
        with calling(self._name):
            self._sqs.cancel_message_move_task(TaskHandle=handle)
