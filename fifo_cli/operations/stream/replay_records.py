"""Reading the records of a replay from the table's streams into its checkpoint, in the order to send them.

DynamoDB orders the records of an item, not those of different items, and a message group may hold many
items, whose records come from several shards. So they are lined up by the time they were written, as the
enqueuer met them; within a shard, and from a shard to those that came out of it, their order is the stream's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fifo_cli.aws.dynamodb_streams import StreamSource, table_streams
from fifo_cli.aws.session import Aws
from fifo_cli.events import Listener, Warned, silent
from fifo_cli.model.times import iso
from fifo_cli.operations.pace import Progress
from fifo_cli.operations.stream.reader import Reader, ReadPace, StreamPage, Window, expired_before, pace_of
from fifo_cli.operations.stream.record_filter import RecordFilter
from fifo_cli.operations.stream.replay_store import ReplayRecord, ReplayStore
from fifo_cli.operations.stream.shards import StreamRecord


@dataclass(frozen=True, slots=True)
class GatheredRecords:
    """``read`` records were in the window; ``gap``: others have expired, and nobody knows how many.

    ``tips`` are the open shards whose end nothing proved, each with the number of the last record read;
    ``reached``: the record that ends the window, if there is one, was read.
    """

    read: int
    gap: bool
    tips: Mapping[str, str | None] = field(default_factory=dict)
    reached: bool = True


class Lineup:
    """Gives every record its place in line: the second it was written, never before its shard's last one."""

    def __init__(self) -> None:
        self._latest: dict[str, int] = {}
        self._floor = 0

    def place(self, record: StreamRecord, *, parent: str | None) -> int:
        """Return the place of the next record of a shard."""
        before = self._latest.get(record.shard, self._latest.get(parent or "", self._floor))
        written = int(record.created.timestamp()) if record.created else before
        self._latest[record.shard] = max(written, before)
        return self._latest[record.shard]

    def next_stream(self) -> None:
        """Put everything of the next stream behind everything so far: it replaced the one before."""
        self._floor = max(self._latest.values(), default=self._floor)
        self._latest = {}


def gather(
    aws: Aws,
    table: str,
    window: Window,
    chosen: RecordFilter,
    checkpoint: ReplayStore,
    *,
    now: datetime,
    pace: ReadPace | None = None,
    listener: Listener = silent,
) -> GatheredRecords:
    """Write the chosen records of all the table's streams into the checkpoint.

    A stream that was switched off, or replaced by a new one, is read as long as AWS keeps it. Raises
    NotDeployedError if there is none, AwsError if one goes away meanwhile.
    """
    streams = table_streams(aws, table, listener=listener)
    pace = pace or pace_of(aws.client("dynamodbstreams"))
    read, progress = 0, Progress(listener, "records read")
    gap = window.since is not None and bool(expired_before(streams[0], since=window.since, now=now))
    lineup = Lineup()
    tips: dict[str, str | None] = {}
    last = None if window.to_sequence is None else int(window.to_sequence)
    reached = last is None
    for stream in streams:
        if not stream.enabled:
            listener(
                Warned(f"the stream {stream.label} of table {table} is switched off; it is read all the same")
            )
        reader = Reader(StreamSource(aws, stream.arn), stream.arn, window, pace=pace)
        for page in reader.read():
            checkpoint.add(_entries(page, chosen, lineup, reader))
            read += len(page.records)
            gap = gap or page.gap
            reached = reached or any(record.sequence == last for record in page.records)
            if page.records:
                progress.at(read, detail=_reached(page.records[-1]))
        # All of it was written before the stream that replaced it began.
        lineup.next_stream()
        tips |= {f"{stream.label}/{shard}": last for shard, last in reader.tips.items()}
    return GatheredRecords(read, gap, tips, reached)


def _entries(
    page: StreamPage, chosen: RecordFilter, lineup: Lineup, reader: Reader
) -> Iterable[ReplayRecord]:
    parent = reader.lineage.parent(page.shard) if page.records else None
    for record in page.records:
        place = lineup.place(record, parent=parent)
        if chosen(record):
            yield ReplayRecord(record.event_id, record.stream_sequence, place, record.raw)


def _reached(last: StreamRecord) -> str:
    written = f", written {iso(last.created)}" if last.created else ""
    return f"; at sequence number {last.stream_sequence}{written}"
