"""Which permissions a request takes, and on what: read from what went over the wire, by botocore's models."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import botocore.session

from fifo_cli.model.names import Place
from tests.iam_evaluation import Need, is_allowed
from tests.integration.proxy import Request

_SCOPE: Final = re.compile(r"Credential=[^/]+/\d{8}/[^/]+/([^/]+)/aws4_request")
# IAM's name of a service, where it is not the one that requests are signed for.
_SERVICES: Final = {"monitoring": "cloudwatch"}
# IAM's name of an action, where it is not the operation's (Service Authorization Reference).
_ACTIONS: Final = {
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "lambda:Invoke": "lambda:InvokeFunction",
}
# What an action takes besides itself, as their API references say: mostly because of tags and passed roles.
_BESIDES: Final[dict[str, set[str]]] = {
    "sqs:CreateQueue": {"sqs:TagQueue"},
    "sqs:StartMessageMoveTask": {
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:ReceiveMessage",
        "sqs:SendMessage",
    },
    "dynamodb:CreateTable": {"dynamodb:TagResource"},
    "events:PutRule": {"events:TagResource"},
    "iam:CreatePolicy": {"iam:TagPolicy"},
    "iam:CreateRole": {"iam:TagRole"},
    "lambda:CreateEventSourceMapping": {"lambda:TagResource"},
    "lambda:CreateFunction": {"iam:PassRole", "lambda:TagResource"},
    "lambda:GetFunction": {"lambda:ListTags"},
    "lambda:UpdateFunctionConfiguration": {"iam:PassRole"},
    "logs:CreateLogGroup": {"logs:TagResource"},
    "cloudwatch:PutMetricAlarm": {"cloudwatch:TagResource"},
    "scheduler:CreateSchedule": {"iam:PassRole"},
    "scheduler:UpdateSchedule": {"iam:PassRole"},
    "secretsmanager:CreateSecret": {"kms:Decrypt", "kms:GenerateDataKey", "secretsmanager:TagResource"},
    "secretsmanager:GetSecretValue": {"kms:Decrypt"},
    "secretsmanager:PutSecretValue": {"kms:Decrypt", "kms:GenerateDataKey"},
    "ssm:GetParameters": {"kms:Decrypt"},
    "ssm:PutParameter": {"kms:Encrypt", "kms:GenerateDataKey", "ssm:AddTagsToResource"},
}
# The caller's identity may be asked for by everybody.
_FREE: Final = frozenset({"sts:GetCallerIdentity"})


# What AWS allows on everything or on nothing (Service Authorization Reference).
_ANYWHERE: Final = frozenset(
    {
        "cloudwatch:DescribeAlarms",
        "cloudwatch:GetMetricData",
        "cloudwatch:GetMetricStatistics",
        "dynamodb:ListStreams",
        "dynamodb:ListTables",
        "events:ListRules",
        "iam:ListPolicies",
        "iam:ListRoles",
        "iam:SimulateCustomPolicy",
        "lambda:GetAccountSettings",
        "lambda:ListEventSourceMappings",
        "lambda:ListFunctions",
        "logs:DescribeLogGroups",
        "scheduler:ListSchedules",
        "sqs:ListQueues",
        "ssm:DescribeParameters",
    }
)


def refused(
    policy: Mapping[str, Any],
    requests: Iterable[Request],
    place: Place,
    mappings: Mapping[str, str] | None = None,
) -> set[Need]:
    """Return what the requests took and the policy does not allow, ARN for ARN.

    ``mappings`` has the function of each event source mapping: IAM knows it, a request names the UUID alone.
    """
    needs = {need for request in requests for need in needs_of(request, place, mappings or {})}
    return {need for need in needs if not is_allowed([policy], need)}


def needs_of(request: Request, place: Place, mappings: Mapping[str, str]) -> Iterator[Need]:
    """Yield what a request takes on which resource; nothing for what everybody may do.

    What a request takes on a resource that it does not name (the key of a parameter, the stream behind a
    shard iterator) is left out: ``permissions`` counts it.
    """
    action = action_of(request)
    if action in _FREE:
        return
    if action in _ANYWHERE:
        yield Need(action, "*")
        return
    about = _About(request, place, mappings)
    context = about.context(action)
    for resource in about.resources(action):
        yield Need(action, resource, context)
    besides = _BESIDES.get(action, set())
    if "iam:PassRole" in besides:
        yield from about.passed(action)
    for other in besides - {"iam:PassRole"}:
        if other.partition(":")[0] == action.partition(":")[0]:
            # A mapping that is only just being made has no name yet.
            made = place.mapping("new") if "EventSourceMapping" in action else None
            yield from (Need(other, made or resource) for resource in about.resources(other))


class _About:
    """What a request is about, in the terms of its service."""

    def __init__(self, request: Request, place: Place, mappings: Mapping[str, str]) -> None:
        self.place, self.mappings = place, mappings
        self.text = request.body.decode("utf-8", "replace")
        url = urlsplit(request.path)
        self.path = [unquote(part) for part in url.path.strip("/").split("/")]
        form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
        fields = parse_qs(self.text) if form else {}
        self.fields: dict[str, Any] = {
            name: value[0] for name, value in {**fields, **parse_qs(url.query)}.items()
        }
        if self.text.startswith("{") and not form:
            self.fields |= json.loads(self.text)

    def context(self, action: str) -> tuple[tuple[str, str], ...]:
        """Return the condition keys that a request has, or what it is about."""
        if "EventSourceMapping" in action:
            named = self.fields.get("FunctionName")
            function = self._function(named) if named else self.mappings.get(self.path[2])
            return (("lambda:FunctionArn", function),) if function else ()
        boundary = self.fields.get("PermissionsBoundary")
        return (("iam:PermissionsBoundary", boundary),) if boundary else ()

    def passed(self, action: str) -> list[Need]:
        service = action.partition(":")[0]
        role = self.fields.get("Role") or self.fields.get("Target", {}).get("RoleArn")
        context = (("iam:PassedToService", f"{service}.amazonaws.com"),)
        return [Need("iam:PassRole", role, context)] if role else []

    def resources(self, action: str) -> list[str]:
        """Return the ARNs that a request of a service is about."""
        service = action.partition(":")[0]
        found = {
            "sqs": self._queues,
            "dynamodb": self._tables,
            "lambda": self._functions,
            "iam": self._roles,
            "logs": self._log_groups,
            "events": self._rules,
            "scheduler": self._schedules,
            "cloudwatch": self._alarms,
            "secretsmanager": self._secrets,
            "ssm": self._parameters,
        }[service]()
        assert found or action == "dynamodb:GetRecords", f"what {action} is about is not known: {self.text}"
        return found

    def _queues(self) -> list[str]:
        name = self.fields.get("QueueName") or self.fields.get("QueueUrl", "").rpartition("/")[2]
        arns = [self.fields[field] for field in ("SourceArn", "DestinationArn") if field in self.fields]
        return [self.place.queue(name)] if name else arns

    def _tables(self) -> list[str]:
        arn = self.fields.get("StreamArn") or self.fields.get("ResourceArn")
        names = self.fields.get("RequestItems", {})
        table = self.fields.get("TableName")
        return [arn] if arn else [self.place.table(name) for name in names or ([table] if table else [])]

    def _functions(self) -> list[str]:
        kind = self.path[1:2]
        if kind == ["tags"]:
            return ["/".join(self.path[2:])]
        if kind == ["event-source-mappings"]:
            return [self.place.mapping(self.path[2])] if len(self.path) > 2 else ["*"]
        name = self.path[2] if len(self.path) > 2 else self.fields["FunctionName"]
        return [self._function(name)]

    def _function(self, name: str) -> str:
        arn = name if name.startswith("arn:") else self.place.function(name)
        qualifier = self.fields.get("Qualifier")
        return f"{arn}:{qualifier}" if qualifier else arn

    def _roles(self) -> list[str]:
        if role := self.fields.get("RoleName"):
            return [self.place.role(role)]
        return [self.fields.get("PolicyArn") or self.place.policy(self.fields["PolicyName"])]

    def _log_groups(self) -> list[str]:
        # A group's streams, and so what is done in it, are named with ":*".
        name = self.fields.get("logGroupName")
        return [f"{self.place.log_group(name)}:*"] if name else [self.fields["resourceArn"]]

    def _rules(self) -> list[str]:
        arn = self.fields.get("ResourceARN")
        return [arn or self.place.rule(self.fields.get("Rule") or self.fields["Name"])]

    def _schedules(self) -> list[str]:
        return [self.place.schedule(self.path[1])]

    def _alarms(self) -> list[str]:
        # In whichever protocol (botocore prefers CBOR), the names are there as they are.
        arns = re.findall(r"arn:aws:cloudwatch:[\w:.-]*?alarm:[\w.-]+", self.text)
        return arns or [self.place.alarm(name) for name in re.findall(_ALARM, self.text)]

    def _secrets(self) -> list[str]:
        # IAM knows a secret by its ARN, which ends in six characters of AWS's own, whether it exists or not.
        name = self.fields.get("SecretId") or self.fields["Name"]
        return [name if name.startswith("arn:") else self.place.secret(name)[0].replace("?", "x")]

    def _parameters(self) -> list[str]:
        names = self.fields.get("Names") or [self.fields.get("Name") or self.fields["ResourceId"]]
        return [self.place.parameter(name) for name in names]


_ALARM: Final = re.compile(r"t-[0-9a-f]{10}-(?:age|dlq|iterator-age|worker-errors|worker-silent)")


def permissions(requests: Iterable[Request]) -> set[str]:
    """Return all that these requests take."""
    actions = {action_of(request) for request in requests}
    return {one for action in actions for one in (action, *_BESIDES.get(action, ()))} - _FREE


def action_of(request: Request) -> str:
    """Return the IAM action of a request: of the service it is signed for, and its operation."""
    scope = _SCOPE.search(request.headers.get("authorization", ""))
    assert scope is not None, f"{request} is not signed"
    service = scope[1]
    is_rest = request.action.startswith(f"{request.method} ")
    operation = _rest_operation(service, request) if is_rest else request.action
    action = f"{_SERVICES.get(service, service)}:{operation}"
    return _ACTIONS.get(action, action)


def _rest_operation(service: str, request: Request) -> str:
    path = unquote(urlsplit(request.path).path).rstrip("/")
    for method, pattern, operation in _routes(service):
        if method == request.method and pattern.fullmatch(path):
            return operation
    raise AssertionError(f"{service} has no operation {request.method} {path}")


@cache
def _routes(service: str) -> list[tuple[str, re.Pattern[str], str]]:
    """Return the operations of a REST service by method and path, those with the most fixed parts first."""
    model: Any = botocore.session.get_session().get_service_model(service)
    routes = []
    for name in model.operation_names:
        http = model.operation_model(name).http
        path = http["requestUri"].partition("?")[0].rstrip("/")
        routes.append(
            (path.count("{"), http["method"], re.compile(re.sub(r"\{[^}]*\}", "[^/]+", path)), name)
        )
    routes.sort(key=lambda route: route[0])
    return [route[1:] for route in routes]
