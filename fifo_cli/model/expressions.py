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
    return next(_call_faults(parsed), None)


def _call_faults(node: Any) -> Iterator[str]:
    children = node.get("children", [])
    if node.get("type") == "function_expression":
        yield from _call_fault(node["value"], len(children))
    for child in children:
        if isinstance(child, dict):
            yield from _call_faults(child)


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
