"""Keys: what is set, and what may be set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from moto import mock_aws

from fifo_cli.aws.session import Aws, Target
from fifo_cli.errors import UsageError
from fifo_cli.model.settings import Api, Pipeline, Settings, Table
from fifo_cli.operations.deploy.api_keys import list_keys, resolve_key, set_key

URL = "https://api.example.com"


def settings(*apis: Api, tags: dict[str, str] | None = None) -> Settings:
    made = apis or (Api(url=URL, headers={"Authorization": "Bearer {api_key}"}, keys={"api_key": "/o/k"}),)
    return Settings(pipeline=Pipeline(name="orders"), table=Table(name="orders"), api=made, tags=tags or {})


@pytest.fixture
def aws() -> Iterator[Aws]:
    with mock_aws():
        yield Aws(Target(local=True))


def stored(aws: Aws, name: str = "/o/k") -> dict[str, Any]:
    return dict(aws.client("ssm").get_parameter(Name=name, WithDecryption=True)["Parameter"])


def test_a_missing_key_is_listed_as_missing(aws: Aws) -> None:
    assert list_keys(aws, settings()).document() == {
        "keys": [
            {"name": "api_key", "parameter": "/o/k", "exists": False, "version": None, "modified_at": None}
        ]
    }


def test_without_keys_nothing_is_asked_of_aws() -> None:
    class NoAws:
        def client(self, service: str) -> None:
            pytest.fail(f"asked for {service}")

    nobody: Any = NoAws()
    assert list_keys(nobody, settings(Api(url=URL))).document() == {"keys": []}


def test_a_key_is_set_as_a_tagged_secure_string(aws: Aws) -> None:
    result = set_key(aws, settings(tags={"team": "pay"}), "api_key", "s3cret")

    [row] = result.rows()
    assert (row["name"], row["exists"], row["version"]) == ("api_key", True, 1)
    assert row["modified_at"].endswith("Z")
    assert "s3cret" not in str(result.document())
    assert (stored(aws)["Type"], stored(aws)["Value"]) == ("SecureString", "s3cret")
    tags = aws.client("ssm").list_tags_for_resource(ResourceType="Parameter", ResourceId="/o/k")["TagList"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"fifo-cli:pipeline": "orders", "team": "pay"}


def test_a_key_may_be_named_by_its_parameter_and_set_again(aws: Aws) -> None:
    set_key(aws, settings(), "api_key", "first")

    [row] = set_key(aws, settings(), "/o/k", "second").rows()

    assert (row["name"], row["version"], stored(aws)["Value"]) == ("api_key", 2, "second")


def test_an_overwrite_keeps_the_parameter_s_own_encryption_key(aws: Aws) -> None:
    aws.client("ssm").put_parameter(Name="/o/k", Value="one", Type="SecureString", KeyId="alias/own")

    set_key(aws, settings(), "api_key", "second")

    [found] = aws.client("ssm").describe_parameters()["Parameters"]
    assert found["KeyId"] == "alias/own"


def test_a_plain_string_is_not_overwritten_with_a_secret(aws: Aws) -> None:
    aws.client("ssm").put_parameter(Name="/o/k", Value="one", Type="String")

    with pytest.raises(UsageError, match="exists as a String") as caught:
        set_key(aws, settings(), "api_key", "second")

    assert "aws ssm delete-parameter --name /o/k" in caught.value.hint
    assert stored(aws)["Value"] == "one"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "is empty"),
        ("é" * 2049, "has 4,098 bytes; a parameter holds 4,096"),
        ("a{{b}}", r"contains \{\{"),
        ("a\nb", "line break"),
        ("a\x00b", "line break or another control character"),
        ("schlüssel", "which an HTTP header cannot hold"),
        ("\ufeffsecret", "byte order mark"),
        ("secret ", "ends in white space"),
        ("secret\n\n", "ends in a line break"),
        ("abc", "fewer than 4 characters"),
    ],
)
def test_what_cannot_be_a_key_is_refused_unquoted_and_not_written(aws: Aws, value: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        set_key(aws, settings(), "api_key", value)

    assert not value or value not in caught.value.message
    assert aws.client("ssm").describe_parameters()["Parameters"] == []


@pytest.mark.parametrize(
    ("tier", "size", "taken"),
    [
        *[("Standard", 4096, True), ("Standard", 4097, False), ("Standard", 8192, False)],
        *[("Advanced", 4097, True), ("Advanced", 8192, True), ("Advanced", 8193, False)],
    ],
)
def test_a_value_may_be_as_long_as_its_parameters_tier_allows(
    aws: Aws, tier: Any, size: int, taken: bool
) -> None:
    aws.client("ssm").put_parameter(Name="/o/k", Value="first", Type="SecureString", Tier=tier)
    if taken:
        set_key(aws, settings(), "api_key", "x" * size)
        assert len(stored(aws)["Value"]) == size
        return
    with pytest.raises(UsageError, match=f"has {size:,} bytes; a parameter"):
        set_key(aws, settings(), "api_key", "x" * size)
    assert stored(aws)["Value"] == "first"


def test_a_key_that_no_header_carries_may_have_several_lines(aws: Aws) -> None:
    own = settings(Api(url=URL, keys={"pem": "/o/pem"}))

    set_key(aws, own, "pem", "-----BEGIN-----\nabc\n")

    assert stored(aws, "/o/pem")["Value"] == "-----BEGIN-----\nabc\n"


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no key 'apikey'") as caught:
        resolve_key(settings(), "apikey")
    assert caught.value.hint == "it has api_key (/o/k)"

    with pytest.raises(UsageError) as caught:
        resolve_key(settings(Api(url=URL)), "x")
    assert "add it there first" in caught.value.hint
