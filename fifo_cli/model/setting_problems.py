"""A problem in fifo.toml, as a person reads it: the key, what was found, what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from fifo_cli.errors import without_login
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
    "list_type": "a list",
    "model_attributes_type": "a table",
}
# Of auth. Their values are not shown.
SECRETS = frozenset({"password", "client_secret", "secret", "key"})


class SettingProblem(NamedTuple):
    """One thing that is wrong with one key."""

    key: str
    found: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.key}: {self.found}; must be {self.allowed}"


def problems_of(
    error: ValidationError,
    *,
    prefix: tuple[int | str, ...],
    known_keys: Sequence[str],
    auth_keys: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> list[SettingProblem]:
    """Turn pydantic's errors into problems, one a key: alternatives of one value are joined by "or".

    ``prefix`` is where the table is, and ``known_keys`` are its keys, for what an unknown key may have meant;
    ``auth_keys`` are those of ``auth``, by its type.
    """
    found: dict[str, SettingProblem] = {}
    details = error.errors(include_url=False)
    for detail in details:
        if detail["type"] == "too_short" and detail["input"]:
            continue  # its values are the problem, each reported by itself
        problem = _problem(detail, prefix, known_keys, auth_keys)
        before = found.get(problem.key)
        if before and before.allowed != problem.allowed:
            problem = SettingProblem(problem.key, problem.found, f"{before.allowed} or {problem.allowed}")
        found[problem.key] = problem
    return list(found.values())


def _problem(
    detail: ErrorDetails,
    prefix: tuple[int | str, ...],
    known_keys: Sequence[str],
    auth_keys: Mapping[str, Sequence[str]],
) -> SettingProblem:
    place, kind = [*prefix, *detail["loc"]], detail["type"]
    after_auth = place.index("auth") + 1 if "auth" in place else len(place)
    in_auth = after_auth < len(place) and place[after_auth] in auth_keys
    if in_auth:  # pydantic puts the type there
        known_keys = auth_keys[str(place.pop(after_auth))]
    key = _key(tuple(place))
    if kind.startswith("union_tag"):
        found = f"found {_show(detail['ctx']['tag'])}" if "tag" in detail["ctx"] else "missing"
        return SettingProblem(f"{key}.type", found, " or ".join(map(repr, auth_keys)))
    if kind == "missing":
        return SettingProblem(key, "missing", "given")
    if kind == "extra_forbidden":
        return SettingProblem(key, "unknown key", f"left out{_suggestion(str(place[-1]), known_keys)}")
    value = detail["input"]
    found = f"found {_show(value)}"
    if in_auth and place[-1] in SECRETS:
        blank = isinstance(value, str) and not value.strip()
        found = "it is empty" if blank else f"found {type(value).__name__}"
    return SettingProblem(key, found, _allowed(detail))


def _allowed(detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in _TYPES:
        return _TYPES[kind]
    if kind == "too_short":
        return "a list with at least one value"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return str(context["expected"])
    message = detail["msg"]
    return message.removeprefix("Input should be ").removeprefix("Input should ")


def _key(parts: tuple[int | str, ...]) -> str:
    """Join a location to a key; pydantic's names of union branches and mapping keys are no part of it."""
    key = ""
    for part in parts:
        if isinstance(part, int):
            key += f"[{part}]"
        elif (
            part == "[key]"
            or part.startswith(("function-", "constrained-", "tuple["))
            or part in ("int", "str")
        ):
            continue
        else:
            key += f".{part}" if key else part
    return key


def _show(value: Any) -> str:
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
