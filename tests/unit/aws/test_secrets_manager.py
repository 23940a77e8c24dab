"""Secrets: metadata in, values out; a change of one version never undoes somebody else's."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from botocore.stub import Stubber
from moto import mock_aws

from fifo_cli.aws.secrets_manager import (
    SecretFacts,
    SecretValue,
    create_secret,
    get_secret,
    get_value,
    put_value,
    replace_value,
)
from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.errors import AwsError, FifoError

SECRET = "sk_live_é\"'\\x"
ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:o/api-AbCdEf"
OLD, OTHER = "1" * 32, "2" * 32


@pytest.fixture
def aws() -> Iterator[Aws]:
    with mock_aws():
        yield Aws(AwsEndpoint(local=True))


@pytest.fixture
def stub(aws: Aws) -> Iterator[Stubber]:
    with Stubber(aws.client("secretsmanager")) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def current(aws: Aws) -> str | None:
    return get_value(aws, "o/api").text


def stages(aws: Aws) -> list[list[str]]:
    return list(aws.client("secretsmanager").describe_secret(SecretId="o/api")["VersionIdsToStages"].values())


def test_what_does_not_exist_is_none_and_what_does_has_a_version_and_a_time(aws: Aws) -> None:
    assert get_secret(aws, "o/api") is None
    create_secret(aws, "o/api", "sesame", tags={"t": "v"})
    found = get_secret(aws, "o/api")
    assert found is not None
    assert get_value(aws, "o/api") == SecretValue(str(found.version), "sesame")
    assert found.modified_at is not None
    assert found.deleted_at is None
    tags = aws.client("secretsmanager").describe_secret(SecretId="o/api")["Tags"]
    assert tags == [{"Key": "t", "Value": "v"}]


def test_a_secret_without_a_value_and_one_to_be_deleted_are_told_apart(aws: Aws) -> None:
    client = aws.client("secretsmanager")
    client.create_secret(Name="empty")
    client.create_secret(Name="going", SecretString="sesame")
    client.delete_secret(SecretId="going")
    empty, going = get_secret(aws, "empty"), get_secret(aws, "going")
    assert isinstance(empty, SecretFacts)
    assert (empty.version, empty.deleted_at) == (None, None)
    assert isinstance(going, SecretFacts)
    assert going.deleted_at is not None


def test_a_binary_secret_has_no_text(aws: Aws) -> None:
    aws.client("secretsmanager").create_secret(Name="o/api", SecretBinary=b"\x00")
    assert get_value(aws, "o/api").text is None


def test_a_value_is_put_whichever_is_current(aws: Aws) -> None:
    create_secret(aws, "o/api", "first", tags={})
    put_value(aws, "o/api", "second")
    assert current(aws) == "second"


def test_a_value_replaces_the_version_that_was_read_and_leaves_no_stage_of_its_own(aws: Aws) -> None:
    create_secret(aws, "o/api", "first", tags={})
    assert replace_value(aws, "o/api", "second", replaces=get_value(aws, "o/api").version)
    assert current(aws) == "second"
    assert sorted(map(tuple, stages(aws))) == [("AWSCURRENT",), ("AWSPREVIOUS",)]


def test_a_value_does_not_replace_what_somebody_else_wrote_meanwhile(aws: Aws) -> None:
    create_secret(aws, "o/api", "first", tags={})
    read = get_value(aws, "o/api").version
    put_value(aws, "o/api", "theirs")
    assert not replace_value(aws, "o/api", "ours", replaces=read)
    assert current(aws) == "theirs"


def described(version: str) -> dict[str, Any]:
    return {"ARN": ARN, "Name": "o/api", "VersionIdsToStages": {version: ["AWSCURRENT"]}}


def test_a_lost_answer_to_the_move_of_the_label_is_no_failure(aws: Aws, stub: Stubber) -> None:
    """The call that botocore repeats is refused: the label is not on the old version any more."""
    made: list[str] = []
    aws.client("secretsmanager").meta.events.register(
        "provide-client-params.secretsmanager.PutSecretValue",
        lambda params, **_: made.append(params["ClientRequestToken"]),
    )
    stub.add_response("put_secret_value", {"ARN": ARN})
    stub.add_client_error("update_secret_version_stage", "InvalidParameterException", "not attached")
    answer = described(OLD)
    stub.add_response("describe_secret", answer, {"SecretId": "o/api"})
    stub.add_response("update_secret_version_stage", {"ARN": ARN})

    def now_ours(params: Any, **_: Any) -> None:
        answer["VersionIdsToStages"] = {made[0]: ["AWSCURRENT"]}

    aws.client("secretsmanager").meta.events.register(
        "provide-client-params.secretsmanager.DescribeSecret", now_ours
    )
    assert replace_value(aws, "o/api", SECRET, replaces=OLD)


@pytest.mark.parametrize(
    ("code", "now"), [("InvalidParameterException", OLD), ("InternalServiceError", OTHER)]
)
def test_a_refusal_that_is_not_for_somebody_elses_change_is_an_error(
    aws: Aws, stub: Stubber, code: str, now: str
) -> None:
    stub.add_response("put_secret_value", {"ARN": ARN})
    stub.add_client_error("update_secret_version_stage", code, "no")
    stub.add_response("describe_secret", described(now), {"SecretId": "o/api"})
    with pytest.raises(AwsError, match="secret o/api"):
        replace_value(aws, "o/api", SECRET, replaces=OLD)


def test_a_connection_that_breaks_at_the_move_is_explained_and_one_at_the_clean_up_is_no_failure(
    aws: Aws,
) -> None:
    create_secret(aws, "o/api", "first", tags={})
    calls = 0

    def fail(**_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls != 2:
            raise ReadTimeoutError(endpoint_url="https://secretsmanager/")

    events = aws.client("secretsmanager").meta.events
    events.register("before-call.secretsmanager.UpdateSecretVersionStage", fail)
    read = get_value(aws, "o/api").version
    with pytest.raises(AwsError, match="AWS could not be reached"):
        replace_value(aws, "o/api", "second", replaces=read)
    assert current(aws) == "first"
    assert replace_value(aws, "o/api", "second", replaces=read)
    assert (current(aws), calls) == ("second", 3)


WRITES: dict[str, tuple[str, Callable[[Aws], object]]] = {
    "create": ("create_secret", lambda aws: create_secret(aws, "o/api", SECRET, tags={})),
    "put": ("put_secret_value", lambda aws: put_value(aws, "o/api", SECRET)),
    "replace": ("put_secret_value", lambda aws: replace_value(aws, "o/api", SECRET, replaces=OLD)),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_value_that_aws_quotes_is_in_neither_message_nor_traceback(
    aws: Aws, stub: Stubber, write: str
) -> None:
    call, make = WRITES[write]
    stub.add_client_error(call, "InvalidParameterException", f"Value '{SECRET}' at 'secretString' failed")
    with pytest.raises(FifoError, match="secret o/api") as caught:
        make(aws)
    assert "sk_live" not in "".join(traceback.format_exception(caught.value)) + caught.value.message


def test_a_value_is_in_no_traceback_of_a_failed_connection(aws: Aws) -> None:
    def fail(**_: Any) -> None:
        raise ReadTimeoutError(endpoint_url=f"https://secretsmanager/?{SECRET}")

    aws.client("secretsmanager").meta.events.register("before-call.secretsmanager.CreateSecret", fail)
    with pytest.raises(FifoError) as caught:
        create_secret(aws, "o/api", SECRET, tags={})
    assert "sk_live" not in "".join(traceback.format_exception(caught.value))


def test_a_secret_that_somebody_just_made_is_not_overwritten_unseen(aws: Aws) -> None:
    create_secret(aws, "o/api", "theirs", tags={})
    with pytest.raises(AwsError, match="secret o/api was created by someone else just now"):
        create_secret(aws, "o/api", "ours", tags={})
    assert current(aws) == "theirs"
