"""The shards of a stream under reading: how far each one is, whose turn it is, which came of which."""

from __future__ import annotations

import heapq
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from fifo_cli.aws.dynamodb_streams import Record, Shard

# How long a thread waits for others that work on all shards; it is woken before.
_WAIT_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """A record, its shard and its number; ``created`` is whole seconds, None if the record has no time."""

    shard: str
    sequence: int
    created: datetime | None
    raw: Record

    @property
    def event_id(self) -> str:
        return str(self.raw["eventID"])

    @property
    def stream_sequence(self) -> str:
        """The sequence number as the stream writes it, leading zeros and all."""
        return str(self.raw["dynamodb"]["SequenceNumber"])


@dataclass(slots=True, eq=False)
class ShardPosition:
    """Where the reading of a shard is. ``last`` is the last record's sequence number, as it is spelled.

    ``missed``: the records from this number on were asked for, and AWS had them no more; whether there were
    any, the oldest record that it has will show.
    """

    shard: Shard
    last: str | None = None
    skipped: bool = False
    at_horizon: bool = False
    missed: int | None = None
    iterator: str | None = None
    empty: int = 0
    failures: int = 0
    highest: int = -1

    def take(self, raw: Record) -> StreamRecord | None:
        """Return a record, or None if it came before: a shard's sequence numbers only grow."""
        record = record_of(self.shard.id, raw)
        if record.sequence <= self.highest:
            return None
        self.highest, self.last = record.sequence, record.stream_sequence
        return record

    def to_horizon(self, wanted: str | None) -> None:
        """Go on from the shard's oldest record, not from ``wanted``; what was read is known by its number."""
        self.missed = int(self.last or wanted or 0)
        self.last, self.at_horizon = None, True


def record_of(shard: str, raw: Record) -> StreamRecord:
    """Return a record of GetRecords' answer, or of Lambda's event, with what is read of it often."""
    data = raw["dynamodb"]
    return StreamRecord(
        shard, int(data["SequenceNumber"]), _created(data.get("ApproximateCreationDateTime")), raw
    )


def _created(value: object) -> datetime | None:
    """GetRecords hands the time over as a datetime, Lambda and saved records in epoch seconds."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return datetime.fromtimestamp(value, UTC) if isinstance(value, int | float) else None


class Lineage:
    """Which shard came out of which; a shard whose parent is no longer listed is a root."""

    def __init__(self, shards: Mapping[str, Shard]) -> None:
        self._shards = shards

    def related(self, one: str, other: str) -> bool:
        """Say whether the order of the two shards' records is known: same shard, or one came of the other."""
        return self._descends(one, other) or self._descends(other, one)

    def parent(self, shard: str) -> str | None:
        """Return the shard that a shard came out of, as far as it is known."""
        return self._shards[shard].parent if shard in self._shards else None

    def _descends(self, shard: str, ancestor: str) -> bool:
        at: str | None = shard
        seen: set[str] = set()
        while at is not None and at not in seen:
            if at == ancestor:
                return True
            seen.add(at)
            at = self._shards[at].parent if at in self._shards else None
        return False


class ShardScheduler:
    """Whose turn it is; safe to share between threads. Times are those of the reader's clock, in seconds.

    ``lineage`` knows the shards that were added so far.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._shards: dict[str, Shard] = {}
        self.lineage = Lineage(self._shards)
        self._waiting = defaultdict[str, list[ShardPosition]](list)  # by the parent they wait for
        self._unread: set[str] = set()
        self._due: list[tuple[float, int, ShardPosition]] = []
        self._count = 0
        self._visited = 0

    @property
    def finished(self) -> bool:
        """Whether nothing is left to visit."""
        with self._changed:
            return not self._due and not self._visited

    def add(self, positions: Iterable[ShardPosition], *, now: float) -> None:
        """Plan shards that are new; a child waits for its parent, if that is to be read."""
        with self._changed:
            new = [position for position in positions if position.shard.id not in self._shards]
            self._shards |= {position.shard.id: position.shard for position in new}
            self._unread |= {position.shard.id for position in new if not position.skipped}
            for position in new:
                if position.skipped:
                    continue
                parent = position.shard.parent
                # An item's later records are in the child: they must not come before those of the parent.
                if parent is not None and parent in self._unread:
                    self._waiting[parent].append(position)
                else:
                    self._put(position, now)

    def take(self, now: float) -> tuple[ShardPosition | None, float]:
        """Return a position whose turn it is, or how many seconds it is until the next one's turn."""
        with self._changed:
            if not self._due:
                if self._visited:
                    self._changed.wait(_WAIT_SECONDS)
                return None, 0.0
            due, _, position = self._due[0]
            if due > now:
                return None, due - now
            heapq.heappop(self._due)
            self._visited += 1
            return position, 0.0

    def put(self, position: ShardPosition, due: float) -> None:
        """Give a position back, for its next turn at ``due``."""
        with self._changed:
            self._visited -= 1
            self._put(position, due)

    def end(self, position: ShardPosition, *, now: float) -> None:
        """A shard is read to its end: its children have their turn."""
        with self._changed:
            self._visited -= 1
            self._unread.discard(position.shard.id)
            for child in self._waiting.pop(position.shard.id, []):
                self._put(child, now)
            self._changed.notify_all()

    def leave(self, position: ShardPosition) -> None:
        """A shard is read as far as it is wanted; so what came out of it is not wanted either."""
        with self._changed:
            self._visited -= 1
            self._changed.notify_all()

    def _put(self, position: ShardPosition, due: float) -> None:
        self._count += 1
        heapq.heappush(self._due, (due, self._count, position))
        self._changed.notify()
