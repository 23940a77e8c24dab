"""redrive --since and --until: by when a message was parked, else by when it was sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fifo_cli.operations.transfer.message_filter import MessageFilter
from tests.unit.render.samples import message

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("park_at", "sent", "since", "until", "wanted"),
    [
        ("2026-01-02T12:00:00Z", NOON - HOUR, NOON, None, True),  # at the very moment
        ("2026-01-02T12:00:00Z", NOON - HOUR, None, NOON, False),
        ("2026-01-02T11:59:59.999Z", NOON + HOUR, NOON, None, False),  # sent_at does not count then
        ("2026-01-02T11:59:59.999Z", NOON + HOUR, None, NOON, True),
        (None, NOON, NOON, None, True),
        (None, NOON, NOON, NOON, False),
        (None, NOON, NOON, NOON + HOUR, True),
        (None, NOON - HOUR, NOON, NOON + HOUR, False),
        ("2026-01-02T13:00:00+01:00", NOON - HOUR, NOON, None, True),  # another zone
        ("not a time", NOON, NOON, None, True),
        ("", NOON - HOUR, NOON, None, False),
        (None, None, NOON, None, False),  # nobody knows
    ],
)
def test_a_message_is_in_time(
    park_at: str | None, sent: datetime | None, since: datetime | None, until: datetime | None, wanted: bool
) -> None:
    found = replace(message(**({} if park_at is None else {"park_at": park_at})), sent_at=sent)
    chosen = MessageFilter(since=since, until=until)
    assert chosen(found) is wanted
    assert not chosen.everything
    assert MessageFilter(since=since, until=until, group="other")(found) is False
