"""Log lines for a terminal: time, function, level, message, and the facts as name=value."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from fifo_cli.model.results import Document
from fifo_cli.render.text import Style, paint, printable

_FIRST: Final = ("time", "function", "level", "message")
_LEVELS: Final[dict[str, Style]] = {
    "error": "red",
    "critical": "red",
    "warning": "yellow",
    "platform": "dim",
    "debug": "dim",
}
_FUNCTIONS: Final[dict[str, Style]] = {"enqueuer": "cyan", "worker": "green"}
_INDENT: Final = "    "


def log_line(row: Document, *, color: bool) -> str:
    """Write one row of ``logs``, ending in a newline; further lines of a message are indented."""
    level, function = str(row["level"]), str(row["function"])
    first, *more = re.split(r"\r\n|\r|\n", str(row["message"]))
    parts = [
        paint(str(row["time"]), "dim", color=color),
        paint(f"{function:<8}", _FUNCTIONS.get(function, "bold"), color=color),
        paint(f"{printable(level):<8}", _LEVELS[level], color=color)
        if level in _LEVELS
        else f"{printable(level):<8}",
        printable(first, keep="\t"),
        *(
            f"{paint(printable(name) + '=', 'dim', color=color)}{_value(value)}"
            for name, value in row.items()
            if name not in _FIRST
        ),
    ]
    return (
        "\n".join([" ".join(parts), *(_INDENT + printable(line, keep="\t") for line in more if line.strip())])
        + "\n"
    )


def _value(value: Any) -> str:
    if isinstance(value, str) and value and not re.search(r"[\s=\"]", value):
        return printable(value)
    return printable(json.dumps(value, ensure_ascii=False))
