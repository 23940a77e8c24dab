"""The tags of a queue, with the service's own time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from fifo_cli.aws.errors import calling
from fifo_cli.aws.foreign_responses import served_at
from fifo_cli.aws.session import Aws
from fifo_cli.aws.sqs import Queue

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


@dataclass(frozen=True, slots=True)
class Seen:
    """A queue's tags as they were at ``at``, by the service's clock."""

    tags: Mapping[str, str]
    at: datetime


class QueueTags:
    """The tags of one queue."""

    def __init__(self, aws: Aws, queue: Queue) -> None:
        self._aws = aws
        self.queue = queue

    @property
    def settles(self) -> float:
        """In how many seconds what another wrote at the same time shows."""
        return self._aws.delays.tag

    @property
    def _sqs(self) -> SQSClient:
        return self._aws.client("sqs")

    def read(self) -> Seen:
        """Return all tags."""
        with calling(self.queue.name):
            answer = self._sqs.list_queue_tags(QueueUrl=self.queue.url)
        return Seen(answer.get("Tags") or {}, served_at(answer["ResponseMetadata"]))

    def write(self, tag: str, value: str) -> None:
        """Set one tag."""
        with calling(self.queue.name):
            self._sqs.tag_queue(QueueUrl=self.queue.url, Tags={tag: value})

    def remove(self, tag: str) -> None:
        """Take one tag away, if it is there."""
        with calling(self.queue.name):
            self._sqs.untag_queue(QueueUrl=self.queue.url, TagKeys=[tag])
