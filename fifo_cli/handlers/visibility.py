"""The messages that a run holds: received, kept hidden while needed, deleted, or given back in order.

FIFO rules that this rests on (SQS Developer Guide, "Amazon SQS visibility timeout"; API Reference,
DeleteMessage): a delete after the visibility timeout is an error and the message comes again; while a
message of a group is hidden, no later one of it is given out.
"""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from .batch_answer import read_batch
from .hosts import is_this_machine
from .limits import BATCH_ENTRIES_MAX, RECEIVE_MAX, VISIBILITY_SECONDS_MAX

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

# A short poll may miss messages; a long one asks every server (Developer Guide, "Short and long polling").
# An emulator on this machine is one server.
_POLL_SECONDS: Final = 1
# What calls around the API's may take.
_MARGIN_SECONDS: Final = 5
# What is received stays hidden for so much longer than a delivery needs: it is not extended at once.
_SPARE_SECONDS: Final = 30


@dataclass(frozen=True, slots=True, eq=False)
class QueueMessage:
    """A received message. ``attributes`` and ``system`` are as SQS gave them."""

    message_id: str
    receipt_handle: str
    body: str
    group: str
    attributes: Mapping[str, Any]
    system: Mapping[str, str]

    @property
    def receives(self) -> int:
        return int(self.system.get("ApproximateReceiveCount", "1"))

    @property
    def sent_at(self) -> float:
        """When SQS took the message, in epoch seconds."""
        return int(self.system.get("SentTimestamp", "0")) / 1000

    def attribute(self, name: str) -> str | None:
        value = self.attributes.get(name, {}).get("StringValue")
        return value if isinstance(value, str) else None


class MainQueue:
    """One run's view of the main queue. ``needs`` is the longest a message may take, in seconds."""

    def __init__(
        self, sqs: SQSClient, url: str, *, needs: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sqs = sqs
        self._url = url
        self._wait = 0 if is_this_machine(urlsplit(url).hostname or "") else _POLL_SECONDS
        self._clock = clock
        self._needs = needs + _MARGIN_SECONDS
        # A run names it when it receives. The queue's own (model/worker_trigger.py) is for those that name
        # none, has not this margin, and need not be the same.
        self._visibility = min(VISIBILITY_SECONDS_MAX, int(self._needs) + _SPARE_SECONDS)
        self._expiry: dict[QueueMessage, float] = {}  # in the order of receipt
        self._lock = threading.RLock()

    @property
    def held(self) -> int:
        return len(self._expiry)

    def receive(self, count: int, *, wait: bool = True) -> list[QueueMessage]:
        """Receive up to ``count`` (at most ten) messages, hidden long enough for one delivery.

        ``wait`` for a message if there is none; without, one may be missed.

        Each receive has a name, so that botocore's retry of a lost answer gets the same messages (API
        Reference, ReceiveMessage, ReceiveRequestAttemptId); without, they would be hidden from everybody.
        """
        asked_at = self._clock()
        answer = self._sqs.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=min(count, RECEIVE_MAX),
            VisibilityTimeout=self._visibility,
            WaitTimeSeconds=self._wait if wait else 0,
            ReceiveRequestAttemptId=uuid.uuid4().hex,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        )
        messages = [_read(message) for message in answer.get("Messages", [])]
        with self._lock:
            for message in messages:
                self._expiry[message] = asked_at + self._visibility
        return messages

    def adopt(self, messages: list[QueueMessage]) -> None:
        """Hold messages that another received for us, such as Lambda's poller; for how long is not known."""
        with self._lock:
            self._expiry.update(dict.fromkeys(messages, self._clock()))

    def hide(self, *, seconds: float) -> None:
        """Hide everything held for so long from now on, heads before tails.

        What SQS does not confirm is not held any more: its visibility timeout ended.
        """
        with self._lock:
            self._extend(list(self._expiry), seconds=math.ceil(seconds))

    def holds(self, message: QueueMessage) -> bool:
        """Whether the message is still held, as far as is known."""
        with self._lock:
            return message in self._expiry

    def keep_hidden(self, message: QueueMessage, *, extra: float = 0) -> bool:
        """Make sure that ``message`` stays hidden while it is delivered (and ``extra`` seconds more).

        If its time is too short, everything held is extended, heads before tails. False means that the
        time was over already: the message is someone else's now.
        """
        with self._lock:
            if message not in self._expiry:
                return False
            if self._expiry[message] - self._clock() < self._needs + extra:
                self._extend(list(self._expiry), seconds=self._longer() + int(extra))
            return message in self._expiry

    def keep_all_hidden(self) -> None:
        """Extend what is held if its time is short, so that a waiting group stays closed."""
        with self._lock:
            if any(expiry - self._clock() < self._needs for expiry in self._expiry.values()):
                self._extend(list(self._expiry), seconds=self._longer())

    def delete(self, message: QueueMessage) -> None:
        """Delete a message that was delivered or is safe elsewhere; raises botocore's ClientError.

        It is held until SQS says yes: otherwise it waits with the rest of its group.
        """
        self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message.receipt_handle)
        with self._lock:
            self._expiry.pop(message, None)

    def release(self, pause: Callable[[QueueMessage], float] = lambda message: 0) -> list[str]:
        """Give back everything held, tails first, heads last; return SQS's reasons for those it refused.

        ``pause`` is in how many seconds a message is visible again: for all of a group the same, since a
        head that is visible before its tail comes alone, and its group then waits for the tail.
        """
        with self._lock:
            messages = list(reversed(self._expiry))
            self._expiry.clear()
        return [reason for _, reason in self._change(messages, seconds=lambda one: math.ceil(pause(one)))]

    def _longer(self) -> int:
        """For how long to extend: longer if much is held, as it takes a call for every ten."""
        return self._visibility + len(self._expiry) // BATCH_ENTRIES_MAX

    def _extend(self, messages: list[QueueMessage], *, seconds: int) -> None:
        seconds = min(seconds, VISIBILITY_SECONDS_MAX)
        asked_at = self._clock()
        lost = {message for message, _ in self._change(messages, seconds=lambda _: seconds)}
        for message in messages:
            if message in lost:
                self._expiry.pop(message, None)
            elif message in self._expiry:
                self._expiry[message] = asked_at + seconds

    def _change(
        self, messages: list[QueueMessage], *, seconds: Callable[[QueueMessage], int]
    ) -> Iterable[tuple[QueueMessage, str]]:
        """Set the visibility timeout of messages, in this order; return those that SQS does not confirm."""
        refused: list[tuple[QueueMessage, str]] = []
        for start in range(0, len(messages), BATCH_ENTRIES_MAX):
            part = messages[start : start + BATCH_ENTRIES_MAX]
            answer = self._sqs.change_message_visibility_batch(
                QueueUrl=self._url,
                Entries=[
                    {
                        "Id": str(n),
                        "ReceiptHandle": message.receipt_handle,
                        "VisibilityTimeout": seconds(message),
                    }
                    for n, message in enumerate(part)
                ],
            )
            failed = read_batch(answer, [str(n) for n in range(len(part))]).failed
            refused += [(part[int(n)], error.reason) for n, error in failed.items()]
        return refused


def _read(message: MessageTypeDef) -> QueueMessage:
    system: dict[str, str] = dict(message.get("Attributes", {}))  # type: ignore[arg-type]
    return QueueMessage(
        message_id=message["MessageId"],
        receipt_handle=message["ReceiptHandle"],
        body=message["Body"],
        group=system.get("MessageGroupId", ""),
        attributes=message.get("MessageAttributes", {}),
        system=system,
    )
