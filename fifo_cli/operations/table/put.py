"""put: items into the table, in the order given, so that the stream has them in that order."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from fifo_cli.aws.dynamodb import key_of, kind_of, problems_of, put_item, typed
from fifo_cli.errors import FifoError, UsageError
from fifo_cli.handlers import exact_json
from fifo_cli.model.json_text import repeated_name
from fifo_cli.model.results import INTERNAL, WorkResult

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws

_PROBLEMS_SHOWN: Final = 50
_KEY_SHOWN: Final = 60
_NO_MODIFY: Final = 'only with "MODIFY" in [message] events would it be delivered'
_RESUME: Final = (
    "run the command again to write the rest: an item that is written as it was makes no new stream record"
)
# Written again, an item that a later one wrote over would take its place for a moment, and be delivered.
_RESUME_REST: Final = "take these off the input and run the command again with the rest"

Keys = tuple[tuple[str, str], ...]
# Where in the input, and what: they are found in several passes and reported in one order.
Problem = tuple[int, str]


@dataclass(frozen=True, slots=True)
class NewItem:
    """One item of the input; ``where`` and ``number`` are its place: ("line", 3), ("item", 2), ("", 0)."""

    where: str
    number: int
    item: dict[str, Any]

    @property
    def place(self) -> str:
        return f"{self.where} {self.number}" if self.where else ""


@dataclass(frozen=True)
class PutResult(WorkResult):
    """How many items of ``total`` were written."""

    written: int
    total: int = field(metadata=INTERNAL)


def read_items(data: bytes, keys: Keys, *, rewrites: bool = False) -> list[NewItem]:
    """Read a JSON object, an array of them, or JSON lines, numbers as Decimals, and check every item.

    A key that comes twice is a problem but for ``rewrites``: the second item is written over the first, which
    the stream shows as MODIFY, and a pipeline of INSERT alone would never deliver. Raises UsageError with all
    problems of the whole input together.
    """
    problems: list[Problem] = []
    entries = list(_parse(_decode(data), problems))
    first: dict[tuple[Any, ...], str] = {}
    for entry in entries:
        found = list(problems_of(entry.item, keys))
        if not found and not rewrites:
            key = _key(entry, keys)
            if key in first:
                found = [f"has the same key as {first[key]}: {_shown_key(entry.item, keys)}; {_NO_MODIFY}"]
            first.setdefault(key, entry.place)
        problems += [
            (entry.number, f"{entry.place}: {problem}" if entry.where else problem) for problem in found
        ]
    if problems:
        raise _refusal(problems)
    if not entries:
        raise UsageError(
            "there is no item in the input; nothing was written",
            hint="give a JSON object, an array of them, or JSON lines; put @FILE reads a file, put - stdin",
        )
    return entries


def put(aws: Aws, table: str, keys: Keys, entries: list[NewItem], *, stop: threading.Event) -> PutResult:
    """Write the items one after the other, until ``stop`` is set or AWS refuses.

    Not with BatchWriteItem: it promises no order, and the order of the stream is the order of delivery.
    """
    repeats = len({_key(entry, keys) for entry in entries}) < len(entries)
    resume = _RESUME_REST if repeats else _RESUME
    for written, entry in enumerate(entries):
        if stop.is_set():
            stopped = _unfinished(written, len(entries), "interrupted", resume)
            return PutResult(written, len(entries), error=stopped)
        try:
            put_item(aws, table, typed(entry.item, keys))
        except FifoError as error:
            if not written:
                raise
            at = f"{entry.place or 'the item'} ({_shown_key(entry.item, keys)})"
            hint = "; ".join(filter(None, (error.hint, resume)))
            failure = _unfinished(written, len(entries), f"{error.message}; it was at {at}", hint)
            failure.exit_code = error.exit_code
            return PutResult(written, len(entries), error=failure)
    return PutResult(len(entries), len(entries))


def _unfinished(written: int, total: int, reason: str, hint: str) -> FifoError:
    """Say how far it came; the exit code of an interruption is the signal's, which the command line knows."""
    return FifoError(
        f"{reason}\n{written} of {total} items are written, the first ones of the input, in its order",
        hint=hint,
    )


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"the input is not UTF-8 (line {line}, byte {error.start}); nothing was written",
            hint="turn it into UTF-8, with iconv for example",
        ) from None


def _parse(text: str, problems: list[Problem]) -> Iterator[NewItem]:
    """Find the items; what is none goes to ``problems``."""
    for where, number, value, wrong in _values(text) if text.strip() else ():
        place = f"{where} {number}: " if where else ""
        if wrong is None and isinstance(value, dict):
            yield NewItem(where, number, value)
        else:
            problem = wrong or f"an item is a JSON object, not {kind_of(value)}"
            problems.append((number, f"{place}{problem}"))


def _values(text: str) -> Iterator[tuple[str, int, Any, str | None]]:
    """Yield the place of each value of the input, the value, and what is wrong with it if anything is."""
    whole, reason = _load(text)
    if reason is None:
        values = enumerate(whole, 1) if isinstance(whole, list) else [(0, whole)]
        where = "item" if isinstance(whole, list) else ""
        yield from ((where, number, value, None) for number, value in values)
        return
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    loaded = [(number, *_load(line)) for number, line in lines]
    # A broken line among sound ones means JSON lines; of one document over several lines none is an object.
    if text.lstrip().startswith("[") or not any(isinstance(value, dict) for _, value, _ in loaded):
        yield "", 0, None, reason
        return
    for number, value, wrong in loaded:
        yield "line", number, value, wrong and wrong.removeprefix("line 1, ")


class _Refused(ValueError):
    """JSON that Python would take and that is none, or means two things."""


def _load(text: str) -> tuple[Any, str | None]:
    """Parse JSON, every number exact; return the value and None, or None and what is wrong."""
    try:
        value = json.loads(
            text, parse_float=_number, parse_int=_number, parse_constant=_constant, object_pairs_hook=_object
        )
    except json.JSONDecodeError as error:
        return None, f"line {error.lineno}, column {error.colno}: not JSON: {error.msg}"
    except _Refused as error:
        return None, str(error)
    except RecursionError:
        return None, "nested too deeply"
    return value, None


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise _Refused(f"the number {text[:_KEY_SHOWN]} is out of range") from None


def _constant(name: str) -> Any:
    raise _Refused(f"{name} is not a JSON number, and DynamoDB has none such")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if (twice := repeated_name(pairs)) is not None:
        raise _Refused(f"the attribute {twice!r} is there twice in one object")
    return dict(pairs)


def _key(entry: NewItem, keys: Keys) -> tuple[Any, ...]:
    """Return an item's key to compare: as Decimals, 1, 1.0 and 1e0 are equal."""
    return tuple(key_of(entry.item, keys).values())


def _shown_key(item: dict[str, Any], keys: Keys) -> str:
    key = {
        name: exact_json.reduced(value) if isinstance(value, Decimal) else value
        for name, value in key_of(item, keys).items()
    }
    shown = json.dumps(key, ensure_ascii=False, default=str)
    return shown if len(shown) <= _KEY_SHOWN else f"{shown[:_KEY_SHOWN]}…"


def _refusal(problems: list[Problem]) -> UsageError:
    shown = [text for _, text in sorted(problems, key=lambda problem: problem[0])][:_PROBLEMS_SHOWN]
    more = len(problems) - len(shown)
    lines = [
        f"the input has {len(problems)} problem{'' if len(problems) == 1 else 's'}; nothing was written:",
        *(f"  {problem}" for problem in shown),
        *([f"  and {more} more"] if more else []),
    ]
    return UsageError("\n".join(lines), hint="fix them and run the command again")
