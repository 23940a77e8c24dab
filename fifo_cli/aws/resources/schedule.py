"""What starts the worker as resources: EventBridge rules, or EventBridge Scheduler's schedules."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from botocore.exceptions import ClientError

from fifo_cli.aws.errors import MISSING, calling, error_codes, message_of, unless_missing
from fifo_cli.aws.resources.gateway import TriggerGateway, Waiter, tag_list, tag_map
from fifo_cli.aws.retries import is_concurrent
from fifo_cli.errors import AwsError
from fifo_cli.model.names import LIVE_ALIAS, PIPELINE_TAG
from fifo_cli.model.resources import Found, Properties, Resource, stamped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_scheduler import EventBridgeSchedulerClient

TARGET_ID: Final = "worker"
# Scheduler's one group that is always there.
GROUP: Final = "default"
ROLE_LIMIT: Final = 300.0
# What UpdateSchedule resets unless it is sent.
_KEPT: Final = (
    "Name", "GroupName", "ScheduleExpression", "ScheduleExpressionTimezone", "FlexibleTimeWindow", "Target",
    "Description", "StartDate", "EndDate", "KmsKeyArn", "ActionAfterCompletion",
)  # fmt: skip
_OWNER: Final = re.compile(rf"{PIPELINE_TAG}=(\S+)")


@dataclass(frozen=True, slots=True)
class RuleAdmin(TriggerGateway):
    """Rules by name, with their target and the permission that ``worker``'s alias gives them."""

    events: EventBridgeClient
    client: LambdaClient
    worker: str
    title: ClassVar[str] = "rule"

    def names(self, pipeline: str) -> tuple[str, ...]:
        """Return the rules that are named like this pipeline's, whoever's they are."""
        pages = self.events.get_paginator("list_rules").paginate(NamePrefix=f"{pipeline}-")
        with calling(f"rules of {pipeline}"):
            return _numbered(pipeline, (one["Name"] for page in pages for one in page["Rules"]))

    def _read(self, name: str) -> Found:
        """Return a rule; its ARN and whether it is enabled are facts."""
        rule = self.events.describe_rule(Name=name)
        targets = self.events.list_targets_by_rule(Rule=name)["Targets"]
        tags = tag_map(self.events.list_tags_for_resource(ResourceARN=rule["Arn"]).get("Tags"))
        statement = self._statement(name)
        properties = {
            "expression": rule.get("ScheduleExpression"),
            # With one, a rule fires on events besides.
            "pattern": rule.get("EventPattern") or None,
            "targets": [_target(cast("dict[str, Any]", one)) for one in targets],
            "permission": statement is not None and _permits(statement, rule["Arn"]),
        }
        facts = {
            "arn": rule["Arn"],
            "enabled": rule.get("State") != "DISABLED",
            "target_ids": [one["Id"] for one in targets],
            "has_statement": statement is not None,
        }
        return Found("rule", name, properties, tags, facts)

    def _create(self, wanted: Resource) -> None:
        """Create a rule, let it invoke the worker, and point it there."""
        tags = tag_list(stamped(wanted.tags))
        arn = self._put(wanted.name, wanted.properties, enabled=wanted.enabled, Tags=tags)
        self._permit(wanted.name, arn)
        self._put_target(wanted)

    def _update(self, wanted: Resource, found: Found, changed: frozenset[str]) -> None:
        """Set what differs; a disabled rule stays so, since State is always sent."""
        name, arn, tags = wanted.name, found.facts["arn"], tag_list(stamped(wanted.tags))
        if changed & {"expression", "pattern"}:
            self._put(name, wanted.properties, enabled=found.facts["enabled"], Tags=tags)
        if "permission" in changed:
            if found.facts["has_statement"]:
                self._forbid(name)
            self._permit(name, arn)
        if "targets" in changed:
            self._put_target(wanted)
            self._remove_targets(name, [one for one in found.facts["target_ids"] if one != TARGET_ID])
        self.events.tag_resource(ResourceARN=arn, Tags=tags)

    def _switch(self, found: Found, *, enabled: bool) -> None:
        change = self.events.enable_rule if enabled else self.events.disable_rule
        change(Name=found.name)

    def rewrite(self, found: Found, *, enabled: bool) -> None:
        """Enable or disable a rule by PutRule."""
        pattern = found.properties["pattern"]
        with calling(f"{self.title} {found.name}"):
            kept = {"EventPattern": pattern} if pattern else {}
            self._put(found.name, found.properties, enabled=enabled, **kept)

    def _delete(self, found: Found) -> None:
        """Delete a rule: its targets first, as EventBridge demands.

        Its permission goes before all: once the rule is gone, nobody would look for it any more.
        """
        self._forbid(found.name)
        self._remove_targets(found.name, found.facts["target_ids"])
        self.events.delete_rule(Name=found.name)

    def _put(self, name: str, properties: Properties, *, enabled: bool, **more: Any) -> str:
        """Write a rule; PutRule forgets what is left out, and ignores the tags of an existing rule."""
        return self.events.put_rule(
            Name=name,
            ScheduleExpression=properties["expression"],
            State="ENABLED" if enabled else "DISABLED",
            Description=f"Starts {self.worker}",
            **more,
        )["RuleArn"]

    def _put_target(self, wanted: Resource) -> None:
        target = wanted.properties["targets"][0]
        policy: Any = _retry_policy(target)
        answer = self.events.put_targets(
            Rule=wanted.name, Targets=[{"Id": TARGET_ID, "Arn": target["arn"], "RetryPolicy": policy}]
        )
        # Entries or their number, either says that a target was not taken: nothing would start the worker.
        _refuse_failed(wanted.name, answer.get("FailedEntries") or [{}] * answer.get("FailedEntryCount", 0))

    def _remove_targets(self, name: str, ids: list[str]) -> None:
        if not ids:
            return
        answer = self.events.remove_targets(Rule=name, Ids=ids)
        # One that is gone already may have been removed by this very call, whose first answer was lost.
        entries = [one for one in answer.get("FailedEntries", []) if one.get("ErrorCode") not in MISSING]
        _refuse_failed(name, entries)

    def _permit(self, name: str, arn: str) -> None:
        """Let the rule invoke the alias; no SourceAccount, which EventBridge's calls do not carry."""
        try:
            self.client.add_permission(
                FunctionName=self.worker,
                Qualifier=LIVE_ALIAS,
                StatementId=name,
                Action="lambda:InvokeFunction",
                Principal="events.amazonaws.com",
                SourceArn=arn,
            )
        except ClientError as error:
            # It is there already, unless another change of the function came between.
            if "ResourceConflictException" not in error_codes(error) or is_concurrent(
                error.response["Error"]
            ):
                raise

    def _forbid(self, name: str) -> None:
        remove = self.client.remove_permission
        unless_missing(lambda: remove(FunctionName=self.worker, Qualifier=LIVE_ALIAS, StatementId=name))

    def _statement(self, name: str) -> dict[str, Any] | None:
        get = self.client.get_policy
        answer = unless_missing(lambda: get(FunctionName=self.worker, Qualifier=LIVE_ALIAS))
        statements: list[dict[str, Any]] = json.loads(answer["Policy"])["Statement"] if answer else []
        return next((one for one in statements if one.get("Sid") == name), None)


@dataclass(frozen=True, slots=True)
class ScheduleAdmin(TriggerGateway):
    """Schedules by name, in Scheduler's default group."""

    scheduler: EventBridgeSchedulerClient
    waiter: Waiter = field(default_factory=Waiter)
    title: ClassVar[str] = "schedule"
    exists_codes: ClassVar[frozenset[str]] = frozenset({"ConflictException"})

    def names(self, pipeline: str) -> tuple[str, ...]:
        """Return the schedules that are named like this pipeline's, whoever's they are."""
        pages = self.scheduler.get_paginator("list_schedules").paginate(
            GroupName=GROUP, NamePrefix=f"{pipeline}-"
        )
        with calling(f"schedules of {pipeline}"):
            return _numbered(pipeline, (one["Name"] for page in pages for one in page["Schedules"]))

    def _read(self, name: str) -> Found:
        """Return a schedule; its ARN and whether it is enabled are facts, its owner is in its description."""
        schedule = self.scheduler.get_schedule(Name=name, GroupName=GROUP)
        target = cast("dict[str, Any]", schedule["Target"])
        properties = {
            "expression": schedule["ScheduleExpression"],
            "timezone": schedule.get("ScheduleExpressionTimezone", "UTC"),
            "target": _target(target),
            "role": target.get("RoleArn"),
            "flexible_window": schedule["FlexibleTimeWindow"]["Mode"],
            # Outside of these it does not fire.
            "dates": [schedule[one].isoformat() for one in ("StartDate", "EndDate") if schedule.get(one)],
        }
        owner = _OWNER.search(schedule.get("Description", ""))
        tags = {PIPELINE_TAG: owner[1]} if owner else {}
        kept = {name: schedule[name] for name in _KEPT if name in schedule}
        facts = {"arn": schedule["Arn"], "enabled": schedule.get("State") != "DISABLED", "schedule": kept}
        return Found("schedule", name, properties, tags, facts)

    def _create(self, wanted: Resource) -> None:
        """Create a schedule; a role that Scheduler cannot assume yet is waited for."""
        arguments = _schedule(wanted, enabled=wanted.enabled)
        self._accepted(wanted.name, partial(self.scheduler.create_schedule, **arguments))

    def _update(self, wanted: Resource, found: Found, changed: frozenset[str]) -> None:
        """Write the whole schedule, as Scheduler resets what is left out; a disabled one stays so."""
        arguments = _schedule(wanted, enabled=found.facts["enabled"])
        self._accepted(wanted.name, partial(self.scheduler.update_schedule, **arguments))

    def _switch(self, found: Found, *, enabled: bool) -> None:
        """Enable or disable a schedule; all else is written back as it was read."""
        state = "ENABLED" if enabled else "DISABLED"
        self.scheduler.update_schedule(**{**found.facts["schedule"], "State": state})

    def _delete(self, found: Found) -> None:
        self.scheduler.delete_schedule(Name=found.name, GroupName=GROUP)

    def _accepted(self, name: str, call: Callable[[], object]) -> None:
        def passing(error: ClientError) -> str | None:
            not_assumable = "assume the role" in message_of(error)
            if "ValidationException" in error_codes(error) and not_assumable:
                return "waiting for its role to be known to Scheduler"
            return None

        self.waiter.accepted(call, passing, name=name, limit=ROLE_LIMIT)


def _numbered(pipeline: str, names: Iterable[str]) -> tuple[str, ...]:
    """Pick the names that a pipeline's schedules have, in the order of their numbers."""
    numbered = [name for name in names if re.fullmatch(rf"{re.escape(pipeline)}-\d+", name)]
    return tuple(sorted(numbered, key=lambda name: int(name.rpartition("-")[2])))


def _target(target: dict[str, Any]) -> dict[str, Any]:
    """Return a target of a rule or a schedule; without a policy AWS tries 185 times over a day."""
    policy = target.get("RetryPolicy", {})
    return {
        "arn": target.get("Arn"),
        "retries": policy.get("MaximumRetryAttempts", 185),
        "age": policy.get("MaximumEventAgeInSeconds", 86400),
        **{name: target[name] for name in ("Input", "InputPath", "InputTransformer") if target.get(name)},
    }


def _permits(statement: dict[str, Any], arn: str) -> bool:
    by_events = statement.get("Principal") == {"Service": "events.amazonaws.com"}
    return by_events and statement.get("Condition") == {"ArnLike": {"AWS:SourceArn": arn}}


def _schedule(wanted: Resource, *, enabled: bool) -> dict[str, Any]:
    properties: Properties = wanted.properties
    target = properties["target"]
    return {
        "Name": wanted.name,
        "GroupName": GROUP,
        "ScheduleExpression": properties["expression"],
        "ScheduleExpressionTimezone": properties["timezone"],
        "FlexibleTimeWindow": {"Mode": properties["flexible_window"]},
        "State": "ENABLED" if enabled else "DISABLED",
        "Description": f"{PIPELINE_TAG}={wanted.tags[PIPELINE_TAG]}",
        "Target": {
            "Arn": target["arn"],
            "RoleArn": properties["role"],
            "RetryPolicy": _retry_policy(target),
        },
    }


def _retry_policy(target: dict[str, Any]) -> dict[str, int]:
    return {"MaximumRetryAttempts": target["retries"], "MaximumEventAgeInSeconds": target["age"]}


def _refuse_failed(name: str, entries: Sequence[Any]) -> None:
    """Raise AwsError if EventBridge took only some of the targets, which is not an error of the call."""
    if entries:
        reasons = [one.get("ErrorMessage") or one.get("ErrorCode") or "no reason given" for one in entries]
        raise AwsError(
            f"rule {name}: EventBridge refused its target: {'; '.join(reasons)}",
            hint="run it again; what was done already stays done",
        )
