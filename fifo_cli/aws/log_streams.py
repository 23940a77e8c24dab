"""CloudWatch Logs: a log stream written to, and since when a log group holds what was logged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from fifo_cli.aws.errors import calling, is_missing, unless_answered
from fifo_cli.errors import AwsError
from fifo_cli.model.times import from_epoch_ms

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_logs.type_defs import LogGroupTypeDef

    from fifo_cli.aws.session import Aws

# API Reference, PutLogEvents: a batch has 10,000 events and 1,048,576 bytes at most, 26 of them for each.
_EVENTS_MAX: Final = 10_000
_BYTES_MAX: Final = 1_048_576
_EVENT_BYTES: Final = 26
# An event's own limit (CloudWatch Logs User Guide, "CloudWatch Logs quotas") was 256 KB until 2025.
LOG_EVENT_BYTES_MAX: Final = 256 * 1024 - _EVENT_BYTES
# The log must not hold up what it shows.
_READ_TIMEOUT: Final = 3.0
_ATTEMPTS: Final = 2
_EXISTS: Final = frozenset({"ResourceAlreadyExistsException"})


@dataclass(frozen=True, slots=True)
class Stamped:
    """A line and its time, in epoch milliseconds."""

    time: int
    text: str


class LogStream:
    """One log stream of our own, made when the first lines are put.

    ``make_group`` makes the log group if it does not exist; without it, that is an error.
    """

    lines_max: Final = 1_000

    def __init__(
        self, aws: Aws, group: str, name: str, *, make_group: Callable[[], None] | None = None
    ) -> None:
        self._aws = aws
        self.group = group
        self.name = name
        self._make_group = make_group
        self._made = False

    @property
    def _client(self) -> CloudWatchLogsClient:
        return self._aws.client("logs", read_timeout=_READ_TIMEOUT, attempts=_ATTEMPTS)

    def put(self, lines: Sequence[Stamped]) -> None:
        """Write lines, in order of time; raises FifoError if CloudWatch refuses any."""
        with calling(f"log group {self.group}"):
            self._make()
            for batch in _batches(sorted(lines, key=lambda one: one.time)):
                answer = self._client.put_log_events(
                    logGroupName=self.group,
                    logStreamName=self.name,
                    logEvents=[{"timestamp": one.time, "message": one.text} for one in batch],
                )
                if answer.get("rejectedLogEventsInfo"):
                    raise AwsError(
                        f"log group {self.group}: CloudWatch Logs took the call, but not all of its lines:"
                        " their time is too far from its own",
                        hint="look at the clock of this machine",
                    )

    def _make(self) -> None:
        if self._made:
            return
        try:
            self._make_stream()
        except ClientError as error:
            if self._make_group is None or not is_missing(error):
                raise
            self._make_group()
            self._make_stream()
        self._made = True

    def _make_stream(self) -> None:
        create = partial(self._client.create_log_stream, logGroupName=self.group, logStreamName=self.name)
        unless_answered(_EXISTS, create)


def _batches(lines: Sequence[Stamped]) -> Iterator[list[Stamped]]:
    batch: list[Stamped] = []
    size = 0
    for one in lines:
        bytes_ = len(one.text.encode("utf-8", "replace")) + _EVENT_BYTES
        if batch and (len(batch) == _EVENTS_MAX or size + bytes_ > _BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += bytes_
    if batch:
        yield batch


def holds_since(aws: Aws, group: str, *, now: datetime) -> datetime | None:
    """Return since when a log group holds all that was logged to it; None if it does not exist.

    That is its creation, or as far back as its retention goes.
    """
    with calling(f"log group {group}"):
        found = find_log_group(aws.client("logs"), group)
    if found is None:
        return None
    created = from_epoch_ms(found.get("creationTime", 0))
    days = found.get("retentionInDays")
    return created if days is None else max(created, now - timedelta(days=days))


def find_log_group(logs: CloudWatchLogsClient, name: str) -> LogGroupTypeDef | None:
    """Return the log group of exactly this name, which CloudWatch Logs lists by its beginning."""
    pages = logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name)
    return next((one for page in pages for one in page["logGroups"] if one["logGroupName"] == name), None)
