"""What is wrong with a JMESPath expression, before it meets an item: its syntax and its function calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions


def fault_of(expression: str) -> str | None:
    """Return what is wrong with an expression, or None: a wrong call would fail on the first item only."""
    try:
        parsed = jmespath.compile(expression).parsed
    except JMESPathError as error:
        return str(error).splitlines()[0].rstrip(":. ")
    except RecursionError:
        return "it is nested too deeply"
    return next(_call_faults({"children": [parsed]}), None)


def _call_faults(node: Any) -> Iterator[str]:
    children = [child for child in node.get("children", []) if isinstance(child, dict)]
    wanted = [False] * len(children)
    if node.get("type") == "function_expression":
        yield from _call_fault(node["value"], len(children))
        wanted = [_takes_function(node["value"], place) for place in range(len(children))]
    for place, (child, is_wanted) in enumerate(zip(children, wanted, strict=True), 1):
        if is_wanted and child.get("type") != "expref":
            yield f"argument {place} of {node['value']}() is an expression with & before it, such as &id"
        elif child.get("type") == "expref" and not is_wanted:
            yield f"&... gives a function, not a value; only {_takers()} take one"
        yield from _call_faults(child)


def _takes_function(name: str, place: int) -> bool:
    known = Functions.FUNCTION_TABLE.get(name)
    signature = known["signature"] if known else ()
    return place < len(signature) and signature[place]["types"] == ["expref"]


def _takers() -> str:
    names = [name for name in Functions.FUNCTION_TABLE if any(_takes_function(name, n) for n in range(2))]
    return ", ".join(f"{name}()" for name in sorted(names))


def _call_fault(name: str, given: int) -> Iterator[str]:
    known = Functions.FUNCTION_TABLE.get(name)
    if known is None:
        yield f"there is no function {name}()"
        return
    signature = known["signature"]
    variadic = bool(signature) and bool(signature[-1].get("variadic"))
    if given < len(signature) or (given > len(signature) and not variadic):
        least = "at least " if variadic else ""
        yield f"{name}() takes {least}{len(signature)} argument{'s' * (len(signature) != 1)}, not {given}"
