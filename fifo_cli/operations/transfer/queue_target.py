"""A queue as a target of the moving engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from fifo_cli.aws.sqs import OutgoingMessage, Queue
from fifo_cli.errors import FifoError
from fifo_cli.handlers.identifiers import sqs_id
from fifo_cli.model.limits import BATCH_ENTRIES_MAX, MESSAGE_BYTES_MAX
from fifo_cli.model.message import Message, ReceivedMessage
from fifo_cli.model.message_json import message_bytes
from fifo_cli.operations.transfer.interfaces import Rejection

Pack = Callable[[ReceivedMessage], OutgoingMessage]


def outgoing(message: Message, dedup_id: str) -> OutgoingMessage:
    """Return a message as it is sent, with a deduplication id of its own."""
    return OutgoingMessage(
        message.body, message.group, dedup_id, message.attributes, message.trace_header or None
    )


def as_it_is(operation: str) -> Pack:
    """Pack messages unchanged; the deduplication id is made of the source's message id and ``operation``.

    Never the original one: if it was used in the target within five minutes, SQS would swallow the copy, and
    the delete that follows would lose the message.
    """

    def pack(received: ReceivedMessage) -> OutgoingMessage:
        return outgoing(received.message, sqs_id(f"{operation}-{received.message.message_id}"))

    return pack


class QueueTarget:
    """A queue. ``pack`` makes of a message in flight what is sent; ``strict``: one of a group in a call."""

    batch_max: Final = BATCH_ENTRIES_MAX
    # The sum over a call's entries has the limit of a single message (API Reference, SendMessageBatch).
    bytes_max: Final = MESSAGE_BYTES_MAX

    def __init__(self, queue: Queue, pack: Pack, *, strict: bool = True) -> None:
        self._queue = queue
        self._pack = pack
        self.strict = strict

    def size(self, message: Message) -> int:
        return message_bytes(message)

    def send(self, received: Sequence[ReceivedMessage]) -> list[Rejection]:
        """Send messages in as few calls as keep everything of them (trace headers: see ``_calls``)."""
        first, *rest = self._calls(received)
        refused = self._send(first)
        return refused + (send_in_order(rest, self._send, refused=refused) if rest else [])

    def _send(self, received: Sequence[ReceivedMessage]) -> list[Rejection]:
        packed = [self._pack(one) for one in received]
        alone = (
            len(received) == 1
            and received[0].message.trace_header
            and not self._queue.batches_keep_trace_headers
        )
        rejected = self._queue.send_singly(packed) if alone else self._queue.send(packed)
        return [
            Rejection(received[one.index], one.reason, retry=not one.final, doubtful=one.doubtful)
            for one in rejected
        ]

    def _calls(self, received: Sequence[ReceivedMessage]) -> list[list[ReceivedMessage]]:
        """Split into calls: a message with a trace header goes alone where batches drop it."""
        if self._queue.batches_keep_trace_headers or not any(one.message.trace_header for one in received):
            return [list(received)]
        calls: list[list[ReceivedMessage]] = [[]]
        for one in received:
            if one.message.trace_header:
                calls += [[one], []]
            else:
                calls[-1].append(one)
        return [call for call in calls if call]


def send_in_order(
    calls: Iterable[Sequence[ReceivedMessage]],
    send: Callable[[Sequence[ReceivedMessage]], list[Rejection]],
    *,
    groups: Callable[[ReceivedMessage], set[str]] = lambda received: {received.message.group},
    refused: Iterable[Rejection] = (),
) -> list[Rejection]:
    """Send call by call, and behind a message that was refused, now or before, none of its ``groups``.

    A call that fails as a whole refuses all its messages: it may have taken effect.
    """
    stopped = {group for one in refused for group in groups(one.received)}
    refusals: list[Rejection] = []
    for call in calls:
        behind = [one for one in call if groups(one) & stopped]
        free = [one for one in call if not groups(one) & stopped]
        refusals += [Rejection(one, "behind a message of its group that was refused") for one in behind]
        if not free:
            continue
        try:
            news = send(free)
        except FifoError as error:
            news = [Rejection(one, error.message, doubtful=True) for one in free]
        refusals += news
        stopped |= {group for one in news for group in groups(one.received)}
    return refusals
