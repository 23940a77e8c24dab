"""SQS's queues as its documents describe them: what is deleted or set shows late.

"You must wait 60 seconds after deleting a queue before you can create another queue with the same name",
requests sent meanwhile "might succeed" (SQS API Reference, DeleteQueue), and a change of attributes "can take
up to 60 seconds", of the retention up to 15 minutes (SetQueueAttributes).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from tests.fakes import Clock, client_error

GONE = "AWS.SimpleQueueService.NonExistentQueue"
NAME_FREE_AFTER = 60.0


@dataclass
class LateQueue:
    """A queue; ``deleted_at`` is None while it stands, ``due`` what is set and not shown yet."""

    number: int
    attributes: dict[str, str]
    tags: dict[str, str]
    deleted_at: float | None = None
    due: list[tuple[float, dict[str, str]]] = field(default_factory=list)


@dataclass
class LateSqs:
    """boto3's client, as far as the queues themselves go.

    ``answers`` says for how long a deleted queue answers, ``flaps`` that it does so every other time only,
    ``lenient`` that CreateQueue gives it back meanwhile; ``shows`` after how many seconds an attribute shows.
    """

    clock: Clock
    answers: float = 0.0
    flaps: bool = False
    lenient: bool = False
    shows: float = 0.0
    shows_retention: float = 0.0
    dies_before: str = ""
    queues: dict[str, LateQueue] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def get_queue_url(self, *, QueueName: str) -> Any:
        self._queue("GetQueueUrl", QueueName)
        return {"QueueUrl": QueueName}

    def get_queue_attributes(self, *, QueueUrl: str, AttributeNames: Any) -> Any:
        queue = self._queue("GetQueueAttributes", QueueUrl)
        for at, attributes in [one for one in queue.due if one[0] <= self.clock()]:
            queue.due.remove((at, attributes))
            queue.attributes.update(attributes)
        return {"Attributes": {**queue.attributes, "QueueArn": f"arn:aws:sqs:eu-west-1:1:{QueueUrl}"}}

    def list_queue_tags(self, *, QueueUrl: str) -> Any:
        tags = dict(self._queue("ListQueueTags", QueueUrl).tags)
        date = format_datetime(datetime.fromtimestamp(self.clock(), UTC), usegmt=True)
        return {"Tags": tags, "ResponseMetadata": {"HTTPHeaders": {"date": date}}}

    def tag_queue(self, *, QueueUrl: str, Tags: dict[str, str]) -> Any:
        self._queue("TagQueue", QueueUrl).tags.update(Tags)

    def untag_queue(self, *, QueueUrl: str, TagKeys: list[str]) -> Any:
        for name in TagKeys:
            self._queue("UntagQueue", QueueUrl).tags.pop(name, None)

    def set_queue_attributes(self, *, QueueUrl: str, Attributes: dict[str, str]) -> Any:
        queue = self._queue("SetQueueAttributes", QueueUrl)
        for name, value in Attributes.items():
            late = self.shows_retention if name == "MessageRetentionPeriod" else self.shows
            queue.due.append((self.clock() + late, {name: value}))

    def create_queue(self, *, QueueName: str, Attributes: dict[str, str], tags: dict[str, str]) -> Any:
        self._hear("CreateQueue")
        there = self.queues.get(QueueName)
        if there is not None and there.deleted_at is not None:
            if self.lenient and self._stands(there):
                return {"QueueUrl": QueueName}
            if self.clock() < there.deleted_at + NAME_FREE_AFTER:
                code = "AWS.SimpleQueueService.QueueDeletedRecently"
                raise client_error("CreateQueue", code, "You must wait 60 seconds")
            there = None
        if there is None:
            self.queues[QueueName] = LateQueue(next(self._numbers), dict(Attributes), dict(tags))
        elif any(there.attributes.get(name) != value for name, value in Attributes.items()):
            raise client_error("CreateQueue", "QueueAlreadyExists", "with different attributes")
        return {"QueueUrl": QueueName}

    def delete_queue(self, *, QueueUrl: str) -> Any:
        self._queue("DeleteQueue", QueueUrl).deleted_at = self.clock()

    def _hear(self, call: str) -> None:
        if call == self.dies_before:
            raise KeyboardInterrupt
        self.calls.append(call)

    def _queue(self, call: str, name: str) -> LateQueue:
        self._hear(call)
        queue = self.queues.get(name)
        if queue is None or not self._stands(queue):
            raise client_error(call, GONE, "The specified queue does not exist.")
        return queue

    def _stands(self, queue: LateQueue) -> bool:
        if queue.deleted_at is None:
            return True
        in_time = self.clock() < queue.deleted_at + self.answers
        return in_time and not (self.flaps and len(self.calls) % 2)
