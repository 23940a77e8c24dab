"""Table keys: in records, on the command line, in logs and messages, and in results."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, NoReturn

from fifo_cli.aws.dynamodb import problems_of
from fifo_cli.errors import UsageError
from fifo_cli.handlers import exact_json
from fifo_cli.handlers.records import plain

# What no plain key begins with, but an object does.
_OBJECT: Final = re.compile(r"""\s*\{\s*(["'}]|$)""")
_SHOWN_MAX: Final = 60

Keys = tuple[tuple[str, str], ...]


def key_of(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table key of a record, plain; equal numbers are equal however they are spelled."""
    return {name: plain(value) for name, value in raw["dynamodb"].get("Keys", {}).items()}


def read_key(text: str) -> Any:
    """Parse the JSON of a table key, numbers exact; None if it is not JSON."""
    try:
        return exact_json.loads(text)
    except ValueError:
        return None


def shown_key(key: Any) -> Any:
    """Return a table key for a result: a number that JSON's readers would round is its text."""
    if not isinstance(key, Mapping):
        return key
    return {name: str(value) if isinstance(value, Decimal) else value for name, value in key.items()}


def parse_key(text: str, keys: Keys) -> dict[str, Any]:
    """Read a table key: JSON, or for a table without sort key the plain partition key.

    Binary key attributes are given as base64. Raises UsageError, saying what the table's key is, if it is
    none.
    """
    names = _named(keys)
    value = _parsed(text, keys)
    if not isinstance(value, dict):
        raise UsageError(
            f"the key {_shown_text(text)} is not enough: the table's key is {names}",
            hint=f"write {_example(keys)}",
        )
    problems = list(problems_of(value, keys))
    problems += [f"{name!r} is not a key attribute" for name in value if name not in dict(keys)]
    if problems:
        raise UsageError(
            f"the key {_shown_text(text)} does not fit this table, whose key is {names}:"
            f" {'; '.join(problems)}",
            hint=f"write {_example(keys)}",
        )
    return {name: _comparable(value[name]) for name, _ in keys}


def _parsed(text: str, keys: Keys) -> Any:
    (name, kind), *more = keys
    try:
        value = json.loads(text, parse_int=Decimal, parse_float=Decimal, parse_constant=_refuse)
    except (ValueError, RecursionError):
        if _OBJECT.match(text):
            raise UsageError(
                f"the key {_shown_text(text)} begins like JSON, and is not JSON:"
                f" the table's key is {_named(keys)}",
                hint=f"write {_example(keys)}",
            ) from None
        value = text
    if isinstance(value, dict) or more:
        return value
    # The plain partition key: the text itself, except for a number, or a string in JSON's quotes.
    if kind == "N":
        return {name: value} if isinstance(value, Decimal) else {name: text}
    return {name: value if isinstance(value, str) else text}


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _shown_text(text: str) -> str:
    """Return what was typed as a key in quotes, on one line, and not longer than a line."""
    return repr(text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…")


def _comparable(value: Any) -> Any:
    """Return a key attribute as ``plain`` has it."""
    return plain({"N": str(value)}) if isinstance(value, Decimal) else value


def _named(keys: Keys) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in keys)


def _example(keys: Keys) -> str:
    return "'" + json.dumps({name: 42 if kind == "N" else "..." for name, kind in keys}) + "'"
