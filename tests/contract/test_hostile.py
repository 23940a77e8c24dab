"""No input, file or flag prints a traceback, and an error leaves stdout empty."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from fifo_cli.cli.app import app, main
from fifo_cli.cli.framework import Command
from tests.cli_harness import clean_environment

GOOD = '[pipeline]\nname = "orders"\nregion = "eu-west-1"\n[table]\nname = "orders"\n[api]\nurl = "https://api.example.com"\n'
BAD = """
[pipeline]
name = "bad name"
regoin = "x"
[table]
name = "t"
[api]
url = "ftp://x"
timeout = 5
[unknown]
a = 1
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of files nobody should have."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fifo.toml").write_text(GOOD)
    (tmp_path / "bad.toml").write_text(BAD)
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.toml").touch()
    (tmp_path / "binary.toml").write_bytes(bytes(range(256)))
    (tmp_path / "nul.toml").write_text('a = "\x00"')
    (tmp_path / "deep.toml").write_text("a = " + "[" * 100_000)
    (tmp_path / "env.toml").write_text(GOOD + "[env]\nx = 5\n[env.list]\npipeline = [1]\n")
    (tmp_path / "odd.toml").write_text("pipeline = 5\ntable = [[1]]\napi = [1, {}]\nenv = 7\n")
    (tmp_path / "huge.toml").write_text(
        GOOD.replace("[table]", "[queue]\nmax_receives = " + "9" * 4000 + "\n[table]")
    )
    (tmp_path / "loop.toml").symlink_to("loop.toml")
    (tmp_path / "latin.jsonl").write_bytes(b'{"id": "\xe9"}')
    os.mkfifo(tmp_path / "unused")
    return tmp_path


def text(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command line that is to fail as a usage error, and return what it said."""
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert "internal error" not in err
    assert "error: " in err
    return err


@pytest.mark.parametrize(
    "config",
    ["folder", "binary.toml", "nul.toml", "deep.toml", "huge.toml", "loop.toml", "missing", "empty.toml",
     "odd.toml", "fifo.toml/x", "", ".", "/dev/null", "\udcff", "bad.toml", "x" * 5000],
)  # fmt: skip
@pytest.mark.parametrize("output", ["table", "json", "jsonl"])
def test_a_config_that_cannot_be_is_told(
    config: str, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text(["plan", "--config", config, "-o", output], capsys)


@pytest.mark.parametrize("env", ["nope", "x", "list", "", "a.b"])
def test_an_environment_that_cannot_be_is_told(env: str, capsys: pytest.CaptureFixture[str]) -> None:
    text(["--config", "env.toml", "--env", env, "keys", "list"], capsys)


def test_all_problems_of_a_config_are_reported_together(capsys: pytest.CaptureFixture[str]) -> None:
    err = text(["plan", "--config", "bad.toml"], capsys)

    for key in ("pipeline.name", "pipeline.regoin", "table.name", "url", "timeout", "unknown"):
        assert re.search(rf"\n  (api(\[0\])?\.)?{re.escape(key)}: ", err), key


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_config_that_may_not_be_read_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "fifo.toml").chmod(0)

    assert "cannot be read: Permission denied" in text(["plan"], capsys)


@pytest.mark.parametrize(
    "words",
    [
        ["put", "@missing"],
        ["put", "@folder"],
        ["put", "@"],
        ["put", "@latin.jsonl"],
        ["put", "@" + "x" * 5000],
        ["put", "@loop.toml"],
        ["put", ""],
        ["put", "nonsense"],
        ["put", "\udcff"],
        ["put", "[" * 100_000],
        ["put", '{"id": ' + "9" * 10_000 + "}"],
        ["put", '{"id": "1", "n": ' + "9" * 10_000 + "}"],
        ["put", '{"id": "\\ud800"}'],
        ["logs", "--since", "yesterday"],
        ["logs", "--since", "9" * 400 + "d"],
        ["logs", "--since", "999999999d"],
        ["logs", "--since", "0001-01-01T00:00:00+14:00"],
        ["logs", "--follow", "-o", "json"],
        ["logs", "somebody"],
        ["keys", "set", "nope"],
        ["keys", "set", "\x1b[31m"],
        ["init"],
        ["init", "fifo.toml"],
        ["init", "new", "--name", "no good"],
        ["init", "x" * 5000],
        ["package", "--out", "fifo.toml"],
        ["local", "up", "--port", "99999999999999999999"],
        ["local", "up", "--port", "x"],
        ["peek", "--count", "9" * 5000],
        ["peek", "--count", "-1"],
        ["plan", "--endpoint-url", "bogus"],
        ["plan", "--region", "../x"],
        ["plan", "--profile", "\udcff"],
        ["--local", "--profile", "x", "plan"],
        ["completion", "tcsh"],
        ["nonsense"],
        ["\x1b[31m"],
    ],
    ids=lambda words: " ".join(words)[:40],
)  # fmt: skip
def test_an_input_that_cannot_be_is_told(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "\x1b" not in text(words, capsys)


@pytest.mark.parametrize(
    ("arguments", "environment", "code"),
    [
        (["plan", "--config", "deep.toml"], {}, 2),
        ([b"plan", b"--config", b"\xff"], {}, 2),
        ([b"put", b'{"id": "\xff"}'], {}, 2),
        (["plan"], {"AWS_CONFIG_FILE": "binary.toml"}, 2),
        (["plan"], {"AWS_PROFILE": "nobody"}, 2),
        (
            ["keys", "list"],
            {"AWS_ENDPOINT_URL": "bogus", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"},
            0,
        ),
        (["plan"], {}, 3),
        (["schema", "--bogus"], {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, 2),
        (["nonsensé"], {"PYTHONIOENCODING": "ascii"}, 2),
        (["schema"], {"PYTHONIOENCODING": "ascii"}, 0),
    ],
    ids=str,
)
def test_as_a_process_it_does_not_print_a_traceback_either(
    here: Path, arguments: list[str | bytes], environment: dict[str, str], code: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fifo_cli", *arguments],
        cwd=here,
        env=clean_environment(environment),
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )

    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"internal error" not in done.stderr
    assert bool(done.stdout) == (code == 0)


@pytest.mark.parametrize("word", ["--help", "--version", "manual"])
def test_a_help_that_finds_no_room_is_no_defect(here: Path, word: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -m fifo_cli {word} > /dev/full'],
        cwd=here,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("error: stdout cannot be written: No space left on device")


def test_what_an_option_refuses_is_reported_in_our_words(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["peek", "--queue", "bogus"]) == 2

    assert "error: Invalid value for '--queue': 'bogus' is not one of" in capsys.readouterr().err
    assert main(["purge"]) == 2
    assert "error: Missing option '--queue'. Choose from: main, dlq, hold\n" in capsys.readouterr().err


# Every command with --max-rate, each with what it needs beside it.
PACED = {
    "drain": ["--count", "1"],
    "redrive": ["--yes"],
    "dump": ["out.jsonl", "--move", "--yes"],
    "load": ["in.jsonl", "--yes"],
}


@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["", "dry"])
@pytest.mark.parametrize("rate", ["inf", "1e308", "nan", "-nan", "0", "-inf", "1e-9", "ten", "1,5"])
@pytest.mark.parametrize("name", PACED)
def test_a_rate_that_is_none_is_refused(
    name: str, rate: str, dry: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    err = text([name, *PACED[name], f"--max-rate={rate}", *dry], capsys)

    assert f"error: Invalid value for '--max-rate': {rate!r} is not a number from 0.001 to 1000000" in err
    assert f"next: `fifo-cli {name} --help` shows what it takes" in err


# A script's variable that was not set: without the value, another pipeline, file or message would be meant.
EMPTY = [
    *(["--env", ""], ["--env="], ["--env", " "], ["--config", ""], ["--region="], ["--profile", ""]),
    *(["peek", "--group", ""], ["peek", "--filter="], ["drain", "--count", ""], ["logs", "--filter", " "]),
    *(["redrive", "--id", "a", "--id", ""], ["destroy", "--env", "", "--yes"], ["init", ""], ["init", " "]),
    *(
        ["audit", "--since="],
        ["dump", "f", "--max-rate="],
        ["park", "--reason", "\t"],
        ["keys", "list", "--env="],
    ),
]


@pytest.mark.parametrize("words", EMPTY, ids=" ".join)
def test_an_empty_value_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    before = set(Path.cwd().iterdir())
    err = text([*words, *(["status"] if words[0].startswith("-") else [])], capsys)

    assert re.search(
        r"^error: (--[a-z-]+|DIR) is empty: give it a value, or leave it out$", err, re.MULTILINE
    )
    assert set(Path.cwd().iterdir()) == before


@pytest.mark.parametrize(
    "words", [["trace", "-1"], ["put", "-x"], ["dump", "-d.jsonl"], ["keys", "set", "-k"]]
)
def test_a_value_that_looks_like_an_option_is_answered_with_two_hyphens(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "a value that begins with a hyphen stands at the end, behind `--`" in text(words, capsys)


@pytest.mark.parametrize(
    ("words", "option"),
    [(["redrive", "--id", "A", "B", "C"], "--id"), (["replay", "--event", "INSERT", "REMOVE"], "--event")],
)
def test_several_values_behind_an_option_are_answered_with_how_to_repeat_it(
    words: list[str], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"{option} takes one value, and may be repeated: {option} A {option} B" in text(words, capsys)


def test_to_check_an_empty_value_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--textfile="]) == 3
    assert "error: --textfile is empty" in capsys.readouterr().err


def test_every_command_with_a_rate_is_among_them() -> None:
    commands = {name: entry for name, entry in app.commands.items() if isinstance(entry, Command)}

    paced = {
        name
        for name, entry in commands.items()
        if any("--max-rate" in one.opts for one in entry.get_params(typer.Context(entry)))
    }
    assert paced == set(PACED)


@pytest.mark.parametrize(
    ("redirection", "code"),
    [("> /dev/full", 1), (">&-", 1), ("| head -c 1", 0), ("2>&-", 0), ("<&-", 0), ("2>/dev/full", 0)],
)
def test_streams_that_are_closed_full_or_gone_are_survived(here: Path, redirection: str, code: int) -> None:
    done = subprocess.run(
        ["bash", "-c", f'set -o pipefail; "{sys.executable}" -m fifo_cli schema {redirection}'],
        cwd=here,
        env=clean_environment(),
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == code
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
