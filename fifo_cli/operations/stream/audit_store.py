"""What an audit has found out, on disk: memory does not grow with the window.

A temporary database of the process. Every fact may be added twice and counts once; the order in which facts
come does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple, get_args

from fifo_cli.model.names import QueueRole
from fifo_cli.operations.work_db import WorkDb

# Sequence numbers have up to 40 digits (API Reference, StreamRecord): padded, their text sorts as they do.
_DIGITS: Final = 40
# So many messages of a group SQS gives out at most while none of them is deleted: who has that many before
# it cannot have been received, and so not deleted either (Developer Guide, "FIFO queue delivery logic").
_FRONT: Final = 10
Logger = Literal["enqueuer", "replay", "worker", "operator"]
# Those that are queued or parked by a verdict are not seen there: their queue holds more than can be seen.
Verdict = Literal["queued", "parked", "waiting", "moved", "missing", "unknown"]
VERDICTS: Final = get_args(Verdict)

_TABLES: Final = """
    CREATE TABLE records (
        event_id TEXT PRIMARY KEY, shard TEXT, stream_sequence TEXT, event TEXT, key TEXT, created INTEGER,
        grp TEXT, sequence TEXT
    ) WITHOUT ROWID;
    CREATE TABLE deliveries (
        event_id TEXT, time INTEGER, message_id TEXT, attempt INTEGER,
        PRIMARY KEY (event_id, time, message_id, attempt)
    ) WITHOUT ROWID;
    CREATE TABLE steps (
        event_id TEXT, logger TEXT, word TEXT, time INTEGER, reason TEXT, PRIMARY KEY (event_id, logger, word)
    ) WITHOUT ROWID;
    CREATE TABLE unanswered (
        event_id TEXT, time INTEGER, reason TEXT, PRIMARY KEY (event_id, time)
    ) WITHOUT ROWID;
    CREATE TABLE receives (
        event_id TEXT, message_id TEXT, number INTEGER, PRIMARY KEY (event_id, message_id, number)
    ) WITHOUT ROWID;
    CREATE TABLE seen (event_id TEXT, queue TEXT, PRIMARY KEY (event_id, queue)) WITHOUT ROWID;
    CREATE TABLE numbers (
        event_id TEXT, grp TEXT, number TEXT, PRIMARY KEY (event_id, grp, number)
    ) WITHOUT ROWID;
    CREATE TABLE line (look INTEGER, grp TEXT, number TEXT, PRIMARY KEY (look, grp, number)) WITHOUT ROWID;
    CREATE TABLE fronts (look INTEGER, grp TEXT, number TEXT, PRIMARY KEY (look, grp)) WITHOUT ROWID;
    CREATE TABLE passed (grp TEXT PRIMARY KEY, number TEXT) WITHOUT ROWID;
    CREATE TABLE verdicts (event_id TEXT PRIMARY KEY, verdict TEXT, reason TEXT) WITHOUT ROWID;
"""
_WANTED: Final = "grp IS NOT NULL"
_COLUMNS: Final = "event_id, shard, stream_sequence, event, key, created, grp"
_PLACED: Final = f"""
    SELECT records.event_id AS event_id, CASE
        WHEN EXISTS (SELECT 1 FROM deliveries WHERE event_id = records.event_id) THEN 'delivered'
        WHEN EXISTS (SELECT 1 FROM seen WHERE event_id = records.event_id AND queue <> 'dlq') THEN 'queued'
        WHEN EXISTS (SELECT 1 FROM numbers JOIN fronts USING (grp)
            WHERE event_id = records.event_id AND numbers.number > fronts.number) THEN 'queued'
        WHEN EXISTS (SELECT 1 FROM seen WHERE event_id = records.event_id) THEN 'parked'
        END AS place
    FROM records WHERE {_WANTED}
"""


class AuditedRecord(NamedTuple):
    """A record of the stream; ``stream_sequence`` is as the stream writes it.

    ``created`` is in epoch seconds. Without a ``group`` no message is made of it. One that only a log knows
    of has no ``shard``.
    """

    event_id: str
    shard: str
    stream_sequence: str
    event: str
    key: str
    created: int
    group: str | None

    @property
    def sequence(self) -> int:
        return int(self.stream_sequence)

    @property
    def written(self) -> datetime:
        return datetime.fromtimestamp(self.created, UTC)


class Step(NamedTuple):
    """What a log says of a record last, in one of its words; ``time`` is in epoch milliseconds."""

    event_id: str
    logger: Logger
    word: str
    time: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Numbered:
    """The number that SQS gave a message of a record when it was sent to main; they grow within a group."""

    event_id: str
    group: str
    number: int


class Delivery(NamedTuple):
    """A delivery that a log shows; ``time`` is in epoch milliseconds."""

    event_id: str
    time: int
    message_id: str
    attempt: int


class AuditStore:
    """Records, and what is known of them."""

    def __init__(self) -> None:
        self._db = WorkDb(_TABLES, "what the audit found out")
        self.close = self._db.close

    def add_records(self, entries: Iterable[AuditedRecord]) -> None:
        """Add records; one that is there already stays as it is."""
        rows = ((*one, _padded(int(one.stream_sequence))) for one in entries)
        self._db.write("INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def add_deliveries(self, deliveries: Iterable[Delivery]) -> None:
        self._db.write("INSERT OR IGNORE INTO deliveries VALUES (?, ?, ?, ?)", deliveries)

    def add_unanswered(self, attempts: Iterable[tuple[str, int, str]]) -> None:
        """Note attempts that an API may have taken: event id, time in epoch milliseconds, and a reason."""
        self._db.write("INSERT OR IGNORE INTO unanswered VALUES (?, ?, ?)", attempts)

    def add_receives(self, receives: Iterable[tuple[str, str, int]]) -> None:
        """Note which receives of a message the worker logged: event id, message id, and the number."""
        self._db.write("INSERT OR IGNORE INTO receives VALUES (?, ?, ?)", receives)

    def received_unlogged(self) -> Iterator[tuple[str, int, int]]:
        """Yield the records delivered at a receive before which there was one that the worker did not log.

        Each with when it was written and first delivered, in epoch milliseconds. A look is a receive, too.
        """
        return self._db.rows(
            "SELECT event_id, created * 1000, time FROM records JOIN"
            " (SELECT event_id, message_id, min(time) AS time, attempt FROM deliveries GROUP BY event_id)"
            " AS first USING (event_id) WHERE attempt > (SELECT count(*) + 1 FROM receives WHERE"
            " receives.event_id = records.event_id AND receives.message_id = first.message_id"
            " AND number < attempt)"
        )

    def add_steps(self, steps: Iterable[Step]) -> None:
        """Add what logs say; of the same words about a record the latest is kept."""
        self._db.write(
            "INSERT INTO steps VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
            " SET time = excluded.time, reason = excluded.reason WHERE excluded.time > steps.time",
            steps,
        )

    def add_seen(self, queue: QueueRole, event_ids: Iterable[str]) -> None:
        """Note that messages of records were seen in a queue."""
        self._db.write("INSERT OR IGNORE INTO seen VALUES (?, ?)", ((one, queue) for one in event_ids))

    def add_numbers(self, numbers: Iterable[Numbered]) -> None:
        """Note the numbers that records' messages got in main."""
        rows = ((one.event_id, one.group, _padded(one.number)) for one in numbers)
        self._db.write("INSERT OR IGNORE INTO numbers VALUES (?, ?, ?)", rows)

    def add_in_line(self, look: int, messages: Iterable[tuple[str, int]]) -> None:
        """Note groups and numbers of messages that were seen in main, in the ``look``-th look at it."""
        self._db.write(
            "INSERT OR IGNORE INTO line VALUES (?, ?, ?)",
            ((look, group, _padded(number)) for group, number in messages),
        )

    def close_line(self, look: int) -> int:
        """Note which message is the tenth of its group; return how many behind such are known, but unseen.

        What was sent behind it is in main, whether it can be seen or not.
        """
        self._db.write(
            "INSERT OR REPLACE INTO fronts SELECT look, grp, number FROM"
            " (SELECT *, row_number() OVER (PARTITION BY grp ORDER BY number) AS place FROM line"
            f" WHERE look = ?) WHERE place = {_FRONT}",
            [(look,)],
        )
        return int(
            self._db.one(
                "SELECT count(*) FROM numbers JOIN fronts USING (grp) WHERE look = ?"
                " AND numbers.number > fronts.number AND NOT EXISTS (SELECT 1 FROM line WHERE"
                " line.look = fronts.look AND line.grp = numbers.grp AND line.number = numbers.number)",
                look,
            )
        )

    def judge(self, verdicts: Iterable[tuple[str, Verdict, str]]) -> None:
        """Note what is to be thought of records, by event id, and why."""
        self._db.write("INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?)", verdicts)

    def clear_verdicts(self) -> None:
        """Forget what was judged."""
        self._db.write("DELETE FROM verdicts", [()])

    @property
    def changes(self) -> int:
        """A number that grows when something is added that was not known."""
        return self._db.changes

    def __len__(self) -> int:
        """Count the records that should be messages."""
        return int(self._db.one(f"SELECT count(*) FROM records WHERE {_WANTED}"))

    @property
    def filtered(self) -> int:
        """How many records should be no message."""
        return int(self._db.one(f"SELECT count(*) FROM records WHERE NOT {_WANTED}"))

    def places(self) -> dict[str, int]:
        """Count the records that are found, by where."""
        rows = self._db.rows(
            f"SELECT place, count(*) FROM ({_PLACED}) WHERE place IS NOT NULL GROUP BY place"
        )
        return {"delivered": 0, "queued": 0, "parked": 0, **dict(rows)}

    def unplaced(self) -> Iterator[tuple[AuditedRecord, list[Step]]]:
        """Yield the records that are delivered nowhere and in no queue, with all that logs say of each."""
        rows = self._db.rows(
            f"SELECT {_COLUMNS} FROM records JOIN ({_PLACED}) USING (event_id) WHERE place IS NULL"
            " ORDER BY shard, sequence"
        )
        for row in rows:
            entry = AuditedRecord(*row)
            said = self._db.rows("SELECT * FROM steps WHERE event_id = ?", entry.event_id)
            yield entry, [Step(*step) for step in said]

    def has_unplaced(self) -> bool:
        """Say whether there is a record that is delivered nowhere and in no queue."""
        return bool(self._db.one(f"SELECT EXISTS (SELECT 1 FROM ({_PLACED}) WHERE place IS NULL)"))

    def verdicts(self) -> dict[str, int]:
        """Count the records that are not found, by what is thought of them."""
        rows = self._db.rows("SELECT verdict, count(*) FROM verdicts GROUP BY verdict")
        return {**dict.fromkeys(VERDICTS, 0), **dict(rows)}

    def judge_again(self, verdict: Verdict, instead: Verdict, reason: str, *, was: str | None = None) -> None:
        """Note for all that are judged one way, for the reason that it ``was``, another verdict, and why."""
        self._db.write(
            "UPDATE verdicts SET verdict = ?, reason = ? WHERE verdict = ? AND (? IS NULL OR reason = ?)",
            [(instead, reason, verdict, was, was)],
        )

    def reasons(self, verdict: Verdict) -> list[tuple[str, int]]:
        """Return why records are judged so, and how many for each reason, the most frequent first."""
        return list(
            self._db.rows(
                "SELECT reason, count(*) AS number FROM verdicts WHERE verdict = ? GROUP BY reason"
                " ORDER BY number DESC, reason",
                verdict,
            )
        )

    def judged(self, verdict: Verdict) -> Iterator[tuple[AuditedRecord, str]]:
        """Yield the records judged so, in order of the stream, and why."""
        rows = self._db.rows(
            f"SELECT {_COLUMNS}, reason FROM records JOIN verdicts USING (event_id) WHERE verdict = ?"
            " ORDER BY shard, sequence",
            verdict,
        )
        return ((AuditedRecord(*columns), reason) for *columns, reason in rows)

    def oldest(self, verdict: Verdict) -> int | None:
        """Return when the oldest record that is judged so was written, in epoch seconds."""
        found = self._db.one(
            "SELECT min(created) FROM records JOIN verdicts USING (event_id) WHERE verdict = ?", verdict
        )
        return None if found is None else int(found)

    def is_judged(self, event_id: str, verdict: Verdict) -> bool:
        return bool(
            self._db.one(
                "SELECT count(*) FROM verdicts WHERE event_id = ? AND verdict = ?", event_id, verdict
            )
        )

    def close_passed(self, until: int) -> None:
        """Note for each group how far deliveries logged up to ``until`` (epoch milliseconds) have come.

        One that was sent twice is left out: nobody knows which of its messages was delivered.
        """
        self._db.write(
            "INSERT OR REPLACE INTO passed SELECT grp, max(number) FROM (SELECT event_id, grp,"
            " max(number) AS number FROM numbers GROUP BY event_id HAVING count(*) = 1) WHERE event_id IN"
            " (SELECT event_id FROM deliveries WHERE time <= ?) GROUP BY grp",
            [(until,)],
        )

    def is_passed(self, event_id: str) -> bool:
        """Say whether a later message of its group is among those; then this one had left main by then."""
        return bool(
            self._db.one(
                "SELECT count(*) > 0 AND max(numbers.number) < min(passed.number)"
                " FROM numbers JOIN passed USING (grp) WHERE event_id = ?",
                event_id,
            )
        )

    def handled(self, *, until: int | None = None) -> dict[str, int]:
        """Return for each shard the highest sequence number that the enqueuer function has dealt with.

        With ``until`` (epoch milliseconds), by its lines up to then.
        """
        rows = self._db.rows(
            "SELECT shard, max(sequence) FROM records JOIN steps USING (event_id)"
            " WHERE logger = 'enqueuer' AND word <> 'not enqueued' AND (? IS NULL OR time <= ?)"
            " GROUP BY shard",
            until,
            until,
        )
        return {shard: int(sequence) for shard, sequence in rows}

    def duplicated(self) -> Iterator[tuple[AuditedRecord, list[int]]]:
        """Yield the records that were delivered more than once, and when, in order of the first time."""
        rows = self._db.rows(
            f"SELECT {_COLUMNS}, group_concat(time) FROM records JOIN deliveries USING (event_id)"
            f" WHERE {_WANTED} GROUP BY event_id HAVING count(*) > 1 ORDER BY min(time), sequence"
        )
        return ((AuditedRecord(*columns), _times(text)) for *columns, text in rows)

    def possibly_twice(self) -> Iterator[tuple[AuditedRecord, list[int], str]]:
        """Yield the records delivered after an attempt that was not confirmed: when those ended, and why."""
        rows = self._db.rows(
            # Of a group that has min(), the other columns are those of that row (SQLite, "Bare columns").
            f"SELECT {_COLUMNS}, group_concat(time), min(time), reason FROM records JOIN unanswered"
            " USING (event_id) JOIN (SELECT event_id, max(time) AS last FROM deliveries GROUP BY event_id)"
            f" USING (event_id) WHERE {_WANTED} AND time < last GROUP BY event_id ORDER BY last, sequence"
        )
        return ((AuditedRecord(*columns), _times(text), reason) for *columns, text, _, reason in rows)

    def reordered(
        self, related: Callable[[str, str], bool]
    ) -> Iterator[tuple[AuditedRecord, int, AuditedRecord]]:
        """Yield the records first delivered after a later one of their group: when, and that one.

        ``related`` says of two shards whether their sequence numbers compare. Two deliveries of the same
        millisecond are in order.
        """
        rows = self._db.rows(
            f"SELECT {_COLUMNS}, first FROM records JOIN"
            " (SELECT event_id, min(time) AS first FROM deliveries GROUP BY event_id) USING (event_id)"
            f" WHERE {_WANTED} AND shard <> '' ORDER BY grp, first, sequence"
        )
        group: str | None = None
        furthest: dict[str, AuditedRecord] = {}
        for *columns, time in rows:
            entry = AuditedRecord(*columns)
            if entry.group != group:
                group, furthest = entry.group, {}
            ahead = max(
                (found for shard, found in furthest.items() if related(shard, entry.shard)),
                key=lambda found: (found.sequence, found.event_id),
                default=None,
            )
            if ahead is not None and ahead.sequence > entry.sequence:
                yield entry, time, ahead
            known = furthest.get(entry.shard)
            if known is None or known.sequence < entry.sequence:
                furthest[entry.shard] = entry


def _times(text: str) -> list[int]:
    return sorted(map(int, text.split(",")))


def _padded(number: int) -> str:
    return f"{number:0{_DIGITS}}"
