"""``load``: the lines of a file become messages of a queue, in order within each group, and none twice.

All lines are checked before the first one is sent. What was sent is noted in a checkpoint beside the file,
so the same file loaded again, or after a crash, sends only what is missing; a line that was edited is new.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, BinaryIO, Final

from fifo_cli.aws.sqs import OutgoingMessage, Queue
from fifo_cli.errors import ConfigError, UsageError
from fifo_cli.events import Listener, silent
from fifo_cli.invocation import command_line
from fifo_cli.model.message import Message, ReceivedMessage
from fifo_cli.model.message_json import LINE_BYTES_MAX, LineError, from_line, identity
from fifo_cli.model.names import QueueRole
from fifo_cli.model.results import Result, WorkResult
from fifo_cli.operations.history import MoveNotes, Note, unnoted
from fifo_cli.operations.queues.load_progress import (
    LoadProgress,
    open_checkpoint,
    peek_checkpoint,
)
from fifo_cli.operations.transfer.engine import move
from fifo_cli.operations.transfer.interfaces import LocalSource, Rejection
from fifo_cli.operations.transfer.queue_target import Pack, QueueTarget, outgoing
from fifo_cli.operations.transfer.record_conversion import is_record
from fifo_cli.operations.transfer.result import MoveOptions
from fifo_cli.operations.transfer.scheduler import DOUBT_SECONDS_MAX
from fifo_cli.operations.work_db import DigestSet, reason_of

_PROBLEMS_SHOWN_MAX: Final = 50
_SPOOL_IN_MEMORY: Final = 1024 * 1024
_SHOWN_MAX: Final = 20
_A_RECORD: Final = (
    "it is a record that the enqueuer parked, not a message: load it into the DLQ (--queue dlq), from where a"
    " redrive makes a message of it"
)


@dataclass(frozen=True, slots=True)
class Checked:
    """A file whose lines are all good: ``total``, of which ``already`` were loaded; ``shown``, the first.

    ``repeated`` of them are equal to an earlier one: they are sent as well. ``broken_off``: when an earlier
    run that did not come to its end noted something last.
    """

    total: int
    already: int
    shown: tuple[Message, ...]
    repeated: int = 0
    broken_off: datetime | None = None

    @property
    def new(self) -> int:
        return self.total - self.already

    def may_repeat(self, now: datetime) -> bool:
        """Say whether new lines may have been sent by the run that broke off, so long ago that SQS forgot."""
        long_ago = self.broken_off is not None and now - self.broken_off > timedelta(
            seconds=DOUBT_SECONDS_MAX
        )
        return bool(self.new) and long_ago


@dataclass(frozen=True)
class LoadResult(WorkResult):
    """What a load did; ``warnings`` name the lines that need a look."""

    loaded: int
    already_loaded: int
    failed: int

    @property
    def needs_look(self) -> bool:
        return bool(self.failed or self.warnings)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPreview(Result):
    """What a load would send, behind how many messages; ``messages`` are the first."""

    dry_run: bool = True
    loaded: int = 0
    already_loaded: int
    failed: int = 0
    new: int
    repeated: int
    behind: int
    messages: tuple[Message, ...]


def preview(checked: Checked, *, behind: int) -> LoadPreview:
    """Return what a load of these lines would send."""
    return LoadPreview(
        already_loaded=checked.already,
        new=checked.new,
        repeated=checked.repeated,
        behind=behind,
        messages=checked.shown,
    )


@dataclass(frozen=True, slots=True)
class Lines:
    """An open file of lines for the queue ``arn``; ``path`` is None for stdin, which has no checkpoint."""

    stream: IO[bytes]
    name: str
    path: Path | None
    queue: QueueRole
    arn: str
    bytes_max: int

    def numbered(self) -> Iterator[tuple[int, bytes]]:
        """Yield line numbers and lines, from the beginning, without the empty ones."""
        # Read twice: to check every line, and to send. Of a file with a bad line nothing is sent.
        self.stream.seek(0)
        for number, line in enumerate(iter(self._next, b""), 1):
            if line.strip():
                yield number, line

    def _next(self) -> bytes:
        """Read a line; of one that is too long, only the beginning."""
        line = rest = self.stream.readline(LINE_BYTES_MAX)
        while len(rest) == LINE_BYTES_MAX and not rest.endswith(b"\n"):
            rest = self.stream.readline(LINE_BYTES_MAX)
        return line

    def read(self, line: bytes) -> Message:
        """Read one line; raises LineError."""
        if len(line) == LINE_BYTES_MAX and not line.endswith(b"\n"):
            raise LineError(f"it is longer than {LINE_BYTES_MAX:,} bytes")
        message = from_line(line, queue=self.queue, bytes_max=self.bytes_max)
        if self.queue == "main" and is_record(message):
            raise LineError(_A_RECORD)
        return message


@contextlib.contextmanager
def open_lines(
    path: Path | None, stdin: BinaryIO | None, *, queue: QueueRole, arn: str, bytes_max: int
) -> Iterator[Lines]:
    """Open ``path``, or spool ``stdin`` into a temporary file: all lines are read twice.

    Raises UsageError if the file does not exist.
    """
    if path is None:
        if stdin is None:
            raise UsageError("stdin is closed, so there is nothing to load", hint="name a file")
        with tempfile.SpooledTemporaryFile(_SPOOL_IN_MEMORY) as spool:
            shutil.copyfileobj(stdin, spool)
            yield Lines(spool, "stdin", None, queue, arn, bytes_max)
        return
    try:
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise UsageError(
                f"{path} is not a regular file: what is loaded could not be noted beside it;"
                " nothing was sent",
                hint=f"name a file, or feed it to stdin: {command_line('load - --yes')}",
            )
        stream = path.open("rb")
        stream.seek(0)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {reason_of(error)}; nothing was sent",
            hint="check the name; `-` reads stdin",
        ) from error
    with stream:
        # Under another name, such as /dev/stdin, it is the same file, with the same checkpoint.
        yield Lines(stream, str(path), path.resolve(), queue, arn, bytes_max)


def check(lines: Lines) -> Checked:
    """Read every line and count what is new; raise ConfigError with all problems, each with its line."""
    problems: list[str] = []
    bad = total = already = 0
    shown: list[Message] = []
    found = peek_checkpoint(lines.path) if lines.path else contextlib.nullcontext(LoadProgress())
    with found as earlier, contextlib.closing(_Keys(lines.arn)) as keys:
        for number, line in lines.numbered():
            total += 1
            try:
                message = lines.read(line)
            except LineError as error:
                bad += 1
                problems += [
                    f"line {number}: {one}" for one in error.problems[: _PROBLEMS_SHOWN_MAX - len(problems)]
                ]
                continue
            if keys.of(message) in earlier:
                already += 1
            elif len(shown) < _SHOWN_MAX:
                shown.append(message)
    if bad:
        raise ConfigError(
            f"{lines.name}: {bad} of {total} lines cannot be loaded; nothing was sent",
            problems,
            hint="fix these lines and run it again; a line is a message as"
            f" {command_line('peek -o jsonl')} prints it",
        )
    return Checked(total, already, tuple(shown), keys.repeated, earlier.broken_off)


def load(
    lines: Lines,
    queue: Queue,
    checked: Checked,
    *,
    same_group_batches: bool = False,
    max_rate: float | None = None,
    note: Note = unnoted,
    listener: Listener = silent,
    stopped: Callable[[], bool] = lambda: False,
) -> LoadResult:
    """Send the lines that were not loaded before, strictly in order within each group.

    Raises UsageError or BusyError, with nothing sent, if the checkpoint cannot be used.
    """
    opened = open_checkpoint(lines.path) if lines.path else contextlib.nullcontext(LoadProgress())
    with opened as checkpoint, contextlib.closing(LineSource(lines, checkpoint)) as source:
        target = QueueTarget(queue, _packer(checkpoint), strict=not same_group_batches)
        options = MoveOptions(
            max_rate=max_rate,
            total=checked.new,
            receives=1,
            throttles=lambda: queue.throttles,
            history=MoveNotes(note, "loaded", lines.name, queue.role, ahead=False),
        )
        report = move(source, target, options, listener=listener, stopped=stopped)
        if report.error is None and not (report.failed or report.not_deleted):
            checkpoint.end()
    return LoadResult(
        loaded=report.moved,
        already_loaded=source.already,
        failed=report.failed,
        warnings=tuple(
            report.warnings(
                not_deleted=f"of {lines.name} were sent, but not noted as loaded: loaded again after more"
                " than five minutes, they are sent a second time"
            )
        ),
        error=report.error,
    )


class LineSource(LocalSource):
    """The lines that were not loaded before, as a source of the engine; a message's id is "line 17"."""

    def __init__(self, lines: Lines, checkpoint: LoadProgress) -> None:
        super().__init__(self._new())
        self.already = 0
        self._lines = lines
        self._checkpoint = checkpoint
        self._keys = _Keys(lines.arn)
        self.close = self._keys.close

    def _new(self) -> Iterator[ReceivedMessage]:
        """Yield the lines; raises UsageError if one has changed since it was checked."""
        for number, line in self._lines.numbered():
            message = self._read(number, line)
            key = self._keys.of(message)
            if key in self._checkpoint:
                self.already += 1
            else:
                yield ReceivedMessage(replace(message, message_id=f"line {number}"), key)

    def delete(self, received: Sequence[ReceivedMessage]) -> list[Rejection]:
        """Note them in the checkpoint; raises FileError."""
        with self._lock:
            self._checkpoint.add([one.receipt_handle for one in received])
        return []

    def _read(self, number: int, line: bytes) -> Message:
        try:
            return self._lines.read(line)
        except LineError as error:
            raise UsageError(
                f"{self._lines.name}, line {number}: {error}; the file was changed while it was loaded",
                hint="run the command again; it goes on where this one stopped",
            ) from error


class _Keys:
    """A digest for every line of a file and the queue it goes to; equal lines are counted."""

    def __init__(self, arn: str) -> None:
        self.repeated = 0
        self._arn = arn
        self._seen = DigestSet()
        self.close = self._seen.close

    def of(self, message: Message) -> str:
        """Return the next line's digest: the same in every run over the same lines."""
        digest = identity(message, salt=self._arn)
        times = self._seen.add(digest)
        self.repeated += times > 1
        return digest if times == 1 else hashlib.sha256(f"{digest} {times}".encode()).hexdigest()


def _packer(checkpoint: LoadProgress) -> Pack:
    """Pack lines as they are; the deduplication id is the line's, for this checkpoint.

    Without the checkpoint's salt, SQS would swallow a file for five minutes whose checkpoint was removed to
    load it once more.
    """

    def pack(received: ReceivedMessage) -> OutgoingMessage:
        checkpoint.used = True
        digest = hashlib.sha256(f"{checkpoint.salt} {received.receipt_handle}".encode()).hexdigest()
        return outgoing(received.message, f"load-{digest}")

    return pack
