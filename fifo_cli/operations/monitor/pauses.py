"""What the worker does not call for now, as its log shows: groups that are paused, and the breaker."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from fifo_cli.model.times import from_iso
from fifo_cli.model.worker_log import OpenBreaker, PausedGroup
from fifo_cli.operations.monitor.logs import LogLine

PAUSED: Final = "paused_until"
BREAKER: Final = "breaker"
OPENED: Final = f"{BREAKER} opened"
_CLOSED: Final = f"{BREAKER} closed"
# The log streams of drains: their breaker ended with them.
_DRAINS: Final = "drain/"
_VERSION: Final = re.compile(r"\[(\w+)\]")
# The lines of one group in one batch have the same end, or nearly.
_SAME_PAUSE: Final = timedelta(seconds=1)


def paused_until(line: LogLine) -> datetime | None:
    """Return until when the group of a message is hidden by the function that logged it."""
    return from_iso(line.text(PAUSED))


def paused_groups(lines: Iterable[LogLine], *, now: datetime) -> tuple[PausedGroup, ...]:
    """Return the groups that are hidden now by lines in order of time, the one to come back first at the top.

    Of one pause, the reason of its first line counts: that of the head.
    """
    found: dict[str, PausedGroup] = {}
    for line in lines:
        until, group = paused_until(line), line.text("group")
        if until is None or not group:
            continue
        before = found.get(group)
        if before is None or abs(until - before.until) > _SAME_PAUSE:
            asked = line.number("retry_after")
            found[group] = PausedGroup(group, until, line.time, line.text("reason"), asked)
    hidden = (one for one in found.values() if one.until > now)
    return tuple(sorted(hidden, key=lambda one: (one.until, one.group)))


@dataclass(frozen=True, slots=True)
class _Opened:
    """The breaker of one execution environment: the line since when, and the last one."""

    first: LogLine
    last: LogLine
    until: datetime | None


def open_breaker(
    lines: Iterable[LogLine], *, now: datetime, late: timedelta, by_queue: bool
) -> OpenBreaker | None:
    """Return the breakers that are open, by lines in order of time; None if there are none.

    ``by_queue``: a delivery of any function after the pause shows that the API works. Without one, the call
    that was due has no line yet, or its function has ended: known when no line can be ``late``. On a schedule
    the next run makes that call, and one that delivered closes it. With another version, as after a deploy
    that changed what starts the worker, all breakers are new.
    """
    found: dict[str, _Opened] = {}
    for line in lines:
        if (version := _version(line)) is not None:
            found = {stream: one for stream, one in found.items() if _version(one.last) == version}
        if line.message == OPENED and line.facts:
            if line.stream.startswith(_DRAINS):
                continue
            before = found.get(line.stream)
            until = from_iso(line.text("until")) if by_queue else None
            found[line.stream] = _Opened(before.first if before else line, line, until)
        elif line.message == _CLOSED and line.facts:
            found.pop(line.stream, None)
            found = _still_open(found, line.time)
        elif _shows_it_works(line):
            found = _still_open(found, line.time)
    open_ = [one for one in found.values() if one.until is None or one.until + late > now]
    return _summed(open_, now) if open_ else None


def _version(line: LogLine) -> str | None:
    """Return the version of the function that logged a line (Lambda: ``2026/01/02/[VERSION]ID``)."""
    found = _VERSION.search(line.stream)
    return found[1] if found else None


def _still_open(found: Mapping[str, _Opened], works: datetime) -> dict[str, _Opened]:
    """Return the breakers whose pause lasts beyond the time at which a call succeeded."""
    return {stream: one for stream, one in found.items() if one.until is not None and one.until > works}


def _shows_it_works(line: LogLine) -> bool:
    """Whether a run delivered something, and was not ended by the breaker after that."""
    return line.message == "run ended" and (line.number("delivered") or 0) > 0 and not line.facts.get(BREAKER)


def _summed(found: Sequence[_Opened], now: datetime) -> OpenBreaker:
    """Put breakers together; a function whose call was due may have ended, and is not counted beside others.

    One schedule starts one function at a time, in however many environments.
    """
    last = max((one.last for one in found), key=lambda line: line.time)
    ends = [one.until for one in found if one.until is not None]
    return OpenBreaker(
        since=min(one.first.time for one in found),
        time=last.time,
        until=max(ends, default=None),
        functions=max(1, sum(one > now for one in ends)),
        failures=last.number("failures"),
        api=last.text("api"),
        http_status=last.number("status"),
        error=last.text("reason"),
    )
