"""The installed completion scripts are what the program prints, and bash can use them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fifo_cli.cli.app import main
from fifo_cli.cli.completion import SCRIPTS, Shell
from tests.cli_harness import ROOT, clean_environment

FILES = {Shell.BASH: "fifo-cli.bash", Shell.ZSH: "_fifo-cli", Shell.FISH: "fifo-cli.fish"}


@pytest.mark.parametrize("shell", Shell)
def test_the_installed_script_is_what_completion_prints(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell.value]) == 0

    assert capsys.readouterr() == ((ROOT / "completions" / FILES[shell]).read_text(encoding="utf-8"), "")


def test_every_shell_has_a_script() -> None:
    assert set(SCRIPTS) == set(Shell) == set(FILES)


@pytest.mark.slow  # runs a shell
@pytest.mark.parametrize("shell", Shell)
def test_scripts_are_good_syntax(shell: Shell) -> None:
    program = shutil.which(shell.value)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    check = [program, "--no-execute"] if shell is Shell.FISH else [program, "-n"]
    done = subprocess.run(
        [*check, ROOT / "completions" / FILES[shell]], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


BASH = """
source "{script}"
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_fifo_cli
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.slow  # runs a shell
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["pee"], ["peek"]),
        (["peek", "--queue", ""], ["main", "dlq", "hold"]),
        (["peek", "--queue", "=", "d"], ["dlq"]),
        (["--env", ""], ["prod"]),
        (["--config", "my"], ["my file.toml"]),
        (["put", "@my"], ["@my file.toml"]),
        (["init", ""], ["sub dir"]),
        (["plan", "nothing"], [""]),
    ],
    ids=str,
)
def test_bash_completes(place: Path, words: list[str], expected: list[str]) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")

    done = subprocess.run(
        [
            bash,
            "-c",
            BASH.format(script=ROOT / "completions" / "fifo-cli.bash"),
            "bash",
            str(place / "bin" / "fifo-cli"),
            *words,
        ],
        cwd=place / "here",
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (done.stdout.splitlines(), done.stderr) == (expected, "")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the program in ``bin`` and, in ``here``, a fifo.toml and files with spaces."""
    program = tmp_path / "bin" / "fifo-cli"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fifo_cli "$@"\n')
    program.chmod(0o755)
    here = tmp_path / "here"
    (here / "sub dir").mkdir(parents=True)
    (here / "my file.toml").touch()
    (here / "fifo.toml").write_text("[env.prod.pipeline]\n")
    return tmp_path


def environment_of(place: Path) -> dict[str, str]:
    found = clean_environment({"TERM": "dumb", "HOME": str(place)})
    return {**found, "PATH": f"{place / 'bin'}{os.pathsep}{found['PATH']}"}


@pytest.mark.slow  # runs a shell
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("fifo-cli pee", ["peek"]),
        ("fifo-cli peek --queue ", ["dlq", "hold", "main"]),
        ("fifo-cli peek --queue=d", ["--queue=dlq"]),
        ("fifo-cli --env ", ["prod"]),
        ("fifo-cli check --form", ["--format"]),
        ("fifo-cli --config my", ["my file.toml"]),
        ("fifo-cli put @my", ["@my file.toml"]),
    ],
)
def test_fish_completes(place: Path, line: str, expected: list[str]) -> None:
    fish = shutil.which("fish")
    if fish is None:
        pytest.skip("fish is not installed")
    script = ROOT / "completions" / "fifo-cli.fish"
    done = subprocess.run(
        [fish, "--no-config", "-c", f"source '{script}'; complete -C '{line}'"],
        cwd=place / "here",
        env=environment_of(place),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert sorted(each.partition("\t")[0] for each in done.stdout.splitlines()) == expected
    assert done.stderr == ""


ZSHRC = """
autoload -U compinit; compinit -u -D
source "{script}"
PS1='> '
unsetopt automenu listambiguous
"""


@pytest.mark.slow  # runs a shell
@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("fifo-cli pee", "fifo-cli peek "),
        ("fifo-cli peek --queue d", "fifo-cli peek --queue dlq "),
        ("fifo-cli peek --queue=d", "fifo-cli peek --queue=dlq "),
        ("fifo-cli --env ", "fifo-cli --env prod "),
        ("fifo-cli check --form", "fifo-cli check --format "),
        ("fifo-cli --config my", "fifo-cli --config my\\ file.toml "),
        ("fifo-cli put @my", "fifo-cli put @my\\ file.toml "),
        ("fifo-cli init ", "fifo-cli init sub\\ dir/"),
    ],
)
def test_zsh_completes_what_is_typed(place: Path, typed: str, shown: str) -> None:
    import pexpect
    import pyte

    zsh = shutil.which("zsh")
    if zsh is None:
        pytest.skip("zsh is not installed")
    (place / ".zshrc").write_text(ZSHRC.format(script=ROOT / "completions" / "_fifo-cli"))
    env = {**environment_of(place), "TERM": "xterm", "ZDOTDIR": str(place)}
    screen: Any = pyte.Screen(100, 24)
    stream: Any = pyte.ByteStream(screen)
    child: Any = pexpect.spawn(
        zsh, ["-i"], cwd=str(place / "here"), env=env, dimensions=(24, 100), timeout=30
    )
    try:
        _until(child, stream, lambda: any(line.startswith(">") for line in screen.display))
        child.send(f"{typed}\t")
        # The cursor stands behind what was completed, a space included.
        _until(
            child,
            stream,
            lambda: screen.display[screen.cursor.y][: screen.cursor.x] == f"> {shown}",
            text=lambda: "\n".join(screen.display),
        )
    finally:
        child.close(force=True)


def _until(child: Any, stream: Any, holds: Callable[[], bool], text: Callable[[], str] = str) -> None:
    import pexpect

    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, text()
        with contextlib.suppress(pexpect.TIMEOUT):
            stream.feed(child.read_nonblocking(4096, 0.1))
