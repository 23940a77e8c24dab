"""The stack's process: whose environment it gets, and how it is recognised."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fifo_cli.errors import StackError
from fifo_cli.local import process, stack
from fifo_cli.local.process import Files, Running, check_room, unusable
from fifo_cli.local.receiver import Receiver, Reply


def _keyed(folder: Path) -> Files:
    files = Files(folder)
    files.prepare()
    return files


@contextmanager
def _held(files: Files, text: str) -> Iterator[None]:
    files.prepare()
    files.record.write_text(text)
    with files.record.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_the_stack_never_sees_the_users_aws_settings_or_proxies(tmp_path):
    base = {
        "PATH": "/bin",
        "HOME": "/home/u",
        "AWS_SECRET_ACCESS_KEY": "s3cret",
        "AWS_PROFILE": "prod",
        "AWS_ENDPOINT_URL": "https://real",
        "HTTPS_PROXY": "http://proxy",
        "MINISTACK_HOST": "elsewhere",
        "SERVICES": "s3",
        "PYTHONWARNINGS": "error",
        "DOCKER_HOST": "unix:///var/run/docker.sock",
    }
    files = Files(tmp_path)
    made = process.environment(files, 4567, "token", base)
    assert {name: made.get(name) for name in base} == {
        **dict.fromkeys(base),
        "PATH": "/bin",
        "HOME": "/home/u",
        "DOCKER_HOST": f"unix://{files.root}/no-docker",
    }
    assert {name: value for name, value in made.items() if name.startswith("AWS_")} == {
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    assert (made["BIND_HOST"], made["GATEWAY_PORT"]) == ("127.0.0.1", "4567")


def test_relative_entries_of_the_python_path_stay_what_they_were(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = process.environment(Files(tmp_path), 1, "t", {"PYTHONPATH": "src:/abs:"})
    assert made["PYTHONPATH"] == f"{tmp_path / 'src'}:/abs"


def test_the_folder_is_private_and_ignored_by_git(tmp_path):
    files = Files(tmp_path)
    files.prepare()
    files.prepare()
    assert stat.S_IMODE(files.root.stat().st_mode) == 0o700
    assert (files.root / ".gitignore").read_text() == "*\n"
    assert sorted(path.name for path in files.root.iterdir()) == [".gitignore", "credentials", "state", "tmp"]


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / ".fifo").write_text("a file is in the way")
    with pytest.raises(StackError, match="cannot keep its state") as caught:
        Files(tmp_path).prepare()
    assert "write" in caught.value.hint


def test_nothing_runs_where_nothing_was_started(tmp_path):
    assert process.find(Files(tmp_path)) is None
    assert list(tmp_path.iterdir()) == []


def test_a_record_left_by_a_process_that_is_gone_means_nothing(tmp_path):
    files = Files(tmp_path)
    files.prepare()
    # The process id lives, and is not the stack's: it was used again.
    files.record.write_text(json.dumps({"pid": os.getpid(), "port": 4566, "token": "t"}))
    assert process.find(files) is None


def test_a_held_record_is_a_running_stack(tmp_path):
    files = Files(tmp_path)
    with _held(files, '{"pid": 12, "port": 4570, "token": "t", "guarded": true}'):
        assert process.find(files) == Running(12, 4570, "t")
        assert process.find(files) == Running(12, 4570, "t")
    assert process.find(files) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"pid": "x", "port": 1, "token": ""}'])
def test_a_running_stack_that_left_no_record_is_an_error_and_not_a_traceback(tmp_path, text, monkeypatch):
    monkeypatch.setattr(process, "_POLL", 0)
    files = Files(tmp_path)
    with (
        _held(files, text),
        pytest.raises(StackError, match="does not say which process"),
    ):
        process.find(files)


@pytest.mark.parametrize(
    ("body", "same"),
    [
        (b'{"edition": "mine"}', True),
        (b'{"edition": "light"}', False),  # another ministack
        (b"<html>", False),
        (b"[]", False),
    ],
)
def test_only_the_stack_that_was_started_is_taken_for_it(body, same, tmp_path):
    with Receiver(answer=lambda received: Reply(200, body)) as other:
        assert process.answers(_keyed(tmp_path), Running(1, other.port, "mine")) is same


def test_a_port_where_nobody_answers_is_not_the_stack(tmp_path):
    with Receiver() as gone:
        port = gone.port
    assert not process.answers(_keyed(tmp_path), Running(1, port, "mine"))


def test_waiting_for_a_stack_that_never_answers_ends_with_its_log(tmp_path):
    files = Files(tmp_path)
    now = [0.0]
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += 10

    with Receiver(answer=lambda received: Reply(503)) as mute:
        record = json.dumps({"pid": 1, "port": mute.port, "token": "t"})
        with _held(files, record):
            files.log.write_text("".join(f"line {number}\n" for number in range(40)))
            with pytest.raises(StackError, match="did not answer within 60 s") as caught:
                process.wait_until_ready(files, sleep=sleep, clock=lambda: now[0])
    assert len(slept) == 6
    assert "line 39" in caught.value.message
    assert "line 20\n" not in caught.value.message


def test_waiting_for_a_stack_that_ended_says_so_at_once(tmp_path):
    files = Files(tmp_path)
    files.prepare()
    assert process.wait_until_ready(files, sleep=lambda seconds: None, clock=lambda: 0.0) is None


def test_the_log_of_a_stack_that_never_started_is_empty(tmp_path: Path):
    assert Files(tmp_path).log_tail() == ""


def test_a_disk_without_room_is_named_with_what_is_needed(tmp_path: Path) -> None:
    check_room(tmp_path, 1, "the demo")

    with pytest.raises(StackError, match=r"the disk of .* has [\d.]+ MiB free, and the demo needs \d{12,}"):
        check_room(tmp_path, 10**20, "the demo")


@pytest.mark.parametrize(("number", "hint"), [(errno.ENOSPC, "make room"), (errno.EACCES, "a folder that")])
def test_a_folder_that_cannot_hold_the_state_is_reported_with_what_helps(number: int, hint: str) -> None:
    message = unusable(Path("/x"), OSError(number, os.strerror(number)))

    assert os.strerror(number) in message.message
    assert hint in message.hint


def test_a_stack_that_has_no_process_group_yet_is_killed_all_the_same(tmp_path: Path) -> None:
    files = Files(tmp_path)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        running = Running(pid=child.pid, port=1, token="t")
        process.kill(files, running)
        assert child.wait(60) == -signal.SIGKILL


def test_a_stack_of_an_older_version_is_to_be_restarted(tmp_path: Path) -> None:
    with _held(Files(tmp_path), '{"pid": 12, "port": 4570, "token": "t"}'):
        for use in (stack.up, stack.endpoint_of):
            with pytest.raises(StackError, match="asks for no key") as caught:
                use(tmp_path)
            assert "fifo-cli local down" in caught.value.hint
        assert stack.status(tmp_path).running
