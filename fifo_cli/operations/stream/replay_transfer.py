"""A replay as a transfer: the records in its store are the source, main and the DLQ are the target.

The enqueuer's own code decides what a record becomes and sends it (handlers/enqueuer.py). What SQS has is
noted in the store as soon as SQS has answered, so a replay that is killed does not send it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from fifo_cli.aws.errors import explain
from fifo_cli.events import Listener, silent
from fifo_cli.handlers.enqueuer import Enqueuer
from fifo_cli.handlers.identifiers import sqs_id
from fifo_cli.handlers.ordered_send import SendReport, send_strictly
from fifo_cli.handlers.records import Outgoing
from fifo_cli.model.limits import BATCH_ENTRIES_MAX, MESSAGE_BYTES_MAX
from fifo_cli.model.message import Message, ReceivedMessage
from fifo_cli.operations.code_process import usable_message_code
from fifo_cli.operations.stream.replay_store import ReplayStore, State
from fifo_cli.operations.transfer.engine import move
from fifo_cli.operations.transfer.interfaces import LocalSource, Rejection
from fifo_cli.operations.transfer.result import WORKERS, Failure, MoveOptions, MoveReport


class EarlierMessages:
    """Knows which answers of SQS show a message that it had before, and suppressed the new one.

    ``known`` are ids of earlier messages, and when they were sent, in epoch milliseconds. ``latest`` is the
    latest such time of a suppressed message; 0 if it is not known.
    """

    def __init__(self, known: Mapping[str, int]) -> None:
        self.latest = 0
        self._known = known
        self._newest: dict[str, int] = {}

    def has(self, group: str, message_id: str, number: int) -> bool:
        """Say whether an answer shows an older message: SQS numbers a group's messages upwards.

        That a suppressed send is answered with the first message's id and number is documented nowhere, but
        seen; where it is not so, nothing is counted as suppressed.
        """
        if message_id in self._known:
            self.latest = max(self.latest, self._known[message_id])
            return True
        newest = self._newest.get(group, 0)
        self._newest[group] = max(number, newest)
        return bool(number) and number <= newest


@dataclass(frozen=True, slots=True)
class ReplayTransfer:
    """One run of a replay's sending; ``fresh`` is put before every deduplication id, if given."""

    store: ReplayStore
    enqueuer: Enqueuer
    earlier: EarlierMessages
    fresh: str = ""

    def perform(
        self,
        *,
        workers: int = WORKERS,
        throttles: Callable[[], int] = lambda: 0,
        listener: Listener = silent,
        stopped: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> MoveReport:
        """Send the records that wait in the store, in order within each group."""
        failed: dict[str, State] = {}
        made: dict[str, Outgoing] = {}
        source, target = LocalSource(self._messages(made, stopped)), RecordTarget(self, made)

        def note(failure: Failure) -> None:
            failed[failure.message_id] = "failed"
            made.pop(failure.message_id, None)

        options = MoveOptions(
            total=self.store.sums().waiting, workers=workers, receives=1, on_failed=note, throttles=throttles
        )
        report = move(source, target, options, listener=listener, stopped=stopped, clock=clock, sleep=sleep)
        self.store.set_states(failed)
        return report

    def _messages(self, made: dict[str, Outgoing], stopped: Callable[[], bool]) -> Iterator[ReceivedMessage]:
        """Make messages of the records that wait, and keep them in ``made``; note those that become none.

        A message's id is the record's event id. The target, not the source, notes in the store what SQS has.
        """
        for record in self.store.waiting():
            event_id = record["eventID"]
            with usable_message_code():
                outgoing = self.enqueuer.message_of(record)
            if outgoing is None:
                self.store.set_states({event_id: "skipped"})
            else:
                made[event_id] = _renamed(outgoing, self.fresh) if self.fresh else outgoing
                yield ReceivedMessage(_message(event_id, outgoing), event_id)
            if stopped():
                return


class RecordTarget:
    """Main, and the DLQ for what is to be parked; what they have is noted in the store at once."""

    batch_max: Final = BATCH_ENTRIES_MAX
    bytes_max: Final = MESSAGE_BYTES_MAX
    strict: Final = True

    def __init__(self, replay: ReplayTransfer, made: dict[str, Outgoing]) -> None:
        self._store = replay.store
        self._enqueuer = replay.enqueuer
        self._earlier = replay.earlier
        self._made = made

    def size(self, message: Message) -> int:
        return self._made[message.message_id].size

    def send(self, received: Sequence[ReceivedMessage]) -> list[Rejection]:
        """Send as the enqueuer does; raises what ended it if nothing is known to be sent."""
        by_id = {one.message.message_id: one for one in received}
        outgoing = [self._made[event_id] for event_id in by_id]
        report = send_strictly(self._enqueuer.sqs, self._enqueuer.urls, outgoing)
        states = self._states(report)
        # First of all: from here on, a replay that is killed does not send these again.
        self._store.set_states(states)
        self._enqueuer.log(report, suppressed={one for one in states if states[one] == "suppressed"})
        for event_id in states:
            del self._made[event_id]
        if report.error is not None and not report.sent:
            raise self._explained(report.error)
        # Those that SQS's answer does not name may have been sent.
        return [Rejection(by_id[_event_id(one)], reason, doubtful=True) for one, reason in report.unsent]

    def _states(self, report: SendReport) -> dict[str, State]:
        """Say what became of the messages that SQS has."""
        states: dict[str, State] = {}
        for message, message_id in report.sent:
            number = int(report.numbers.get(message_id) or 0)
            parked = message.queue == "dlq"
            known = not parked and self._earlier.has(message.group, message_id, number)
            states[_event_id(message)] = "parked" if parked else "suppressed" if known else "enqueued"
        return states

    def _explained(self, error: Exception) -> Exception:
        if isinstance(error, ClientError | BotoCoreError):
            return explain(error, self._enqueuer.urls["main"].rpartition("/")[2])
        return error


def _message(event_id: str, outgoing: Outgoing) -> Message:
    """Return what the engine has to know of a message; what is sent is the ``Outgoing``."""
    return Message(
        message_id=event_id,
        group=outgoing.group,
        dedup_id=outgoing.dedup_id,
        sequence_number=outgoing.stream_sequence,
        queue=outgoing.queue,
        sent_at=None,
        first_received_at=None,
        receives=0,
        body="",
        attributes={},
    )


def _renamed(outgoing: Outgoing, fresh: str) -> Outgoing:
    """Put ``fresh`` before the deduplication id, and that of what is sent instead."""
    instead = outgoing.instead
    return replace(
        outgoing,
        dedup_id=sqs_id(f"{fresh}-{outgoing.dedup_id}"),
        instead=instead and (lambda reason: _renamed(instead(reason), fresh)),
    )


def _event_id(message: Outgoing) -> str:
    return message.attributes["event_id"]
