"""Every command in every format, on terminals of 80 and 200 columns and in a pipe, on one deployed pipeline.

What destroys or moves is run with --dry-run. The commands are those registered; none can be left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from fifo_cli.cli.framework import Impact
from fifo_cli.render.text import display_width
from tests.cli_harness import Project, Stack
from tests.contract.json_shapes import TABLE, shape_problems
from tests.every_command import EVERY_COMMAND
from tests.integration.deployed_pipeline import Pipeline, deployed
from tests.integration.fork_server import forker
from tests.integration.screens import shown

# How a command is run so that it ends and breaks nothing; "" is just its name. A new command must be added.
WORDS: dict[str, tuple[str, ...]] = {
    "init": ("sub",),
    "plan": (),
    "package": ("--out", "built"),
    "deploy": ("--dry-run",),
    "keys list": (),
    "schema": (),
    "rollback": ("--dry-run",),
    "pause": ("worker",),
    "resume": (),
    "destroy": ("--dry-run",),
    "policy": ("monitor",),
    "depth": (),
    "peek": (),
    "drain": ("--count", "1", "--dry-run"),
    "put": ('{"id": "1", "grp": "g"}',),
    "status": (),
    "logs": (),
    "check": (),
    "local status": (),
    "completion bash": (),
    "completion zsh": (),
    "completion fish": (),
    "manual": (),
    "redrive": ("--dry-run",),
    "park": ("--dry-run",),
    "dump": ("dump.jsonl", "--dry-run"),
    "load": ("lines.jsonl", "--dry-run"),
    "purge": ("--queue", "dlq", "--dry-run"),
    "replay": ("--dry-run",),
    "trace": ('{"id": "1"}',),
    "audit": (),
    "history": (),
}
# They ask for a secret, start or stop the stack all tests share, never end by themselves, or take minutes.
ELSEWHERE = {"keys set", "local up", "local down", "local reset", "demo", "watch", "prove"}
# Their output is one document or text whatever the format.
TEXT = {"completion bash", "completion zsh", "completion fish", "manual"}
# A plugin's line, log lines and a path are never cut: the terminal breaks them.
ONE_LINE = {"check", "logs", "init"}
# They write the same file each time: one after the other.
WRITE_FILES = {"init", "package", "dump"}
FORMATS = ("table", "json", "jsonl")


RUN = [name for name in EVERY_COMMAND if name not in ELSEWHERE]


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, stack: Stack) -> Iterator[Pipeline]:
    with deployed(tmp_path_factory.mktemp("formats"), stack) as made:
        # A second version, so that there is one to roll back to.
        text = made.project.config.read_text(encoding="utf-8")
        made.project.config.write_text(text.replace('"messages_per_run" = 10', '"messages_per_run" = 9'))
        made.project.local("deploy", "--yes").ok()
        made.send(2, group="ümlaut-is-encoded".replace("ü", "%C3%BC"))
        made.send(1, "dlq")
        message = made.project.local("peek", "-o", "jsonl").ok().out.splitlines()[0]
        (made.project.folder / "lines.jsonl").write_text(message + "\n", encoding="utf-8")
        yield made


def words_of(name: str) -> list[str]:
    return [*name.split(), *WORDS[name], "--local"]


def clear(project: Project) -> None:
    """Take away what the last run wrote."""
    for path in (project.folder / "sub" / "fifo.toml", project.folder / "dump.jsonl"):
        path.unlink(missing_ok=True)


def test_every_command_is_exercised_here_or_known_to_be_elsewhere() -> None:
    assert set(EVERY_COMMAND) - set(WORDS) - ELSEWHERE == set()
    for name in RUN:
        if EVERY_COMMAND[name].impact in (Impact.MOVES, Impact.DESTROYS):
            assert "--dry-run" in WORDS[name], name


@pytest.mark.parametrize("name", RUN)
def test_into_a_pipe_each_format_is_what_it_says(line: Pipeline, name: str) -> None:
    running = []
    for output in FORMATS:
        clear(line.project)
        running.append(forker().start(line.project.folder, [*words_of(name), "-o", output], {}))
        if EVERY_COMMAND[name].impact is not Impact.READS or name in WRITE_FILES:
            running[-1].finish()  # else the three wait for AWS side by side
    for output, each in zip(FORMATS, running, strict=True):
        ran = each.wait()
        assert ran.code in (0, 1), (output, ran)
        assert "Traceback" not in ran.err
        assert "\x1b" not in ran.out + ran.err
        assert ran.out.endswith("\n") or not ran.out
        if name not in TEXT:
            _parses(output, ran.out)
            _has_its_shape(name, output, ran.out)


def _has_its_shape(name: str, output: str, out: str) -> None:
    label = f"{name} --dry-run" if "--dry-run" in WORDS[name] else name
    label += " (jsonl)" * (output == "jsonl")
    if output != "table" and label in TABLE:
        for text in [out] if output == "json" else out.splitlines():
            assert shape_problems(label, json.loads(text)) == []


def _parses(output: str, out: str) -> None:
    if output == "json":
        assert isinstance(json.loads(out), dict)
    elif output == "jsonl":
        assert all(isinstance(json.loads(each), dict) for each in out.splitlines())


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("name", [name for name in RUN if name not in TEXT | {"schema", "policy"}])
def test_on_a_terminal_a_table_fits_and_json_is_never_wrapped(
    line: Pipeline, name: str, columns: int
) -> None:
    for output in ("table", "json") if columns == 80 else ("table",):
        clear(line.project)
        words = (*words_of(name), "-o", output)
        with shown(*words, folder=line.project.folder, columns=columns, lines=50) as run:
            assert run.end(40) in (0, 1), run.text
            written = run.written.decode("utf-8")
        assert "Traceback" not in written
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written).replace("\r\n", "\n")
        if output == "table" and name not in ONE_LINE:
            # A line that overwrites itself is as wide as its last state; a path stays whole, to be copied.
            lines = [each.rpartition("\r")[2] for each in plain.split("\n")]
            assert max(display_width(each) for each in lines if not each.startswith("/")) <= columns, plain
        if output == "json":
            start = plain.rindex("\n{\n") + 1 if "\n{\n" in plain else plain.index("{")
            assert isinstance(json.JSONDecoder().raw_decode(plain[start:])[0], dict)  # a next step may follow


@pytest.mark.parametrize("name", ["plan", "depth", "status", "check", "peek", "logs"])
def test_with_a_dumb_terminal_there_is_no_escape_at_all(line: Pipeline, name: str) -> None:
    with shown(*words_of(name), folder=line.project.folder, env={"TERM": "dumb"}) as run:
        assert run.end() in (0, 1)
        assert b"\x1b" not in run.written


def test_long_ids_are_shortened_on_a_terminal_only(line: Pipeline) -> None:
    words = words_of("depth")
    piped = line.project.run(*words).out
    name = line.project.names.main
    assert name in piped
    with shown(*words, folder=line.project.folder, columns=60) as run:
        run.end()
        assert max(map(len, run.lines)) <= 60
