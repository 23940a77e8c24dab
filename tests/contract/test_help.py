"""Every command explains itself, completely and within the width of a terminal."""

from __future__ import annotations

import re

import pytest
import typer

from fifo_cli.cli.app import main
from fifo_cli.cli.framework import Impact
from fifo_cli.cli.options import common_options
from fifo_cli.model.message import Attribute, Message
from fifo_cli.operations.transfer.message_filter import filtered_document
from tests.every_command import EVERY_COMMAND

WIDTH_MAX = 100
# The contract's list of commands that ask first, as far as they exist; the tags must agree with it.
ASKING = {"deploy", "destroy", "rollback", "redrive", "replay", "load", "dump", "park", "purge"}


ALL = {tuple(name.split()): entry for name, entry in EVERY_COMMAND.items()}


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_is_complete_and_fits(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*path, "--help"]) == 0

    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(f"Usage: fifo-cli {' '.join(path)}")
    assert max(map(len, out.splitlines())) <= WIDTH_MAX
    assert "Examples:\n" in out
    for param in common_options().params:
        assert all(name in out for name in param.opts)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_example_calls_its_own_command(path: tuple[str, ...]) -> None:
    assert ALL[path].examples
    for example in ALL[path].examples:
        assert f"fifo-cli {' '.join(path)}" in example


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_example_is_a_command_line_that_parses(path: tuple[str, ...]) -> None:
    import shlex

    for example in ALL[path].examples:
        line = shlex.split(example.replace("$(", "").replace(")", ""), comments=True)
        words = line[line.index("fifo-cli") + 1 :] if "fifo-cli" in line else None
        if words is None:
            continue
        for stop in ("|", ">", "&&"):
            words = words[: words.index(stop)] if stop in words else words
        # Raises on an option or an argument that the command does not take.
        parser = ALL[path].make_parser(typer.Context(ALL[path]))
        parser.parse_args(args=words[words.index(path[-1]) + 1 :])


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_what_asks_first_can_be_tried_dry(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """The tag says whether a command asks (contract): then it has --dry-run."""
    main([*path, "--help"])
    out = capsys.readouterr().out

    asks = ALL[path].impact in (Impact.MOVES, Impact.DESTROYS)
    assert asks == (path[0] in ASKING)
    assert not asks or "--dry-run" in out


def test_the_groups_list_their_commands(capsys: pytest.CaptureFixture[str]) -> None:
    for path in {path[:-1] for path in ALL}:
        assert main([*path, "--help"]) == 0
        out = capsys.readouterr().out
        assert max(map(len, out.splitlines())) <= WIDTH_MAX
        for name in (found[len(path)] for found in ALL if found[: len(path)] == path):
            assert f"\n  {name} " in out


def test_no_option_of_a_command_hides_a_common_one() -> None:
    for path, entry in ALL.items():
        params = [*entry.get_params(typer.Context(entry)), *common_options().params]
        names = [name for param in params for name in {param.name, *param.opts}]
        assert len(names) == len(set(names)), path


@pytest.mark.parametrize("command", ["peek", "redrive"])
def test_the_help_of_filter_names_every_field_that_it_sees(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    message = Message("m", "g", "d", "1", "main", None, None, 0, "{}", {"a": Attribute("String", "b")})
    fields = set(filtered_document(message, message.group)) - {"trace_header"}
    main([command, "--help"])

    text = capsys.readouterr().out.partition("--filter JMESPATH")[2].partition("\n  --")[0]
    assert fields - set(re.findall(r"\w+", text)) == set()
    assert "attributes.NAME.value" in text
