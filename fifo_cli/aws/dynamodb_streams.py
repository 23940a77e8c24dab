"""DynamoDB Streams: a table's streams, their shards, and the records in a shard, page by page.

botocore has no paginators for these calls. What their errors mean is in the API Reference, GetRecords and
GetShardIterator; each has an exception of its own here, as the reader acts on them.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from botocore.exceptions import ClientError

from fifo_cli.aws.errors import DENIED, MISSING, THROTTLED, calling, error_codes, is_missing
from fifo_cli.aws.resources.table import stream_arn
from fifo_cli.errors import AwsError, NotDeployedError
from fifo_cli.events import Listener, Warned, silent
from fifo_cli.invocation import command_line

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient

    from fifo_cli.aws.session import Aws

Record = Mapping[str, Any]
IteratorType = Literal["TRIM_HORIZON", "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", "AT_TIMESTAMP"]

_PAGE_RECORDS: Final = 1000
_SEQUENCE_DIGITS_MIN: Final = 21
_NOT_LISTED: Final = (
    "dynamodb:ListStreams is not permitted: if table {table} had another stream within the last day, that one"
    " is not read"
)


class ExpiredIteratorError(Exception):
    """The shard iterator is older than fifteen minutes."""


class TrimmedError(Exception):
    """The position asked for is older than the stream's 24 hours."""


class ThrottledError(Exception):
    """Too many reads, of this shard or of the account."""


class StreamGoneError(Exception):
    """The stream, or the shard, does not exist any more."""


class UnknownTimestampError(Exception):
    """This service, or this botocore, knows no iterators by time."""


# What a reader acts on, by AWS's code.
_ACTED_ON: Final[Mapping[str, type[Exception]]] = {
    "ExpiredIteratorException": ExpiredIteratorError,
    "TrimmedDataAccessException": TrimmedError,
    # More than two readers of a shard, or ten DescribeStream a second (Service Quotas, API Reference).
    "LimitExceededException": ThrottledError,
    **dict.fromkeys(THROTTLED, ThrottledError),
    **dict.fromkeys(MISSING, StreamGoneError),
}


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard as DescribeStream lists it; one with an ``ending`` sequence number is closed."""

    id: str
    parent: str | None = None
    starting: int | None = None
    ending: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """The answer of one GetRecords; without ``next_iterator`` the shard is closed and read to its end."""

    records: tuple[Record, ...]
    next_iterator: str | None


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream of a table. One that was switched off stays readable for 24 hours."""

    arn: str
    enabled: bool

    @property
    def label(self) -> str:
        """The time of its creation, as AWS writes it at the end of the ARN; it sorts by time."""
        return self.arn.rpartition("/stream/")[2]

    @property
    def created(self) -> datetime | None:
        """When it was switched on, as its label shows; None if the label is not a time."""
        try:
            return datetime.fromisoformat(self.label).replace(tzinfo=UTC)
        except ValueError:
            return None


class ShardSource(Protocol):
    """What the reader reads from. Methods raise the errors of this module, and FifoError for others."""

    def shards(self) -> list[Shard]:
        """Return all shards that are listed at this moment, in no order."""

    def iterator(
        self, shard: str, kind: IteratorType, *, sequence: str | None = None, time: datetime | None = None
    ) -> str:
        """Return an iterator of a shard."""

    def records(self, iterator: str) -> Page:
        """Return the next records."""


class StreamSource:
    """One stream of AWS's; safe to share between threads."""

    def __init__(self, aws: Aws, arn: str) -> None:
        self._aws = aws
        self.arn = arn

    @property
    def _client(self) -> DynamoDBStreamsClient:
        return self._aws.client("dynamodbstreams")

    def shards(self) -> list[Shard]:
        """List the shards, a hundred a call; only a page without a last id is the last one."""
        found: dict[str, Shard] = {}
        start: dict[str, Any] = {}
        while True:
            with calling(f"stream {self.arn}", _ACTED_ON):
                page = self._client.describe_stream(StreamArn=self.arn, **start)["StreamDescription"]
            for shard in page.get("Shards", []):
                span = shard.get("SequenceNumberRange", {})
                found[shard["ShardId"]] = Shard(
                    shard["ShardId"],
                    shard.get("ParentShardId"),
                    _number(span.get("StartingSequenceNumber")),
                    _number(span.get("EndingSequenceNumber")),
                )
            last = page.get("LastEvaluatedShardId")
            if not last:
                return list(found.values())
            start = {"ExclusiveStartShardId": last}

    def iterator(
        self, shard: str, kind: IteratorType, *, sequence: str | None = None, time: datetime | None = None
    ) -> str:
        """Ask for an iterator; raises UnknownTimestampError where AT_TIMESTAMP is not known.

        A number that the service does not take is treated as one that is trimmed: reading from the oldest
        record on shows which ones there are.
        """
        query: dict[str, Any] = {"StreamArn": self.arn, "ShardId": shard, "ShardIteratorType": kind}
        if sequence is not None:
            query["SequenceNumber"] = sequence.zfill(_SEQUENCE_DIGITS_MIN)
        if kind == "AT_TIMESTAMP":
            # Newer than some botocores, and than the emulators.
            if "Timestamp" not in self._iterator_members:
                raise UnknownTimestampError
            query["Timestamp"] = time
        with calling(f"stream {self.arn}", _ACTED_ON):
            try:
                return self._client.get_shard_iterator(**query)["ShardIterator"]
            except ClientError as error:
                if "ValidationException" in error_codes(error):
                    if kind == "AT_TIMESTAMP":
                        raise UnknownTimestampError from error
                    if sequence is not None:
                        raise TrimmedError from error
                raise

    def records(self, iterator: str) -> Page:
        """Read up to 1,000 records or 1 MB."""
        with calling(f"stream {self.arn}", _ACTED_ON):
            answer = self._client.get_records(ShardIterator=iterator, Limit=_PAGE_RECORDS)
        return Page(tuple(answer.get("Records", [])), answer.get("NextShardIterator"))

    @property
    def _iterator_members(self) -> Container[str]:
        shape = self._client.meta.service_model.operation_model("GetShardIterator").input_shape
        return () if shape is None else tuple(shape.members)


def table_streams(aws: Aws, table: str, *, listener: Listener = silent) -> list[Stream]:
    """Return the table's streams that can be read, the oldest first, the present one last.

    A stream that was switched off, or replaced by a new one, stays readable for 24 hours; ``listener`` hears
    of it if older ones may not be listed. Raises NotDeployedError if the table does not exist, or
    none of its streams is left.
    """
    with calling(f"table {table}"):
        described = aws.client("dynamodb").describe_table(TableName=table)["Table"]
    latest, enabled = described.get("LatestStreamArn"), stream_arn(described)
    arns = {*_listed(aws, table, listener), *([latest] if latest else [])}
    streams = [Stream(arn, enabled=arn == enabled) for arn in arns]
    if not streams:
        raise NotDeployedError(
            f"table {table} has no stream, so nothing of what was written to it can be read back",
            hint=f"switch the stream on with {command_line('deploy')}; it holds what is written from then on",
        )
    return sorted(streams, key=lambda stream: stream.label)


def _listed(aws: Aws, table: str, listener: Listener) -> Iterator[str]:
    """List the table's streams; nothing if that is not permitted, as the present one is known without."""
    start: dict[str, Any] = {}
    while True:
        with calling(f"streams of table {table}"):
            try:
                page = aws.client("dynamodbstreams").list_streams(TableName=table, **start)
            except ClientError as error:
                if error_codes(error) & DENIED:
                    listener(Warned(_NOT_LISTED.format(table=table)))
                    return
                if is_missing(error):
                    return
                raise
        yield from (one["StreamArn"] for one in page.get("Streams", []) if "StreamArn" in one)
        last = page.get("LastEvaluatedStreamArn")
        if not last:
            return
        start = {"ExclusiveStartStreamArn": last}


def gone(arn: str) -> AwsError:
    """Say that a stream went away while it was read."""
    return AwsError(
        f"the stream {arn} does not exist any more: it was switched off more than a day ago, its table was"
        " deleted, or it was re-created meanwhile",
        hint="run the command again: it reads the streams that the table has now",
    )


def _number(text: str | None) -> int | None:
    return int(text) if text else None
