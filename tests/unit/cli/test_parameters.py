"""Options of several commands."""

from __future__ import annotations

import pytest

from fifo_cli.cli.parameters import read_window
from fifo_cli.errors import UsageError


@pytest.mark.parametrize(
    ("since", "until", "text"),
    [
        ("1h", "2h", "is later than --until"),
        ("0s", "1s", "is later than --until"),
        ("2026-01-03", "2026-01-02", "--since 2026-01-03T00:00:00.000Z is later than"),
        ("9999-12-31T23:59:59Z", None, "is in the future"),
        ("-1", None, "--since: not a time: '-1'"),
        ("", None, "--since: not a time: ''"),
        (None, "inf", "--until: not a time: 'inf'"),
    ],
)
def test_a_time_that_can_hold_nothing_is_refused(since: str | None, until: str | None, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        read_window(since, until)


@pytest.mark.parametrize(
    ("since", "until"),
    [(None, None), ("2h", None), (None, "2h"), ("2h", "1h"), ("0s", None), ("2h", "9999-12-31T23:59:59Z")],
)
def test_any_other_time_is_taken(since: str | None, until: str | None) -> None:
    begin, end = read_window(since, until)
    assert ((begin is None), (end is None)) == ((since is None), (until is None))
