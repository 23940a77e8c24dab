"""What people and boxes may do to one pipeline: a policy for a monitor, an operator, a deployer.

Which calls each command makes is checked by tests against the calls that were recorded. The ARNs an action
takes are those of the Service Authorization Reference; what it does not tie to a resource is on ``*``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from fifo_cli.model.names import ALARM_ROLES, FUNCTION_ROLES, LIVE_ALIAS, PROVE_NAMES, QUEUE_ROLES, Place
from fifo_cli.model.role_policies import (
    LAMBDA,
    SCHEDULER,
    Statement,
    allow,
    document,
    key_parameters,
    key_secrets,
    read_keys,
    read_table_key,
    use_key,
    use_key_by,
    use_table_key,
)
from fifo_cli.model.worker_trigger import scheduler_timezone

if TYPE_CHECKING:
    from fifo_cli.model.settings import Settings

Audience = Literal["operator", "monitor", "deployer"]
_PROVERS: Final[tuple[Audience, ...]] = ("deployer", "operator")
# IAM User Guide, "IAM and AWS STS quotas"; white space is not counted.
MANAGED_POLICY_SIZE: Final = 6144


def people_policy(
    settings: Settings, place: Place, audience: Audience, *, table_key: str | None = None
) -> dict[str, Any]:
    """Return the policy that the commands of an audience need, for this pipeline alone.

    monitor: plan, depth, check, status, logs, keys list. operator: also everything that moves messages, reads
    the stream, puts items, pauses and resumes. deployer: the monitor's, and deploy, destroy, rollback, keys
    set. ``table_key`` is the ARN of the KMS key that encrypts the table, if it is one of the account.
    """
    arns = _Arns(settings, place)
    statements = _monitor(arns)
    if audience == "operator":
        statements += _operator(settings, arns)
    elif audience == "deployer":
        statements += _deployer(settings, arns)
    else:
        # A mapping that is Updating is asked for until it is not: only then it shows whether it is enabled.
        statements.append(allow("LookAtMappings", "lambda:GetEventSourceMapping", arns.mappings))
    if settings.queue.kms_key and audience != "monitor":
        statements.append(use_key(place, settings.queue.kms_key))
    if table_key and audience != "monitor":
        # put writes items; destroy only looks whether there are any.
        statements.append((use_table_key if audience == "operator" else read_table_key)(table_key))
    return document(_merged(statements))


def people_policies(
    settings: Settings, place: Place, audience: Audience, *, table_key: str | None = None
) -> list[dict[str, Any]]:
    """Return the same as one document or several, each of which IAM takes as a managed policy."""
    return _documents(people_policy(settings, place, audience, table_key=table_key)["Statement"])


def prover_policies(layouts: Sequence[Settings], place: Place) -> list[dict[str, Any]]:
    """Return what `prove` needs: a deployer's and an operator's policies for the pipelines of all runs.

    ``layouts`` are the fifo.toml files of one run, whose name stands for those of all.
    """
    name = layouts[0].pipeline.name
    statements = [
        *(
            one
            for settings in layouts
            for audience in _PROVERS
            for one in people_policy(settings, place, audience)["Statement"]
        ),
        *_prover(name, place),
    ]
    merged = json.loads(json.dumps(_merged(statements)).replace(name, PROVE_NAMES))
    # Statements about other resources may have one name; in a policy each has its own.
    return _documents([{**one, "Sid": f"{one['Sid']}{number}"} for number, one in enumerate(merged, 1)])


def _documents(statements: list[Statement]) -> list[dict[str, Any]]:
    documents: list[list[Statement]] = [[]]
    for one in (part for statement in statements for part in _parts(statement)):
        if documents[-1] and _size([*documents[-1], one]) > MANAGED_POLICY_SIZE:
            documents.append([])
        documents[-1].append(one)
    return [document(each) for each in documents]


def _parts(statement: Statement) -> list[Statement]:
    """Split a statement that does not fit alone (the parameters of many APIs) by its resources."""
    resources = statement["Resource"]
    if len(resources) == 1 or _size([statement]) <= MANAGED_POLICY_SIZE:
        return [statement]
    middle = len(resources) // 2
    halves = (("A", resources[:middle]), ("B", resources[middle:]))
    return [
        part
        for letter, some in halves
        for part in _parts({**statement, "Sid": statement["Sid"] + letter, "Resource": some})
    ]


def _size(statements: list[Statement]) -> int:
    return len(json.dumps(document(statements), separators=(",", ":")))


def _merged(statements: list[Statement]) -> list[Statement]:
    """Put together what is about the same resources, under the later name."""
    merged: dict[str, Statement] = {}
    for one in statements:
        about = json.dumps([one["Resource"], one.get("Condition")])
        earlier = merged.get(about, {"Action": []})
        merged[about] = {**one, "Action": sorted({*earlier["Action"], *one["Action"]})}
    return list(merged.values())


class _Arns:
    """The ARNs of a pipeline, by what actions are about."""

    def __init__(self, settings: Settings, place: Place) -> None:
        names = settings.names
        self.place = place
        self.main, self.dlq, self.hold = (place.queue(names.queue(role)) for role in QUEUE_ROLES)
        self.queues = [self.main, self.dlq, self.hold, place.queue(names.stream_failures)]
        self.table = place.table(settings.table.name)
        self.stream = place.stream(settings.table.name)
        unqualified = [place.function(names.function(role)) for role in FUNCTION_ROLES]
        # With a colon and the version or alias, too.
        self.functions = [*unqualified, *(f"{arn}:*" for arn in unqualified)]
        self.for_our_functions = {"ArnLike": {"lambda:FunctionArn": self.functions}}
        self.live_worker = place.function(names.function("worker"), LIVE_ALIAS)
        self.mappings = place.mapping("*")
        self.roles = [place.role(names.function(role)) for role in FUNCTION_ROLES]
        history = place.log_group(names.operations_log)
        groups = [*(place.log_group(names.log_group(role)) for role in FUNCTION_ROLES), history]
        # IAM sees some actions with the ":*" of a group's streams, and some without.
        self.log_groups = [form for arn in groups for form in (arn, f"{arn}:*")]
        # By number, of one digit or two: "orders-*" would be the rules of "orders-prod" as well.
        self.rules = [place.rule(f"{names.pipeline}-{digits}") for digits in ("?", "??")]
        self.schedules = [place.schedule(f"{names.pipeline}-{digits}") for digits in ("?", "??")]
        self.alarms = [place.alarm(names.alarm(role)) for role in ALARM_ROLES]
        self.parameters = key_parameters(settings, place)
        self.secrets = key_secrets(settings, place)


def _monitor(arns: _Arns) -> list[Statement]:
    return [
        # None of these takes a resource; DescribeAlarms and DescribeLogGroups AWS allows for all or none.
        allow(
            "Look",
            "cloudwatch:DescribeAlarms cloudwatch:GetMetricData cloudwatch:GetMetricStatistics"
            " events:ListRules lambda:GetAccountSettings lambda:ListEventSourceMappings"
            " logs:DescribeLogGroups scheduler:ListSchedules ssm:DescribeParameters",
            "*",
        ),
        allow("LookAtQueues", "sqs:GetQueueAttributes sqs:GetQueueUrl sqs:ListQueueTags", *arns.queues),
        allow("LookAtTable", "dynamodb:DescribeTable dynamodb:ListTagsOfResource", arns.table),
        allow(
            "LookAtFunctions",
            "lambda:GetAlias lambda:GetFunction lambda:GetFunctionConcurrency"
            " lambda:GetFunctionEventInvokeConfig lambda:GetPolicy lambda:ListTags",
            *arns.functions,
        ),
        allow("LookAtMapping", "lambda:ListTags", arns.mappings),
        allow(
            "LookAtRoles",
            "iam:GetRole iam:GetRolePolicy iam:ListAttachedRolePolicies iam:ListRolePolicies",
            *arns.roles,
        ),
        allow(
            "LookAtRules",
            "events:DescribeRule events:ListTagsForResource events:ListTargetsByRule",
            *arns.rules,
        ),
        allow("LookAtSchedules", "scheduler:GetSchedule", *arns.schedules),
        allow("LookAtAlarms", "cloudwatch:ListTagsForResource", *arns.alarms),
        allow("ReadLogs", "logs:FilterLogEvents logs:ListTagsForResource", *arns.log_groups),
        *([allow("LookAtKeys", "secretsmanager:DescribeSecret", *arns.secrets)] if arns.secrets else []),
    ]


def _operator(settings: Settings, arns: _Arns) -> list[Statement]:
    statements = [
        allow("Take", "sqs:ChangeMessageVisibility sqs:DeleteMessage sqs:ReceiveMessage", *arns.queues),
        allow("Send", "sqs:PurgeQueue sqs:SendMessage", arns.main, arns.dlq, arns.hold),
        allow(
            "Redrive",
            "sqs:CancelMessageMoveTask sqs:ListDeadLetterSourceQueues sqs:ListMessageMoveTasks"
            " sqs:StartMessageMoveTask",
            arns.dlq,
        ),
        allow("MarkMaintenance", "sqs:TagQueue sqs:UntagQueue", arns.main),
        # A drain or a replay writes down what it did where worker and enqueuer do, for trace and audit. All
        # that changes something writes into the operations log, for `history`.
        allow("WriteLogs", "logs:CreateLogStream logs:PutLogEvents", *arns.log_groups),
        allow("PutAndTrace", "dynamodb:BatchWriteItem dynamodb:PutItem dynamodb:Query", arns.table),
        # AWS's own examples have no resource here.
        allow("FindStreams", "dynamodb:ListStreams", "*"),
        allow(
            "ReadStream",
            "dynamodb:DescribeStream dynamodb:GetRecords dynamodb:GetShardIterator",
            arns.stream,
        ),
        allow("RunWorker", "lambda:InvokeFunction", arns.live_worker),
        allow(
            "PauseMappings",
            "lambda:GetEventSourceMapping lambda:UpdateEventSourceMapping",
            arns.mappings,
            condition=arns.for_our_functions,
        ),
    ]
    if not settings.worker.by_queue:
        statements.append(allow("PauseWorker", "events:DisableRule events:EnableRule", *arns.rules))
    if scheduler_timezone(settings):
        statements += [
            allow("PauseSchedules", "scheduler:UpdateSchedule", *arns.schedules),
            _pass("PassToScheduler", arns.roles[1], SCHEDULER),
        ]
    return [*statements, *read_keys(settings, arns.place)]


def _deployer(settings: Settings, arns: _Arns) -> list[Statement]:
    # Where the queue starts the worker, what was reserved for runs on a schedule is given up.
    reserve = "Delete" if settings.worker.by_queue else "Put"
    statements = [
        allow(
            "MakeQueues",
            "sqs:CreateQueue sqs:DeleteQueue sqs:SetQueueAttributes sqs:TagQueue sqs:UntagQueue",
            *arns.queues,
        ),
        allow(
            "MakeTable",
            "dynamodb:CreateTable dynamodb:DeleteTable dynamodb:Scan dynamodb:TagResource"
            " dynamodb:UpdateTable",
            arns.table,
        ),
        allow(
            "MakeFunctions",
            "lambda:AddPermission lambda:CreateAlias lambda:CreateFunction lambda:DeleteAlias"
            " lambda:DeleteFunction lambda:ListVersionsByFunction lambda:PublishVersion"
            f" lambda:{reserve}FunctionConcurrency lambda:PutFunctionEventInvokeConfig"
            " lambda:RemovePermission lambda:TagResource lambda:UpdateAlias lambda:UpdateFunctionCode"
            " lambda:UpdateFunctionConfiguration",
            *arns.functions,
        ),
        allow(
            "MakeMapping",
            "lambda:CreateEventSourceMapping lambda:DeleteEventSourceMapping lambda:GetEventSourceMapping"
            " lambda:UpdateEventSourceMapping",
            "*",
            condition=arns.for_our_functions,
        ),
        allow("TagMapping", "lambda:TagResource", arns.mappings),
        *_make_roles(settings, arns),
        allow(
            "MakeRules",
            "events:DeleteRule events:PutRule events:PutTargets events:RemoveTargets events:TagResource",
            *arns.rules,
        ),
        allow(
            "MakeSchedules",
            "scheduler:CreateSchedule scheduler:DeleteSchedule scheduler:UpdateSchedule",
            *arns.schedules,
        ),
        allow(
            "MakeAlarms",
            "cloudwatch:DeleteAlarms cloudwatch:PutMetricAlarm cloudwatch:TagResource",
            *arns.alarms,
        ),
        allow(
            "MakeLogGroups",
            "logs:CreateLogGroup logs:DeleteLogGroup logs:PutRetentionPolicy logs:TagResource",
            *arns.log_groups,
        ),
        allow("Logs", "logs:CreateLogStream logs:PutLogEvents", *arns.log_groups),
    ]
    statements += _set_keys(settings, arns)
    if settings.functions.subnets:
        # Lambda Developer Guide, "Giving Lambda functions access to resources in an Amazon VPC".
        # destroy waits until Lambda has deleted its network interfaces.
        network = (
            "ec2:DescribeNetworkInterfaces ec2:DescribeSecurityGroups ec2:DescribeSubnets ec2:DescribeVpcs"
        )
        statements.append(allow("LookAtNetwork", network, "*"))
    return statements


def _set_keys(settings: Settings, arns: _Arns) -> list[Statement]:
    """Allow to set keys. Of a secret with several fields the others are kept, so it is read as well."""
    statements = []
    if arns.parameters:
        statements += [
            allow("SetKeys", "ssm:AddTagsToResource ssm:PutParameter", *arns.parameters),
            use_key_by("ssm", "EncryptKeys", "kms:Encrypt kms:GenerateDataKey", arns.parameters, arns.place),
        ]
    if secrets := arns.secrets:
        actions = "secretsmanager:CreateSecret secretsmanager:PutSecretValue secretsmanager:TagResource"
        # Both are asked of who writes a value (User Guide, "Permissions for the KMS key").
        kms = "kms:Decrypt kms:GenerateDataKey"
        statements += [
            allow("SetSecrets", actions, *secrets),
            use_key_by("secretsmanager", "EncryptSecrets", kms, secrets, arns.place),
        ]
    if with_fields := key_secrets(settings, arns.place, with_fields=True):
        actions = "secretsmanager:GetSecretValue secretsmanager:UpdateSecretVersionStage"
        statements.append(allow("SetFields", actions, *with_fields))
    return statements


def _prover(name: str, place: Place) -> list[Statement]:
    """Allow what only `prove` does: its API, a look for what earlier runs left, and questions to IAM."""
    api = f"{name}-receiver"
    log_group = place.log_group(f"/aws/lambda/{api}")
    role = place.role(api)
    return [
        allow(
            "Find",
            "dynamodb:ListTables iam:ListPolicies iam:ListRoles iam:SimulateCustomPolicy lambda:ListFunctions"
            " lambda:ListEventSourceMappings sqs:ListQueues",
            "*",
        ),
        allow(
            "MakeApi",
            "lambda:AddPermission lambda:CreateFunction lambda:CreateFunctionUrlConfig lambda:DeleteFunction"
            " lambda:DeleteFunctionUrlConfig lambda:GetFunction lambda:GetFunctionConcurrency"
            " lambda:GetFunctionUrlConfig lambda:GetPolicy lambda:ListTags lambda:PutFunctionConcurrency"
            " lambda:RemovePermission lambda:TagResource lambda:UpdateFunctionConfiguration",
            place.function(api),
        ),
        allow(
            "MakeApisTable",
            "dynamodb:CreateTable dynamodb:DeleteTable dynamodb:DescribeTable dynamodb:ListTagsOfResource"
            " dynamodb:TagResource",
            place.table(api),
        ),
        allow(
            "MakeApisRole",
            "iam:CreateRole iam:DeleteRole iam:DeleteRolePolicy iam:DetachRolePolicy iam:GetRole"
            " iam:GetRolePolicy iam:ListAttachedRolePolicies iam:ListRolePolicies iam:PutRolePolicy"
            " iam:TagRole",
            role,
        ),
        _pass("PassApisRole", role, LAMBDA),
        allow(
            "MakeApisLog",
            "logs:CreateLogGroup logs:DeleteLogGroup logs:ListTagsForResource logs:PutRetentionPolicy"
            " logs:TagResource",
            log_group,
            f"{log_group}:*",
        ),
        allow("ReadTags", "iam:ListRoleTags", place.role(f"{name}-*")),
        allow(
            "TryPolicies",
            "iam:CreatePolicy iam:DeletePolicy iam:ListPolicyTags iam:TagPolicy",
            place.policy(f"{name}-*"),
        ),
        allow("RemoveKeys", "ssm:DeleteParameter ssm:ListTagsForResource", place.parameter(f"/{name}/*")),
    ]


def _make_roles(settings: Settings, arns: _Arns) -> list[Statement]:
    """Allow to make the two roles; with a permissions boundary, only roles that have it.

    Who could put any policy on a role and run code in it could do anything. Which actions know
    ``iam:PermissionsBoundary`` is in the Service Authorization Reference; UpdateAssumeRolePolicy does not,
    and DeleteRolePermissionsBoundary would end it: with a boundary, neither is allowed.
    """
    bounded = (
        "iam:CreateRole iam:DeleteRolePolicy iam:DetachRolePolicy iam:PutRolePermissionsBoundary"
        " iam:PutRolePolicy"
    )
    plain = "iam:DeleteRole iam:TagRole"
    enqueuer, worker = arns.roles
    passing = [
        _pass("PassEnqueuer", enqueuer, LAMBDA),
        _pass("PassWorker", worker, LAMBDA, SCHEDULER),
    ]
    if boundary := settings.functions.permissions_boundary:
        condition = {"StringEquals": {"iam:PermissionsBoundary": boundary}}
        return [
            allow("MakeBoundedRoles", bounded, *arns.roles, condition=condition),
            allow("MakeRoles", plain, *arns.roles),
            *passing,
        ]
    unbounded = "iam:DeleteRolePermissionsBoundary iam:UpdateAssumeRolePolicy"
    return [allow("MakeRoles", f"{bounded} {plain} {unbounded}", *arns.roles), *passing]


def _pass(sid: str, role: str, *services: str) -> Statement:
    condition = {"StringEquals": {"iam:PassedToService": list(services)}}
    return allow(sid, "iam:PassRole", role, condition=condition)
