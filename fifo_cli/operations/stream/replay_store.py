"""The records of one replay, on disk: which there are, in what order, and which are in the queue already.

All of them are read before the first is sent: then it is known how many are affected, they can be sent in
the order in which they were written although they come from several shards, and a replay that is
interrupted goes on from this file, even with records that have expired in the stream meanwhile. Memory does
not grow with their number.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

from fifo_cli.model.times import iso, parse_instant
from fifo_cli.operations.work_db import WorkDb, locked_name, remove

FOLDER: Final = "replay"
# What an interrupted replay with a time such as "2h" is asked for is another thing later on.
RELATIVE_LIFETIME: Final = timedelta(hours=1)
LIFETIME: Final = timedelta(hours=24)
_READ_AHEAD: Final = 25
_LABEL_BYTES: Final = 4
_HINT: Final = (
    "a replay keeps there what it still has to send: make room, let yourself write there, or begin again with"
    " --restart"
)
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records (
    number INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT UNIQUE, time INTEGER, sequence TEXT,
    state TEXT DEFAULT 'waiting', record TEXT
);
CREATE INDEX IF NOT EXISTS line ON records (state, time, number);
CREATE TABLE IF NOT EXISTS batches (
    message_id TEXT, event_id TEXT, PRIMARY KEY (message_id, event_id)
) WITHOUT ROWID;
"""

State = Literal["waiting", "enqueued", "suppressed", "parked", "skipped", "failed"]


@dataclass(frozen=True, slots=True)
class ReplayRecord:
    """A record to replay; ``time`` is its place in line, in whole seconds of the epoch."""

    event_id: str
    sequence: str
    time: int
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sums:
    """How many records are in which state."""

    enqueued: int = 0
    suppressed: int = 0
    skipped: int = 0
    parked: int = 0
    failed: int = 0
    waiting: int = 0

    @property
    def matched(self) -> int:
        return self.finished + self.failed + self.waiting

    @property
    def finished(self) -> int:
        """How many need nothing more."""
        return self.enqueued + self.suppressed + self.skipped + self.parked


class ReplayStore:
    """The file of one replay; safe to share between threads."""

    def __init__(self, path: Path | None = None) -> None:
        self._db = WorkDb(_SCHEMA, "the records", meaning="what was sent is sent", path=path, hint=_HINT)
        self.close = self._db.close

    # What is known of the replay as a whole.

    def fact(self, name: str) -> str | None:
        """Return a fact that an earlier run, or this one, wrote down."""
        found = self._db.one("SELECT value FROM facts WHERE name = ?", name)
        return None if found is None else str(found)

    def note(self, **facts: str) -> None:
        """Write facts down, all or none."""
        self._db.write("INSERT OR REPLACE INTO facts VALUES (?, ?)", facts.items())

    @property
    def label(self) -> str:
        """Eight hexadecimal digits that are this replay's own, in every run that continues it."""
        label = self.fact("label")
        if label is None:
            label = secrets.token_hex(_LABEL_BYTES)
            self.note(label=label)
        return label

    def begin(self, *, now: datetime) -> None:
        """Forget what was there, and note the time."""
        with self._db.transaction() as database:
            for table in ("facts", "records", "batches"):
                database.execute(f"DELETE FROM {table}")
        self.note(begun=iso(now))

    def is_stale(self, *, now: datetime, relative: bool) -> bool:
        """Say whether what an interrupted replay left is too old to go on with, or not whole."""
        begun = self.fact("begun")
        if self.fact("read") is None or begun is None:
            return True
        return now - parse_instant(begun, now=now) > (RELATIVE_LIFETIME if relative else LIFETIME)

    # The records.

    def add(self, entries: Iterable[ReplayRecord], *, batch: str | None = None) -> None:
        """Add records that are not there yet, all or none; ``batch`` is the failure record they are in."""
        with self._db.transaction() as database:
            for entry in entries:
                database.execute(
                    "INSERT OR IGNORE INTO records (event_id, time, sequence, record) VALUES (?, ?, ?, ?)",
                    (entry.event_id, entry.time, entry.sequence, _packed(entry.record)),
                )
                if batch is not None:
                    database.execute("INSERT OR IGNORE INTO batches VALUES (?, ?)", (batch, entry.event_id))

    def waiting(self) -> Iterator[Mapping[str, Any]]:
        """Yield the waiting records in their order, as the enqueuer function gets them.

        Their state may change meanwhile. Some are read at a time: one may have 800 KB.
        """
        # (time, number) > (?, ?), as two ranges of the index: SQLite would read a whole second each time.
        columns = "SELECT time, number, record FROM records WHERE state = 'waiting' AND"
        query = (
            f"{columns} time = ? AND number > ? UNION ALL {columns} time > ? ORDER BY time, number LIMIT ?"
        )
        after = (-1, -1, -1)
        while rows := list(self._db.rows(query, *after, _READ_AHEAD)):
            for time, number, record in rows:
                after = (time, number, time)
                yield json.loads(record)

    def set_states(self, states: Mapping[str, State]) -> None:
        """Note what became of records, by event id; it survives the end of this process, however it ends."""
        rows = [(state, event_id) for event_id, state in states.items()]
        self._db.write("UPDATE records SET state = ? WHERE event_id = ?", rows)

    def retry_failed(self) -> None:
        """Let those wait again that an earlier run could not send."""
        self._db.write("UPDATE records SET state = 'waiting' WHERE state = 'failed'", [()])

    def sums(self) -> Sums:
        """Count the records by state."""
        return Sums(**dict(self._db.rows("SELECT state, COUNT(*) FROM records GROUP BY state")))

    def bounds(self) -> tuple[str | None, str | None]:
        """Return the sequence numbers of the first and the last record in line, as the stream spells them."""
        first, last = (
            self._db.one(f"SELECT sequence FROM records ORDER BY time {order}, number {order} LIMIT 1")
            for order in ("ASC", "DESC")
        )
        return first, last

    def is_worked_off(self, batch: str) -> bool:
        """Say whether nothing more is to be done for the records of a failure record."""
        left = self._db.one(
            "SELECT 1 FROM batches JOIN records USING (event_id)"
            " WHERE message_id = ? AND state IN ('waiting', 'failed') LIMIT 1",
            batch,
        )
        return left is None


def identity(*parts: object) -> str:
    """Return the name of the checkpoint of what is asked for: the same for the same command line."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


@contextlib.contextmanager
def open_checkpoint(folder: Path, name: str, *, restart: bool = False) -> Iterator[ReplayStore]:
    """Open or make the file ``name`` in ``folder``, mode 0600 and locked; it goes away when all is done.

    It stays if sending had begun and is not noted as ``done``. ``restart`` removes an older one. Raises
    BusyError if another run has it open, UsageError if it cannot be written.
    """
    path = folder / f"{name}.db"
    # What interrupted replays left, and nobody went on with, is removed: it holds items.
    with locked_name(path, lifetime=LIFETIME.total_seconds(), hint=_HINT):
        if restart:
            remove(path)
        checkpoint = ReplayStore(path)
        try:
            yield checkpoint
        finally:
            with contextlib.closing(checkpoint):
                unfinished = checkpoint.fact("sending") and not checkpoint.fact("done")
            if not unfinished:
                remove(path)


def temporary_checkpoint() -> contextlib.closing[ReplayStore]:
    """Give a checkpoint that no later run will find."""
    return contextlib.closing(ReplayStore())


def _packed(record: Mapping[str, Any]) -> str:
    return json.dumps(record, separators=(",", ":"), default=_as_lambda_has_it)


def _as_lambda_has_it(value: object) -> Any:
    """GetRecords hands over datetimes and bytes; Lambda's events have epoch seconds and base64."""
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    raise TypeError(f"a stream record holds a {type(value).__name__}")
