"""``purge``: empty a queue, after saving what is in it; or, without a backup, by SQS's own PurgeQueue."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fifo_cli.aws.errors import is_passing
from fifo_cli.aws.session import Aws
from fifo_cli.aws.sqs import Queue
from fifo_cli.errors import AbandonedError, AwsError, FifoError, UsageError
from fifo_cli.events import Listener, Waiting, silent
from fifo_cli.invocation import command_line
from fifo_cli.model.history_events import Move, MovedMessage
from fifo_cli.model.queue_counts import Counted
from fifo_cli.model.results import INTERNAL, WorkResult
from fifo_cli.operations.history import Note, unnoted
from fifo_cli.operations.queues.browse import WholeQueue, is_safe
from fifo_cli.operations.queues.dump import DumpPreview, DumpResult, preview

# PurgeQueue may be called again only then (SQS API Reference, PurgeQueue).
PURGE_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 1.0
# A purge is for queues that are too large to move: so long it is looked at before.
_LOOK_SECONDS: Final = 20.0
# Some 300 KB, which a slow line takes in the time that a note is waited for.
_NOTED_AT_A_TIME: Final = 1_000


@dataclass(frozen=True)
class PurgeResult(WorkResult):
    """What a purge did; ``backup`` is where it saved what it ``purged``.

    Without one, ``purged`` is SQS's approximate count.
    """

    purged: int
    backup: str | None
    remaining: int | None = field(default=None, metadata=INTERNAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgePreview(DumpPreview):
    """What a purge would delete, and where it would save it."""

    written: int = field(default=0, metadata=INTERNAL)
    purged: int = 0
    backup: str | None


def preview_purge(queue: Queue, backup: Path | None, *, force: bool = False) -> PurgePreview:
    """Say what would be deleted, and where it would be saved, by looking at the queue (see peek)."""
    seen = preview(queue, force=force)
    return PurgePreview(
        remaining=seen.remaining,
        truncated=seen.truncated,
        messages=seen.messages,
        backup=str(backup) if backup else None,
    )


def backed_up(dumped: DumpResult, backup: Path) -> PurgeResult:
    """Return a dump that moved everything to ``backup`` as the result of a purge."""
    return PurgeResult(
        dumped.moved,
        str(backup) if dumped.moved else None,
        dumped.remaining,
        notes=dumped.notes,
        warnings=dumped.warnings,
        error=dumped.error,
    )


def refuse_if_shared(queue: Queue, owner: str, *, force: bool = False) -> None:
    """Raise UsageError if another queue than ``owner`` dead-letters into this one: PurgeQueue takes all."""
    others = [name for name in queue.dead_letter_sources() if name != owner]
    if others and not force:
        raise UsageError(
            f"{queue.name} is the dead-letter queue of {', '.join(others)}, too, and their messages would go;"
            " nothing was touched",
            hint="leave out --no-backup, which takes only what is this pipeline's, or purge all with --force",
        )


def purge_for_good(
    aws: Aws,
    queue: Queue,
    *,
    note: Note = unnoted,
    listener: Listener = silent,
    stopped: Callable[[], bool] = lambda: False,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> PurgeResult:
    """Delete every message of a queue, and wait until SQS has done it: what is sent meanwhile may go too.

    What can be seen of the queue is noted before. An emulator on this machine has done it at once. Raises
    AwsError if the queue cannot be purged within two minutes.
    """

    def wait(seconds: float, reason: str) -> None:
        listener(Waiting(queue.name, reason))
        until = clock() + seconds
        while clock() < until and not stopped():
            sleep(_POLL_SECONDS)

    counts = queue.counts()
    before = counts.total
    _note(queue, counts, note, clock, stopped)
    if stopped():
        return _outcome(queue, before, ours=False)
    if not _purge(queue):
        wait(PURGE_SECONDS, "it was purged within the last minute, and SQS allows it once a minute")
        if stopped():
            return _outcome(queue, before, ours=False)
        if not _purge(queue):
            raise AwsError(
                f"{queue.name} is being purged by somebody else; nothing was purged by this command",
                hint=f"look with {command_line('depth')}, and run the command again in a minute",
            )
    if seconds := aws.delays.purge:
        wait(seconds, "SQS takes a minute to purge it, and may delete what is sent meanwhile")
    return _outcome(queue, before, ours=True)


def _note(
    queue: Queue, counts: Counted, note: Note, clock: Callable[[], float], stopped: Callable[[], bool]
) -> None:
    """Note the ids of what can be seen, and that everything goes; SQS shows ten of a group at most."""
    end = clock() + _LOOK_SECONDS
    seen: list[MovedMessage] = []
    if counts.total and note is not unnoted and is_safe(counts):
        # What cannot be looked at is purged all the same.
        with suppress(FifoError), WholeQueue(queue, counts.total) as look:
            while clock() < end and not stopped() and (batch := look.receive()):
                seen += map(MovedMessage.of, batch)
    if not stopped():
        for first in range(0, len(seen), _NOTED_AT_A_TIME):
            some = tuple(seen[first : first + _NOTED_AT_A_TIME])
            note(Move("purged", queue.role, messages=some))
        note(Move("purged", queue.role, everything=True, unseen=max(0, counts.total - len(seen))))


def _outcome(queue: Queue, before: int, *, ours: bool) -> PurgeResult:
    """Count what is left; unless the purge is known to be ``ours``, the difference is what was purged.

    A purge "within the last minute" may have been this command's own call, whose first answer was lost.
    """
    try:
        left = queue.counts().total
    except AwsError as error:
        return PurgeResult(before if ours else 0, None, error=error)
    return PurgeResult(before if ours else max(0, before - left), None, left)


def _purge(queue: Queue) -> bool:
    """Call PurgeQueue; an error says where its effect is not known."""
    try:
        return queue.purge()
    except AwsError as error:
        if not isinstance(error, AbandonedError) and not is_passing(error):
            raise
        raise type(error)(
            f"it is not known whether {queue.name} was purged: {error.message}",
            hint=f"look with {command_line('depth')}; run the command again to purge it",
        ) from error.__cause__
