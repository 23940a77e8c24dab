"""What starts the worker as resources: rules and schedules."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from fifo_cli.aws.resources.gateway import Waiter
from fifo_cli.aws.resources.schedule import RuleAdmin, ScheduleAdmin
from fifo_cli.errors import AwsError
from fifo_cli.events import Event, Waiting
from fifo_cli.model.names import PIPELINE_TAG
from fifo_cli.model.planning import differences
from fifo_cli.model.resources import Found, Resource
from tests.unit.aws.resource_life import TAGS, client, live, stubbed

pytestmark = pytest.mark.usefixtures("moto")


def schedule(expression: str) -> Resource:
    properties = {
        "expression": expression,
        "timezone": "Europe/Berlin",
        "target": {"arn": "arn:aws:lambda:eu-west-1:1:function:orders-worker:live", "retries": 0, "age": 60},
        "role": "arn:aws:iam::1:role/orders-worker",
        "flexible_window": "OFF",
    }
    return Resource("schedule", "orders-1", properties, {PIPELINE_TAG: "orders"})


def test_a_schedule_is_made_changed_and_deleted() -> None:
    live(ScheduleAdmin(client("scheduler")), schedule("rate(5 minutes)"), schedule("rate(6 minutes)"))


def test_a_disabled_schedule_stays_disabled_when_it_is_changed() -> None:
    scheduler = client("scheduler")
    gate = ScheduleAdmin(scheduler)
    gate.create(schedule("rate(5 minutes)"))
    now = scheduler.get_schedule(Name="orders-1")
    kept = ("Name", "ScheduleExpression", "FlexibleTimeWindow", "Target", "Description")
    scheduler.update_schedule(**{name: now[name] for name in kept}, State="DISABLED")
    found = gate.read("orders-1")
    assert found is not None
    gate.update(schedule("rate(6 minutes)"), found, frozenset({"expression"}))
    after = scheduler.get_schedule(Name="orders-1")
    assert (after["State"], after["ScheduleExpression"]) == ("DISABLED", "rate(6 minutes)")


def test_only_numbered_names_are_taken_for_the_pipelines_schedules() -> None:
    scheduler = client("scheduler")
    for name in ("orders-1", "orders-12", "orders-x", "orders-1-1"):
        scheduler.create_schedule(
            Name=name,
            ScheduleExpression="rate(1 day)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": "arn:aws:lambda:eu-west-1:1:function:f", "RoleArn": "arn:aws:iam::1:role/r"},
        )
    gate = ScheduleAdmin(scheduler)
    assert gate.names("orders") == ("orders-1", "orders-12")
    found = gate.read("orders-1")
    assert found is not None
    assert found.tags == {}


WORKER = "orders-worker"
RULE = "arn:aws:events:eu-west-1:123456789012:rule/orders-1"
LIVE = "arn:aws:lambda:eu-west-1:123456789012:function:orders-worker:live"


def rule(expression: str = "rate(5 minutes)") -> Resource:
    targets = [{"arn": LIVE, "retries": 0, "age": 60}]
    return Resource(
        "rule", "orders-1", {"expression": expression, "targets": targets, "permission": True}, TAGS
    )


class Permissions:
    """The policy of an alias, as far as Lambda lets a rule change it; moto's forgets the qualifier."""

    def __init__(self) -> None:
        self.statements: list[dict[str, Any]] = []

    def add_permission(self, **asked: Any) -> None:
        assert "SourceAccount" not in asked  # EventBridge's calls do not carry one
        if any(one["Sid"] == asked["StatementId"] for one in self.statements):
            raise ClientError({"Error": {"Code": "ResourceConflictException"}}, "AddPermission")
        self.statements.append(
            {
                "Sid": asked["StatementId"],
                "Principal": {"Service": asked["Principal"]},
                "Resource": f"{asked['FunctionName']}:{asked['Qualifier']}",
                "Condition": {"ArnLike": {"AWS:SourceArn": asked["SourceArn"]}},
            }
        )

    def remove_permission(self, *, StatementId: str, **_: Any) -> None:
        kept = [one for one in self.statements if one["Sid"] != StatementId]
        if len(kept) == len(self.statements):
            raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "RemovePermission")
        self.statements = kept

    def get_policy(self, **_: Any) -> dict[str, str]:
        if not self.statements:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "GetPolicy")
        return {"Policy": json.dumps({"Statement": self.statements})}


def test_a_rule_is_made_with_its_permission_changed_and_deleted_with_it() -> None:
    events, permissions = client("events"), Permissions()
    lambda_: Any = permissions
    gate = RuleAdmin(events, lambda_, WORKER)
    gate.create(rule())
    assert [one["Resource"] for one in permissions.statements] == ["orders-worker:live"]
    found = gate.read("orders-1")
    assert found is not None
    assert differences(rule(), found) == ()
    gate.create(rule())  # PutRule, PutTargets and AddPermission take the same again
    gate.update(rule("rate(6 minutes)"), found, frozenset({"expression"}))
    assert events.describe_rule(Name="orders-1")["ScheduleExpression"] == "rate(6 minutes)"
    gate.delete(found)
    assert gate.read("orders-1") is None
    assert permissions.statements == []
    gate.delete(found)


def test_a_disabled_rule_stays_disabled_when_it_is_changed_and_a_resting_one_starts_so() -> None:
    events = client("events")
    lambda_: Any = Permissions()
    gate = RuleAdmin(events, lambda_, WORKER)
    gate.create(rule())
    events.disable_rule(Name="orders-1")
    found = gate.read("orders-1")
    assert found is not None
    assert found.facts["enabled"] is False
    gate.update(rule("rate(6 minutes)"), found, frozenset({"expression"}))
    assert events.describe_rule(Name="orders-1")["State"] == "DISABLED"
    gate.delete(found)
    gate.create(replace(rule(), enabled=False))
    assert events.describe_rule(Name="orders-1")["State"] == "DISABLED"


def test_a_deployer_switches_a_rule_by_writing_it_and_all_else_of_it_stays() -> None:
    events = client("events")
    lambda_: Any = Permissions()
    gate = RuleAdmin(events, lambda_, WORKER)
    gate.create(rule())
    for enabled in (False, True):
        found = gate.read("orders-1")
        assert found is not None
        gate.rewrite(found, enabled=enabled)
        after = gate.read("orders-1")
        assert after is not None
        assert after.facts["enabled"] is enabled
        assert differences(rule(), after) == ()


def test_a_foreign_target_and_a_changed_permission_are_seen_and_put_right() -> None:
    events, permissions = client("events"), Permissions()
    lambda_: Any = permissions
    gate = RuleAdmin(events, lambda_, WORKER)
    gate.create(rule())
    events.put_targets(
        Rule="orders-1", Targets=[{"Id": "other", "Arn": "arn:aws:sqs:eu-west-1:123456789012:q"}]
    )
    permissions.statements[0]["Condition"]["ArnLike"]["AWS:SourceArn"] = "arn:other"
    found = gate.read("orders-1")
    assert found is not None
    changed = frozenset(one.path for one in differences(rule(), found))
    assert changed == {"targets", "permission"}
    gate.update(rule(), found, changed)
    again = gate.read("orders-1")
    assert again is not None
    assert differences(rule(), again) == ()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"FailedEntryCount": 1, "FailedEntries": [{"ErrorMessage": "limit reached"}]}, "limit reached"),
        ({"FailedEntryCount": 1, "FailedEntries": [{"ErrorCode": "Conflict"}]}, "Conflict"),
        ({"FailedEntryCount": 1, "FailedEntries": [{}]}, "no reason given"),
        ({"FailedEntryCount": 1}, "no reason given"),
    ],
)
def test_a_target_that_eventbridge_refuses_is_an_error_though_the_call_succeeds(
    answer: dict[str, Any], reason: str
) -> None:
    events, stub = stubbed("events")
    stub.add_response("put_rule", {"RuleArn": RULE})
    stub.add_response("put_targets", answer)
    lambda_: Any = Permissions()
    with pytest.raises(AwsError, match=f"rule orders-1: EventBridge refused its target: {reason}"):
        RuleAdmin(events, lambda_, WORKER).create(rule())


def test_a_role_that_scheduler_cannot_assume_yet_is_waited_for() -> None:
    scheduler, stub = stubbed("scheduler")
    said = "The execution role you provide must allow AWS EventBridge Scheduler to assume the role."
    stub.add_client_error("create_schedule", service_error_code="ValidationException", service_message=said)
    stub.add_response(
        "create_schedule", {"ScheduleArn": f"arn:aws:scheduler:eu-west-1:1:schedule/default/{WORKER}"}
    )
    events: list[Event] = []
    ScheduleAdmin(scheduler, Waiter(events.append, lambda _: None)).create(schedule("rate(1 day)"))
    assert events == [Waiting("orders-1", "waiting for its role to be known to Scheduler")]
    stub.assert_no_pending_responses()


def test_a_target_that_is_gone_already_does_not_keep_its_rule() -> None:
    events, stub = stubbed("events")
    gone = {"TargetId": "worker", "ErrorCode": "ResourceNotFoundException"}
    stub.add_response("remove_targets", {"FailedEntryCount": 1, "FailedEntries": [gone]})
    stub.add_response("delete_rule", {}, {"Name": "orders-1"})
    functions, answers = stubbed("lambda")
    answers.add_client_error("remove_permission", "ResourceNotFoundException", "No policy is associated")
    found = Found("rule", "orders-1", {}, facts={"target_ids": ["worker"]})
    RuleAdmin(events, functions, "orders-worker").delete(found)
    stub.assert_no_pending_responses()
    answers.assert_no_pending_responses()
