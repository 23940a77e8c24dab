"""What a run with its own file, environment and stack prints is typed into a shell, and works there."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli_harness import Project, Stack, clean_environment, new_name, to_toml
from tests.integration.deployed_pipeline import Pipeline, deployed

CONFIG = "a b/it's.toml"
GIVEN = ("--config", CONFIG, "--env", "prod", "--local")
REPEATED = """ --config 'a b/it'"'"'s.toml' --env prod --local"""


@pytest.fixture(scope="module")
def prod(tmp_path_factory: pytest.TempPathFactory, stack: Stack) -> Iterator[Pipeline]:
    """A pipeline that is an overlay of another one, which is not deployed, in a file with an odd name."""
    with deployed(tmp_path_factory.mktemp("printed"), stack, deploy=False) as line:
        folder = line.project.folder
        (folder / "a b").mkdir()
        stack.lend(folder / "a b")
        text = line.project.config.read_text().replace(line.name, "t-not-this-one")
        overlay = f'[env.prod.pipeline]\nname = "{line.name}"\n[env.prod.table]\nname = "{line.name}"\n'
        (folder / CONFIG).write_text(text + overlay)
        (folder / "bin").mkdir()
        program = folder / "bin" / "fifo-cli"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m fifo_cli "$@"\n')
        program.chmod(0o755)
        line.project.run("deploy", "--yes", *GIVEN).ok()
        yield line


def printed(text: str) -> list[str]:
    return re.findall(r"`(fifo-cli [^`]*)`", text)


def typed(project: Project, line: str) -> subprocess.CompletedProcess[str]:
    """Type a line into a shell, as it was printed."""
    environment = clean_environment()
    environment["PATH"] = f"{project.folder / 'bin'}:{environment['PATH']}"
    return subprocess.run(
        ["sh", "-c", line],
        cwd=project.folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_each_problem_of_a_pipeline_comes_with_a_command_that_is_about_this_one(prod: Pipeline) -> None:
    prod.project.run("pause", "worker", *GIVEN).ok()
    ran = prod.project.run("status", *GIVEN)
    assert ran.code == 1
    (resume,) = [one for one in printed(ran.out) if "resume" in one]
    assert resume == f"fifo-cli resume worker{REPEATED}"

    assert typed(prod.project, resume).returncode == 0
    assert prod.project.run("status", *GIVEN).code == 0


def test_json_has_the_same_commands_as_the_screen(prod: Pipeline) -> None:
    prod.project.run("pause", "enqueuer", *GIVEN).ok()
    ran = prod.project.run("status", *GIVEN, "-o", "json")
    (problem,) = ran.json()["verdict"]["problems"]
    assert problem["next"] == f"`fifo-cli resume enqueuer{REPEATED}`"
    assert typed(prod.project, problem["next"].strip("`")).returncode == 0
    assert prod.project.run("check", *GIVEN, "--format", "json").json()["problems"] == []


def test_a_group_with_a_name_that_a_shell_would_act_on_is_quoted(prod: Pipeline) -> None:
    prod.send(1, group="$(touch;ran)")
    prod.api.fail(503)
    prod.project.run("drain", "--all", "--via", "lambda", *GIVEN)
    ran = prod.project.run("status", *GIVEN)
    for line in printed(ran.out):
        done = typed(prod.project, f"{line} --dry-run" if "park" in line or "drain" in line else line)
        assert (done.returncode in (0, 1), "rror" in done.stderr) == (True, False), (line, done.stderr)
    assert not Path(prod.project.folder, "ran").exists()
    prod.api.recover()
    prod.project.run("drain", "--all", *GIVEN)


def test_a_message_that_looks_like_a_hint_stays_as_it_is(prod: Pipeline) -> None:
    body = "look with `fifo-cli status`"
    prod.aws.client("sqs").send_message(
        QueueUrl=prod.aws.client("sqs").get_queue_url(QueueName=f"{prod.name}-dlq.fifo")["QueueUrl"],
        MessageBody=body,
        MessageGroupId="all",
        MessageDeduplicationId="hint",
        MessageAttributes={"park_reason": {"DataType": "String", "StringValue": "`fifo-cli purge`"}},
    )
    for format_ in ("table", "json", "jsonl"):
        ran = prod.project.run("peek", "--queue", "dlq", *GIVEN, "-o", format_).ok()
        assert body in ran.out
        assert not any(one not in ("fifo-cli status", "fifo-cli purge") for one in printed(ran.out))
    prod.project.run("purge", "--queue", "dlq", "--no-backup", "--yes", *GIVEN).ok()


MISTAKES = [
    (("drain",), 2, ["fifo-cli drain --count 1"]),
    (("drain", "--nonsense"), 2, None),
    (("redrive", "--in-order", "--count", "1"), 2, None),
    (("redrive", "--in-order", "--engine", "native"), 2, None),
    (("logs", "worker", "--since", "1m"), 0, None),
    (("audit",), 0, None),
    (("keys", "set", "nobody"), 2, None),
    (("replay", "--since", "1h", "--dry-run"), 0, None),
]


@pytest.mark.parametrize(("words", "code", "named"), MISTAKES, ids=[" ".join(one[0]) for one in MISTAKES])
def test_every_hint_of_an_error_can_be_typed(prod: Pipeline, words, code, named) -> None:
    ran = prod.project.run(*words, *GIVEN)
    assert ran.code == code, ran.err
    for line in printed(ran.out + ran.err):
        if line.endswith(" --help"):
            assert typed(prod.project, line).returncode == 0
            continue
        assert line.endswith(REPEATED), line
    if named is not None:
        assert printed(ran.err) == [f"{one}{REPEATED}" for one in named]


def test_a_stack_that_does_not_run_is_started_by_what_is_printed(tmp_path: Path) -> None:
    folder = tmp_path / "x y"
    folder.mkdir()
    project = Project(folder, new_name())
    document = {
        "pipeline": {"name": project.name},
        "table": {"name": project.name, "partition_key": "id"},
        "schedule": {"expressions": ["rate(1 hour)"]},
        "api": {"url": "https://127.0.0.1"},
    }
    (tmp_path / "my orders.toml").write_text(to_toml(document))
    ran = project.run("depth", "--local", "--config", "../my orders.toml")
    assert ran.code == 3
    assert printed(ran.err) == ["fifo-cli local up --config '../my orders.toml'"]
