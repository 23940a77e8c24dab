"""SQS's own move task, against botocore's own model of it."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.stub import Stubber

from fifo_cli.aws.move_tasks import MoveTasks, UnknownCallError
from fifo_cli.aws.session import Aws, Target
from fifo_cli.errors import AwsError
from fifo_cli.events import Event, Noted, Progressed
from fifo_cli.operations.moving.native import POLL_SECONDS, NativeOutcome, redrive_natively
from tests.fakes import Clock

DLQ = "arn:aws:sqs:us-east-1:123456789012:orders-dlq.fifo"
MAIN = "arn:aws:sqs:us-east-1:123456789012:orders.fifo"


class Service:
    """A stubbed client, a clock, and what was heard."""

    def __init__(self) -> None:
        aws = Aws(Target(local=True))
        self.stub = Stubber(aws.client("sqs"))
        self.stub.activate()
        self.tasks = MoveTasks(aws, name="orders-dlq.fifo", source_arn=DLQ)
        self.clock = Clock()
        self.heard: list[Event] = []

    def started(self) -> None:
        expected = {"SourceArn": DLQ, "DestinationArn": MAIN}
        self.stub.add_response("start_message_move_task", {"TaskHandle": "h"}, expected)

    def listed(self, status: str | None = None, **fields: Any) -> None:
        """Answer with the latest task, or with none."""
        task = {"Status": status, "SourceArn": DLQ, "StartedTimestamp": 1767323045678, **fields}
        if status == "RUNNING":
            task.setdefault("TaskHandle", "h")
            task.setdefault("DestinationArn", MAIN)
        answer = {"Results": [task] if status else []}
        self.stub.add_response("list_message_move_tasks", answer, {"SourceArn": DLQ, "MaxResults": 1})

    def cancelled(self) -> None:
        answer = {"ApproximateNumberOfMessagesMoved": 5}
        self.stub.add_response("cancel_message_move_task", answer, {"TaskHandle": "h"})

    def refused(self, call: str, code: str, message: str = "because") -> None:
        self.stub.add_client_error(call, service_error_code=code, service_message=message)

    def redrive(self, *, stopped: bool = False) -> NativeOutcome:
        outcome = redrive_natively(
            self.tasks,
            MAIN,
            listener=self.heard.append,
            stopped=lambda: stopped,
            sleep=self.clock.sleep,
            clock=self.clock,
        )
        self.stub.assert_no_pending_responses()
        return outcome


@pytest.fixture
def service() -> Service:
    return Service()


def test_a_task_is_started_followed_with_progress_and_counted(service: Service) -> None:
    began = service.clock()
    service.listed()
    service.started()
    counts = {"ApproximateNumberOfMessagesToMove": 60_000}
    service.listed("RUNNING", ApproximateNumberOfMessagesMoved=0, **counts)
    service.listed("RUNNING", ApproximateNumberOfMessagesMoved=1000, **counts)
    service.listed("COMPLETED", ApproximateNumberOfMessagesMoved=60_000, **counts)
    assert service.redrive() == NativeOutcome(60_000, "COMPLETED")
    assert [event.text for event in service.heard if isinstance(event, Progressed)] == [
        "0 of 60,000 moved by SQS, 0/s",
        "1,000 of 60,000 moved by SQS, 455/s, 2 min 10 s left",
    ]
    assert service.clock() - began == pytest.approx(2 * POLL_SECONDS, abs=0.5)


def test_told_to_stop_it_cancels_the_task_and_waits_until_it_has_ended(service: Service) -> None:
    service.listed()
    service.started()
    service.listed("RUNNING", ApproximateNumberOfMessagesMoved=5)
    service.cancelled()
    service.listed("CANCELLING", ApproximateNumberOfMessagesMoved=7)
    service.listed("CANCELLED", ApproximateNumberOfMessagesMoved=8)
    assert service.redrive(stopped=True) == NativeOutcome(8, "CANCELLED")
    assert Noted("cancelling the move task; what it has moved stays moved") in service.heard


def test_a_task_that_ends_while_it_is_cancelled_is_no_error(service: Service) -> None:
    service.listed()
    service.started()
    service.listed("RUNNING", ApproximateNumberOfMessagesMoved=5)
    service.refused("cancel_message_move_task", "ResourceNotFoundException")
    service.listed("COMPLETED", ApproximateNumberOfMessagesMoved=9)
    service.listed("COMPLETED", ApproximateNumberOfMessagesMoved=9)
    assert service.redrive(stopped=True) == NativeOutcome(9, "COMPLETED")


def test_a_failure_is_told_with_sqs_s_reason_and_the_way_on(service: Service) -> None:
    service.listed()
    service.started()
    service.listed(
        "FAILED", ApproximateNumberOfMessagesMoved=3, FailureReason="AWS.SimpleQueueService.NonExistentQueue"
    )
    outcome = service.redrive()
    assert (outcome.moved, outcome.status) == (3, "FAILED")
    assert outcome.complaint is not None
    assert outcome.complaint.message == (
        "SQS's move task failed after 3 messages: AWS.SimpleQueueService.NonExistentQueue"
    )
    assert "--engine client" in outcome.complaint.hint


def test_a_task_that_runs_already_is_followed_and_no_second_one_is_started(service: Service) -> None:
    service.listed("RUNNING", ApproximateNumberOfMessagesMoved=1)
    service.listed("COMPLETED", ApproximateNumberOfMessagesMoved=2)
    assert service.redrive() == NativeOutcome(2, "COMPLETED")
    assert service.heard == [
        Noted("a move task started at 2026-01-02T03:04:05.678Z is running; following it")
    ]


def test_a_task_to_another_queue_is_not_followed(service: Service) -> None:
    service.listed("RUNNING", DestinationArn="arn:aws:sqs:us-east-1:123456789012:other.fifo")
    with pytest.raises(AwsError, match=r"other\.fifo.* is running already"):
        service.redrive()


def test_a_task_that_can_no_longer_be_seen_goes_on_and_that_is_said(service: Service) -> None:
    service.listed()
    service.started()
    service.refused("list_message_move_tasks", "AccessDenied", "no")
    outcome = service.redrive()
    assert outcome.complaint is not None
    assert "permission denied" in outcome.complaint.message
    assert "the task goes on in SQS" in outcome.complaint.hint


@pytest.mark.parametrize(
    "code", ["InvalidAction", "AWS.SimpleQueueService.UnsupportedOperation", "UnsupportedOperation"]
)
@pytest.mark.parametrize("call", ["list_message_move_tasks", "start_message_move_task"])
def test_a_service_without_move_tasks_is_told_apart_before_anything_is_moved(
    service: Service, call: str, code: str
) -> None:
    if call == "start_message_move_task":
        service.listed()
    service.refused(call, code)
    with pytest.raises(UnknownCallError):
        service.redrive()
    assert service.heard == []
