"""The messages that a move has in hand, by group, and what its workers do with them: their acts."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fifo_cli.model.message import Message, ReceivedMessage
from fifo_cli.operations.transfer.interfaces import Rejection


@dataclass(slots=True, eq=False)
class InFlightMessage:
    """A message in hand; ``number`` is its place in the order of taking."""

    taken: ReceivedMessage
    number: int
    size: int
    expiry: float
    keep_seconds: float
    held: bool = False  # stays behind, without its body
    sent_at: float = 0.0
    tries: int = 0

    @property
    def message(self) -> Message:
        return self.taken.message

    @property
    def id(self) -> str:
        return self.taken.message.message_id


@dataclass(slots=True, eq=False)
class GroupQueue:
    """The messages in hand of one group; those that wait to be sent in order."""

    group: str
    waiting: deque[InFlightMessage] = field(default_factory=deque)
    in_hand: int = 0  # waiting, being sent, not settled yet, or staying behind
    busy: bool = False
    tries: int = 0
    alone: bool = False  # its head failed together with others: the next try is its own
    not_before: float = 0.0
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Receive:
    """Take up to ``count``; ``wait``: nothing else is to do. ``started`` is when, in ticks of this hand.

    ``ahead``: what it asks for is free only when the settles under way are done.
    """

    count: int
    wait: bool
    started: int
    ahead: bool


@dataclass(frozen=True, slots=True)
class Send:
    """Send the heads of these groups; it ``began`` now."""

    batch: Sequence[tuple[GroupQueue, Sequence[InFlightMessage]]]
    began: float

    @property
    def items(self) -> list[InFlightMessage]:
        return [item for _, items in self.batch for item in items]


@dataclass(frozen=True, slots=True)
class Delete:
    """Settle what the target has."""

    items: Sequence[InFlightMessage]


@dataclass(frozen=True, slots=True)
class ExtendVisibility:
    """Keep messages ours for ``seconds`` more."""

    items: Sequence[InFlightMessage]
    seconds: float


Action = Receive | Send | Delete | ExtendVisibility
Rejections = Mapping[str, Rejection]  # by message id
