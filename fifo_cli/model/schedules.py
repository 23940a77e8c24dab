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
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import cache
from itertools import pairwise
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from fifo_cli.model.limits import SCHEDULE_EXPRESSION_MAX

# A run that is late by more than this is not worth having: the next one does its work (Lambda's minimum).
RUN_AGE_SECONDS: Final = 60
_RATE: Final = re.compile(r"rate\(([0-9]{1,12}) (minute|minutes|hour|hours|day|days)\)")
# AWS documents no longest rate. This one is beyond any use and within every calendar.
_RATE_MAX: Final = timedelta(days=36_500)
_CRON: Final = re.compile(r"cron\(([^()]*)\)")
_DIGITS: Final = re.compile(r"[0-9]{1,4}")
_UNITS: Final = {"minute": 60, "hour": 3_600, "day": 86_400}
_MONTHS: Final = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_WEEKDAYS: Final = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]


class _Field(NamedTuple):
    """One field of cron: its numbers, and the names that stand for them in their order."""

    name: str
    low: int
    high: int
    names: Sequence[str] = ()
    takes_steps: bool = True

    def number(self, text: str) -> int | None:
        """Return a value as a number, or None if it is out of range or not a value at all."""
        if text in self.names:
            return self.low + self.names.index(text)
        value = int(text) if _DIGITS.fullmatch(text) else -1
        return value if self.low <= value <= self.high else None

    def values(self, part: str) -> frozenset[int]:
        """Return the values of ``*``, ``5``, ``1-5``, ``20-2`` (over the end), and each of them with a step.

        Raises ValueError, naming the fault, for any other part.
        """
        base, slash, step = part.upper().partition("/")
        if slash and not (self.takes_steps and _DIGITS.fullmatch(step) and 0 < int(step) <= self.high):
            raise ValueError(f"cron without a step like {part!r} in {self.name}")
        low, dash, high = base.partition("-")
        first = self.low if base == "*" else self.number(low)
        to_the_end = base == "*" or (slash and not dash)
        last = self.high if to_the_end else self.number(high if dash else low)
        if first is None or last is None:
            hint = f" or {self.names[0]}-{self.names[-1]}" if self.names else ""
            raise ValueError(f"cron with {self.name} from {self.low} to {self.high}{hint}, not {part!r}")
        if first > last and self.name == "year":
            raise ValueError(f"cron whose years run forwards, not {part!r}")
        size = self.high - self.low + 1
        values = range(first, last + 1 + size * (last < first), int(step or 1))
        return frozenset((value - self.low) % size + self.low for value in values)


_MINUTE: Final = _Field("minutes", 0, 59)
_HOUR: Final = _Field("hours", 0, 23)
_MONTH_DAY: Final = _Field("day-of-month", 1, 31)
_MONTH: Final = _Field("month", 1, 12, _MONTHS)
_WEEKDAY: Final = _Field("day-of-week", 1, 7, _WEEKDAYS, takes_steps=False)
_YEAR: Final = _Field("year", 1970, 2199)
_DayTest = Callable[[date], bool]


class _Cron(NamedTuple):
    """A cron expression taken apart; ``minutes`` counts from midnight, ``days`` are its parts about days."""

    minutes: tuple[int, ...]
    months: frozenset[int]
    years: frozenset[int]
    days: tuple[_DayTest, ...]

    def runs_on(self, day: date) -> bool:
        return day.month in self.months and day.year in self.years and any(test(day) for test in self.days)


# Weekdays and leap years come round after 28 years (until 2100), so one such stretch shows every gap. It is
# fixed, so that a deploy tomorrow finds the same longest gap as today's.
_STRETCH: Final = (date(2024, 1, 1), date(2052, 1, 1))


def check_expression(expression: str) -> None:
    """Raise ValueError, naming the fault, unless EventBridge would take this expression."""
    if len(expression) > SCHEDULE_EXPRESSION_MAX:
        raise ValueError(
            f"an expression of at most {SCHEDULE_EXPRESSION_MAX} characters, not {len(expression)}:"
            " use ranges and steps, or several expressions"
        )
    if expression.startswith("rate("):
        _rate(expression)
    elif expression.startswith("cron("):
        _cron(expression)
    else:
        raise ValueError('"rate(5 minutes)" or "cron(0 18 ? * MON-FRI *)"')


def longest_gap(expressions: Sequence[str], timezone: str | None) -> timedelta | None:
    """Return the longest time between two runs in a row, or None if there are not two.

    The runs of all cron expressions are taken together. A rate starts at a moment of AWS's choosing, so it
    only bounds the gap by itself. In a time zone an hour that is skipped in spring skips its runs, as
    EventBridge Scheduler does.
    """
    rates = [rate for one in expressions if (rate := rate_of(one)) is not None]
    crons = [_cron(one) for one in expressions if one.startswith("cron(")]
    gaps = [*rates, *([gap] if (gap := _longest_cron_gap(crons, timezone)) is not None else [])]
    return min(gaps, default=None)


def zone_of(timezone: str | None) -> tzinfo:
    """Return the time zone in which expressions are meant: UTC, unless one is given."""
    return ZoneInfo(timezone) if timezone else UTC


def next_runs(
    expressions: Sequence[str], timezone: str | None, *, after: datetime, count: int
) -> tuple[datetime, ...]:
    """Return the next runs of the cron expressions, in UTC; those of a rate only AWS knows."""
    zone = zone_of(timezone)
    crons = [_cron(one) for one in expressions if one.startswith("cron(")]
    first = after.astimezone(zone).date()
    found: list[datetime] = []
    # A leap day is eight years away at most, of which 1900 and 2100 are to blame.
    for day in _days(first, first + timedelta(days=8 * 366)) if crons else ():
        found += [run for run in _runs(day, crons, zone) if run > after]
        if len(found) >= count:
            break
    return tuple(sorted(found)[:count])


def rate_of(expression: str) -> timedelta | None:
    """Return the period of a ``rate(...)``; None for cron."""
    return _rate(expression) if expression.startswith("rate(") else None


def _rate(expression: str) -> timedelta:
    match = _RATE.fullmatch(expression)
    if match is None:
        raise ValueError("a rate of a number and minute(s), hour(s) or day(s), such as rate(5 minutes)")
    value, unit = int(match[1]), match[2].rstrip("s")
    if value < 1:
        raise ValueError("a rate of at least 1 minute")
    right = unit if value == 1 else f"{unit}s"
    if match[2] != right:
        raise ValueError(f"rate({value} {right}): the unit of {value} is {right}")
    seconds = value * _UNITS[unit]
    if seconds > _RATE_MAX.total_seconds():
        raise ValueError(f"a rate of {_RATE_MAX.days:,} days at most")
    return timedelta(seconds=seconds)


@cache
def _cron(expression: str) -> _Cron:
    match = _CRON.fullmatch(expression)
    texts = match[1].split() if match else []
    if len(texts) != 6:
        raise ValueError(
            f"cron with six fields (minutes hours day-of-month month day-of-week year), not {len(texts)}"
        )
    minute, hour, month_day, month, weekday, year = texts
    minutes, hours = _values(_MINUTE, minute), _values(_HOUR, hour)
    days = [*_days_of(_MONTH_DAY, month_day, _special_month_day)]
    months = _values(_MONTH, month)
    days += _days_of(_WEEKDAY, weekday, _special_weekday)
    years = _values(_YEAR, year)
    if (month_day == "?") == (weekday == "?"):
        raise ValueError("a cron expression in which exactly one of day-of-month and day-of-week is ?")
    times = tuple(sorted(60 * one + other for one in hours for other in minutes))
    return _Cron(times, months, years, tuple(days))


def _values(field: _Field, text: str) -> frozenset[int]:
    return frozenset(value for part in text.split(",") for value in field.values(part))


def _days_of(field: _Field, text: str, special: Callable[[str], _DayTest | None]) -> Iterator[_DayTest]:
    """Yield a test for each part of a field of days; none for ``?``, which leaves it to the other field."""
    parts = text.split(",")
    for part in parts:
        test = special(part.upper())
        if (test or part == "?") and len(parts) > 1:
            raise ValueError(
                f"cron whose {field.name} hold ?, L, W or # alone, not in a list such as {text!r}"
            )
        if part != "?":
            yield test or _is_one_of(field, field.values(part))


def _is_one_of(field: _Field, values: frozenset[int]) -> _DayTest:
    return lambda day: (_weekday(day) if field is _WEEKDAY else day.day) in values


def _special_month_day(part: str) -> _DayTest | None:
    """Return a test for ``L``, ``LW`` and ``3W``; None for any other part."""
    if part == "L":
        return lambda day: day == _last_of_month(day)
    if part == "LW":
        return lambda day: day == _nearest_working_day(_last_of_month(day))
    number = _MONTH_DAY.number(part[:-1]) if part.endswith("W") else None
    if number is None:
        return None
    return lambda day: (
        number <= _last_of_month(day).day and day == _nearest_working_day(day.replace(day=number))
    )


def _special_weekday(part: str) -> _DayTest | None:
    """Return a test for ``L`` (Saturday), ``6L`` (the month's last) and ``6#2`` (its second); None else."""
    if part == "L":
        return lambda day: _weekday(day) == 7
    if part.endswith("L") and (last := _WEEKDAY.number(part[:-1])):
        return lambda day: _weekday(day) == last and day.day + 7 > _last_of_month(day).day
    name, _, nth = part.partition("#")
    if nth in ("1", "2", "3", "4", "5") and (number := _WEEKDAY.number(name)):
        return lambda day: _weekday(day) == number and (day.day - 1) // 7 + 1 == int(nth)
    return None


def _weekday(day: date) -> int:
    """Return the number of a weekday as EventBridge counts: 1 is Sunday."""
    return day.isoweekday() % 7 + 1


def _last_of_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1) - timedelta(days=1)


def _nearest_working_day(day: date) -> date:
    """Return the day from Monday to Friday that is nearest to a day, within its month."""
    if day.isoweekday() == 6:
        return day - timedelta(days=1) if day.day > 1 else day + timedelta(days=2)
    if day.isoweekday() == 7:
        return day + timedelta(days=1) if day < _last_of_month(day) else day - timedelta(days=2)
    return day


def _days(first: date, end: date) -> Iterator[date]:
    return (first + timedelta(days=number) for number in range((end - first).days))


def _runs(day: date, crons: Iterable[_Cron], zone: tzinfo) -> list[datetime]:
    """Return the runs of one local day in UTC; a time that the day does not have is skipped."""
    minutes = {minute for cron in crons if cron.runs_on(day) for minute in cron.minutes}
    midnight = datetime(day.year, day.month, day.day)
    # A time that comes twice runs once, the first time (fold 0); one that is skipped comes back as another.
    local = [midnight + timedelta(minutes=minute) for minute in sorted(minutes)]
    instants = [(wanted, wanted.replace(tzinfo=zone).astimezone(UTC)) for wanted in local]
    return [run for wanted, run in instants if run.astimezone(zone).replace(tzinfo=None) == wanted]


def _longest_cron_gap(crons: Sequence[_Cron], timezone: str | None) -> timedelta | None:
    """Return the longest gap in the stretch; of a usual day only the first and the last run are looked at."""
    zone = zone_of(timezone)
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
                inner[key] = _longest(_runs(day, today, UTC))
            within = inner[key]
        if runs:
            longest = max(longest, within, runs[0] - (previous or runs[0]))
            previous = runs[-1]
    return longest or None


def _longest(runs: Sequence[datetime]) -> timedelta:
    return max((two - one for one, two in pairwise(runs)), default=timedelta(0))


def _changes_clocks(day: date, zone: tzinfo) -> bool:
    if zone is UTC:
        return False
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    return midnight.utcoffset() != (midnight + timedelta(days=1)).utcoffset()


def _edges(day: date, crons: Sequence[_Cron], zone: tzinfo) -> list[datetime]:
    """Return the first and the last run of a day on which the clocks do not change."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
    first = min(cron.minutes[0] for cron in crons)
    last = max(cron.minutes[-1] for cron in crons)
    return [midnight + timedelta(minutes=first), midnight + timedelta(minutes=last)]
