"""Parameters: metadata in, secrets out, and never a secret anywhere else."""

from __future__ import annotations

import base64
import json
import logging
import textwrap
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from botocore.stub import Stubber

from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.aws.ssm import Parameter, get_parameters, put_secret
from fifo_cli.errors import AwsError, FifoError
from tests.encodings import leak

SECRET = "sk_live_é\"'\\x"
LONG = "sk_live_9417-Sesame/8260+abcDEF"
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def aws() -> Aws:
    return Aws(AwsEndpoint(local=True))


@pytest.fixture
def stub(aws: Aws) -> Iterator[Stubber]:
    with Stubber(aws.client("ssm")) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def filters(*names: str) -> dict[str, Any]:
    return {"ParameterFilters": [{"Key": "Name", "Option": "Equals", "Values": list(names)}]}


def test_only_metadata_is_asked_for_and_only_what_exists_is_returned(aws: Aws, stub: Stubber) -> None:
    found = {"Name": "/a", "Type": "SecureString", "Version": 3, "LastModifiedDate": NOW, "KeyId": "alias/k"}
    stub.add_response("describe_parameters", {"Parameters": [found]}, filters("/a", "/b"))

    assert get_parameters(aws, ["/b", "/a", "/a"]) == {
        "/a": Parameter("/a", "SecureString", 3, NOW, key="alias/k", tier=None)
    }


def test_more_than_fifty_names_are_asked_for_in_two_calls_and_every_page_is_read(
    aws: Aws, stub: Stubber
) -> None:
    names = [f"/p{number:03}" for number in range(51)]
    one = {"Type": "String", "Version": 1, "LastModifiedDate": NOW}
    stub.add_response("describe_parameters", {"Parameters": [], "NextToken": "t"}, filters(*names[:50]))
    stub.add_response(
        "describe_parameters",
        {"Parameters": [{"Name": "/p049", **one}]},
        {**filters(*names[:50]), "NextToken": "t"},
    )
    stub.add_response("describe_parameters", {"Parameters": [{"Name": "/p050", **one}]}, filters(names[50]))

    assert sorted(get_parameters(aws, names)) == ["/p049", "/p050"]


def test_a_new_secret_is_tagged_and_overwrites_nothing(aws: Aws, stub: Stubber) -> None:
    stub.add_response(
        "put_parameter",
        {"Version": 1},
        {"Name": "/a", "Value": SECRET, "Type": "SecureString", "Tags": [{"Key": "t", "Value": "v"}]},
    )

    assert put_secret(aws, "/a", SECRET, found=None, tags={"t": "v"}) == 1


def test_an_existing_secret_keeps_its_key_and_tier_and_is_not_tagged(aws: Aws, stub: Stubber) -> None:
    found = Parameter("/a", "SecureString", 1, NOW, key="alias/own", tier="Advanced")
    stub.add_response(
        "put_parameter",
        {"Version": 2},
        {
            "Name": "/a",
            "Value": SECRET,
            "Type": "SecureString",
            "Overwrite": True,
            "KeyId": "alias/own",
            "Tier": "Advanced",
        },
    )

    assert put_secret(aws, "/a", SECRET, found=found, tags={"t": "v"}) == 2


def test_somebody_else_s_parameter_is_not_overwritten_unseen(aws: Aws, stub: Stubber) -> None:
    stub.add_client_error("put_parameter", "ParameterAlreadyExists", "exists")

    with pytest.raises(AwsError, match="created by someone else just now"):
        put_secret(aws, "/a", SECRET, found=None, tags={})


@pytest.mark.parametrize("form", [SECRET, repr(SECRET)[1:-1], SECRET.encode("unicode_escape").decode()])
def test_a_secret_that_aws_quotes_is_in_neither_message_nor_traceback(
    aws: Aws, stub: Stubber, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    stub.add_client_error("put_parameter", "ValidationException", f"Value '{form}' at 'value' failed")

    with caplog.at_level(logging.INFO), pytest.raises(FifoError) as caught:
        put_secret(aws, "/a", SECRET, found=None, tags={})

    text = "".join(traceback.format_exception(caught.value)) + caught.value.message + caplog.text
    assert "parameter /a" in text
    assert "(hidden)" in text
    assert form not in text
    assert "sk_live" not in text


@pytest.mark.parametrize(
    "form",
    [
        LONG[:20] + "…",
        LONG.encode().hex(),
        base64.b64encode(f"value={LONG}".encode()).decode(),
        "\n".join(textwrap.wrap(LONG, 9)),
        json.dumps(json.dumps(LONG)),
    ],
)
def test_a_secret_that_aws_quotes_in_part_or_encoded_is_not_shown(aws: Aws, stub: Stubber, form: str) -> None:
    stub.add_client_error("put_parameter", "ValidationException", f"Value '{form}' at 'value' failed")

    with pytest.raises(FifoError, match="parameter /a") as caught:
        put_secret(aws, "/a", LONG, found=None, tags={})

    text = "".join(traceback.format_exception(caught.value)) + caught.value.message
    assert leak(text, LONG, "plain", "JSON") is None


def test_a_secret_is_in_no_traceback_of_a_failed_connection(aws: Aws) -> None:
    def fail(**_: Any) -> None:
        raise ReadTimeoutError(endpoint_url=f"https://ssm/?{SECRET}")

    aws.client("ssm").meta.events.register("before-call.ssm.PutParameter", fail)

    with pytest.raises(FifoError) as caught:
        put_secret(aws, "/a", SECRET, found=None, tags={})

    assert "sk_live" not in "".join(traceback.format_exception(caught.value))
