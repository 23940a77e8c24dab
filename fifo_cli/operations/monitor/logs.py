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
from fifo_cli.errors import FifoError
from fifo_cli.events import Listener, Noted, silent
from fifo_cli.model.names import FUNCTION_ROLES, FunctionRole, Names
from fifo_cli.model.results import INTERNAL, Document, Fields, Result
from fifo_cli.model.times import from_epoch_ms, from_iso
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
_FAR: Final = timedelta(days=1)

_OWN: Final = frozenset({"time", "function", "level", "message"})
_ATTEMPTS: Final = frozenset({"delivered", "parked", "failed"})

Wait = Callable[[float], object]


@dataclass(frozen=True, slots=True)
class LogLine(Fields):
    """One line: ours, with its facts, or what the platform wrote, with level "platform".

    ``stream`` is the log stream it is in: an execution environment of the function, or an operator's process.
    """

    time: datetime
    function: FunctionRole
    level: str
    message: str
    facts: Document = field(default_factory=dict, metadata=INTERNAL)
    stream: str = field(default="", metadata=INTERNAL)

    @property
    def further_facts(self) -> Document:
        return {name: value for name, value in self.facts.items() if name not in _OWN}

    def document(self) -> Document:
        return Fields.document(self) | self.further_facts

    @property
    def is_attempt(self) -> bool:
        """Whether it is of an attempt of the worker's to deliver a message, and not of an operator's move."""
        return self.message in _ATTEMPTS and "park_from" not in self.facts

    @property
    def receives(self) -> int | None:
        """How often SQS had given it out, looks included; earlier versions called that the attempt."""
        return self.number("receives") or self.number("attempt")

    def number(self, fact: str) -> int | None:
        """Return a fact that is a whole number; None if it is anything else."""
        value = self.facts.get(fact)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def text(self, fact: str) -> str | None:
        """Return a fact that is text; None if it is anything else."""
        value = self.facts.get(fact)
        return value if isinstance(value, str) else None


@dataclass(frozen=True, slots=True)
class LogsResult(Result):
    """The lines, read while they are looked at."""

    lines: Iterable[LogLine]

    def document(self) -> Document:
        return {"lines": list(self.rows())}

    def rows(self) -> Iterator[Document]:
        return (line.document() for line in self.lines)


def parse_line(function: FunctionRole, event: LogEvent) -> LogLine:
    """Read one event: our lines are a JSON object, all else is the platform's text or somebody's print."""
    time, text = from_epoch_ms(event.time), event.text.rstrip("\r\n")
    facts = _facts(text)
    if facts is not None:
        return LogLine(
            _own_time(facts, time),
            function,
            str(facts["level"]).lower(),
            str(facts["message"]),
            facts,
            event.stream,
        )
    if _PLATFORM.match(text):
        return LogLine(time, function, "platform", text, stream=event.stream)
    found = _BRACKETED.match(text)
    if found:
        level = "error" if found[1] in ("ERROR", "CRITICAL") else found[1].lower()
    else:
        level = "error" if _TIMED_OUT.search(text) else "info"
    return LogLine(time, function, level, text, stream=event.stream)


def _own_time(facts: Document, logged: datetime) -> datetime:
    """Return the time that a line gives; when it was logged if that is far from it: somebody else's print."""
    time = from_iso(facts.get("time"))
    return logged if time is None or abs(time - logged) > _FAR else time


def _facts(text: str) -> Document | None:
    """Return the object a line is, if it is one with a level and a message."""
    if not text.startswith("{"):
        return None
    try:
        found: Any = json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and {"level", "message"} <= set(found) else None


class FunctionLogs:
    """What the functions logged from ``since`` on, those lines that contain ``text``, merged by time.

    A log group that does not exist is empty; the listener hears of it once.
    """

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
        self._missing: set[FunctionRole] = set()
        self._seen: dict[tuple[FunctionRole, str], int] = {}

    def read(self) -> LogsResult:
        """Return the lines that are there now."""
        return LogsResult(parse_line(*found) for found in self._events(self._since))

    def follow(self, stop: threading.Event, wait: Wait | None = None) -> LogsResult:
        """Return the lines and go on with what comes, until ``stop`` is set; ``wait`` sleeps for seconds.

        Once AWS has answered, a lost connection is reported and waited out. Raises while the lines are read
        what will not pass by itself (credentials, permissions), and any failure before the first answer.
        """
        return LogsResult(self._followed(stop, wait or stop.wait, PollBackoff(POLL, self._listener)))

    def poll(self) -> Iterator[LogLine]:
        """Yield the lines that came since the last call."""
        for function, event in self._events(max(self._since, self._newest - _LATE)):
            if (function, event.id) not in self._seen:
                self._seen[function, event.id] = event.time
                self._newest = max(self._newest, from_epoch_ms(event.time))
                yield parse_line(function, event)
        forgotten = int((self._newest - _LATE).timestamp() * 1000)
        self._seen = {key: time for key, time in self._seen.items() if time >= forgotten}

    def _followed(self, stop: threading.Event, wait: Wait, backoff: PollBackoff) -> Iterator[LogLine]:
        while not stop.is_set():
            try:
                for line in self.poll():
                    backoff.answered()
                    yield line
            except FifoError as error:
                wait(backoff.failed(error))
            else:
                backoff.answered()
                wait(POLL.total_seconds())

    def _events(self, since: datetime) -> Iterator[tuple[FunctionRole, LogEvent]]:
        streams = [self._events_of(function, since) for function in self._functions]
        return heapq.merge(*streams, key=lambda found: found[1].time)

    def _events_of(self, function: FunctionRole, since: datetime) -> Iterator[tuple[FunctionRole, LogEvent]]:
        group = self._names.log_group(function)
        try:
            for event in get_log_events(self._aws, group, since=since, text=self._text):
                yield function, event
        except MissingLogGroup:
            if function not in self._missing:
                self._missing.add(function)
                self._listener(
                    Noted(
                        f"{group} does not exist: {self._names.function(function)} has not run yet, or is not"
                        " deployed here"
                    )
                )
