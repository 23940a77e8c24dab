"""The man page is what the program prints, has every command and option, and is clean roff."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib

import pytest
import typer

from fifo_cli.cli.app import app, main
from fifo_cli.cli.manual import page
from fifo_cli.cli.options import common_options
from fifo_cli.errors import ExitCode
from tests.cli_harness import ROOT
from tests.every_command import EVERY_COMMAND

PAGE = ROOT / "man" / "fifo-cli.1"


def test_the_installed_page_is_what_manual_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["manual"]) == 0

    assert capsys.readouterr() == (PAGE.read_text(encoding="utf-8"), "")


def test_the_wheel_installs_it_where_man_looks() -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shared = data["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]

    assert shared["man/fifo-cli.1"] == "share/man/man1/fifo-cli.1"


ESCAPES = {"\\-": "-", "\\(aq": "'", "\\(ga": "`", "\\(ha": "^", "\\(ti": "~", "\\e": "\\"}


def unescaped(text: str) -> str:
    for escape, char in ESCAPES.items():
        text = text.replace(escape, char)
    return text


def test_every_command_option_and_exit_code_is_in_it() -> None:
    text = unescaped(page(app))
    sections = dict(re.findall(r"^\.SS (.+)\n((?:(?!\.SS|\.SH).*\n)*)", text, re.MULTILINE))

    for words, entry in EVERY_COMMAND.items():
        section = next(body for head, body in sections.items() if f"{head} ".startswith(f"{words} "))
        for parameter in entry.get_params(typer.Context(entry)):
            if parameter.param_type_name == "option":
                assert all(f"{one}" in section for one in parameter.opts), (words, parameter.opts)
        for example in entry.examples:
            assert example in section
    for parameter in common_options().params:
        assert all(one in text for one in parameter.opts)
    for code in ExitCode:
        assert f"\\fB{int(code)}\\fR" in text


def test_it_is_roff_without_a_warning() -> None:
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("groff is not installed")
    done = subprocess.run(
        [groff, "-man", "-ww", "-Tutf8", "-rLL=100n", PAGE], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    shown = re.sub(r"\x1b\[[0-9;]*m|.\x08", "", done.stdout)
    assert "fifo-cli peek --queue dlq --filter 'body.total > `100`' -o jsonl" in shown
