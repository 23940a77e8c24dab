"""`local up`, `down` and `reset`, interrupted in each of their phases: no process, no half state."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Final

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.local import process, stack
from fifo_cli.local.process import Files
from tests.cli_harness import Project, new_name, wait_until
from tests.integration.fork_server import ForkServer
from tests.integration.interrupted_runs import CODES, Place, processes_of

Phase = Callable[[Files], bool]


def in_turn(name: str, values: Iterable[str]) -> pytest.MarkDecorator:
    """Take the values, each with another signal: they differ in nothing but their number."""
    pairs = [pytest.param(one, number, id=one) for one, number in zip(values, cycle(CODES), strict=False)]
    return pytest.mark.parametrize((name, "number"), pairs)


@pytest.fixture
def place(fork_server: ForkServer, tmp_path: Path) -> Iterator[Place]:
    made = Project.create(tmp_path / "project", new_name(), "http://127.0.0.1:9", None, {})
    (tmp_path / "tmp").mkdir()
    yield Place(made, fork_server, tmp_path / "tmp")
    files = Files(made.folder)
    if (running := process.find(files)) is not None:
        process.kill(files, running)


def recorded(files: Files) -> dict[str, object]:
    """Return what the record of the stack says now."""
    try:
        found = json.loads(files.record.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def client(folder: Path) -> Aws:
    return Aws(AwsEndpoint(endpoint_url=stack.endpoint_of(folder), local=True, key=stack.key_of(folder)))


def queues(folder: Path) -> list[str]:
    urls = client(folder).client("sqs").list_queues().get("QueueUrls", [])
    return [url.rpartition("/")[2] for url in urls]


def nothing_runs(files: Files) -> None:
    """Wait until no process of a stack is left; killed, it takes the system a moment."""
    wait_until(lambda: processes_of(str(files.root)) == [] and process.find(files) is None)


STARTING: Final[dict[str, Phase]] = {
    "its turn": lambda files: files.lock.exists(),
    "the record is locked": lambda files: files.record.exists(),
    "the process began": lambda files: "pid" in recorded(files),
    "the process logs": lambda files: files.log.exists() and files.log.stat().st_size > 0,
}


@in_turn("phase", STARTING)
def test_up_leaves_no_process(place: Place, phase: str, number: signal.Signals) -> None:
    folder = place.project.folder
    files = Files(folder)
    line = ["local", "up", "--port", "0"]

    assert place.interrupted(line, number, {}, hangs=lambda: STARTING[phase](files), after=0.02) == ""

    nothing_runs(files)
    assert stack.up(folder, port=0).running


class Busy:
    """A request that the stack has open, so that it takes its time to stop."""

    def __init__(self, folder: Path) -> None:
        self._sqs = client(folder).client("sqs")
        self._url = self._sqs.create_queue(QueueName="kept")["QueueUrl"]
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def _receive(self) -> None:
        with contextlib.suppress(BotoCoreError, ClientError):
            self._sqs.receive_message(QueueUrl=self._url, WaitTimeSeconds=10)


@in_turn("then", ["up", "down", "nothing"])
def test_down_goes_on_and_loses_nothing(place: Place, then: str, number: signal.Signals) -> None:
    folder = place.project.folder
    files = Files(folder)
    before = stack.up(folder, port=0)
    Busy(folder)

    def stopping() -> bool:
        return recorded(files).get("stopping") is True

    assert place.interrupted(["local", "down"], number, {}, hangs=stopping, after=0) == ""

    if then == "down":
        assert not stack.down(folder).running
    if then != "up":
        nothing_runs(files)
    after = stack.up(folder, port=0)
    assert after.pid != before.pid
    assert queues(folder) == ["kept"]


RESETTING: Final[dict[str, Phase]] = {
    "it is killed": lambda files: not files.tmp.exists() or "pid" not in recorded(files),
    "the state is forgotten": lambda files: any(files.tmp.glob("*/state")),
    "it starts again": lambda files: "pid" in recorded(files) and not any(files.state.glob("more-*")),
}


@in_turn("phase", RESETTING)
def test_reset_forgets_all_or_nothing(place: Place, phase: str, number: signal.Signals) -> None:
    folder = place.project.folder
    files = Files(folder)
    stack.up(folder, port=0)
    client(folder).client("sqs").create_queue(QueueName="kept")
    stack.down(folder)
    whole = {path.name for path in files.state.iterdir()}
    # So many that to delete them takes a while.
    more = {f"more-{at}" for at in range(5_000)}
    for name in more:
        (files.state / name).touch()
    stack.up(folder, port=0)

    wrong = place.interrupted(["local", "reset"], number, {}, hangs=lambda: RESETTING[phase](files), after=0)

    assert wrong == ""
    nothing_runs(files)
    left = {path.name for path in files.state.glob("*")}
    assert left in (set(), whole | more)
    assert not stack.reset(folder).running
    assert list(files.state.iterdir()) == []
    assert stack.up(folder, port=0).running
    assert queues(folder) == []
