"""Durations (``90s``, ``15m``, ``2h``, ``7d``) and instants (ISO 8601, or a duration before now)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

_DURATION = re.compile(r"([0-9]{1,9})(s|m|h|d)")
_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
DURATION_PATTERN = r"^[0-9]{1,9}[smhd]$"


def parse_duration(text: str) -> timedelta:
    """Read ``90s``, ``15m``, ``2h`` or ``7d``; raise ValueError on anything else."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f'not a duration: {text!r}; write "90s", "15m", "2h" or "7d"')
    try:
        return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
    except OverflowError:
        raise ValueError(f"too long a duration: {text!r}") from None


def format_duration(value: timedelta) -> str:
    """Write a duration in the largest unit that holds it exactly: 7d, 36h, 90s."""
    seconds = int(value.total_seconds())
    for unit, size in _SECONDS.items():
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return "0s"


def rough(duration: timedelta) -> str:
    """Write a duration in its two largest units: 2d 3h, 5m 10s."""
    seconds = max(0, int(duration.total_seconds()))
    for (unit, size), (smaller_unit, smaller) in pairwise(_SECONDS.items()):
        if seconds >= size:
            rest = seconds % size // smaller
            return f"{seconds // size}{unit}" + (f" {rest}{smaller_unit}" if rest else "")
    return f"{seconds}s"


def parse_instant(text: str, *, now: datetime) -> datetime:
    """Read an ISO 8601 time, or a duration before ``now``; raise ValueError on anything else.

    A time without an offset is UTC, as everything this program prints.
    """
    if _DURATION.fullmatch(text.strip()):
        try:
            return now - parse_duration(text)
        except OverflowError:
            raise ValueError(f"too long ago: {text!r}") from None
    try:
        instant = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(
            f'not a time: {text!r}; write ISO 8601 ("2026-01-02T03:04:05Z") or a duration ("2h" ago)'
        ) from None
    try:
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise ValueError(f"not a time that can be written in UTC: {text!r}") from None


def from_iso(text: Any) -> datetime | None:
    """Read what another program wrote as ISO 8601, without an offset as UTC; None if it is anything else."""
    try:
        instant = datetime.fromisoformat(text)
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
    except (
        TypeError,
        ValueError,
        OverflowError,
    ):  # in UTC, the first and last hours of the calendar overflow
        return None


def iso(instant: datetime) -> str:
    """Write an instant in ISO 8601, UTC, milliseconds."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_epoch_ms(milliseconds: int) -> datetime:
    """Turn SQS's and CloudWatch's epoch milliseconds into an instant."""
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
