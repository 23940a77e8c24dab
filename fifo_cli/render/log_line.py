"""Log lines for a terminal: time, function, level, message, and the facts as name=value."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from fifo_cli.model.results import Document
from fifo_cli.render.text import Style, paint, printable, shorten

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
_IDS: Final = frozenset({"event_id", "message_id", "stream_sequence", "sequence_number"})
_ID_SHOWN: Final = 13


def log_line(row: Document, *, color: bool, short: bool = False) -> str:
    """Write one row of ``logs``, ending in a newline; further lines of a message are indented.

    With ``short`` ids are shortened in the middle.
    """
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
            f"{paint(printable(name) + '=', 'dim', color=color)}{_value(name, value, short)}"
            for name, value in row.items()
            if name not in _FIRST
        ),
    ]
    return (
        "\n".join([" ".join(parts), *(_INDENT + printable(line, keep="\t") for line in more if line.strip())])
        + "\n"
    )


def _value(name: str, value: Any, short: bool) -> str:
    if isinstance(value, str) and value and not re.search(r"[\s=\"]", value):
        return shorten(printable(value), _ID_SHOWN) if short and name in _IDS else printable(value)
    return printable(json.dumps(value, ensure_ascii=False))
