"""Which fields the JSON of each command has, and of which types: ``json_shapes.json``, and what holds to it.

In the table ``a.b`` is a field, ``a[]`` an element of a list, ``a.*`` each value of an object whose names are
data. A kind is ``string``, ``integer or null``, ``any``; ``optional string`` is a field that may be left out,
and an ``open object`` may have further fields.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

TABLE: Final[dict[str, dict[str, str]]] = json.loads(
    Path(__file__).with_suffix(".json").read_text(encoding="utf-8")
)
_KINDS: Final = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}


def shape_problems(name: str, document: Any) -> list[str]:
    """Return where a document of the command differs from the table."""
    return list(_problems(TABLE[name], "", document))


def _problems(table: dict[str, str], path: str, value: Any) -> Iterator[str]:
    kinds, found = table[path], _KINDS[type(value)]
    if "any" in kinds:
        return
    if found not in kinds.removeprefix("optional ").removeprefix("open ").split(" or "):
        yield f"{path or 'the document'} is {found}, not {kinds}: {value!r:.80}"
    elif isinstance(value, list):
        for one in value:
            yield from _problems(table, f"{path}[]", one)
    elif isinstance(value, dict):
        yield from _field_problems(table, path, value)


def _field_problems(table: dict[str, str], path: str, value: dict[str, Any]) -> Iterator[str]:
    fields = [field for field in table if field and not field.endswith("[]")]
    known = {field.rpartition(".")[2]: field for field in fields if field.rpartition(".")[0] == path}
    if "*" in known:
        for one in value.values():
            yield from _problems(table, known["*"], one)
        return
    for name in known.keys() - value.keys():
        if not table[known[name]].startswith("optional "):
            yield f"{known[name]} is missing"
    for name, one in value.items():
        if name in known:
            yield from _problems(table, known[name], one)
        elif not table[path].startswith("open "):
            yield f"{path}.{name} is new: add it to json_shapes.json"
