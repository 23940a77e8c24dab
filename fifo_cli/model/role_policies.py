"""What the two functions may do: one policy each, on ARNs wherever IAM takes one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fifo_cli.handlers.key_sources import secret_of
from fifo_cli.model.names import LIVE_ALIAS, FunctionRole, Place
from fifo_cli.model.worker_trigger import scheduler_timezone

if TYPE_CHECKING:
    from fifo_cli.model.settings import Settings

Statement = dict[str, Any]
Condition = dict[str, dict[str, Any]]
LAMBDA: Final = "lambda.amazonaws.com"
SCHEDULER: Final = "scheduler.amazonaws.com"
INTERFACE_ACTION: Final = "ec2:CreateNetworkInterface"
# Lambda Developer Guide, "Giving Lambda functions access to resources in an Amazon VPC"; none of these
# takes a resource before the interface exists.
_NETWORK: Final = (
    f"ec2:AssignPrivateIpAddresses {INTERFACE_ACTION} ec2:DeleteNetworkInterface"
    " ec2:DescribeNetworkInterfaces ec2:DescribeSubnets ec2:UnassignPrivateIpAddresses"
)


def role_trust(settings: Settings, place: Place, role: FunctionRole) -> dict[str, Any]:
    """Return who may assume a function's role: Lambda, and Scheduler where it starts the worker."""
    statements = [trust("Lambda", LAMBDA)]
    if role == "worker" and scheduler_timezone(settings):
        # EventBridge Scheduler User Guide, "Confused deputy prevention".
        only_ours = {"StringEquals": {"aws:SourceAccount": place.account}}
        statements.append({**trust("Scheduler", SCHEDULER), "Condition": only_ours})
    return document(statements)


def role_policy(settings: Settings, place: Place, role: FunctionRole) -> dict[str, Any]:
    """Return the one inline policy of a function's role."""
    log_streams = f"{place.log_group(settings.names.log_group(role))}:*"
    statements = [allow("Log", "logs:CreateLogStream logs:PutLogEvents", log_streams)]
    statements += (_enqueuer if role == "enqueuer" else _worker)(settings, place)
    if settings.queue.kms_key:
        # To send takes a data key, to receive takes decryption (SQS Developer Guide, "Key management").
        statements.append(use_key(place, settings.queue.kms_key))
    if settings.functions.subnets:
        statements += use_network()
    return document(statements)


def _enqueuer(settings: Settings, place: Place) -> list[Statement]:
    names = settings.names
    queues = [place.queue(names.main), place.queue(names.dlq)]
    return [
        allow(
            "ReadStream",
            "dynamodb:DescribeStream dynamodb:GetRecords dynamodb:GetShardIterator dynamodb:ListStreams",
            place.stream(settings.table.name),
        ),
        allow("Send", "sqs:GetQueueUrl sqs:SendMessage", *queues),
        # Lambda itself sends here, with this role.
        allow("ReportFailedBatches", "sqs:SendMessage", place.queue(names.stream_failures)),
    ]


def _worker(settings: Settings, place: Place) -> list[Statement]:
    names = settings.names
    # Lambda polls with the role of the function.
    polls = " sqs:GetQueueAttributes" if settings.worker.by_queue else ""
    statements = [
        allow(
            "Take",
            f"sqs:ChangeMessageVisibility sqs:DeleteMessage sqs:GetQueueUrl sqs:ReceiveMessage{polls}",
            place.queue(names.main),
        ),
        allow("Park", "sqs:GetQueueUrl sqs:SendMessage", place.queue(names.dlq)),
    ]
    statements += read_keys(settings, place)
    if scheduler_timezone(settings):
        live = place.function(names.function("worker"), LIVE_ALIAS)
        statements.append(allow("Start", "lambda:InvokeFunction", live))
    return statements


def read_keys(settings: Settings, place: Place) -> list[Statement]:
    """Allow to read the values of the keys of the APIs, if there are any."""
    statements = []
    if parameters := key_parameters(settings, place):
        statements += [
            allow("ReadKeys", "ssm:GetParameters", *parameters),
            use_key_by("ssm", "DecryptKeys", "kms:Decrypt", parameters, place),
        ]
    if secrets := key_secrets(settings, place):
        statements += [
            allow("ReadSecrets", "secretsmanager:GetSecretValue", *secrets),
            use_key_by("secretsmanager", "DecryptSecrets", "kms:Decrypt", secrets, place),
        ]
    return statements


def key_parameters(settings: Settings, place: Place) -> list[str]:
    """Return the ARNs of the parameters that hold keys of the APIs."""
    return sorted({place.parameter(one) for one in settings.parameters.values() if secret_of(one) is None})


def key_secrets(settings: Settings, place: Place, *, with_fields: bool = False) -> list[str]:
    """Return the ARNs of the secrets that hold keys, or only of those of which a field is a key."""
    secrets = [secret for one in settings.parameters.values() if (secret := secret_of(one))]
    chosen = [one for one in secrets if one.field is not None or not with_fields]
    return sorted({arn for one in chosen for arn in place.secret(one.id)})


def use_key_by(service: str, sid: str, actions: str, sources: list[str], place: Place) -> Statement:
    """Allow something with the KMS keys of parameters or secrets, but only by way of their service.

    Which keys these are is not known here. That of another account's secret is in that account.
    """
    condition = {"StringEquals": {"kms:ViaService": f"{service}.{place.region}.amazonaws.com"}}
    accounts = sorted({arn.split(":")[4] for arn in sources})
    keys = [place._replace(account=account).key("*") for account in accounts]
    return allow(sid, actions, *keys, condition=condition)


def use_key(place: Place, key: str) -> Statement:
    """Allow the queues' key; IAM knows an alias only as a condition (KMS, "kms:ResourceAliases")."""
    actions = "kms:Decrypt kms:GenerateDataKey"
    _, is_alias, alias = f":{key}".partition(":alias/")
    if not is_alias:
        return allow("UseKey", actions, place.key(key))
    condition = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": f"alias/{alias}"}}
    return allow("UseKey", actions, place.key("*"), condition=condition)


def use_network() -> list[Statement]:
    """Allow Lambda, which has the role of a function, to make and delete its network interfaces.

    The function's code has the same role and does not need it: only its calls have a source function
    (Lambda Developer Guide, "Using source function ARN to control function access behavior").
    """
    by_code = {"Null": {"lambda:SourceFunctionArn": "false"}}
    denied = {**allow("NoNetworkForCode", _NETWORK, "*", condition=by_code), "Effect": "Deny"}
    return [allow("Network", _NETWORK, "*"), denied]


def read_table_key(key: str) -> Statement:
    """Allow to read a table, and its stream, that a KMS key of the account encrypts.

    DynamoDB uses the key for whoever calls (DynamoDB Developer Guide, "DynamoDB encryption at rest"); its
    streams are encrypted with the key of the table ("Encryption at rest usage notes").
    """
    return allow("UseTableKey", "kms:Decrypt kms:DescribeKey", key)


def use_table_key(key: str) -> Statement:
    """Allow to write to such a table, too ("Authorizing use of your customer managed key")."""
    return allow(
        "UseTableKey",
        "kms:Decrypt kms:DescribeKey kms:Encrypt kms:GenerateDataKey kms:GenerateDataKeyWithoutPlaintext"
        " kms:ReEncryptFrom kms:ReEncryptTo",
        key,
    )


def document(statements: list[Statement]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": statements}


def allow(sid: str, actions: str, *resources: str, condition: Condition | None = None) -> Statement:
    """Return a statement that allows ``actions``, separated by spaces."""
    statement = {"Sid": sid, "Effect": "Allow", "Action": actions.split(), "Resource": list(resources)}
    return {**statement, "Condition": condition} if condition else statement


def trust(sid: str, service: str) -> Statement:
    return {"Sid": sid, "Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
