"""The messages of hold on this machine's disk, to be put in order; SQS keeps the durable copy of each.

A temporary database, so that memory does not grow with the queue; it is gone with the process.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from fifo_cli.model.limits import BATCH_ENTRIES_MAX
from fifo_cli.model.message import Message, ReceivedMessage
from fifo_cli.operations.queues.order_labels import Origin, unlabel
from fifo_cli.operations.transfer.interfaces import LocalTarget, Rejection
from fifo_cli.operations.work_db import WorkDb

_TABLES: Final = """
    CREATE TABLE messages (
        key TEXT PRIMARY KEY, origin TEXT, grp TEXT, sequence TEXT, exact TEXT, place TEXT, message BLOB
    ) WITHOUT ROWID;
    CREATE TABLE handles (id TEXT PRIMARY KEY, handle TEXT) WITHOUT ROWID;
    CREATE TABLE line (id INTEGER PRIMARY KEY, key TEXT);
"""
# Stream messages go by stream sequence. Each has a place in time, too, for the foreign ones to go between:
# when it was sent to main, but never later than one behind it in the stream (it was sent again later, then),
# nor earlier than one before it. So sequence rules over time.
#
# The line is read across groups, those first that have the most behind them: that fills the sends best.
_ORDER: Final = """
    INSERT INTO line (key)
    WITH bounded AS (
        SELECT key, grp, sequence, place, min(exact) OVER (
            PARTITION BY grp ORDER BY sequence, place, key
            ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
        ) AS latest
        FROM messages WHERE sequence <> ''
    ), placed AS (
        SELECT key, grp, sequence, max(min(place, coalesce(latest, place))) OVER (
            PARTITION BY grp ORDER BY sequence, place, key
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS place, place AS own
        FROM bounded
        UNION ALL
        SELECT key, grp, sequence, place, place FROM messages WHERE sequence = ''
    ), lined AS (
        SELECT key, grp, row_number() OVER (
            PARTITION BY grp ORDER BY place DESC, sequence DESC, own DESC, key DESC
        ) AS behind
        FROM placed
    )
    SELECT key FROM lined ORDER BY behind DESC, grp
"""


class OrderStore:
    """Messages by origin; each is in it once, however often hold gave it. Safe to share between threads."""

    def __init__(self) -> None:
        self._db = WorkDb(_TABLES, "the order of the messages", meaning="they are all still in SQS")
        self.close = self._db.close

    def __len__(self) -> int:
        return int(self._db.one("SELECT count(*) FROM messages"))

    def __contains__(self, origin: Origin) -> bool:
        return bool(self._db.one("SELECT count(*) FROM messages WHERE key = ?", origin.key))

    @property
    def from_dlq(self) -> int:
        """How many came from the DLQ."""
        return int(self._db.one("SELECT count(*) FROM messages WHERE origin LIKE 'd%'"))

    def add(self, messages: Sequence[Message]) -> None:
        """Add messages as hold gave them; raises FifoError if the disk is full."""
        self._db.write("INSERT OR IGNORE INTO messages VALUES (?, ?, ?, ?, ?, ?, ?)", map(_row, messages))

    @property
    def handles(self) -> int:
        """How many of hold's messages are in flight here."""
        return int(self._db.one("SELECT count(*) FROM handles"))

    def known(self, message_ids: Sequence[str]) -> set[str]:
        """Return those of hold's messages whose handles were remembered."""
        marks = ",".join("?" * len(message_ids))
        return {
            row[0] for row in self._db.rows(f"SELECT id FROM handles WHERE id IN ({marks})", *message_ids)
        }

    def add_handles(self, handles: Sequence[tuple[str, str]]) -> None:
        """Remember receipt handles by hold's message id, the newest of each, until they are used."""
        self._db.write("INSERT OR REPLACE INTO handles VALUES (?, ?)", handles)

    def take_handles(self, count: int) -> list[str]:
        """Return handles and forget them."""
        with self._db.transaction() as connection:
            query = "DELETE FROM handles WHERE id IN (SELECT id FROM handles LIMIT ?) RETURNING handle"
            return [row[0] for row in connection.execute(query, (count,)).fetchall()]

    def put_in_order(self) -> None:
        """Make the line that ``read`` gives; raises FifoError if the disk is full."""
        with self._db.transaction() as connection:
            connection.execute("DELETE FROM line")
            connection.execute(_ORDER)

    def read(self, *, after: int, count: int) -> list[tuple[int, Origin, Message]]:
        """Return the next messages of the line, those of each group in order, as they were before hold."""
        rows = self._db.rows(
            "SELECT line.id, origin, message FROM line JOIN messages USING (key)"
            " WHERE line.id > ? ORDER BY line.id LIMIT ?",
            after,
            count,
        )
        return [_read(*row) for row in rows]

    def line(self) -> Iterator[ReceivedMessage]:
        """Yield what ``read`` gives; a message's receipt handle is its origin.

        Nothing is deleted by it: hold is emptied when all of it is in main.
        """
        last = 0
        while rows := self.read(after=last, count=BATCH_ENTRIES_MAX):
            yield from (ReceivedMessage(message, origin.text()) for _, origin, message in rows)
            last = rows[-1][0]


class OrderStoreTarget(LocalTarget):
    """A store as a target of the engine."""

    def __init__(self, store: OrderStore) -> None:
        self._store = store

    def send(self, received: Sequence[ReceivedMessage]) -> list[Rejection]:
        self._store.add([one.message for one in received])
        return []


def _row(message: Message) -> tuple[str | bytes | None, ...]:
    origin, group = unlabel(message)
    sequence = _stream_key(message.text("stream_sequence"))
    sent = _place(origin.sent_ms, origin.sequence)
    exact = sent if origin.kind == "m" else None
    created = None if exact else _created_ms(message.text("created_at"))
    place = sent if created is None or not sequence else min(sent, _place(created, 0))
    stored = pickle.dumps(replace(message, group=group))
    return origin.key, origin.text(), group, sequence, exact, place, stored


def _read(number: int, text: str, stored: bytes) -> tuple[int, Origin, Message]:
    origin = Origin.parse(text)
    assert origin is not None, text
    # Of this process's own temporary database, which nobody else can open.
    return number, origin, pickle.loads(stored)


def _stream_key(sequence: str | None) -> str:
    """Return a stream sequence so that text compares as the integer does; "" if it is none."""
    if sequence is None or not (sequence.isascii() and sequence.isdigit()):
        return ""
    digits = sequence.lstrip("0") or "0"
    return f"{len(digits):06}{digits}"


def _place(sent_ms: int, sequence: int) -> str:
    """Return a place in time; of two messages of one millisecond, SQS's own sequence shows the first."""
    return f"{sent_ms:015}.{sequence:025}"


def _created_ms(text: str | None) -> int | None:
    try:
        created = round(datetime.fromisoformat(text or "").timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
    return created if created > 0 else None
