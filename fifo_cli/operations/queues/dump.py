"""``dump``: a queue's messages as lines of a file; with ``--move``, there and no longer in the queue."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, Literal

from fifo_cli.aws.session import Aws
from fifo_cli.aws.sqs import Queue
from fifo_cli.events import Listener, silent
from fifo_cli.model.message import Message
from fifo_cli.model.message_json import to_line
from fifo_cli.model.results import INTERNAL, Result, WorkResult
from fifo_cli.operations.history import MoveNotes, Note, unnoted
from fifo_cli.operations.pace import Progress
from fifo_cli.operations.queues.browse import WholeQueue, require_safe
from fifo_cli.operations.queues.peek import peek
from fifo_cli.operations.transfer.engine import move
from fifo_cli.operations.transfer.message_files import DumpFile, DumpStream, new_file, open_dump
from fifo_cli.operations.transfer.message_filter import Exclusions
from fifo_cli.operations.transfer.queue_source import QueueSource
from fifo_cli.operations.transfer.result import MoveOptions
from fifo_cli.operations.work_db import FileError, reason_of

_PREVIEW_MAX: Final = 100


@dataclass(frozen=True)
class DumpResult(WorkResult):
    """What a dump did: lines ``written`` by this run, ``remaining`` in the queue (None: unknown)."""

    written: int
    moved: int = field(default=0, metadata=INTERNAL)
    remaining: int | None = field(default=None, metadata=INTERNAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpPreview(Result):
    """The messages that can be seen of those that would be written; ``remaining`` is SQS's count of all."""

    dry_run: bool = True
    written: int = 0
    remaining: int
    truncated: bool
    messages: tuple[Message, ...]


def preview(queue: Queue, *, force: bool = False) -> DumpPreview:
    """Look at the queue, without touching anything."""
    total = queue.counts().total
    seen = peek(queue, count=min(_PREVIEW_MAX, max(total, 1)), force=force)
    return DumpPreview(
        remaining=max(total, len(seen.messages)), truncated=seen.truncated, messages=seen.messages
    )


@dataclass(frozen=True)
class Dump:
    """A dump of one queue. ``path`` None is ``stdout``, flushed before a message leaves the queue.

    What another queue than ``owner_arn`` dead-lettered here is left alone, if that is given. ``word`` is what
    the history says of messages that leave the queue.
    """

    aws: Aws
    queue: Queue
    path: Path | None
    stdout: BinaryIO | None = None
    owner_arn: str = ""
    listener: Listener = silent
    note: Note = unnoted
    word: Literal["dumped", "purged"] = "dumped"

    def look(
        self,
        *,
        force: bool = False,
        stopped: Callable[[], bool] = lambda: False,
    ) -> DumpResult:
        """Write the messages that can be seen, and leave them where they are.

        Raises UsageError if the file exists, or if looking could push a message into a DLQ, unless ``force``.
        """
        counts = self.queue.counts()
        if not force:
            require_safe(self.queue, counts, "a dump", otherwise="use --move, ")
        opened = new_file(self.path) if self.path else contextlib.nullcontext(self._stream)
        with opened as output, WholeQueue(self.queue, counts.total) as look:
            written = 0
            progress = Progress(self.listener, "written", counts.total)
            while not stopped() and (batch := look.receive()):
                _write(output, self.path, batch)
                written += len(batch)
                progress.at(written)
            # The first count may be a minute late, and so too low: then it says nothing of what was not seen.
            total = max(counts.total, self.queue.counts().total)
        return DumpResult(written, remaining=total, warnings=_unseen(self.queue, total, written))

    def move(
        self, *, max_rate: float | None = None, stopped: Callable[[], bool] = lambda: False
    ) -> DumpResult:
        """Write every message that is in the queue now, and delete it once its line is on disk.

        The caller holds the maintenance lock. Raises UsageError or BusyError, with nothing touched, if the
        file cannot be used.
        """
        if self.path is None:
            with contextlib.closing(DumpStream(self._stream)) as stream:
                return self._move_to(stream, max_rate, stopped)
        with open_dump(self.path, listener=self.listener) as file:
            result = self._move_to(file, max_rate, stopped)
            # A dump's file is there afterwards, if empty too; a backup is made only of something.
            file.complete = self.word == "dumped" and result.error is None and not stopped()
            return result

    def _move_to(
        self, target: DumpFile | DumpStream, max_rate: float | None, stopped: Callable[[], bool]
    ) -> DumpResult:
        # AWS's clock, not this machine's: what comes in from now on is left for the next dump.
        began = self.queue.tags.read().at
        total = self.queue.counts().total
        source = QueueSource(self.queue, expected=total, listener=self.listener)
        exclusions = Exclusions(began, self.owner_arn)
        to = "stdout" if self.path is None else str(self.path.absolute())
        options = MoveOptions(
            max_rate=max_rate,
            leave=exclusions,
            total=total,
            throttles=lambda: self.aws.throttles,
            history=MoveNotes(self.note, self.word, self.queue.role, to, ahead=False),
        )
        report = move(source, target, options, listener=self.listener, stopped=stopped)
        warnings = report.warnings()
        if source.given_up and not report.error:
            warnings.append(
                f"{source.given_up} stay in flight with a consumer, or will be visible later; run it again"
            )
        return DumpResult(
            target.written,
            moved=report.moved,
            remaining=self.queue.total_if_known(),
            warnings=tuple(warnings),
            notes=tuple(exclusions.notes("command")),
            error=report.error,
        )

    @property
    def _stream(self) -> BinaryIO:
        assert self.stdout is not None, "there is a path, or stdout"
        return self.stdout


def _write(output: BinaryIO, path: Path | None, batch: Sequence[Message]) -> None:
    try:
        output.write(b"".join(map(to_line, batch)))
        output.flush()
    except (OSError, ValueError) as error:
        if path is not None:
            raise
        raise FileError(
            f"stdout cannot be written: {reason_of(error)}; every message is still in the queue",
            hint="make room, or name a file in place of `-`",
        ) from error


def _unseen(queue: Queue, total: int, written: int) -> tuple[str, ...]:
    if total <= written:
        return ()
    return (
        f"{queue.name} counts {total} messages, and {written} could be seen: SQS gives out ten of a"
        " group at most, and none that a consumer holds; --move takes all",
    )
