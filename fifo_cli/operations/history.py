"""The history as one run of the program writes it, and as it is read (events: model/history_events.py).

A thread of its own writes into the pipeline's operations log, while the command reads what it needs. Before
the first call that changes something the command waits until its beginning is written, and before messages
leave their place until their ids are: so a run that is killed leaves no gap. Where the log cannot be written,
that is said once, and the work goes on without it.
"""

from __future__ import annotations

import os
import queue
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Final

from fifo_cli.aws.interruptible_calls import GivenUpError
from fifo_cli.aws.log_streams import LOG_EVENT_BYTES_MAX, LogStream, Stamped
from fifo_cli.aws.logs import MissingLogGroup, get_log_events
from fifo_cli.aws.resources.gateway import AlreadyExists
from fifo_cli.aws.resources.log_group import LogGroupAdmin
from fifo_cli.aws.sqs import Queue
from fifo_cli.errors import AbandonedError, AwsError, FifoError, NotDeployedError, without_login
from fifo_cli.events import Listener, Warned, silent
from fifo_cli.handlers.redaction import Redactor
from fifo_cli.interrupts import AWS_CALLS
from fifo_cli.invocation import command_line
from fifo_cli.model.history_events import (
    EVERYTHING_TEXT,
    OPERATION_TEXT,
    STAYED,
    End,
    Header,
    HistoryEvent,
    Move,
    MovedMessage,
    MovedWord,
    Operation,
    encode,
    header_of,
    operations_of,
    parse,
    stayed_of,
    without_stayed,
)
from fifo_cli.model.message import ReceivedMessage
from fifo_cli.model.names import DELETED_TAG, Names
from fifo_cli.model.resources import operations_log
from fifo_cli.model.results import INTERNAL, Listed
from fifo_cli.model.times import from_epoch_ms
from fifo_cli.operations.log_shipping import batches, stream_name
from fifo_cli.operations.maintenance_lock import local_user

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.settings import Settings

# So long a change waits for what is to be written before it; then the run goes on without the log.
_NOTE_SECONDS: Final = 5.0
_LATE: Final = f"CloudWatch Logs did not answer within {_NOTE_SECONDS:.0f} s"
# So long the end of a run is waited for.
_END_SECONDS: Final = 3.0
# After a signal the command has two seconds in all.
_HURRIED_SECONDS: Final = 0.5
_POLL_SECONDS: Final = 0.05
# STS is asked meanwhile; whoever it cannot name is the local user.
_IDENTITY_SECONDS: Final = 2.0
# AWS's time comes in whole seconds: a smaller difference is none.
_CLOCKS_DIFFER: Final = timedelta(seconds=2)
# In every event.
_TEXT_OF_EVENTS: Final = "operation"
# Events with these name no messages.
_WITHOUT_IDS: Final = (OPERATION_TEXT, EVERYTHING_TEXT)

Note = Callable[[Move], None]
_SECRETS: Final = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
# The keys of an emulator are words such as "test".
_SECRET_MIN: Final = 16


def unnoted(move: Move) -> None:
    """Note a move nowhere."""


@dataclass(frozen=True, slots=True)
class MoveNotes:
    """Where a move from ``source`` to ``target`` notes which messages leave, in which ``word``.

    A run that is killed before a note is written has left the messages where they were, and one that is
    killed later has noted where they are.
    """

    note: Note
    word: MovedWord
    source: str
    target: str
    ahead: bool = True

    def leaving(self, received: Sequence[ReceivedMessage]) -> None:
        self._write(self.word, received)

    def stayed(self, received: Sequence[ReceivedMessage]) -> None:
        self._write(STAYED, received)

    def _write(self, word: MovedWord, received: Sequence[ReceivedMessage]) -> None:
        messages = tuple(MovedMessage.of(one.message) for one in received)
        self.note(Move(word, self.source, self.target, messages))


@dataclass(frozen=True, slots=True)
class Invocation:
    """The command as it was typed: its name, its line, and ``--reason``; ``env`` is also $FIFO_ENV's."""

    operation: str
    command: str
    reason: str = ""
    env: str = ""


@dataclass(slots=True, eq=False)
class _Entry:
    """Something to be written, of this machine's time ``at``."""

    at: datetime
    move: Move | None = None
    end: End | None = None
    written: threading.Event = field(default_factory=threading.Event)


class History:
    """Writes what this run does; safe to share between threads. It writes nothing until it has begun."""

    def __init__(
        self, aws: Aws, settings: Settings, invocation: Invocation, *, listener: Listener = silent
    ) -> None:
        self._aws = aws
        self._settings = settings
        self._names = settings.names
        self._invocation = invocation
        self._listener = listener
        self._waiting: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._refused = self._makes_group = self._abandoned = False
        self._closing = threading.Event()
        self._caller = ""
        self._id = secrets.token_hex(8)
        self._beginning = _Entry(datetime.fromtimestamp(0, UTC))

    @property
    def begun(self) -> bool:
        """Whether this run has begun to change something."""
        return self._thread is not None

    def begin(self, *, makes_group: bool = False) -> None:
        """Write that the command begins; called again, nothing. The first change waits for it, not this.

        ``makes_group``: make the log group even before the pipeline exists, as this command makes it.
        """
        # A question for a code, or a fault of the credentials, belongs to the thread of the command.
        self._aws.client("sqs")
        with self._lock:
            if self._thread is not None:
                return
            self._makes_group = makes_group
            self._beginning = _Entry(datetime.now(UTC))
            self._waiting.put(self._beginning)
            self._thread = threading.Thread(target=self._work, name="history", daemon=True)
            self._aws.before_changes(self._await_beginning)
            self._thread.start()

    def note(self, move: Move) -> None:
        """Write which messages leave their place, and return when it is written, or cannot be."""
        self.begin()
        if self._refused or self._closing.is_set():
            return
        entry = _Entry(datetime.now(UTC), move=move)
        self._waiting.put(entry)
        self._await(entry)

    def _await_beginning(self) -> None:
        # The changes of the thread that writes it are the log's own.
        if self._refused or threading.current_thread() is self._thread:
            return
        if self._abandoned or not _wait(self._beginning.written, _NOTE_SECONDS):
            if AWS_CALLS.hurried:  # nothing was changed until now, and nothing is begun after a signal
                self._abandoned = True
                raise GivenUpError
            self._refuse(_LATE)

    def _await(self, entry: _Entry) -> None:
        if not _wait(entry.written, _NOTE_SECONDS):
            self._refuse("the log was not waited for after the interrupt" if AWS_CALLS.hurried else _LATE)

    def end(self, exit_code: int, *, counts: Mapping[str, int] | None = None, error: str = "") -> None:
        """Write how the command ended, if it has begun; wait for that for a moment, and write no more."""
        if self._thread is None or self._closing.is_set():
            return
        entry = _Entry(datetime.now(UTC), end=End(exit_code, dict(counts or {}), error))
        self._closing.set()
        self._waiting.put(entry)
        self._waiting.put(None)
        # Where the log was given up, nothing is written any more.
        if not self._refused and not _wait(entry.written, _END_SECONDS):
            self._refuse("CloudWatch Logs did not answer in time")

    # --- In the thread.

    def _work(self) -> None:
        asked = threading.Thread(target=self._ask_who, name="who", daemon=True)
        asked.start()
        asked.join(_IDENTITY_SECONDS)
        stream = LogStream(
            self._aws,
            self._names.operations_log,
            stream_name(self._invocation.operation.replace(" ", "-")),
            make_group=self._make_group,
        )
        for entries in batches(self._waiting, self._closing):
            self._write(stream, entries)

    def _ask_who(self) -> None:
        with suppress(Exception):  # whoever cannot be named by AWS is the local user
            self._caller = self._aws.caller

    def _write(self, stream: LogStream, entries: Sequence[_Entry]) -> None:
        try:
            if not self._refused:
                stream.put(list(self._lines(entries)))
        except Exception as error:  # noqa: BLE001 - no error of the log may end the work
            self._warn_of_a_wrong_env(error)
            self._refuse(
                error.message if isinstance(error, FifoError) else f"{type(error).__name__}: {error}",
                # Without a pipeline nothing is kept; after a signal it is AWS that does not answer.
                silently=isinstance(error, NotDeployedError | AbandonedError),
            )
        finally:
            for entry in entries:
                entry.written.set()

    def _warn_of_a_wrong_env(self, error: Exception) -> None:
        """Warn, before put writes its first item, that nothing delivers it; other commands find out."""
        env = self._invocation.env
        if env and self._invocation.operation == "put" and isinstance(error, NotDeployedError):
            name = self._names.pipeline
            self._listener(
                Warned(f"{name} (--env {env}) is not deployed here, so nothing delivers what is written")
            )

    def _lines(self, entries: Sequence[_Entry]) -> Iterator[Stamped]:
        header, ahead = self._header(), self._clock_ahead()
        for entry in entries:
            at, end = entry.at + ahead, entry.end
            if end is not None:
                end = replace(end, error=self._redact(without_login(end.error)))
            event = HistoryEvent(header, at, move=entry.move, end=end)
            for line in encode(event, bytes_max=LOG_EVENT_BYTES_MAX):
                yield Stamped(round(at.timestamp() * 1000), line)

    @cached_property
    def _redact(self) -> Redactor:
        """What hides the credentials of the environment, should somebody have typed them."""
        redact = Redactor()
        for value in (os.environ.get(name, "") for name in _SECRETS):
            if len(value) >= _SECRET_MIN:
                redact.add(value)
        return redact

    def _header(self) -> Header:
        invocation = self._invocation
        return header_of(
            id=self._id,
            operation=invocation.operation,
            command=self._redact(without_login(invocation.command)),
            who=self._caller or local_user(),
            host=socket.gethostname(),
            began=self._beginning.at + self._clock_ahead(),
            reason=self._redact(invocation.reason),
        )

    def _clock_ahead(self) -> timedelta:
        """Return what makes this machine's time AWS's, by which all machines' events sort."""
        ahead = self._aws.clock_ahead if self._caller else timedelta()
        return ahead if abs(ahead) > _CLOCKS_DIFFER else timedelta()

    def _make_group(self) -> None:
        """Make the log group, if the pipeline exists here: a wrong region or profile leaves nothing."""
        if not self._makes_group:
            main = Queue(self._aws, self._names, "main").tags
            if DELETED_TAG in main.read().tags:
                raise NotDeployedError(f"{main.queue.name} is being deleted", hint="wait for it to end")
        admin = LogGroupAdmin(self._aws.client("logs"))
        try:
            admin.create(operations_log(self._settings))
        except AlreadyExists:
            return  # by another command at this moment
        except FifoError as error:
            raise AwsError(f"{error.message} ({command_line('deploy')} makes it)", hint=error.hint) from error

    def _refuse(self, reason: str, *, silently: bool = False) -> None:
        with self._lock:
            first, self._refused = not self._refused, True
        if first and not silently and not AWS_CALLS.given_up:
            self._listener(Warned(f"the history of {self._names.pipeline} has not all of this: {reason}"))


def _wait(written: threading.Event, seconds: float) -> bool:
    """Wait until something is written; after a signal only for a moment."""
    end = time.monotonic() + seconds
    while not written.wait(_POLL_SECONDS):
        now = time.monotonic()
        if AWS_CALLS.hurried:
            end = min(end, now + _HURRIED_SECONDS)
        if now >= end:
            return False
    return True


def read_events(aws: Aws, names: Names, *, since: datetime, text: str = "") -> Iterator[HistoryEvent]:
    """Read the events of the operations log that contain ``text``, in order of time.

    Lines that are not ours, or were cut short, are left out; so are messages that stayed after all. Raises
    MissingLogGroup.
    """

    def events(*, text: str = "", word: str = "") -> Iterator[HistoryEvent]:
        for one in get_log_events(aws, names.operations_log, since=since, text=text, word=word):
            event = parse(one.text, logged=from_epoch_ms(one.time), stream=one.stream)
            if event is not None:
                yield event

    # They are few, and named after the events of all that left, which are too many to be kept in memory.
    stayed = stayed_of(() if text in _WITHOUT_IDS else events(word=STAYED))
    yield from without_stayed(events(text=text or _TEXT_OF_EVENTS), stayed)


@dataclass(frozen=True, slots=True)
class HistoryResult(Listed):
    """The operations of a window in order; ``exists`` is false without an operations log."""

    operations: tuple[Operation, ...]
    exists: bool = field(default=True, metadata=INTERNAL)


def history(aws: Aws, names: Names, *, since: datetime, text: str = "") -> HistoryResult:
    """Return what was done since then: all that began, ended or moved messages in that time.

    With ``text`` only events that contain it are read.
    """
    try:
        return HistoryResult(operations_of(read_events(aws, names, since=since, text=text)))
    except MissingLogGroup:
        return HistoryResult((), exists=False)
