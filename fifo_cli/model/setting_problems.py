"""A problem in fifo.toml, as a person reads it: the key, what was found, what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from fifo_cli.errors import without_login
from fifo_cli.handlers.placeholders import SECRET_FIELDS
from fifo_cli.model.urls import host_of, is_this_machine

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_FOUND_MAX = 60
_TYPES = {
    "string_type": "a string",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "dict_type": "a table",
    "model_type": "a table",
    "tuple_type": "a list",
}


class SettingProblem(NamedTuple):
    """One thing that is wrong with one key."""

    key: str
    found: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.key}: {self.found}; must be {self.allowed}"


def problems_of(
    error: ValidationError, *, place: tuple[int | str, ...], known_keys: Sequence[str]
) -> list[SettingProblem]:
    """Turn pydantic's errors into problems, one a key: alternatives of one value are joined by "or".

    ``place`` is where the table is, and ``known_keys`` are its keys, for what an unknown key may have meant.
    """
    found: dict[str, SettingProblem] = {}
    for detail in error.errors(include_url=False):
        problem = _problem(detail, place, known_keys)
        before = found.get(problem.key)
        if before and before.allowed != problem.allowed:
            problem = SettingProblem(problem.key, problem.found, f"{before.allowed} or {problem.allowed}")
        found[problem.key] = problem
    return list(found.values())


def _problem(detail: ErrorDetails, place: tuple[int | str, ...], known_keys: Sequence[str]) -> SettingProblem:
    kind, name, value = detail["type"], (place + detail["loc"])[-1], detail["input"]
    key = key_of(place + detail["loc"])
    if kind == "missing":
        return SettingProblem(key, "missing", "given")
    if kind == "extra_forbidden":
        return SettingProblem(key, "unknown key", f"left out{_suggestion(str(name), known_keys)}")
    found = f"found {shown(value)}"
    if "auth" in place and name in SECRET_FIELDS:  # whose values are not shown
        blank = isinstance(value, str) and not value.strip()
        found = "it is empty" if blank else f"found {type(value).__name__}"
    return SettingProblem(key, found, _allowed(detail))


def _allowed(detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in _TYPES:
        return _TYPES[kind]
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return str(context["expected"])
    message = detail["msg"]
    return message.removeprefix("Input should be ").removeprefix("Input should ")


def key_of(parts: tuple[int | str, ...]) -> str:
    """Join a location to a key; pydantic's names of a mapping's key, and of a value's types, are no part."""
    key = ""
    for before, part in pairwise(("", *parts)):
        if isinstance(part, int):
            key += f"[{part}]"
        elif part != "[key]" and not (part in ("int", "str") and isinstance(before, int)):
            key += f".{part}" if key else part
    return key


def shown(value: Any) -> str:
    """Return a value of fifo.toml as a problem quotes it."""
    text = without_login(repr(value))  # before it is cut: an @ may be cut off
    if isinstance(value, bool):
        text = str(value).lower()
    return text if len(text) <= _FOUND_MAX else text[: _FOUND_MAX - 1] + "…"


def _suggestion(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else f" (known: {', '.join(known)})" if known else ""


def http_problems(key: str, url: str, what: str, *, insecure: bool) -> Iterator[SettingProblem]:
    """Yield a problem if ``what`` would go to ``url`` where anyone on the way can read it."""
    if url.startswith("http://") and not (insecure or is_this_machine(host_of(url))):
        allowed = "https://, or insecure = true: anyone on the way can read a key sent over http://"
        yield SettingProblem(key, f"{url!r} with {what}", allowed)
