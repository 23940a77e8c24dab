"""What operations return: plain values whose ``document()`` is their JSON, the one serialisation.

The JSON of a value is its fields. A field with another name in JSON says so (``named``); one that is not part
of it, too (``INTERNAL``). Only JSON that is computed from fields has a ``document`` of its own.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from fifo_cli.errors import ExitCode, FifoError
from fifo_cli.model.times import iso

Document = dict[str, Any]
_NAME: Final = "json"


# Metadata of a dataclass field that is not part of the JSON, and of one that is left out if it is None.
INTERNAL: Final = {_NAME: ""}
OPTIONAL: Final = {"optional": True}


def named(name: str) -> Mapping[str, str]:
    """Return the metadata of a dataclass field that is called ``name`` in JSON."""
    return {_NAME: name}


def to_json_value(value: Any) -> Any:  # noqa: PLR0911 - a return a type
    """Return a value as JSON has it: an instant in ISO 8601, bytes in base64, a set sorted."""
    if value is None or isinstance(value, str | int | float):
        return value
    if callable(getattr(type(value), "document", None)):
        return value.document()
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, bytes):
        return b64encode(value).decode("ascii")
    if isinstance(value, Mapping):
        return to_json_object(value)
    return [to_json_value(one) for one in (sorted(value) if isinstance(value, set | frozenset) else value)]


def to_json_object(values: Mapping[str, Any]) -> Document:
    """Return a JSON object that a result computes from its fields."""
    return {name: to_json_value(value) for name, value in values.items()}


class Fields:
    """A dataclass whose JSON is its fields."""

    __slots__ = ()

    def document(self) -> Document:
        """Return the fields by their names in JSON."""
        return {
            shown: to_json_value(value)
            for name, shown, optional in _json_fields(type(self))  # type: ignore[arg-type]
            if (value := getattr(self, name)) is not None or not optional
        }


@cache
def _json_fields(kind: Any) -> list[tuple[str, str, bool]]:
    """Return the fields of the JSON: each one's name, its name in JSON, and whether None leaves it out."""
    named_fields = ((one, one.metadata.get(_NAME, one.name)) for one in fields(kind))
    return [(one.name, shown, "optional" in one.metadata) for one, shown in named_fields if shown]


class Result(Fields):
    """The outcome of one command: one document, in JSON lines as well."""

    __slots__ = ()

    @property
    def exit_code(self) -> ExitCode:
        """0, or 1 when something needs a look."""
        return ExitCode.OK

    def rows(self) -> Iterable[Document]:
        """Return the JSON lines of ``-o jsonl``."""
        return [self.document()]


class Listed(Result):
    """A result that is a list: its first field, each item of which is a JSON line."""

    __slots__ = ()

    def rows(self) -> Iterable[Document]:
        items: Iterable[Document] = next(iter(self.document().values()))
        return items


@dataclass(frozen=True, kw_only=True)
class WorkResult(Result):
    """What a command that moves or delivers came to.

    ``notes`` are for a person; any of ``warnings`` needs a look; ``error`` is why it ended early, if it
    did: raised when the rest has been reported.
    """

    notes: tuple[str, ...] = field(default=(), metadata=INTERNAL)
    warnings: tuple[str, ...] = field(default=(), metadata=INTERNAL)
    error: FifoError | None = field(default=None, metadata=INTERNAL)

    @property
    def needs_look(self) -> bool:
        return bool(self.warnings)

    @property
    def exit_code(self) -> ExitCode:
        if self.error is not None:
            return self.error.exit_code
        return ExitCode.ATTENTION if self.needs_look else ExitCode.OK
