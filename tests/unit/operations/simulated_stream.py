"""A stream in memory with everything that makes streams hard to read, on a clock that ``sleep`` turns."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from fifo_cli.aws.dynamodb_streams import (
    ExpiredIteratorError,
    IteratorType,
    Page,
    Shard,
    StreamGoneError,
    ThrottledError,
    TrimmedError,
    UnknownTimestampError,
)

START = 1_767_323_000


class FastClock:
    """A clock for several threads that only moves when one of them sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self._lock = threading.Lock()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.now += seconds


def record(
    sequence: int, item: str = "i", *, second: int = 0, event: str = "INSERT", **image: dict[str, Any]
) -> dict[str, Any]:
    """Return a record as GetRecords has it: a datetime, sequence numbers with leading zeros."""
    return {
        "eventID": f"e{sequence}",
        "eventName": event,
        "dynamodb": {
            "ApproximateCreationDateTime": datetime.fromtimestamp(START + second, UTC),
            "Keys": {"id": {"S": item}},
            "OldImage" if event == "REMOVE" else "NewImage": {"id": {"S": item}, **image},
            "SequenceNumber": f"{sequence:030}",
        },
    }


@dataclass
class SimulatedShard:
    """A shard; ``trimmed`` of its records, the oldest, have expired."""

    id: str
    records: list[dict[str, Any]] = field(default_factory=list)
    parent: str | None = None
    closed: bool = True
    trimmed: int = 0

    @property
    def described(self) -> Shard:
        ends = [int(one["dynamodb"]["SequenceNumber"]) for one in self.records]
        return Shard(
            self.id, self.parent, ends[0] if ends else None, ends[-1] if ends and self.closed else None
        )

    def position(self, sequence: str) -> int | None:
        """Return a record's index, by its number as it is spelled."""
        for index, one in enumerate(self.records):
            if one["dynamodb"]["SequenceNumber"] == sequence:
                return index
        return None


class SimulatedStream:
    """Shards behind the reader's seam; what goes wrong is asked before every call.

    ``trouble`` is called with the kind of call and its number among the shard's own calls of that kind, so
    that the order in which threads visit the shards changes nothing. It may return an error to raise,
    "expire" (the iterator is too old) or "empty" (a page without records). ``back`` records are given again
    after each iterator that is made.
    """

    def __init__(
        self,
        shards: Iterable[SimulatedShard],
        *,
        page: int = 3,
        back: int = 0,
        knows_times: bool = False,
        trouble: Callable[[str, int], str | Exception | None] = lambda kind, number: None,
    ) -> None:
        self.simulated = {shard.id: shard for shard in shards}
        self.listed: set[str] | None = None
        self.page = page
        self.back = back
        self.knows_times = knows_times
        self.trouble = trouble
        self.calls: Counter[str] = Counter()
        self.kinds: list[tuple[str, IteratorType]] = []
        self.before_read: Callable[[str], None] = lambda shard: None
        self.gone = False
        self._calls_of_shard: Counter[tuple[str, str]] = Counter()
        self._iterators: dict[str, tuple[str, int]] = {}
        self._numbers = itertools.count()
        self._lock = threading.RLock()

    def shards(self) -> list[Shard]:
        with self._lock:
            self._called("shards")
            # AWS promises no order.
            known = self.simulated.values()
            shown = [one.described for one in known if self.listed is None or one.id in self.listed]
            return shown[::-1]

    def iterator(
        self, shard: str, kind: IteratorType, *, sequence: str | None = None, time: datetime | None = None
    ) -> str:
        with self._lock:
            self._called("iterator", shard)
            self.kinds.append((shard, kind))
            one = self.simulated.get(shard)
            if one is None:
                raise StreamGoneError
            match kind:
                case "TRIM_HORIZON":
                    at = one.trimmed
                case "AT_TIMESTAMP":
                    if not self.knows_times:
                        raise UnknownTimestampError
                    assert time is not None
                    old = (r["dynamodb"]["ApproximateCreationDateTime"] < time for r in one.records)
                    at = max(one.trimmed, sum(old))
                case _:
                    found = one.position(sequence or "")
                    if found is None or found + (kind == "AFTER_SEQUENCE_NUMBER") < one.trimmed:
                        raise TrimmedError
                    at = max(one.trimmed, found + (kind == "AFTER_SEQUENCE_NUMBER") - self.back)
            return self._made(shard, at)

    def records(self, iterator: str) -> Page:
        with self._lock:
            shard, at = self._iterators[iterator]
            self.before_read(shard)
            said = self._called("records", shard)
            one = self.simulated.get(shard)
            if one is None:
                raise StreamGoneError
            if said == "expire":
                raise ExpiredIteratorError
            if at < one.trimmed:
                raise TrimmedError
            page = [] if said == "empty" else one.records[at : at + self.page]
            ended = one.closed and said != "empty" and at + len(page) >= len(one.records)
            return Page(tuple(page), None if ended else self._made(shard, at + len(page)))

    def _called(self, kind: str, shard: str = "") -> str | None:
        self.calls[kind] += 1
        self._calls_of_shard[kind, shard] += 1
        if self.gone:
            raise StreamGoneError
        said = self.trouble(kind, self._calls_of_shard[kind, shard])
        if isinstance(said, Exception):
            raise said
        return said

    def _made(self, shard: str, at: int) -> str:
        name = f"iterator-{next(self._numbers)}"
        self._iterators[name] = (shard, at)
        return name


def throttled_every(nth: int) -> Callable[[str, int], str | Exception | None]:
    """Make trouble: every n-th call of each kind to a shard is throttled."""
    return lambda kind, number: ThrottledError() if number % nth == 0 else None


def chain(shard: str, numbers: Sequence[int], **more: Any) -> SimulatedShard:
    """Make a shard whose records have these numbers."""
    return SimulatedShard(shard, [record(number, second=number) for number in numbers], **more)
