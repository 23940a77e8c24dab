"""JMESPath in which no number loses a digit: for ``where``, ``body``, ``group`` and ``--filter``.

The parser and most functions are the jmespath library's. Ours are what computes, compares, reads or writes
numbers: on values as exact_json.py makes them (int, float or Decimal), as the specification has it.
"""

from __future__ import annotations

import contextlib
import re
from copy import deepcopy
from decimal import MAX_EMAX, MIN_EMIN, ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from functools import lru_cache, reduce
from typing import Any, ClassVar, Final

from jmespath import ast
from jmespath.exceptions import JMESPathTypeError
from jmespath.functions import Functions, signature
from jmespath.parser import ParsedResult, Parser
from jmespath.visitor import Options, TreeInterpreter, _Expression

from . import exact_json

# A sum of DynamoDB's numbers has 256 digits at most, and as many more as it has addends' digits: exact.
_SUM: Final = Context(prec=1_000, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
# A quotient may have no end; DynamoDB's numbers have 38 digits.
_QUOTIENT: Final = Context(prec=38, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
# What is between two backticks.
_LITERAL: Final = re.compile(r"`((?:[^`\\]|\\.)*)`", re.DOTALL)
# RFC 8259, section 6: what to_number takes for a number.
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_DECIMALS: Final = frozenset({"Decimal", exact_json.Unbounded.__name__})


class Expression:
    """A compiled expression; safe to share between threads."""

    def __init__(self, text: str) -> None:
        """Compile ``text``; raises JMESPathError, or RecursionError if it is nested too deeply."""
        self.text = text
        self._tree = _Parser().parse(text).parsed
        self._interpreter = _Interpreter(Options(custom_functions=_Functions()))

    def search(self, value: Any) -> Any:
        """Evaluate over ``value``; raises JMESPathError, TypeError or ValueError where that is an error."""
        found = self._interpreter.visit(self._tree, value)
        if isinstance(found, _Expression):
            raise TypeError(f"{self.text} gives a function, not a value")
        return found


@lru_cache(maxsize=64)
def compiled(text: str) -> Expression:
    """Return an expression, compiled once."""
    return Expression(text)


def is_true(value: Any) -> bool:
    """Say whether JMESPath counts a value as true: 0 is, the empty string, list and object are not."""
    return value is not None and value is not False and value not in ("", [], {})


def equal(one: Any, other: Any) -> bool:
    """Say whether two values are equal: numbers by value, true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
    return bool(_exact(one) == _exact(other))


def _exact(value: Any) -> Any:
    """Return a value that compares by the digits of a float, not by the fraction that it stands for."""
    return Decimal(repr(value)) if type(value) is float else value


class _Parser(Parser):
    """Reads literals exactly: `0.30000000000000000001` is not `0.3`."""

    _CACHE: Final[dict[str, ParsedResult]] = {}  # not the library's, which holds rounded literals

    def _parse(self, expression: str) -> Any:
        self._text = expression
        return super()._parse(expression)  # type: ignore[misc]

    def _token_nud_literal(self, token: dict[str, Any]) -> Any:
        written = _LITERAL.match(self._text, token["start"])
        value = token["value"]
        if written is not None:  # and not a raw string, which is in single quotes
            with contextlib.suppress(ValueError):  # what is not JSON, the library takes for a string
                value = exact_json.loads(written[1].replace("\\`", "`"))
        return ast.literal(value)


class _Interpreter(TreeInterpreter):
    def visit_literal(self, node: Any, value: Any) -> Any:
        """Return a literal; its own copy of one that the user's code could change for all that follow."""
        return deepcopy(node["value"]) if isinstance(node["value"], dict | list) else node["value"]

    COMPARATOR_FUNC: ClassVar = {
        "eq": equal,
        "ne": lambda one, other: not equal(one, other),
        "lt": lambda one, other: _exact(one) < _exact(other),
        "gt": lambda one, other: _exact(one) > _exact(other),
        "lte": lambda one, other: _exact(one) <= _exact(other),
        "gte": lambda one, other: _exact(one) >= _exact(other),
    }


class _Functions(Functions):
    def _type_check(self, actual: list[Any], expected: Any, function_name: str) -> None:
        """Check as the library does; "any" of the specification is any value, which a function is not."""
        super()._type_check(actual, expected, function_name)  # type: ignore[misc]
        for given, kinds in zip(actual, expected, strict=False):
            if not kinds["types"] and isinstance(given, _Expression):
                raise JMESPathTypeError(function_name, "&...", "expref", ["any"])

    def _get_allowed_pytypes(self, types: list[str]) -> tuple[list[str], list[Any]]:
        allowed, members = super()._get_allowed_pytypes(types)  # type: ignore[misc]
        if "int" in allowed:
            allowed = [*allowed, *_DECIMALS]
        return allowed, [(*kinds, *_DECIMALS) if "int" in kinds else kinds for kinds in members]

    def _convert_to_jmespath_type(self, pyobject: str) -> str:
        if pyobject in _DECIMALS:
            return "number"
        return str(super()._convert_to_jmespath_type(pyobject))  # type: ignore[misc]

    def _create_key_func(self, expref: Any, allowed_types: list[str], function_name: str) -> Any:
        key = super()._create_key_func(expref, allowed_types, function_name)  # type: ignore[misc]
        return lambda member: _exact(key(member))

    @signature({"types": ["number"]})
    def _func_abs(self, arg: Any) -> Any:
        return exact_json.reduced(arg.copy_abs()) if isinstance(arg, Decimal) else abs(arg)

    @signature({"types": ["array-number"]})
    def _func_avg(self, arg: list[Any]) -> Any:
        if not arg:
            return None
        return exact_json.reduced(_QUOTIENT.divide(_sum(arg), Decimal(len(arg))))

    @signature({"types": ["array", "string"]}, {"types": []})
    def _func_contains(self, subject: Any, search: Any) -> bool:
        if isinstance(subject, str):
            return search in subject
        return any(equal(member, search) for member in subject)

    @signature({"types": ["number"]})
    def _func_ceil(self, arg: Any) -> Any:
        return exact_json.reduced(Decimal(_exact(arg)).to_integral_value(ROUND_CEILING))

    @signature({"types": ["number"]})
    def _func_floor(self, arg: Any) -> Any:
        return exact_json.reduced(Decimal(_exact(arg)).to_integral_value(ROUND_FLOOR))

    @signature({"types": ["array-number", "array-string"]})
    def _func_max(self, arg: list[Any]) -> Any:
        return max(arg, key=_exact, default=None)

    @signature({"types": ["array-number", "array-string"]})
    def _func_min(self, arg: list[Any]) -> Any:
        return min(arg, key=_exact, default=None)

    @signature({"types": ["array-string", "array-number"]})
    def _func_sort(self, arg: list[Any]) -> list[Any]:
        return sorted(arg, key=_exact)

    @signature({"types": ["array-number"]})
    def _func_sum(self, arg: list[Any]) -> Any:
        return exact_json.reduced(_sum(arg))

    @signature({"types": []})
    def _func_to_number(self, arg: Any) -> Any:
        if isinstance(arg, str):
            return exact_json.loads(arg) if _NUMBER.fullmatch(arg) else None
        return None if isinstance(arg, bool) or not isinstance(arg, int | float | Decimal) else arg

    @signature({"types": []})
    def _func_to_string(self, arg: Any) -> str:
        return arg if isinstance(arg, str) else exact_json.dumps(arg, ascii_only=True)

    @signature({"types": []})
    def _func_type(self, arg: Any) -> Any:
        return "number" if isinstance(arg, Decimal) else super()._func_type(arg)  # type: ignore[misc]


def _sum(numbers: list[Any]) -> Decimal:
    return reduce(_SUM.add, map(_exact, numbers), Decimal(0))
