"""What answers a client and is not AWS is reported as that, whichever protocol the service speaks."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.awsrequest import AWSResponse, HeadersDict

from fifo_cli.aws.errors import calling
from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.errors import AwsError
from tests.services import SERVICES

CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "cloudwatch": ("list_metrics", {}),
    "dynamodb": ("list_tables", {}),
    "dynamodbstreams": ("list_streams", {}),
    "ec2": ("describe_regions", {}),
    "events": ("list_rules", {}),
    "iam": ("list_roles", {}),
    "lambda": ("list_functions", {}),
    "logs": ("describe_log_groups", {}),
    "scheduler": ("list_schedules", {}),
    "secretsmanager": ("list_secrets", {}),
    "sqs": ("get_queue_url", {"QueueName": "q"}),
    "ssm": ("describe_parameters", {}),
    "sts": ("get_caller_identity", {}),
}
PAGE = b"<!DOCTYPE html><html><body>Please sign in to the guest network</body></html>"


class Raw:
    """The body of an HTTP answer, as urllib3 would stream it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: Any) -> list[bytes]:
        return [self._body]


def answered(client: Any, body: bytes, kind: str) -> None:
    """Let whatever the client asks be answered with this."""

    def send(request: Any, **_: Any) -> AWSResponse:
        headers: Any = HeadersDict({"content-type": kind})
        return AWSResponse(request.url, 200, headers, Raw(body))

    client.meta.events.register("before-send", send)


def test_all_services_are_here() -> None:
    assert set(CALLS) == set(SERVICES)


@pytest.mark.parametrize("service", sorted(CALLS))
@pytest.mark.parametrize(
    ("body", "kind"), [(PAGE, "text/html"), (PAGE, "text/plain"), (b"[1]", "text/plain")]
)
def test_an_answer_that_is_none_of_aws_s_is_reported_with_where_to_look(
    service: str, body: bytes, kind: str
) -> None:
    client: Any = Aws(AwsEndpoint(local=True)).client(service)  # type: ignore[call-overload]
    answered(client, body, kind)
    name, arguments = CALLS[service]

    with (
        pytest.raises(AwsError, match=r"^AWS could not be reached \(for the thing\)") as text,
        calling("the thing"),
    ):
        getattr(client, name)(**arguments)

    assert "--endpoint-url" in text.value.hint


@pytest.mark.parametrize("service", ["events", "iam"])
@pytest.mark.parametrize(
    "body", [b'<?xml version="1.0"?>\n<html xmlns="http://www.w3.org/1999/xhtml"/>', b"please sign in", b""]
)
def test_a_page_is_known_by_what_it_says(service: str, body: bytes) -> None:
    client: Any = Aws(AwsEndpoint(local=True)).client(service)  # type: ignore[call-overload]
    answered(client, body, "text/html")
    name, arguments = CALLS[service]

    with pytest.raises(AwsError, match="something that is not AWS"), calling("the thing"):
        getattr(client, name)(**arguments)


@pytest.mark.parametrize("body", [b"", b"{}", b' {"QueueUrl": "http://q"}'])
def test_aws_s_own_answers_pass(body: bytes) -> None:
    client = Aws(AwsEndpoint(local=True)).client("sqs")
    answered(client, body, "application/x-amz-json-1.0")

    client.get_queue_url(QueueName="q")


@pytest.mark.parametrize(
    ("service", "body"),
    [
        ("events", b'{"Rules": [], "NextToken": null}'),
        ("iam", b"<ListRolesResponse><ListRolesResult><Roles/></ListRolesResult></ListRolesResponse>"),
    ],
)
def test_an_answer_in_the_service_s_protocol_passes_whatever_its_type_says(service: str, body: bytes) -> None:
    """moto sends whatever it answers as text/html; botocore does not look at the type."""
    client: Any = Aws(AwsEndpoint(local=True)).client(service)  # type: ignore[call-overload]
    answered(client, body, "text/html; charset=utf-8")
    name, arguments = CALLS[service]

    getattr(client, name)(**arguments)


def test_nothing_is_an_answer_where_there_is_nothing_to_say() -> None:
    client = Aws(AwsEndpoint(local=True)).client("logs")
    answered(client, b"", "text/html; charset=utf-8")

    client.create_log_group(logGroupName="g")
