"""JSON in which no number loses a digit, and which is always a legal SQS message body.

A number that a double holds exactly (as decimal text) is an int or a float; any other is a Decimal.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any

# The characters that SQS refuses (API Reference, SendMessage, MessageBody) and JSON does not escape itself.
_ILLEGAL = re.compile("[\ud800-\udfff\ufffe\uffff]")
# No number of DynamoDB's has more digits: 38 significant ones, exponents to 125.
_INTEGER_DIGITS_MAX = 128


def number(text: str) -> int | float | Decimal:
    """Read a DynamoDB number; raises ValueError if ``text`` is none."""
    try:
        exact = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"not a number: {text!r}") from None
    if not exact.is_finite():
        raise ValueError(f"not a finite number: {text!r}")
    if exact.adjusted() < _INTEGER_DIGITS_MAX and exact == exact.to_integral_value():
        return int(exact)
    return _real(text)


def loads(text: str) -> Any:
    """Parse JSON; raises ValueError if it is none, NaN and Infinity included."""
    return json.loads(text, parse_float=_real, parse_constant=_refuse)


def dumps(value: Any) -> str:
    """Serialise compactly, Decimals digit for digit; raises TypeError or ValueError for what is no JSON."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except TypeError:
        text = "".join(_pieces(value))
    return legal(text)


def legal(json_text: str) -> str:
    """Escape, inside JSON text, the characters that SQS refuses."""
    return _ILLEGAL.sub(lambda match: f"\\u{ord(match[0]):04x}", json_text)


def _real(text: str) -> float | Decimal:
    exact, nearest = Decimal(text), float(text)
    return nearest if Decimal(repr(nearest)) == exact else exact


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _pieces(value: Any) -> list[str]:
    """Serialise what holds Decimals, which the json module cannot write as numbers."""
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"{value} is not JSON")
        return [str(value)]
    if isinstance(value, dict):
        return [
            "{",
            *_joined([[json.dumps(str(k), ensure_ascii=False), ":", *_pieces(v)] for k, v in value.items()]),
            "}",
        ]
    if isinstance(value, list | tuple):
        return ["[", *_joined([_pieces(v) for v in value]), "]"]
    return [json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))]


def _joined(parts: list[list[str]]) -> list[str]:
    return [piece for index, part in enumerate(parts) for piece in ([",", *part] if index else part)]
