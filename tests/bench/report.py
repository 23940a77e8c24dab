"""What was measured, as text for a terminal and as Markdown for docs/performance.md."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path

from fifo_cli import __version__

BEGIN = "<!-- measured: written by `python -m tests.bench --write` -->"
END = "<!-- end of what was measured -->"


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


def text(sections: Sequence[Section]) -> str:
    """Write all tables in columns."""
    parts = [f"{versions()}\n"]
    for section in sections:
        table = [section.head, *section.rows]
        widths = [max(map(len, column)) for column in zip_longest(*table, fillvalue="")]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) for row in table
        ]
        parts.append("\n".join([f"{section.title}: {section.note}", *(line.rstrip() for line in lines), ""]))
    parts += [
        f"{'met ' if one.met else 'OVER'}  {one.what}: {one.found} (budget {one.allowed})"
        for one in budgets(sections)
    ]
    return "\n".join(parts) + "\n"


def markdown(sections: Sequence[Section]) -> str:
    """Write all tables as Markdown, the budgets first."""
    parts = [f"Measured on {date.today().isoformat()}: {versions()}.", ""]
    found = budgets(sections)
    if found:
        parts += ["### The budgets", ""]
        rows = [(one.what, one.allowed, one.found, "yes" if one.met else "**no**") for one in found]
        parts += [_markdown(("what", "budget", "measured", "met"), rows), ""]
    for section in sections:
        parts += [
            f"### {section.title}",
            "",
            f"{section.note}.",
            "",
            _markdown(section.head, section.rows),
            "",
        ]
    return "\n".join(parts)


def write(path: Path, sections: Sequence[Section]) -> None:
    """Put the tables into a document, between its two marks."""
    document = path.read_text(encoding="utf-8")
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin, f"{path} lacks the line {BEGIN}"
    assert end, f"{path} lacks the line {END}"
    path.write_text(f"{before}{BEGIN}\n\n{markdown(sections)}\n{END}{after}", encoding="utf-8")


def save(path: Path, sections: Sequence[Section]) -> None:
    """Keep tables in a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(one) for one in sections], indent=1), encoding="utf-8")


def load(path: Path) -> list[Section]:
    """Return the tables that ``save`` kept."""
    return [
        Section(
            title=one["title"],
            note=one["note"],
            head=tuple(one["head"]),
            rows=[tuple(row) for row in one["rows"]],
            budgets=[Budget(**each) for each in one["budgets"]],
        )
        for one in json.loads(path.read_text(encoding="utf-8"))
    ]


def budgets(sections: Sequence[Section]) -> list[Budget]:
    """Return the budgets of all sections."""
    return [one for section in sections for one in section.budgets]


def versions() -> str:
    """Say what was measured on what."""
    parts = [f"this program {__version__}", f"Python {platform.python_version()}"]
    parts += [f"{name} {version(name)}" for name in ("botocore", "typer", "pydantic", "httpx", "ministack")]
    return ", ".join([*parts, f"{os.cpu_count()} cores, load average {os.getloadavg()[2]:.0f}"])


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))
