"""Keys are read ten parameters a call, a secret a call, all or none, and again after a rotation."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError

from fifo_cli.handlers import api_keys
from fifo_cli.handlers.api_keys import Keys
from fifo_cli.handlers.failure import ConfigurationError, owner_of
from fifo_cli.handlers.key_sources import Secret, secret_of


class Ssm:
    """Parameter Store: what does not exist is named without an error; the ``fails``-th call is refused."""

    def __init__(
        self, missing: Sequence[str] = (), *, fails: int = 0, code: str = "ThrottlingException"
    ) -> None:
        self.missing, self.fails, self.code, self.calls = missing, fails, code, list[int]()

    def get_parameters(self, *, Names: Sequence[str], WithDecryption: bool) -> dict[str, Any]:
        assert WithDecryption
        assert len(Names) <= 10, "AWS refuses more"
        assert len(set(Names)) == len(Names)
        self.calls.append(len(Names))
        if len(self.calls) == self.fails:
            raise ClientError({"Error": {"Code": self.code, "Message": "Rate exceeded"}}, "GetParameters")
        found = [{"Name": name, "Value": f"value of {name}"} for name in Names if name not in self.missing]
        return {"Parameters": found, "InvalidParameters": [name for name in Names if name in self.missing]}


def keys_of(ssm: Ssm, count: int) -> Keys:
    store: Any = ssm
    return Keys(store, {f"k{n}": f"/k/{n:02}" for n in range(count)} | ({"again": "/k/00"} if count else {}))


@pytest.mark.parametrize(
    ("count", "calls"), [(0, []), (1, [1]), (10, [10]), (11, [10, 1]), (20, [10, 10]), (23, [10, 10, 3])]
)
def test_names_are_asked_for_ten_a_call_each_once(count: int, calls: list[int]) -> None:
    ssm = Ssm()
    _, values = keys_of(ssm, count).current()
    assert ssm.calls == calls
    assert len(values) == count + bool(count)
    assert all(values[f"k{n}"] == f"value of /k/{n:02}" for n in range(count))


@pytest.mark.parametrize("missing", [["/k/00"], ["/k/09", "/k/10"], ["/k/22"]])
def test_what_does_not_exist_is_named_whichever_call_it_was_in(missing: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        keys_of(Ssm(missing), 23).current()
    assert f"{', '.join(missing)}: no such SSM parameter" in str(caught.value)


@pytest.mark.parametrize("fails", [1, 2, 3])
def test_a_throttled_read_is_aws_s_failure_and_the_next_one_reads_all_again(fails: int) -> None:
    ssm = Ssm(fails=fails)
    keys = keys_of(ssm, 23)
    with pytest.raises(ClientError, match="Rate exceeded"):
        keys.current()
    assert ssm.calls == [10, 10, 3][:fails]
    assert len(keys.current()[1]) == 24
    assert ssm.calls[fails:] == [10, 10, 3]


@pytest.mark.parametrize(
    "code", ["AccessDeniedException", "InvalidKeyId", "ParameterVersionNotFound", "KMSDisabledException"]
)
def test_a_key_that_may_not_be_decrypted_is_a_fault_of_configuration(code: str) -> None:
    with pytest.raises(ConfigurationError, match=r"/k/10"):
        keys_of(Ssm(fails=2, code=code), 23).current()


def test_a_rotation_is_read_once_for_all_that_ask() -> None:
    ssm = Ssm()
    keys = keys_of(ssm, 3)
    generation, _ = keys.current()
    keys.renew(generation)
    keys.renew(generation)
    assert ssm.calls == [3, 3]
    assert keys.current()[0] == generation + 1


class Secrets:
    """Secrets Manager: the current values by id; a text is a SecretString, an exception's code is raised."""

    def __init__(self, values: Mapping[str, str | bytes | ClientError]) -> None:
        self.values, self.asked = dict(values), list[str]()

    def get_secret_value(self, *, SecretId: str, VersionStage: str) -> dict[str, Any]:
        assert VersionStage == "AWSCURRENT"
        self.asked.append(SecretId)
        value = self.values.get(SecretId, refusal("ResourceNotFoundException"))
        if isinstance(value, ClientError):
            raise value
        return {"SecretString": value} if isinstance(value, str) else {"SecretBinary": value}


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "GetSecretValue")


def keys_in(secrets: Secrets, **sources: str) -> Keys:
    return Keys(None, sources, secrets)


def in_json(**fields: Any) -> str:
    return json.dumps(fields)


@pytest.mark.parametrize(
    ("source", "secret"),
    [
        ("/orders/key", None),
        ("secretsmanager", None),
        ("secretsmanager:orders/api", Secret("orders/api")),
        ("secretsmanager:orders/api#key", Secret("orders/api", "key")),
        ("secretsmanager:orders/api#a#b: c", Secret("orders/api", "a#b: c")),
        ("secretsmanager:orders/api#", Secret("orders/api", "")),
        (
            "secretsmanager:arn:aws:secretsmanager:eu-west-1:1:secret:o/api-AbCdEf#key",
            Secret("arn:aws:secretsmanager:eu-west-1:1:secret:o/api-AbCdEf", "key"),
        ),
    ],
)
def test_a_source_is_a_parameter_or_a_secret_with_or_without_a_field(
    source: str, secret: Secret | None
) -> None:
    assert secret_of(source) == secret


def test_fields_of_one_secret_are_one_call_and_parameters_are_read_beside_them() -> None:
    secrets = Secrets({"o/api": in_json(id="client-1", secret="s3cret-1"), "plain": "a plain one"})
    store: Any = Ssm()
    keys = Keys(
        store,
        {
            "id": "secretsmanager:o/api#id",
            "parameter": "/k/01",
            "secret": "secretsmanager:o/api#secret",
            "plain": "secretsmanager:plain",
        },
        secrets,
    )
    assert keys.current()[1] == {
        "id": "client-1",
        "parameter": "value of /k/01",
        "secret": "s3cret-1",
        "plain": "a plain one",
    }
    assert (secrets.asked, store.calls) == (["o/api", "plain"], [1])


def test_only_the_clients_of_services_that_hold_a_key_are_made() -> None:
    made: list[str] = []
    for sources in ({}, {"a": "/a"}, {"a": "secretsmanager:a"}, {"a": "/a", "b": "secretsmanager:b#c"}):
        api_keys.keys_of(sources, made.append)
        made.append("-")
    assert made == ["-", "ssm", "-", "secretsmanager", "-", "ssm", "secretsmanager", "-"]


def test_a_rotated_secret_is_read_again_once_for_all_that_ask() -> None:
    secrets = Secrets({"o": in_json(key="first-1", other="other-1")})
    keys = keys_in(secrets, a="secretsmanager:o#key", b="secretsmanager:o#other")
    generation, _ = keys.current()
    secrets.values["o"] = in_json(key="second-2", other="other-2")
    keys.renew(generation)
    keys.renew(generation)
    assert keys.current() == (generation + 1, {"a": "second-2", "b": "other-2"})
    assert secrets.asked == ["o", "o"]
    for value in ("first-1", "other-1", "second-2", "other-2"):
        assert value not in keys.redact(f"it was {value}")


@pytest.mark.parametrize(
    ("held", "source", "fault"),
    [
        (b"\x00\x01", "o", "key k (secret o): the secret is binary, and a key is text"),
        (b"{}", "o#f", "key k (secret o, field f): the secret is binary, and a key is text"),
        ("sesame", "o#f", "the secret is not a JSON object, so it has no fields"),
        ('["sesame"]', "o#f", "the secret is not a JSON object, so it has no fields"),
        ('"sesame"', "o#f", "the secret is not a JSON object, so it has no fields"),
        ('{"f": "sesame"', "o#f", "the secret is not a JSON object, so it has no fields"),
        ("[" * 100_000, "o#f", "the secret is not a JSON object, so it has no fields"),
        ("{}", "o#f", "the JSON of the secret has no such field"),
        (in_json(F="sesame"), "o#f", "the JSON of the secret has no such field"),
        (in_json(f=7493), "o#f", "the field is a number, and a key is text"),
        (in_json(f=74.93), "o#f", "the field is a number, and a key is text"),
        ('{"f": 1e999999999999999999999}', "o#f", "the field is a number, and a key is text"),
        (in_json(f=True), "o#f", "the field is true or false, and a key is text"),
        (in_json(f=None), "o#f", "the field is null, and a key is text"),
        (in_json(f=""), "o#f", "the field is empty"),
        ("", "o", "the secret is empty"),
        (in_json(f={"g": "sesame"}), "o#f", "the field is an object, and a key is text"),
        (in_json(f=["sesame"]), "o#f", "the field is a list, and a key is text"),
    ],
)
def test_what_is_no_text_is_a_fault_of_configuration_that_names_the_key_and_quotes_nothing(
    held: str | bytes, source: str, fault: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        keys_in(Secrets({"o": held}), k=f"secretsmanager:{source}").current()
    assert str(caught.value).endswith(fault)
    assert caught.value.what.startswith("key k (secret o")
    shown = "".join(traceback.format_exception(caught.value))
    assert "sesame" not in shown
    assert "74" not in str(caught.value)


def test_the_values_of_all_secrets_that_do_not_exist_are_named_together() -> None:
    secrets = Secrets({"there": "sesame"})
    keys = keys_in(secrets, a="secretsmanager:there", b="secretsmanager:gone", c="secretsmanager:lost#f")
    with pytest.raises(ConfigurationError) as caught:
        keys.current()
    expected = "[api] keys: secretsmanager:gone, secretsmanager:lost: no such secret, or it has no value"
    assert str(caught.value) == expected


def test_keys_that_are_missing_in_both_stores_are_named_together() -> None:
    sources = {"a": "/k/01", "b": "/k/02", "c": "secretsmanager:gone"}
    with pytest.raises(ConfigurationError) as caught:
        Keys(Ssm(["/k/02"]), sources, Secrets({})).current()  # type: ignore[arg-type]
    assert caught.value.what == "[api] keys: /k/02, secretsmanager:gone"
    assert caught.value.reason() == "no such SSM parameter; no such secret, or it has no value"


@pytest.mark.parametrize(
    ("code", "owner"),
    [
        *((code, "configuration") for code in ("AccessDeniedException", "DecryptionFailure")),
        *((code, "configuration") for code in ("InvalidRequestException", "KMSAccessDeniedException")),
        *((code, "aws") for code in ("ThrottlingException", "InternalServiceError")),
        *((code, "aws") for code in ("KMSThrottlingException", "ExpiredTokenException")),
    ],
)
def test_who_owns_a_secret_that_cannot_be_read(code: str, owner: str) -> None:
    with pytest.raises((ConfigurationError, ClientError)) as caught:
        keys_in(Secrets({"o": refusal(code)}), k="secretsmanager:o#f").current()
    assert owner_of(caught.value) == owner
    assert "secretsmanager:o:" in str(caught.value) or owner == "aws"


def test_a_secret_that_is_scheduled_for_deletion_is_said_to_be_in_plain_words() -> None:
    marked = "You can't perform this operation on the secret because it was marked for deletion."
    error = ClientError({"Error": {"Code": "InvalidRequestException", "Message": marked}}, "GetSecretValue")
    with pytest.raises(ConfigurationError) as caught:
        keys_in(Secrets({"o": error}), k="secretsmanager:o#f").current()
    assert str(caught.value) == "[api] keys: secretsmanager:o: the secret is scheduled for deletion"


def test_every_text_of_a_secret_that_is_json_is_hidden() -> None:
    keys = keys_in(Secrets({"o": in_json(user="somebody", password="s3cret-1")}), all="secretsmanager:o")
    keys.current()
    shown = keys.redact("somebody said s3cret-1")
    assert "somebody" not in shown
    assert "s3cret-1" not in shown
