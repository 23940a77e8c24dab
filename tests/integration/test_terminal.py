"""What a person at a terminal sees: questions, hidden prompts, and Ctrl-C."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fifo_cli.aws.session import Aws
from tests.cli_harness import Project, clean_environment, wait_until

SECRET = "sk_live_51H8xYz"


@dataclass
class Terminal:
    """A run of the program on a terminal of its own."""

    process: subprocess.Popen[bytes]
    master: int
    seen: str = ""

    def until(self, text: str, timeout: float = 60.0) -> None:
        """Read until the text was seen."""
        deadline = time.monotonic() + timeout
        while text not in self.seen and self._read():
            assert time.monotonic() < deadline, f"{text!r} did not come: {self.seen!r}"
        assert text in self.seen, self.seen

    def type(self, text: str) -> None:
        """Type as a person does: when the program waits for it.

        A Ctrl-C between Python's last look for signals and the read after it would be seen at the next key.
        """
        wait_until(self._waits)
        os.write(self.master, text.encode())

    def end(self, timeout: float = 60.0) -> int:
        """Read the rest and return the exit code."""
        deadline = time.monotonic() + timeout
        while self._read():
            assert time.monotonic() < deadline, f"it did not end: {self.seen!r}"
        return self.process.wait(timeout)

    def _read(self) -> bool:
        """Read what comes within a moment; False at the end."""
        ready, _, _ = select.select([self.master], [], [], 0.1)
        if not ready:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:  # what Linux says when the last one has closed the terminal
            return False
        self.seen += data.decode()
        return bool(data)

    def _waits(self) -> bool:
        """Say whether the program sleeps, as far as the system shows (proc(5), /proc/pid/stat)."""
        try:
            return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"
        except OSError:
            return True


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Run a command line on a terminal, ``--local``."""
    opened: list[Terminal] = []

    def run(project: Project, *words: str) -> Terminal:
        master, slave = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "fifo_cli", *words, "--local"],
            cwd=project.folder,
            env=clean_environment({"TERM": "xterm"}),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            # The terminal becomes the process's own, so that Ctrl-C and getpass's /dev/tty mean it.
            preexec_fn=_take_terminal,  # noqa: PLW1509 - nothing else runs in the child
        )
        os.close(slave)
        opened.append(Terminal(process, master))
        return opened[-1]

    yield run
    for each in opened:
        each.process.kill()
        each.process.wait()
        os.close(each.master)


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_deploy_asks_naming_everything_and_a_no_touches_nothing(
    project: Callable[..., Project], terminal: Callable[..., Terminal], clients: Aws
) -> None:
    made = project()
    run = terminal(made, "deploy")
    run.until("Go ahead? [y/N] ")

    for text in (made.name, "000000000000", "us-east-1", "embedded stack", f"create queue {made.name}.fifo"):
        assert text in run.seen
    run.type("\r")

    assert run.end() == 2
    assert "Nothing was changed." in run.seen
    assert "error" not in run.seen
    assert not any(made.name in name for name in clients.client("dynamodb").list_tables()["TableNames"])


def test_ctrl_c_at_a_question_is_a_no(
    project: Callable[..., Project], terminal: Callable[..., Terminal]
) -> None:
    run = terminal(project(api={"keys": {"api_key": "/t/missing"}}), "deploy")
    run.until("Go ahead? [y/N] ")

    run.type("\x03")

    assert run.end() == 130
    assert run.seen.rstrip().endswith("interrupted")
    assert run.seen.count("/t/missing does not exist") == 1, "the question has the warnings"


def test_the_warnings_of_a_question_are_not_repeated_after_a_yes(
    project: Callable[..., Project], terminal: Callable[..., Terminal]
) -> None:
    run = terminal(project(api={"keys": {"api_key": "/t/missing"}}), "deploy")
    run.until("Go ahead? [y/N] ")

    run.type("y\r")

    assert run.end() == 0
    assert run.seen.count("/t/missing does not exist") == 1


def test_a_key_is_asked_for_without_echo(
    project: Callable[..., Project], terminal: Callable[..., Terminal], clients: Aws
) -> None:
    made = project(api={"keys": {"api_key": "/t/terminal"}})
    run = terminal(made, "keys", "set", "api_key")
    run.until("Value of api_key (not shown): ")
    run.type(f"{SECRET}\r")

    assert run.end() == 0
    assert SECRET not in run.seen
    assert (
        clients.client("ssm").get_parameter(Name="/t/terminal", WithDecryption=True)["Parameter"]["Value"]
        == SECRET
    )
    clients.client("ssm").delete_parameter(Name="/t/terminal")


@pytest.mark.parametrize(("typed", "code"), [("\x04", 2), ("\r", 2), ("\x03", 130)])
def test_no_key_given_at_the_prompt_sets_nothing(
    project: Callable[..., Project], terminal: Callable[..., Terminal], typed: str, code: int
) -> None:
    run = terminal(project(api={"keys": {"api_key": "/t/none"}}), "keys", "set", "api_key")
    run.until("(not shown): ")
    run.type(typed)

    assert run.end() == code
    assert "Traceback" not in run.seen


def test_tables_fit_the_terminal_and_json_is_never_wrapped(
    project: Callable[..., Project], terminal: Callable[..., Terminal]
) -> None:
    made = project(api={"keys": {"api_key": "/" + "x" * 200}})

    shown = terminal(made, "keys", "list")
    assert shown.end() == 0
    assert max(map(len, re.split(r"[\r\n]+", shown.seen))) <= 100

    document = terminal(made, "keys", "list", "-o", "json")
    assert document.end() == 0
    assert f'"parameter": "/{"x" * 200}"' in document.seen


def test_a_second_signal_exits_at_once(
    project: Callable[..., Project], terminal: Callable[..., Terminal]
) -> None:
    """With a first signal the run waits for what it has in flight, here the two seconds between two looks."""
    run = terminal(project(), "logs", "--follow")
    run.until("worker has not run yet")
    run.type("\x03")
    run.until("a second signal exits at once")
    run.process.send_signal(signal.SIGTERM)

    # At its very end the program has put the system's own handling back.
    assert run.end() in (130, 143, -signal.SIGTERM)
    assert "Traceback" not in run.seen
