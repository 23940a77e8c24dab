"""Values for renderers."""

from __future__ import annotations

from datetime import UTC, datetime

from fifo_cli.model.message import Attribute, Message


def message(body: str = "{}", *, message_id: str | None = None, group: str = "g", **texts: str) -> Message:
    """Return a message of the DLQ, with text attributes."""
    return Message(
        message_id=message_id or f"id-{body}",
        group=group,
        dedup_id="d",
        sequence_number="1",
        queue="dlq",
        sent_at=datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
        first_received_at=None,
        receives=0,
        body=body,
        attributes={name: Attribute("String", text) for name, text in texts.items()},
    )
