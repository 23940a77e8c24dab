"""Schedule expressions as EventBridge reads them: ``rate(...)`` and six-field ``cron(...)``.

EventBridge User Guide, "Creating a scheduled rule": rate takes a positive number and a unit that is
singular for 1 only; cron has six fields of which exactly one of day-of-month and day-of-week is ``?``.
The fields are read as Quartz reads them, whose form EventBridge took over: a range may run over the end
(``20-2``, ``FRI-MON``), but not of years; a step is not longer than its field (``*/60`` minutes are refused);
``L``, ``W``, ``#`` and ``?`` stand alone. Parsers of Unix cron (cronsim, croniter) read five fields, count
weekdays from 0 and do not know years, so the runs are worked out here too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from fifo_cli.model.limits import SCHEDULE_EXPRESSION_MAX

# A run that is late by more than this is not worth having: the next one does its work (Lambda's minimum).
RUN_AGE_SECONDS: Final = 60
_RATE = re.compile(r"rate\(([0-9]{1,12}) (minute|minutes|hour|hours|day|days)\)")
# AWS documents no longest rate. This one is beyond any use and within every calendar.
_RATE_MAX: Final = timedelta(days=36_500)
_CRON = re.compile(r"cron\(([^()]*)\)")
_DIGITS: Final = re.compile(r"[0-9]{1,4}")
_MONTHS: Final = {
    name: n
    for n, name in enumerate(
        ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"), 1
    )
}
_UNITS: Final = {"minute": 60, "hour": 3_600, "day": 86_400}
_WEEKDAYS: Final = {name: n for n, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)}


@dataclass(frozen=True, slots=True, eq=False)
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
    if len(expression) > SCHEDULE_EXPRESSION_MAX:
        raise ValueError(
            f"an expression of at most {SCHEDULE_EXPRESSION_MAX} characters, not {len(expression)}:"
            " use ranges and steps, or several expressions"
        )
    if expression.startswith("rate("):
        _check_rate(expression)
    elif expression.startswith("cron("):
        _check_cron(expression)
    else:
        raise ValueError('"rate(5 minutes)" or "cron(0 18 ? * MON-FRI *)"')


def longest_gap(expressions: Sequence[str], timezone: str | None) -> timedelta | None:
    """Return the longest time between two runs in a row, or None if there are not two.

    The runs of all cron expressions are taken together. A rate starts at a moment of AWS's choosing, so it
    only bounds the gap by itself. In a time zone an hour that is skipped in spring skips its runs, as
    EventBridge Scheduler does.
    """
    rates = [_rate(one) for one in expressions if one.startswith("rate(")]
    crons = [_parse(one) for one in expressions if one.startswith("cron(")]
    gaps = [*rates, *([gap] if (gap := _longest_cron_gap(crons, timezone)) is not None else [])]
    return min(gaps, default=None)


def next_runs(
    expressions: Sequence[str], timezone: str | None, *, after: datetime, count: int
) -> tuple[datetime, ...]:
    """Return the next runs of the cron expressions, in UTC; those of a rate only AWS knows."""
    zone = ZoneInfo(timezone) if timezone else None
    crons = [_parse(one) for one in expressions if one.startswith("cron(")]
    first = (after.astimezone(zone) if zone else after.astimezone(UTC)).date()
    found: list[datetime] = []
    # A leap day is eight years away at most, of which 1900 and 2100 are to blame.
    for day in _days(first, first + timedelta(days=8 * 366)) if crons else ():
        found += [run for run in _runs(day, crons, zone) if run > after]
        if len(found) >= count:
            break
    return tuple(sorted(found)[:count])


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
    if value * _UNITS[unit.rstrip("s")] > _RATE_MAX.total_seconds():
        raise ValueError(f"a rate of {_RATE_MAX.days:,} days at most")


def _check_cron(expression: str) -> None:
    match = _CRON.fullmatch(expression)
    values = match[1].split() if match else []
    if len(values) != len(_FIELDS):
        raise ValueError(
            f"cron with six fields (minutes hours day-of-month month day-of-week year), not {len(values)}"
        )
    for field, value in zip(_FIELDS, values, strict=True):
        parts = value.split(",")
        for part in parts:
            _check_part(field, part)
        if len(parts) > 1 and any(_stands_alone(field, part.upper()) for part in parts):
            raise ValueError(
                f"cron whose {field.name} hold ?, L, W or # alone, not in a list such as {value!r}"
            )
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
    if slash and (
        "/" not in field.wildcards or not _DIGITS.fullmatch(step) or not 0 < int(step) <= field.high
    ):
        raise ValueError(f"cron without a step like {part!r} in {field.name}")
    if base == "*" and slash:
        return
    low, dash, high = base.partition("-")
    first, last = _number(field, low), _number(field, high if dash else low)
    if first is None or last is None:
        raise ValueError(
            f"cron with {field.name} from {field.low} to {field.high}{_hint(field)}, not {part!r}"
        )
    if first > last and field.name == "year":
        raise ValueError(f"cron whose years run forwards, not {part!r}")


def _stands_alone(field: _Field, part: str) -> bool:
    """Whether a part is one that a list may not hold: ?, and days that depend on the month."""
    return part == "?" or "#" in part or (part not in field.names and part.endswith(("L", "W")))


def _is_last(field: _Field, value: str) -> bool:
    if value == "L" or (field.name == "day-of-month" and value == "LW"):
        return True
    return field.name == "day-of-week" and value.endswith("L") and _number(field, value[:-1]) is not None


def _number(field: _Field, text: str) -> int | None:
    """Return a field's value as a number, or None if it is out of range or no value at all."""
    value = field.names.get(text, int(text) if _DIGITS.fullmatch(text) else -1)
    return value if field.low <= value <= field.high else None


def _hint(field: _Field) -> str:
    return f" or {next(iter(field.names))}-{list(field.names)[-1]}" if field.names else ""


@dataclass(frozen=True, slots=True)
class _Cron:
    """A cron expression taken apart; ``minutes`` counts from midnight."""

    minutes: tuple[int, ...]
    months: frozenset[int]
    years: frozenset[int]
    month_days: tuple[str, ...]
    weekdays: tuple[str, ...]

    def runs_on(self, day: date) -> bool:
        if day.month not in self.months or day.year not in self.years:
            return False
        if self.month_days != ("?",):
            return any(_is_month_day(part, day) for part in self.month_days)
        return any(_is_weekday(part, day) for part in self.weekdays)


# Weekdays and leap years come round after 28 years (until 2100), so one such stretch shows every gap. It is
# fixed, lest a deploy tomorrow find another longest gap than today's.
_STRETCH: Final = (date(2024, 1, 1), date(2052, 1, 1))


def _rate(expression: str) -> timedelta:
    match = _RATE.fullmatch(expression)
    if match is None:
        raise ValueError(f"{expression!r} is not a rate")
    return timedelta(**{f"{match[2].rstrip('s')}s": int(match[1])})


@cache
def _parse(expression: str) -> _Cron:
    match = _CRON.fullmatch(expression)
    if match is None:
        raise ValueError(f"{expression!r} is not a cron expression")
    fields = [value.upper().split(",") for value in match[1].split()]
    minutes, hours, _, months, _, years = (
        frozenset(value for part in parts for value in _part_values(field, part))
        if field.name not in ("day-of-month", "day-of-week")
        else frozenset()
        for field, parts in zip(_FIELDS, fields, strict=True)
    )
    times = tuple(sorted(60 * hour + minute for hour in hours for minute in minutes))
    return _Cron(times, months, years, tuple(fields[2]), tuple(fields[4]))


@cache
def _part_values(field: _Field, part: str) -> frozenset[int]:
    """Return the values of ``*``, ``5``, ``1-5``, ``20-2`` (over the end), and each of them with a step."""
    base, _, step = part.partition("/")
    low, dash, high = base.partition("-")
    first = field.low if base == "*" else _number(field, low)
    last = field.high if base == "*" or (step and not dash) else _number(field, high if dash else low)
    if first is None or last is None:
        raise ValueError(f"{part!r} is not a {field.name}")
    size = field.high - field.low + 1
    values = range(first, last + 1 + size * (last < first), int(step or 1))
    return frozenset((value - field.low) % size + field.low for value in values)


def _is_month_day(part: str, day: date) -> bool:
    last = _last_of_month(day)
    if part == "L":
        return day == last
    if part == "LW":
        return day == _nearest_weekday(last)
    if part.endswith("W"):
        wanted = int(part[:-1])
        return wanted <= last.day and day == _nearest_weekday(day.replace(day=wanted))
    return day.day in _part_values(_FIELDS[2], part)


def _is_weekday(part: str, day: date) -> bool:
    field, weekday = _FIELDS[4], day.isoweekday() % 7 + 1  # 1 is Sunday
    if part == "L":
        return weekday == 7
    if part.endswith("L"):
        return weekday == _number(field, part[:-1]) and day.day + 7 > _last_of_month(day).day
    if "#" in part:
        wanted, _, nth = part.partition("#")
        return weekday == _number(field, wanted) and (day.day - 1) // 7 + 1 == int(nth)
    return weekday in _part_values(field, part)


def _last_of_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1) - timedelta(days=1)


def _nearest_weekday(day: date) -> date:
    """Return the weekday (Monday to Friday) nearest to a day, within its month."""
    if day.isoweekday() == 6:
        return day - timedelta(days=1) if day.day > 1 else day + timedelta(days=2)
    if day.isoweekday() == 7:
        return day + timedelta(days=1) if day < _last_of_month(day) else day - timedelta(days=2)
    return day


def _days(first: date, end: date) -> Iterator[date]:
    return (first + timedelta(days=number) for number in range((end - first).days))


def _runs(day: date, crons: Iterable[_Cron], zone: ZoneInfo | None) -> list[datetime]:
    """Return the runs of one local day in UTC; a time that the day does not have is skipped."""
    minutes = {minute for cron in crons if cron.runs_on(day) for minute in cron.minutes}
    midnight = datetime(day.year, day.month, day.day)
    if zone is None:
        return [(midnight + timedelta(minutes=minute)).replace(tzinfo=UTC) for minute in sorted(minutes)]
    # A time that comes twice runs once, the first time (fold 0); one that is skipped comes back as another.
    local = [midnight + timedelta(minutes=minute) for minute in sorted(minutes)]
    instants = [(wanted, wanted.replace(tzinfo=zone).astimezone(UTC)) for wanted in local]
    return [run for wanted, run in instants if run.astimezone(zone).replace(tzinfo=None) == wanted]


def _longest_cron_gap(crons: Sequence[_Cron], timezone: str | None) -> timedelta | None:
    """Return the longest gap in the stretch; of a usual day only the first and the last run are looked at."""
    zone = ZoneInfo(timezone) if timezone else None
    inner: dict[tuple[int, ...], timedelta] = {}
    longest, previous = timedelta(0), None
    for day in _days(*_STRETCH) if crons else ():
        key = tuple(number for number, cron in enumerate(crons) if cron.runs_on(day))
        if not key:
            continue
        today = [crons[number] for number in key]
        if _changes_clocks(day, zone):
            runs = _runs(day, today, zone)
            within = _longest(runs)
        else:
            runs = _edges(day, today, zone)
            if key not in inner:
                inner[key] = _longest(_runs(day, today, None))
            within = inner[key]
        if runs:
            longest = max(longest, within, runs[0] - (previous or runs[0]))
            previous = runs[-1]
    return longest or None


def _longest(runs: Sequence[datetime]) -> timedelta:
    return max((two - one for one, two in pairwise(runs)), default=timedelta(0))


def _changes_clocks(day: date, zone: ZoneInfo | None) -> bool:
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    return zone is not None and midnight.utcoffset() != (midnight + timedelta(days=1)).utcoffset()


def _edges(day: date, crons: Sequence[_Cron], zone: ZoneInfo | None) -> list[datetime]:
    """Return the first and the last run of a day on which the clocks do not change."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone or UTC).astimezone(UTC)
    first = min(cron.minutes[0] for cron in crons)
    last = max(cron.minutes[-1] for cron in crons)
    return [midnight + timedelta(minutes=first), midnight + timedelta(minutes=last)]
