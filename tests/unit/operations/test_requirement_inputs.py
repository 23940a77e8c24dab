"""What requirements.txt names, read as pip reads it, and which lines need a build."""

from __future__ import annotations

from pathlib import Path

import pytest

from fifo_cli.operations.deploy.requirement_inputs import RequirementInputs, read_inputs


def inputs_of(folder: Path, text: str) -> RequirementInputs:
    (folder / "own").mkdir()
    (folder / "own" / "setup.py").write_text("")
    (folder / "other.txt").write_text("./own\n")
    (folder / "requirements.txt").write_text(f"{text}\n")
    return read_inputs(folder / "requirements.txt")


@pytest.mark.parametrize(
    "line",
    [
        "-r other.txt",
        "-rother.txt",
        "--requirement=other.txt",
        "--req other.txt",
        "-c other.txt",
        "--trusted-host example.com -r other.txt",
        "-r file:other.txt",
        "--=x\n-r other.txt",
        "own @ http://[x\n-r other.txt",
        "-f http://[x\n-r other.txt",
        '-e "not closed\n-r other.txt',
        "-e\n-r other.txt",
        "-r \0\n-r other.txt",
    ],
)
def test_a_list_is_read_whatever_stands_before_it(tmp_path: Path, line: str, capsys) -> None:
    found = inputs_of(tmp_path, line)

    assert found.builds == ["other.txt:1: ./own"]
    assert sorted(found.hashes) == ["other.txt", "own/setup.py", "requirements.txt"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "line",
    ["-e ./own", "--editable=./own", "--pre -e ./own", "./own", "own @ file:./own", "--no-binary :all:"],
)
def test_a_line_that_needs_a_build_is_named(tmp_path: Path, line: str) -> None:
    assert inputs_of(tmp_path, line).builds == [f"requirements.txt:1: {line}"]


@pytest.mark.parametrize(
    "line",
    [
        "a==1 --hash=sha256:aa \\\n  --hash=sha256:bb",
        "a; python_version < '4'",
        "--only-binary :all:",
        "# ./own",
    ],
)
def test_other_lines_need_none(tmp_path: Path, line: str) -> None:
    assert inputs_of(tmp_path, line).builds == []
