"""What is changed by hand: plan names it with old and new value, deploy puts it right, plan is empty.

All of it runs on the embedded stack and on moto's server, but for what moto cannot do (``MOTO_CANNOT``).
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Final

import pytest

from fifo_cli.aws.session import Aws
from fifo_cli.model.drift_advice import drift_problems
from fifo_cli.model.health import Measurements
from fifo_cli.model.names import PIPELINE_TAG, Names
from fifo_cli.model.planning import CODE_HASH, Plan, is_code_change
from fifo_cli.model.settings import Project as Loaded
from fifo_cli.model.settings import load
from fifo_cli.operations.deploy.deploy import deploy
from fifo_cli.operations.deploy.destroy import destroy
from fifo_cli.operations.deploy.plan import plan
from fifo_cli.operations.monitor.drift import drift
from fifo_cli.render.plan import plan_table
from tests.cli_harness import Project, Stack, new_name
from tests.integration.emulators import Emulator
from tests.integration.test_killed import made_of

REGION: Final = "us-east-1"
TOPIC: Final = f"arn:aws:sns:{REGION}:000000000000:oncall"
ANYTHING: Final = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}],
}
ANY: Final = object()
Diff = tuple[str, Any, Any]


@dataclass(frozen=True)
class Hand:
    """Somebody with full rights to a deployed pipeline, and none of our code."""

    aws: Aws
    project: Loaded
    emulator: Emulator

    @property
    def account(self) -> str:
        return self.aws.place.account

    def left(self) -> set[tuple[str, str, str, str]]:
        """Return what a plan would change now, but for what the emulator forgets."""
        return self.emulator.drift(self.aws, self.project)

    @property
    def names(self) -> Names:
        return Names(self.project.settings.pipeline.name)

    @property
    def worker(self) -> str:
        return self.names.function("worker")

    @property
    def enqueuer(self) -> str:
        return self.names.function("enqueuer")

    @property
    def rule(self) -> str:
        return self.names.schedule(1)

    def queue(self, name: str, **attributes: str) -> None:
        sqs = self.aws.client("sqs")
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        change: Any = attributes
        sqs.set_queue_attributes(QueueUrl=url, Attributes=change)

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{REGION}:{self.account}:{resource}"

    def function(self, **change: Any) -> None:
        self.aws.client("lambda").update_function_configuration(FunctionName=self.worker, **change)

    def mapping(self) -> dict[str, Any]:
        listed: Any = self.aws.client("lambda").list_event_source_mappings(FunctionName=self.enqueuer)
        found: dict[str, Any] = listed["EventSourceMappings"][0]
        return found

    def remap(self, **change: Any) -> None:
        self.aws.client("lambda").update_event_source_mapping(UUID=self.mapping()["UUID"], **change)

    def invocations(self, **change: Any) -> None:
        self.aws.client("lambda").put_function_event_invoke_config(
            FunctionName=self.worker, Qualifier="live", **change
        )

    def target(self, **change: Any) -> None:
        target: Any = {
            "Id": "worker",
            "Arn": self.arn("lambda", f"function:{self.worker}:live"),
            "RetryPolicy": {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60},
            **change,
        }
        self.aws.client("events").put_targets(Rule=self.rule, Targets=[target])

    def alarm(self, role: Any, **change: Any) -> None:
        cloudwatch: Any = self.aws.client("cloudwatch")
        name = self.names.alarm(role)
        found = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]
        fields = (
            "AlarmName", "Namespace", "MetricName", "Dimensions", "Statistic", "Period", "EvaluationPeriods",
            "ComparisonOperator", "Threshold", "TreatMissingData", "AlarmActions", "OKActions",
            "ActionsEnabled", "InsufficientDataActions",
        )  # fmt: skip
        cloudwatch.put_metric_alarm(**{**{name: found[name] for name in fields}, **change})

    def schedule(self, **change: Any) -> None:
        scheduler: Any = self.aws.client("scheduler")
        found = scheduler.get_schedule(Name=self.rule)
        fields = (
            "Name",
            "ScheduleExpression",
            "ScheduleExpressionTimezone",
            "FlexibleTimeWindow",
            "Target",
            "Description",
        )
        scheduler.update_schedule(**{**{name: found[name] for name in fields}, **change})

    def retarget(self, **change: Any) -> None:
        found = self.aws.client("scheduler").get_schedule(Name=self.rule)
        self.schedule(Target={**found["Target"], **change})


@dataclass(frozen=True)
class Change:
    """One change by hand: what is done, to which resource, and the differences that plan must name.

    A value that is ``ANY`` is not looked at. Without differences, the resource is gone and made again.
    """

    message: str
    do: Callable[[Hand], object]
    kind: str
    name: Callable[[Hand], str]
    diffs: tuple[Diff, ...] = ()


def main_queue(message: str, attribute: str, value: str, *diffs: Diff) -> Change:
    return Change(
        message,
        lambda hand: hand.queue(hand.names.main, **{attribute: value}),
        "queue",
        lambda hand: hand.names.main,
        diffs,
    )


def function(message: str, path: str, old: Any, new: Any, **change: Any) -> Change:
    return Change(
        message,
        lambda hand: hand.function(**change),
        "function",
        lambda hand: hand.worker,
        ((path, old, new),),
    )


def mapping(message: str, path: str, old: Any, new: Any, **change: Any) -> Change:
    return Change(
        message,
        lambda hand: hand.remap(**change),
        "event-source-mapping",
        lambda hand: hand.enqueuer,
        ((path, old, new),),
    )


def alarm(message: str, path: str, old: Any, new: Any, **change: Any) -> Change:
    return Change(
        message,
        lambda hand: hand.alarm("age", **change),
        "alarm",
        lambda hand: hand.names.alarm("age"),
        ((path, old, new),),
    )


def schedule(message: str, path: str, old: Any, new: Any, **change: Any) -> Change:
    return Change(
        message, lambda hand: hand.schedule(**change), "schedule", lambda hand: hand.rule, ((path, old, new),)
    )


def role(message: str, do: Callable[[Hand, Any], object], *diffs: Diff) -> Change:
    return Change(
        message, lambda hand: do(hand, hand.aws.client("iam")), "role", lambda hand: hand.worker, diffs
    )


def rule(message: str, do: Callable[[Hand, Any], object], *diffs: Diff) -> Change:
    return Change(
        message, lambda hand: do(hand, hand.aws.client("events")), "rule", lambda hand: hand.rule, diffs
    )


def _widen(hand: Hand, iam: Any) -> None:
    policy = iam.get_role_policy(RoleName=hand.worker, PolicyName="fifo-cli")["PolicyDocument"]
    wider = json.dumps(policy).replace("sqs:DeleteMessage", "sqs:*")
    iam.put_role_policy(RoleName=hand.worker, PolicyName="fifo-cli", PolicyDocument=wider)


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("mine.py", "handler = print")
    return buffer.getvalue()


def _upload(hand: Hand) -> None:
    hand.aws.client("lambda").update_function_code(FunctionName=hand.worker, ZipFile=_zip())


def _other_version(hand: Hand) -> str:
    """Publish a version that the next deploy finds there; returns its number."""
    client = hand.aws.client("lambda")
    client.update_function_configuration(FunctionName=hand.worker, MemorySize=192)
    number = client.publish_version(FunctionName=hand.worker)["Version"]
    client.update_function_configuration(FunctionName=hand.worker, MemorySize=256)
    return number


def _layer(hand: Hand) -> None:
    layer = hand.aws.client("lambda").publish_layer_version(LayerName="mine", Content={"ZipFile": _zip()})
    hand.function(Layers=[layer["LayerVersionArn"]])


def _point(hand: Hand) -> None:
    number = _other_version(hand)
    hand.aws.client("lambda").update_alias(FunctionName=hand.worker, Name="live", FunctionVersion=number)


def _split(hand: Hand) -> None:
    hand.aws.client("lambda").update_alias(
        FunctionName=hand.worker, Name="live", RoutingConfig={"AdditionalVersionWeights": {"1": 0.5}}
    )


def _untag_queue(hand: Hand) -> None:
    sqs = hand.aws.client("sqs")
    sqs.untag_queue(QueueUrl=sqs.get_queue_url(QueueName=hand.names.hold)["QueueUrl"], TagKeys=["team"])


def _delete_queue(hand: Hand) -> None:
    sqs = hand.aws.client("sqs")
    sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=hand.names.hold)["QueueUrl"])


def _second_mapping(hand: Hand) -> None:
    found = hand.mapping()
    hand.aws.client("lambda").create_event_source_mapping(
        EventSourceArn=found["EventSourceArn"],
        FunctionName=hand.enqueuer,
        StartingPosition="LATEST",
        Enabled=False,
    )


def _permit_more(hand: Hand) -> None:
    client = hand.aws.client("lambda")
    client.remove_permission(FunctionName=hand.worker, Qualifier="live", StatementId=hand.rule)
    client.add_permission(
        FunctionName=hand.worker,
        Qualifier="live",
        StatementId=hand.rule,
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
    )


def _turn(hand: Hand, **change: Any) -> None:
    hand.aws.client("dynamodb").update_table(TableName=hand.names.pipeline, **change)


def _tag_table(hand: Hand) -> None:
    arn = hand.arn("dynamodb", f"table/{hand.names.pipeline}")
    hand.aws.client("dynamodb").tag_resource(ResourceArn=arn, Tags=[{"Key": "team", "Value": "others"}])


def target(hand: Hand, **change: Any) -> dict[str, Any]:
    return {"arn": hand.arn("lambda", f"function:{hand.worker}:live"), "retries": 0, "age": 60, **change}


DAYS_14: Final = 1_209_600
WORKER_POLICY_ACTIONS: Final = [
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:GetQueueUrl",
    "sqs:ReceiveMessage",
]
CHANGES: Final = [
    main_queue("a queue's visibility timeout", "VisibilityTimeout", "7", ("visibility_timeout", 7, 37)),
    main_queue("a queue's retention", "MessageRetentionPeriod", "60", ("retention", 60, 345_600)),
    main_queue("a queue's delay", "DelaySeconds", "9", ("delay", 9, 0)),
    main_queue(
        "a queue's message size", "MaximumMessageSize", "1024", ("max_message_bytes", 1024, 1_048_576)
    ),
    main_queue(
        "deduplication by content",
        "ContentBasedDeduplication",
        "true",
        ("content_based_deduplication", True, False),
    ),
    main_queue(
        "the scope of deduplication",
        "DeduplicationScope",
        "messageGroup",
        ("deduplication_scope", "messageGroup", "queue"),
    ),
    main_queue("a queue's encryption", "KmsMasterKeyId", "alias/mine", ("encryption", "alias/mine", "sqs")),
    Change(
        "a redrive policy of main, as deploy made one before",
        lambda hand: hand.queue(
            hand.names.main,
            RedrivePolicy=json.dumps(
                {"deadLetterTargetArn": hand.arn("sqs", hand.names.dlq), "maxReceiveCount": 3}
            ),
        ),
        "queue",
        lambda hand: hand.names.main,
        (("redrive", ANY, None),),
    ),
    Change(
        "the redrive policy's target",
        lambda hand: hand.queue(
            hand.names.hold,
            RedrivePolicy=json.dumps(
                {"deadLetterTargetArn": hand.arn("sqs", hand.names.main), "maxReceiveCount": 1000}
            ),
        ),
        "queue",
        lambda hand: hand.names.hold,
        (("redrive.target", ANY, ANY),),
    ),
    Change(
        "no redrive policy of hold",
        lambda hand: hand.queue(hand.names.hold, RedrivePolicy=""),
        "queue",
        lambda hand: hand.names.hold,
        (("redrive", None, ANY),),
    ),
    Change(
        "a DLQ that has a DLQ",
        lambda hand: hand.queue(
            hand.names.dlq,
            RedrivePolicy=json.dumps(
                {"deadLetterTargetArn": hand.arn("sqs", hand.names.hold), "maxReceiveCount": 2}
            ),
        ),
        "queue",
        lambda hand: hand.names.dlq,
        (("redrive", ANY, None),),
    ),
    Change(
        "the redrive allow policy",
        lambda hand: hand.queue(hand.names.dlq, RedriveAllowPolicy='{"redrivePermission": "allowAll"}'),
        "queue",
        lambda hand: hand.names.dlq,
        (("redrive_allow.permission", "allowAll", "byQueue"), ("redrive_allow.sources", [], ANY)),
    ),
    Change(
        "the DLQ's retention",
        lambda hand: hand.queue(hand.names.dlq, MessageRetentionPeriod="345600"),
        "queue",
        lambda hand: hand.names.dlq,
        (("retention", 345_600, DAYS_14),),
    ),
    Change(
        "the retention of failed batches",
        lambda hand: hand.queue(hand.names.stream_failures, MessageRetentionPeriod="60"),
        "queue",
        lambda hand: hand.names.stream_failures,
        (("retention", 60, DAYS_14),),
    ),
    Change(
        "a queue's tag",
        _untag_queue,
        "queue",
        lambda hand: hand.names.hold,
        (("tags.team", None, "payments"),),
    ),
    Change("a queue is gone", _delete_queue, "queue", lambda hand: hand.names.hold),
    Change(
        "a table's billing",
        lambda hand: _turn(
            hand,
            BillingMode="PROVISIONED",
            ProvisionedThroughput={"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
        ),
        "table",
        lambda hand: hand.names.pipeline,
        (("billing", "PROVISIONED", "PAY_PER_REQUEST"),),
    ),
    Change(
        "a table's tag",
        _tag_table,
        "table",
        lambda hand: hand.names.pipeline,
        (("tags.team", "others", "payments"),),
    ),
    Change(
        "a log group's retention",
        lambda hand: hand.aws.client("logs").put_retention_policy(
            logGroupName=hand.names.log_group("worker"), retentionInDays=1
        ),
        "log-group",
        lambda hand: hand.names.log_group("worker"),
        (("retention_days", 1, 30),),
    ),
    Change(
        "logs kept for ever",
        lambda hand: hand.aws.client("logs").delete_retention_policy(
            logGroupName=hand.names.log_group("enqueuer")
        ),
        "log-group",
        lambda hand: hand.names.log_group("enqueuer"),
        (("retention_days", None, 30),),
    ),
    Change(
        "a log group's tag",
        lambda hand: hand.aws.client("logs").untag_resource(
            resourceArn=hand.arn("logs", f"log-group:{hand.names.log_group('worker')}"), tagKeys=["team"]
        ),
        "log-group",
        lambda hand: hand.names.log_group("worker"),
        (("tags.team", None, "payments"),),
    ),
    Change(
        "a log group is gone",
        lambda hand: hand.aws.client("logs").delete_log_group(logGroupName=hand.names.log_group("worker")),
        "log-group",
        lambda hand: hand.names.log_group("worker"),
    ),
    role(
        "a role that others may assume",
        lambda hand, iam: iam.update_assume_role_policy(
            RoleName=hand.worker,
            PolicyDocument=json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Sid": "Lambda",
                            "Effect": "Allow",
                            "Principal": {"Service": "ec2.amazonaws.com"},
                            "Action": "sts:AssumeRole",
                        }
                    ],
                }
            ),
        ),
        ("trust.Lambda.Principal.Service", "ec2.amazonaws.com", "lambda.amazonaws.com"),
    ),
    role(
        "a role that may do more",
        _widen,
        (
            "policy.Take.Action",
            sorted([*(one for one in WORKER_POLICY_ACTIONS if "Delete" not in one), "sqs:*"]),
            WORKER_POLICY_ACTIONS,
        ),
    ),
    role(
        "a role without its policy",
        lambda hand, iam: iam.delete_role_policy(RoleName=hand.worker, PolicyName="fifo-cli"),
        ("policy", None, ANY),
    ),
    role(
        "a role with a policy besides",
        lambda hand, iam: iam.put_role_policy(
            RoleName=hand.worker, PolicyName="mine", PolicyDocument=json.dumps(ANYTHING)
        ),
        ("other_policies", ["mine"], []),
    ),
    role(
        "a role with a managed policy",
        lambda hand, iam: iam.attach_role_policy(
            RoleName=hand.worker, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess"
        ),
        ("other_policies", ["arn:aws:iam::aws:policy/AdministratorAccess"], []),
    ),
    role(
        "a role's boundary",
        lambda hand, iam: iam.put_role_permissions_boundary(
            RoleName=hand.worker, PermissionsBoundary="arn:aws:iam::aws:policy/ReadOnlyAccess"
        ),
        ("permissions_boundary", "arn:aws:iam::aws:policy/ReadOnlyAccess", None),
    ),
    role(
        "a role's tag",
        lambda hand, iam: iam.untag_role(RoleName=hand.worker, TagKeys=["team"]),
        ("tags.team", None, "payments"),
    ),
    function("a function's memory", "memory", 512, 256, MemorySize=512),
    function("a function's timeout", "timeout", 3, 60, Timeout=3),
    function(
        "a function's handler",
        "handler",
        "mine.handler",
        "fifo_cli.handlers.worker.handler",
        Handler="mine.handler",
    ),
    function("a function's runtime", "runtime", "python3.12", "python3.13", Runtime="python3.12"),
    function(
        "a function's environment",
        "environment",
        ["API_KEY"],
        [],
        Environment={"Variables": {"API_KEY": "sesame"}},
    ),
    Change(
        "a function's role",
        lambda hand: hand.function(Role=f"arn:aws:iam::{hand.account}:role/{hand.enqueuer}"),
        "function",
        lambda hand: hand.worker,
        (("role", ANY, ANY),),
    ),
    Change("a function's layer", _layer, "function", lambda hand: hand.worker, (("layers", ANY, []),)),
    function(
        "a function's lines in another form",
        "logging.format",
        "JSON",
        "Text",
        LoggingConfig={"LogFormat": "JSON"},
    ),
    Change(
        "a function's lines in another group",
        lambda hand: hand.function(LoggingConfig={"LogFormat": "Text", "LogGroup": "/mine"}),
        "function",
        lambda hand: hand.worker,
        (("logging.group", "/mine", ANY),),
    ),
    Change("a function's code", _upload, "function", lambda hand: hand.worker, (("code_sha256", ANY, ANY),)),
    Change(
        "a function's reserved concurrency",
        lambda hand: hand.aws.client("lambda").put_function_concurrency(
            FunctionName=hand.worker, ReservedConcurrentExecutions=5
        ),
        "function",
        lambda hand: hand.worker,
        (("reserved_concurrency", 5, 1),),
    ),
    Change(
        "a function's tag",
        lambda hand: hand.aws.client("lambda").untag_resource(
            Resource=hand.arn("lambda", f"function:{hand.worker}"), TagKeys=["team"]
        ),
        "function",
        lambda hand: hand.worker,
        (("tags.team", None, "payments"),),
    ),
    Change(
        "an alias elsewhere", _point, "alias", lambda hand: f"{hand.worker}:live", (("memory", 192, 256),)
    ),
    Change(
        "an alias of what is not published",
        lambda hand: hand.aws.client("lambda").update_alias(
            FunctionName=hand.worker, Name="live", FunctionVersion="$LATEST"
        ),
        "alias",
        lambda hand: f"{hand.worker}:live",
        (("published", False, True),),
    ),
    Change(
        "an alias with two versions",
        _split,
        "alias",
        lambda hand: f"{hand.worker}:live",
        (("routing.1", 0.5, None),),
    ),
    Change(
        "retries of a failed run",
        lambda hand: hand.invocations(MaximumRetryAttempts=2, MaximumEventAgeInSeconds=60),
        "alias",
        lambda hand: f"{hand.worker}:live",
        (("async_retries", 2, 0),),
    ),
    Change(
        "how late a run may be",
        lambda hand: hand.invocations(MaximumRetryAttempts=0, MaximumEventAgeInSeconds=3600),
        "alias",
        lambda hand: f"{hand.worker}:live",
        (("async_age", 3600, 60),),
    ),
    Change(
        "a queue for failed runs",
        lambda hand: hand.invocations(
            MaximumRetryAttempts=0,
            MaximumEventAgeInSeconds=60,
            DestinationConfig={"OnFailure": {"Destination": hand.arn("sqs", hand.names.stream_failures)}},
        ),
        "alias",
        lambda hand: f"{hand.worker}:live",
        (("async_destinations.OnFailure", ANY, None),),
    ),
    Change(
        "no event invoke config",
        lambda hand: hand.aws.client("lambda").delete_function_event_invoke_config(
            FunctionName=hand.worker, Qualifier="live"
        ),
        "alias",
        lambda hand: f"{hand.worker}:live",
        (("async_retries", None, 0), ("async_age", None, 60), ("async_destinations", None, {})),
    ),
    mapping("a mapping's batch size", "batch_size", 7, 100, BatchSize=7),
    mapping("a mapping's window", "batching_window", 5, 0, MaximumBatchingWindowInSeconds=5),
    mapping("a mapping's retries", "retries", 1, 10_000, MaximumRetryAttempts=1),
    mapping("a mapping's record age", "record_age", 60, 75_600, MaximumRecordAgeInSeconds=60),
    mapping("a mapping that does not bisect", "bisect", False, True, BisectBatchOnFunctionError=False),
    mapping("a mapping in parallel", "parallelization", 5, 1, ParallelizationFactor=5),
    mapping(
        "whole batches that fail", "response_types", [], ["ReportBatchItemFailures"], FunctionResponseTypes=[]
    ),
    mapping(
        "a mapping without a filter",
        "filters",
        [],
        [{"eventName": ["INSERT"]}],
        FilterCriteria={"Filters": []},
    ),
    mapping(
        "a mapping with another filter",
        "filters",
        [{"eventName": ["REMOVE"]}],
        [{"eventName": ["INSERT"]}],
        FilterCriteria={"Filters": [{"Pattern": '{"eventName":["REMOVE"]}'}]},
    ),
    mapping(
        "a mapping with a filter of another kind",
        "filters",
        [{"eventName": ["INSERT", {"prefix": "MOD"}]}],
        [{"eventName": ["INSERT"]}],
        FilterCriteria={"Filters": [{"Pattern": '{"eventName":["INSERT",{"prefix":"MOD"}]}'}]},
    ),
    mapping(
        "a mapping with a filter that is none",
        "filters",
        ["{"],
        [{"eventName": ["INSERT"]}],
        FilterCriteria={"Filters": [{"Pattern": "{"}]},
    ),
    Change(
        "a mapping that feeds the worker",
        lambda hand: hand.remap(FunctionName=f"{hand.worker}:live"),
        "event-source-mapping",
        lambda hand: hand.enqueuer,
        (("function", ANY, ANY),),
    ),
    mapping("failed batches lost", "on_failure", None, ANY, DestinationConfig={}),
    Change(
        "a mapping's tag",
        lambda hand: hand.aws.client("lambda").untag_resource(
            Resource=hand.mapping()["EventSourceMappingArn"], TagKeys=["team"]
        ),
        "event-source-mapping",
        lambda hand: hand.enqueuer,
        (("tags.team", None, "payments"),),
    ),
    Change(
        "a mapping is gone",
        lambda hand: hand.aws.client("lambda").delete_event_source_mapping(UUID=hand.mapping()["UUID"]),
        "event-source-mapping",
        lambda hand: hand.enqueuer,
    ),
    Change(
        "a second mapping",
        _second_mapping,
        "event-source-mapping",
        lambda hand: hand.enqueuer,
        (("others", ANY, []),),
    ),
    alarm("an alarm's threshold", "threshold", 5.0, 3600, Threshold=5.0),
    alarm("an alarm's topic", "actions", [], [TOPIC], AlarmActions=[]),
    alarm("an alarm that is silenced", "actions_enabled", False, True, ActionsEnabled=False),
    Change(
        "an alarm that rings at two bad periods of three",
        lambda hand: hand.alarm("age", EvaluationPeriods=3, DatapointsToAlarm=2),
        "alarm",
        lambda hand: hand.names.alarm("age"),
        (("periods", 3, 1), ("datapoints", 2, None)),
    ),
    alarm("an alarm's period", "period", 60, 300, Period=60),
    alarm(
        "what an alarm thinks of silence",
        "missing",
        "breaching",
        "notBreaching",
        TreatMissingData="breaching",
    ),
    Change(
        "an alarm is gone",
        lambda hand: hand.aws.client("cloudwatch").delete_alarms(AlarmNames=[hand.names.alarm("dlq")]),
        "alarm",
        lambda hand: hand.names.alarm("dlq"),
    ),
    Change(
        "an alarm's tag",
        lambda hand: hand.aws.client("cloudwatch").untag_resource(
            ResourceARN=hand.arn("cloudwatch", f"alarm:{hand.names.alarm('age')}"), TagKeys=["team"]
        ),
        "alarm",
        lambda hand: hand.names.alarm("age"),
        (("tags.team", None, "payments"),),
    ),
]
RULES: Final = [
    rule(
        "a rule's expression",
        lambda hand, events: events.put_rule(
            Name=hand.rule, ScheduleExpression="rate(1 day)", State="ENABLED"
        ),
        ("expression", "rate(1 day)", "rate(365 days)"),
    ),
    rule(
        "a rule that fires on events, too",
        lambda hand, events: events.put_rule(
            Name=hand.rule,
            ScheduleExpression="rate(365 days)",
            EventPattern='{"source": ["mine"]}',
            State="ENABLED",
        ),
        ("pattern", '{"source": ["mine"]}', None),
    ),
    rule(
        "a rule without a target",
        lambda hand, events: events.remove_targets(Rule=hand.rule, Ids=["worker"]),
        ("targets", [], ANY),
    ),
    rule(
        "a rule with a second target",
        lambda hand, events: events.put_targets(
            Rule=hand.rule, Targets=[{"Id": "mine", "Arn": hand.arn("lambda", f"function:{hand.enqueuer}")}]
        ),
        ("targets", ANY, ANY),
    ),
    rule(
        "a target that retries for a day",
        lambda hand, events: hand.target(RetryPolicy={}),
        ("targets", ANY, ANY),
    ),
    rule(
        "a target with an input",
        lambda hand, events: hand.target(Input='{"count": 9}'),
        ("targets", ANY, ANY),
    ),
    rule(
        "a rule that may not start the worker",
        lambda hand, events: hand.aws.client("lambda").remove_permission(
            FunctionName=hand.worker, Qualifier="live", StatementId=hand.rule
        ),
        ("permission", False, True),
    ),
    rule(
        "every rule may start the worker",
        lambda hand, events: _permit_more(hand),
        ("permission", False, True),
    ),
    rule(
        "a rule's tag",
        lambda hand, events: events.untag_resource(
            ResourceARN=hand.arn("events", f"rule/{hand.rule}"), TagKeys=["team"]
        ),
        ("tags.team", None, "payments"),
    ),
    rule(
        "a rule is gone",
        lambda hand, events: (
            events.remove_targets(Rule=hand.rule, Ids=["worker"]),
            events.delete_rule(Name=hand.rule),
        ),
    ),
]
SCHEDULES: Final = [
    schedule(
        "a schedule's expression",
        "expression",
        "rate(1 days)",
        "rate(365 days)",
        ScheduleExpression="rate(1 days)",
    ),
    schedule("a schedule's time zone", "timezone", "UTC", "Europe/Berlin", ScheduleExpressionTimezone="UTC"),
    schedule(
        "a schedule that ends",
        "dates",
        ["2090-01-01T00:00:00+00:00"],
        [],
        EndDate=datetime(2090, 1, 1, tzinfo=UTC),
    ),
    schedule(
        "a schedule's window",
        "flexible_window",
        "FLEXIBLE",
        "OFF",
        FlexibleTimeWindow={"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15},
    ),
    Change(
        "a schedule's target",
        lambda hand: hand.retarget(Arn=hand.arn("lambda", f"function:{hand.enqueuer}")),
        "schedule",
        lambda hand: hand.rule,
        (("target.arn", ANY, ANY),),
    ),
    Change(
        "a schedule that retries",
        lambda hand: hand.retarget(RetryPolicy={"MaximumRetryAttempts": 5, "MaximumEventAgeInSeconds": 60}),
        "schedule",
        lambda hand: hand.rule,
        (("target.retries", 5, 0),),
    ),
    Change(
        "a schedule with an input",
        lambda hand: hand.retarget(Input='{"count": 9}'),
        "schedule",
        lambda hand: hand.rule,
        (("target.Input", '{"count": 9}', None),),
    ),
    Change(
        "a schedule's role",
        lambda hand: hand.retarget(RoleArn=f"arn:aws:iam::{hand.account}:role/{hand.enqueuer}"),
        "schedule",
        lambda hand: hand.rule,
        (("role", ANY, ANY),),
    ),
    Change(
        "a schedule is gone",
        lambda hand: hand.aws.client("scheduler").delete_schedule(Name=hand.rule),
        "schedule",
        lambda hand: hand.rule,
    ),
]


# The changes that lose, reorder or dead-letter messages, and so are critical.
HARMFUL: Final = frozenset(
    {
        "a queue's retention",
        "a queue's message size",
        "a redrive policy of main, as deploy made one before",
        "the redrive policy's target",
        "a DLQ that has a DLQ",
        "the DLQ's retention",
        "the retention of failed batches",
        "a mapping's retries",
        "a mapping's record age",
        "a mapping in parallel",
        "failed batches lost",
        "whole batches that fail",
        "a mapping with another filter",
        "a mapping with a filter that is none",
        "a mapping that feeds the worker",
        "a second mapping",
        "a role without its policy",
        "a rule without a target",
        "a schedule's target",
    }
)


# What moto (5.2) cannot do, and the changes by hand that need it.
_BY_ALIAS: Final = "it does not list the mappings of an alias by the function's name"
MOTO_CANNOT: Final[dict[str, tuple[str, ...]]] = {
    _BY_ALIAS: tuple(one.message for one in CHANGES if one.kind == "event-source-mapping"),
    "its queues have no RedriveAllowPolicy": ("the redrive allow policy",),
    "it knows none of AWS's own policies": ("a role with a managed policy",),
    "it forgets a function's LoggingConfig": (
        "a function's lines in another form",
        "a function's lines in another group",
    ),
    "it keeps the first event invoke config of an alias": (
        "retries of a failed run",
        "how late a run may be",
        "a queue for failed runs",
    ),
}


@pytest.fixture(scope="module")
def make(stack: Stack, moto: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Hand]:
    emulators = {"ministack": Emulator("ministack", stack.endpoint), "moto": moto}

    def made(emulator: str = "ministack", **tables: Any) -> Hand:
        name = new_name()
        overlay = {"alarms": {"sns_topic": TOPIC}, "tags": {"team": "payments"}, **tables}
        folder = tmp_path_factory.mktemp("drift") / name
        project = load(Project.create(folder, name, "http://127.0.0.1:9", stack, overlay).config)
        hand = Hand(emulators[emulator].aws(), project, emulators[emulator])
        deploy(hand.aws, project)
        return hand

    return made


@pytest.fixture(scope="module", params=["ministack", "moto"])
def hand(make: Callable[..., Hand], request: pytest.FixtureRequest) -> Hand:
    """A pipeline started by a rule."""
    return make(request.param)


@pytest.fixture(scope="module")
def zoned(make: Callable[..., Hand], request: pytest.FixtureRequest) -> Hand:
    """A pipeline started by EventBridge Scheduler."""
    return make(request.param, schedule={"timezone": "Europe/Berlin"})


Round = tuple[Change, ...]


def _rounds(changes: Sequence[Change]) -> list[Round]:
    """Put changes that have nothing to do with one another together: one a resource in each round.

    A function and its alias count as one, since what is published of the one is what the other shows.
    """
    anyone: Any = SimpleNamespace(
        names=Names("any"), worker="any-worker", enqueuer="any-enqueuer", rule="any-1"
    )
    rounds: list[dict[tuple[str, str], Change]] = []
    for change in changes:
        slot = (change.kind.replace("alias", "function"), change.name(anyone).partition(":")[0])
        free = next((one for one in rounds if slot not in one), None)
        if free is None:
            rounds.append(free := {})
        free[slot] = change
    return [tuple(one.values()) for one in rounds]


# CI makes each change on ministack, and on moto, a slow second opinion, some of them: the first rounds.
MOTO_ROUNDS: Final = 2


def _cases(changes: Sequence[Change]) -> list[Any]:
    """Return the rounds on each emulator; moto's later ones are long."""
    not_on_moto = {message for messages in MOTO_CANNOT.values() for message in messages}
    able = {"ministack": changes, "moto": [one for one in changes if one.message not in not_on_moto]}
    return [
        pytest.param(
            name,
            one,
            id=f"{name}: {'; '.join(each.message for each in one)}",
            marks=[pytest.mark.long] if name == "moto" and number >= MOTO_ROUNDS else [],
        )
        for name, some in able.items()
        for number, one in enumerate(_rounds(some))
    ]


def _check_round(hand: Hand, changes: Round) -> None:
    """Let changes be made; one plan must name each, and nothing else, and one deploy put all right."""
    for change in changes:
        change.do(hand)
    if hand.emulator.name == "ministack":
        _check_judged(hand, changes)
    asked: list[Plan] = []
    deploy(hand.aws, hand.project, confirm=asked.append)
    assert hand.left() == set()
    [seen] = asked
    assert {(kind, name) for _, kind, name, _ in hand.emulator.parts(seen)} == {
        (one.kind, one.name(hand)) for one in changes
    }
    text = plan_table(seen)
    for change in changes:
        _check_named(hand, change, seen, text)


def _check_judged(hand: Hand, changes: Round) -> None:
    """What a status or a check says of the changes: critical is what harms messages, and nothing else."""
    settings = hand.project.settings
    found = drift(hand.aws, hand.project, hand.aws.place)
    problems = list(drift_problems(found, Measurements(worker="running"), settings, settings))
    assert problems, changes
    critical = [one.text for one in problems if one.state == "critical"]
    for change in changes:
        name = f"{change.kind} {change.name(hand)}"
        harms = any(text.startswith(f"{name} ") for text in critical)
        gone = any(name in text for text in critical if text.startswith("missing: "))
        assert harms == (change.message in HARMFUL), (change.message, critical)
        assert gone == (not change.diffs and change.kind not in ("alarm", "rule", "schedule")), change.message


def _check_named(hand: Hand, change: Change, seen: Plan, text: str) -> None:
    [found] = [one for one in seen.changes if one.key == (change.kind, change.name(hand))]
    if not change.diffs:
        assert found.action == "create", change.message
        assert f"+ create {change.kind} {change.name(hand)}" in text
        return
    named = [
        one for one in found.diff if (found.kind, one.path.partition(".")[0]) not in hand.emulator.forgets
    ]
    kept = [one for one in named if not is_code_change(one)]
    inside = [one.path for one in named if is_code_change(one)]
    assert [one.path for one in kept] == [path for path, _, _ in change.diffs], change.message
    message = text.partition(f"~ update {change.kind} {change.name(hand)}\n")[2]
    for one, (path, old, new) in zip(kept, change.diffs, strict=True):
        assert old is ANY or one.old == old, (change.message, path)
        assert new is ANY or one.new == new, (change.message, path)
        assert one.old != one.new, (change.message, path)
        # Where AWS gives no code to compare with, as moto does not, the hash is shown.
        shown = (inside or ["code"]) if path == CODE_HASH else [path]
        assert all(f"    {one}:" in message for one in shown), change.message


@pytest.mark.parametrize(("hand", "changes"), _cases([*CHANGES, *RULES]), indirect=["hand"])
def test_changes_by_hand_are_named_and_repaired(hand: Hand, changes: Round) -> None:
    _check_round(hand, changes)


@pytest.mark.parametrize(("zoned", "changes"), _cases(SCHEDULES), indirect=["zoned"])
def test_changes_by_hand_to_a_schedule_are_named_and_repaired(zoned: Hand, changes: Round) -> None:
    _check_round(zoned, changes)


def test_a_function_that_is_gone_is_made_again_with_all_that_hung_on_it(hand: Hand) -> None:
    hand.aws.client("lambda").delete_function(FunctionName=hand.worker)
    asked: list[Plan] = []
    deploy(hand.aws, hand.project, confirm=asked.append)
    touched = {(kind, name) for _, kind, name, _ in hand.emulator.parts(asked[0])}
    assert [(one.action, one.kind, one.name) for one in asked[0].changes if one.key in touched] == [
        ("create", "function", hand.worker),
        ("create", "alias", f"{hand.worker}:live"),
        ("update", "rule", hand.rule),
    ]
    assert hand.left() == set()


def test_an_alias_that_is_gone_is_made_again_with_the_permission_that_hung_on_it(hand: Hand) -> None:
    hand.aws.client("lambda").delete_alias(FunctionName=hand.worker, Name="live")
    deploy(hand.aws, hand.project)
    assert hand.left() == set()


def _skip_on_moto(hand: Hand) -> None:
    if hand.emulator.name == "moto":
        pytest.skip(f"moto: {_BY_ALIAS}")


def test_another_view_type_is_put_right_by_a_new_stream_and_a_new_mapping_and_warned_of(hand: Hand) -> None:
    _skip_on_moto(hand)
    before = hand.mapping()
    _turn(hand, StreamSpecification={"StreamEnabled": False})
    _turn(hand, StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"})
    asked: list[Plan] = []
    deploy(hand.aws, hand.project, confirm=asked.append)
    seen = [(one.kind, diff.path, diff.old, diff.new) for one in asked[0].changes for diff in one.diff]
    assert ("table", "stream", "KEYS_ONLY", "NEW_AND_OLD_IMAGES") in seen
    assert ("event-source-mapping", "table", before["EventSourceArn"], hand.names.pipeline) in seen
    message = " ".join(asked[0].warnings)
    assert (
        "its stream is switched off and on again; changes made in between do not become messages" in message
    )
    assert hand.left() == set()
    stream = hand.aws.client("dynamodb").describe_table(TableName=hand.names.pipeline)["Table"][
        "LatestStreamArn"
    ]
    assert hand.mapping()["EventSourceArn"] == stream


def test_a_view_type_that_was_right_before_a_deploy_takes_the_mapping_along(hand: Hand) -> None:
    """The mapping reads the very stream that deploy is about to replace."""
    _skip_on_moto(hand)
    _turn(hand, StreamSpecification={"StreamEnabled": False})
    _turn(hand, StreamSpecification={"StreamEnabled": True, "StreamViewType": "OLD_IMAGE"})
    table = hand.aws.client("dynamodb").describe_table(TableName=hand.names.pipeline)["Table"]
    client = hand.aws.client("lambda")
    client.delete_event_source_mapping(UUID=hand.mapping()["UUID"])
    client.create_event_source_mapping(
        EventSourceArn=table["LatestStreamArn"],
        FunctionName=f"{hand.enqueuer}:live",
        StartingPosition="TRIM_HORIZON",
        Tags={PIPELINE_TAG: hand.names.pipeline},
    )
    deploy(hand.aws, hand.project)
    assert hand.left() == set()


def test_fewer_settings_are_reported_than_forty_only_if_this_list_shrinks() -> None:
    message = [one.message for one in (*CHANGES, *RULES, *SCHEDULES)]
    assert len(message) == len(set(message)) >= 40
    not_on_moto = [one for messages in MOTO_CANNOT.values() for one in messages]
    assert set(not_on_moto) < set(message)
    assert len(set(message)) - len(not_on_moto) >= 60


def _delete_role(hand: Hand) -> None:
    iam = hand.aws.client("iam")
    iam.delete_role_policy(RoleName=hand.worker, PolicyName="fifo-cli")
    iam.delete_role(RoleName=hand.worker)


def _delete_functions(hand: Hand) -> None:
    for name in (hand.enqueuer, hand.worker):
        hand.aws.client("lambda").delete_function(FunctionName=name)


def _delete_queues(hand: Hand) -> None:
    sqs = hand.aws.client("sqs")
    for name in (hand.names.main, hand.names.dlq):
        sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"])


def _delete_table(hand: Hand) -> None:
    hand.aws.client("dynamodb").delete_table(TableName=hand.names.pipeline)


def _delete_table_and_role(hand: Hand) -> None:
    _delete_table(hand)
    _delete_role(hand)


def _delete_queues_and_functions(hand: Hand) -> None:
    _delete_queues(hand)
    _delete_functions(hand)


GONE: Final = [_delete_table_and_role, _delete_queues_and_functions]


@pytest.mark.parametrize("delete", GONE, ids=lambda one: one.__name__)
def test_what_others_hung_on_and_is_gone_is_made_again_with_them(
    hand: Hand, delete: Callable[[Hand], None]
) -> None:
    delete(hand)
    assert plan(hand.aws, hand.project, check=True).exit_code == 1
    deploy(hand.aws, hand.project)
    assert hand.left() == set()


@pytest.mark.parametrize("delete", GONE, ids=lambda one: one.__name__)
def test_a_destroy_takes_away_what_is_left_when_a_part_is_gone(
    make: Callable[..., Hand], stack: Stack, delete: Callable[[Hand], None]
) -> None:
    damaged = make()
    delete(damaged)
    destroy(damaged.aws, damaged.project.settings)
    assert made_of(stack, damaged.names.pipeline) == []
