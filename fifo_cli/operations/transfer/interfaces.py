"""What the engine moves between: a source that gives messages and a target that accepts them.

The engine (engine.py) knows nothing of SQS. It receives from a source, sends to a target so that no group
overtakes itself, and deletes from the source what the target has accepted for good.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol

from fifo_cli.errors import FifoError
from fifo_cli.model.limits import MESSAGE_BYTES_MAX
from fifo_cli.model.message import Message, ReceivedMessage
from fifo_cli.model.message_json import message_bytes


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why one message was not sent, extended or deleted. ``retry``: a later try may help.

    ``aside``: it stays where it is, and its group goes on without it. ``doubtful``: the answer does not say,
    so it may have taken effect.
    """

    received: ReceivedMessage
    reason: str
    retry: bool = True
    aside: bool = False
    doubtful: bool = False


class Source(Protocol):
    """Where messages come from; safe to share between threads.

    Methods raise FifoError when a call fails as a whole.
    """

    @property
    def hidden_seconds(self) -> float:
        """How long what ``receive`` gave stays invisible unless extended; ``math.inf`` if for ever."""

    def receive(self, count: int, *, wait: bool) -> list[ReceivedMessage]:
        """Return up to ``count`` (at most ten) messages in order; none if it gives none at the moment.

        With ``wait`` nothing else is to do, and it may wait a moment for one.
        """

    def exhausted(self) -> bool:
        """Say, after ``receive`` gave nothing and nothing is left to send or delete, whether it is over.

        False makes the engine call ``receive`` again, with ``wait``; so a source that is not sure says False
        until it is, or until it has waited for long enough.
        """

    def extend_visibility(self, received: Sequence[ReceivedMessage], *, seconds: float) -> list[Rejection]:
        """Extend the visibility timeout of at most ten messages to ``seconds`` from now, heads first.

        Return those that were not extended; without ``retry``, those that are not ours any more.
        """

    def delete(self, received: Sequence[ReceivedMessage]) -> list[Rejection]:
        """Delete messages (at most ten) that the target has for good; a file notes them as loaded instead.

        Return those that are still there; without ``retry``, those that are not ours any more.
        """

    def release(self, received: Sequence[ReceivedMessage]) -> None:
        """Make messages visible again, in the order given: the last of a group first. Never raises."""


class LocalSource:
    """What this program keeps itself, as a source: ``messages`` in their order, read by one thread at a time.

    They are hidden from nobody: nothing has to be extended, and what is released stays where it is. After an
    error in reading them nothing more is given, as what comes later must not overtake.
    """

    hidden_seconds: Final = math.inf

    def __init__(self, messages: Iterator[ReceivedMessage]) -> None:
        self._messages = messages
        self._over = False
        self._error: FifoError | None = None
        self._lock = threading.Lock()

    def receive(self, count: int, *, wait: bool) -> list[ReceivedMessage]:
        with self._lock:
            if self._error is not None:
                raise self._error
            try:
                received = list(islice(self._messages, count))
            except FifoError as error:
                self._error = error
                raise
            self._over = len(received) < count
        return received

    def exhausted(self) -> bool:
        return self._over

    def extend_visibility(self, received: Sequence[ReceivedMessage], *, seconds: float) -> list[Rejection]:
        return []

    def delete(self, received: Sequence[ReceivedMessage]) -> list[Rejection]:
        """Nothing to do, unless the source notes what has left it."""
        return []

    def release(self, received: Sequence[ReceivedMessage]) -> None:
        """Nothing to do."""


class Target(Protocol):
    """Where messages go; what ``send`` does not reject is there for good. Safe to share between threads."""

    @property
    def batch_max(self) -> int:
        """The most messages in one ``send``."""

    @property
    def strict(self) -> bool:
        """Whether a ``send`` may hold only one message of a group, as it may refuse one and take the next."""

    def size(self, message: Message) -> int:
        """Return the bytes a message counts in one ``send``."""

    @property
    def bytes_max(self) -> int:
        """The most bytes in one ``send``."""

    def send(self, received: Sequence[ReceivedMessage]) -> list[Rejection]:
        """Accept messages in the order given; return those rejected.

        Raises FifoError if nothing is known to be accepted. Sending the same message again within five
        minutes makes no second copy.
        """


class MoveHistory(Protocol):
    """Where a move notes what leaves its source. Each call returns when it is written, and never raises.

    ``ahead``: a message may be noted while it is sent. If the run is killed then, it is still in its source:
    so not where that is a file, nor where the note says that the message is in no queue any more, as `audit`
    believes that of one behind others, which cannot be seen.
    """

    @property
    def ahead(self) -> bool: ...

    def leaving(self, received: Sequence[ReceivedMessage]) -> None:
        """Note messages that the target has, or soon will; they are deleted from the source after that."""

    def stayed(self, received: Sequence[ReceivedMessage]) -> None:
        """Note that messages which were said to leave have stayed, as the target refused them."""


class LocalTarget:
    """The part of a target that this machine keeps: many messages at a time, any number of one group."""

    batch_max: Final = 100
    bytes_max: Final = 8 * MESSAGE_BYTES_MAX
    strict: Final = False

    def size(self, message: Message) -> int:
        return message_bytes(message)
