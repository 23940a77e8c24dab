"""What a completion offers is inert text, in each shell, whatever a foreign folder holds."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fifo_cli.cli.app import app
from fifo_cli.cli.completion import Shell, complete
from tests.cli_harness import ROOT, clean_environment, wait_until

SCRIPTS = {"bash": "fifo-cli.bash", "zsh": "_fifo-cli", "fish": "fifo-cli.fish"}
# Each would make the file "ran" if a shell took it for more than text.
HOSTILE = [
    "$(touch ran)", "`touch ran`", "x;touch ran", "x&touch ran&", "x|touch ran", "x\ntouch ran\n", "x>ran",
    "'$(touch ran)'", "\"$(touch ran)\"", "x' ; touch ran ; '", "${x:=$(touch ran)}", "<(touch ran)",
    "x touch ran", "-o$(touch ran)", "--profile=x", "!touch ran", "*", "?", "~root", "\x1b[2Jx", "\x00x",
    "x\\", "{a,b}", "(touch ran)", "#x", "é", "=touch", "",
]  # fmt: skip
INERT = ["prod", "prod-eu.1", "team_a", "a/b", "me@x", "9+1"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    names = [name for name in [*HOSTILE, *INERT] if "\x00" not in name]
    lines = [f"[env.{json.dumps(name)}.pipeline]".replace("\x7f", "") for name in names]
    keys = [f"{json.dumps(name)} = '/p'" for name in names]
    (folder / "fifo.toml").write_text("\n".join([*lines, "[api.keys]", *keys]) + "\n", encoding="utf-8")
    config = tmp_path / "aws"
    config.write_text("".join(f"[profile {name}]\n" for name in names if "\n" not in name), encoding="utf-8")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("shell", Shell)
@pytest.mark.parametrize("words", [["--env", ""], ["--profile", ""], ["keys", "set", ""], ["--env="]])
def test_only_what_is_inert_in_every_shell_is_offered(here: Path, shell: Shell, words: list[str]) -> None:
    found = complete(app, words, separate=shell is Shell.BASH)
    assert {value.text.removeprefix("--env=") for value in found} == set(INERT)


def _program(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "fifo-cli"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n'{sys.executable}' -m fifo_cli \"$@\"\ntouch '{tmp_path}/completed'\n")
    program.chmod(0o755)


def _shell(name: str, tmp_path: Path) -> tuple[str, list[str]]:
    """Return a shell and what makes it interactive, with the completions and a bare prompt."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    script = ROOT / "completions" / SCRIPTS[name]
    if name == "bash":
        (tmp_path / "rc").write_text(f"source '{script}'\nPS1='> '\n")
        return found, ["--noprofile", "--rcfile", str(tmp_path / "rc"), "-i"]
    if name == "zsh":
        (tmp_path / ".zshrc").write_text(
            f"autoload -U compinit; compinit -u -D\nsource '{script}'\nPS1='> '\nunsetopt listambiguous\n"
        )
        return found, ["-i"]
    return found, ["--no-config", "-i", "-C", f"source '{script}'; function fish_prompt; echo -n '> '; end"]


# A folder's only name, so that a Tab puts all of it on the line, and what is typed before the Tab.
ONLY = {
    "an environment": ("[env.'$(touch ran)'.pipeline]\n", "", "fifo-cli depth --env "),
    "an environment in backticks": ("[env.'`touch ran`'.pipeline]\n", "", "fifo-cli depth --env "),
    "an environment with a semicolon": ("[env.'x;touch ran;'.pipeline]\n", "", "fifo-cli depth --env "),
    "a key": ("[api.keys]\n'$(touch ran)' = '/p'\n", "", "fifo-cli keys set "),
    "a line break": ('[env."x\\ntouch ran\\n".pipeline]\n', "", "fifo-cli depth --env "),
    "a tab and a quote": ("""[env."x\\t';touch ran;'".pipeline]\n""", "", "fifo-cli depth --env "),
    "both quotes": ("""[env."'\\";touch ran;\\"'".pipeline]\n""", "", "fifo-cli depth --env "),
    "a tilde and a parameter": ("[env.'~${x:=$(touch ran)}'.pipeline]\n", "", "fifo-cli depth --env "),
    "a star": ("[env.'*;touch ran'.pipeline]\n", "", "fifo-cli depth --env "),
    "an escape of the terminal": (
        '[env."\\u001b]0;x\\u0007$(touch ran)".pipeline]\n',
        "",
        "fifo-cli depth --env ",
    ),
    "a bidi mark": ('[env."\\u202e$(touch ran)\\u202c".pipeline]\n', "", "fifo-cli depth --env "),
    "an option": ("[env.'--config=$(touch ran)'.pipeline]\n", "", "fifo-cli depth --env "),
    "the history": ("[env.'!touch'.pipeline]\n", "", "fifo-cli depth --env "),
    "a return": ('[env."x\\rtouch ran\\r".pipeline]\n', "", "fifo-cli depth --env "),
    "a file": ("", "$(touch ran)", "fifo-cli load \\$"),
    "a file with a line break": ("", "x\ntouch ran\n", "fifo-cli load x"),
    "a file with quotes": ("", "x';touch ran;'", "fifo-cli load x"),
    "a file after @": ("", "x;touch ran;", "fifo-cli put @x"),
}


@pytest.mark.slow  # starts a shell in a terminal
@pytest.mark.parametrize("shell", SCRIPTS)
@pytest.mark.parametrize("only", ONLY)
def test_tab_and_enter_run_nothing_of_a_foreign_folder(tmp_path: Path, shell: str, only: str) -> None:
    import pexpect

    config, file, typed = ONLY[only]
    here = tmp_path / "here"
    here.mkdir()
    (here / "fifo.toml").write_text(config)
    if file:
        (here / file).touch()
    _program(tmp_path)
    program, arguments = _shell(shell, tmp_path)
    env = {
        **clean_environment({"TERM": "dumb" if shell != "fish" else "xterm", "HOME": str(tmp_path)}),
        "ZDOTDIR": str(tmp_path),
    }
    env["PATH"] = f"{tmp_path / 'bin'}{os.pathsep}{env['PATH']}"
    child: Any = pexpect.spawn(program, arguments, cwd=str(here), env=env, dimensions=(24, 200), timeout=30)
    try:
        child.expect("> ")
        child.send(typed + "\t")
        wait_until((tmp_path / "completed").exists)
        _settle(child)
        child.send("\r")
        _settle(child)
        # A command that still runs takes what is typed; the shell asks again after it.
        for _ in range(6):
            child.send("\x03")
            child.send("echo the-e''nd\r")
            if child.expect(["the-end", pexpect.TIMEOUT], timeout=5) == 0:
                break
        else:
            pytest.fail(f"the shell does not answer: {child.before!r}")
    finally:
        child.close(force=True)
    assert not list(here.rglob("ran"))


def _settle(child: Any) -> None:
    """Read until the shell has been silent for a moment."""
    import pexpect

    quiet = time.monotonic() + 0.6
    while time.monotonic() < quiet:
        with contextlib.suppress(pexpect.TIMEOUT):
            child.read_nonblocking(4096, 0.1)
            quiet = time.monotonic() + 0.6
