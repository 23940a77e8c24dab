"""Log lines for a terminal: time, function, level, message, and the facts as name=value."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from fifo_cli.model.group_names import shown_group
from fifo_cli.model.times import iso
from fifo_cli.render.text import Style, paint, printable, shorten

if TYPE_CHECKING:
    from fifo_cli.operations.monitor.logs import LogLine

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


def log_line(line: LogLine, *, color: bool, short: bool = False) -> str:
    """Write one line of ``logs``, ending in a newline; further lines of a message are indented.

    With ``short`` ids are shortened in the middle.
    """
    level, function = line.level, line.function
    first, *more = re.split(r"\r\n|\r|\n", line.message)
    parts = [
        paint(iso(line.time), "dim", color=color),
        paint(f"{function:<8}", _FUNCTIONS.get(function, "bold"), color=color),
        paint(f"{printable(level):<8}", _LEVELS[level], color=color)
        if level in _LEVELS
        else f"{printable(level):<8}",
        printable(first, keep="\t"),
        *(
            f"{paint(printable(name) + '=', 'dim', color=color)}{_value(name, value, short)}"
            for name, value in line.further_facts.items()
        ),
    ]
    return (
        "\n".join([" ".join(parts), *(_INDENT + printable(one, keep="\t") for one in more if one.strip())])
        + "\n"
    )


def _value(name: str, value: Any, short: bool) -> str:
    if name == "group" and isinstance(value, str):
        value = shown_group(value)
    if isinstance(value, str) and value and not re.search(r"[\s=\"]", value):
        return shorten(printable(value), _ID_SHOWN) if short and name in _IDS else printable(value)
    return printable(json.dumps(value, ensure_ascii=False))
