"""Which messages operators took out of main, by the history: what was stuck there is not any more.

An event has the ids of messages that are about to leave a queue. One that did not, as the command was killed,
is met again by the worker, and its failure is later than the event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from fifo_cli.aws.logs import MissingLogGroup
from fifo_cli.errors import FifoError
from fifo_cli.model.history_events import STAYED
from fifo_cli.model.worker_log import WatchEvent
from fifo_cli.operations.history import read_events

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.history_events import HistoryEvent
    from fifo_cli.model.names import Names

T = TypeVar("T")


def operator_moves(aws: Aws, names: Names, *, since: datetime) -> tuple[WatchEvent, ...]:
    """Return what left main since then, in order of time; nothing, where the history cannot be read."""
    return _read(aws, names, since, moves_of)


def dlq_moves(aws: Aws, names: Names, *, since: datetime) -> tuple[HistoryEvent, ...]:
    """Return what moved into the DLQ or out of it since then; nothing, where the history cannot be read."""

    def about_the_dlq(event: HistoryEvent) -> Iterator[HistoryEvent]:
        if event.move and "dlq" in (event.move.source, event.move.target):
            yield event

    return _read(aws, names, since, about_the_dlq)


def _read(
    aws: Aws, names: Names, since: datetime, pick: Callable[[HistoryEvent], Iterable[T]]
) -> tuple[T, ...]:
    try:
        return tuple(one for event in read_events(aws, names, since=since) for one in pick(event))
    except (MissingLogGroup, FifoError):
        return ()


def moves_of(event: HistoryEvent) -> Iterator[WatchEvent]:
    """Return what an event says of messages of main; of other queues, and of other things, nothing."""
    move = event.move
    if move is None or move.source != "main" or move.word == STAYED:
        return
    if move.everything:
        yield WatchEvent(event.time, "moved")
    for message in move.messages:
        if message.message_id:
            yield WatchEvent(event.time, "moved", message.group, message.message_id)
