"""The messages that a move has in hand, by group, and what its workers do with them: their acts."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fifo_cli.model.message import Message
from fifo_cli.operations.moving.ports import Refusal, Taken


@dataclass(slots=True, eq=False)
class Item:
    """A message in hand; ``number`` is its place in the order of taking."""

    taken: Taken
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
class Lane:
    """The messages in hand of one group; those that wait to be sent in order."""

    group: str
    waiting: deque[Item] = field(default_factory=deque)
    in_hand: int = 0  # waiting, being sent, not settled yet, or staying behind
    busy: bool = False
    tries: int = 0
    alone: bool = False  # its head failed together with others: the next try is its own
    not_before: float = 0.0
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Take:
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

    batch: Sequence[tuple[Lane, Sequence[Item]]]
    began: float

    @property
    def items(self) -> list[Item]:
        return [item for _, items in self.batch for item in items]


@dataclass(frozen=True, slots=True)
class Settle:
    """Settle what the target has."""

    items: Sequence[Item]


@dataclass(frozen=True, slots=True)
class Keep:
    """Keep messages ours for ``seconds`` more."""

    items: Sequence[Item]
    seconds: float


Act = Take | Send | Settle | Keep
Refusals = Mapping[str, Refusal]  # by message id
