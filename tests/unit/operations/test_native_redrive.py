"""SQS's own move task, against botocore's own model of it."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.stub import Stubber

from fifo_cli.aws.move_tasks import MoveTasks, UnknownCallError
from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.errors import AwsError
from fifo_cli.events import Event, Noted, Progressed
from fifo_cli.operations.queues.native_redrive import (
    LISTED_WITHIN_SECONDS,
    POLL_SECONDS,
    NativeOutcome,
    redrive_natively,
)
from tests.fakes import Clock

DLQ = "arn:aws:sqs:us-east-1:123456789012:orders-dlq.fifo"
MAIN = "arn:aws:sqs:us-east-1:123456789012:orders.fifo"


STARTED_MS = 1767323045678


def task(status: str, moved: int = 0, *, at: int = STARTED_MS, handle: str = "h", **fields: Any) -> Any:
    """Return a task as SQS lists it: with its handle only while it runs."""
    shown = {"SourceArn": DLQ, "DestinationArn": MAIN, "Status": status, "StartedTimestamp": at, **fields}
    if status == "RUNNING":
        shown["TaskHandle"] = handle
    return {**shown, "ApproximateNumberOfMessagesMoved": moved}


OLD = task("COMPLETED", 7, at=STARTED_MS - 3_600_000)


class Service:
    """A stubbed client, a clock, and what was heard."""

    def __init__(self) -> None:
        aws = Aws(AwsEndpoint(local=True))
        self.stub, self.once = Stubber(aws.client("sqs")), Stubber(aws.client("sqs", attempts=1))
        self.stub.activate()
        self.once.activate()
        self.tasks = MoveTasks(aws, name="orders-dlq.fifo", source_arn=DLQ)
        self.clock = Clock()
        self.heard: list[Event] = []

    def started(self) -> None:
        expected = {"SourceArn": DLQ, "DestinationArn": MAIN}
        self.once.add_response("start_message_move_task", {"TaskHandle": "h"}, expected)

    def listed(self, *tasks: Any, times: int = 1) -> None:
        """Answer with these tasks, and with none where there are none."""
        for _ in range(times):
            expected = {"SourceArn": DLQ, "MaxResults": 10}
            self.stub.add_response("list_message_move_tasks", {"Results": list(tasks)}, expected)

    def cancelled(self, handle: str = "h") -> None:
        answer = {"ApproximateNumberOfMessagesMoved": 5}
        self.stub.add_response("cancel_message_move_task", answer, {"TaskHandle": handle})

    def refused(self, call: str, code: str, message: str = "because", status: int = 400) -> None:
        stub = self.once if call == "start_message_move_task" else self.stub
        stub.add_client_error(call, code, message, http_status_code=status)

    def redrive(self, *, stopped: bool = False, all_asked: bool = True) -> NativeOutcome:
        outcome = redrive_natively(
            self.tasks,
            MAIN,
            listener=self.heard.append,
            stopped=lambda: stopped,
            sleep=self.clock.sleep,
            clock=self.clock,
        )
        if all_asked:
            self.stub.assert_no_pending_responses()
        self.once.assert_no_pending_responses()
        return outcome


@pytest.fixture
def service() -> Service:
    return Service()


def test_a_task_is_started_followed_with_progress_and_counted(service: Service) -> None:
    began = service.clock()
    service.listed()
    service.started()
    total: dict[str, Any] = {"ApproximateNumberOfMessagesToMove": 60_000}
    service.listed(task("RUNNING", **total))
    service.listed(task("RUNNING", 1000, **total))
    service.listed(task("COMPLETED", 60_000, **total))
    assert service.redrive() == NativeOutcome(60_000, "COMPLETED")
    assert [event.text for event in service.heard if isinstance(event, Progressed)] == [
        "0 of 60,000 moved by SQS, 0/s",
        "1,000 of 60,000 moved by SQS, 455/s, 2 min 10 s left",
    ]
    assert service.clock() - began == pytest.approx(2 * POLL_SECONDS, abs=0.5)


def test_asked_to_stop_it_cancels_the_task_and_waits_until_it_has_ended(service: Service) -> None:
    service.listed()
    service.started()
    service.listed(task("RUNNING", 5))
    service.cancelled()
    service.listed(task("CANCELLING", 7))
    service.listed(task("CANCELLED", 8))
    assert service.redrive(stopped=True) == NativeOutcome(8, "CANCELLED")
    assert Noted("cancelling the move task; what it has moved stays moved") in service.heard


def test_a_task_that_ends_while_it_is_cancelled_is_no_error(service: Service) -> None:
    service.listed()
    service.started()
    service.listed(task("RUNNING", 5))
    service.refused("cancel_message_move_task", "ResourceNotFoundException")
    service.listed(task("COMPLETED", 9), times=2)
    assert service.redrive(stopped=True) == NativeOutcome(9, "COMPLETED")


def test_a_failure_is_reported_with_sqs_s_reason_and_the_way_on(service: Service) -> None:
    service.listed()
    service.started()
    service.listed(task("FAILED", 3, FailureReason="AWS.SimpleQueueService.NonExistentQueue"))
    outcome = service.redrive()
    assert (outcome.moved, outcome.status) == (3, "FAILED")
    assert outcome.error is not None
    assert outcome.error.message == (
        "SQS's move task failed after 3 messages: AWS.SimpleQueueService.NonExistentQueue"
    )
    assert "--engine client" in outcome.error.hint


def test_a_task_that_runs_already_is_followed_and_no_second_one_is_started(service: Service) -> None:
    service.listed(task("RUNNING", 1), OLD)
    service.listed(task("COMPLETED", 2), OLD)
    assert service.redrive() == NativeOutcome(2, "COMPLETED")
    assert service.heard == [
        Noted("a move task started at 2026-01-02T03:04:05.678Z is running; following it")
    ]


def test_a_task_to_another_queue_is_not_followed(service: Service) -> None:
    service.listed(task("RUNNING", DestinationArn="arn:aws:sqs:us-east-1:123456789012:other.fifo"))
    with pytest.raises(AwsError, match=r"other\.fifo.* is running already"):
        service.redrive()


def test_a_task_that_can_no_longer_be_seen_goes_on_and_that_is_said(service: Service) -> None:
    service.listed()
    service.started()
    service.listed(task("RUNNING", 4))
    service.refused("list_message_move_tasks", "AccessDenied", "no")
    outcome = service.redrive()
    assert (outcome.moved, outcome.status) == (4, "UNKNOWN")
    assert outcome.error is not None
    assert "permission denied" in outcome.error.message
    assert "the task goes on in SQS" in outcome.error.hint


# --- Which of the tasks is ours.

LATER = STARTED_MS + 20_000
FAILED_BEFORE = task("FAILED", 2, at=STARTED_MS - 60_000, FailureReason="gone")


@pytest.mark.parametrize(
    ("before", "afterwards"),
    [
        pytest.param([OLD], [[OLD], [OLD], [task("COMPLETED", 60), OLD]], id="listed late, ended by then"),
        pytest.param([OLD], [[OLD], [task("RUNNING", 1), OLD], [task("COMPLETED", 60), OLD]], id="late"),
        pytest.param([OLD], [[OLD, task("COMPLETED", 60)]], id="listed in the order of their starts"),
        pytest.param([FAILED_BEFORE], [[FAILED_BEFORE], [task("COMPLETED", 60)]], id="one failed before"),
        pytest.param([], [[], [], [task("COMPLETED", 60)]], id="the first one ever"),
        pytest.param(
            [OLD],
            [[task("RUNNING", 1), OLD], [task("RUNNING", at=LATER, handle="x"), task("COMPLETED", 60), OLD]],
            id="another operator's began after it",
        ),
        pytest.param(
            [OLD],
            [[task("RUNNING", at=LATER, handle="x"), OLD, task("COMPLETED", 60)]],
            id="another operator's began after it, before the first look",
        ),
        pytest.param(
            [OLD],
            [[task("RUNNING", 1), OLD], [task("COMPLETED", 3, at=LATER), task("COMPLETED", 60), OLD]],
            id="another operator's ended after it",
        ),
        pytest.param(
            [task("COMPLETED", number, at=STARTED_MS - number * 1000) for number in range(1, 11)],
            [
                [task("COMPLETED", number, at=STARTED_MS - number * 1000) for number in range(1, 11)],
                [task("COMPLETED", 60)]
                + [task("COMPLETED", number, at=STARTED_MS - number * 1000) for number in range(1, 10)],
            ],
            id="ten before, as many as SQS lists",
        ),
        pytest.param(
            [OLD],
            [[OLD], [task("COMPLETED", 9, at=STARTED_MS - 5), task("RUNNING", 1)], [task("COMPLETED", 60)]],
            id="another operator's, seen late, was before it",
        ),
    ],
)
def test_the_task_that_was_started_is_the_one_that_counts(
    service: Service, before: list[Any], afterwards: list[list[Any]]
) -> None:
    service.listed(*before)
    service.started()
    for listed in afterwards:
        service.listed(*listed)
    assert service.redrive() == NativeOutcome(60, "COMPLETED")


@pytest.mark.parametrize(
    "listed",
    [
        pytest.param([OLD], id="never listed"),
        pytest.param([task("RUNNING", 9, handle="x"), OLD], id="another runs"),
        pytest.param([task("COMPLETED", 1), task("COMPLETED", 2, at=LATER), OLD], id="two have ended"),
    ],
)
def test_where_no_list_shows_which_task_was_started_that_is_said_within_a_bound(
    service: Service, listed: list[Any]
) -> None:
    began = service.clock()
    service.listed(OLD)
    service.started()
    service.listed(*listed, times=20)
    outcome = service.redrive(all_asked=False)
    assert (outcome.moved, outcome.status) == (0, "UNKNOWN")
    assert outcome.error is not None
    assert "does not show which one it is" in outcome.error.message
    assert service.clock() - began < LISTED_WITHIN_SECONDS + 2 * POLL_SECONDS


def test_stopped_before_the_task_is_listed_it_is_cancelled_by_its_handle(service: Service) -> None:
    service.listed(OLD)
    service.started()
    service.listed(OLD)
    service.cancelled()
    service.listed(task("CANCELLED", 3), OLD)
    assert service.redrive(stopped=True) == NativeOutcome(3, "CANCELLED")


def test_a_cancelled_task_that_does_not_end_is_not_waited_for_without_end(service: Service) -> None:
    service.listed()
    service.started()
    service.listed(task("RUNNING", 5))
    service.cancelled()
    service.listed(task("CANCELLING", 6), times=40)
    outcome = service.redrive(stopped=True, all_asked=False)
    assert (outcome.moved, outcome.status) == (6, "CANCELLING")
    assert outcome.error is not None
    assert "has not ended after 60 s" in outcome.error.message


# --- The start's answer is lost, or it is refused.


def test_a_start_without_an_answer_is_looked_up_and_followed(service: Service) -> None:
    service.listed(OLD)
    service.refused("start_message_move_task", "InternalError", status=500)
    service.listed(task("RUNNING", 1), OLD)
    service.listed(task("COMPLETED", 60), OLD)
    assert service.redrive() == NativeOutcome(60, "COMPLETED")
    assert [event.text for event in service.heard if isinstance(event, Noted)] == [
        "a move task started at 2026-01-02T03:04:05.678Z is running; following it"
    ]


def test_a_start_without_an_answer_whose_task_has_ended_is_not_started_again(service: Service) -> None:
    service.listed(OLD)
    service.refused("start_message_move_task", "InternalError", status=500)
    service.listed(task("COMPLETED", 60), OLD, times=2)
    assert service.redrive() == NativeOutcome(60, "COMPLETED")


def test_a_start_that_reached_nobody_is_tried_again(service: Service) -> None:
    service.listed(OLD)
    for _ in range(2):
        service.refused("start_message_move_task", "RequestThrottled", status=400)
        service.listed(OLD)
    service.started()
    service.listed(task("COMPLETED", 60), OLD)
    assert service.redrive() == NativeOutcome(60, "COMPLETED")


def test_a_start_that_another_operator_s_came_before_follows_that_one(service: Service) -> None:
    service.listed(OLD)
    service.refused("start_message_move_task", "InvalidParameterValue", "There is already a task running.")
    service.listed(task("RUNNING", 1, handle="x"), OLD)
    service.listed(task("COMPLETED", 60), OLD)
    assert service.redrive() == NativeOutcome(60, "COMPLETED")


@pytest.mark.parametrize("status", ["COMPLETED", "FAILED", "CANCELLED"])
def test_a_start_that_is_refused_takes_no_task_that_ended_for_its_own(service: Service, status: str) -> None:
    service.listed()
    service.refused("start_message_move_task", "AccessDenied", "no")
    service.listed(task(status, 60))
    with pytest.raises(AwsError, match="permission denied"):
        service.redrive()


def test_where_neither_start_nor_list_gets_an_answer_it_says_that_nothing_is_known(service: Service) -> None:
    service.listed()
    for call in ("start_message_move_task", "list_message_move_tasks"):
        service.refused(call, "InternalError", status=500)
    with pytest.raises(AwsError, match="whether SQS has started a move task is not known") as refused:
        service.redrive()
    assert "follows a task that is still running" in refused.value.hint


@pytest.mark.parametrize(
    "code", ["InvalidAction", "AWS.SimpleQueueService.UnsupportedOperation", "UnsupportedOperation"]
)
@pytest.mark.parametrize("call", ["list_message_move_tasks", "start_message_move_task"])
def test_a_service_without_move_tasks_is_reported_apart_before_anything_is_moved(
    service: Service, call: str, code: str
) -> None:
    if call == "start_message_move_task":
        service.listed()
    service.refused(call, code)
    with pytest.raises(UnknownCallError):
        service.redrive()
    assert service.heard == []
