"""The steps of a move: messages in flight, the queue of each group, and what a worker does next."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from fifo_cli.model.message import Message, ReceivedMessage
from fifo_cli.operations.transfer.interfaces import Rejection


@dataclass(slots=True, eq=False)
class InFlightMessage:
    """A message in flight; ``number`` is its place in the order of receiving."""

    received: ReceivedMessage
    number: int
    size: int
    expiry: float
    extend_seconds: float
    held: bool = False  # stays behind, without its body
    sent_at: float = -math.inf
    tries: int = 0
    note: Literal["", "begun", "written"] = ""

    @property
    def sent(self) -> bool:
        """Whether the target has it."""
        return self.sent_at > -math.inf

    @property
    def message(self) -> Message:
        return self.received.message

    @property
    def id(self) -> str:
        return self.received.message.message_id


@dataclass(slots=True, eq=False)
class GroupQueue:
    """The messages in flight of one group; ``waiting`` are those to be sent, in order."""

    group: str
    waiting: deque[InFlightMessage] = field(default_factory=deque)
    in_flight: int = 0  # waiting, being sent, not deleted yet, or staying behind
    busy: bool = False
    tries: int = 0
    alone: bool = False  # its head failed together with others: the next try is its own
    not_before: float = 0.0
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Receive:
    """Receive up to ``count``; ``wait``: nothing else is to do. ``started`` is a tick of the prefetcher.

    ``ahead``: what it asks for becomes visible only when the deletes under way are done.
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
class Note:
    """Note in the history that these messages leave the source; the target has them, or soon will."""

    items: Sequence[InFlightMessage]


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete from the source what the target has."""

    items: Sequence[InFlightMessage]


@dataclass(frozen=True, slots=True)
class ExtendVisibility:
    """Keep messages invisible to others for ``seconds`` more."""

    items: Sequence[InFlightMessage]
    seconds: float


Action = Receive | Send | Note | Delete | ExtendVisibility
Rejections = Mapping[str, Rejection]  # by message id
