"""Plain text for people: aligned columns that fit the terminal, and data that cannot act on it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final, Literal

from fifo_cli.model.json_text import ACTING

Style = Literal["bold", "dim", "red", "green", "yellow", "cyan"]
_STYLES: Final[dict[Style, str]] = {
    "bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36",
}  # fmt: skip
_ACTING: Final = re.compile(rf"[\x00-\x1f{ACTING}]")
_NAMED: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_GAP: Final = "  "
_COLUMN_MIN: Final = 8
# A command in backticks; for a moment its spaces are a character that no printed text holds.
_COMMAND: Final = re.compile(r"`(?:fifo-cli|aws) [^`]*`")
_HELD: Final = "\0"
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")


def printable(text: str, *, keep: str = "") -> str:
    """Escape what would move the cursor, colour or reorder the terminal: controls, surrogates, bidi marks."""
    if text.isascii() and text.isprintable():
        return text
    return _ACTING.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


def paint(text: str, style: Style, *, color: bool) -> str:
    """Wrap ``text`` in a style's codes, if colours are on."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if color and text else text


def display_width(text: str) -> int:
    """Return the terminal columns that ``text`` takes: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    return sum(_char_width(char) for char in text)


def fit(text: str, width: int | None) -> str:
    """Shorten ``text`` to ``width`` columns, the last one an ellipsis; None, a pipe, shortens nothing."""
    if width is None or display_width(text) <= width:
        return text
    kept, used = [], 0
    for char in text:
        used += _char_width(char)
        if used > width - 1:
            break
        kept.append(char)
    return "".join(kept) + "…"


def fold(text: str, width: int | None) -> str:
    """Break the lines that are wider than ``width`` at spaces, with their indent; None, a pipe, breaks none.

    Colours take no room. A word that is too long, such as a path, stays whole, and so does a command of this
    program in backticks: half of one, copied from the screen, would be another command.
    """
    if width is None:
        return text
    return "\n".join(_folded(line, width) for line in text.split("\n"))


def _folded(line: str, width: int) -> str:
    words = [word.replace(_HELD, " ") for word in _COMMAND.sub(_hold_together, line).split(" ")]
    lines, used = [words[0]], _shown_width(words[0])
    indent = " " * min(len(line) - len(line.lstrip(" ")), width // 2)
    for word in words[1:]:
        size = _shown_width(word)
        if used + 1 + size > width and lines[-1].strip():
            lines.append(indent + word)
            used = len(indent) + size
        else:
            lines[-1] += f" {word}"
            used += 1 + size
    return "\n".join(lines)


def has_command(text: str) -> bool:
    """Say whether a text holds a command in backticks, which must not be cut."""
    return _COMMAND.search(text) is not None


def _hold_together(found: re.Match[str]) -> str:
    return found[0].replace(" ", _HELD)


def _shown_width(text: str) -> int:
    return display_width(_COLOUR.sub("", text) if "\x1b" in text else text)


def shorten(text: str, width: int | None) -> str:
    """Shorten ``text`` in the middle to ``width`` columns: names, ids and ARNs differ at their ends."""
    if width is None or display_width(text) <= width:
        return text
    tail: list[str] = []
    used = 0
    for char in reversed(text):
        used += _char_width(char)
        if used > (width - 1) // 2:
            break
        tail.append(char)
    return fit(text, width - display_width("".join(tail))) + "".join(reversed(tail))


def table(
    rows: Iterable[Sequence[object]],
    *,
    headers: Sequence[str] = (),
    right: Sequence[int] = (),
    width: int | None = None,
) -> str:
    """Align ``rows`` in columns, those in ``right`` to the right; shorten the widest to fit a ``width``.

    None is shown as a dash. Returns "" for no rows and no headers, else lines each ending in a newline.
    """
    cells = [[_cell(value) for value in row] for row in ([headers] if headers else []) + list(rows)]
    if not cells:
        return ""
    count = max(len(row) for row in cells)
    cells = [row + [""] * (count - len(row)) for row in cells]
    widths = [max(display_width(row[column]) for row in cells) for column in range(count)]
    if width is not None:
        widths = _shrink(widths, width)
    return "".join(_line(row, widths, right) for row in cells)


def fields(pairs: Iterable[tuple[str, object]], *, width: int | None = None) -> str:
    """Write names and values, the values aligned and, to fit a ``width``, shortened."""
    return table([(f"{name}:", value) for name, value in pairs], width=width)


def count(number: int, noun: str) -> str:
    """Write a number and its noun, plural except for one: "1 message", "2 messages"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def as_lines(*lines: str) -> str:
    """Write texts, which may hold anything, a line each; an empty one is left out."""
    return "".join(f"{printable(line)}\n" for line in lines if line)


def short_id(message_id: str, width: int | None) -> str:
    """Return the beginning of an id, enough to find it on a screen; the whole of it in a pipe."""
    return message_id if width is None else message_id[:8]


def remain(number: int | None, where: str = "") -> str:
    """Say how many messages are left; None is not known."""
    if number is None:
        return "unknown how many remain"
    return f"{count(number, 'message')} remain{'s' * (number == 1)}{f' in {where}' if where else ''}"


def open_shards(number: int, command: str) -> list[str]:
    """Say that open shards were left at an end that nothing proved, if any were."""
    if not number:
        return []
    are = "is" if number == 1 else "are"
    return [f"{count(number, 'shard')} {are} still open: the newest records may not be in this {command}"]


def _cell(value: object) -> str:
    return "-" if value is None else printable(str(value))


def _line(row: Sequence[str], widths: Sequence[int], right: Sequence[int]) -> str:
    padded = []
    for column, (text, width) in enumerate(zip(row, widths, strict=True)):
        # What has no spaces is an id, a name or an ARN: its end shows as much as its beginning.
        shown = fit(text, width) if " " in text else shorten(text, width)
        space = " " * (width - display_width(shown))
        padded.append(space + shown if column in right else shown + space)
    return _GAP.join(padded).rstrip() + "\n"


def _shrink(widths: Sequence[int], total: int) -> list[int]:
    """Take columns from the widest until the line fits, or every column is at its minimum."""
    shrunk = list(widths)
    excess = sum(shrunk) + len(_GAP) * (len(shrunk) - 1) - total
    while excess > 0:
        widest = max(range(len(shrunk)), key=shrunk.__getitem__)
        if shrunk[widest] <= _COLUMN_MIN:
            break
        shrunk[widest] -= 1
        excess -= 1
    return shrunk


def _escape(char: str) -> str:
    number = ord(char)
    return _NAMED.get(char) or (f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}")


def _char_width(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1
