"""A mistake in the user's code stops what runs that code, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from fifo_cli.aws.sqs import Queue
from tests.cli_harness import Stack, wait_until
from tests.integration.deployed_pipeline import Pipeline, deployed

CODE: Final = """
import httpx

def to_message(item):
    return None if item.get("left") else item

def to_request(body, attributes, keys):
    return httpx.Request("POST", URL, json=body)
"""
# What looks, stops or moves runs no code of the user's. Exit codes: done, or something needs a look.
GOES_ON: Final = [
    "status", "check", "depth", "peek", "peek --queue dlq", "pause worker", "resume worker", "logs",
    "keys list", "policy monitor", "policy operator", "rollback --dry-run", "drain --all --dry-run",
    "drain --count 1 --via lambda", "redrive --dry-run", "redrive --in-order --dry-run", "park --dry-run",
    "dump - --queue main --dry-run", "purge --queue dlq --dry-run", "destroy --dry-run", "local status",
]  # fmt: skip


def _module(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "mine.py").write_bytes(text.encode("utf-8", "surrogateescape"))

    return write


def _folder(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def _a_folder_for_a_file(folder: Path) -> None:
    (folder / "mine.py").unlink()
    (folder / "mine.py").mkdir()


def _no_module(folder: Path) -> None:
    (folder / "mine.py").rename(folder / "yours.py")


def _broken_helper(folder: Path) -> None:
    (folder / "helper.py").write_text("x = 1\ny = (\n")
    (folder / "mine.py").write_text(f"import helper\n{CODE}")


def _nowhere(folder: Path) -> None:
    (folder / "mine.py").unlink()
    (folder / "mine.py").symlink_to("gone.py")


# How it is broken; where a replay says that it is, and whether deploy can see that without running it.
KINDS: Final[dict[str, tuple[Callable[[Path], None], str, bool]]] = {
    "a syntax error": (_module(f"{CODE}\ndef f(:\n    pass\n"), "mine.py, line 10", True),
    "an indent": (_module(f"{CODE}\n  x = 1\n"), "mine.py, line 10", True),
    "a missing import": (_module(f"\nimport not_there\n{CODE}"), "mine.py, line 2", False),
    "a missing name": (_module(f"from httpx import not_there\n{CODE}"), "mine.py, line 1", False),
    "an error": (_module(f"{CODE}\n1 / 0\n"), "mine.py, line 10", False),
    "an exit": (_module(f"{CODE}\nraise SystemExit(3)\n"), "mine.py, line 10", False),
    "an end of the process": (_module(f"{CODE}\nimport os; os._exit(3)\n"), "mine.py", False),
    "no function": (_module(CODE.replace("def to_", "def from_")), "mine.py", True),
    "no folder": (_folder, "code", True),
    "no module": (_no_module, "code", True),
    "a folder for a file": (_a_folder_for_a_file, "code", True),
    "a link to nothing": (_nowhere, "code", True),
    "a mistake in a helper": (_broken_helper, "helper.py, line 2", False),
    "bytes that are no text": (_module("\udcff\udcfe"), "mine.py", True),
    "nul bytes": (_module("x = '\0'"), "mine.py", True),
}
TRIED_WITH_ALL: Final = {"a syntax error"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, stack: Stack) -> Iterator[Pipeline]:
    """A pipeline whose code leaves out one of three items; one is delivered, one waits."""
    tables = {
        "handlers": {"source": "code/", "message": "mine:to_message", "request": "mine:to_request"},
        "functions": {"timeout": "10s"},
    }
    with deployed(tmp_path_factory.mktemp("broken"), stack, deploy=False, **tables) as line:
        folder = line.project.folder / "code"
        folder.mkdir()
        (folder / "mine.py").write_text(f"URL = {line.api.url!r}\n{CODE}")
        shutil.copytree(folder, folder.with_name("whole"))
        line.local("deploy", "--yes").ok()
        # A second version, so that there is one to go back to.
        line.project.config.write_text(line.project.config.read_text().replace('"10s"', '"11s"'))
        line.local("deploy", "--yes").ok()
        items = '{"id": "a", "grp": "g"}\n{"id": "left", "grp": "g", "left": true}\n{"id": "b", "grp": "g"}'
        line.project.local("put", "-", input=items).ok()
        main = Queue(line.aws, line.project.names, "main")
        wait_until(lambda: main.counts().total == 2)
        line.local("drain", "--count", "1").ok()
        yield line


@pytest.fixture
def line(shared: Pipeline) -> Iterator[Pipeline]:
    folder = shared.project.folder
    yield shared
    shutil.rmtree(folder / "code", ignore_errors=True)
    shutil.rmtree(folder / "elsewhere", ignore_errors=True)
    shutil.copytree(folder / "whole", folder / "code")


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_runs_the_code_stops(line: Pipeline, kind: str) -> None:
    spoil, place, is_seen = KINDS[kind]
    spoil(line.project.folder / "code")

    tried = GOES_ON if kind in TRIED_WITH_ALL else GOES_ON[:2]
    codes = {words: line.local(*words.split()).code for words in tried}
    assert {words: code for words, code in codes.items() if code not in (0, 1)} == {}

    audit = line.local("audit", "-o", "json")
    found = audit.json()
    assert (audit.code, found["delivered"], found["missing"]) == (1, found["delivered"], [])
    assert (found["delivered"] + found["queued"], found["unknown"]) == (2, 1)
    assert any(note.startswith("your code is not used here ([handlers] message: ") for note in found["notes"])
    trace = line.local("trace", "left", "-o", "json").json()
    assert trace["stage"] == "unclear"
    assert "the enqueuer skipped it; whether it becomes a message is not known" in trace["detail"]

    replay = line.local("replay", "--since", "1h", "--yes")
    assert (replay.code, replay.out) == (2, "")
    assert place in replay.err
    drain = line.local("drain", "--count", "1", "--max-rate", "5")
    assert (drain.code, drain.out) == (2, "")
    assert "next: `fifo-cli drain --count 1 --max-rate 5 --via lambda" in drain.err
    words = "deploy --dry-run" if kind in TRIED_WITH_ALL else "package"
    assert (line.local(*words.split()).code == 2) is is_seen


def test_code_that_is_right_is_asked(line: Pipeline) -> None:
    audit = line.local("audit", "-o", "json")
    assert (audit.code, audit.json()["unknown"], audit.json()["filtered"]) == (0, 0, 1)
    assert line.local("trace", "left", "-o", "json").json()["stage"] == "filtered"


def test_code_that_never_returns_from_its_import_is_gone_without(line: Pipeline, monkeypatch) -> None:
    monkeypatch.setattr("fifo_cli.operations.code_process.IMPORT_SECONDS_MIN", 1.0)
    (line.project.folder / "code" / "mine.py").write_text(f"{CODE}\nimport time; time.sleep(3600)\n")
    assert line.local("status").code in (0, 1)
    replay = line.local("replay", "--since", "1h", "--yes")
    assert replay.code == 2
    assert "the import did not end within" in replay.err
    assert "mine.py" in replay.err
    assert "your code is not used here" in line.local("audit", "-o", "json").out


def test_code_that_never_returns_is_not_asked_for_every_record(line: Pipeline, monkeypatch) -> None:
    monkeypatch.setattr("fifo_cli.operations.runtime_settings.code_limit", lambda settings: 2.0)
    (line.project.folder / "code" / "mine.py").write_text(
        CODE.replace("def to_message(item):", "def to_message(item):\n    import time; time.sleep(3600)")
    )
    audit = line.local("audit", "-o", "json").json()
    assert (audit["unknown"], audit["missing"]) == (1, [])
    why = "did not return within 2 s, or ended its process, for 2 records in a row: not called any more"
    assert any(note.startswith("your code is not used here") and why in note for note in audit["notes"])
    replay = line.local("replay", "--since", "1h", "--dry-run")
    assert replay.code == 2
    assert why in replay.err


def test_the_worker_s_code_is_not_asked_by_what_needs_the_enqueuer_s(line: Pipeline) -> None:
    folder = line.project.folder
    config = line.project.config.read_text()
    (folder / "code" / "other.py").write_text("def f(:\n")
    try:
        line.project.config.write_text(config.replace("mine:to_request", "other:f"))
        assert line.local("replay", "--since", "1h", "--dry-run").code == 0
        assert line.local("audit").code == 0
        assert line.local("drain", "--count", "1").code == 2
        line.project.config.write_text(config.replace("mine:to_message", "other:f"))
        assert line.local("replay", "--since", "1h", "--dry-run").code == 2
        assert line.local("drain", "--count", "1").code == 0
    finally:
        line.project.config.write_text(config)
