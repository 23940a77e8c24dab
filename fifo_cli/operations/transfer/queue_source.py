"""A queue as a source of the moving engine."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from fifo_cli.aws.sqs import LONG_POLL_SECONDS, Queue, RejectedEntry
from fifo_cli.errors import FifoError
from fifo_cli.events import Listener, Waiting, silent
from fifo_cli.model.limits import RECEIVE_MAX
from fifo_cli.model.message import ReceivedMessage
from fifo_cli.model.queue_counts import Counted
from fifo_cli.operations.transfer.interfaces import Rejection

# Short, so that what a killed run held is seen again soon; the engine keeps what takes longer.
HIDDEN_SECONDS: Final = 30
# What waits in flight with somebody comes back after its visibility timeout, or a little later.
PATIENCE_SECONDS: Final = HIDDEN_SECONDS + 5
# So many in a row without a message are believed, if all that was counted at the start has been seen.
_POLLS_BELIEVED: Final = 2
_RELEASING_THREADS: Final = 8


class QueueSource:
    """Messages of one queue; those in flight with others are waited for ``patience`` seconds.

    ``expected`` is how many SQS counted at the start, if that is known. ``given_up`` is how many it still
    counted when the patience was over; ``emptied``: it counted none, and then gave none.

    ``quiet``: that SQS counts none is believed when it has given none for so many seconds. What somebody
    hides for less than that is seen then, and what is hidden for longer is in the counts, however late.
    """

    def __init__(
        self,
        queue: Queue,
        *,
        hidden_seconds: int = HIDDEN_SECONDS,
        patience: float = PATIENCE_SECONDS,
        expected: int | None = None,
        quiet: float = 0.0,
        listener: Listener = silent,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self.hidden_seconds: float = hidden_seconds
        self._patience = patience
        self._expected = expected
        self._quiet = quiet
        self._quiet_since: float | None = None
        self._quiet_said = False
        self._settled = 0
        self._listener = listener
        self._clock = clock
        self._lock = threading.Lock()
        self._ours: set[str] = set()  # the ids of the messages that we hide
        self._polls = 0  # long polls in a row that gave nothing
        self._deadline: float | None = None
        self._asked_for_visible = False  # a long poll has asked for what was counted as visible before it
        self.given_up = 0
        self.emptied = False

    def receive(self, count: int, *, wait: bool) -> list[ReceivedMessage]:
        """Receive up to ten messages.

        If as many are deleted as were counted at the start, and none is counted now, a short poll will do
        in place of the long one that asks all of SQS's servers. One server is asked at once, and only what
        did not come then is waited for.
        """
        all_settled = wait and self._all_settled()
        received = self._queue.receive(
            count=min(count, RECEIVE_MAX),
            visibility=int(self.hidden_seconds),
            wait=self._wait_seconds() if wait and not all_settled else 0,
        )
        with self._lock:
            if received:
                self._polls, self._deadline, self._asked_for_visible = 0, None, False
                self._quiet_since = None
                self.emptied = False
                self._ours.update(one.message.message_id for one in received)
            else:
                self._polls += wait
                if self._quiet_since is None:
                    self._quiet_since = self._clock()
                self.emptied = all_settled and not self._ours
        return received

    def _wait_seconds(self) -> int:
        return LONG_POLL_SECONDS if self._polls else self._queue.long_poll_seconds

    def exhausted(self) -> bool:
        """Say whether a long poll gave nothing and SQS counts nothing that may still come.

        SQS's counts lag behind, by a minute at worst (API Reference, GetQueueAttributes): what they show is
        waited for until ``patience`` is over, unless we have seen all that was counted at the start. While we
        hide messages ourselves, what is visible is behind ours in their groups, and cannot be received. It
        may have become visible after the poll, so we poll again.
        """
        with self._lock:
            polls, ours = self._polls, self.count_hidden()
            all_seen = self._expected is not None and self._settled + ours >= self._expected
        if not polls:
            return False
        if all_seen and (polls >= _POLLS_BELIEVED or self.emptied):
            return True
        counts = self._queue.counts()
        others = max(0, counts.in_flight - ours)
        waiting = others + counts.delayed + (0 if ours else counts.visible)
        if not waiting:
            asked, self._asked_for_visible = self._asked_for_visible, True
            return (asked or not counts.visible) and self._is_quiet()
        if all_seen:
            return False
        now = self._clock()
        if self._deadline is None:
            self._deadline = now + self._patience
            if self._patience:
                self._listener(Waiting(self._queue.name, self._awaited(counts, others, alone=not ours)))
        if now < self._deadline:
            return False
        self.given_up = waiting
        return True

    def _is_quiet(self) -> bool:
        """Say whether nothing came for as long as counts may be late."""
        since = self._clock() if self._quiet_since is None else self._quiet_since
        if self._clock() - since >= self._quiet:
            return True
        if not self._quiet_said:
            self._quiet_said = True
            text = f"seen empty for {self._quiet:.0f} s: so late may SQS's counts be"
            self._listener(Waiting(self._queue.name, text))
        return False

    def _awaited(self, counts: Counted, others: int, *, alone: bool) -> str:
        """Say what is waited for; what is visible counts only while we hide nothing that it may be behind."""
        held = " while those before them in their groups are held" if others else ""
        parts = [
            (others, "in flight with another consumer or a run that was killed"),
            (counts.visible if alone else 0, f"visible that it does not give out{held}"),
            (counts.delayed, "delayed"),
        ]
        text = ", and ".join(f"{number:,} {what}" for number, what in parts if number)
        return f"SQS counts {text}; they are waited for, {self._patience:.0f} s at most"

    def count_hidden(self) -> int:
        """Return how many messages we hide."""
        return len(self._ours)

    def extend_visibility(self, received: Sequence[ReceivedMessage], *, seconds: float) -> list[Rejection]:
        """Extend the visibility timeout; return what was not extended, without retry if it is not ours."""
        handles = [one.receipt_handle for one in received]
        refused = _refusals(received, self._queue.change_visibility(handles, seconds=int(seconds)))
        self._forget([one.received for one in refused if not one.retry])
        return refused

    def delete(self, received: Sequence[ReceivedMessage]) -> list[Rejection]:
        """Delete messages."""
        refused = _refusals(received, self._queue.delete([one.receipt_handle for one in received]))
        still_ours = {one.received.message.message_id for one in refused if one.retry}
        self._forget([one for one in received if one.message.message_id not in still_ours])
        with self._lock:
            self._settled += len(received) - len(refused)
        return refused

    def release(self, received: Sequence[ReceivedMessage]) -> None:
        """Release messages; a group's in the order given, several groups at a time."""
        queues: list[list[ReceivedMessage]] = [[] for _ in range(_RELEASING_THREADS)]
        for one in received:
            queues[hash(one.message.group) % _RELEASING_THREADS].append(one)
        with ThreadPoolExecutor(_RELEASING_THREADS, thread_name_prefix="release") as pool:
            list(pool.map(self._release, filter(None, queues)))
        self._forget(received)

    def _all_settled(self) -> bool:
        with self._lock:
            if self._expected is None or self._settled < self._expected:
                return False
        return self._queue.counts().total == 0

    def _release(self, received: Sequence[ReceivedMessage]) -> None:
        # After a failure the rest becomes visible by itself, when its time is over.
        with contextlib.suppress(FifoError):
            self._queue.change_visibility([one.receipt_handle for one in received], seconds=0)

    def _forget(self, received: Sequence[ReceivedMessage]) -> None:
        with self._lock:
            self._ours.difference_update(one.message.message_id for one in received)


def _refusals(received: Sequence[ReceivedMessage], rejected: Iterable[RejectedEntry]) -> list[Rejection]:
    return [Rejection(received[one.index], one.reason, retry=not one.gone) for one in rejected]
