from __future__ import annotations

import calendar
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fifo_cli.model.schedules import check_expression, next_runs

# From the EventBridge User Guide, "Creating a scheduled rule", and of our own.
GOOD = [
    "rate(1 minute)",
    "rate(5 minutes)",
    "rate(1 hour)",
    "rate(7 days)",
    "cron(0 10 * * ? *)",
    "cron(15 12 * * ? *)",
    "cron(0 18 ? * MON-FRI *)",
    "cron(0 8 1 * ? *)",
    "cron(0/10 * ? * MON-FRI *)",
    "cron(0/5 8-17 ? * MON-FRI *)",
    "cron(0 9 ? * 2#1 *)",
    "cron(0 9 ? * FRI#2 *)",
    "cron(0 9 L * ? *)",
    "cron(0 9 LW * ? *)",
    "cron(0 9 3W * ? *)",
    "cron(0 9 ? * 6L *)",
    "cron(0,30 9 ? JAN,JUL SUN 2026-2030)",
    "cron(0 9 ? * L *)",
    "cron(*/15 * * * ? *)",
    "cron(0/30 20-2 ? * MON-FRI *)",
    "cron(0 20 ? * MON-SUN *)",
    "cron(50-10/5 * * * ? *)",
    "cron(0 9 28-3 * ? *)",
    "cron(0 9 ? NOV-FEB FRI-MON *)",
    "cron(0 9 ? * mon-fri *)",
    "cron(0 9 ? * 7-2 2026-2030)",
    "cron(0 9 ? * 5L *)",
    "cron(0 9 1 3-JUL,9 ? *)",
    "cron(0/59 0/23 1/31 1/12 ? 2026/2)",
    "rate(525600 minutes)",
    "rate(36500 days)",
]
BAD = [
    "",
    "every minute",
    "rate(0 minutes)",
    "rate(1 minutes)",
    "rate(2 minute)",
    "rate(5 seconds)",
    "rate(5minutes)",
    "rate(-1 minutes)",
    "cron(0 10 * * ?)",
    "cron(0 10 * * * *)",
    "cron(0 10 ? * ? *)",
    "cron(60 10 * * ? *)",
    "cron(0 24 * * ? *)",
    "cron(0 0 0 * ? *)",
    "cron(0 0 32 * ? *)",
    "cron(0 0 1 13 ? *)",
    "cron(0 0 ? * 0 *)",
    "cron(0 0 ? * 8 *)",
    "cron(0 0 ? * MON#6 *)",
    "cron(0 0 ? * MON/2 *)",
    "cron(0 0 1 * ? 1969)",
    "cron(0 0 1 * ? 2030-2026)",
    "cron(0 0 ?,1 * ? *)",
    "cron(0 0 1,? * ? *)",
    "cron(0 0 L,15 * ? *)",
    "cron(0 0 LW,3 * ? *)",
    "cron(0 0 1W,15W * ? *)",
    "cron(0 0 ? * MON,6L *)",
    "cron(0 0 ? * 3#1,6#3 *)",
    "cron(0 0 ? * L,MON *)",
    "cron(*/60 * * * ? *)",
    "cron(0 0/24 * * ? *)",
    "cron(0 0 1/32 * ? *)",
    "cron(0 0 1 1/13 ? *)",
    "cron(/5 * * * ? *)",
    "cron(0/\u00b2 0 1 * ? *)",
    "cron(0/\u0665 0 1 * ? *)",
    "cron(0 0 ? * MON#\u00b2 *)",
    "cron(0 0 L-3 * ? *)",
    "cron(0 0 W * ? *)",
    "cron(0 0 1, * ? *)",
    f"cron({'9' * 5_000} 0 1 * ? *)",
    f"cron(0/{'9' * 5_000} 0 1 * ? *)",
    "rate(\u0665 minutes)",
    "rate(99999999999 days)",
    "rate(36501 days)",
    f"rate({'9' * 5_000} minutes)",
    "rate(5 minutes)\n",
    "cron(0/0 0 1 * ? *)",
    "cron(0 0 1W-3W * ? *)",
    "cron(a 0 1 * ? *)",
    "cron(0 0 ? * MON *",
    "cron(\u0661 0 1 * ? *)",
    "at(2026-01-01T00:00:00)",
]


@pytest.mark.parametrize("expression", GOOD)
def test_what_eventbridge_takes_is_taken(expression):
    check_expression(expression)


@pytest.mark.parametrize("expression", BAD)
def test_what_eventbridge_refuses_is_refused(expression):
    with pytest.raises(ValueError, match=r"\w"):
        check_expression(expression)


FIELDS = {
    "minutes": ["*", "0", "7,43", "0/25", "*/17", "50-10", "55-5/3", "59"],
    "hours": ["*", "3", "20-2", "22-4/3", "0/7", "9-17"],
    "days": ["*", "1", "28-3", "31", "L", "LW", "15W", "1W", "30W", "1/9", "5,20"],
    "months": ["*", "NOV-FEB", "2", "JAN,JUL", "1/5", "11-2/2"],
    "weekdays": ["*", "MON-FRI", "MON-SUN", "FRI-MON", "7-2", "1", "L", "5L", "SAT#3", "2#1", "mon,wed"],
    "years": ["*", "2027", "2027-2028", "2026/2"],
}


@given(
    st.fixed_dictionaries({name: st.sampled_from(parts) for name, parts in FIELDS.items()}),
    st.booleans(),
    st.datetimes(datetime(2026, 1, 1), datetime(2028, 12, 1)),
)
def test_the_next_runs_are_those_of_every_minute_looked_at(chosen, by_weekday, moment):
    days, weekdays = ("?", chosen["weekdays"]) if by_weekday else (chosen["days"], "?")
    fields = (chosen["minutes"], chosen["hours"], days, chosen["months"], weekdays, chosen["years"])
    expression = f"cron({' '.join(fields)})"
    check_expression(expression)
    after = moment.replace(tzinfo=UTC)
    found = next_runs([expression], None, after=after, count=3)
    assert found == tuple(sorted(found))
    until = min([*found[2:], after + timedelta(days=3)])
    expected = [run for run in due(fields, after.date(), until.date()) if after < run <= until]
    assert [run for run in found if run <= until] == expected[:3]


def due(fields: Sequence[str], first: date, last: date) -> Iterator[datetime]:
    """Yield the runs of some days, worked out from each field by itself."""
    minutes, hours = sorted(values(fields[0], 0, 59)), sorted(values(fields[1], 0, 23))
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        if is_due(fields, day):
            yield from (
                datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)
                for hour in hours
                for minute in minutes
            )


def is_due(fields: Sequence[str], day: date) -> bool:
    """Say whether an expression runs on a day, by its fields as Quartz's documents describe them."""
    _, _, days, months, weekdays, years = fields
    last = calendar.monthrange(day.year, day.month)[1]
    return (
        day.month in values(months, 1, 12)
        and day.year in values(years, 1970, 2199)
        and (days == "?" or is_day(days, day, last))
        and (weekdays == "?" or is_weekday(weekdays.upper(), day, last))
    )


NAMES = {
    **{name.upper(): n for n, name in enumerate(calendar.month_abbr) if name},
    **{name: n for n, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)},
}


def values(field: str, low: int, high: int) -> set[int]:
    found = set()
    for part in field.upper().split(","):
        base, _, step = part.partition("/")
        ends = [NAMES.get(end) or int(end) for end in base.split("-")] if base != "*" else [low, high]
        first, end = ends[0], ends[-1] if len(ends) > 1 else (high if step else ends[0])
        value, counted = first, 0
        while True:
            if counted % int(step or 1) == 0:
                found.add(value)
            if value == end:
                break
            value, counted = (low if value == high else value + 1), counted + 1
    return found


def is_day(days: str, today: date, last: int) -> bool:
    workdays = [d for d in range(1, last + 1) if date(today.year, today.month, d).isoweekday() < 6]
    if days == "L":
        return today.day == last
    if days == "LW":
        return today.day == workdays[-1]
    if days.endswith("W"):
        wanted = int(days[:-1])
        return wanted <= last and today.day == min(workdays, key=lambda day: abs(day - wanted))
    return today.day in values(days, 1, 31)


def is_weekday(weekdays: str, today: date, last: int) -> bool:
    number = today.isoweekday() % 7 + 1
    if weekdays == "L":
        return number == 7
    if weekdays.endswith("L"):
        return number == int(weekdays[:-1]) and today.day > last - 7
    if "#" in weekdays:
        name, _, nth = weekdays.partition("#")
        return number in values(name, 1, 7) and -(-today.day // 7) == int(nth)
    return number in values(weekdays, 1, 7)
