"""Files that messages move to: a line is on disk before the message leaves its queue.

A file is continued where an earlier run stopped: what is in it already is not written twice, and a last
line that a crash or a full disk tore is cut off, as its message is still in the queue.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from fifo_cli.errors import UsageError
from fifo_cli.events import Listener, Warned, silent
from fifo_cli.model.message import Message, ReceivedMessage
from fifo_cli.model.message_json import LINE_BYTES_MAX, LineError, from_line, identity, to_line
from fifo_cli.operations.transfer.interfaces import LocalTarget, Rejection
from fifo_cli.operations.work_db import (
    DigestSet,
    FileError,
    append,
    lock_file,
    open_for_append,
    open_if_there,
    reason_of,
    remove_locked,
    sync_folder,
    unwritable,
    usable,
    write_all,
)
from fifo_cli.own_files import check_folder


class _Dump(LocalTarget, ABC):
    """Where messages are moved to as lines, each once; a send is one write and one fsync."""

    def __init__(self) -> None:
        self.written = 0
        self._lock = threading.Lock()
        self._seen = DigestSet()

    def send(self, received: Sequence[ReceivedMessage]) -> list[Rejection]:
        """Write what was not written before, and wait for it; raises FileError."""
        with self._lock:
            news = {identity(one.message): to_line(one.message) for one in received}
            missing = self._seen.missing(news)
            news = {digest: line for digest, line in news.items() if digest in missing}
            if news:
                self._append(b"".join(news.values()))
            self._seen.add_all(news)
            self.written += len(news)
        return []

    def close(self) -> None:
        self._seen.close()

    @abstractmethod
    def _append(self, data: bytes) -> None:
        """Write lines; when it returns they are kept. Raises FileError."""


class DumpFile(_Dump):
    """A file that messages are moved to: what ``send`` has returned from is on disk, or none of it.

    Whoever writes it sets ``complete`` when everything is in it.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        super().__init__()
        self.path = path
        self.complete = False
        self._descriptor = descriptor

    def close(self) -> None:
        super().close()
        with contextlib.suppress(OSError):
            os.close(self._descriptor)

    def _append(self, data: bytes) -> None:
        try:
            append(self._descriptor, data)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def continue_after(self, listener: Listener) -> None:
        """Read what is in the file, and cut off a torn last line. Raises UsageError if it is not a dump."""
        end, whole = self.read_earlier()
        torn = os.fstat(self._descriptor).st_size - end
        if torn:
            os.ftruncate(self._descriptor, end)
            listener(Warned(f"{self.path}: cut off a last line that an earlier run left unfinished"))
        elif not whole:
            write_all(self._descriptor, b"\n")

    def read_earlier(self) -> tuple[int, bool]:
        """Read what is in the file; return where its last line ends, and whether with a line break."""
        try:
            return self._read_earlier()
        except OSError as error:
            raise UsageError(
                f"{self.path} cannot be read: {reason_of(error)}; nothing was touched",
                hint="name a file that is not there yet, or one that a dump wrote",
            ) from error

    def _read_earlier(self) -> tuple[int, bool]:
        end, whole = 0, True
        with os.fdopen(os.dup(self._descriptor), "rb") as lines:
            for number, line in enumerate(iter(lambda: lines.readline(LINE_BYTES_MAX), b""), 1):
                message = self._earlier(line, number, last=not lines.peek(1))
                if message is None:
                    break
                self._seen.add(identity(message))
                end += len(line)
                whole = line.endswith(b"\n")
        return end, whole

    def _earlier(self, line: bytes, number: int, *, last: bool) -> Message | None:
        """Read a line of an earlier run; None if it is the last one, and a crash tore it."""
        try:
            return from_line(line, queue="dlq", bytes_max=LINE_BYTES_MAX)
        except LineError as error:
            if last and _is_torn(line):
                return None
            raise UsageError(
                f"{self.path}, line {number}: no line of a dump ({error.problems[0]}); nothing was touched",
                hint="name a file that is not there yet, or one that a dump wrote",
            ) from None


class DumpStream(_Dump):
    """Stdout that messages are moved to: in the file, or in the pipe, before a message leaves its queue.

    See ``keeps_what_it_gets``.
    """

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream = stream
        self._is_file = keeps_what_it_gets(stream)

    def _append(self, data: bytes) -> None:
        try:
            self._stream.write(data)
            self._stream.flush()
            if self._is_file:
                os.fsync(self._stream.fileno())
        except (OSError, ValueError) as error:
            raise FileError(
                f"stdout cannot be written: {reason_of(error)}; what was not written is still in the queue",
                hint="make room, and run the command again with a file's name: it continues the file",
            ) from error


@contextlib.contextmanager
def open_dump(path: Path, *, listener: Listener = silent) -> Iterator[DumpFile]:
    """Open the file that messages are moved to, new (mode 0600) or continued; locked while it is open.

    A new one that nothing was written to does not stay, unless all went well: then it is what was asked for.
    Raises UsageError if it is something else than a dump or no regular file, BusyError if another run writes
    it.
    """
    descriptor, created = open_for_append(path)
    with contextlib.closing(DumpFile(path, descriptor)) as file:
        _take(file, descriptor)
        try:
            file.continue_after(listener)
            if created:
                sync_folder(path)
            yield file
        finally:
            if created and not file.complete and not os.fstat(descriptor).st_size:
                remove_locked(path)


def make_dump(path: Path) -> None:
    """Make the file of a dump that has no messages to write; leave one that is there."""
    with open_dump(path) as file:
        file.complete = True


def check_dump(path: Path) -> None:
    """Raise what ``open_dump`` would, and touch nothing."""
    descriptor = open_if_there(path)
    if descriptor is not None:
        with contextlib.closing(DumpFile(path, descriptor)) as file:
            _take(file, descriptor)
            file.read_earlier()


def _take(file: DumpFile, descriptor: int) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise UsageError(
            f"{file.path} is not a regular file, and would not keep the messages; nothing was touched",
            hint="name a file; `-` writes to stdout",
        )
    lock_file(descriptor, file.path)


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write that becomes ``path`` at the end, whole or not at all; never over an existing one.

    Raises UsageError if ``path`` exists, now or at the end.
    """
    refuse_existing(path)
    check_folder(path.parent)
    with usable(path):
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:200]}.", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            try:
                yield file
                file.flush()
                os.fsync(file.fileno())
            except OSError as error:
                raise unwritable(path, error) from error
        _publish(Path(name), path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def check_new_file(path: Path) -> None:
    """Raise what ``new_file`` would, and touch nothing."""
    refuse_existing(path)
    if (descriptor := open_if_there(path)) is not None:  # made in between
        os.close(descriptor)
        refuse_existing(path)


def refuse_existing(path: Path) -> None:
    """Raise UsageError if ``path`` exists."""
    if path.exists() or path.is_symlink():
        raise UsageError(
            f"{path} exists already, and nothing is written over it; nothing was touched",
            hint="name another file; only --move continues an existing one",
        )


def keeps_what_it_gets(stream: BinaryIO) -> bool:
    """Say whether stdout is a regular file, which keeps what is written; a pipe's reader may or may not.

    Raises UsageError for what surely keeps nothing: a terminal, or another device.
    """
    mode = os.fstat(stream.fileno()).st_mode
    if stat.S_ISREG(mode):
        return True
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        return False
    raise UsageError(
        "stdout is a terminal or a device, and would not keep the messages; nothing was touched",
        hint="name a file instead of `-`, or send stdout to one",
    )


def _publish(part: Path, path: Path) -> None:
    try:
        os.link(part, path)  # Unlike a rename, it fails if the name is taken.
    except FileExistsError:
        refuse_existing(path)
        raise
    except OSError:
        refuse_existing(path)  # a file system without hard links
        part.rename(path)
    sync_folder(path)


def _is_torn(line: bytes) -> bool:
    """Say whether a line that cannot be read is the unfinished end of one; a power cut leaves zeros, too."""
    return b"\0" in line or (not line.endswith(b"\n") and line.startswith(b"{"))
