"""What SQS refuses for good while ``redrive --in-order`` runs: it is set aside, and the rest goes on.

Otherwise each run would end at the same message, and worker and enqueuer would stay paused. A message of the
DLQ stays there. Any other is parked there. Its deduplication id there shows its origin, as in main after a
merge: so a later run puts it back in its old place, and counts two copies of it once.

A message that is too large is not set aside: SQS took it before, so somebody has lowered a queue's limit
since. The run ends, and says that a deploy raises it again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from fifo_cli.aws.sqs import OutgoingMessage, Queue
from fifo_cli.errors import FifoError
from fifo_cli.invocation import command_line
from fifo_cli.model.group_names import shown_group
from fifo_cli.model.limits import MESSAGE_BYTES_MAX
from fifo_cli.model.message import Message, ReceivedMessage
from fifo_cli.model.message_json import message_bytes
from fifo_cli.operations.history import MoveNotes, Note
from fifo_cli.operations.queues.order_labels import Origin, merge_id
from fifo_cli.operations.queues.park import parked
from fifo_cli.operations.transfer.interfaces import Rejection, Target
from fifo_cli.operations.transfer.queue_target import QueueTarget, outgoing, send_in_order

_SHOWN_MAX: Final = 100


class Parking:
    """Parks messages that are not in the DLQ. ``origin`` gives the origin of one; ``token``: see merge_id."""

    def __init__(
        self,
        dlq: Queue,
        note: Note,
        origin: Callable[[ReceivedMessage], Origin],
        token: Callable[[ReceivedMessage], str],
    ) -> None:
        self.dlq = dlq
        self._notes = MoveNotes(note, "parked", "main", "dlq")
        self._origin = origin
        self._token = token
        self.dedup_ids: set[str] = set()

    def park(self, received: ReceivedMessage, reason: str) -> list[Rejection]:
        """Send a message to the DLQ, and note that; return why the DLQ did not take it."""

        dedup_id = merge_id(self._origin(received), self._token(received))

        def pack(one: ReceivedMessage) -> OutgoingMessage:
            return outgoing(parked(one, reason), dedup_id)

        refused = send_in_order([[received]], QueueTarget(self.dlq, pack).send)
        if not refused:
            self.dedup_ids.add(dedup_id)
            self._notes.leaving([received])
        return refused


@dataclass(frozen=True, slots=True)
class SetAside:
    """A message that was set aside, and why."""

    received: ReceivedMessage
    reason: str


class SettingAside:
    """A target that refuses nothing for good but what is too large; safe to share between threads.

    ``queue`` is where it sends to. Without ``parking`` what is refused stays where it is. ``limited`` is the
    queue that refused a message for its size.
    """

    def __init__(self, target: Target, queue: Queue, parking: Parking | None = None) -> None:
        self._target = target
        self._queue = queue
        self._parking = parking
        self.batch_max, self.bytes_max, self.strict = target.batch_max, target.bytes_max, target.strict
        self.done: list[SetAside] = []
        self.limited: Queue | None = None

    def size(self, message: Message) -> int:
        return self._target.size(message)

    def send(self, received: Sequence[ReceivedMessage]) -> list[Rejection]:
        """Send messages; return those that wait for another try, stay for good, or end the run."""
        return [left for one in self._target.send(received) for left in self._set_aside(one)]

    def notes(self, dlq: str) -> list[str]:
        """Name the messages that were set aside, and why."""
        lines = [
            f"look: {one.received.message.message_id} (group {shown_group(one.received.message.group)})"
            f" {'is set aside' if self._parking else 'stays'} in {dlq}: {one.reason}"
            for one in self.done[:_SHOWN_MAX]
        ]
        more = len(self.done) - _SHOWN_MAX
        return [*lines, f"look: and {more} more in {dlq}"] if more > 0 else lines

    def _set_aside(self, one: Rejection) -> list[Rejection]:
        if one.retry or one.aside:
            return [one]
        try:
            if self._is_too_large(one, self._queue):
                return [one]
        except FifoError:
            return [replace(one, retry=True)]
        reason = f"{self._queue.name} refuses it: {one.reason}"
        if self._parking is None:
            self.done.append(SetAside(one.received, reason))
            return [replace(one, aside=True)]
        refused = self._parking.park(one.received, reason)
        if not refused:
            self.done.append(SetAside(one.received, reason))
        with suppress(FifoError):
            for each in refused:
                self._is_too_large(each, self._parking.dlq)
        return [
            replace(each, reason=f"{reason}; {self._parking.dlq.name}: {each.reason}") for each in refused
        ]

    def _is_too_large(self, one: Rejection, queue: Queue) -> bool:
        """Say whether the queue's limit was lowered below the message."""
        if one.retry or message_bytes(one.received.message) <= queue.max_message_bytes():
            return False
        self.limited = queue
        return True


def raises_limit(queue: Queue) -> str:
    """Say what lets a queue take large messages again."""
    return (
        f"run {command_line('deploy')}: it lets {queue.name} take messages of {MESSAGE_BYTES_MAX:,} bytes"
        " again; then "
    )
