"""Options of several commands."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fifo_cli.cli.parameters import past_instant, read_window
from fifo_cli.errors import UsageError

NOW = datetime(2026, 1, 4, 12, tzinfo=UTC)


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
        read_window(since, until, now=NOW)


@pytest.mark.parametrize(
    ("since", "until"),
    [(None, None), ("2h", None), (None, "2h"), ("2h", "1h"), ("0s", None), ("2h", "9999-12-31T23:59:59Z")],
)
def test_any_other_time_is_taken(since: str | None, until: str | None) -> None:
    begin, end = read_window(since, until, now=NOW)
    assert ((begin is None), (end is None)) == ((since is None), (until is None))


@pytest.mark.parametrize("since", ["0001-01-01", "9999d", "1970-01-01"])
def test_a_time_before_every_stream_means_all_there_is(since: str) -> None:
    assert past_instant("--since", since, now=NOW) <= NOW
    assert past_instant("--since", "0001-01-01", now=NOW) == datetime(1970, 1, 1, tzinfo=UTC)
