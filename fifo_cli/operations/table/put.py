"""put: items into the table, so that the stream has those of each message group in the order given."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from fifo_cli.aws.dynamodb import key_of, kind_of, problems_of, typed
from fifo_cli.errors import ExitCode, FifoError, UsageError
from fifo_cli.events import Listener, silent
from fifo_cli.handlers import exact_json
from fifo_cli.handlers.failure import MessageError
from fifo_cli.handlers.records import DEFAULT_GROUP, group_of, plain
from fifo_cli.invocation import command_line
from fifo_cli.model.json_text import repeated_name
from fifo_cli.model.results import INTERNAL, WorkResult
from fifo_cli.operations.pace import Progress
from fifo_cli.operations.table.write import Writer, Writes, chains_of

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

    A key that comes twice is a problem without ``rewrites``: the second item is written over the first, which
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
            "the input has no item; nothing was written",
            hint="give a JSON object, an array of them, or JSON lines; put @FILE reads a file, put - stdin",
        )
    return entries


def put(
    aws: Aws,
    table: str,
    keys: Keys,
    entries: list[NewItem],
    *,
    group: str | None = None,
    stop: threading.Event,
    listener: Listener = silent,
    save_rest: Callable[[Iterable[str]], str] | None = None,
) -> PutResult:
    """Write the items until ``stop`` is set or AWS refuses; those of one message group in the order given.

    ``group`` is ``[message] group``. Items of other groups and keys are written side by side (write.py).
    Where another command has to write the rest, ``save_rest`` saves it and returns where.
    """
    names = [(("group", _group(entry, keys, group)), ("key", _key(entry, keys))) for entry in entries]
    chains = chains_of(names)
    progress = Progress(listener, "written", len(entries))
    writer = Writer(
        aws, table, lambda number: typed(entries[number].item, keys), chains, stop, on_written=progress.at
    )
    writes = writer.run()
    if writes.error is None and writes.count == len(entries):
        return PutResult(writes.count, len(entries))
    if writes.error is not None and not writes.count:
        raise writes.error
    repeats = len({key for _, (_, key) in names}) < len(entries)
    reason, hint, code = "interrupted", "", ExitCode.OK
    if writes.error is not None and writes.failed is not None:
        entry = entries[writes.failed]
        at = f"{entry.place or 'the item'} ({_shown_key(entry.item, keys)})"
        reason, hint = f"{writes.error.message}; it was at {at}", writes.error.hint
        code = writes.error.exit_code
    rest = [entry for entry, done in zip(entries, writes.written, strict=True) if not done]
    next_step = "; ".join(filter(None, (hint, _resume(rest, len(chains), repeats, save_rest))))
    failure = FifoError(f"{reason}\n{_how_far(writes, len(chains))}", hint=next_step)
    failure.exit_code = code or failure.exit_code
    return PutResult(writes.count, len(entries), error=failure)


def _group(entry: NewItem, keys: Keys, expression: str | None) -> str:
    """Return the message group that the enqueuer gives an item; that of what it cannot group, too."""
    if expression is None:
        return DEFAULT_GROUP
    try:
        return group_of(expression, {name: plain(value) for name, value in typed(entry.item, keys).items()})
    except MessageError:
        return DEFAULT_GROUP


def _how_far(writes: Writes, chains: int) -> str:
    which = (
        "the first ones of the input, in its order" if chains == 1 else "of each message group the first ones"
    )
    return f"{writes.count} of {len(writes.written)} items are written, {which}"


def _resume(
    rest: list[NewItem], chains: int, repeats: bool, save_rest: Callable[[Iterable[str]], str] | None
) -> str:
    """Say how to write the rest."""
    if not repeats:
        return _RESUME
    if chains == 1 or save_rest is None:
        return _RESUME_REST
    path = save_rest(f"{exact_json.dumps(entry.item)}\n" for entry in rest)
    return f"write the rest with {command_line('put', '@' + path)}"


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
    """Find the items; what is not one goes to ``problems``."""
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
    raise _Refused(f"{name} is not a number that JSON or DynamoDB has")


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
