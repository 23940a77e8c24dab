"""``redrive --in-order``: every group of main in stream order, the DLQ's messages in their old places.

SQS can only append, so all of main goes through the queue hold:

1. pause worker and enqueuer, and wait until nothing of main is in flight;
2. gather: main → hold, DLQ → hold, each message labelled with its group and origin (order_labels.py);
3. merge: read all of hold into a temporary file (order_store.py), and send it to main in order;
4. empty hold of what main has, resume what ran before.

A message is deleted only when the next queue has it. A tag on main says that this is unfinished, and
what ran before. Run again, it gathers again, also what a killed merge had sent to main, and merges again.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Protocol

from fifo_cli.aws.sqs import OutgoingMessage, PipelineQueues, Queue, QueueTags
from fifo_cli.errors import ExitCode, FifoError, NeedsAttention, UsageError
from fifo_cli.events import Finished, Listener, Noted, Started, silent
from fifo_cli.invocation import command_line
from fifo_cli.model.limits import BATCH_ENTRIES_MAX, MESSAGE_BYTES_MAX
from fifo_cli.model.message import Message, ReceivedMessage
from fifo_cli.model.names import FunctionRole
from fifo_cli.model.results import INTERNAL, Document, Result, WorkResult, named
from fifo_cli.model.times import iso
from fifo_cli.operations.history import MoveNotes, Note, unnoted
from fifo_cli.operations.maintenance_lock import RESTORE_TAG, maintenance
from fifo_cli.operations.queues.browse import count_waiting
from fifo_cli.operations.queues.order_labels import Origin, label, merge_id, unlabel
from fifo_cli.operations.queues.order_store import OrderStore, OrderStoreTarget
from fifo_cli.operations.queues.peek import peek
from fifo_cli.operations.transfer.engine import move
from fifo_cli.operations.transfer.interfaces import LocalSource, LocalTarget, Rejection, Source, Target
from fifo_cli.operations.transfer.message_filter import is_foreign
from fifo_cli.operations.transfer.queue_source import HIDDEN_SECONDS, QueueSource
from fifo_cli.operations.transfer.queue_target import Pack, QueueTarget, as_it_is, outgoing
from fifo_cli.operations.transfer.record_conversion import Converter, ConvertingTarget, LoadRules, no_rules
from fifo_cli.operations.transfer.result import WORKERS, MoveOptions, MoveReport

# SQS Developer Guide, "Amazon SQS FIFO queue quotas": so many may be in flight, and all of hold must be.
IN_FLIGHT_MAX: Final = 120_000
# Hold is read at this rate at least; what was read first must not come again before the last one is read.
_READ_RATE_MIN: Final = 200
_MARGIN_SECONDS: Final = 5
_THREADS: Final = 8
_PREVIEW_MAX: Final = 1_000


def _again() -> str:
    return (
        f"run {command_line('redrive --in-order')} again: it finishes this, and resumes what ran before;"
        " until then worker and enqueuer stay paused, and the stream keeps new records for 24 hours"
    )


class Pause(Protocol):
    """What feeds and empties main."""

    def running(self) -> frozenset[FunctionRole]:
        """Return which functions are fed at the moment."""

    def pause(self, stopped: Callable[[], bool]) -> None:
        """Stop feeding both; return when what was in flight is done, or was waited for long enough.

        Raises Interrupted soon after ``stopped`` says so.
        """

    def resume(self, role: FunctionRole) -> None:
        """Feed a function again."""


@dataclass(frozen=True, kw_only=True)
class RestoreOrderResult(WorkResult):
    """What putting in order did: ``moved`` from the DLQ to their places among ``merged`` in main.

    An ``unfinished`` one has put nothing in place yet; ``held`` messages are in hold (None: unknown).
    """

    engine: str = "client"
    moved: int = 0
    skipped: int = 0
    failed: int = 0
    remaining: int | None = None
    merged: int = field(default=0, metadata=INTERNAL)
    unfinished: bool = field(default=False, metadata=INTERNAL)
    held: int | None = field(default=None, metadata=INTERNAL)

    @property
    def needs_look(self) -> bool:
        return bool(self.failed)

    def document(self) -> Document:
        return super().document() | ({"unfinished": True, "held": self.held} if self.unfinished else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOrderPreview(Result):
    """What would be put in order: SQS's counts, and the DLQ's messages that can be seen."""

    engine: str = "client"
    dry_run: bool = True
    moved: int = 0
    skipped: int = 0
    failed: int = 0
    remaining: int
    source: str = field(metadata=named("from"))
    target: str = field(metadata=named("to"))
    among: int
    running: frozenset[FunctionRole] = field(metadata=named("pauses"))
    truncated: bool
    messages: tuple[Message, ...]


class UnfinishedError(NeedsAttention):
    """An in-order redrive stopped halfway; nothing is lost, and another run finishes it."""

    def __init__(self, message: str, *, exit_code: ExitCode = ExitCode.ATTENTION, first: str = "") -> None:
        super().__init__(message, hint=first + _again())
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class State:
    """An unfinished in-order redrive, as the tag on main shows it."""

    phase: str
    running: frozenset[FunctionRole]
    since: str

    def text(self) -> str:
        """Return the tag's value, in characters that a tag takes."""
        states = (f"{role}={'running' if role in self.running else 'paused'}" for role in _ROLES)
        return f"{self.phase} {' '.join(states)} since {self.since}"

    @classmethod
    def parse(cls, text: str) -> State:
        """Read a tag's value; of one that somebody changed, nothing is known to have run."""
        words = text.split()
        running = frozenset(role for role in _ROLES if f"{role}=running" in words)
        return cls(words[0] if words else "", running, words[-1] if words else "")


_ROLES: Final[tuple[FunctionRole, ...]] = ("worker", "enqueuer")


@dataclass(frozen=True)
class RestoreOrder(PipelineQueues):
    """An in-order redrive of one pipeline."""

    pause: Pause
    listener: Listener = silent
    load_rules: LoadRules = no_rules
    note: Note = unnoted
    workers: int = WORKERS
    in_flight_max: int = IN_FLIGHT_MAX
    # When the last group comes back that is hidden for longer than the pause waits; None if none is known.
    hidden_until: Callable[[], datetime | None] = lambda: None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def counts(self) -> tuple[int, int, int]:
        """Return SQS's counts of main, DLQ and hold."""
        return self.main.counts().total, self.dlq.counts().total, self.hold.counts().total

    def preview(self, *, force: bool = False) -> RestoreOrderPreview:
        """Say what would be put in order, without touching anything."""
        among, total, _ = self.counts()
        seen = peek(self.dlq, count=min(_PREVIEW_MAX, max(total, 1)), force=force)
        total = max(total, len(seen.messages))
        return RestoreOrderPreview(
            remaining=total,
            source=self.dlq.name,
            target=self.main.name,
            among=among,
            running=self.pause.running(),
            truncated=seen.truncated,
            messages=seen.messages,
        )

    def perform(
        self, *, force: bool = False, stopped: Callable[[], bool] = lambda: False
    ) -> RestoreOrderResult:
        """Put main in order, or finish what an earlier run began.

        Raises BusyError or UsageError with nothing touched, and UnfinishedError if it stopped halfway.
        """
        tags = self.main.tags
        with maintenance(
            tags,
            "redrive-in-order",
            force=force,
            finishes_restore=True,
            listener=self.listener,
            sleep=self.sleep,
        ):
            seen = tags.read()
            unfinished = seen.tags.get(RESTORE_TAG)
            if unfinished is None:
                self._check_room(force=force)
                state = State("gather", self.pause.running(), iso(seen.at))
            else:
                self.listener(
                    Noted(f"finishing an earlier in-order redrive of {self.main.name} ({unfinished})")
                )
                # Who ran before the first run is known from its tag alone: now both are paused.
                state = replace(State.parse(unfinished), phase="gather")
            return self._perform(tags, state, stopped, resumed=unfinished is not None)

    def nothing(self) -> RestoreOrderResult | None:
        """Return the result if nothing is there to put in order; None if there may be."""
        if RESTORE_TAG in self.main.tags.read().tags:
            return None
        if any(count_waiting(queue) for queue in (self.main, self.dlq, self.hold)):
            return None
        note = f"nothing to put in order: {self.main.name} and {self.dlq.name} are empty"
        return RestoreOrderResult(remaining=0, notes=(note,))

    def unfinished(self) -> RestoreOrderResult:
        """Say where the messages are after an UnfinishedError."""
        return RestoreOrderResult(
            remaining=self.dlq.total_if_known(), unfinished=True, held=self.hold.total_if_known()
        )

    def _perform(
        self, tags: QueueTags, state: State, stopped: Callable[[], bool], *, resumed: bool
    ) -> RestoreOrderResult:
        try:
            # Inside: if its answer is lost, nobody knows whether the tag is there.
            tags.write(RESTORE_TAG, state.text())
            # Nobody may take from main or put into it while its messages are in hold.
            self.pause.pause(stopped)
            # Counts are late, and with both paused they show more; nothing has been moved yet.
            refusal = None if resumed else self._too_many()
            if refusal:
                result = RestoreOrderResult(error=refusal)
            else:
                result = self._put_in_order(tags, state, stopped, resumed=resumed)
            # The worker first: what it can deliver waits longest. The tag goes last: it names who ran before.
            for role in (role for role in _ROLES if role in state.running):
                self.pause.resume(role)
            tags.remove(RESTORE_TAG)
        except UnfinishedError:
            raise
        except FifoError as error:
            raise UnfinishedError(
                f"the in-order redrive of {self.main.name} is unfinished: {error.message}",
                exit_code=error.exit_code,
            ) from error
        return replace(result, remaining=self.dlq.total_if_known())

    def _put_in_order(
        self, tags: QueueTags, state: State, stopped: Callable[[], bool], *, resumed: bool
    ) -> RestoreOrderResult:
        """Gather, merge, and empty hold, while nobody else uses main."""
        converter = Converter(self.load_rules, stopped, self.main.max_message_bytes)
        from_main = self._gather(self.main, converter, stopped)
        from_dlq = self._gather(self.dlq, converter, stopped)
        tags.write(RESTORE_TAG, replace(state, phase="merge").text())
        there = from_main.moved + from_dlq.moved - converter.parked_again
        with self._collected(stopped, expected=None if resumed else there) as store:
            self._merge(store, stopped)
            self._empty_hold(store, stopped)
            moved = store.from_dlq if resumed else from_dlq.moved - converter.parked_again
            merged = len(store)
        skipped = from_dlq.left - (converter.failed - converter.parked_again)
        notes = (
            *_notes(merged, state, skipped - converter.skipped),
            *converter.notes(),
            *converter.warnings(),
        )
        return RestoreOrderResult(
            moved=moved, merged=merged, skipped=skipped, failed=converter.failed, notes=notes
        )

    def _too_many(self) -> UsageError | None:
        main, dlq, hold = self.counts()
        if main + dlq + hold <= self.in_flight_max:
            return None
        return UsageError(
            f"{self.main.name} and {self.dlq.name} hold {main + dlq:,} messages, and SQS lets at most"
            f" {self.in_flight_max:,} be in flight at a time; nothing was touched",
            hint=f"deliver some with {command_line('drain --count 1000')} first, or redrive without"
            " --in-order",
        )

    def _check_room(self, *, force: bool) -> None:
        """Refuse what cannot be done, before anything is touched."""
        if refusal := self._too_many():
            raise refusal
        if not force and self.main.counts().in_flight and (until := self.hidden_until()):
            raise UsageError(
                f"a group of {self.main.name} is hidden until {iso(until)}, as an API asked (Retry-After),"
                " and nobody can move it before; nothing was touched",
                hint=f"run {command_line('redrive --in-order')} after that; with --force it begins now, and"
                " has to be run again then",
            )
        hold = self.hold.counts().total
        if hold and not force and peek(self.hold, count=1, force=True).messages:
            raise UsageError(
                f"{self.hold.name} has {hold} messages, though no rebuild is unfinished; nothing was touched",
                hint=f"look with {command_line('peek --queue hold')};"
                f" {command_line('dump hold.jsonl --queue hold --move')} takes them away, and --force"
                " puts them"
                " into main, too",
            )

    def _gather(self, queue: Queue, converter: Converter, stopped: Callable[[], bool]) -> MoveReport:
        """Move a queue to hold, each message into a group of its own; records as the messages they become.

        A record in main was moved there by other means: it goes back as it is, and the worker parks it.
        """
        parked = queue.role == "dlq"
        self.listener(Started("gather", "queue", queue.name))
        late = self.aws.delays.queue_counts
        source = QueueSource(
            queue,
            patience=HIDDEN_SECONDS + _MARGIN_SECONDS + late,
            quiet=late,
            listener=self.listener,
            clock=self.clock,
        )
        # A message that SQS moved here from a queue of somebody else's is not main's to put in order.
        ours = self.main.arn if parked else ""
        options = MoveOptions(
            leave=lambda received: is_foreign(received, ours),
            total=queue.counts().total,
            # What comes from main goes back to main: it is parked no more and no less than before.
            history=MoveNotes(self.note, "redriven", "dlq", "main") if parked else None,
        )
        # Not strict: in hold a message's place does not matter.
        hold = QueueTarget(self.hold, _labelled, strict=False)
        dlq = QueueTarget(self.dlq, as_it_is("park"))
        target = ConvertingTarget(hold, dlq, converter) if parked else hold
        what = f"{queue.name} could not be gathered in {self.hold.name}"
        report = self._move_all(source, target, options, stopped, what)
        self.listener(Finished("gather", "queue", queue.name, f"{report.moved} moved"))
        return report

    @contextmanager
    def _collected(self, stopped: Callable[[], bool], *, expected: int | None) -> Iterator[OrderStore]:
        """Read all of hold; what is not deleted inside is released, so that another run need not wait.

        ``expected`` is how many were put there, if nothing was there before.
        """
        store = OrderStore()
        self.listener(Started("read", "queue", self.hold.name))
        try:
            source = _Reader(self, store, expected)
            what = f"{self.hold.name} could not be read"
            self._move_all(source, OrderStoreTarget(store), MoveOptions(), stopped, what)
            there = max(expected or 0, self.hold.counts().total)
            if there > store.handles >= self.in_flight_max:
                raise UnfinishedError(
                    f"{self.hold.name} holds {there:,} messages, and SQS lets at most"
                    f" {self.in_flight_max:,} be"
                    " in flight at a time: they cannot all be read, so none was put back"
                )
            self.listener(Finished("read", "queue", self.hold.name, f"{len(store)} messages"))
            yield store
        finally:
            _in_tens(store, lambda handles: self.hold.change_visibility(handles, seconds=0))
            store.close()

    def _merge(self, store: OrderStore, stopped: Callable[[], bool]) -> None:
        """Send the store to main, each group in order."""
        self.listener(Started("merge", "queue", self.main.name))
        store.put_in_order()
        target = QueueTarget(self.main, _merged(secrets.token_hex(4)))
        options = MoveOptions(total=len(store), receives=1)
        what = f"not everything could be put back into {self.main.name}"
        report = self._move_all(LocalSource(store.line()), target, options, stopped, what)
        if report.moved != len(store):
            raise UnfinishedError(f"{report.moved} of {len(store)} messages were put back")
        self.listener(Finished("merge", "queue", self.main.name, f"{report.moved} in order"))

    def _empty_hold(self, store: OrderStore, stopped: Callable[[], bool]) -> None:
        """Delete from hold what main has: by the handles of the reading, then everything that comes again."""
        _in_tens(store, self.hold.delete)
        visibility = HIDDEN_SECONDS + len(store) // _READ_RATE_MIN
        source = QueueSource(
            self.hold,
            patience=visibility + _MARGIN_SECONDS + self.aws.delays.queue_counts,
            listener=self.listener,
            clock=self.clock,
        )
        what = f"{self.hold.name} could not be emptied"
        self._move_all(source, _Merged(store), MoveOptions(), stopped, what)

    def _move_all(
        self,
        source: Source,
        target: Target,
        options: MoveOptions,
        stopped: Callable[[], bool],
        what: str,
    ) -> MoveReport:
        """Move every message; raises UnfinishedError, which begins with ``what``, unless all were moved."""
        report = move(
            source,
            target,
            replace(options, workers=self.workers, throttles=lambda: self.aws.throttles),
            listener=self.listener,
            stopped=stopped,
            clock=self.clock,
            sleep=self.sleep,
        )
        if report.error is not None:
            raise UnfinishedError(f"{what}: {report.error.message}", exit_code=report.error.exit_code)
        if report.stopped:
            raise UnfinishedError(f"{what}: interrupted")
        if warnings := report.warnings():
            raise UnfinishedError("\n  ".join([f"{what}:", *warnings]), first=self._raise_limits())
        if isinstance(source, QueueSource) and source.given_up:
            raise UnfinishedError(
                f"{what}: {source.given_up} messages are in flight with another consumer, which has to stop,"
                f" or in a group that is paused: {command_line('status')} shows until when"
            )
        return report

    def _raise_limits(self) -> str:
        """Say what lets the queues take the largest messages again, if somebody lowered their limits."""
        lowered: list[str] = []
        with suppress(FifoError):
            for queue in (self.main, self.dlq, self.hold):
                if queue.max_message_bytes() < MESSAGE_BYTES_MAX:
                    lowered.append(queue.name)
        if not lowered:
            return ""
        what = f"{' and '.join(lowered)} take messages of {MESSAGE_BYTES_MAX:,} bytes again"
        return f"run {command_line('deploy')} first: it lets {what}; then "


class _Reader(QueueSource):
    """Hold as a source that is only read: what was taken stays in flight, its handle kept for later.

    If reading takes longer than that, messages come again: they are not taken twice, and it is over when as
    many are known as were put there and SQS counts, or all came twice again and nothing new. What is
    behind another copy of itself in its group, or was left out by a wrong count, is found when hold is
    emptied.
    """

    def __init__(self, restore: RestoreOrder, store: OrderStore, expected: int | None) -> None:
        # Long enough to read all of it: no message may come again before the last one is known.
        visibility = HIDDEN_SECONDS + max(restore.hold.counts().total, expected or 0) // _READ_RATE_MIN
        late = restore.aws.delays.queue_counts
        super().__init__(
            restore.hold,
            hidden_seconds=visibility,
            patience=visibility + _MARGIN_SECONDS + late,
            expected=expected,
            quiet=late,
            listener=restore.listener,
            clock=restore.clock,
        )
        self._all = expected or 0
        self._store = store
        self._hold = restore.hold
        self._again = 0  # how many known ones came since the last new one

    def receive(self, count: int, *, wait: bool) -> list[ReceivedMessage]:
        received = super().receive(count, wait=wait)
        ids = self._store.known([one.message.message_id for one in received])
        self.delete([one for one in received if one.message.message_id in ids])
        news = [one for one in received if one.message.message_id not in ids]
        self._again = 0 if news else self._again + len(received)
        return news

    def exhausted(self) -> bool:
        handles = self._store.handles
        if self._again and (
            self._again >= 2 * handles or handles >= max(self._all, self._hold.counts().total)
        ):
            return True
        return super().exhausted()

    def count_hidden(self) -> int:
        return super().count_hidden() + self._store.handles

    def delete(self, received: Sequence[ReceivedMessage]) -> list[Rejection]:
        """Keep them in flight, and their handles on disk, where memory does not grow with the queue."""
        self._store.add_handles([(one.message.message_id, one.receipt_handle) for one in received])
        self._forget(received)
        return []


class _Merged(LocalTarget):
    """What main has, as a target: it takes a message of hold that was merged, and refuses any other."""

    def __init__(self, store: OrderStore) -> None:
        self._store = store

    def send(self, received: Sequence[ReceivedMessage]) -> list[Rejection]:
        return [
            Rejection(one, "it came to hold after the others were merged", retry=False)
            for one in received
            if unlabel(one.message)[0] not in self._store
        ]


def _labelled(received: ReceivedMessage) -> OutgoingMessage:
    labels = label(received.message)
    return outgoing(replace(received.message, group=labels.group), labels.dedup_id)


def _merged(token: str) -> Pack:
    def pack(received: ReceivedMessage) -> OutgoingMessage:
        origin = Origin.parse(received.receipt_handle)
        assert origin is not None, received.receipt_handle
        return outgoing(received.message, merge_id(origin, token))

    return pack


def _in_tens(store: OrderStore, call: Callable[[list[str]], object]) -> None:
    """Use up the store's handles, ten a call; what is refused is visible again when its time is over."""

    def work() -> None:
        while handles := store.take_handles(BATCH_ENTRIES_MAX):
            call(handles)

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="hold") as pool:
        for done in [pool.submit(work) for _ in range(_THREADS)]:
            try:
                done.result()
            except FifoError:
                continue


def _notes(merged: int, state: State, foreign: int) -> tuple[str, ...]:
    notes = [f"{merged} messages in main, each group in stream order"]
    if foreign:
        notes.append(f"left alone: {foreign} that another queue dead-lettered")
    notes += [f"the {role} did not run before, nor now" for role in _ROLES if role not in state.running]
    return tuple(notes)
