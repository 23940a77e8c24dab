"""Attempts of each holder of a policy to get at more than docs/security.md says, and what comes nearest.

Which condition keys an action knows is in the Service Authorization Reference ("Actions, resources, and
condition keys for" IAM, Lambda, SQS, Systems Manager, Secrets Manager, KMS, EventBridge and its Scheduler).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from fifo_cli.model.names import Place
from fifo_cli.model.operator_policies import people_policies
from fifo_cli.model.role_policies import role_policy
from fifo_cli.model.settings import load
from tests.iam_evaluation import Need

Holder = Literal["monitor", "operator", "deployer", "enqueuer", "worker"]
HOLDERS: Final[tuple[Holder, ...]] = ("monitor", "operator", "deployer", "enqueuer", "worker")
PLACE: Final = Place("000000000000", "us-east-1")
BOUNDARY: Final = "arn:aws:iam::000000000000:policy/pipelines"
ADMIN: Final = "arn:aws:iam::aws:policy/AdministratorAccess"
TOML: Final = f"""
[pipeline]
name = "orders"
[table]
name = "orders"
[functions]
permissions_boundary = "{BOUNDARY}"
[schedule]
expressions = ["rate(5 minutes)"]
timezone = "Europe/Berlin"
[api]
url = "https://api.example.com/orders"
headers = {{ Authorization = "Bearer {{api_key}}" }}
[api.keys]
api_key = "/orders/key"
all = "secretsmanager:orders/all"
part = "secretsmanager:orders/part#f"
"""


def policies_of(holder: Holder, folder: Path, *, more: str = "", without: str = "") -> list[dict[str, Any]]:
    """Return what this program prints, or puts on a function's role, for a pipeline with a boundary."""
    (folder / "fifo.toml").write_text(TOML.replace(without, "").replace("[schedule]", f"{more}\n[schedule]"))
    settings = load(folder / "fifo.toml").settings
    match holder:
        case "enqueuer" | "worker":
            return [role_policy(settings, PLACE, holder)]
        case _:
            return people_policies(settings, PLACE, holder)


@dataclass(frozen=True)
class Attempt:
    """What somebody tries, what is nearest to it and allowed, and the call, where the stack knows it."""

    what: str
    holder: Holder
    need: Need
    twin: Need | None = None
    call: tuple[str, str, Mapping[str, Any]] | None = None


def _role(name: str) -> str:
    return PLACE.role(name)


def _function(name: str, alias: str | None = None) -> str:
    return PLACE.function(name, alias) if alias else PLACE.function(name)


def _try(
    what: str,
    holder: Holder,
    action: str,
    resource: str,
    context: Mapping[str, str] | None = None,
    *,
    own: str | None = None,
    rightly: Mapping[str, str] | None = None,
    call: tuple[str, Mapping[str, Any]] | None = None,
) -> Attempt:
    """Make an attempt; ``own`` and ``rightly`` are the resource and the context that would be allowed."""
    need = Need(action, resource, tuple((context or {}).items()))
    twin = None
    if own or rightly is not None:
        twin = replace(need, resource=own or resource, context=tuple((rightly or context or {}).items()))
    service = action.partition(":")[0]
    return Attempt(what, holder, need, twin, (service, *call) if call else None)


_OURS: Final = {"iam:PermissionsBoundary": BOUNDARY}
_ADMINS: Final = {"iam:PermissionsBoundary": ADMIN}
_TRUST: Final = '{"Version": "2012-10-17", "Statement": []}'
_MAPPING: Final = PLACE.mapping("12345678-1234-1234-1234-123456789012")
_ALL: Final = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
_BY_SSM: Final = {"kms:ViaService": "ssm.us-east-1.amazonaws.com"}
_BY_S3: Final = {"kms:ViaService": "s3.us-east-1.amazonaws.com"}
_BY_SECRETS: Final = {"kms:ViaService": "secretsmanager.us-east-1.amazonaws.com"}


def _secret(name: str) -> str:
    """Return the ARN of a secret that exists."""
    return f"arn:aws:secretsmanager:us-east-1:000000000000:secret:{name}-x1Y2z3"


def _url(queue: str) -> str:
    return f"http://127.0.0.1/000000000000/{queue}"


def _deployer() -> list[Attempt]:
    d: Holder = "deployer"
    worker, admin, theirs = _role("orders-worker"), _role("admin"), _role("billing-worker")
    named = {"RoleName": "orders-worker"}
    put = {**named, "PolicyName": "fifo-cli", "PolicyDocument": _ALL}
    create = {**named, "AssumeRolePolicyDocument": _TRUST}
    return [
        _try("make a role without a boundary", d, "iam:CreateRole", worker, rightly=_OURS,
             call=("create_role", create)),
        _try("make a role with a boundary that allows everything", d, "iam:CreateRole", worker, _ADMINS,
             rightly=_OURS, call=("create_role", {**create, "PermissionsBoundary": ADMIN})),
        _try("make a role of another name", d, "iam:CreateRole", admin, _OURS, own=worker,
             call=("create_role", {**create, "RoleName": "admin", "PermissionsBoundary": BOUNDARY})),
        _try("let a role without a boundary do everything", d, "iam:PutRolePolicy", worker, rightly=_OURS,
             call=("put_role_policy", put)),
        _try("let the role of another pipeline do everything", d, "iam:PutRolePolicy", theirs, _OURS,
             own=worker, call=("put_role_policy", {**put, "RoleName": "billing-worker"})),
        _try("put an administrator's policy on a role", d, "iam:AttachRolePolicy", worker,
             {**_OURS, "iam:PolicyARN": ADMIN}, call=("attach_role_policy", {**named, "PolicyArn": ADMIN})),
        _try("change the boundary", d, "iam:PutRolePermissionsBoundary", worker, _ADMINS, rightly=_OURS,
             call=("put_role_permissions_boundary", {**named, "PermissionsBoundary": ADMIN})),
        _try("take the boundary off", d, "iam:DeleteRolePermissionsBoundary", worker, _OURS,
             call=("delete_role_permissions_boundary", named)),
        _try("widen the boundary's own policy", d, "iam:CreatePolicyVersion", BOUNDARY,
             call=("create_policy_version", {"PolicyArn": BOUNDARY, "PolicyDocument": _ALL})),
        _try("let oneself assume a role that is there", d, "iam:UpdateAssumeRolePolicy", worker, _OURS,
             call=("update_assume_role_policy", {**named, "PolicyDocument": _TRUST})),
        _try("assume the worker's role", d, "sts:AssumeRole", worker),
        _try("give the role to a machine", d, "iam:PassRole", worker,
             {"iam:PassedToService": "ec2.amazonaws.com"},
             rightly={"iam:PassedToService": "lambda.amazonaws.com"}),
        _try("give an administrator's role to a function", d, "iam:PassRole", admin,
             {"iam:PassedToService": "lambda.amazonaws.com"}, own=worker),
        _try("give the enqueuer's role to Scheduler", d, "iam:PassRole", _role("orders-enqueuer"),
             {"iam:PassedToService": "scheduler.amazonaws.com"}, own=worker),
        _try("make a user's key", d, "iam:CreateAccessKey", "arn:aws:iam::000000000000:user/admin",
             call=("create_access_key", {"UserName": "admin"})),
        _try("put code into another pipeline's function", d, "lambda:UpdateFunctionCode",
             _function("billing-worker"), own=_function("orders-worker"),
             call=("update_function_code", {"FunctionName": "billing-worker", "ZipFile": b"PK"})),
        _try("put code into a function whose name begins alike", d, "lambda:UpdateFunctionCode",
             _function("orders-worker-2"), own=_function("orders-worker"),
             call=("update_function_code", {"FunctionName": "orders-worker-2", "ZipFile": b"PK"})),
        _try("make a function of another name", d, "lambda:CreateFunction", _function("door"),
             own=_function("orders-worker")),
        _try("feed another pipeline's function", d, "lambda:CreateEventSourceMapping", "*",
             {"lambda:FunctionArn": _function("billing-worker")},
             rightly={"lambda:FunctionArn": _function("orders-enqueuer")}),
        _try("open a function to the internet", d, "lambda:CreateFunctionUrlConfig",
             _function("orders-worker"), {"lambda:FunctionUrlAuthType": "NONE"}),
        _try("publish a layer for others to use", d, "lambda:PublishLayerVersion",
             "arn:aws:lambda:us-east-1:000000000000:layer:tools"),
        _try("run a function now", d, "lambda:InvokeFunction", _function("orders-worker", "live"),
             call=("invoke", {"FunctionName": "orders-worker"})),
        _try("write another's parameter", d, "ssm:PutParameter", PLACE.parameter("/billing/key"),
             own=PLACE.parameter("/orders/key"),
             call=("put_parameter", {"Name": "/billing/key", "Value": "x", "Type": "SecureString"})),
        _try("read a key", d, "ssm:GetParameters", PLACE.parameter("/orders/key"),
             call=("get_parameters", {"Names": ["/orders/key"], "WithDecryption": True})),
        _try("decrypt with any key", d, "kms:Decrypt", PLACE.key("k"), _BY_SSM),
        _try("decrypt by way of S3", d, "kms:Decrypt", PLACE.key("k"), _BY_S3, rightly=_BY_SECRETS),
        _try("read a secret that is a key as a whole", d, "secretsmanager:GetSecretValue",
             _secret("orders/all"), own=_secret("orders/part")),
        _try("read another's secret", d, "secretsmanager:GetSecretValue", _secret("billing/part"),
             own=_secret("orders/part"), call=("get_secret_value", {"SecretId": "billing/part"})),
        _try("read a secret whose name begins alike", d, "secretsmanager:GetSecretValue",
             _secret("orders/part-2"), own=_secret("orders/part")),
        _try("write another's secret", d, "secretsmanager:PutSecretValue", _secret("billing/all"),
             own=_secret("orders/all"),
             call=("put_secret_value", {"SecretId": "billing/all", "SecretString": "x"})),
        _try("open a secret to others", d, "secretsmanager:PutResourcePolicy", _secret("orders/all"),
             call=("put_resource_policy", {"SecretId": "orders/all", "ResourcePolicy": _ALL})),
        _try("delete a secret", d, "secretsmanager:DeleteSecret", _secret("orders/all"),
             call=("delete_secret", {"SecretId": "orders/all"})),
        _try("open another pipeline's queue", d, "sqs:SetQueueAttributes", PLACE.queue("billing.fifo"),
             own=PLACE.queue("orders.fifo"),
             call=("set_queue_attributes", {"QueueUrl": _url("billing.fifo"), "Attributes": {"Policy": ""}})),
        _try("delete another's table", d, "dynamodb:DeleteTable", PLACE.table("billing"),
             own=PLACE.table("orders"), call=("delete_table", {"TableName": "billing"})),
        _try("hide what another's function did", d, "logs:DeleteLogGroup",
             f"{PLACE.log_group('/aws/lambda/billing-worker')}:*",
             own=f"{PLACE.log_group('/aws/lambda/orders-worker')}:*",
             call=("delete_log_group", {"logGroupName": "/aws/lambda/billing-worker"})),
        _try("point another's rule elsewhere", d, "events:PutTargets", PLACE.rule("billing-1"),
             own=PLACE.rule("orders-1")),
    ]  # fmt: skip


def _operator() -> list[Attempt]:
    o: Holder = "operator"
    return [
        _try("change the worker's code", o, "lambda:UpdateFunctionCode", _function("orders-worker"),
             call=("update_function_code", {"FunctionName": "orders-worker", "ZipFile": b"PK"})),
        _try("change the worker's role", o, "lambda:UpdateFunctionConfiguration", _function("orders-worker"),
             call=("update_function_configuration", {"FunctionName": "orders-worker"})),
        _try("run a version that is not live", o, "lambda:InvokeFunction", _function("orders-worker"),
             own=_function("orders-worker", "live")),
        _try("run another's worker", o, "lambda:InvokeFunction", _function("billing-worker", "live"),
             own=_function("orders-worker", "live")),
        _try("let a function read another table", o, "lambda:CreateEventSourceMapping", "*",
             {"lambda:FunctionArn": _function("orders-enqueuer")},
             call=("create_event_source_mapping",
                   {"FunctionName": "orders-enqueuer", "EventSourceArn": PLACE.stream("billing", "x")})),
        _try("switch off another's mapping", o, "lambda:UpdateEventSourceMapping", _MAPPING,
             {"lambda:FunctionArn": _function("billing-enqueuer")},
             rightly={"lambda:FunctionArn": _function("orders-enqueuer", "live")}),
        _try("delete a mapping", o, "lambda:DeleteEventSourceMapping", _MAPPING,
             {"lambda:FunctionArn": _function("orders-enqueuer")}),
        _try("read another's messages", o, "sqs:ReceiveMessage", PLACE.queue("billing.fifo"),
             own=PLACE.queue("orders.fifo"), call=("receive_message", {"QueueUrl": _url("billing.fifo")})),
        _try("open a queue to others", o, "sqs:SetQueueAttributes", PLACE.queue("orders.fifo"),
             call=("set_queue_attributes", {"QueueUrl": _url("orders.fifo"), "Attributes": {"Policy": ""}})),
        _try("move another's DLQ", o, "sqs:StartMessageMoveTask", PLACE.queue("billing-dlq.fifo"),
             own=PLACE.queue("orders-dlq.fifo")),
        _try("read another's key", o, "ssm:GetParameters", PLACE.parameter("/billing/key"),
             own=PLACE.parameter("/orders/key"),
             call=("get_parameters", {"Names": ["/billing/key"], "WithDecryption": True})),
        _try("change a key's value", o, "ssm:PutParameter", PLACE.parameter("/orders/key"),
             call=("put_parameter", {"Name": "/orders/key", "Value": "x", "Type": "SecureString"})),
        _try("read another's secret", o, "secretsmanager:GetSecretValue", _secret("billing/all"),
             own=_secret("orders/all"), call=("get_secret_value", {"SecretId": "billing/all"})),
        _try("change a secret", o, "secretsmanager:PutSecretValue", _secret("orders/all"),
             call=("put_secret_value", {"SecretId": "orders/all", "SecretString": "x"})),
        _try("decrypt something by oneself", o, "kms:Decrypt", PLACE.key("k"), rightly=_BY_SSM),
        _try("decrypt by way of S3", o, "kms:Decrypt", PLACE.key("k"),
             _BY_S3, rightly=_BY_SSM),
        _try("give the worker's role to a function", o, "iam:PassRole", _role("orders-worker"),
             {"iam:PassedToService": "lambda.amazonaws.com"},
             rightly={"iam:PassedToService": "scheduler.amazonaws.com"}),
        _try("give another role to a schedule", o, "iam:PassRole", _role("admin"),
             {"iam:PassedToService": "scheduler.amazonaws.com"}, own=_role("orders-worker")),
        _try("read another's stream", o, "dynamodb:GetRecords", PLACE.stream("billing", "x"),
             own=PLACE.stream("orders", "x")),
        _try("delete items", o, "dynamodb:DeleteItem", PLACE.table("orders"),
             call=("delete_item", {"TableName": "orders", "Key": {"id": {"S": "1"}}})),
        _try("forge another's log", o, "logs:PutLogEvents",
             f"{PLACE.log_group('/aws/lambda/billing-worker')}:*",
             own=f"{PLACE.log_group('/aws/lambda/orders-worker')}:*"),
        _try("switch off another's rule", o, "events:DisableRule", PLACE.rule("billing-1"),
             own=PLACE.rule("orders-1")),
        _try("point a rule elsewhere", o, "events:PutTargets", PLACE.rule("orders-1")),
    ]  # fmt: skip


def _others() -> list[Attempt]:
    m: Holder = "monitor"
    w: Holder = "worker"
    e: Holder = "enqueuer"
    worker_log = f"{PLACE.log_group('/aws/lambda/orders-worker')}:*"
    return [
        _try("take a message", m, "sqs:ReceiveMessage", PLACE.queue("orders.fifo"),
             call=("receive_message", {"QueueUrl": _url("orders.fifo")})),
        _try("read a key", m, "ssm:GetParameters", PLACE.parameter("/orders/key"),
             call=("get_parameters", {"Names": ["/orders/key"], "WithDecryption": True})),
        _try("read a secret", m, "secretsmanager:GetSecretValue", _secret("orders/all"),
             call=("get_secret_value", {"SecretId": "orders/all"})),
        _try("read the items", m, "dynamodb:Scan", PLACE.table("orders"),
             call=("scan", {"TableName": "orders"})),
        _try("read another's code", m, "lambda:GetFunction", _function("billing-worker"),
             own=_function("orders-worker"), call=("get_function", {"FunctionName": "billing-worker"})),
        _try("read another's logs", m, "logs:FilterLogEvents",
             f"{PLACE.log_group('/aws/lambda/billing-worker')}:*", own=worker_log),
        _try("run the worker", m, "lambda:InvokeFunction", _function("orders-worker", "live"),
             call=("invoke", {"FunctionName": "orders-worker"})),
        _try("read another's key", w, "ssm:GetParameters", PLACE.parameter("/billing/key"),
             own=PLACE.parameter("/orders/key"),
             call=("get_parameters", {"Names": ["/billing/key"], "WithDecryption": True})),
        _try("read another's secret", w, "secretsmanager:GetSecretValue", _secret("billing/all"),
             own=_secret("orders/all"), call=("get_secret_value", {"SecretId": "billing/all"})),
        _try("change a secret", w, "secretsmanager:PutSecretValue", _secret("orders/all"),
             call=("put_secret_value", {"SecretId": "orders/all", "SecretString": "x"})),
        _try("decrypt something by itself", w, "kms:Decrypt", PLACE.key("k"), rightly=_BY_SSM),
        _try("put a message into main", w, "sqs:SendMessage", PLACE.queue("orders.fifo"),
             own=PLACE.queue("orders-dlq.fifo"),
             call=("send_message", {"QueueUrl": _url("orders.fifo"), "MessageBody": "x"})),
        _try("change its own code", w, "lambda:UpdateFunctionCode", _function("orders-worker"),
             call=("update_function_code", {"FunctionName": "orders-worker", "ZipFile": b"PK"})),
        _try("forge the enqueuer's log", w, "logs:PutLogEvents",
             f"{PLACE.log_group('/aws/lambda/orders-enqueuer')}:*", own=worker_log),
        _try("read messages", e, "sqs:ReceiveMessage", PLACE.queue("orders.fifo"),
             call=("receive_message", {"QueueUrl": _url("orders.fifo")})),
        _try("read a key", e, "ssm:GetParameters", PLACE.parameter("/orders/key"),
             call=("get_parameters", {"Names": ["/orders/key"], "WithDecryption": True})),
        _try("read a secret", e, "secretsmanager:GetSecretValue", _secret("orders/all"),
             call=("get_secret_value", {"SecretId": "orders/all"})),
        _try("write items", e, "dynamodb:PutItem", PLACE.table("orders"),
             call=("put_item", {"TableName": "orders", "Item": {"id": {"S": "1"}}})),
        _try("read another's stream", e, "dynamodb:GetRecords", PLACE.stream("billing", "x"),
             own=PLACE.stream("orders", "x")),
    ]  # fmt: skip


ATTEMPTS: Final = [*_deployer(), *_operator(), *_others()]
