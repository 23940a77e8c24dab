"""An SQS FIFO queue in memory, with a clock turned by hand.

It keeps the rules that this project rests on (groups, deduplication, visibility, receives, handles that
expire) and offers boto3's methods; tests/integration/test_fake_is_true.py holds it to a real service.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

DEDUP_SECONDS = 300


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


@dataclass
class Stored:
    """A message in a fake queue."""

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
    handle: str = ""


@dataclass
class FakeQueue:
    """One FIFO queue."""

    messages: list[Stored] = field(default_factory=list)
    dedup: dict[str, tuple[float, str]] = field(default_factory=dict)


class AwsMeta:
    """What a client knows of itself: it talks to AWS."""

    endpoint_url = "https://sqs.us-east-1.amazonaws.com"


class FakeSqs:
    """What boto3's SQS client does, on queues whose URL is their name; ``before`` sees every call first."""

    meta = AwsMeta()

    def __init__(self, clock: Clock, *names: str) -> None:
        self.clock = clock
        self.queues = {name: FakeQueue() for name in names}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.before: Callable[[str, dict[str, Any]], None] = lambda action, request: None
        self.refuse: Callable[[dict[str, Any]], dict[str, Any] | None] = lambda entry: None
        self._numbers = itertools.count(1)

    def bodies(self, name: str) -> list[str]:
        return [message.body for message in self.queues[name].messages]

    def send_message(self, **request: Any) -> dict[str, Any]:
        self._called("SendMessage", request)
        return self._send(self.queues[request["QueueUrl"]], request)

    def send_message_batch(self, **request: Any) -> dict[str, Any]:
        self._called("SendMessageBatch", request)
        successful, failed = [], []
        for entry in request["Entries"]:
            refusal = self.refuse(entry)
            if refusal is not None:
                failed.append({"Id": entry["Id"], **refusal})
            else:
                successful.append({"Id": entry["Id"], **self._send(self.queues[request["QueueUrl"]], entry)})
        return {"Successful": successful, "Failed": failed}

    def receive_message(self, **request: Any) -> dict[str, Any]:
        self._called("ReceiveMessage", request)
        queue, now = self.queues[request["QueueUrl"]], self.clock()
        locked = {m.group for m in queue.messages if m.visible_at > now}
        given: list[Stored] = []
        for message in queue.messages:
            if len(given) == request.get("MaxNumberOfMessages", 1):
                break
            if message.group not in locked:
                message.visible_at = now + request["VisibilityTimeout"]
                message.receives += 1
                message.handle = f"{message.message_id}#{message.receives}"
                given.append(message)
        return {"Messages": [self._shown(message) for message in given]} if given else {}

    def delete_message(self, **request: Any) -> dict[str, Any]:
        self._called("DeleteMessage", request)
        queue = self.queues[request["QueueUrl"]]
        message = self._held(queue, request["ReceiptHandle"])
        if message is None:
            raise client_error("DeleteMessage", "InvalidParameterValue", "The receipt handle has expired")
        queue.messages.remove(message)
        return {}

    def change_message_visibility_batch(self, **request: Any) -> dict[str, Any]:
        self._called("ChangeMessageVisibilityBatch", request)
        queue = self.queues[request["QueueUrl"]]
        successful, failed = [], []
        for entry in request["Entries"]:
            message = self._held(queue, entry["ReceiptHandle"])
            if message is None:
                failed.append({"Id": entry["Id"], "Code": "ReceiptHandleIsInvalid", "SenderFault": True})
            else:
                message.visible_at = self.clock() + entry["VisibilityTimeout"]
                successful.append({"Id": entry["Id"]})
        return {"Successful": successful, "Failed": failed}

    def _called(self, action: str, request: dict[str, Any]) -> None:
        self.calls.append((action, request))
        self.before(action, request)

    def _send(self, queue: FakeQueue, entry: dict[str, Any]) -> dict[str, Any]:
        now, dedup_id = self.clock(), entry["MessageDeduplicationId"]
        seen_at, seen_id = queue.dedup.get(dedup_id, (float("-inf"), ""))
        if now - seen_at < DEDUP_SECONDS:
            return {"MessageId": seen_id, "SequenceNumber": seen_id.removeprefix("m")}
        number = next(self._numbers)
        message_id = f"m{number}"
        queue.dedup[dedup_id] = (now, message_id)
        queue.messages.append(
            Stored(
                message_id,
                entry["MessageBody"],
                entry["MessageGroupId"],
                dedup_id,
                number,
                now,
                entry.get("MessageAttributes", {}),
                entry.get("MessageSystemAttributes", {}),
            )
        )
        return {
            "MessageId": message_id,
            "SequenceNumber": str(number),
            "MD5OfMessageBody": hashlib.md5(entry["MessageBody"].encode()).hexdigest(),
        }

    def _held(self, queue: FakeQueue, handle: str) -> Stored | None:
        return next((m for m in queue.messages if m.handle == handle and m.visible_at > self.clock()), None)

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
                "ApproximateFirstReceiveTimestamp": str(int(self.clock() * 1000)),
                **system,
            },
        }


def client_error(operation: str, code: str, message: str) -> ClientError:
    """Build the error that boto3 raises when AWS answers no."""
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)
