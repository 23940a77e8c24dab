"""keys as users run it; the value is nowhere but in the parameter."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from fifo_cli.aws.session import Aws
from tests.cli_harness import Project

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
