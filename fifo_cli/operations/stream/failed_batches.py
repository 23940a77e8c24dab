"""``replay --failed``: the batches that Lambda gave up, and their records as long as the stream has them.

The failure record is Lambda's (Developer Guide, "Retain discarded records for a DynamoDB event source"): it
names shard and first and last sequence number; only one that was made for S3 holds the records themselves.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fifo_cli.aws.dynamodb_streams import StreamSource
from fifo_cli.aws.session import Aws
from fifo_cli.aws.sqs import Queue
from fifo_cli.errors import FifoError
from fifo_cli.events import Listener, Waiting, Warned, silent
from fifo_cli.model.message import ReceivedMessage
from fifo_cli.model.results import Fields
from fifo_cli.operations.pace import Progress
from fifo_cli.operations.stream.reader import Reader, ReadPace, Window, pace_of
from fifo_cli.operations.stream.record_filter import SEQUENCE
from fifo_cli.operations.stream.replay_records import Lineup
from fifo_cli.operations.stream.replay_store import ReplayRecord, ReplayStore
from fifo_cli.operations.stream.shards import StreamRecord, record_of

# Short, so that what a killed replay holds soon comes back; a thread pushes it on.
VISIBILITY_SECONDS: Final = 30
_REFRESH_SECONDS: Final = 10.0
_WAIT_SECONDS: Final = 1
# What is kept in memory of each is some hundred bytes.
_BATCHES_MAX: Final = 10_000
_EMPTY_RECEIVES: Final = 2
_EVENTS: Final = ("INSERT", "MODIFY", "REMOVE")


class NotAFailureRecordError(ValueError):
    """A message is not a failure record of this pipeline; the text says why."""


@dataclass(frozen=True, slots=True)
class FailedBatch:
    """What a failure record shows; ``records`` only if it holds them."""

    stream: str
    shard: str
    first: str
    last: str
    size: int
    records: tuple[Mapping[str, Any], ...] | None = None

    @property
    def order(self) -> tuple[str, str, int]:
        """Stream, shard, place: the label at the end of a stream's ARN sorts by time."""
        return self.stream.rpartition("/stream/")[2], self.shard, int(self.first)


@dataclass(frozen=True, slots=True)
class Kept(Fields):
    """A failure record that stays in its queue, and why."""

    message_id: str
    reason: str


@dataclass(slots=True)
class InFlightBatches:
    """The failure records that are in flight; ``expired`` counts records that the stream no longer has.

    ``kept`` are those that stay in their queue, by message id, and why. ``gathered`` are the ids of those
    whose records are in the checkpoint, as far as there are any; ``partial``: of one batch, only a part was
    found.
    """

    batches: dict[str, FailedBatch] = field(default_factory=dict)
    handles: dict[str, str] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    gathered: set[str] = field(default_factory=set)
    expired: int = 0
    read: int = 0
    partial: bool = False


def parse_failure(body: str, *, table_arn: str) -> FailedBatch:
    """Read a failure record; raises NotAFailureRecordError."""
    try:
        document = json.loads(body)
        info = document["DDBStreamBatchInfo"]
        batch = FailedBatch(
            stream=str(info["streamArn"]),
            shard=str(info["shardId"]),
            first=_number(info["startSequenceNumber"]),
            last=_number(info["endSequenceNumber"]),
            size=int(info.get("batchSize", 0)),
            records=_payload(document.get("payload")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NotAFailureRecordError(f"it is not a failure record of a stream: {_invalid(error)}") from None
    if int(batch.first) > int(batch.last):
        raise NotAFailureRecordError(
            f"it is not a failure record of a stream: it begins at {batch.first}, after its end {batch.last}"
        )
    if not batch.stream.startswith(f"{table_arn}/stream/"):
        raise NotAFailureRecordError(f"it is about {batch.stream}, no stream of this pipeline's table")
    return batch


def _invalid(error: Exception) -> str:
    """Say what is wrong with a failure record, not what Python could not do with it."""
    match error:
        case json.JSONDecodeError():
            return "it is not JSON"
        case KeyError():
            return f"it has no {error.args[0]}"
        case ValueError():
            return str(error)
        case _:
            return "its parts are not what Lambda documents"


def _number(value: Any) -> str:
    """Return a sequence number as it is spelled; raises ValueError if it is none."""
    if not isinstance(value, str) or SEQUENCE.fullmatch(value) is None:
        raise ValueError(f"{value!r} is not a sequence number")
    return value


def _payload(value: Any) -> tuple[Mapping[str, Any], ...] | None:
    """Return the records that an S3-style failure record holds, as an event in a string or as it is."""
    if value is None:
        return None
    event = json.loads(value) if isinstance(value, str) else value
    records = tuple(event["Records"])
    for record in records:
        if not isinstance(record["eventID"], str) or record["eventName"] not in _EVENTS:
            raise ValueError("its payload holds no stream records")
        _number(record["dynamodb"]["SequenceNumber"])
    return records


@contextlib.contextmanager
def held(
    queue: Queue,
    *,
    table_arn: str,
    listener: Listener = silent,
    stopped: Callable[[], bool] = lambda: False,
    wait: int = _WAIT_SECONDS,
) -> Iterator[InFlightBatches]:
    """Take every failure record there is, and keep them hidden; at the end give back those not deleted.

    What another run holds, or one that was killed, is waited for as long as it can be hidden.
    """
    in_flight = InFlightBatches()
    done = threading.Event()
    thread = threading.Thread(
        target=_keep_hidden, args=(queue, in_flight, done, listener), name="hide", daemon=True
    )
    thread.start()
    try:
        _take_all(queue, in_flight, table_arn, listener=listener, stopped=stopped, wait=wait)
        yield in_flight
    finally:
        done.set()
        thread.join()
        queue.change_visibility(list(in_flight.handles.values()), seconds=0)


def _take_all(
    queue: Queue,
    in_flight: InFlightBatches,
    table_arn: str,
    *,
    listener: Listener,
    stopped: Callable[[], bool],
    wait: int,
) -> None:
    empty, polls = 0, 0
    while len(in_flight.handles) < _BATCHES_MAX and not stopped():
        messages = queue.receive(visibility=VISIBILITY_SECONDS, wait=wait)
        new = sum([_take(in_flight, message, table_arn) for message in messages])
        empty = 0 if new else empty + 1
        if empty >= _EMPTY_RECEIVES:
            elsewhere = queue.counts().total - len(in_flight.handles)
            polls += 1
            if elsewhere <= 0 or polls * max(wait, 1) > VISIBILITY_SECONDS:
                return
            listener(Waiting(queue.name, f"{elsewhere} more in flight with another consumer"))


def _take(in_flight: InFlightBatches, received: ReceivedMessage, table_arn: str) -> bool:
    """Take a message in flight; say whether it is new there, and not given out a second time."""
    message = received.message
    known = message.message_id in in_flight.handles
    in_flight.handles[message.message_id] = received.receipt_handle
    if not known:
        try:
            in_flight.batches[message.message_id] = parse_failure(message.body, table_arn=table_arn)
        except NotAFailureRecordError as error:
            in_flight.kept[message.message_id] = str(error)
    return not known


def _keep_hidden(queue: Queue, in_flight: InFlightBatches, done: threading.Event, listener: Listener) -> None:
    while not done.wait(_REFRESH_SECONDS):
        try:
            refused = queue.change_visibility(list(in_flight.handles.values()), seconds=VISIBILITY_SECONDS)
            reason = refused[0].reason if refused else ""
        except FifoError as error:
            reason = error.message
        if reason:
            listener(Warned(f"the failure records in flight may come again: {reason}"))


def read_failed(
    aws: Aws,
    in_flight: InFlightBatches,
    checkpoint: ReplayStore,
    events: tuple[str, ...],
    *,
    pace: ReadPace | None = None,
    listener: Listener = silent,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Write the records of all failed batches into the checkpoint, oldest first.

    A batch whose records have expired, all or some, is noted as kept: the rest of it is replayed nonetheless.
    """
    lineup = Lineup()
    # It may read more: records that are none of the batch's lie between its own.
    total = sum(batch.size for batch in in_flight.batches.values())
    progress = Progress(listener, "records of failed batches read", total)
    for message_id, batch in sorted(in_flight.batches.items(), key=lambda item: item[1].order):
        if stopped():
            return
        found = 0
        reader = None if batch.records is not None else _reader(aws, batch, pace)
        for records in _records(batch, reader):
            in_flight.read += len(records)
            progress.at(in_flight.read)
            found += sum(record.raw["eventName"] in events for record in records)
            entries = [
                ReplayRecord(one.event_id, one.stream_sequence, lineup.place(one, parent=None), one.raw)
                for one in records
            ]
            checkpoint.add(entries, batch=message_id)
        in_flight.gathered.add(message_id)
        # Records that the mapping filtered out lie in the range too, but are not in the batch's size.
        if found < batch.size:
            in_flight.partial = in_flight.partial or found > 0
            in_flight.kept[message_id] = _why_kept(batch, found, proven=reader is None or not reader.tips)
            if reader is None or not reader.tips:
                in_flight.expired += batch.size - found


def _why_kept(batch: FailedBatch, found: int, *, proven: bool) -> str:
    """Say what is not known of a batch, or gone: empty answers of an open shard prove nothing."""
    lacking = f"{batch.size - found} of its {batch.size} records"
    if proven:
        return f"{lacking} have expired"
    return f"{lacking} were not read: its shard is still open; run the command again"


def _reader(aws: Aws, batch: FailedBatch, pace: ReadPace | None) -> Reader:
    window = Window(from_sequence=batch.first, to_sequence=batch.last, shard=batch.shard)
    source = StreamSource(aws, batch.stream)
    return Reader(source, batch.stream, window, pace=pace or pace_of(aws.client("dynamodbstreams")))


def _records(batch: FailedBatch, reader: Reader | None) -> Iterator[tuple[StreamRecord, ...]]:
    if reader is None:
        yield tuple(record_of(batch.shard, raw) for raw in batch.records or ())
        return
    for page in reader.read():
        yield page.records


def delete_done(queue: Queue, in_flight: InFlightBatches, checkpoint: ReplayStore) -> int:
    """Delete the failure records whose records are all enqueued; return how many could not be deleted."""
    done = [
        message_id
        for message_id in in_flight.gathered
        if message_id not in in_flight.kept and checkpoint.is_worked_off(message_id)
    ]
    rejected = queue.delete([in_flight.handles[message_id] for message_id in done])
    for message_id in done:
        del in_flight.handles[message_id]
    return len(rejected)
