"""JSON in which no number loses a digit, and which is always a legal SQS message body.

A number that a double holds exactly (as decimal text) is an int or a float; any other is a Decimal.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from decimal import MAX_EMAX, MIN_ETINY, Decimal, InvalidOperation
from typing import Any

# The characters that SQS refuses (API Reference, SendMessage, MessageBody) and JSON does not escape itself.
_ILLEGAL = re.compile("[\ud800-\udfff\ufffe\uffff]")
# No number of DynamoDB's has more digits: 38 significant ones, exponents to 125.
_INTEGER_DIGITS_MAX = 128
# An int of more may be refused (sys.set_int_max_str_digits, 4,300 by default); a Decimal may have them.
_INTEGER_DIGITS_READ = 640
_LONG_INTEGER = re.compile("[0-9]{641}")


class Unbounded(Decimal):
    """A JSON number with an exponent beyond Decimal's: written as it was read, compared as the nearest."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Unbounded:
        digits, exponent = re.split("[eE]", text)
        sign = "-" if digits.startswith("-") else ""
        nearest = f"{sign}1E{MIN_ETINY if exponent.startswith('-') else MAX_EMAX}"
        self = super().__new__(cls, nearest if digits.strip("-0.") else f"{sign}0")
        self.text = text
        return self

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Written:
    """A value that is JSON text already, written in another process."""

    text: str


def number(text: str) -> int | float | Decimal:
    """Read a DynamoDB number; raises ValueError if ``text`` is none."""
    try:
        exact = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"not a number: {text!r}") from None
    if not exact.is_finite():
        raise ValueError(f"not a finite number: {text!r}")
    return reduced(exact)


def reduced(exact: Decimal) -> int | float | Decimal:
    """Return a number as int or float if that is the same number; raises ValueError if it is not finite."""
    if not exact.is_finite():
        raise ValueError(f"{exact} is not JSON")
    if exact.adjusted() < _INTEGER_DIGITS_MAX and exact == exact.to_integral_value():
        return int(exact)
    nearest = float(exact)
    return nearest if Decimal(repr(nearest)) == exact else exact


def loads(text: str) -> Any:
    """Parse JSON; raises ValueError if it is none, NaN and Infinity included, or is nested too deeply."""
    try:
        return json.loads(text, parse_float=_real, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError:
        if not _LONG_INTEGER.search(text):
            raise
    return json.loads(text, parse_int=_integer, parse_float=_real, parse_constant=_refuse)


def dumps(value: Any, *, ascii_only: bool = False) -> str:
    """Serialise compactly, Decimals digit for digit; raises TypeError or ValueError for what is not JSON."""
    try:
        try:
            text = _dumps(value, ascii_only=ascii_only)
        except TypeError:
            text = _with_decimals(value, ascii_only=ascii_only)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return legal(text)


def _dumps(value: Any, *, ascii_only: bool) -> str:
    """Serialise what is JSON; the user's code may have changed what json.JSONEncoder makes of the rest."""
    return json.dumps(
        value, ensure_ascii=ascii_only, allow_nan=False, separators=(",", ":"), default=_refuse_type
    )


def _refuse_type(value: object) -> Any:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def legal(json_text: str) -> str:
    """Escape, inside JSON text, the characters that SQS refuses."""
    return _ILLEGAL.sub(lambda match: f"\\u{ord(match[0]):04x}", json_text)


def _real(text: str) -> float | Decimal:
    try:
        exact = Decimal(text)
    except InvalidOperation:
        return Unbounded(text)
    nearest = float(text)
    return nearest if Decimal(repr(nearest)) == exact else exact


def _integer(text: str) -> int | Decimal:
    return int(text) if len(text) <= _INTEGER_DIGITS_READ else Decimal(text)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _with_decimals(value: Any, *, ascii_only: bool) -> str:
    """Serialise what holds Decimals, which the json module cannot write as numbers."""
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"{value} is not JSON")
        return str(value)
    if isinstance(value, dict):
        members = [
            json.dumps(str(name), ensure_ascii=ascii_only)
            + ":"
            + _with_decimals(member, ascii_only=ascii_only)
            for name, member in value.items()
        ]
        return "{" + ",".join(members) + "}"
    if isinstance(value, list | tuple):
        members = [_with_decimals(member, ascii_only=ascii_only) for member in value]
        return "[" + ",".join(members) + "]"
    return _dumps(value, ascii_only=ascii_only)
