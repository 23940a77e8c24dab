"""What people and boxes may do to one pipeline: a policy for a monitor, an operator, a deployer.

Which calls each command makes is checked by tests against the calls that were recorded. The ARNs an action
takes are those of the Service Authorization Reference; what it does not tie to a resource is on ``*``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Literal

from fifo_cli.model.names import (
    ALARM_ROLES,
    FUNCTION_ROLES,
    LIVE_ALIAS,
    QUEUE_ROLES,
    Names,
    Place,
)
from fifo_cli.model.role_policies import POLICY_VERSION, Statement, allow, read_table_key, use_key

if TYPE_CHECKING:
    from fifo_cli.model.settings import Settings

Audience = Literal["operator", "monitor", "deployer"]
# IAM User Guide, "IAM and AWS STS quotas"; white space is not counted.
MANAGED_POLICY_SIZE: Final = 6144

# None of these takes a resource; DescribeAlarms and DescribeLogGroups AWS allows for all or none.
_LOOK_ANYWHERE: Final = [
    "cloudwatch:DescribeAlarms",
    "cloudwatch:GetMetricData",
    "cloudwatch:GetMetricStatistics",
    "events:ListRules",
    "lambda:GetAccountSettings",
    "lambda:ListEventSourceMappings",
    "logs:DescribeLogGroups",
    "scheduler:ListSchedules",
    "ssm:DescribeParameters",
]


# What it takes to write to a table that a key of the account encrypts, and to read it (DynamoDB Developer
# Guide, "Authorizing use of your customer managed key").
_WRITE_WITH_KEY: Final = [
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
]


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
    if settings.queue.kms_key and audience != "monitor":
        statements.append(use_key(place, settings.queue.kms_key))
    if table_key and audience != "monitor":
        writes = allow("UseTableKey", _WRITE_WITH_KEY, table_key)
        # destroy looks whether there are items.
        statements.append(writes if audience == "operator" else read_table_key(table_key))
    return _document(_merged(statements))


def people_policies(
    settings: Settings, place: Place, audience: Audience, *, table_key: str | None = None
) -> list[dict[str, Any]]:
    """Return the same as one document or several, each of which IAM takes as a managed policy."""
    statements = people_policy(settings, place, audience, table_key=table_key)["Statement"]
    documents: list[list[Statement]] = [[]]
    for one in (part for statement in statements for part in _parts(statement)):
        if documents[-1] and _size([*documents[-1], one]) > MANAGED_POLICY_SIZE:
            documents.append([])
        documents[-1].append(one)
    return [_document(each) for each in documents]


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


def _document(statements: list[Statement]) -> dict[str, Any]:
    return {"Version": POLICY_VERSION, "Statement": statements}


def _size(statements: list[Statement]) -> int:
    return len(json.dumps(_document(statements), separators=(",", ":")))


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
        names = Names(settings.pipeline.name)
        self.place = place
        self.main, self.dlq, self.hold = (place.queue(names.queue(role)) for role in QUEUE_ROLES)
        self.failures = place.queue(names.stream_failures)
        self.fifo = [self.main, self.dlq, self.hold]
        self.queues = [*self.fifo, self.failures]
        self.table = place.table(settings.table.name)
        self.stream = place.stream(settings.table.name)
        self.functions = [place.function(names.function(role)) for role in FUNCTION_ROLES]
        # With a colon and the version or alias.
        self.qualified = [f"{arn}:*" for arn in self.functions]
        self.worker = place.function(names.function("worker"))
        self.live_worker = place.function(names.function("worker"), LIVE_ALIAS)
        self.mappings = place.mapping("*")
        self.roles = [place.role(names.function(role)) for role in FUNCTION_ROLES]
        self.log_groups = [place.log_group(names.log_group(role)) for role in FUNCTION_ROLES]
        # By number, of one digit or two: "orders-*" would be the rules of "orders-prod" as well.
        self.rules = [place.rule(f"{names.pipeline}-{digits}") for digits in ("?", "??")]
        self.schedules = [place.schedule(f"{names.pipeline}-{digits}") for digits in ("?", "??")]
        self.alarms = [place.alarm(names.alarm(role)) for role in ALARM_ROLES]
        self.parameters = sorted({place.parameter(name) for name in settings.parameters.values()})
        self.by_way_of_ssm = {"StringEquals": {"kms:ViaService": f"ssm.{place.region}.amazonaws.com"}}


def _monitor(arns: _Arns) -> list[Statement]:
    return [
        allow("LookAnywhere", _LOOK_ANYWHERE, "*"),
        allow(
            "LookAtQueues", ["sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ListQueueTags"], *arns.queues
        ),
        allow("LookAtTable", ["dynamodb:DescribeTable", "dynamodb:ListTagsOfResource"], arns.table),
        allow(
            "LookAtFunctions",
            [
                "lambda:GetAlias",
                "lambda:GetFunction",
                "lambda:GetFunctionConcurrency",
                "lambda:GetFunctionEventInvokeConfig",
                "lambda:GetPolicy",
                "lambda:ListTags",
            ],
            *arns.functions,
            *arns.qualified,
        ),
        allow("LookAtMapping", ["lambda:ListTags"], arns.mappings),
        allow(
            "LookAtRoles",
            ["iam:GetRole", "iam:GetRolePolicy", "iam:ListAttachedRolePolicies", "iam:ListRolePolicies"],
            *arns.roles,
        ),
        allow(
            "LookAtRules",
            ["events:DescribeRule", "events:ListTagsForResource", "events:ListTargetsByRule"],
            *arns.rules,
        ),
        allow("LookAtSchedules", ["scheduler:GetSchedule"], *arns.schedules),
        allow("LookAtAlarms", ["cloudwatch:ListTagsForResource"], *arns.alarms),
        # IAM sees some of these with the ":*" of a group's streams, and some without.
        allow(
            "ReadLogs",
            ["logs:FilterLogEvents", "logs:ListTagsForResource"],
            *(form for arn in arns.log_groups for form in (arn, f"{arn}:*")),
        ),
    ]


def _operator(settings: Settings, arns: _Arns) -> list[Statement]:
    take = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:ReceiveMessage"]
    only_ours = {"ArnLike": {"lambda:FunctionArn": [*arns.functions, *arns.qualified]}}
    statements = [
        allow("Take", take, *arns.queues),
        allow("Send", ["sqs:PurgeQueue", "sqs:SendMessage"], *arns.fifo),
        allow(
            "Redrive",
            [
                "sqs:CancelMessageMoveTask",
                "sqs:ListDeadLetterSourceQueues",
                "sqs:ListMessageMoveTasks",
                "sqs:StartMessageMoveTask",
            ],
            arns.dlq,
        ),
        allow("MarkMaintenance", ["sqs:TagQueue", "sqs:UntagQueue"], arns.main),
        # A drain or a replay writes down what it did where worker and enqueuer do, for trace and audit.
        allow(
            "WriteLogs",
            ["logs:CreateLogStream", "logs:PutLogEvents"],
            *(f"{arn}:*" for arn in arns.log_groups),
        ),
        allow("PutAndTrace", ["dynamodb:PutItem", "dynamodb:Query"], arns.table),
        # AWS's own examples have no resource here.
        allow("FindStreams", ["dynamodb:ListStreams"], "*"),
        allow(
            "ReadStream",
            ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"],
            arns.stream,
        ),
        allow("RunWorker", ["lambda:InvokeFunction"], arns.live_worker),
        {
            **allow(
                "PauseEnqueuer",
                ["lambda:GetEventSourceMapping", "lambda:UpdateEventSourceMapping"],
                arns.mappings,
            ),
            "Condition": only_ours,
        },
        allow("PauseWorker", ["events:DisableRule", "events:EnableRule"], *arns.rules),
    ]
    if settings.schedule.timezone:
        statements += [
            allow("PauseSchedules", ["scheduler:UpdateSchedule"], *arns.schedules),
            _pass("PassToScheduler", arns.roles[1:], "scheduler.amazonaws.com"),
        ]
    if arns.parameters:
        decrypt = allow("DecryptKeys", ["kms:Decrypt"], arns.place.key("*"))
        statements += [
            allow("ReadKeys", ["ssm:GetParameters"], *arns.parameters),
            {**decrypt, "Condition": arns.by_way_of_ssm},
        ]
    return statements


def _deployer(settings: Settings, arns: _Arns) -> list[Statement]:
    statements = [
        allow(
            "MakeQueues",
            [
                "sqs:CreateQueue",
                "sqs:DeleteQueue",
                "sqs:SetQueueAttributes",
                "sqs:TagQueue",
                "sqs:UntagQueue",
            ],
            *arns.queues,
        ),
        allow(
            "MakeTable",
            [
                "dynamodb:CreateTable",
                "dynamodb:DeleteTable",
                "dynamodb:Scan",
                "dynamodb:TagResource",
                "dynamodb:UpdateTable",
            ],
            arns.table,
        ),
        allow(
            "MakeFunctions",
            [
                "lambda:AddPermission",
                "lambda:CreateAlias",
                "lambda:CreateFunction",
                "lambda:DeleteAlias",
                "lambda:DeleteFunction",
                "lambda:ListVersionsByFunction",
                "lambda:PublishVersion",
                "lambda:PutFunctionConcurrency",
                "lambda:PutFunctionEventInvokeConfig",
                "lambda:RemovePermission",
                "lambda:TagResource",
                "lambda:UpdateAlias",
                "lambda:UpdateFunctionCode",
                "lambda:UpdateFunctionConfiguration",
            ],
            *arns.functions,
            *arns.qualified,
        ),
        {
            **allow(
                "MakeMapping",
                [
                    "lambda:CreateEventSourceMapping",
                    "lambda:DeleteEventSourceMapping",
                    "lambda:GetEventSourceMapping",
                    "lambda:UpdateEventSourceMapping",
                ],
                "*",
            ),
            "Condition": {"ArnLike": {"lambda:FunctionArn": [*arns.functions, *arns.qualified]}},
        },
        allow("TagMapping", ["lambda:TagResource"], arns.mappings),
        *_make_roles(settings, arns),
        allow(
            "MakeRules",
            [
                "events:DeleteRule",
                "events:PutRule",
                "events:PutTargets",
                "events:RemoveTargets",
                "events:TagResource",
            ],
            *arns.rules,
        ),
        allow(
            "MakeSchedules",
            ["scheduler:CreateSchedule", "scheduler:DeleteSchedule", "scheduler:UpdateSchedule"],
            *arns.schedules,
        ),
        allow(
            "MakeAlarms",
            ["cloudwatch:DeleteAlarms", "cloudwatch:PutMetricAlarm", "cloudwatch:TagResource"],
            *arns.alarms,
        ),
        allow(
            "MakeLogGroups",
            ["logs:CreateLogGroup", "logs:DeleteLogGroup", "logs:PutRetentionPolicy", "logs:TagResource"],
            *(form for arn in arns.log_groups for form in (arn, f"{arn}:*")),
        ),
    ]
    if arns.parameters:
        encrypt = allow("EncryptKeys", ["kms:Encrypt", "kms:GenerateDataKey"], arns.place.key("*"))
        statements += [
            allow("SetKeys", ["ssm:AddTagsToResource", "ssm:PutParameter"], *arns.parameters),
            {**encrypt, "Condition": arns.by_way_of_ssm},
        ]
    if settings.functions.subnets:
        # Lambda Developer Guide, "Giving Lambda functions access to resources in an Amazon VPC".
        # destroy waits until Lambda has deleted its network interfaces.
        network = [
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcs",
        ]
        statements.append(allow("LookAtNetwork", network, "*"))
    return statements


def _make_roles(settings: Settings, arns: _Arns) -> list[Statement]:
    """Allow to make the two roles; with a permissions boundary, only roles that have it.

    Who could put any policy on a role and run code in it could do anything. Which actions know
    ``iam:PermissionsBoundary`` is in the Service Authorization Reference; UpdateAssumeRolePolicy does not,
    and DeleteRolePermissionsBoundary would end it: with a boundary, neither is allowed.
    """
    bounded = [
        "iam:CreateRole",
        "iam:DeleteRolePolicy",
        "iam:DetachRolePolicy",
        "iam:PutRolePermissionsBoundary",
        "iam:PutRolePolicy",
    ]
    plain = ["iam:DeleteRole", "iam:TagRole"]
    boundary = settings.functions.permissions_boundary
    enqueuer, worker = arns.roles
    passing = [
        _pass("PassEnqueuerRole", [enqueuer], "lambda.amazonaws.com"),
        _pass("PassWorkerRole", [worker], "lambda.amazonaws.com", "scheduler.amazonaws.com"),
    ]
    if not boundary:
        unbounded = ["iam:DeleteRolePermissionsBoundary", "iam:UpdateAssumeRolePolicy"]
        return [allow("MakeRoles", sorted([*bounded, *plain, *unbounded]), *arns.roles), *passing]
    condition = {"StringEquals": {"iam:PermissionsBoundary": boundary}}
    return [
        {**allow("MakeBoundedRoles", bounded, *arns.roles), "Condition": condition},
        allow("MakeRoles", plain, *arns.roles),
        *passing,
    ]


def _pass(sid: str, roles: list[str], *services: str) -> Statement:
    condition = {"StringEquals": {"iam:PassedToService": sorted(services)}}
    return {**allow(sid, ["iam:PassRole"], *roles), "Condition": condition}
