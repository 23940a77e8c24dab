"""What is wrong with a JMESPath expression before it meets an item: syntax, and calls that can only fail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.visitor import TreeInterpreter

# What functions give (JMESPath specification, Functions); those that are not named here may give anything.
_GIVES: Final = {
    function: set(kinds.split())
    for kinds, functions in {
        "number": "abs ceil floor length sum",
        "number null": "avg to_number",
        "boolean": "contains ends_with starts_with",
        "string": "join to_string type",
        "array": "keys map sort sort_by to_array values",
        "number string null": "max min",
        "object": "merge",
        "array string": "reverse",
    }.items()
    for function in functions.split()
}
_KINDS: Final = {
    bool: "boolean",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}
# What a part gives where its @ is the whole item.
_NODE_GIVES: Final = {
    "comparator": {"boolean", "null"},
    "current": {"object"},
    "multi_select_dict": {"object"},
    "multi_select_list": {"array"},
    "not_expression": {"boolean"},
}
# Nodes whose first child sees what they see, and whose others see what that one gives.
_NARROWING: Final = {
    "filter_projection", "index_expression", "pipe", "projection", "subexpression", "value_projection"
}  # fmt: skip
_OF_CONSTANTS: Final = {
    "and_expression", "comparator", "function_expression", "key_val_pair", "literal", "multi_select_dict",
    "multi_select_list", "not_expression", "or_expression",
}  # fmt: skip


def fault_of(expression: str) -> str | None:
    """Return what is wrong with an expression, or None: a wrong call would fail on the first item only."""
    try:
        parsed = jmespath.compile(expression).parsed
        return next(_call_faults({"children": [parsed]}, at_item=True), None)
    except JMESPathError as error:
        return str(error).splitlines()[0].rstrip(":. ")
    except RecursionError:
        return "it is nested too deeply"


def _call_faults(node: Any, *, at_item: bool) -> Iterator[str]:
    """Yield what is wrong in a part of an expression; ``at_item``: its @ is the whole item."""
    children = [child for child in node.get("children", []) if isinstance(child, dict)]
    wanted = [False] * len(children)
    if node.get("type") == "function_expression":
        yield from _call_fault(node["value"], len(children))
        wanted = [_takes_function(node["value"], place) for place in range(len(children))]
        yield from _kind_faults(node["value"], children, at_item=at_item)
    if node.get("type") == "slice" and node["children"][2] == 0:
        yield "the step of a slice is not 0"
    for place, (child, is_wanted) in enumerate(zip(children, wanted, strict=True), 1):
        if is_wanted and child.get("type") != "expref":
            yield f"argument {place} of {node['value']}() is an expression with & before it, such as &id"
        elif child.get("type") == "expref" and not is_wanted:
            yield f"&... gives a function, not a value; only {_takers()} take one"
        moved = node.get("type") == "expref" or (node.get("type") in _NARROWING and place > 1)
        yield from _call_faults(child, at_item=at_item and not moved)
    if node.get("type") == "function_expression" and _is_constant(node):
        try:
            TreeInterpreter().visit(node, {})
        except JMESPathError as error:
            yield " ".join(str(error).split())
        except (ArithmeticError, ValueError):
            pass  # a number that our own functions can handle


def _kind_faults(name: str, arguments: list[Any], *, at_item: bool) -> Iterator[str]:
    """Yield the arguments whose kind is known, and is none that the function takes."""
    for place, (one, parameter) in enumerate(zip(arguments, _signature(name) or (), strict=False), 1):
        takes = {kind.partition("-")[0] for kind in parameter["types"]} - {"expref"}
        gives = _kinds(one, at_item=at_item)
        if takes and gives and not takes & gives:
            yield f"argument {place} of {name}() is {_one_of(takes)}, and never {_one_of(gives)}"


def _kinds(node: Any, *, at_item: bool) -> set[str]:
    """Return what kinds of value a part of an expression can give; nothing where that is not known."""
    if node["type"] == "literal":
        return {_KINDS[type(node["value"])]}
    if node["type"] == "function_expression":
        return _GIVES.get(node["value"], set())
    return _NODE_GIVES.get(node["type"], set()) if at_item else set()


def _one_of(kinds: set[str]) -> str:
    articles = {"array": "an ", "object": "an ", "null": ""}
    return " or ".join(articles.get(kind, "a ") + kind for kind in sorted(kinds))


def _is_constant(node: Any) -> bool:
    return node["type"] in _OF_CONSTANTS and all(map(_is_constant, node["children"]))


def _signature(name: str) -> Sequence[Any] | None:
    known = Functions.FUNCTION_TABLE.get(name)
    return known["signature"] if known else None


def _takes_function(name: str, place: int) -> bool:
    signature = _signature(name) or ()
    return place < len(signature) and signature[place]["types"] == ["expref"]


def _takers() -> str:
    names = [name for name in Functions.FUNCTION_TABLE if any(_takes_function(name, n) for n in range(2))]
    return ", ".join(f"{name}()" for name in sorted(names))


def _call_fault(name: str, given: int) -> Iterator[str]:
    signature = _signature(name)
    if signature is None:
        yield f"the function {name}() does not exist"
        return
    variadic = bool(signature) and bool(signature[-1].get("variadic"))
    if given < len(signature) or (given > len(signature) and not variadic):
        least = "at least " if variadic else ""
        yield f"{name}() takes {least}{len(signature)} argument{'s' * (len(signature) != 1)}, not {given}"
