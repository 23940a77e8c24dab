"""What the moving engine moves between: a source that gives messages and a target that takes them.

The engine (engine.py) knows no SQS: it takes from a source, hands to the target so that no group is ever
in two hands and never overtakes itself, and settles with the source what the target has for good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fifo_cli.model.message import Message, ReceivedMessage


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why one message was not sent, kept or settled. ``retry``: a later try may help.

    ``aside``: it stays where it is, and its group goes on without it.
    """

    taken: ReceivedMessage
    reason: str
    retry: bool = True
    aside: bool = False


class Source(Protocol):
    """Where messages come from; safe to share between threads.

    Methods raise FifoError when a call fails as a whole.
    """

    @property
    def hidden_seconds(self) -> float:
        """How long what ``take`` gave stays ours unless it is kept; ``math.inf`` if for ever."""

    def take(self, count: int, *, wait: bool) -> list[ReceivedMessage]:
        """Return up to ``count`` (at most ten) messages in order; none if it gives none at the moment.

        With ``wait`` nothing else is to do, and it may wait a moment for one.
        """

    def exhausted(self) -> bool:
        """Say, after ``take`` gave nothing and we have nothing more to send or settle, whether it is over.

        False makes the engine call ``take`` again, with ``wait``; so a source that is not sure says False
        until it is, or until it has waited for long enough.
        """

    def keep(self, taken: Sequence[ReceivedMessage], *, seconds: float) -> list[Rejection]:
        """Keep messages (at most ten) ours for ``seconds``, heads first; return those not ours any more."""

    def settle(self, taken: Sequence[ReceivedMessage]) -> list[Rejection]:
        """Forget messages (at most ten) that the target has for good: delete them, write the checkpoint.

        Return those that are still there; without ``retry``, those that are not ours any more.
        """

    def give_back(self, taken: Sequence[ReceivedMessage]) -> None:
        """Make messages available again, in the order given: tails first, heads last. Never raises."""


class Target(Protocol):
    """Where messages go; what ``send`` does not refuse is there for good. Safe to share between threads."""

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

    def send(self, taken: Sequence[ReceivedMessage]) -> list[Rejection]:
        """Take messages in the order given; return those refused.

        Raises FifoError if nothing is known to be taken. Sending the same message again within five
        minutes makes no second copy.
        """
