"""CloudWatch Logs: the events of a log group in order of time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from fifo_cli.aws.errors import MISSING, calling

if TYPE_CHECKING:
    from mypy_boto3_logs.type_defs import FilteredLogEventTypeDef

    from fifo_cli.aws.session import Aws


# A page has 10,000 events or 1 MB at most (API Reference, FilterLogEvents), which is some 3,000 of our lines.
# Emulators know no limit of bytes, and all of a page is in memory.
_PAGE_EVENTS: Final = 3_000


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One event as CloudWatch keeps it; ``time`` is in epoch milliseconds, ``stream`` its log stream."""

    id: str
    time: int
    text: str
    stream: str = ""


class MissingLogGroup(Exception):
    """The log group does not exist, because its function never ran or is not deployed."""


def get_log_events(
    aws: Aws,
    group: str,
    *,
    since: datetime,
    text: str = "",
    word: str = "",
    prefix: str = "",
    enough: Callable[[], bool] = lambda: False,
) -> Iterator[LogEvent]:
    """Read a group's events from ``since`` on, those that contain ``text``, page by page.

    With ``word``, those that are a JSON object with that ``message``: lines that only mention it are not sent
    (an emulator may send them). Only those of streams whose names begin with ``prefix`` (an emulator may
    return others, too), and no further page once there is ``enough``: AWS looks through 1 MB for a page, so
    many pages may be empty. FilterLogEvents returns them sorted by time, over all streams (API Reference).
    Raises MissingLogGroup.
    """
    start = max(0, int(since.timestamp() * 1000))
    known: set[str] = set()
    pattern = f'{{ $.message = "{word}" }}' if word else _phrase(text) if text else ""
    while True:
        size, latest, ids = 0, start, set(known)
        for page in _pages(aws, group, start=start, pattern=pattern, prefix=prefix):
            if enough():
                return
            size = len(page)
            for event in page:
                if event.time > latest:
                    latest, ids = event.time, set()
                ids.add(event.id)
                if event.id not in known and (word or text) in event.text and event.stream.startswith(prefix):
                    yield event
        # An emulator stops at a full page without a word of what is behind it.
        if size < _PAGE_EVENTS or ids <= known:
            return
        start, known = latest, ids


def _pages(aws: Aws, group: str, *, start: int, pattern: str, prefix: str) -> Iterator[list[LogEvent]]:
    query: dict[str, Any] = {"logGroupName": group, "startTime": start, "limit": _PAGE_EVENTS}
    if pattern:
        query["filterPattern"] = pattern
    if prefix:
        query["logStreamNamePrefix"] = prefix
    pages = aws.client("logs").get_paginator("filter_log_events").paginate(**query)
    with calling(f"log group {group}", dict.fromkeys(MISSING, MissingLogGroup)):
        for page in pages:
            yield [_event(event) for event in page["events"]]


def _event(event: FilteredLogEventTypeDef) -> LogEvent:
    # Without an id (emulators) time and text tell events apart as well as they can be.
    identity = event.get("eventId") or f"{event['timestamp']}:{event['message']}"
    return LogEvent(identity, event["timestamp"], event["message"], event.get("logStreamName", ""))


def _phrase(text: str) -> str:
    """Quote a text as a filter pattern that matches it as a phrase (User Guide, "Filter pattern syntax")."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
