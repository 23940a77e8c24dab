"""What is asked for in every shell session loads nothing heavy: help, version, completion."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from tests.cli_harness import clean_environment

HEAVY = (
    "boto3",
    "botocore",
    "httpx",
    "pydantic",
    "pydantic_core",
    "rich",
    "jmespath",
    "ministack",
    "filelock",
    "packaging",
    "importlib.metadata",
)
CODE = """
import sys
from fifo_cli.__main__ import main
code = main()
print(sorted(set({heavy!r}) & set(sys.modules)), file=sys.stderr)
sys.exit(code)
"""
# Each command builds its own options when its help is asked for.
EVERY_HELP = """
import contextlib, io, sys
from fifo_cli.cli.app import app, main
names = [(name,) for name in app.commands] + [
    (name, inner) for name in app.commands for inner in getattr(app.commands[name], "commands", ())
]
assert len(names) > 20, names
for name in names:
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main([*name, "--help"]) == 0
    assert "--profile" in said.getvalue()
print(sorted(set({heavy!r}) & set(sys.modules)), file=sys.stderr)
"""
OTHERS = """
import sys
before = set(sys.modules)
from fifo_cli.__main__ import main
code = main()
tops = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(sorted(tops - set(sys.stdlib_module_names) - {{"fifo_cli"}}), file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["--local", "--env", "x", "-o", "json", "--help"],
        ["plan", "--help"],
        ["peek", "--help"],
        ["--env", "x", "keys", "set", "--help"],
        ["put", "--version"],
        ["redrive", "--help"],
        ["--local", "dump", "--help"],
    ],
    ids=" ".join,
)
def test_help_and_version_load_nothing_heavy(words: list[str]) -> None:
    assert loaded(words, {}) == "[]\n"


@pytest.mark.parametrize(
    "words",
    [
        ["pl"],
        ["--env", ""],
        ["peek", "--queue", ""],
        ["plan", "--"],
        ["redrive", "--engine", ""],
        ["load", ""],
    ],
    ids=" ".join,
)
def test_completion_loads_nothing_heavy(words: list[str]) -> None:
    assert loaded(words, {"FIFO_CLI_COMPLETE": "zsh"}) == "[]\n"


@pytest.mark.parametrize(
    "words",
    [
        ["completion", "bash"],
        ["completion", "zsh"],
        ["completion", "fish"],
        ["-o", "json", "--no-color", "completion", "bash"],
        ["manual"],
    ],
    ids=" ".join,
)
def test_what_prints_a_script_or_the_manual_loads_nothing_heavy(words: list[str]) -> None:
    """README has `eval "$(fifo-cli completion bash)"` in the start file of a shell."""
    assert loaded(words, {}) == "[]\n"


def test_the_help_of_no_command_loads_anything_heavy() -> None:
    assert loaded(["--help"], {}, code=EVERY_HELP) == "[]\n"


def test_of_other_peoples_packages_help_loads_typer_and_what_that_needs() -> None:
    found = set(ast.literal_eval(loaded(["--help"], {}, code=OTHERS)))
    assert "typer" in found
    assert found <= {"annotated_doc", "shellingham", "typer", "typing_extensions"}


def loaded(words: list[str], environment: dict[str, str], *, code: str = CODE) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code.format(heavy=HEAVY), *words],
        env=clean_environment(environment),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0
    return done.stderr
