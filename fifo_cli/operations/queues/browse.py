"""Looking through a queue as far as SQS shows it, as ``peek`` looks: hide for a while, give all back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fifo_cli.aws.messages import Messages
from fifo_cli.aws.queues import Counts, Queue
from fifo_cli.aws.session import Aws
from fifo_cli.errors import FifoError
from fifo_cli.model.limits import BATCH_ENTRIES_MAX, RECEIVE_MAX
from fifo_cli.model.message import Message
from fifo_cli.model.names import QueueRole
from fifo_cli.operations.queues.peek import SAFE_RECEIVES, VISIBILITY_SECONDS
from fifo_cli.operations.uninterrupted import run_uninterrupted

_WAIT_SECONDS: Final = 1
# Well within the time for which messages are hidden.
_LOOK_SECONDS: Final = 15
# Handles of what is hidden are kept, and a FIFO queue gives out 20,000 at least (Quotas, "in flight").
MESSAGES_MAX: Final = 10_000
# While that many of a group are hidden, SQS gives out none behind them.
GROUP_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class BrowseResult:
    """How much of a queue was seen, of what SQS counts; ``failure`` says why nothing was looked at.

    ``known`` are messages that were not seen, but are known to be there; ``held`` those that a consumer had
    in flight when the look began.
    """

    queue: str
    seen: int = 0
    counts: Counts | None = None
    failure: str = ""
    known: int = 0
    held: int = 0

    @property
    def total(self) -> int:
        return self.counts.total if self.counts is not None else 0

    @property
    def complete(self) -> bool:
        """Whether all was seen, as far as SQS's counts tell."""
        return not self.failure and self.total <= self.seen + self.known


def browse(
    aws: Aws,
    queue: Queue,
    take: Callable[[Message], bool | None],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> BrowseResult:
    """Hand every message that can be seen to ``take``, until it answers True, and give all back, heads last.

    Does not look where a look could move a message to the dead-letter queue. What AWS refuses is the look's
    ``failure``.
    """
    until = clock() + _LOOK_SECONDS
    return run_uninterrupted(
        lambda stopped: _look_through(aws, queue, take, ended=lambda: stopped() or clock() >= until)
    )


def _look_through(
    aws: Aws, queue: Queue, take: Callable[[Message], bool | None], *, ended: Callable[[], bool]
) -> BrowseResult:
    messages = Messages(aws, queue)
    handles: list[str] = []
    try:
        counts = queue.counts()
        if counts.max_receives is not None and counts.max_receives < SAFE_RECEIVES:
            reason = f"its messages are dead-lettered after {counts.max_receives} receives, and a look is one"
            return BrowseResult(queue.name, counts=counts, failure=reason)
        held = counts.in_flight
        try:
            _receive(queue, take, handles, ended=ended)
            counts = queue.counts()  # what was sent meanwhile counts, too
        finally:
            _release(messages, handles)
    except FifoError as error:
        return BrowseResult(queue.name, failure=error.message)
    return BrowseResult(queue.name, len(handles), counts, held=held)


def _receive(
    queue: Queue,
    take: Callable[[Message], bool | None],
    handles: list[str],
    *,
    ended: Callable[[], bool],
) -> None:
    while len(handles) < MESSAGES_MAX and not ended():
        batch = queue.receive(count=RECEIVE_MAX, visibility=VISIBILITY_SECONDS, wait=_WAIT_SECONDS)
        if not batch:
            return
        handles += [received.receipt_handle for received in batch]
        if any([take(received.message) for received in batch]):
            return


def _release(messages: Messages, handles: list[str]) -> None:
    """Give back in reverse: of a group, its head last."""
    backwards = handles[::-1]
    for start in range(0, len(backwards), BATCH_ENTRIES_MAX):
        messages.hide(backwards[start : start + BATCH_ENTRIES_MAX], seconds=0)


ROLES: Final[tuple[QueueRole, ...]] = ("main", "hold", "dlq")
