"""Public URLs of functions: made with both permissions, refused in plain words, deleted."""

from __future__ import annotations

from typing import Any

import pytest

from fifo_cli.aws.resources.function_url import ForbiddenUrlError, FunctionUrlAdmin
from fifo_cli.errors import AwsError
from tests.unit.aws.resource_life import stubbed

NAME = {"FunctionName": "f"}
URL = "https://abc.lambda-url.eu-west-1.on.aws/"
CONFIG = {
    "FunctionUrl": URL,
    "FunctionArn": "arn:aws:lambda:eu-west-1:123456789012:function:f",
    "AuthType": "NONE",
    "CreationTime": "2026-01-01T00:00:00Z",
}
FIRST = {
    **NAME,
    "StatementId": "Url",
    "Action": "lambda:InvokeFunctionUrl",
    "Principal": "*",
    "FunctionUrlAuthType": "NONE",
}
SECOND = {
    **NAME,
    "StatementId": "UrlInvokes",
    "Action": "lambda:InvokeFunction",
    "Principal": "*",
    "InvokedViaFunctionUrl": True,
}


def test_a_url_has_no_sign_in_and_both_permissions_that_aws_asks_for() -> None:
    client, stub = stubbed("lambda")
    stub.add_response("create_function_url_config", CONFIG, {**NAME, "AuthType": "NONE"})
    stub.add_response("add_permission", {}, FIRST)
    # Without its condition anybody could invoke the function with an event of his own.
    stub.add_response("add_permission", {}, SECOND)
    assert FunctionUrlAdmin(client).create("f") == URL.rstrip("/")
    stub.assert_no_pending_responses()


def test_what_an_earlier_try_made_is_kept() -> None:
    client, stub = stubbed("lambda")
    stub.add_client_error("create_function_url_config", "ResourceConflictException", "exists", 409)
    stub.add_response("get_function_url_config", {**CONFIG, "LastModifiedTime": "x"}, NAME)
    stub.add_client_error("add_permission", "ResourceConflictException", "The statement id exists", 409)
    stub.add_response("add_permission", {}, SECOND)
    assert FunctionUrlAdmin(client).create("f") == URL.rstrip("/")
    stub.assert_no_pending_responses()


def test_on_the_embedded_stack_it_is_below_the_endpoint() -> None:
    client, stub = stubbed("lambda")
    client.meta._endpoint_url = "http://127.0.0.1:4566"
    stub.add_response("create_function_url_config", CONFIG)
    stub.add_response("add_permission", {})
    stub.add_response("add_permission", {})
    assert FunctionUrlAdmin(client).create("f") == "http://127.0.0.1:4566/_aws/lambda-url/abc"


@pytest.mark.parametrize(
    ("step", "code", "text"),
    [
        (0, "AccessDeniedException", "with an explicit deny in a service control policy"),
        (1, "AccessDeniedException", "with an explicit deny in a service control policy"),
        (2, "AccessDenied", "no identity-based policy allows it"),
        (1, "PublicPolicyException", "the account's block public access setting prevents it"),
    ],
)
def test_where_public_urls_are_forbidden_the_way_around_is_named(step: int, code: str, text: str) -> None:
    client, stub = stubbed("lambda")
    calls: list[tuple[str, dict[str, Any]]] = [
        ("create_function_url_config", CONFIG),
        ("add_permission", {}),
        ("add_permission", {}),
    ]
    for name, answer in calls[:step]:
        stub.add_response(name, answer)
    stub.add_client_error(calls[step][0], code, text, 403)
    with pytest.raises(ForbiddenUrlError) as caught:
        FunctionUrlAdmin(client).create("f")
    assert "a public function URL is not allowed here" in caught.value.message
    assert text in caught.value.message
    assert "--api URL" in caught.value.hint
    assert "lambda:CreateFunctionUrlConfig" in caught.value.hint


def test_another_refusal_is_what_it_is_elsewhere() -> None:
    client, stub = stubbed("lambda")
    stub.add_client_error("create_function_url_config", "TooManyRequestsException", "slow down", 429)
    with pytest.raises(AwsError, match="the URL of function f: AWS throttled") as caught:
        FunctionUrlAdmin(client).create("f")
    assert not isinstance(caught.value, ForbiddenUrlError)


def test_a_url_that_is_gone_is_not_an_error() -> None:
    client, stub = stubbed("lambda")
    stub.add_response("delete_function_url_config", {}, NAME)
    stub.add_client_error("delete_function_url_config", "ResourceNotFoundException", "gone", 404)
    gate = FunctionUrlAdmin(client)
    gate.delete("f")
    gate.delete("f")
    stub.assert_no_pending_responses()
