"""Look at the messages of a queue without consuming them.

SQS has no way to look: a receive makes a message invisible and counts. So each look receives, remembers the
receipt handles, and releases all of them, the head of a group last. It refuses where the count could move a
message to the dead-letter queue. All looks are here. What else receives does so to delete, and releases only
the rest: the transfer engine, the worker, and ``replay --failed`` (stream/failed_batches.py).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, TypeVar

from fifo_cli.aws.sqs import Queue
from fifo_cli.errors import FifoError, UsageError
from fifo_cli.model.limits import BATCH_ENTRIES_MAX
from fifo_cli.model.message import Message
from fifo_cli.model.names import QueueRole
from fifo_cli.model.queue_counts import Counted
from fifo_cli.operations.work_db import WorkDb

# Long enough to page through a few hundred messages, short enough that a killed look stops nobody for long.
VISIBILITY_SECONDS: Final = 30
# Well within the time for which messages are invisible.
_LOOK_SECONDS: Final = 15
# Main has no limit unless one is asked for; with fewer than this, a few looks could dead-letter a message.
SAFE_RECEIVES: Final = 100
# Handles of what is invisible are kept, and a FIFO queue gives out 20,000 at least (Quotas, "in flight").
MESSAGES_MAX: Final = 10_000
# A receive brings ten at most; on AWS, from anywhere, this many a second come at the least.
_LOOK_RATE_MIN: Final = 100
# An interrupted look may still wait a second for messages, and releases them. After that it is better to end.
_ENDS_WITHIN: Final = 10.0
ROLES: Final[tuple[QueueRole, ...]] = ("main", "hold", "dlq")

_HANDLES: Final = """
    CREATE TABLE handles (number INTEGER PRIMARY KEY, message_id TEXT, handle TEXT);
    CREATE INDEX seen ON handles (message_id);
"""

# Of the handles of so many messages in KiB, with room to spare: with a full disk they could not be released.
_IN_MEMORY: Final = "PRAGMA cache_size = -16000;"

T = TypeVar("T")
Take = Callable[[Message], bool | None]


def is_safe(counts: Counted) -> bool:
    """Say whether a look cannot move a message to the dead-letter queue."""
    return counts.max_receives is None or counts.max_receives >= SAFE_RECEIVES


def require_safe(queue: Queue, counts: Counted, what: str, *, otherwise: str = "") -> None:
    """Raise UsageError where ``what`` could move a message to the dead-letter queue."""
    if not is_safe(counts):
        raise UsageError(
            f"{queue.name} moves a message to its dead-letter queue after {counts.max_receives} receives,"
            f" and {what} is a receive: looking could take messages out of line",
            hint=f"{otherwise}deploy with max_receives = 0, or look all the same with --force",
        )


@dataclass(frozen=True, slots=True)
class BrowseResult:
    """How much of a queue was seen, of what SQS counts; ``failure`` says why nothing was looked at.

    ``known`` are messages that were not seen, but are known to be there; ``held`` those that a consumer had
    in flight when the look began.
    """

    queue: str
    seen: int = 0
    counts: Counted | None = None
    failure: str = ""
    known: int = 0
    held: int = 0

    @property
    def total(self) -> int:
        return self.counts.total if self.counts is not None else 0

    @property
    def complete(self) -> bool:
        """Whether all was seen, by what SQS counts."""
        return not self.failure and self.total <= self.seen + self.known


def look(
    queue: Queue,
    take: Take,
    *,
    then: Callable[[], object] = lambda: None,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Give every message that can be seen to ``take``, until it answers True, and release all.

    Ends after 10,000 messages, after 15 s, or on an interrupt, and releases in every case. ``then`` is
    called while the messages are still invisible. Returns how many were seen; one that comes again, as its
    time was over before the look was, counts once. Raises AwsError.
    """
    until = clock() + _LOOK_SECONDS

    def work(stopped: Callable[[], bool]) -> int:
        seen = 0
        with WholeQueue(queue) as whole:
            while seen < MESSAGES_MAX and not stopped() and clock() < until and (news := whole.receive()):
                seen += len(news)
                if any([take(message) for message in news]):
                    break
            then()
            whole.release()
        return seen

    return run_uninterrupted(work)


def run_uninterrupted(look: Callable[[Callable[[], bool]], T]) -> T:
    """Return what ``look`` returns; interrupted, let it end first, as its ``stopped`` asks it to soon.

    A KeyboardInterrupt in the middle of a receive would lose the answer, and with it the handles of what SQS
    has hidden: it would stay so until its visibility timeout ends. So the look runs in a thread of its own,
    where no signal is handled. Raises what it raises.
    """
    stop = threading.Event()
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(look(stop.is_set))
        except BaseException as error:  # noqa: BLE001 - it is raised where the caller waits
            done.set_exception(error)

    thread = threading.Thread(target=run, name="look", daemon=True)
    try:
        thread.start()
        return done.result()
    except KeyboardInterrupt:
        stop.set()
        if thread.is_alive():
            thread.join(_ENDS_WITHIN)
        raise


def count_waiting(queue: Queue) -> int:
    """Return how many messages a queue counts, or where it counts none, how many a look finds.

    Counts are late, by a minute or more (API Reference, GetQueueAttributes): 0 does not prove that a queue is
    empty. Where a look could move a message to the dead-letter queue, the count has to do.
    """
    counts = queue.counts()
    return counts.total if counts.total or not is_safe(counts) else look(queue, lambda message: True)


def browse(queue: Queue, take: Take, *, clock: Callable[[], float] = time.monotonic) -> BrowseResult:
    """Look through a whole queue as ``look`` does; what AWS refuses is the result's ``failure``.

    Does not look where a look could move a message to the dead-letter queue.
    """
    try:
        before = queue.counts()
        if not is_safe(before):
            reason = f"its messages are dead-lettered after {before.max_receives} receives, and a look is one"
            return BrowseResult(queue.name, counts=before, failure=reason)
        after: list[Counted] = []  # what was sent meanwhile counts, too
        seen = look(queue, take, then=lambda: after.append(queue.counts()), clock=clock)
    except FifoError as error:
        return BrowseResult(queue.name, failure=error.message)
    return BrowseResult(queue.name, seen, after[0], held=before.in_flight)


class WholeQueue:
    """Receives each message of a queue once, and releases all at the end, heads last.

    Of a queue of any size, give how many messages are ``expected``: then handles and ids are on disk, so that
    memory does not grow with the queue.
    """

    def __init__(self, queue: Queue, expected: int = 0) -> None:
        self._queue = queue
        # As long as it takes to see them all, so that what was seen first does not come again before that.
        self._visibility = VISIBILITY_SECONDS + expected // _LOOK_RATE_MIN
        tables = _HANDLES if expected else _IN_MEMORY + _HANDLES
        self._db = WorkDb(tables, "what was seen", meaning="every message is still in the queue")

    def receive(self) -> list[Message]:
        """Return the next messages; none when nothing more comes, or only what came before."""
        batch = self._queue.receive(visibility=self._visibility, wait=self._queue.long_poll_seconds)
        query = "SELECT 1 FROM handles WHERE message_id = ?"
        news = [one.message for one in batch if self._db.one(query, one.message.message_id) is None]
        self._db.write(
            "INSERT INTO handles (message_id, handle) VALUES (?, ?)",
            [(one.message.message_id, one.receipt_handle) for one in batch],
        )
        return news

    def release(self) -> None:
        """Make everything visible again; raises FifoError. What SQS refuses is so when its time is over."""
        last = "SELECT handle, number FROM handles ORDER BY number DESC LIMIT ?"
        while rows := list(self._db.rows(last, BATCH_ENTRIES_MAX)):
            self._queue.change_visibility([handle for handle, _ in rows], seconds=0)
            self._db.write("DELETE FROM handles WHERE number >= ?", [rows[-1][1:]])

    def __enter__(self) -> WholeQueue:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.closing(self._db), contextlib.suppress(FifoError):
            self.release()
