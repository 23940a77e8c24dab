"""Registering commands, and the common options on either side of a command's name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from fifo_cli.cli import framework
from fifo_cli.cli.app import main
from fifo_cli.cli.context import Cli
from fifo_cli.cli.framework import Command, Commands, Impact, command
from fifo_cli.cli.options import Options, Output
from fifo_cli.errors import ExitCode
from tests.cli_harness import ROOT

ALL = Options(
    config=Path("c.toml"),
    env="prod",
    profile="p",
    region="r",
    endpoint_url="u",
    output=Output.JSON,
    quiet=True,
    verbose=2,
    yes=True,
    no_color=True,
)
GIVEN = [
    *("--config", "c.toml", "--env", "prod", "--profile", "p", "--region", "r", "--endpoint-url", "u"),
    *("-o", "json", "-q", "-v", "-v", "-y", "--no-color"),
]


@pytest.fixture
def seen() -> list[tuple[str, Options, dict[str, Any]]]:
    return []


@pytest.fixture
def commands(seen: list[tuple[str, Options, dict[str, Any]]]) -> Commands:
    """A program with a command, and a group with another."""

    @command("top", impact=Impact.READS, examples=["prog top"])
    def top(
        cli: Cli,
        *,
        word: Annotated[str | None, typer.Argument()] = None,
        count: Annotated[int, typer.Option("--count", min=1)] = 10,
    ) -> ExitCode:
        """Do it. And more."""
        seen.append(("top", cli.options, {"word": word, "count": count}))
        return ExitCode.ATTENTION

    @command("low", impact=Impact.MOVES, examples=["prog sub low"])
    def low(cli: Cli) -> ExitCode:
        """Do it below."""
        seen.append(("low", cli.options, {}))
        return ExitCode.OK

    return Commands("prog", "A program.", [top, Commands("sub", "A group.", [low])])


@pytest.mark.parametrize("place", range(2))
def test_common_options_mean_the_same_before_and_after_a_command(
    commands: Commands, seen: list[Any], place: int
) -> None:
    words = [*GIVEN, "top", "x", "--count", "3"] if place == 0 else ["top", *GIVEN, "--count", "3", "x"]

    assert main(words, commands=commands) == 1
    assert seen == [("top", ALL, {"word": "x", "count": 3})]


@pytest.mark.parametrize("place", range(3))
def test_a_sub_group_takes_them_in_all_three_places(commands: Commands, seen: list[Any], place: int) -> None:
    words = ["sub", "low"]
    words[place:place] = GIVEN

    assert main(words, commands=commands) == 0
    assert seen == [("low", ALL, {})]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-o", "json", "top", "-o", "jsonl"], Options(output=Output.JSONL)),
        (["--region=a", "sub", "--region=b", "low"], Options(region="b")),
        (["--region=a", "sub", "--region=b", "low", "--region", "c"], Options(region="c")),
        (["-v", "top", "-vv"], Options(verbose=3)),
        (["-qvo", "json", "top"], Options(quiet=True, verbose=1, output=Output.JSON)),
        (["-qojson", "top"], Options(quiet=True, output=Output.JSON)),
        (["--output=json", "top"], Options(output=Output.JSON)),
        (["--env", "top", "top"], Options(env="top")),
        (["--env", "--local", "top"], Options(env="--local")),
        (["--local", "top"], Options(local=True)),
        (["top"], Options()),
    ],
)
def test_the_later_one_wins_and_every_spelling_is_understood(
    commands: Commands, seen: list[Any], words: list[str], expected: Options
) -> None:
    main(words, commands=commands)

    assert [options for _, options, _ in seen] == [expected]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--bogus", "top"], "No such option: --bogus"),
        (["--local", "--bogus", "top"], "No such option: --bogus"),
        (["-qx", "top"], "No such option"),
        (["--output", "xml", "top"], "Invalid value for '--output'"),
        (["--env"], "Option '--env' requires an argument"),
        (["-o"], "Option '-o' requires an argument"),
        (["top", "--env"], "Option '--env' requires an argument"),
        (["tpo"], "No such command 'tpo'. Did you mean 'top'?"),
        (["--local", "sub", "lwo"], "No such command 'lwo'. Did you mean 'low'?"),
        (["top", "--count", "0"], "Invalid value for '--count'"),
        (["top", "--count", "9" * 5000], "Invalid value for '--count'"),
        (["top", "--confg", "x"], "No such option: --confg"),
        (["top", "a", "b"], "Got unexpected extra argument"),
        (["--confg", "x", "top"], "No such option: --confg (Possible options: --config)"),
        (["sub", "--confg", "x", "low"], "No such option: --confg (Possible options: --config)"),
        (["--quiet=1", "top"], "Option '--quiet' does not take a value"),
        (["top", "--count", "x", "-q"], "Invalid value for '--count'"),
        (
            ["top", "-o", "JSON"],
            "Invalid value for '--output' / '-o': 'JSON' is not one of 'table', 'json', 'jsonl'.",
        ),
    ],
)
def test_a_wrong_command_line_exits_2_with_usage_and_next_step(
    commands: Commands, seen: list[Any], words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words, commands=commands) == 2

    out, err = capsys.readouterr()
    assert (out, seen) == ("", [])
    assert err.startswith("Usage: fifo-cli")
    assert f"error: {said}" in err
    assert "--help` shows what it takes" in err


@pytest.mark.parametrize("words", [[], ["--local"], ["sub"], ["-q", "sub", "--env", "x"]])
def test_no_command_shows_the_help_and_exits_2(
    commands: Commands, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words, commands=commands) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Usage: ")
    assert "Commands:" in err


@pytest.mark.parametrize(
    "words",
    [["-h"], ["--local", "--help"], ["sub", "-h"], ["top", "--help"], ["--env", "x", "top", "-h", "x", "y"]],
)
def test_help_is_everywhere(commands: Commands, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words, commands=commands) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Usage: fifo-cli")
    assert err == ""


@pytest.mark.parametrize(
    "words", [["--version"], ["top", "--version"], ["sub", "--version"], ["sub", "low", "--version"]]
)
def test_the_version_is_everywhere(
    commands: Commands, words: list[str], capsys: pytest.CaptureFixture[str], seen: list[Any]
) -> None:
    from fifo_cli import __version__

    assert main(words, commands=commands) == 0
    assert capsys.readouterr() == (f"fifo-cli {__version__}\n", "")
    assert seen == []


def test_help_shows_own_options_then_the_common_ones_then_examples(
    commands: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["top", "--help"], commands=commands)

    out = capsys.readouterr().out
    places = [
        out.index(text) for text in ("Do it. And more.", "\nArguments:", "--count", "Common options", "--env")
    ]
    assert places == sorted(places)
    assert out.endswith("Examples:\n  prog top\n")


def test_the_list_of_commands_shows_first_sentences_in_the_order_of_registration(
    commands: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--help"], commands=commands)

    assert "Commands:\n  top  Do it\n  sub  A group\n" in capsys.readouterr().out


def test_listing_commands_builds_none_of_them(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str | None] = []
    real = Command.get_params

    def noted(self: Command, ctx: Any) -> list[Any]:
        built.append(self.name)
        return real(self, ctx)

    monkeypatch.setattr(Command, "get_params", noted)

    main(["--help"], commands=commands)
    assert built == []
    main(["top"], commands=commands)
    assert set(built) == {"top"}


def test_only_what_typer_documents_is_used() -> None:
    """Its private modules and names, and its reading of values, may change with any version."""
    private = re.compile(r"typer\._|_click|\.process_value|\b(?:ctx|context|param|parameter|parser)\._")
    for path in (ROOT / "fifo_cli").rglob("*.py"):
        assert private.search(path.read_text(encoding="utf-8")) is None, path


def test_a_value_of_an_option_is_never_taken_for_a_common_option(
    commands: Commands, seen: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--env", "--yes", "top", "--", "--yes"], commands=commands) == 1
    assert seen == [("top", Options(env="--yes"), {"word": "--yes", "count": 10})]


def test_two_commands_of_one_name_are_a_defect(commands: Commands) -> None:
    with pytest.raises(ValueError, match="two commands are called 'sub'"):
        commands.add_command(Commands("sub", "Again."))


def test_local_contradicts_what_means_aws(
    commands: Commands, seen: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--local", "--profile", "p", "top"], ["sub", "low", "--endpoint-url", "u", "--local"]):
        assert main(words, commands=commands) == 2
        assert "--local never talks to AWS" in capsys.readouterr().err
    assert seen == []


@pytest.mark.parametrize(
    ("words", "environment", "expected"),
    [
        ([], {}, (None, False)),
        ([], {"FIFO_ENV": "prod"}, ("prod", False)),
        (["--env", "test"], {"FIFO_ENV": "prod"}, ("test", False)),
        ([], {"FIFO_ENV": ""}, (None, False)),
        ([], {"FIFO_LOCAL": "1"}, (None, True)),
        ([], {"FIFO_LOCAL": " True "}, (None, True)),
        ([], {"FIFO_LOCAL": "0"}, (None, False)),
        ([], {"FIFO_LOCAL": ""}, (None, False)),
        (["--local"], {"FIFO_LOCAL": "0"}, (None, True)),
        (["--local", "--env", "a"], {"FIFO_LOCAL": "no", "FIFO_ENV": "b"}, ("a", True)),
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_the_environment_stands_for_options_that_were_not_given(
    commands: Commands,
    seen: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    environment: dict[str, str],
    expected: tuple[str | None, bool],
    before: bool,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main([*words, "top"] if before else ["top", *words], commands=commands) == 1
    ((_, options, _),) = seen
    assert (options.env, options.local) == expected


@pytest.mark.parametrize("value", ["2", "local", "-", "ja", "http://127.0.0.1:4566"])
def test_an_unclear_fifo_local_touches_nothing(
    commands: Commands,
    seen: list[Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    value: str,
) -> None:
    monkeypatch.setenv("FIFO_LOCAL", value)
    assert main(["top"], commands=commands) == 2
    assert f"$FIFO_LOCAL is {value!r}, neither 1 nor 0" in capsys.readouterr().err
    assert seen == []


def test_fifo_local_never_goes_with_what_means_aws(
    commands: Commands,
    seen: list[Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FIFO_LOCAL", "1")
    assert main(["top", "--profile", "p"], commands=commands) == 2
    assert "$FIFO_LOCAL=1 means --local" in capsys.readouterr().err
    assert seen == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (40.0, "40"),
        (0.5, "0.5"),
        (1e6, "1000000"),
        (0.001, "0.001"),
        (3, "3"),
        ("40.0", "40.0"),
        (Path("a"), "a"),
    ],
)
def test_the_history_has_a_value_as_it_is_typed(value: Any, text: str) -> None:
    assert framework._text(value) == text
