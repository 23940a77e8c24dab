"""As cron runs it: no terminal, hardly an environment, LANG=C, a read-only home, a full disk, two at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.cli_harness import ROOT, Stack
from tests.integration.deployed_pipeline import Pipeline, deployed

COMMANDS = (
    ("check",),
    ("check", "--format", "json"),
    ("depth", "-o", "json"),
    ("status",),
    ("plan", "--check", "-q"),
    ("logs", "--since", "1h", "-o", "jsonl"),
    ("drain", "--count", "5", "--quiet", "-o", "json"),
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, stack: Stack) -> Iterator[Pipeline]:
    with deployed(tmp_path_factory.mktemp("cron"), stack) as line:
        yield line


@pytest.fixture
def line(shared: Pipeline) -> Pipeline:
    shared.reset()
    return shared


def minimal(home: Path, **more: str) -> dict[str, str]:
    """Return what cron gives a job (crontab(5)), and what this interpreter needs to find the program."""
    return {
        "HOME": str(home),
        "LOGNAME": "ops",
        "SHELL": "/bin/sh",
        "PATH": "/usr/bin:/bin",
        "LANG": "C",
        "PYTHONPATH": str(ROOT),
        **more,
    }


def run(
    line: Pipeline, *words: str, env: dict[str, str], shell: str = "", timeout: float = 60
) -> subprocess.CompletedProcess[bytes]:
    """Run a command line the way cron does: through /bin/sh, in a session of its own, with no input."""
    command = f'cd "{line.project.folder}" && "{sys.executable}" -m fifo_cli "$@" --local {shell}'
    return subprocess.run(
        ["/bin/sh", "-c", command, "sh", *words],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        start_new_session=True,
        check=False,
    )


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home that nobody may write to, not even root: what would be a folder in it is a file."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in (".aws", ".cache", ".config", ".fifo"):
        (folder / name).touch()
    folder.chmod(0o500)
    yield folder
    folder.chmod(0o700)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_with_hardly_an_environment_and_no_home_to_write_it_works(
    line: Pipeline, home: Path, words: tuple[str, ...]
) -> None:
    before = sorted(os.listdir(home))

    done = run(line, *words, env=minimal(home))

    assert done.returncode == 0, done
    assert b"\x1b" not in done.stdout + done.stderr
    assert sorted(os.listdir(home)) == before
    if "json" in words:
        assert isinstance(json.loads(done.stdout), dict)


@pytest.mark.parametrize(
    "env", [{}, {"PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, {"LC_ALL": "POSIX"}], ids=str
)
def test_in_the_c_locale_data_is_utf_8_and_text_is_never_mojibake(
    line: Pipeline, home: Path, env: dict[str, str]
) -> None:
    sqs, url = line.aws.client("sqs"), line.url("main")
    body = '{"name": "Zoë — 日本"}'
    sqs.send_message(
        QueueUrl=url, MessageBody=body, MessageGroupId="g", MessageDeduplicationId=f"{time.time()}"
    )

    data = run(line, "peek", "-o", "jsonl", env=minimal(home, **env))
    text = run(line, "peek", env=minimal(home, **env))

    assert json.loads(data.stdout.decode("utf-8"))["body"] == body
    assert text.returncode == 0
    shown = text.stdout.decode("utf-8")
    assert "Zoë — 日本" in shown or "Zo\\xeb \\u2014 \\u65e5\\u672c" in shown
    assert "Ã" not in shown


@pytest.mark.parametrize(
    ("words", "code"),
    [(("depth",), 1), (("status", "-o", "json"), 1), (("logs", "-o", "jsonl"), 0), (("check",), 3)],
    ids=str,
)
def test_a_full_disk_is_reported_and_not_a_crash(
    line: Pipeline, home: Path, words: tuple[str, ...], code: int
) -> None:
    """There is nothing in the logs to write, so nothing fails there."""
    done = run(line, *words, env=minimal(home), shell="> /dev/full")

    assert done.returncode == code
    assert b"Traceback" not in done.stderr
    assert (b"No space left on device" in done.stderr) == bool(code)


def test_a_drain_onto_a_full_disk_still_accounts_for_what_it_delivered(line: Pipeline, home: Path) -> None:
    line.send(2)

    done = run(line, "drain", "--all", "-o", "json", env=minimal(home), shell="> /dev/full")

    assert done.returncode == 1
    assert b"No space left on device" in done.stderr
    assert line.project.local("depth", "-o", "json").json()["queues"]["main"]["visible"] == 0
    assert line.project.local("depth", "-o", "json").json()["queues"]["main"]["in_flight"] == 0


def test_two_drains_at_once_deliver_every_message_once_and_in_order(line: Pipeline, home: Path) -> None:
    for group in ("a", "b", "c"):
        line.send(4, group=group)
    before = len(line.api.accepted)

    def drain(_: int) -> subprocess.CompletedProcess[bytes]:
        return run(line, "drain", "--all", "-q", "-o", "json", env=minimal(home))

    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(drain, range(2)))

    assert {done.returncode for done in runs} == {0}
    assert sum(json.loads(done.stdout)["delivered"] for done in runs) == 12
    bodies = [json.loads(one.body)["n"] for one in line.api.accepted[before:]]
    assert sorted(bodies) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]


@pytest.mark.parametrize("words", [("deploy",), ("destroy",)], ids=" ".join)
def test_nothing_asks_without_a_terminal(line: Pipeline, home: Path, words: tuple[str, ...]) -> None:
    config = line.project.config.read_text(encoding="utf-8")
    line.project.config.write_text(config.replace('"messages_per_run" = 10', '"messages_per_run" = 7'))
    try:
        done = run(line, *words, env=minimal(home))
    finally:
        line.project.config.write_text(config)

    assert (done.returncode, done.stdout) == (2, b"")
    assert b"--yes" in done.stderr


def test_an_aws_that_never_answers_is_given_up_on_and_leaves_no_process(line: Pipeline, home: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        env = minimal(home, AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", AWS_DEFAULT_REGION="us-east-1")
        command = [sys.executable, "-m", "fifo_cli", "check", "--timeout", "1s"]
        endpoint = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        began = time.monotonic()
        done = subprocess.run(
            [*command, "--endpoint-url", endpoint],
            cwd=line.project.folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
            start_new_session=True,
            check=False,
        )

    assert done.returncode == 3
    assert time.monotonic() - began < 10
    assert endpoint not in _command_lines()


def _command_lines() -> str:
    """Return the command lines of all processes there are."""
    texts = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            texts.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return "\n".join(texts)


def test_every_client_has_timeouts(stack: Stack) -> None:
    aws = stack.aws()
    for name in ("sqs", "dynamodb", "dynamodbstreams", "lambda", "events", "scheduler", "ssm", "iam", "logs",
                 "cloudwatch", "sts"):  # fmt: skip
        config: Any = aws.client(name).meta.config
        assert 0 < config.connect_timeout <= 10, name
        assert 0 < config.read_timeout <= 60, name
