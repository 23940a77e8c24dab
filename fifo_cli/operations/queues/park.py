"""``park``: the head of the line goes to the DLQ by hand, as the worker does with a poison message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from fifo_cli.aws.sqs import OutgoingMessage, PipelineQueues
from fifo_cli.events import Listener, silent
from fifo_cli.handlers.identifiers import sqs_id
from fifo_cli.handlers.parking import parked_attributes
from fifo_cli.handlers.visibility import QueueMessage
from fifo_cli.model.group_names import named_group
from fifo_cli.model.message import Message, ReceivedMessage, read_attributes
from fifo_cli.model.results import WorkResult, named
from fifo_cli.operations.history import MoveNotes, Note, unnoted
from fifo_cli.operations.maintenance_lock import maintenance, refuse_while_unfinished
from fifo_cli.operations.queues.peek import peek
from fifo_cli.operations.transfer.engine import move
from fifo_cli.operations.transfer.message_filter import MessageFilter
from fifo_cli.operations.transfer.queue_source import PATIENCE_SECONDS, QueueSource
from fifo_cli.operations.transfer.queue_target import QueueTarget, outgoing
from fifo_cli.operations.transfer.result import MoveOptions

DEFAULT_REASON: Final = "parked by hand"
_OPERATOR: Final = "operator"
# Parking begins at the head: more workers would only hide more of the line from the worker meanwhile.
_WORKERS: Final = 2


@dataclass(frozen=True)
class ParkResult(WorkResult):
    """The messages that were parked, as they were in main."""

    messages: tuple[Message, ...] = field(metadata=named("parked"))


@dataclass(frozen=True)
class Park(PipelineQueues):
    """Parking the first ``count`` messages of main, or of one group there.

    ``is_hidden`` says whether the group is known to be hidden for longer than a move waits.
    """

    count: int = 1
    group: str | None = None
    reason: str = DEFAULT_REASON
    listener: Listener = silent
    note: Note = unnoted
    is_hidden: Callable[[], bool] = lambda: False

    def preview(self, *, force: bool = False) -> ParkResult:
        """Return what would be parked, by looking at main (see peek)."""
        seen = peek(self.main, count=self.count, group=self.group, force=force)
        notes, _ = self._shortfall(len(seen.messages))
        if seen.missed:
            return ParkResult((), warnings=(seen.note,))
        return ParkResult(seen.messages, notes=(seen.note,) if seen.note else notes)

    def nothing(self, *, force: bool = False) -> ParkResult:
        """Return what parking from an empty main comes to.

        Raises BusyError if an in-order redrive is unfinished: the messages are elsewhere then.
        """
        if not force:
            refuse_while_unfinished(self.main.tags)
        notes, warnings = self._shortfall(0)
        return ParkResult((), notes=notes, warnings=warnings)

    def perform(self, *, force: bool = False, stopped: Callable[[], bool] = lambda: False) -> ParkResult:
        """Park; raises BusyError if another maintenance operation holds the pipeline."""
        with maintenance(self.main.tags, "park", force=force, listener=self.listener):
            packed: dict[str, Message] = {}
            parked: list[Message] = []
            selection = MessageFilter(group=self.group)
            # What a function hides for longer nobody gets by waiting.
            patience = 0.0 if self.is_hidden() else PATIENCE_SECONDS
            source = QueueSource(self.main, patience=patience, listener=self.listener)
            report = move(
                source,
                QueueTarget(self.dlq, partial(self._pack, packed)),
                MoveOptions(
                    count=self.count,
                    wanted=None if selection.everything else lambda received: selection(received.message),
                    workers=_WORKERS,
                    history=MoveNotes(self.note, "parked", "main", "dlq"),
                ),
                on_sent=lambda received: parked.append(packed[received.message.message_id]),
                listener=self.listener,
                stopped=stopped,
            )
        if report.stopped or report.error or report.failed:
            return ParkResult(tuple(parked), warnings=tuple(report.warnings()), error=report.error)
        notes, warnings = self._shortfall(len(parked), source.given_up)
        return ParkResult(tuple(parked), notes=notes, warnings=(*report.warnings(), *warnings))

    def _shortfall(self, found: int, given_up: int = 0) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return notes and warnings on fewer messages than asked for; that main is empty is not a warning."""
        if found >= self.count:
            return (), ()
        if not (found or given_up or self.group is not None):
            return (f"nothing to park: {self.main.name} is empty",), ()
        where = self.main.name if self.group is None else f"{named_group(self.group)} in {self.main.name}"
        held = f"; {given_up} in flight with another consumer or not visible" if given_up else ""
        return (), (f"asked for {self.count}, found {found} in {where}{held}",)

    def _pack(self, packed: dict[str, Message], received: ReceivedMessage) -> OutgoingMessage:
        """Add who parked it, when and why, and note the message as it is sent."""
        message = received.message
        attributes = parked_attributes(_held(received), reason=self.reason, status=None, source=_OPERATOR)
        parked = packed[message.message_id] = replace(message, attributes=read_attributes(attributes))
        return outgoing(parked, sqs_id(f"park-{message.message_id}"))


def _held(received: ReceivedMessage) -> QueueMessage:
    """Return the message as the worker's code takes it."""
    message = received.message
    return QueueMessage(
        message_id=message.message_id,
        receipt_handle=received.receipt_handle,
        body=message.body,
        group=message.group,
        attributes={
            name: {
                "DataType": each.type,
                "BinaryValue" if isinstance(each.value, bytes) else "StringValue": each.value,
            }
            for name, each in message.attributes.items()
        },
        system={},
    )
