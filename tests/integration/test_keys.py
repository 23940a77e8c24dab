"""keys as users run it; the value is nowhere but in the parameter."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fifo_cli.aws.session import Aws
from tests.cli_harness import Project
from tests.faults import DropAnswer, on
from tests.integration.proxy import Proxy

SECRET = "sk_live_51H8xYz"


@pytest.fixture
def keyed(project: Callable[..., Project], clients: Aws) -> Iterator[tuple[Project, str]]:
    """A project with one key, and its parameter's name."""
    made = project(
        api={"headers": {"Authorization": "Bearer {api_key}"}, "keys": {"api_key": "/t/placeholder"}}
    )
    parameter = f"/{made.name}/api-key"
    made.config.write_text(made.config.read_text().replace("/t/placeholder", parameter))
    yield made, parameter
    if clients.client("ssm").get_parameters(Names=[parameter])["Parameters"]:
        clients.client("ssm").delete_parameter(Name=parameter)


def value(clients: Aws, parameter: str) -> str:
    return clients.client("ssm").get_parameter(Name=parameter, WithDecryption=True)["Parameter"]["Value"]


def test_a_key_is_missing_then_set_then_set_again(keyed: tuple[Project, str], clients: Aws) -> None:
    project, parameter = keyed
    missing = {
        "name": "api_key",
        "parameter": parameter,
        "exists": False,
        "version": None,
        "modified_at": None,
    }
    assert project.local("keys", "list", "-o", "json").ok().json() == {"keys": [missing]}

    for version, text in enumerate((f"{SECRET}\n", f"{SECRET}2\r\n"), 1):
        ran = project.local("keys", "set", "api_key", "-o", "jsonl", input=text).ok()
        [row] = ran.jsonl()
        assert (row["exists"], row["version"]) == (True, version)
        assert value(clients, parameter) == text.strip()
        assert SECRET not in ran.out + ran.err

    assert project.local("keys", "list").ok().out.splitlines()[1].split()[:4] == [
        "api_key",
        parameter,
        "set",
        "2",
    ]


@pytest.mark.parametrize("data", [b"", b"\n", b"a{{b", b"a\nb", b"x" * 5000, b"\xff"])
def test_a_value_that_cannot_be_is_refused_and_never_shown(
    keyed: tuple[Project, str], clients: Aws, data: bytes
) -> None:
    project, parameter = keyed

    ran = project.local("keys", "set", "api_key", "-vv", input=data)

    assert (ran.code, ran.out) == (2, "")
    assert "the value for api_key" in ran.err
    assert len(data) < 3 or data.decode("latin-1") not in ran.err
    assert clients.client("ssm").get_parameters(Names=[parameter])["InvalidParameters"] == [parameter]


def test_a_failed_call_does_not_show_the_value_even_with_vv(keyed: tuple[Project, str]) -> None:
    project, _ = keyed

    ran = project.at(
        "http://127.0.0.1:1", "keys", "set", "api_key", "-vv", input=SECRET, env={"AWS_MAX_ATTEMPTS": "1"}
    )

    assert (ran.code, ran.out) == (3, "")
    assert SECRET not in ran.err


def test_a_plain_string_is_left_as_it_is(keyed: tuple[Project, str], clients: Aws) -> None:
    project, parameter = keyed
    clients.client("ssm").put_parameter(Name=parameter, Value="old", Type="String")

    ran = project.local("keys", "set", "api_key", input=SECRET)

    assert ran.code == 2
    assert "exists as a String" in ran.err
    assert value(clients, parameter) == "old"


def test_fields_of_a_secret_are_made_set_and_listed_and_the_others_stay(
    project: Callable[..., Project], clients: Aws
) -> None:
    made = project(
        api={
            "headers": {"Authorization": "Bearer {one} {two} {all}"},
            "keys": {name: "secretsmanager:t/placeholder" for name in ("one", "two", "all")},
        }
    )
    text = made.config.read_text()
    for name in ("one", "two", "all"):
        old = f'"{name}" = "secretsmanager:t/placeholder"'
        assert old in text
        source = f"secretsmanager:{made.name}/{'whole' if name == 'all' else f'api#{name}'}"
        text = text.replace(old, f'"{name}" = "{source}"')
    made.config.write_text(text)

    def held(secret: str) -> str:
        found = clients.client("secretsmanager").get_secret_value(SecretId=f"{made.name}/{secret}")
        return str(found["SecretString"])

    planned = " ".join(made.local("plan").ok().err.split())
    assert f"key two: secret {made.name}/api does not exist, so the worker cannot deliver" in planned
    shown = []
    for name in ("one", "two", "all", "one"):
        ran = made.local("keys", "set", name, "-vv", input=f"{SECRET}-{name}\n").ok()
        shown.append(ran.out + ran.err)
    assert json.loads(held("api")) == {"one": f"{SECRET}-one", "two": f"{SECRET}-two"}
    assert held("whole") == f"{SECRET}-all"
    rows = made.local("keys", "list", "-o", "json").ok().json()["keys"]
    assert [(row["parameter"], row["exists"]) for row in rows] == [
        (f"secretsmanager:{made.name}/api#one", True),
        (f"secretsmanager:{made.name}/api#two", True),
        (f"secretsmanager:{made.name}/whole", True),
    ]
    versions = clients.client("secretsmanager").describe_secret(SecretId=f"{made.name}/api")
    assert versions["VersionIdsToStages"][rows[0]["version"]] == ["AWSCURRENT"]
    clients.client("secretsmanager").delete_secret(SecretId=f"{made.name}/api")
    refused = made.local("keys", "set", "one", input=f"{SECRET}-one")
    assert (refused.code, "is scheduled for deletion; nothing was set" in refused.err) == (2, True)
    assert "scheduled for deletion" in made.local("keys", "list").ok().out
    shown.append(refused.out + refused.err)
    assert SECRET not in "".join(shown)


@pytest.mark.parametrize(
    "lost", ["PutSecretValue", "UpdateSecretVersionStage", "DescribeSecret", "GetSecretValue"]
)
def test_a_lost_answer_makes_no_second_version_and_loses_no_field(
    project: Callable[..., Project], clients: Aws, proxy: Proxy, lost: str
) -> None:
    made = project(api={"headers": {"X": "{one}"}, "keys": {"one": "secretsmanager:t/lost#one"}})
    client: Any = clients.client("secretsmanager")
    secret = f"{made.name}/lost"
    made.config.write_text(made.config.read_text().replace("t/lost", secret))
    client.create_secret(Name=secret, SecretString='{"other":1.25}')
    proxy.rule = on(lost, nth=1, do=DropAnswer())
    ran = made.at(proxy.endpoint, "keys", "set", "one", input=SECRET)
    assert ran.code == 0, ran.err
    assert client.get_secret_value(SecretId=secret)["SecretString"] == f'{{"other":1.25,"one":"{SECRET}"}}'
    stages = client.describe_secret(SecretId=secret)["VersionIdsToStages"].values()
    assert sorted(stages) == [["AWSCURRENT"], ["AWSPREVIOUS"]]
