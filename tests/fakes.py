"""An SQS of FIFO queues in memory, with any clock: the one double of it.

It keeps the rules that this project rests on (groups, deduplication, visibility, receives, handles that
expire) and offers boto3's methods; tests/integration/test_fake_is_true.py holds it to a real service.
lean_sqs.py serves it over HTTP; late_sqs.py shows late what was deleted or set.
"""

from __future__ import annotations

import functools
import hashlib
import heapq
import itertools
import math
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, TypeVar, cast

from tests.faults import MemoryCall, Rule, client_error, forward_all, perform

DEDUP_SECONDS = 300
GONE = "AWS.SimpleQueueService.NonExistentQueue"
_ATTEMPTS_KEPT = 1000
_Call = TypeVar("_Call", bound=Callable[..., Any])


@dataclass
class Clock:
    """A clock that only moves when reported; ``sleep`` moves it."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def silent_journal(level: str, message: str, **facts: Any) -> None:
    """Log nothing."""


@dataclass(slots=True, eq=False)
class Stored:
    """A message in a fake queue; hidden until ``visible_at``, since it was received with ``handle``."""

    message_id: str
    body: str
    group: str
    dedup_id: str
    sequence: int
    sent_at: float
    attributes: dict[str, Any]
    system: dict[str, Any]
    visible_at: float = 0.0
    receives: int = 0
    first_received_at: float = 0.0
    handle: str = ""


@dataclass(eq=False)
class FakeQueue:
    """One FIFO queue; no call's cost grows with its length, but those that count."""

    name: str
    number: int = 0
    attributes: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    groups: dict[str, deque[Stored]] = field(default_factory=dict)
    dedup: dict[str, tuple[float, Stored]] = field(default_factory=dict)
    handles: dict[str, Stored] = field(default_factory=dict)
    attempts: dict[str, list[Stored]] = field(default_factory=dict)
    # Heads of groups that may be visible, and from when those are that are hidden; what is out of date is
    # passed over.
    heads: list[tuple[int, str]] = field(default_factory=list)
    hidden: list[tuple[float, int, str]] = field(default_factory=list)

    @property
    def messages(self) -> tuple[Stored, ...]:
        """All messages, in the order in which they were sent."""
        found = itertools.chain.from_iterable(self.groups.values())
        return tuple(sorted(found, key=lambda one: one.sequence))

    def clear(self) -> None:
        for each in (self.groups, self.handles, self.heads, self.hidden):
            each.clear()

    def add(self, message: Stored) -> None:
        self.groups.setdefault(message.group, deque()).append(message)
        self.show(message.group)

    def remove(self, message: Stored) -> None:
        group = self.groups[message.group]
        group.remove(message)
        self.handles.pop(message.handle, None)
        if group:
            self.show(message.group)
        else:
            del self.groups[message.group]

    def hide(self, message: Stored, until: float) -> None:
        message.visible_at = until
        self.show(message.group)

    def show(self, name: str) -> None:
        """Note when the head of a group is visible."""
        head = self.groups[name][0]
        heapq.heappush(self.hidden, (head.visible_at, head.sequence, name))

    def free_groups(self, now: float) -> Iterator[deque[Stored]]:
        """Give the groups with a visible head, the head that was sent first before the others.

        Whoever takes the head of one has to ``hide`` it before the next is asked for.
        """
        while self.hidden and self.hidden[0][0] <= now:
            _, sequence, name = heapq.heappop(self.hidden)
            heapq.heappush(self.heads, (sequence, name))
        last = None
        while self.heads:
            sequence, name = heapq.heappop(self.heads)
            group = self.groups.get(name)
            fresh = group is not None and group[0].sequence == sequence and group[0].visible_at <= now
            if group is not None and fresh and (sequence, name) != last:
                yield group
                if group[0].visible_at <= now:
                    self.show(name)
            last = (sequence, name)


class AwsMeta:
    """What a client knows of itself: it talks to AWS."""

    endpoint_url = "https://sqs.us-east-1.amazonaws.com"


def service_call(method: _Call) -> _Call:
    """Make a method a call of the service: noted in ``calls``, and disturbed as ``rule`` says."""

    @functools.wraps(method)
    def call(self: FakeSqs, **request: Any) -> Any:
        with self.lock:
            made = MemoryCall.of(method.__name__, request)
            self._called(made.action, request)
            effect = functools.partial(method, self)
            return perform(self.rule(made), made, effect, sleep=self.sleep, kill=self.kill)

    return cast("_Call", call)


class FakeSqs:
    """What boto3's SQS client does, on queues whose URL is their name; one call at a time.

    As on the embedded stack, a group of which anything is hidden gives out nothing, and an answer is in the
    order of sending; with ``aws_rule``, what is before the first hidden message is given out as well, and an
    answer is filled from one group first (Developer Guide, "FIFO queue delivery logic"). ``rule`` disturbs
    calls (faults.py).
    """

    meta: Any = AwsMeta()
    aws_rule = False

    def __init__(self, clock: Callable[[], float], *names: str) -> None:
        self.clock: Any = clock
        self.base = ""  # of the queues' URLs
        self.queues: dict[str, Any] = {name: FakeQueue(name) for name in names}
        self.calls: list[Any] = []
        self.rule: Rule = forward_all
        self.lock = threading.RLock()
        self._numbers = itertools.count(1)

    def sleep(self, seconds: float) -> None:
        """Let a call take its time."""
        self.clock.sleep(seconds)

    def kill(self) -> None:
        """End the process that calls; most tests have no other than their own."""
        raise KeyboardInterrupt

    def bodies(self, name: str) -> list[str]:
        return [message.body for message in self.queues[name].messages]

    def counts(self, name: str) -> tuple[int, int]:
        """Return how many messages are visible and hidden."""
        groups, now = self.queues[name].groups.values(), self.clock()
        hidden = sum(message.visible_at > now for group in groups for message in group)
        return sum(map(len, groups)) - hidden, hidden

    # Queues

    @service_call
    def create_queue(self, **request: Any) -> dict[str, Any]:
        name = request["QueueName"]
        if name not in self.queues:
            tags = dict(request.get("tags", {}))
            self.queues[name] = FakeQueue(
                name, next(self._numbers), dict(request.get("Attributes", {})), tags
            )
        return {"QueueUrl": self.base + name}

    @service_call
    def get_queue_url(self, **request: Any) -> dict[str, Any]:
        self._queue("GetQueueUrl", request, request["QueueName"])
        return {"QueueUrl": self.base + request["QueueName"]}

    @service_call
    def get_queue_attributes(self, **request: Any) -> dict[str, Any]:
        queue = self._queue("GetQueueAttributes", request)
        visible, hidden = self.counts(queue.name)
        counts = {"": visible, "NotVisible": hidden, "Delayed": 0}
        found = {f"ApproximateNumberOfMessages{kind}": str(count) for kind, count in counts.items()}
        return {"Attributes": {**queue.attributes, "QueueArn": arn(queue), **found}}

    @service_call
    def list_queue_tags(self, **request: Any) -> dict[str, Any]:
        tags = dict(self._queue("ListQueueTags", request).tags)
        date = format_datetime(datetime.fromtimestamp(self.clock(), UTC), usegmt=True)
        return {"Tags": tags, "ResponseMetadata": {"HTTPHeaders": {"date": date}}}

    @service_call
    def tag_queue(self, **request: Any) -> dict[str, Any]:
        self._queue("TagQueue", request).tags.update(request["Tags"])
        return {}

    @service_call
    def untag_queue(self, **request: Any) -> dict[str, Any]:
        tags = self._queue("UntagQueue", request).tags
        for key in request["TagKeys"]:
            tags.pop(key, None)
        return {}

    @service_call
    def purge_queue(self, **request: Any) -> dict[str, Any]:
        self._queue("PurgeQueue", request).clear()
        return {}

    @service_call
    def list_dead_letter_source_queues(self, **request: Any) -> dict[str, Any]:
        target = arn(self._queue("ListDeadLetterSourceQueues", request))
        names = [
            one.name for one in self.queues.values() if target in one.attributes.get("RedrivePolicy", "")
        ]
        return {"queueUrls": [self.base + name for name in names]}

    # Messages

    def receive_all(self, name: str) -> None:
        """Let another consumer receive everything and release it, as a look does."""
        for message in self.queues[name].messages:
            message.receives += 1

    @service_call
    def send_message(self, **request: Any) -> dict[str, Any]:
        return self._send(self._queue("SendMessage", request), request)

    @service_call
    def send_message_batch(self, **request: Any) -> dict[str, Any]:
        queue = self._queue("SendMessageBatch", request)
        sent = [{"Id": entry["Id"], **self._send(queue, entry)} for entry in request["Entries"]]
        return {"Successful": sent, "Failed": []}

    @service_call
    def receive_message(self, **request: Any) -> dict[str, Any]:
        queue, now = self._queue("ReceiveMessage", request), self.clock()
        attempt = request.get("ReceiveRequestAttemptId")
        until = now + request.get("VisibilityTimeout", 30)
        given: list[Stored] = queue.attempts.get(attempt, [])
        if given and all(one is self._held(queue, one.handle) for one in given):
            for message in given:
                queue.hide(message, until)
        else:
            given = list(self._take(queue, request.get("MaxNumberOfMessages", 1), now, until))
        if attempt and given:
            queue.attempts[attempt] = given
            if len(queue.attempts) > _ATTEMPTS_KEPT:
                del queue.attempts[next(iter(queue.attempts))]
        return {"Messages": [self._shown(message) for message in given]} if given else {}

    @service_call
    def delete_message(self, **request: Any) -> dict[str, Any]:
        queue = self._queue("DeleteMessage", request)
        message = self._held(queue, request["ReceiptHandle"])
        if message is None:
            raise client_error("DeleteMessage", "InvalidParameterValue", "The receipt handle has expired")
        queue.remove(message)
        return {}

    @service_call
    def delete_message_batch(self, **request: Any) -> dict[str, Any]:
        queue = self._queue("DeleteMessageBatch", request)
        return self._each(queue, request, lambda message, entry: queue.remove(message))

    @service_call
    def change_message_visibility(self, **request: Any) -> dict[str, Any]:
        queue = self._queue("ChangeMessageVisibility", request)
        message = self._held(queue, request["ReceiptHandle"])
        if message is None:
            raise client_error("ChangeMessageVisibility", "InvalidParameterValue", "The handle has expired")
        queue.hide(message, self.clock() + request["VisibilityTimeout"])
        return {}

    @service_call
    def change_message_visibility_batch(self, **request: Any) -> dict[str, Any]:
        queue, now = self._queue("ChangeMessageVisibilityBatch", request), self.clock()
        return self._each(
            queue, request, lambda message, entry: queue.hide(message, now + entry["VisibilityTimeout"])
        )

    def _called(self, action: str, request: dict[str, Any]) -> None:
        self.calls.append((action, request))

    def _queue(self, action: str, request: dict[str, Any], name: str = "") -> Any:
        queue = self.queues.get(name or request["QueueUrl"].rpartition("/")[2])
        if queue is None:
            raise client_error(action, GONE, "The specified queue does not exist.")
        return queue

    def _take(self, queue: FakeQueue, count: int, now: float, until: float) -> Iterator[Stored]:
        """Receive messages."""
        groups = queue.free_groups(now)
        free: Iterator[Stored] = itertools.chain.from_iterable(
            itertools.takewhile(lambda one: one.visible_at <= now, list(group)) for group in groups
        )
        if not self.aws_rule:
            whole = [group for group in groups if all(one.visible_at <= now for one in group)]
            free = iter(sorted(itertools.chain.from_iterable(whole), key=lambda one: one.sequence))
        for message in itertools.islice(free, count):
            queue.handles.pop(message.handle, None)
            message.receives += 1
            message.first_received_at = message.first_received_at or now
            message.handle = f"{message.message_id}#{message.receives}"
            queue.handles[message.handle] = message
            queue.hide(message, until)
            yield message

    def _each(
        self, queue: FakeQueue, request: dict[str, Any], act: Callable[[Stored, dict[str, Any]], None]
    ) -> dict[str, Any]:
        answer: dict[str, Any] = {"Successful": [], "Failed": []}
        for entry in request["Entries"]:
            message = self._held(queue, entry["ReceiptHandle"])
            if message is None:
                failure = {"Id": entry["Id"], "Code": "ReceiptHandleIsInvalid", "SenderFault": True}
                answer["Failed"].append(failure)
            else:
                act(message, entry)
                answer["Successful"].append({"Id": entry["Id"]})
        return answer

    def _send(self, queue: FakeQueue, entry: dict[str, Any]) -> dict[str, Any]:
        now, dedup_id = self.clock(), entry["MessageDeduplicationId"]
        digest = hashlib.md5(entry["MessageBody"].encode()).hexdigest()
        seen_at, message = queue.dedup.get(dedup_id, (-math.inf, None))
        if message is None or now - seen_at >= DEDUP_SECONDS:
            number = next(self._numbers)
            message = Stored(
                f"m{number}",
                entry["MessageBody"],
                entry["MessageGroupId"],
                dedup_id,
                number,
                now,
                entry.get("MessageAttributes", {}),
                entry.get("MessageSystemAttributes", {}),
            )
            queue.dedup[dedup_id] = (now, message)
            queue.add(message)
        return {
            "MessageId": message.message_id,
            "SequenceNumber": str(message.sequence),
            "MD5OfMessageBody": digest,
        }

    def _held(self, queue: FakeQueue, handle: str) -> Stored | None:
        message = queue.handles.get(handle)
        if message is None or message.handle != handle or message.visible_at <= self.clock():
            return None
        return message

    def _shown(self, message: Stored) -> dict[str, Any]:
        system = {name: value["StringValue"] for name, value in message.system.items()}
        return {
            "MessageId": message.message_id,
            "ReceiptHandle": message.handle,
            "Body": message.body,
            "MessageAttributes": message.attributes,
            "Attributes": {
                "MessageGroupId": message.group,
                "MessageDeduplicationId": message.dedup_id,
                "SequenceNumber": str(message.sequence),
                "SentTimestamp": str(int(message.sent_at * 1000)),
                "ApproximateReceiveCount": str(message.receives),
                "ApproximateFirstReceiveTimestamp": str(int(message.first_received_at * 1000)),
                **system,
            },
        }


def arn(queue: FakeQueue) -> str:
    return f"arn:aws:sqs:us-east-1:000000000000:{queue.name}"
