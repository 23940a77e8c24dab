"""What is asked for in every shell session loads nothing heavy: help, version, completion."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.bed import clean_environment

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
)
CODE = """
import sys
from fifo_cli.__main__ import main
code = main()
print(sorted(set({heavy!r}) & set(sys.modules)), file=sys.stderr)
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
    ],
    ids=" ".join,
)
def test_help_and_version_load_nothing_heavy(words: list[str]) -> None:
    assert loaded(words, {}) == "[]\n"


@pytest.mark.parametrize(
    "words", [["pl"], ["--env", ""], ["peek", "--queue", ""], ["plan", "--"]], ids=" ".join
)
def test_completion_loads_nothing_heavy(words: list[str]) -> None:
    assert loaded(words, {"FIFO_CLI_COMPLETE": "zsh"}) == "[]\n"


def loaded(words: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(heavy=HEAVY), *words],
        env=clean_environment(environment),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0
    return done.stderr
