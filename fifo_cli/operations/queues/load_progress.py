"""What of a file is in its queue already: a list beside it, each entry on disk before it counts."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fifo_cli.errors import UsageError
from fifo_cli.operations.work_db import (
    DigestSet,
    FileError,
    append,
    lock_file,
    open_for_append,
    open_if_there,
    remove_locked,
    sync_folder,
    write_all,
)
from fifo_cli.own_files import open_own

SUFFIX: Final = ".loaded"
_HEADER: Final = re.compile(r"fifo-cli load 1 ([0-9a-f]{16})")
_ENDED: Final = "ended"
_LINE: Final = re.compile(rf"[0-9a-f]{{64}}|{_ENDED}")
_SALT_BYTES: Final = 8
_ENTRY_BYTES_MAX: Final = 128


class LoadProgress:
    """Which lines were sent. This one notes nothing: for stdin, which no second run can read again.

    ``salt`` is the same for every run that continues a checkpoint, and makes its deduplication ids differ
    from another's. ``broken_off`` is when an earlier run that did not come to its end noted something last:
    it may have sent more.
    """

    salt = ""
    broken_off: datetime | None = None
    # Set before lines are sent: SQS may have what is not noted.
    used = False

    def __contains__(self, digest: str) -> bool:
        """Say whether the line of this digest was sent by an earlier run."""
        return False

    def add(self, digests: Iterable[str]) -> None:
        """Note lines for good; raises FileError if that fails."""

    def end(self) -> None:
        """Note that every line that was sent is noted."""


class FileCheckpoint(LoadProgress):
    """A file with a line for each line that was sent, its digest, and one for each run that came to its end.

    A crash tears the last one at most.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._earlier = DigestSet()

    def __contains__(self, digest: str) -> bool:
        return digest in self._earlier

    def add(self, digests: Iterable[str]) -> None:
        """Write and fsync; the queue has these messages, so a failure is reported with what it means."""
        self.used = True
        try:
            append(self._descriptor, "".join(f"{digest}\n" for digest in digests).encode())
        except OSError as error:
            raise FileError(
                f"{self.path} cannot be written: {error.strerror}; the last messages sent are not in it",
                hint="make room and run it again within five minutes: until then SQS suppresses the copies",
            ) from error

    def end(self) -> None:
        """Note the end; where that fails, the next run takes this one for broken off, which does no harm."""
        with contextlib.suppress(OSError):
            write_all(self._descriptor, f"{_ENDED}\n".encode())

    def begin(self) -> None:
        """Make a new file a checkpoint."""
        self.salt = secrets.token_hex(_SALT_BYTES)
        try:
            append(self._descriptor, f"fifo-cli load 1 {self.salt}\n".encode())
            sync_folder(self.path)
        except OSError as error:
            raise UsageError(
                f"{self.path} cannot be written: {error.strerror}; nothing was touched",
                hint="make room: it notes what was loaded, so that nothing is loaded twice",
            ) from error

    def read(self) -> int:
        """Read all entries, and return where the last whole one ends; ``salt`` is "" if there is none."""
        end, ended = 0, False
        written = datetime.fromtimestamp(os.fstat(self._descriptor).st_mtime, UTC)
        with os.fdopen(os.dup(self._descriptor), "rb") as lines:
            for number, line in enumerate(iter(lambda: lines.readline(_ENTRY_BYTES_MAX), b""), 1):
                text = line.decode("ascii", "replace").rstrip("\n")
                known = (_HEADER if number == 1 else _LINE).fullmatch(text)
                if known is None or not line.endswith(b"\n"):
                    self._refuse_unless_torn(line, last=not lines.peek(1))
                    ended = False
                    break
                if number == 1:
                    self.salt = known[1]
                elif text != _ENDED:
                    self._earlier.add(text)
                ended = text == _ENDED
                end += len(line)
        self.broken_off = written if self.salt and not ended else None
        return end

    def _refuse_unless_torn(self, line: bytes, *, last: bool) -> None:
        # A power cut leaves zeros, a crash a line without its end.
        if last and (b"\0" in line or not line.endswith(b"\n")):
            return
        raise UsageError(
            f"{self.path} is in the way: it is not a checkpoint of a load; nothing was touched",
            hint="move it elsewhere, or load the file under another name",
        )

    def close(self) -> None:
        self._earlier.close()
        os.close(self._descriptor)


@contextlib.contextmanager
def open_checkpoint(file: Path) -> Iterator[FileCheckpoint]:
    """Open or make the checkpoint beside ``file``; locked while it is open. Unused, a new one does not stay.

    Raises UsageError if it cannot be written or is something else, BusyError if another run has it.
    """
    path = _beside(file)
    descriptor, created = open_for_append(path)
    with contextlib.closing(FileCheckpoint(path, descriptor)) as checkpoint:
        lock_file(descriptor, path)
        try:
            end = checkpoint.read()
            if os.fstat(descriptor).st_size > end:
                os.ftruncate(descriptor, end)
            if not checkpoint.salt:
                checkpoint.begin()
            yield checkpoint
        finally:
            if created and not checkpoint.used:
                remove_locked(path)


def check_checkpoint(file: Path) -> None:
    """Raise what ``open_checkpoint`` would of the file's owner, mode, kind and lock, and touch nothing."""
    path = _beside(file)
    descriptor = open_if_there(path)
    if descriptor is not None:
        try:
            lock_file(descriptor, path)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def peek_checkpoint(file: Path) -> Iterator[LoadProgress]:
    """Read the checkpoint beside ``file``, if there is one, and change nothing."""
    path = _beside(file)
    with contextlib.ExitStack() as stack:
        progress = LoadProgress()
        try:
            checkpoint = FileCheckpoint(path, open_own(path, os.O_RDONLY))
            progress = stack.enter_context(contextlib.closing(checkpoint))
            checkpoint.read()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise UsageError(
                f"{path} cannot be read: {error.strerror}; nothing was sent",
                hint="it shows what was loaded before: fix it, or load the file under another name",
            ) from error
        yield progress


def _beside(file: Path) -> Path:
    return file.with_name(file.name + SUFFIX)
