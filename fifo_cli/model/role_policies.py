"""What the two functions may do: one policy each, on ARNs wherever IAM takes one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fifo_cli.model.names import LIVE_ALIAS, FunctionRole, Names, Place

if TYPE_CHECKING:
    from fifo_cli.model.settings import Settings

Statement = dict[str, Any]
POLICY_VERSION: Final = "2012-10-17"
SCHEDULER: Final = "scheduler.amazonaws.com"
INTERFACE_ACTION: Final = "ec2:CreateNetworkInterface"
# Lambda Developer Guide, "Giving Lambda functions access to resources in an Amazon VPC"; none of these
# takes a resource before the interface exists.
_NETWORK: Final = [
    "ec2:AssignPrivateIpAddresses",
    INTERFACE_ACTION,
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
]


def role_trust(settings: Settings, place: Place, role: FunctionRole) -> dict[str, Any]:
    """Return who may assume a function's role: Lambda, and Scheduler where it starts the worker."""
    statements = [_trust("Lambda", "lambda.amazonaws.com")]
    if role == "worker" and settings.schedule.timezone:
        # EventBridge Scheduler User Guide, "Confused deputy prevention".
        only_ours = {"StringEquals": {"aws:SourceAccount": place.account}}
        statements.append({**_trust("Scheduler", SCHEDULER), "Condition": only_ours})
    return {"Version": POLICY_VERSION, "Statement": statements}


def role_policy(settings: Settings, names: Names, place: Place, role: FunctionRole) -> dict[str, Any]:
    """Return the one inline policy of a function's role."""
    statements = [
        allow(
            "Log",
            ["logs:CreateLogStream", "logs:PutLogEvents"],
            f"{place.log_group(names.log_group(role))}:*",
        )
    ]
    statements += _enqueuer(settings, names, place) if role == "enqueuer" else _worker(settings, names, place)
    if settings.queue.kms_key:
        # To send takes a data key, to receive takes decryption (SQS Developer Guide, "Key management").
        statements.append(use_key(place, settings.queue.kms_key))
    if settings.functions.subnets:
        statements += use_network()
    return {"Version": POLICY_VERSION, "Statement": statements}


def _enqueuer(settings: Settings, names: Names, place: Place) -> list[Statement]:
    stream = [
        "dynamodb:DescribeStream",
        "dynamodb:GetRecords",
        "dynamodb:GetShardIterator",
        "dynamodb:ListStreams",
    ]
    queues = [place.queue(names.main), place.queue(names.dlq)]
    return [
        allow("ReadStream", stream, place.stream(settings.table.name)),
        allow("Send", ["sqs:GetQueueUrl", "sqs:SendMessage"], *queues),
        # Lambda itself sends here, with this role.
        allow("ReportFailedBatches", ["sqs:SendMessage"], place.queue(names.stream_failures)),
    ]


def _worker(settings: Settings, names: Names, place: Place) -> list[Statement]:
    take = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:ReceiveMessage"]
    statements = [
        allow("Take", take, place.queue(names.main)),
        allow("Park", ["sqs:GetQueueUrl", "sqs:SendMessage"], place.queue(names.dlq)),
    ]
    parameters = sorted({place.parameter(name) for name in settings.parameters.values()})
    if parameters:
        # The key of a SecureString is not known here; the condition admits it only by way of Parameter Store.
        by_way_of = {"StringEquals": {"kms:ViaService": f"ssm.{place.region}.amazonaws.com"}}
        statements += [
            allow("ReadKeys", ["ssm:GetParameters"], *parameters),
            {**allow("DecryptKeys", ["kms:Decrypt"], place.key("*")), "Condition": by_way_of},
        ]
    if settings.schedule.timezone:
        live = place.function(names.function("worker"), LIVE_ALIAS)
        statements.append(allow("Start", ["lambda:InvokeFunction"], live))
    return statements


def use_key(place: Place, key: str) -> Statement:
    """Allow the queues' key; IAM knows an alias only as a condition (KMS, "kms:ResourceAliases")."""
    actions = ["kms:Decrypt", "kms:GenerateDataKey"]
    _, is_alias, alias = f":{key}".partition(":alias/")
    if not is_alias:
        return allow("UseKey", actions, place.key(key))
    condition = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": f"alias/{alias}"}}
    return {**allow("UseKey", actions, place.key("*")), "Condition": condition}


def use_network() -> list[Statement]:
    """Allow Lambda, which has the role of a function, to make and delete its network interfaces.

    The function's code has the same role and does not need it: only its calls have a source function
    (Lambda Developer Guide, "Using source function ARN to control function access behavior").
    """
    by_code = {"Null": {"lambda:SourceFunctionArn": "false"}}
    denied = {**allow("NoNetworkForCode", _NETWORK, "*"), "Effect": "Deny", "Condition": by_code}
    return [allow("Network", _NETWORK, "*"), denied]


def read_table_key(key: str) -> Statement:
    """Allow to read a table, and its stream, that a KMS key of the account encrypts.

    DynamoDB uses the key for whoever calls (DynamoDB Developer Guide, "DynamoDB encryption at rest"); its
    streams are encrypted with the key of the table ("Encryption at rest usage notes").
    """
    return allow("UseTableKey", ["kms:Decrypt", "kms:DescribeKey"], key)


def allow(sid: str, actions: list[str], *resources: str) -> Statement:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": list(resources)}


def _trust(sid: str, service: str) -> Statement:
    return {"Sid": sid, "Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
