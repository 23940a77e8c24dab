"""Schedule expressions as EventBridge reads them: ``rate(...)`` and six-field ``cron(...)``.

EventBridge User Guide, "Creating a scheduled rule": rate takes a positive number and a unit that is
singular for 1 only; cron has six fields of which exactly one of day-of-month and day-of-week is ``?``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_RATE = re.compile(r"rate\((\d+) (minute|minutes|hour|hours|day|days)\)")
_CRON = re.compile(r"cron\(([^()]*)\)")
_MONTHS: Final = {
    name: n
    for n, name in enumerate(
        ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"), 1
    )
}
_WEEKDAYS: Final = {name: n for n, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)}


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: dict[str, int]
    wildcards: str


_FIELDS: Final = (
    _Field("minutes", 0, 59, {}, "*/"),
    _Field("hours", 0, 23, {}, "*/"),
    _Field("day-of-month", 1, 31, {}, "*/?LW"),
    _Field("month", 1, 12, _MONTHS, "*/"),
    _Field("day-of-week", 1, 7, _WEEKDAYS, "*?L#"),
    _Field("year", 1970, 2199, {}, "*/"),
)


def check_expression(expression: str) -> None:
    """Raise ValueError, naming the fault, unless EventBridge would take this expression."""
    if expression.startswith("rate("):
        _check_rate(expression)
    elif expression.startswith("cron("):
        _check_cron(expression)
    else:
        raise ValueError('"rate(5 minutes)" or "cron(0 18 ? * MON-FRI *)"')


def _check_rate(expression: str) -> None:
    match = _RATE.fullmatch(expression)
    if match is None:
        raise ValueError("a rate of a number and minute(s), hour(s) or day(s), such as rate(5 minutes)")
    value, unit = int(match[1]), match[2]
    if value < 1:
        raise ValueError("a rate of at least 1 minute")
    if (value == 1) == unit.endswith("s"):
        right = unit.rstrip("s") if value == 1 else f"{unit}s"
        raise ValueError(f"rate({value} {right}): the unit of {value} is {right}")


def _check_cron(expression: str) -> None:
    match = _CRON.fullmatch(expression)
    values = match[1].split() if match else []
    if len(values) != len(_FIELDS):
        raise ValueError(
            f"cron with six fields (minutes hours day-of-month month day-of-week year), not {len(values)}"
        )
    for field, value in zip(_FIELDS, values, strict=True):
        for part in value.split(","):
            _check_part(field, part)
    if (values[2] == "?") == (values[4] == "?"):
        raise ValueError("a cron expression in which exactly one of day-of-month and day-of-week is ?")


def _check_part(field: _Field, part: str) -> None:
    upper = part.upper()
    if upper in ("*", "?") and upper in field.wildcards:
        return
    if "L" in field.wildcards and _is_last(field, upper):
        return
    if "W" in field.wildcards and upper.endswith("W") and _number(field, upper[:-1]) is not None:
        return
    if "#" in field.wildcards and "#" in upper:
        day, _, nth = upper.partition("#")
        if _number(field, day) is not None and nth in ("1", "2", "3", "4", "5"):
            return
    base, slash, step = upper.partition("/")
    if slash and ("/" not in field.wildcards or not step.isdigit() or int(step) < 1):
        raise ValueError(f"cron whose {field.name} hold no step like {part!r}")
    if base == "*" and slash:
        return
    low, dash, high = base.partition("-")
    first, last = _number(field, low), _number(field, high if dash else low)
    if first is None or last is None:
        raise ValueError(
            f"cron whose {field.name} lie within {field.low}-{field.high}{_hint(field)}, not {part!r}"
        )
    if first > last:
        raise ValueError(f"cron whose {field.name} run forwards, not {part!r}")


def _is_last(field: _Field, value: str) -> bool:
    if value == "L" or (field.name == "day-of-month" and value == "LW"):
        return True
    return field.name == "day-of-week" and value.endswith("L") and _number(field, value[:-1]) is not None


def _number(field: _Field, text: str) -> int | None:
    """Return a field's value as a number, or None if it is out of range or no value at all."""
    value = field.names.get(text, int(text) if text.isascii() and text.isdigit() else -1)
    return value if field.low <= value <= field.high else None


def _hint(field: _Field) -> str:
    return f" or {next(iter(field.names))}-{list(field.names)[-1]}" if field.names else ""
