"""The installed completion scripts are what the program prints, and bash can use them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fifo_cli.cli.app import main
from fifo_cli.cli.completion import SCRIPTS, Shell
from tests.bed import ROOT, clean_environment

FILES = {Shell.BASH: "fifo-cli.bash", Shell.ZSH: "_fifo-cli", Shell.FISH: "fifo-cli.fish"}


@pytest.mark.parametrize("shell", Shell)
def test_the_installed_script_is_what_completion_prints(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell.value]) == 0

    assert capsys.readouterr() == ((ROOT / "completions" / FILES[shell]).read_text(encoding="utf-8"), "")


def test_every_shell_has_a_script() -> None:
    assert set(SCRIPTS) == set(Shell) == set(FILES)


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
def test_bash_completes(tmp_path: Path, words: list[str], expected: list[str]) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    program = tmp_path / "bin" / "fifo-cli"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fifo_cli "$@"\n')
    program.chmod(0o755)
    here = tmp_path / "here"
    (here / "sub dir").mkdir(parents=True)
    (here / "my file.toml").touch()
    (here / "fifo.toml").write_text("[env.prod.pipeline]\n")

    done = subprocess.run(
        [
            bash,
            "-c",
            BASH.format(script=ROOT / "completions" / "fifo-cli.bash"),
            "bash",
            str(program),
            *words,
        ],
        cwd=here,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (done.stdout.splitlines(), done.stderr) == (expected, "")
