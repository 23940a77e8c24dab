"""Keys: what is set, and what may be set."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from moto import mock_aws

from fifo_cli.aws.secrets_manager import get_value
from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.errors import AwsError, UsageError
from fifo_cli.handlers.delivery import ApiDelivery
from fifo_cli.handlers.failure import ConfigurationError
from fifo_cli.model.auth_settings import read_auth
from fifo_cli.model.settings import Api, Pipeline, Settings, Table
from fifo_cli.operations.deploy.api_keys import list_keys, resolve_key, set_key
from tests.unit.handlers.certificates import Authority, encrypted
from tests.unit.handlers.test_client_certificate import damaged
from tests.unit.handlers.test_delivery import FakeSsm, held, keys
from tests.unit.plain_api import API

URL = "https://api.example.com"


def settings(*apis: Api, tags: dict[str, str] | None = None) -> Settings:
    made = apis or (Api(url=URL, headers={"Authorization": "Bearer {api_key}"}, keys={"api_key": "/o/k"}),)
    return Settings(pipeline=Pipeline(name="orders"), table=Table(name="orders"), api=made, tags=tags or {})


@pytest.fixture
def aws() -> Iterator[Aws]:
    with mock_aws():
        yield Aws(AwsEndpoint(local=True))


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


AUTHS = {
    "basic": {"username": "{k}", "password": "x"},
    "standard-webhooks": {"secret": "{k}"},
    "mtls": {"certificate": "{k}", "key": "shop"},
    "oauth2": {"token_url": "https://l", "client_id": "x", "client_secret": "{k}"},
    "hmac": {"secret": "{k}", "header": "X-Signature"},
}
CA = Authority()
CLIENT = CA.issue("shop")


# What else the functions need.
USABLE = {
    "basic": {"username": "x"},
    "mtls": {"certificate": CLIENT.certificate, "key": CLIENT.key, "ca": CA.certificate},
    "hmac": {"algorithm": "sha256", "format": "{hex}", "content": "{body}"},
    "oauth2": {"client_auth": "basic"},
}


def with_auth(kind: str, **texts: str) -> Settings:
    table, _ = read_auth({"type": kind, **AUTHS[kind], **texts}, ("api", 0, "auth"))
    return settings(Api(url=URL, keys={"k": "/o/k"}).model_copy(update={"auth": table}))


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("basic", "shop:one", "username of [api] auth: it has a colon"),
        ("basic", "shop\tone", "username of [api] auth: character 5 is a control character"),
        ("standard-webhooks", "whsec_abc!", "secret of [api] auth: it is not whsec_ and base64"),
        ("mtls", "hello", "certificate of [api] auth: it is not a certificate in PEM"),
    ],
)
def test_what_auth_cannot_use_is_refused_unquoted_and_not_written(
    aws: Aws, kind: str, value: str, said: str
) -> None:
    own = with_auth(kind)
    with pytest.raises(UsageError) as caught:
        set_key(aws, own, "k", value)
    assert caught.value.message.startswith(f"the value for k cannot be {said}")
    assert value not in caught.value.message
    assert not list_keys(aws, own).keys[0].exists


@pytest.mark.parametrize(
    ("kind", "field", "value", "said"),
    [
        ("basic", "password", "realpass\t\r\n\r", "its value ends in a line break"),
        ("basic", "password", "real\tpass", "character 5 is a control character"),
        ("hmac", "secret", "realpass\n", "its value ends in a line break"),
        ("oauth2", "client_secret", "realpass\n", "its value ends in a line break"),
        ("mtls", "ca", CLIENT.key, "it is not one or more certificates in PEM"),
        ("mtls", "key", CLIENT.certificate, "it is not a private key in PEM"),
        ("mtls", "key", encrypted(CLIENT.key), "`openssl pkey -in FILE -out OTHER_FILE` writes it without"),
        ("mtls", "certificate", CA.issue("old", begins=-9, days=1).certificate, "it expired on"),
        ("mtls", "certificate", CA.issue("new", begins=2).certificate, "it is not valid before"),
        ("mtls", "certificate", damaged(CLIENT.certificate), "OpenSSL cannot read it"),
    ],
)
def test_what_a_run_would_refuse_is_not_set(aws: Aws, kind: str, field: str, value: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"{field} of \\[api\\] auth: .*{said}"):
        set_key(aws, with_auth(kind, **{**USABLE[kind], field: "{k}"}), "k", value)
    auth = {"type": kind, **AUTHS[kind], **USABLE[kind], field: "{k}"}
    delivery = ApiDelivery((replace(API, auth=auth, keys={"k": "/k"}),), keys(FakeSsm(k=value)))
    with pytest.raises(ConfigurationError, match=said):
        delivery.attempt(held())


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("basic", "p\u00e4ss word"),
        ("mtls", CLIENT.certificate),
        ("mtls", CLIENT.certificate + CA.certificate),
    ],
)
def test_what_a_run_takes_is_set(aws: Aws, kind: str, value: str) -> None:
    set_key(aws, with_auth(kind, **({"password": "{k}"} if kind == "basic" else {})), "k", value)
    assert stored(aws)["Value"] == value


def test_a_key_in_a_text_of_several_is_judged_by_itself(aws: Aws) -> None:
    own = with_auth("hmac", secret="{k}-{other}")
    with pytest.raises(UsageError, match="ends in a line break"):
        set_key(aws, own, "k", "realpass\n")
    set_key(aws, own, "k", "realpass")


def test_a_short_user_name_may_stand_in_the_file(aws: Aws) -> None:
    with pytest.raises(UsageError, match="fewer than 4") as caught:
        set_key(aws, with_auth("basic"), "k", "bob")
    assert caught.value.hint == "write it into fifo.toml, as username of [api] auth, if it is not secret"


def test_what_is_too_long_for_a_parameter_may_be_a_secret(aws: Aws) -> None:
    with pytest.raises(UsageError, match="holds 4,096") as caught:
        set_key(aws, settings(), "api_key", "x" * 4097)
    assert "a secret holds 65,536: name one in [api] keys" in caught.value.hint


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no key 'apikey'") as caught:
        resolve_key(settings(), "apikey")
    assert caught.value.hint == "it has api_key (/o/k)"

    with pytest.raises(UsageError) as caught:
        resolve_key(settings(Api(url=URL)), "x")
    assert "add it there first" in caught.value.hint


def in_secrets(**sources: str) -> Settings:
    return settings(
        Api(url=URL, headers={"X": "{api_key}"}, keys={"api_key": "secretsmanager:o/api#key", **sources})
    )


def secret(aws: Aws, name: str = "o/api") -> str:
    return str(get_value(aws, name).text)


def test_keys_in_secrets_are_listed_beside_parameters_as_fifo_toml_writes_them(aws: Aws) -> None:
    client = aws.client("secretsmanager")
    made = client.create_secret(Name="o/api", SecretString="{}")
    client.create_secret(Name="going", SecretString="x")
    client.delete_secret(SecretId="going")
    client.create_secret(Name="empty")
    aws.client("ssm").put_parameter(Name="/o/k", Value="one", Type="SecureString")
    arn = made["ARN"]
    listed = list_keys(
        aws,
        in_secrets(
            parameter="/o/k",
            all=f"secretsmanager:{arn}",
            gone="secretsmanager:gone#f",
            going="secretsmanager:going",
            empty="secretsmanager:empty",
        ),
    )
    rows = {row["name"]: row for row in listed.rows()}
    assert rows["api_key"].pop("modified_at").endswith("Z")
    assert rows["api_key"] == {
        "name": "api_key",
        "parameter": "secretsmanager:o/api#key",
        "exists": True,
        "version": made["VersionId"],
    }
    assert rows["all"]["version"] == made["VersionId"]
    assert (rows["parameter"]["exists"], rows["parameter"]["version"]) == (True, 1)
    assert [(one.name, one.unusable, one.fault) for one in listed.keys if not one.exists] == [
        ("gone", "missing", "secret gone does not exist"),
        ("going", "scheduled for deletion", "secret going is scheduled for deletion"),
        ("empty", "without a value", "secret empty is without a value"),
    ]


def test_a_secret_that_is_missing_is_made_with_the_field_and_tagged(aws: Aws) -> None:
    [row] = set_key(aws, in_secrets(), "api_key", "s3cret").rows()
    assert (row["name"], row["exists"]) == ("api_key", True)
    assert secret(aws) == '{"key":"s3cret"}'
    tags = aws.client("secretsmanager").describe_secret(SecretId="o/api")["Tags"]
    assert tags == [{"Key": "fifo-cli:pipeline", "Value": "orders"}]


def test_setting_a_field_keeps_the_others_digit_for_digit(aws: Aws) -> None:
    kept = (
        '{"id":"ü\U0001f600","n":0.1234567890123456789012,"big":123456789012345678901234567890,"key":"old"}'
    )
    aws.client("secretsmanager").create_secret(Name="o/api", SecretString=kept)
    set_key(aws, in_secrets(), "secretsmanager:o/api#key", "s3cret")
    assert secret(aws) == kept.replace('"old"', '"s3cret"')


def test_a_whole_secret_is_replaced(aws: Aws) -> None:
    own = settings(Api(url=URL, keys={"pem": "secretsmanager:o/pem"}))
    for value in ("-----BEGIN-----\nabc\n", "second"):
        set_key(aws, own, "pem", value)
        assert secret(aws, "o/pem") == value


def test_a_secret_without_a_value_gets_its_first(aws: Aws) -> None:
    aws.client("secretsmanager").create_secret(Name="o/api")
    set_key(aws, in_secrets(), "api_key", "s3cret")
    assert json.loads(secret(aws)) == {"key": "s3cret"}


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ({"SecretString": "plain"}, "secret o/api is not a JSON object, so its field key cannot be set"),
        ({"SecretString": '["plain"]'}, "secret o/api is not a JSON object"),
        ({"SecretBinary": b"{}"}, "secret o/api is binary"),
        (
            {"SecretString": json.dumps({"other": "x" * 65_510})},
            "secret o/api with this value has 65,537 bytes",
        ),
    ],
)
def test_a_secret_that_cannot_hold_the_field_is_left_as_it_is(
    aws: Aws, held: dict[str, Any], message: str
) -> None:
    client = aws.client("secretsmanager")
    client.create_secret(Name="o/api", **held)
    with pytest.raises(UsageError, match=message) as caught:
        set_key(aws, in_secrets(), "api_key", "s3cret")
    assert "plain" not in caught.value.message
    found = client.get_secret_value(SecretId="o/api")
    assert {name: found[name] for name in held} == held


def test_a_secret_that_is_to_be_deleted_is_not_written(aws: Aws) -> None:
    client = aws.client("secretsmanager")
    client.create_secret(Name="o/api", SecretString="{}")
    client.delete_secret(SecretId="o/api")
    with pytest.raises(UsageError, match="secret o/api is scheduled for deletion; nothing was set") as caught:
        set_key(aws, in_secrets(), "api_key", "s3cret")
    assert "aws secretsmanager restore-secret --secret-id o/api" in caught.value.hint


def test_a_secret_named_by_its_arn_is_not_made(aws: Aws) -> None:
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:gone-AbCdEf"
    with pytest.raises(UsageError, match="one that is named by its ARN cannot be made"):
        set_key(aws, in_secrets(other=f"secretsmanager:{arn}"), "other", "s3cret")


@pytest.mark.parametrize("value", ["", "abc", "a\nb", "schlüssel", "x" * 65_530, "x" * 65_537])
def test_what_cannot_be_a_key_is_not_written_into_a_secret(aws: Aws, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        set_key(aws, in_secrets(), "api_key", value)
    assert not value or value not in caught.value.message
    assert get_names(aws) == []


def get_names(aws: Aws) -> list[str]:
    return [one["Name"] for one in aws.client("secretsmanager").list_secrets()["SecretList"]]


def interfere(aws: Aws, change: Callable[[int], object]) -> None:
    """Call ``change``, with the number of the time, whenever a value was read."""
    times = iter(range(100))
    aws.client("secretsmanager").meta.events.register(
        "after-call.secretsmanager.GetSecretValue", lambda **_: change(next(times))
    )


def test_two_who_set_fields_of_a_secret_at_the_same_time_lose_neither(aws: Aws) -> None:
    others = Aws(AwsEndpoint(local=True))
    other = others.client("secretsmanager")
    other.create_secret(Name="o/api", SecretString='{"key":"old","theirs":"old"}')

    def theirs(time: int) -> None:
        if time < 3:
            other.put_secret_value(SecretId="o/api", SecretString=f'{{"key":"old","theirs":"new-{time}"}}')

    interfere(aws, theirs)
    set_key(aws, in_secrets(), "api_key", "s3cret")
    assert json.loads(secret(others)) == {
        "key": "s3cret",
        "theirs": "new-2",
    }


def test_a_secret_that_another_makes_at_the_same_time_keeps_the_fields_of_both(aws: Aws) -> None:
    other = Aws(AwsEndpoint(local=True))

    def theirs(**_: Any) -> None:
        if not get_names(other):
            other.client("secretsmanager").create_secret(Name="o/api", SecretString='{"theirs":"new"}')

    aws.client("secretsmanager").meta.events.register("before-call.secretsmanager.CreateSecret", theirs)
    set_key(aws, in_secrets(), "api_key", "s3cret")
    assert json.loads(secret(aws)) == {"theirs": "new", "key": "s3cret"}
    aws.client("secretsmanager").delete_secret(SecretId="o/api", ForceDeleteWithoutRecovery=True)
    own = settings(Api(url=URL, keys={"all": "secretsmanager:o/api"}))
    with pytest.raises(AwsError, match="was created by someone else just now"):
        set_key(aws, own, "all", "s3cret")


@pytest.mark.parametrize("value", ["plain", '{"other":"s3cret"}', '{"key":17}', '["key"]'])
def test_a_whole_secret_keeps_the_fields_that_other_keys_are(aws: Aws, value: str) -> None:
    both = in_secrets(all="secretsmanager:o/api")
    set_key(aws, both, "all", '{"key":"s3cret"}')
    with pytest.raises(
        UsageError, match="must be a JSON object with the texts key, which other keys are"
    ) as caught:
        set_key(aws, both, "all", value)
    assert "s3cret" not in caught.value.message
    assert secret(aws) == '{"key":"s3cret"}'


def test_who_is_always_overtaken_gives_up_and_says_so(aws: Aws) -> None:
    others = Aws(AwsEndpoint(local=True))
    other = others.client("secretsmanager")
    other.create_secret(Name="o/api", SecretString="{}")
    interfere(aws, lambda time: other.put_secret_value(SecretId="o/api", SecretString=f'{{"n":"{time}"}}'))
    with pytest.raises(AwsError, match="is being changed by others again and again; api_key was not set"):
        set_key(aws, in_secrets(), "api_key", "s3cret")
    assert json.loads(secret(others)) == {"n": "4"}
