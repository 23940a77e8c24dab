"""A change that AWS refuses because of another one at the same moment is made again; no other refusal is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from fifo_cli.aws import retries
from fifo_cli.aws.resources.schedule import RuleAdmin
from fifo_cli.aws.retries import CHANGE_TRIES_MAX
from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.errors import AwsError
from fifo_cli.local.receiver import Receiver, Reply
from tests.unit.aws.test_schedule import rule

Call = Callable[[Aws], Any]
PUT_RULE: Call = lambda aws: aws.client("events").put_rule(Name="r", ScheduleExpression="rate(5 minutes)")  # noqa: E731
PUT_PARAMETER: Call = lambda aws: aws.client("ssm").put_parameter(Name="/k", Value="v", Type="String")  # noqa: E731
CREATE_LOG_GROUP: Call = lambda aws: aws.client("logs").create_log_group(logGroupName="g")  # noqa: E731
ADD_PERMISSION: Call = lambda aws: aws.client("lambda").add_permission(  # noqa: E731
    FunctionName="f", StatementId="s", Action="lambda:InvokeFunction", Principal="events.amazonaws.com"
)
CONCURRENT = "The function could not be updated due to a concurrent update operation."
# The call, the error code, its message, and how often it is refused.
CASES: list[tuple[Call, str, str, int]] = [
    (PUT_RULE, "ConcurrentModificationException", "Rule r is being modified", 1),
    (PUT_RULE, "ConcurrentModificationException", "", CHANGE_TRIES_MAX - 1),
    (PUT_PARAMETER, "TooManyUpdates", "There are concurrent updates", 2),
    (CREATE_LOG_GROUP, "OperationAbortedException", "A conflicting operation is in progress", 3),
    (ADD_PERMISSION, "ResourceConflictException", CONCURRENT, 2),
]
FINAL: list[tuple[Call, str, str]] = [
    (PUT_RULE, "ValidationException", "Parameter ScheduleExpression is not valid."),
    (PUT_RULE, "ManagedRuleException", "managed"),
    (PUT_PARAMETER, "ParameterAlreadyExists", "exists"),
    (CREATE_LOG_GROUP, "ResourceAlreadyExistsException", "exists"),
    (ADD_PERMISSION, "ResourceConflictException", "The statement id (s) provided already exists."),
]


class Service:
    """Refuses the first calls, then does what is asked."""

    def __init__(self, code: str, message: str, refusals: int) -> None:
        self.code, self.message, self.left, self.calls = code, message, refusals, 0

    def __call__(self, _: Any) -> Reply:
        self.calls += 1
        self.left -= 1
        if self.left < 0:
            return Reply(200, b'{"RuleArn": "arn:aws:events:us-east-1:1:rule/r", "Version": 1}')
        body = {"__type": self.code, "message": self.message, "Message": self.message}
        return Reply(400, json.dumps(body).encode(), {"x-amzn-errortype": self.code})


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "CHANGE_FIRST_PAUSE", 0.001)


@pytest.mark.parametrize(("call", "code", "message", "refusals"), CASES)
def test_a_change_that_came_at_the_same_moment_as_another_is_made_again(
    call: Call, code: str, message: str, refusals: int
) -> None:
    service = Service(code, message, refusals)
    with Receiver(answer=service) as receiver:
        call(Aws(AwsEndpoint(local=True, endpoint_url=receiver.url)))
    assert service.calls == refusals + 1


@pytest.mark.parametrize(("call", "code", "message"), FINAL)
def test_what_is_refused_for_another_reason_is_not_tried_again(call: Call, code: str, message: str) -> None:
    service = Service(code, message, 1)
    with Receiver(answer=service) as receiver, pytest.raises(Exception, match="error occurred"):
        call(Aws(AwsEndpoint(local=True, endpoint_url=receiver.url)))
    assert service.calls == 1


def test_it_is_tried_a_bounded_number_of_times() -> None:
    service = Service("ConcurrentModificationException", "busy", 1_000)
    with Receiver(answer=service) as receiver, pytest.raises(Exception, match="ConcurrentModification"):
        PUT_RULE(Aws(AwsEndpoint(local=True, endpoint_url=receiver.url)))
    assert service.calls == CHANGE_TRIES_MAX


def test_a_permission_that_was_refused_for_another_change_is_not_taken_for_one_that_is_there() -> None:
    class Busy:
        def add_permission(self, **_: Any) -> None:
            error = {"Code": "ResourceConflictException", "Message": CONCURRENT}
            raise ClientError({"Error": error}, "AddPermission")  # type: ignore[typeddict-item]

    busy: Any = Busy()
    with mock_aws():
        events = boto3.client("events", region_name="eu-west-1")
        with pytest.raises(AwsError, match="concurrent update"):
            RuleAdmin(events, busy, "orders-worker").create(rule())
