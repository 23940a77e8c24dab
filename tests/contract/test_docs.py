"""The documents: links lead somewhere, pictures are there, and the command lines in them parse."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import typer

from fifo_cli.cli.app import app
from fifo_cli.cli.framework import Commands
from fifo_cli.cli.options import common_options
from tests.cli_harness import ROOT

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PICTURES = sorted((ROOT / "docs" / "pictures").glob("*.svg"))
# In running text and tables `fifo-cli` may stand alone, and words in capitals stand for something.
COMMAND = re.compile(r"(?:(?<=bin/)|(?<![\w/.-]))fifo-cli((?: [^\s`|&;)>#]+|(?: '[^']*'))*)")


def ids(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_every_link_and_picture_leads_to_a_file_and_a_heading(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name) if name else path
        assert file.exists(), target
        if anchor:
            assert anchor in {_anchor(each) for each in _headings(file)}, target


def _headings(path: Path) -> list[str]:
    return re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)


def _anchor(heading: str) -> str:
    """Return a heading's anchor as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_pictures_are_svg_are_used_and_ask_no_other_server() -> None:
    assert PICTURES
    shown = "".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    for path in PICTURES:
        text = path.read_text(encoding="utf-8")
        assert ElementTree.fromstring(text).tag.endswith("svg")
        assert "url(http" not in text
        assert path.name == "status-healthy.svg" or f"pictures/{path.name}" in shown, path.name


def command_lines(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:sh|cron)\n(.*?)```", text, re.DOTALL)
    inline = re.findall(r"`(fifo-cli [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    lines = [line for block in blocks for line in block.splitlines() if not line.lstrip().startswith("#")]
    found = [match.group(0) for line in [*lines, *inline] for match in COMMAND.finditer(line)]
    return [one for one in found if one != "fifo-cli"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_every_command_line_in_a_document_is_one_that_the_program_takes(path: Path) -> None:
    for line in command_lines(path):
        words = shlex.split(line)[1:]
        group: Any = app
        taken = []
        while words and isinstance(group, Commands) and words[0] in group.commands:
            taken.append(words.pop(0))
            group = group.commands[taken[-1]]
        if not taken:
            assert words[0].startswith("-") or words[0].isupper(), line
            continue
        if isinstance(group, Commands):
            continue
        params = [*group.get_params(typer.Context(group)), *common_options().params]
        options = {name for param in params for name in param.opts}
        for word in words:
            if word.startswith("-") and word != "-":
                assert word.partition("=")[0] in options, line


SYMPTOMS = ("api is down", "poison", "line grows", "nothing arrives", "deploy was wrong", "key was rotated")


def test_the_runbook_has_every_symptom() -> None:
    headings = " ".join(_headings(ROOT / "docs" / "runbook.md")).lower()

    assert [symptom for symptom in SYMPTOMS if symptom not in headings] == []


def test_every_command_that_is_there_is_in_the_readme_s_table() -> None:
    table = (ROOT / "README.md").read_text(encoding="utf-8")
    table = table[table.index("## Commands") :]
    for name in app.commands:
        assert re.search(rf"`{name}\b", table), name


def _named_paths(path: Path) -> set[str]:
    """Return the files and folders that a document names in backticks."""
    quoted = re.findall(r"`([^`\n]+)`", path.read_text(encoding="utf-8"))
    return {one for one in quoted if re.fullmatch(r"[\w/.-]+(\.(py|toml|md)|/)", one) and one != "fifo.toml"}


@pytest.mark.parametrize(("name", "at_least"), [("docs/architecture.md", 40), ("CONTRIBUTING.md", 8)])
def test_a_document_of_the_code_names_only_files_and_folders_that_are_there(name: str, at_least: int) -> None:
    named = _named_paths(ROOT / name)
    folders = (ROOT, ROOT / "fifo_cli", ROOT / "fifo_cli" / "operations")

    assert len(named) >= at_least
    assert sorted(one for one in named if not any((folder / one).exists() for folder in folders)) == []


def test_the_picture_of_the_architecture_has_every_folder_of_the_program_and_no_other() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    picture = text[text.index("```") : text.index("```", text.index("```") + 3)]
    drawn = set(re.findall(r"^ +(\w+)/ ", picture, re.MULTILINE)) | {"render"}
    program = ROOT / "fifo_cli"
    places = [program, program / "operations", program / "cli", program / "aws"]
    folders = {one.name for place in places for one in place.iterdir() if (one / "__init__.py").exists()}

    assert drawn == folders
    shared = {module.stem for module in (program / "operations").glob("*.py")} - {"__init__"}
    assert shared - set(re.findall(r"\w+", picture)) == set()


def test_names_of_the_code_in_the_architecture_are_in_the_code() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    names = set(re.findall(r"`([A-Z]\w+|[a-z]+_\w+)(?:\(\))?`", text))
    code = "\n".join(one.read_text(encoding="utf-8") for one in (ROOT / "fifo_cli").rglob("*.py"))
    defined = set(re.findall(r"(?:class|def) (\w+)|^ *(?:self\.)?(\w+)(?::| =)", code, re.MULTILINE))

    assert len(names) > 5
    assert names - {word for pair in defined for word in pair} == set()
