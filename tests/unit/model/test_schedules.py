from __future__ import annotations

import pytest

from fifo_cli.model.schedules import check_expression

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
    "cron(5-1 0 1 * ? *)",
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
