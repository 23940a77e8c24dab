from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fifo_cli.model.times import (
    format_duration,
    from_epoch_ms,
    from_iso,
    iso,
    parse_duration,
    parse_instant,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@given(st.integers(0, 10**8))
def test_a_duration_is_read_as_it_was_written(seconds):
    assert parse_duration(format_duration(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "5 m", "-5m", "1.5h", "5w", "m", "5mm", "\u0665m", "9" * 30 + "d"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("1h", NOW - timedelta(hours=1)),
        ("2026-01-01", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01T10:00:00Z", datetime(2026, 1, 1, 10, tzinfo=UTC)),
        ("2026-01-01T10:00:00", datetime(2026, 1, 1, 10, tzinfo=UTC)),
        ("2026-01-01T10:00:00.5+02:00", datetime(2026, 1, 1, 8, 0, 0, 500_000, tzinfo=UTC)),
    ],
)
def test_an_instant_is_iso_8601_or_so_long_ago(text, instant):
    assert parse_instant(text, now=NOW) == instant


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "999999999d", "10:00"])
def test_what_is_no_instant_is_refused(text):
    with pytest.raises(ValueError, match=r"time|long"):
        parse_instant(text, now=NOW)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-01-01T10:00:00+02:00", datetime(2026, 1, 1, 8, tzinfo=UTC)),
        ("2026-01-01T10:00:00", datetime(2026, 1, 1, 10, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59.999999-14:00", None),
        ("yesterday", None),
        ("", None),
        (1_767_323_045, None),
        (None, None),
    ],
)
def test_a_time_of_another_program_is_an_instant_that_can_be_written(text, instant):
    found = from_iso(text)
    assert found == instant
    assert found is None or iso(found).endswith("Z")


def test_times_are_written_in_utc_with_milliseconds():
    assert (
        iso(datetime(2026, 1, 1, 12, 0, 0, 123_456, tzinfo=timezone(timedelta(hours=2))))
        == "2026-01-01T10:00:00.123Z"
    )
    assert iso(from_epoch_ms(1_767_323_045_678)) == "2026-01-02T03:04:05.678Z"
