"""logs: what the two functions logged, merged in order of time."""

from __future__ import annotations

import heapq
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from fifo_cli.aws.logs import LogEvent, MissingLogGroup, get_log_events
from fifo_cli.errors import ExitCode, FifoError
from fifo_cli.events import Listener, Noted, silent
from fifo_cli.model.names import FUNCTION_ROLES, FunctionRole, Names
from fifo_cli.model.results import Document
from fifo_cli.model.times import from_epoch_ms, from_iso, iso
from fifo_cli.operations.monitor.poll_backoff import PollBackoff

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws

# Lambda Developer Guide, "Log and monitor Python Lambda functions": what the platform itself writes.
_PLATFORM: Final = re.compile(
    r"(START|END|REPORT) RequestId: |INIT_START |INIT_REPORT |RESTORE_START |XRAY TraceId: |EXTENSION\t"
)
_BRACKETED: Final = re.compile(r"\[(ERROR|WARNING|INFO|DEBUG|CRITICAL)\]")
_TIMED_OUT: Final = re.compile(r"Task timed out after|Runtime exited with error|Error: Runtime exited")
# Events become visible some seconds after they happened, and not in order: look back that far at each turn.
_LATE: Final = timedelta(seconds=30)
POLL: Final = timedelta(seconds=2)

Wait = Callable[[float], object]


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line: ours, with its facts, or what the platform wrote, with level "platform"."""

    time: datetime
    function: FunctionRole
    level: str
    message: str
    facts: Document = field(default_factory=dict)

    def document(self) -> Document:
        return {
            "time": iso(self.time),
            "function": self.function,
            "level": self.level,
            "message": self.message,
            **{name: value for name, value in self.facts.items() if name not in _OWN},
        }


_OWN: Final = frozenset({"time", "function", "level", "message"})


@dataclass(frozen=True, slots=True)
class LogsResult:
    """The lines, read while they are looked at."""

    lines: Iterable[LogLine]

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.OK

    def document(self) -> Document:
        return {"lines": list(self.rows())}

    def rows(self) -> Iterator[Document]:
        return (line.document() for line in self.lines)


def logs(
    aws: Aws,
    names: Names,
    *,
    functions: Sequence[FunctionRole] = FUNCTION_ROLES,
    since: datetime,
    text: str = "",
    listener: Listener = silent,
) -> LogsResult:
    """Return what the functions logged from ``since`` on; a missing log group is empty, with a note."""
    return LogsResult(_merged(aws, names, functions, since, text, listener))


def follow(
    aws: Aws,
    names: Names,
    *,
    functions: Sequence[FunctionRole] = FUNCTION_ROLES,
    since: datetime,
    text: str = "",
    stop: threading.Event,
    wait: Wait | None = None,
    listener: Listener = silent,
) -> LogsResult:
    """Return the same and go on with what comes, until ``stop`` is set; ``wait`` sleeps for seconds.

    Once AWS has answered, a lost connection is reported and waited out. Raises while the lines are read what
    will not pass by itself (credentials, permissions), and any failure before the first answer.
    """
    tail = Tail(aws, names, functions=functions, since=since, text=text, listener=listener)
    return LogsResult(_followed(tail, stop, wait or stop.wait, PollBackoff(POLL, listener)))


def parse_line(function: FunctionRole, event: LogEvent) -> LogLine:
    """Read one event: our lines are a JSON object, all else is the platform's text or somebody's print."""
    time, text = from_epoch_ms(event.time), event.text.rstrip("\r\n")
    facts = _facts(text)
    if facts is not None:
        return LogLine(
            from_iso(facts.get("time")) or time,
            function,
            str(facts["level"]).lower(),
            str(facts["message"]),
            facts,
        )
    if _PLATFORM.match(text):
        return LogLine(time, function, "platform", text)
    found = _BRACKETED.match(text)
    if found:
        level = "error" if found[1] in ("ERROR", "CRITICAL") else found[1].lower()
        return LogLine(time, function, level, text)
    return LogLine(time, function, "error" if _TIMED_OUT.search(text) else "info", text)


def _facts(text: str) -> Document | None:
    """Return the object a line is, if it is one with a level and a message."""
    if not text.startswith("{"):
        return None
    try:
        found: Any = json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and {"level", "message"} <= set(found) else None


def _events_of(
    aws: Aws, names: Names, function: FunctionRole, since: datetime, text: str, listener: Listener
) -> Iterator[tuple[FunctionRole, LogEvent]]:
    try:
        for event in get_log_events(aws, names.log_group(function), since=since, text=text):
            yield function, event
    except MissingLogGroup:
        listener(
            Noted(f"{names.log_group(function)} does not exist: {names.function(function)} has not run yet")
        )


def _events(
    aws: Aws, names: Names, functions: Sequence[FunctionRole], since: datetime, text: str, listener: Listener
) -> Iterator[tuple[FunctionRole, LogEvent]]:
    """Yield what several functions logged, in order of time."""
    streams = [_events_of(aws, names, function, since, text, listener) for function in functions]
    return heapq.merge(*streams, key=lambda pair: pair[1].time)


def _merged(
    aws: Aws, names: Names, functions: Sequence[FunctionRole], since: datetime, text: str, listener: Listener
) -> Iterator[LogLine]:
    for function, event in _events(aws, names, functions, since, text, listener):
        yield parse_line(function, event)


class Tail:
    """What the functions log, from ``since`` on: each :meth:`poll` yields the lines that are new."""

    def __init__(
        self,
        aws: Aws,
        names: Names,
        *,
        functions: Sequence[FunctionRole] = FUNCTION_ROLES,
        since: datetime,
        text: str = "",
        listener: Listener = silent,
    ) -> None:
        self._aws = aws
        self._names = names
        self._functions = functions
        self._since = self._newest = since
        self._text = text
        self._listener = listener
        self._seen: dict[tuple[FunctionRole, str], int] = {}

    def poll(self) -> Iterator[LogLine]:
        """Yield the lines that came since the last time, in order of time, as far as that can be."""
        start = max(self._since, self._newest - _LATE)
        found = _events(self._aws, self._names, self._functions, start, self._text, self._listener)
        for function, event in found:
            if (function, event.id) not in self._seen:
                self._seen[function, event.id] = event.time
                self._newest = max(self._newest, from_epoch_ms(event.time))
                yield parse_line(function, event)
        forgotten = int((self._newest - _LATE).timestamp() * 1000)
        self._seen = {key: time for key, time in self._seen.items() if time >= forgotten}
        self._listener = silent  # once is enough to hear of a group that does not exist


def _followed(tail: Tail, stop: threading.Event, wait: Wait, patience: PollBackoff) -> Iterator[LogLine]:
    while not stop.is_set():
        try:
            for line in tail.poll():
                patience.answered()
                yield line
        except FifoError as error:
            wait(patience.failed(error))
        else:
            patience.answered()
            wait(POLL.total_seconds())
