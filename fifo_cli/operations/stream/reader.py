"""The stream reader: every record of the window once, an item's records in the order they were written.

DynamoDB Developer Guide, "Change data capture for DynamoDB Streams": an item's records are in one shard at a
time, and a shard must be read after its parent. So a few threads visit the shards in turn, one page a visit,
a shard in one thread at a time, a child after its parent. The pages go through one bounded queue:
memory does not grow with the stream, and a parent's last page is handed on before its child's first.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from fifo_cli.aws.consistency import is_one_server
from fifo_cli.aws.dynamodb_streams import (
    ExpiredIteratorError,
    Page,
    Shard,
    ShardSource,
    Stream,
    StreamGoneError,
    ThrottledError,
    TrimmedError,
    UnknownTimestampError,
    gone,
)
from fifo_cli.aws.retries import growing_pause, spread
from fifo_cli.errors import AwsError
from fifo_cli.operations.stream.shards import ShardPosition, ShardScheduler, StreamRecord, record_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient

# DynamoDB Streams keeps records for 24 hours (Developer Guide).
RETENTION: Final = timedelta(hours=24)
# The enqueuer's mapping reads four times a second; a shard gives some five reads a second to all its readers.
READ_PAUSE: Final = 0.2
_PAUSE_HERE: Final = 0.02
# An empty page does not mean the end, and AWS names no sign for the tip of an open shard. So many in a row
# end the reading, but prove nothing: ``Reader.tips`` has the shards that were left so.
# Twice as many as long as the shard gave no record: its first ones may be far from where the reading begins.
EMPTY_READS: Final = 8
# ApproximateCreationDateTime is rounded down to the second and approximate; read on for that long.
TIME_SLACK: Final = timedelta(seconds=60)
_WORKERS: Final = 4
_PAGES_WAITING: Final = 2
_TRIES_MAX: Final = 10
_BACKOFF_FIRST: Final = 0.5
_BACKOFF_MAX: Final = 10.0
_NAP: Final = 0.2


@dataclass(frozen=True, slots=True)
class StreamPage:
    """A shard's page; ``gap`` says that some records before it have expired."""

    shard: str
    records: tuple[StreamRecord, ...] = ()
    gap: bool = False


def expired_before(stream: Stream, *, since: datetime, now: datetime) -> datetime | None:
    """Return until when a stream has expired, if ``since`` is before that.

    A stream that is younger than its retention has lost nothing yet.
    """
    horizon = now - RETENTION
    is_young = stream.created is not None and stream.created >= horizon
    return None if is_young or since >= horizon else horizon


@dataclass(frozen=True, slots=True)
class Window:
    """Which records: times and numbers inclusive, None for no bound.

    With ``shard`` only those of this one; none if it, or the whole stream, is gone.
    """

    since: datetime | None = None
    until: datetime | None = None
    from_sequence: str | None = None
    to_sequence: str | None = None
    shard: str | None = None

    def __contains__(self, record: StreamRecord) -> bool:
        if self.from_sequence is not None and record.sequence < int(self.from_sequence):
            return False
        if self.to_sequence is not None and record.sequence > int(self.to_sequence):
            return False
        if record.created is None:
            return True
        # A record of the second in which the window begins may be of its first moment.
        since = self.since.replace(microsecond=0) if self.since else None
        return (since is None or record.created >= since) and (
            self.until is None or record.created <= self.until
        )

    def is_past(self, record: StreamRecord) -> bool:
        """Say whether nothing of the window can come after ``record`` in its shard."""
        if self.to_sequence is not None and record.sequence >= int(self.to_sequence):
            return True
        return (
            self.until is not None and record.created is not None and record.created > self.until + TIME_SLACK
        )


@dataclass(frozen=True, slots=True)
class ReadPace:
    """How fast a shard is read, and by how many threads; ``clock`` is in seconds, ``pause`` between reads."""

    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    workers: int = _WORKERS
    pause: float = READ_PAUSE


def pace_of(streams: DynamoDBStreamsClient) -> ReadPace:
    """Return the pace for a service: one server on this machine has no limit of reads a second."""
    return ReadPace(pause=_PAUSE_HERE) if is_one_server(streams) else ReadPace()


class Reader:
    """One reading of one stream; ``arn`` is for messages. ``lineage`` knows the shards found so far."""

    def __init__(
        self,
        source: ShardSource,
        arn: str,
        window: Window,
        *,
        pace: ReadPace | None = None,
    ) -> None:
        self._source = source
        self._arn = arn
        self._window = window
        self._pace = pace or ReadPace()
        self._stopped = threading.Event()
        self._pages: queue.Queue[StreamPage | BaseException | None] = queue.Queue(_PAGES_WAITING)
        self._scheduler = ShardScheduler()
        self.lineage = self._scheduler.lineage
        self._times_known = True
        self._reached: set[str] = set()
        self._tips: dict[str, str | None] = {}

    @property
    def tips(self) -> dict[str, str | None]:
        """The open shards left after empty pages, each with the number of the last record read, if any.

        Records behind that may be unread. A shard that gave a record created at the end of the window or
        later was read to there, and is not among them.
        """
        return dict(self._tips)

    def read(self) -> Generator[StreamPage]:
        """Yield the pages; raises AwsError if the stream goes away, or AWS throttles without end.

        To leave early, close the iterator: the threads end with it.
        """
        self._discover()
        threads = [
            threading.Thread(target=self._work, name=f"shards-{number}", daemon=True)
            for number in range(self._pace.workers)
        ]
        for thread in threads:
            thread.start()
        running = len(threads)
        try:
            while running:
                read = self._pages.get()
                if read is None:
                    running -= 1
                elif isinstance(read, BaseException):
                    raise read
                else:
                    yield read
        finally:
            self._stopped.set()
            while running:  # they may wait for room in the queue
                running -= self._pages.get() is None
            for thread in threads:
                thread.join()

    def _discover(self) -> None:
        """List the shards, and plan those that may hold something of the window."""
        positions = [ShardPosition(shard, skipped=self._is_outside(shard)) for shard in self._listed()]
        self._scheduler.add(positions, now=self._pace.clock())

    def _listed(self) -> list[Shard]:
        only = self._window.shard
        for tries in range(1, _TRIES_MAX + 1):
            try:
                return [shard for shard in self._source.shards() if only in (None, shard.id)]
            except ThrottledError:
                self._pace.sleep(spread(growing_pause(tries, _BACKOFF_FIRST, 1.0)))
            except StreamGoneError as error:
                if only is not None:
                    return []
                raise gone(self._arn) from error
        raise self._throttled()

    def _is_outside(self, shard: Shard) -> bool:
        window = self._window
        if shard.ending is not None and window.from_sequence is not None:
            return shard.ending < int(window.from_sequence)
        if shard.starting is not None and window.to_sequence is not None:
            return shard.starting > int(window.to_sequence)
        return False

    def _work(self) -> None:
        """Visit shards until all are read; every error is passed on through the queue."""
        try:
            while not self._stopped.is_set() and not self._scheduler.finished:
                position, pause = self._scheduler.take(self._pace.clock())
                if position is not None:
                    self._visit(position)
                elif pause:
                    self._pace.sleep(min(pause, _NAP))
        except BaseException as error:  # noqa: BLE001 - raised again where the pages are read
            self._stopped.set()
            self._pages.put(error)
        finally:
            self._pages.put(None)

    def _visit(self, position: ShardPosition) -> None:
        """Read one page of a shard, and plan its next visit, or its children's."""
        try:
            if position.iterator is None:
                position.iterator = self._begin(position)
            page = self._source.records(position.iterator)
        except ThrottledError:
            position.failures += 1
            if position.failures >= _TRIES_MAX:
                raise self._throttled() from None
            self._again(position, spread(growing_pause(position.failures, _BACKOFF_FIRST, _BACKOFF_MAX)))
        except ExpiredIteratorError:
            self._once_more(position)
        except TrimmedError:
            position.to_horizon(self._window.from_sequence)
            self._once_more(position)
        except StreamGoneError:
            self._vanished(position)
        else:
            position.failures = 0
            self._take_in(position, page)

    def _take_in(self, position: ShardPosition, page: Page) -> None:
        """Hand on what is new and in the window, and decide what comes next."""
        if page.records:
            self._report_gap(position, page)
        fresh = [record for raw in page.records if (record := position.take(raw)) is not None]
        wanted = tuple(record for record in fresh if record in self._window)
        if wanted:
            self._pages.put(StreamPage(position.shard.id, wanted))
        position.iterator = page.next_iterator
        position.empty = 0 if fresh else position.empty + 1
        if until := self._window.until:
            self._reached |= {one.shard for one in fresh if one.created and one.created >= until}
        if page.next_iterator is None:
            self._ended(position)
        elif self._at_tip(position) or (fresh and self._window.is_past(fresh[-1])):
            self._report_gap(position, None)
            if self._at_tip(position) and position.shard.id not in self._reached:
                self._tips[position.shard.id] = position.last
            self._scheduler.leave(position)
        else:
            self._again(position, self._pace.pause)

    def _at_tip(self, position: ShardPosition) -> bool:
        """A closed shard is read until it says so; of an open one, empty pages in a row are the end."""
        enough = EMPTY_READS * (1 if position.highest >= 0 else 2)
        return position.shard.ending is None and position.empty >= enough

    def _report_gap(self, position: ShardPosition, page: Page | None) -> None:
        """Report missed records as gone, unless the oldest one that is left shows that none are.

        What is between the position and that record is gone: never skipped in silence.
        """
        if position.missed is None:
            return
        missed, position.missed = position.missed, None
        if page is not None:
            oldest, since = record_of(position.shard.id, page.records[0]), self._window.since
            is_older = since is not None and oldest.created is not None and oldest.created < since
            if oldest.sequence <= missed or is_older:
                return
        self._pages.put(StreamPage(position.shard.id, gap=True))

    def _ended(self, position: ShardPosition) -> None:
        """The shard is closed and read: its children are next, which are new if it was open until now."""
        self._report_gap(position, None)
        if position.shard.ending is None:
            self._discover()
        self._scheduler.end(position, now=self._pace.clock())

    def _vanished(self, position: ShardPosition) -> None:
        """A shard whose records have all expired is listed no more; a stream that is gone lists nothing."""
        if any(shard.id == position.shard.id for shard in self._listed()):
            self._once_more(position)
            return
        self._pages.put(StreamPage(position.shard.id, gap=True))
        self._ended(position)

    def _again(self, position: ShardPosition, pause: float) -> None:
        self._scheduler.put(position, self._pace.clock() + pause)

    def _once_more(self, position: ShardPosition) -> None:
        """Plan another visit, with a new iterator."""
        position.iterator = None
        position.failures += 1
        if position.failures >= _TRIES_MAX:
            raise AwsError(
                f"the shard {position.shard.id} of {self._arn} cannot be read: every new iterator is refused",
                hint="run the command again",
            )
        self._again(position, self._pace.pause if position.failures > 1 else 0.0)

    def _begin(self, position: ShardPosition) -> str:
        """Return an iterator at the position: after the last record read, else where the window begins."""
        shard, window = position.shard.id, self._window
        if position.last is not None:
            return self._source.iterator(shard, "AFTER_SEQUENCE_NUMBER", sequence=position.last)
        if not position.at_horizon:
            start, starting = window.from_sequence, position.shard.starting
            if start is not None and starting is not None and starting <= int(start):
                return self._source.iterator(shard, "AT_SEQUENCE_NUMBER", sequence=start)
            if window.since is not None and self._times_known:
                try:
                    return self._source.iterator(shard, "AT_TIMESTAMP", time=window.since - TIME_SLACK)
                except UnknownTimestampError:
                    self._times_known = False
        return self._source.iterator(shard, "TRIM_HORIZON")

    def _throttled(self) -> AwsError:
        return AwsError(
            f"{self._arn}: AWS throttled the reading again and again: a shard gives its records to two"
            " readers at most, and the enqueuer's mapping is one",
            hint="wait until other readers are done, and run the command again",
        )
