"""Stores on this machine's disk, so that memory does not grow: opening, locking, permissions, a full disk.

A database is temporary (a file of SQLite's own, gone with the process) or kept: a file in a folder of the
user's, mode 0600, locked by one run at a time. Files that only grow (dumps, what was loaded) are locked and
written here, too.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from fifo_cli.errors import BusyError, FifoError, UsageError
from fifo_cli.own_files import check_folder, check_own_folder, open_own

_CHUNK: Final = 500
_PRIVATE: Final = 0o700
_FILE_HINT: Final = "name a file in a folder that exists and that you may write"
_TEMPORARY_FOLDER: Final = "$TMPDIR or $SQLITE_TMPDIR"
_ADD: Final = "INSERT INTO seen VALUES (?, 1) ON CONFLICT DO UPDATE SET times = times + 1"


class FileError(FifoError):
    """A file of ours cannot be written: the disk is full, or gone. Waiting does not fix it."""


class WorkDb:
    """An SQLite database with its tables; safe to share between threads.

    ``what`` is kept in it; an error says what that means (``meaning``). Without a ``path`` it is temporary.
    Raises UsageError if it cannot be opened, FileError in every method if it cannot be read or
    written.
    """

    def __init__(
        self, tables: str, what: str, *, meaning: str = "", path: Path | None = None, hint: str = ""
    ) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._failed = f"{path} cannot be used" if path else f"{what} cannot be kept on this machine's disk"
        self._meaning = f"; {meaning}" if meaning else ""
        self._hint = hint or f"make room in the temporary folder, or set {_TEMPORARY_FOLDER} to one with room"
        with usable(path or "the temporary folder", self._hint):
            if path:
                os.close(open_own(path, os.O_RDWR | os.O_CREAT))  # SQLite would make it readable to others
            self._connection = sqlite3.connect(path or "", check_same_thread=False)
            try:
                # WAL: what is committed survives the end of the process, a power cut spoils nothing.
                self._connection.execute(f"PRAGMA journal_mode = {'WAL' if path else 'MEMORY'}")
                self._connection.execute(f"PRAGMA synchronous = {'NORMAL' if path else 'OFF'}")
                self._connection.executescript(tables)
            except BaseException:
                self.close()
                raise

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Give the database to one thread, for a transaction that is done or not at all."""
        try:
            with self._lock, self._connection:
                yield self._connection
        except sqlite3.Error as error:
            raise FileError(f"{self._failed}: {error}{self._meaning}", hint=self._hint) from error

    def write(self, query: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a query for every row, all or none."""
        with self.transaction() as connection:
            connection.executemany(query, rows)

    def one(self, query: str, *values: Any) -> Any:
        """Return the first column of the first row; None without a row."""
        with self.transaction() as connection:
            row = connection.execute(query, values).fetchone()
        return None if row is None else row[0]

    def rows(self, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Yield rows, read some at a time with a cursor of their own; others may write meanwhile."""
        with self.transaction() as connection:
            cursor = connection.execute(query, values)
            rows = cursor.fetchmany(_CHUNK)
        while rows:
            yield from rows
            with self.transaction():
                rows = cursor.fetchmany(_CHUNK)

    @property
    def changes(self) -> int:
        """A number that grows with every row that is written."""
        return self._connection.total_changes

    def close(self) -> None:
        self._connection.close()


class DigestSet:
    """A set of digests on disk; gone when it is closed."""

    def __init__(self) -> None:
        self._db = WorkDb(
            "CREATE TABLE seen (digest BLOB PRIMARY KEY, times INTEGER) WITHOUT ROWID",
            "what was read",
            meaning="what was not finished is still in its queue or file",
        )
        self.close = self._db.close

    def add(self, digest: str) -> int:
        """Add a digest (hexadecimal); return how many times it was added by now."""
        return int(self._db.one(f"{_ADD} RETURNING times", bytes.fromhex(digest)))

    def add_all(self, digests: Iterable[str]) -> None:
        """Add digests, all or none."""
        self._db.write(_ADD, ((bytes.fromhex(one),) for one in digests))

    def __contains__(self, digest: str) -> bool:
        return bool(self._db.changes) and not self.missing([digest])

    def missing(self, digests: Iterable[str]) -> set[str]:
        """Return those of the digests that were not added."""
        query = "SELECT 1 FROM seen WHERE digest = ?"
        with self._db.transaction() as connection:
            found = {one: connection.execute(query, (bytes.fromhex(one),)).fetchone() for one in digests}
        return {one for one, row in found.items() if row is None}


# Databases that are kept.


@contextlib.contextmanager
def locked_name(path: Path, *, lifetime: float, hint: str) -> Iterator[None]:
    """Lock the name of a database, which need not exist yet; remove others older than ``lifetime`` seconds.

    Raises BusyError if another run has it, UsageError if the folder cannot be written.
    """
    with _locked(path, hint):
        for other in path.parent.glob("*.db"):
            with contextlib.suppress(OSError, BusyError):
                if time.time() - other.stat().st_mtime > lifetime:
                    with _locked(other, hint):
                        remove(other)
        yield


def remove(path: Path) -> None:
    """Remove a database that is not open."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(path: Path, hint: str) -> Iterator[None]:
    folder, lock = path.parent, path.with_suffix(".lock")
    with usable(folder, hint):
        folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError), (folder.parent / ".gitignore").open("x") as file:
            file.write("*\n")
        check_own_folder(folder.parent)
        check_own_folder(folder)
        descriptor = open_own(lock, os.O_RDWR | os.O_CREAT)
    try:
        lock_file(descriptor, lock)
        try:
            yield
        finally:
            if not path.exists():
                lock.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def usable(path: Path | str, hint: str = _FILE_HINT) -> Iterator[None]:
    """Make an error of the disk a UsageError: nothing has been touched yet."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise UsageError(
            f"{path} cannot be written: {reason_of(error)}; nothing was touched", hint=hint
        ) from error


# Files that only grow.


def open_for_append(path: Path) -> tuple[int, bool]:
    """Open a file of the user's own to read and append, made if need be; say whether it is new."""
    flags = os.O_RDWR | os.O_APPEND
    check_folder(path.parent)
    with usable(path):
        try:
            return open_own(path, flags | os.O_CREAT | os.O_EXCL), True
        except FileExistsError:
            return open_own(path, flags), False


def open_if_there(path: Path) -> int | None:
    """Open a file as ``open_for_append`` does, but make none; None if it is not there, and could be made."""
    check_folder(path.parent)
    with usable(path):
        try:
            return open_own(path, os.O_RDWR | os.O_APPEND)
        except FileNotFoundError:
            path.parent.stat()
        if not os.access(
            path.parent, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids
        ):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return None


def append(descriptor: int, data: bytes) -> None:
    """Write ``data`` at the end of a file; it is on disk when this returns, or all of it is cut off again."""
    start = os.lseek(descriptor, 0, os.SEEK_END)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, start)
        raise


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of ``data``; os.write may take only a part of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_folder(path: Path) -> None:
    """Make the name of a new file durable, not only its contents."""
    try:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> FileError:
    return FileError(
        f"{path} cannot be written: {error.strerror}; every message that is not in it is still in the queue",
        hint="make room, or fix the disk, and run the command again; it continues the file",
    )


def lock_file(descriptor: int, path: Path) -> None:
    """Lock an open file for as long as it is open.

    Raises BusyError if another process has it, or had it and removed it.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_there = os.path.samestat(os.fstat(descriptor), path.stat())
    except (BlockingIOError, FileNotFoundError):
        is_there = False
    if not is_there:
        raise BusyError(
            f"another run is working with {path}", hint="wait until it is done, or name another file"
        )


def remove_locked(path: Path) -> None:
    """Remove a file that this process has locked."""
    with contextlib.suppress(OSError):  # it does no harm where it is
        path.unlink()


def reason_of(error: Exception) -> str:
    """Return the reason of an error of the operating system, without its number."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
