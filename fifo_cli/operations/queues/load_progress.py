"""What of a file is in its queue already: a list beside it, each entry on disk before it counts."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from fifo_cli.errors import UsageError
from fifo_cli.operations.work_db import (
    DigestSet,
    FileError,
    append,
    lock_file,
    open_for_append,
    open_if_there,
    sync_folder,
    write_all,
)
from fifo_cli.own_files import NotOwnError, open_own

SUFFIX: Final = ".loaded"
_HEADER: Final = re.compile(r"fifo-cli load 1 ([0-9a-f]{16})")
_ENDED: Final = "ended"
_LINE: Final = re.compile(rf"[0-9a-f]{{64}}|{_ENDED}")
_SALT_BYTES: Final = 8
_ENTRY_BYTES_MAX: Final = 128


class LoadProgress(Protocol):
    """Which lines were sent. ``salt`` makes the deduplication ids of one checkpoint differ from another's."""

    @property
    def salt(self) -> str:
        """A text that is the same for every run that continues the checkpoint."""

    @property
    def broken_off(self) -> datetime | None:
        """When an earlier run noted something last, if it did not come to its end: it may have sent more."""

    def __contains__(self, digest: str) -> bool:
        """Say whether the line of this digest was sent by an earlier run."""

    def add(self, digests: Iterable[str]) -> None:
        """Remember lines for good; raises FileError if that fails."""

    def end(self) -> None:
        """Remember that every line that was sent is noted."""


class NoCheckpoint:
    """For stdin, which no second run can read again."""

    salt: Final = ""
    broken_off: Final = None

    def __contains__(self, digest: str) -> bool:
        return False

    def add(self, digests: Iterable[str]) -> None:
        """Remember nothing."""

    def end(self) -> None:
        """Remember nothing."""


class FileCheckpoint:
    """A file with a line for each line that was sent, its digest, and one for each run that came to its end.

    A crash tears the last one at most.
    """

    def __init__(self, path: Path, descriptor: int, notes: _Notes, earlier: DigestSet) -> None:
        self.path = path
        self._descriptor = descriptor
        self._notes = notes
        self._earlier = earlier

    @property
    def salt(self) -> str:
        return self._notes.salt

    @property
    def broken_off(self) -> datetime | None:
        return self._notes.broken_off

    def __contains__(self, digest: str) -> bool:
        return digest in self._earlier

    def add(self, digests: Iterable[str]) -> None:
        """Write and fsync; the queue has these messages, so a failure is reported with what it means."""
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


@dataclass(frozen=True, slots=True)
class _Notes:
    """What a checkpoint says besides its entries."""

    salt: str
    broken_off: datetime | None = None


@contextlib.contextmanager
def open_checkpoint(file: Path) -> Iterator[FileCheckpoint]:
    """Open or make the checkpoint beside ``file``; locked while it is open.

    Raises UsageError if it cannot be written or is something else, BusyError if another run has it.
    """
    path = file.with_name(file.name + SUFFIX)
    descriptor, _ = open_for_append(path)
    earlier = DigestSet()
    try:
        lock_file(descriptor, path)
        notes = _read(path, descriptor, earlier)
        if notes is None:
            notes = _Notes(secrets.token_hex(_SALT_BYTES))
            _begin(path, descriptor, notes.salt)
        yield FileCheckpoint(path, descriptor, notes, earlier)
    finally:
        earlier.close()
        os.close(descriptor)


def check_checkpoint(file: Path) -> None:
    """Raise what ``open_checkpoint`` would of the file's owner, mode, kind and lock, and touch nothing."""
    path = file.with_name(file.name + SUFFIX)
    descriptor = open_if_there(path)
    if descriptor is not None:
        try:
            lock_file(descriptor, path)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def peek_checkpoint(file: Path) -> Iterator[LoadProgress]:
    """Read the checkpoint beside ``file``, if there is one, and change nothing."""
    path = file.with_name(file.name + SUFFIX)
    earlier = DigestSet()
    try:
        descriptor = open_own(path, os.O_RDONLY)
    except NotOwnError:
        earlier.close()
        raise
    except OSError as error:
        earlier.close()
        if not isinstance(error, FileNotFoundError):
            raise _unreadable(path, error) from error
        yield NoCheckpoint()
        return
    try:
        try:
            notes = _read(path, descriptor, earlier, repair=False)
        except OSError as error:
            raise _unreadable(path, error) from error
        yield FileCheckpoint(path, descriptor, notes or _Notes(""), earlier)
    finally:
        earlier.close()
        os.close(descriptor)


def _read(path: Path, descriptor: int, earlier: DigestSet, *, repair: bool = True) -> _Notes | None:
    """Read notes and entries, and cut off a torn end; None if nothing whole is in the file."""
    salt, end, ended = None, 0, False
    written = datetime.fromtimestamp(os.fstat(descriptor).st_mtime, UTC)
    with os.fdopen(os.dup(descriptor), "rb") as lines:
        for number, line in enumerate(iter(lambda: lines.readline(_ENTRY_BYTES_MAX), b""), 1):
            text = line.decode("ascii", "replace").rstrip("\n")
            known = (_HEADER if number == 1 else _LINE).fullmatch(text)
            if known is None or not line.endswith(b"\n"):
                _refuse_unless_torn(path, line, last=not lines.peek(1))
                ended = False
                break
            if number == 1:
                salt = known[1]
            elif text != _ENDED:
                earlier.add(text)
            ended = text == _ENDED
            end += len(line)
    if repair and os.fstat(descriptor).st_size > end:
        os.ftruncate(descriptor, end)
    return None if salt is None else _Notes(salt, None if ended else written)


def _unreadable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"{path} cannot be read: {error.strerror}; nothing was sent",
        hint="it shows what was loaded before: fix it, or load the file under another name",
    )


def _refuse_unless_torn(path: Path, line: bytes, *, last: bool) -> None:
    if last and (b"\0" in line or not line.endswith(b"\n")):
        return
    raise UsageError(
        f"{path} is in the way: it is not a checkpoint of `load`; nothing was touched",
        hint="move it elsewhere, or load the file under another name",
    )


def _begin(path: Path, descriptor: int, salt: str) -> None:
    try:
        append(descriptor, f"fifo-cli load 1 {salt}\n".encode())
        sync_folder(path)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}; nothing was touched",
            hint="make room: it notes what was loaded, so that nothing is loaded twice",
        ) from error
