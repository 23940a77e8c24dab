"""``peek``: show messages in the order of the line, without consuming them (browse.py)."""

from __future__ import annotations

from dataclasses import dataclass, field

from fifo_cli.aws.sqs import Queue
from fifo_cli.errors import ExitCode
from fifo_cli.model.group_names import group_ids, named_group
from fifo_cli.model.message import Message
from fifo_cli.model.queue_counts import Counted
from fifo_cli.model.results import INTERNAL, Listed
from fifo_cli.operations.queues.browse import look, require_safe
from fifo_cli.operations.queues.order_labels import real_group
from fifo_cli.operations.transfer.message_filter import MessageFilter


@dataclass(frozen=True, slots=True)
class PeekResult(Listed):
    """Messages in the order of the line; ``note`` says what the list alone does not.

    ``missed``: a group was asked for, and no message of it was seen.
    """

    messages: tuple[Message, ...]
    truncated: bool
    note: str = field(default="", metadata=INTERNAL)
    missed: bool = field(default=False, metadata=INTERNAL)

    @property
    def exit_code(self) -> ExitCode:
        """1 if nothing is of the group that was asked for."""
        return ExitCode.ATTENTION if self.missed else ExitCode.OK


def peek(
    queue: Queue,
    *,
    count: int = 10,
    group: str | None = None,
    expression: str | None = None,
    force: bool = False,
) -> PeekResult:
    """Return up to ``count`` messages, of ``group`` and matching the JMESPath ``expression`` if given.

    In hold, a message's group is the one it has in main.
    SQS gives out at most the first ten of a group while none of them is deleted, so no more can be seen.
    Raises UsageError where looking could move a message to the DLQ, unless ``force``.
    """
    counts = queue.counts()
    if not force:
        require_safe(queue, counts, "a peek")
    wanted = MessageFilter(group=group, expression=expression, group_of=real_group)
    seen: list[Message] = []
    matching: list[Message] = []

    def take(message: Message) -> bool:
        seen.append(message)
        if wanted(message):
            matching.append(message)
        return len(matching) >= count

    look(queue, take)
    matching.sort(key=lambda message: message.order)
    truncated = len(matching) > count or max(counts.total, len(seen)) > len(seen)
    note = _note(queue, counts, seen) or (_unseen(counts, seen, wanted) if len(matching) < count else "")
    missed = group is not None and not any(real_group(message) in group_ids(group) for message in seen)
    if group is not None and missed:
        note = "; ".join(filter(None, (f"no message of {named_group(group)} in {queue.name}", note)))
    return PeekResult(tuple(matching[:count]), truncated, note, missed)


def _unseen(counts: Counted, seen: list[Message], wanted: MessageFilter) -> str:
    """Say what the list leaves open: failures of the filter, and messages behind those that could be seen."""
    notes = []
    if wanted.failures:
        failures = f"{wanted.failures} of {len(seen)} messages"
        notes.append(f"the filter failed on {failures}: {wanted.first_failure}")
    if counts.total > len(seen):
        notes.append(
            f"{len(seen)} of {counts.total} messages could be seen: while the first of a group (ten at most)"
            " are looked at, SQS gives out none behind them"
        )
    return "; ".join(notes)


def _note(queue: Queue, counts: Counted, seen: list[Message]) -> str:
    if seen or not counts.total:
        return ""
    if counts.in_flight:
        return (
            f"{queue.name} is not empty, but nothing can be seen: {counts.in_flight} in flight, so a consumer"
            f" holds the head of the line ({counts.visible} more wait behind it); look again when it is done"
        )
    return f"{queue.name} counts {counts.total} waiting, but gave out none; look again"
