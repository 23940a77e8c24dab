"""The first signal is heard, in every command, at every moment, also while AWS does not answer."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from tests.cli_harness import Project, new_name
from tests.every_command import EVERY_COMMAND
from tests.integration.fork_server import ForkServer
from tests.integration.interrupted_runs import KEYS, BlackHole, Place

_ITEM = '{"id": "1", "grp": "g"}'

# What each command is given so that it calls AWS; more than one line where its ways differ.
CALLS_AWS: dict[str, list[list[str]]] = {
    "plan": [[]],
    "deploy": [["--yes"], ["--dry-run"]],
    "keys list": [[]],
    "keys set": [["api_key"]],
    "rollback": [["--yes"]],
    "pause": [[], ["worker", "--wait"]],
    "resume": [[]],
    "destroy": [["--yes"]],
    "policy": [["deployer"]],
    "depth": [[], ["--watch", "-o", "jsonl"]],
    "peek": [[], ["--queue", "dlq"]],
    "drain": [
        ["--all"], ["--all", "--concurrency", "4"], ["--count", "1", "--via", "lambda"],
        ["--all", "--dry-run"],
    ],
    "redrive": [["--yes"], ["--yes", "--in-order"], ["--dry-run"], ["--yes", "--engine", "native"]],
    "park": [["--yes"]],
    "replay": [["--yes"], ["--yes", "--missing"], ["--yes", "--failed"], ["--dry-run"]],
    "dump": [["out.jsonl"], ["moved.jsonl", "--move", "--yes"], ["-"]],
    "load": [["in.jsonl", "--yes"]],
    "purge": [["--queue", "dlq", "--yes"], ["--queue", "dlq", "--yes", "--no-backup"]],
    "put": [[_ITEM]],
    "status": [[]],
    "logs": [[], ["--follow", "-o", "jsonl"]],
    "trace": [['{"id": "1"}']],
    "audit": [[]],
    "history": [[]],
    "check": [[], ["--format", "prometheus"]],
    "watch": [[]],
    "prove": [["--yes"], ["--clean", "--yes"]],
}  # fmt: skip
# These never call AWS.
CALLS_NOTHING = {
    "init": ["new"],
    "package": [],
    "schema": [],
    "completion bash": [],
    "completion zsh": [],
    "completion fish": [],
    "manual": [],
    "local up": ["--port", "0"],
    "local down": [],
    "local status": [],
    "local reset": [],
    "demo": [],
}
# What is typed there once the program has shown the first.
ON_A_TERMINAL = {"watch": ("", ""), "keys set": ("not shown", "a-value\n")}


def test_no_command_is_forgotten() -> None:
    assert set(EVERY_COMMAND) == set(CALLS_AWS) | set(CALLS_NOTHING)


@pytest.fixture
def place(fork_server: ForkServer, tmp_path: Path) -> Place:
    tables = {"api": {"keys": {"api_key": "/k"}, "headers": {"X": "{api_key}"}}}
    made = Project.create(tmp_path / "project", new_name(), "http://127.0.0.1:9", None, tables)
    tmp = tmp_path / "tmp"
    tmp.mkdir()
    return Place(made, fork_server, tmp)


def lines() -> list[list[str]]:
    """Every command that calls AWS, in its ways."""
    return [[*name.split(), *own] for name, variants in CALLS_AWS.items() for own in variants]


def typed(line: list[str]) -> tuple[str, str] | None:
    return next(
        (said for name, said in ON_A_TERMINAL.items() if line[: name.count(" ") + 1] == name.split()), None
    )


# Each command by SIGINT, and by one of the others in turn; by the third one in the long tier.
SHARES: Final = [
    pytest.param(signal.SIGINT, slice(None), id="SIGINT"),
    pytest.param(signal.SIGTERM, slice(0, None, 2), id="SIGTERM, every other command"),
    pytest.param(signal.SIGHUP, slice(1, None, 2), id="SIGHUP, the other commands"),
    pytest.param(signal.SIGTERM, slice(1, None, 2), marks=pytest.mark.long, id="SIGTERM, the rest"),
    pytest.param(signal.SIGHUP, slice(0, None, 2), marks=pytest.mark.long, id="SIGHUP, the rest"),
]


@pytest.mark.parametrize(("number", "share"), SHARES)
def test_every_command_hears_the_first_signal_while_aws_does_not_answer(
    place: Place, number: signal.Signals, share: slice
) -> None:
    def run(line: list[str]) -> str:
        with BlackHole() as hole:
            env = {**KEYS, "AWS_ENDPOINT_URL": hole.url}
            return place.interrupted(line, number, env, hangs=hole.called.is_set, typed=typed(line))

    assert place.in_a_loop({" ".join(line): partial(run, line) for line in lines()[share]}) == {}
