"""A source whose messages are noted in the history before they leave it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fifo_cli.model.history_events import Move, MovedMessage, MovedWord
from fifo_cli.model.message import ReceivedMessage
from fifo_cli.operations.history import Note
from fifo_cli.operations.transfer.interfaces import Rejection, Source


@dataclass(frozen=True, slots=True)
class NotedSource:
    """Another ``source``; before each delete ``note`` gets the ids, where they go, and in which ``word``.

    The target has them then. So a run that is killed before has left them where they were, and one that is
    killed later has said where they are.
    """

    source: Source
    note: Note
    word: MovedWord
    place: str
    target: str

    @property
    def hidden_seconds(self) -> float:
        return self.source.hidden_seconds

    def receive(self, count: int, *, wait: bool) -> list[ReceivedMessage]:
        return self.source.receive(count, wait=wait)

    def exhausted(self) -> bool:
        return self.source.exhausted()

    def extend_visibility(self, received: Sequence[ReceivedMessage], *, seconds: float) -> list[Rejection]:
        return self.source.extend_visibility(received, seconds=seconds)

    def delete(self, received: Sequence[ReceivedMessage]) -> list[Rejection]:
        messages = tuple(MovedMessage.of(one.message) for one in received)
        self.note(Move(self.word, self.place, self.target, messages))
        return self.source.delete(received)

    def release(self, received: Sequence[ReceivedMessage]) -> None:
        self.source.release(received)
