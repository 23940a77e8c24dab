"""``redrive``: the DLQ's messages back to main, by our own engine or by SQS's move task."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Final

from fifo_cli.aws.move_tasks import MoveTasks, UnknownCallError
from fifo_cli.aws.sqs import PipelineQueues
from fifo_cli.errors import AwsError, ExitCode, UsageError
from fifo_cli.events import Listener, silent
from fifo_cli.model.group_names import group_ids, named_group
from fifo_cli.model.message import Message, ReceivedMessage
from fifo_cli.model.results import INTERNAL, Result, WorkResult, named
from fifo_cli.operations.history import MoveNotes, Note, unnoted
from fifo_cli.operations.maintenance_lock import MaintenanceLock, maintenance, refuse_while_unfinished
from fifo_cli.operations.queues.browse import MESSAGES_MAX, browse, count_waiting
from fifo_cli.operations.queues.native_redrive import redrive_natively
from fifo_cli.operations.queues.peek import peek
from fifo_cli.operations.transfer.engine import move
from fifo_cli.operations.transfer.message_filter import Exclusions, MessageFilter
from fifo_cli.operations.transfer.queue_source import QueueSource
from fifo_cli.operations.transfer.queue_target import QueueTarget, as_it_is
from fifo_cli.operations.transfer.record_conversion import (
    Converter,
    ConvertingTarget,
    LoadRules,
    is_record,
    no_rules,
)
from fifo_cli.operations.transfer.result import MoveOptions, MoveReport

_NO_TASKS: Final = "this service knows no message move tasks"
_PREVIEW_MAX: Final = 10_000


class Engine(StrEnum):
    """Who moves the messages; AUTO is CLIENT.

    SQS's move task would put a record that the enqueuer parked into main as it is. That none is there can be
    seen only where the DLQ is short, and there our own engine is done at once.
    """

    AUTO = "auto"
    NATIVE = "native"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class RedriveOptions:
    """What to redrive, and how; ``count`` None is all that match."""

    count: int | None = None
    ids: frozenset[str] = frozenset()
    group: str | None = None
    expression: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    same_group_batches: bool = False
    engine: Engine = Engine.AUTO
    max_rate: float | None = None

    @property
    def selection(self) -> MessageFilter:
        return MessageFilter(
            ids=self.ids,
            group=self.group,
            expression=self.expression,
            since=self.since,
            until=self.until,
        )

    @property
    def only_client(self) -> list[str]:
        """The options given that only our own engine takes."""
        given = {
            "--count": self.count is not None,
            "--id": bool(self.ids),
            "--group": self.group is not None,
            "--filter": self.expression is not None,
            "--since": self.since is not None,
            "--until": self.until is not None,
            "--max-rate": self.max_rate is not None,
            "--same-group-batches": self.same_group_batches,
        }
        return [name for name, is_given in given.items() if is_given]


@dataclass(frozen=True)
class RedriveResult(WorkResult):
    """What a redrive did; ``remaining`` in the DLQ is None if unknown.

    ``skipped`` are those of ``remaining`` that it saw and left alone: not chosen, not this pipeline's, or
    left out by the enqueuer's rules. What it did not reach counts in ``remaining`` only.
    """

    engine: str
    moved: int
    skipped: int
    failed: int
    remaining: int | None

    @property
    def needs_look(self) -> bool:
        return bool(self.failed or self.warnings)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedrivePreview(Result):
    """What a redrive would move, as far as it can be seen, and behind how many messages.

    ``would_move`` is how many in all; None if only those seen now are known to match.
    """

    engine: str
    dry_run: bool = True
    moved: int = 0
    skipped: int
    failed: int = 0
    remaining: int
    source: str = field(metadata=named("from"))
    target: str = field(metadata=named("to"))
    behind: int
    truncated: bool
    would_move: int | None
    messages: tuple[Message, ...]
    warnings: tuple[str, ...] = field(default=(), metadata=INTERNAL)

    @property
    def exit_code(self) -> ExitCode:
        """1 if an id or a group that was asked for was not seen."""
        return ExitCode.ATTENTION if self.warnings else ExitCode.OK


@dataclass(frozen=True)
class Redrive(PipelineQueues):
    """A redrive of one pipeline: how much there is, what it would move, and the move itself."""

    options: RedriveOptions
    listener: Listener = silent
    load_rules: LoadRules = no_rules
    note: Note = unnoted

    @cached_property
    def _tasks(self) -> MoveTasks:
        return MoveTasks(self.aws, name=self.dlq.name, source_arn=self.dlq.arn)

    def waiting(self) -> tuple[int, int]:
        """Return how many are in the DLQ, and in main, where they go to the end, as SQS counts them."""
        return count_waiting(self.dlq), self.main.counts().total

    def preview(self, *, force: bool = False) -> RedrivePreview:
        """Say what would be moved, by looking at the DLQ (see peek), without moving anything."""
        self._check_engine()
        total, behind = self.dlq.counts().total, self.main.counts().total
        selection = self.options.selection
        seen = peek(self.dlq, count=min(_PREVIEW_MAX, max(total, 1)), force=force)
        total = max(total, len(seen.messages))
        matching = [message for message in seen.messages if selection(message)]
        engine = self._engine()
        count = self.options.count
        if selection.everything:
            would_move: int | None = total if count is None else min(total, count)
        else:
            reached = count is not None and len(matching) >= count
            known = reached or not self._may_hide(total, seen.messages, selection)
            would_move = len(matching[:count]) if known else None
        return RedrivePreview(
            would_move=would_move,
            warnings=self._not_found(
                self.options.ids - {message.message_id for message in seen.messages},
                {message.group for message in seen.messages},
            ),
            engine=engine,
            source=self.dlq.name,
            target=self.main.name,
            messages=tuple(matching[: self.options.count]),
            skipped=len(seen.messages) - len(matching),
            remaining=total,
            behind=behind,
            truncated=seen.truncated and (self.options.count is None or len(matching) < self.options.count),
        )

    def _may_hide(self, total: int, seen: Sequence[Message], selection: MessageFilter) -> bool:
        """Say whether messages that are asked for may be behind those that were seen."""
        ids = self.options.ids
        if total <= len(seen) or (ids and ids <= {message.message_id for message in seen}):
            return False
        return any(selection.may_be_behind(message) for message in seen) or not seen

    def nothing(self, *, force: bool = False) -> RedriveResult:
        """Return what a redrive of an empty DLQ comes to.

        Raises BusyError if an in-order redrive is unfinished: the messages are elsewhere then.
        """
        if not force:
            refuse_while_unfinished(self.main.tags)
        return RedriveResult("client", 0, 0, 0, 0, warnings=self._not_found(self.options.ids, ()))

    def perform(self, *, force: bool = False, stopped: Callable[[], bool] = lambda: False) -> RedriveResult:
        """Move the messages; raises BusyError if another maintenance operation holds the pipeline.

        What AWS refuses on the way is in the result, with what was moved until then.
        """
        self._check_engine()
        tags = self.main.tags
        with ThreadPoolExecutor(1, thread_name_prefix="count") as pool:
            counting = pool.submit(self._count)  # while the lock is acquired
            with maintenance(tags, "redrive", confirm=False, force=force, listener=self.listener) as lock:
                return self._move(counting.result(), lock, stopped)

    def _count(self) -> int:
        """Count the DLQ, and look up what the move will need."""
        total = self.dlq.counts().total
        _ = self.main.arn
        return total

    def _move(self, total: int, lock: MaintenanceLock, stopped: Callable[[], bool]) -> RedriveResult:
        if self._engine() is Engine.CLIENT:
            return self._by_client(total, lock, stopped)
        lock.confirm()
        try:
            return self._natively(stopped)
        except UnknownCallError as error:
            raise _no_tasks() from error

    def _not_found(self, ids: Iterable[str], groups: Container[str]) -> tuple[str, ...]:
        """Say which of the ids and the group that were asked for are not there; ``groups`` are those seen."""
        missing = ", ".join(sorted(ids))
        lacking = [f"not found: {missing} in {self.dlq.name}"] if missing else []
        group = self.options.group
        if group is not None and not any(one in groups for one in group_ids(group)):
            lacking.append(f"no message of {named_group(group)} in {self.dlq.name}")
        return tuple(lacking)

    def _check_engine(self) -> None:
        """Raise UsageError if the engine asked for cannot do what is asked of it."""
        if self.options.engine is Engine.NATIVE and self.options.only_client:
            given = self.options.only_client
            raise UsageError(
                "--engine native moves everything, as fast as SQS does; "
                f"{' and '.join(given)} {'works' if len(given) == 1 else 'work'} with the client engine",
                hint=f"use --engine client, or leave out {' and '.join(given)}",
            )

    def _engine(self) -> Engine:
        """Choose the engine; raises UsageError if SQS's was asked for and must not move this DLQ."""
        if self.options.engine is not Engine.NATIVE:
            return Engine.CLIENT
        try:
            recent = self._tasks.recent()
            sources = self.dlq.dead_letter_sources()
        except UnknownCallError as error:
            raise _no_tasks() from error
        if not sources or not set(sources) <= {self.main.name, self.names.hold}:
            raise UsageError(
                f"{self.dlq.name} is the dead-letter queue of {', '.join(sources) or 'no queue'}, and SQS's"
                f" move task would take everything in it to {self.main.name}",
                hint="use --engine client, which moves only what came from this pipeline",
            )
        # A task that runs already moves on, also if this run ends.
        if not any(task.is_active for task in recent):
            self._refuse_records()
        return Engine.NATIVE

    def _refuse_records(self) -> None:
        """Raise UsageError unless all of the DLQ is seen to hold no record of the enqueuer.

        SQS shows ten messages of a group at most, so not all of a large DLQ can be looked at.
        """
        records, unseen = self._look_for_records()
        if not records and not unseen:
            return
        if records:
            what = f"holds records that the enqueuer parked ({records} seen), which are not messages yet"
        else:
            what = f"holds {unseen} messages that cannot be looked at, and may hold records of the enqueuer"
        raise UsageError(
            f"{self.dlq.name} {what}; SQS's move task would put records into main as they are;"
            " nothing was moved",
            hint="use --engine client: it makes messages of the records",
        )

    def _look_for_records(self) -> tuple[int, int]:
        """Return how many records were seen in the DLQ, and how many messages were not seen."""
        records = 0

        def take(message: Message) -> bool:
            nonlocal records
            records += is_record(message)
            return records > 0

        total = self.dlq.counts().total
        if total > MESSAGES_MAX:
            return 0, total
        seen = browse(self.dlq, take)
        return records, max(0, max(total, seen.total) - seen.seen)

    def _natively(self, stopped: Callable[[], bool]) -> RedriveResult:
        outcome = redrive_natively(self._tasks, self.main.arn, listener=self.listener, stopped=stopped)
        notes = () if outcome.status == "COMPLETED" else (f"the move task ended {outcome.status}",)
        return RedriveResult(
            engine="native",
            moved=outcome.moved,
            skipped=0,
            failed=0,
            remaining=self.dlq.total_if_known(),
            notes=notes,
            error=outcome.error,
        )

    def _by_client(self, total: int, lock: MaintenanceLock, stopped: Callable[[], bool]) -> RedriveResult:
        options = self.options
        choice = _Choice(options)
        exclusions = Exclusions(lock.since, self.main.arn)
        source = QueueSource(self.dlq, expected=total, listener=self.listener)
        converter = Converter(self.load_rules, stopped, self.main.max_message_bytes)
        target = QueueTarget(self.main, as_it_is("redrive"), strict=not options.same_group_batches)
        report = move(
            source,
            ConvertingTarget(target, QueueTarget(self.dlq, as_it_is("park")), converter),
            MoveOptions(
                count=choice.count,
                max_rate=options.max_rate,
                wanted=None if choice.selection.everything else choice,
                leave=exclusions,
                total=total,
                before_sending=lock.confirm,
                throttles=lambda: self.aws.throttles,
                history=MoveNotes(self.note, "redriven", "dlq", "main"),
            ),
            on_sent=lambda received: choice.ids.discard(received.message.message_id),
            listener=self.listener,
            stopped=stopped,
        )
        remaining = 0 if source.emptied else self.dlq.total_if_known()
        reached = choice.count is not None and report.moved >= choice.count
        warnings = [*report.warnings(), *converter.warnings()]
        notes = [*exclusions.notes("redrive"), *converter.notes()]
        if not (reached or report.stopped or report.error):
            counted = min(
                total - report.moved - exclusions.foreign - converter.stayed, (remaining or 0) - report.left
            )
            unseen = 0 if source.given_up else _unseen(report, counted)
            may_hide = bool(choice.hiding or report.failed or report.not_deleted)
            warnings += self._not_found(choice.ids, choice.groups)
            warnings += _unfinished(source, choice.selection, unseen if may_hide else 0)
            if unseen and not may_hide:
                notes.append(
                    f"{unseen} more of other groups stay in {self.dlq.name}, as they were not asked for"
                )
        return RedriveResult(
            engine="client",
            moved=report.moved - converter.parked_again,
            skipped=report.skipped + report.left - (converter.failed - converter.parked_again),
            failed=report.failed + converter.failed,
            remaining=remaining,
            notes=tuple(notes),
            warnings=tuple(warnings),
            error=report.error,
        )


class _Choice:
    """Which messages a redrive takes, and what it has seen of those that were asked for.

    ``ids`` are those asked for that were not moved yet, ``groups`` the ids of the group asked for that were
    seen. ``hiding`` messages stay, and may have some that are asked for behind them.
    """

    def __init__(self, options: RedriveOptions) -> None:
        self.selection = options.selection
        self.count = options.count
        if options.ids:
            self.count = min(len(options.ids), len(options.ids) if options.count is None else options.count)
        self.ids, self.groups, self.hiding = set(options.ids), set[str](), 0
        self._asked = group_ids(options.group) if options.group is not None else frozenset()

    def __call__(self, received: ReceivedMessage) -> bool:
        if received.message.group in self._asked:
            self.groups.add(received.message.group)
        chosen = self.selection(received.message)
        self.hiding += not chosen and self.selection.may_be_behind(received.message)
        return chosen


def _no_tasks() -> AwsError:
    return AwsError(f"{_NO_TASKS}; nothing was moved", hint="use --engine client")


def _unfinished(source: QueueSource, selection: MessageFilter, hidden: int) -> list[str]:
    """Say what a redrive that ran to its end could not reach, ``hidden`` behind what stays among it."""
    warnings = []
    if selection.failures:
        warnings.append(f"the filter failed on {selection.failures} messages, which stay")
    if source.given_up:
        warnings.append(
            f"{source.given_up} stay in flight with another consumer, or will be visible later; run the"
            " command again"
        )
    if hidden:
        warnings.append(
            f"{hidden} could not be seen: SQS gives out ten of a group at most while those stay in it"
        )
    return warnings


def _unseen(report: MoveReport, counted: int) -> int:
    """Return how many messages were not received, behind those that stay.

    ``counted`` is what must be there still by SQS's counts at the start and at the end, the lower of both:
    counts lag behind.
    """
    stay = report.skipped + report.failed + report.not_deleted
    return max(0, counted - stay) if stay else 0
