"""What the moving engine moves between: a source that gives messages and a target that takes them.

The engine (engine.py) knows no SQS: it takes from a source, hands to the target so that no group is ever
in two hands and never overtakes itself, and settles with the source what the target has for good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fifo_cli.model.message import Message


@dataclass(frozen=True, slots=True)
class Taken:
    """A message in hand. ``ticket`` is the source's: a receipt handle, or a line's digest; never printed."""

    message: Message
    ticket: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the target, or the source when settling, did not take one message. ``retry``: it may take it later."""

    taken: Taken
    reason: str
    retry: bool = True


class Source(Protocol):
    """Where messages come from. Methods raise FifoError when a call fails as a whole; safe to share between threads."""

    def take(self, count: int) -> list[Taken]:
        """Return up to ``count`` messages in order; an empty list when it gives none at the moment."""

    def exhausted(self) -> bool:
        """Say, after ``take`` gave nothing, whether nothing more will come (or it was waited for long enough)."""

    def keep(self, taken: Sequence[Taken]) -> list[Refusal]:
        """Keep messages in our hands for longer, heads first; return those that are not ours any more."""

    def settle(self, taken: Sequence[Taken]) -> list[Refusal]:
        """Forget messages that the target has for good (delete, checkpoint); return those that are still there."""

    def give_back(self, taken: Sequence[Taken]) -> None:
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

    def send(self, taken: Sequence[Taken]) -> list[Refusal]:
        """Take messages in the order given; return those refused. Raises FifoError if nothing is known to be taken.

        Sending the same message again within five minutes makes no second copy.
        """
