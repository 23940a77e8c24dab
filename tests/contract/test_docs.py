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


def test_the_architecture_names_only_what_is_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/]+\.py)`", text))
    assert len(named) > 20
    folders = (ROOT, ROOT / "fifo_cli", ROOT / "fifo_cli" / "operations")
    missing = [name for name in named if not any((folder / name).exists() for folder in folders)]
    assert missing == []
