"""What was measured, as text for a terminal and as Markdown for docs/performance.md."""

from __future__ import annotations

import os
import platform
import subprocess
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path

from fifo_cli import __version__
from tests.cli_harness import ROOT

BEGIN = "<!-- measured: written by `python -m tests.bench --write` -->"
END = "<!-- end of what was measured -->"
_NOTE_WIDTH = 110


@dataclass(frozen=True, slots=True)
class Budget:
    """A budget of the design's, what was found, and whether it is met."""

    what: str
    allowed: str
    found: str
    met: bool


@dataclass(frozen=True, slots=True)
class Section:
    """One table, and the budgets it speaks of."""

    title: str
    note: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    budgets: Sequence[Budget] = field(default_factory=tuple)


@dataclass(frozen=True)
class Report:
    """What was measured: how much ("quick", "normal", "full"), of which program, and the tables."""

    mode: str
    program: str
    sections: list[Section]

    @property
    def budgets(self) -> list[Budget]:
        return [one for section in self.sections for one in section.budgets]


def text(report: Report) -> str:
    """Write all tables in columns."""
    parts = [f"{report.program}, {machine()}\n"]
    for section in report.sections:
        table = [section.head, *section.rows]
        widths = [max(map(len, column)) for column in zip_longest(*table, fillvalue="")]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) for row in table
        ]
        note = textwrap.fill(f"{section.title}: {section.note}", _NOTE_WIDTH, break_on_hyphens=False)
        parts.append("\n".join([note, *(line.rstrip() for line in lines), ""]))
    parts += [
        f"{'met ' if one.met else 'OVER'}  {one.what}: {one.found} (budget {one.allowed})"
        for one in report.budgets
    ]
    if report.mode == "quick":
        parts.append(
            "--quick judges the budgets of start-up and memory only: the others are about longer runs"
        )
    return "\n".join(parts) + "\n"


def markdown(report: Report) -> str:
    """Write all tables as Markdown, the budgets first."""
    amount = "" if report.mode == "normal" else f" with --{report.mode}"
    parts = [f"Measured on {date.today().isoformat()}{amount}: {report.program}, {machine()}.", ""]
    if report.budgets:
        parts += ["### The budgets", ""]
        rows = [(one.what, one.allowed, one.found, "yes" if one.met else "**no**") for one in report.budgets]
        parts += [_markdown(("what", "budget", "measured", "met"), rows), ""]
    for section in report.sections:
        parts += [
            f"### {section.title}",
            "",
            f"{section.note}.",
            "",
            _markdown(section.head, section.rows),
            "",
        ]
    return "\n".join(parts)


def is_writable(path: Path) -> bool:
    """Say whether a document has the two marks that ``write`` needs."""
    _, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    return bool(begin) and END in rest


def write(path: Path, report: Report) -> None:
    """Put the tables into a document, between its two marks."""
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    path.write_text(f"{before}{BEGIN}\n\n{markdown(report)}\n{END}{after}", encoding="utf-8")


def this_program() -> str:
    """Say what is measured: versions, and the commit."""
    parts = [f"this program {__version__} ({_commit()})", f"Python {platform.python_version()}"]
    parts += [f"{name} {version(name)}" for name in ("botocore", "typer", "pydantic", "httpx", "ministack")]
    return ", ".join(parts)


def machine() -> str:
    """Say on what it is measured."""
    return f"{os.cpu_count()} cores, load average {os.getloadavg()[2]:.0f}"


def _commit() -> str:
    """Name the commit, and say if the program or the bench differ from it."""
    try:
        commit = _git("rev-parse", "--short=10", "HEAD")
        changed = _git("status", "--porcelain", "--", "fifo_cli", "tests")
    except (OSError, subprocess.CalledProcessError):
        return "no git checkout"
    return f"commit {commit}{', changed' if changed else ''}"


def _git(*words: str) -> str:
    ran = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return ran.stdout.strip()


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))
