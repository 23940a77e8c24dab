"""CloudWatch Logs: the events of a log group in order of time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from fifo_cli.aws.errors import calling, is_missing

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One event as CloudWatch keeps it; ``time`` is in epoch milliseconds."""

    id: str
    time: int
    text: str


class MissingLogGroup(Exception):
    """The log group does not exist, because its function never ran or is not deployed."""


def get_log_events(aws: Aws, group: str, *, since: datetime, text: str = "") -> Iterator[LogEvent]:
    """Read a group's events from ``since`` on, those that contain ``text``, page by page.

    FilterLogEvents returns them sorted by time, over all streams (API Reference). Raises MissingLogGroup.
    """
    query: dict[str, Any] = {"logGroupName": group, "startTime": max(0, int(since.timestamp() * 1000))}
    if text:
        query["filterPattern"] = _phrase(text)
    pages = iter(aws.client("logs").get_paginator("filter_log_events").paginate(**query))
    while True:
        with calling(f"log group {group}"):
            try:
                page = next(pages, None)
            except ClientError as error:
                if is_missing(error):
                    raise MissingLogGroup(group) from None
                raise
        if page is None:
            return
        for event in page["events"]:
            # Without an id (emulators) time and text tell events apart as well as they can be.
            identity = event.get("eventId") or f"{event['timestamp']}:{event['message']}"
            if text in event["message"]:
                yield LogEvent(identity, event["timestamp"], event["message"])


def _phrase(text: str) -> str:
    """Quote a text as a filter pattern that matches it as a phrase (User Guide, "Filter pattern syntax")."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
