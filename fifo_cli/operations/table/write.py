"""Writing many items as fast as the table takes them, in order.

The pipeline promises order within a message group, and of one item. So items of one group, and those with
one key, form a *chain*: each is written after the write of the one before it is confirmed. Chains are written
side by side, 25 items to a call. BatchWriteItem promises no order inside a call, and takes no key twice: so a
call has at most one item of each chain.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from fifo_cli.aws.dynamodb import BatchDeniedError, Item, put_item, put_items, table_is_busy
from fifo_cli.aws.retries import growing_pause, spread
from fifo_cli.errors import AbandonedError, AwsError, FifoError, NotDeployedError
from fifo_cli.model.limits import BATCH_WRITE_ITEMS_MAX

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws

WORKERS: Final = 8
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 5.0
# A table that takes nothing for so long is at its limit for other reasons than this command.
_BUSY_SECONDS_MAX: Final = 120.0


@dataclass(slots=True)
class Writes:
    """Which items are written, by their number, and the first failure with the item that it is about."""

    written: list[bool]
    failed: int | None = None
    error: FifoError | None = None

    @property
    def count(self) -> int:
        return sum(self.written)


def chains_of(names: Sequence[Sequence[Hashable]]) -> list[deque[int]]:
    """Return the chains: the numbers of items that share a name, directly or by others, in their order."""
    parents: list[int] = []
    first: dict[Hashable, int] = {}

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    for number, own in enumerate(names):
        parents.append(number)
        for name in own:
            one, other = root(first.setdefault(name, number)), root(number)
            parents[max(one, other)] = min(one, other)
    chains: dict[int, deque[int]] = {}
    for number in range(len(names)):
        chains.setdefault(root(number), deque()).append(number)
    return list(chains.values())


@dataclass(slots=True)
class Writer:
    """Writes items to a table from several threads; ``on_written`` gets how many are done."""

    aws: Aws
    table: str
    items: Callable[[int], Item]
    chains: Sequence[deque[int]]
    stop: threading.Event
    on_written: Callable[[int], None] = lambda done: None
    _ready: deque[deque[int]] = field(default_factory=deque)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _busy: int = 0
    _alone: bool = False
    _tries: int = 0
    _moved_at: float = 0.0
    _done: int = 0
    _broken: bool = False
    _defect: Exception | None = None
    _writes: Writes = field(default_factory=lambda: Writes([]))

    def run(self) -> Writes:
        """Write until all is written, ``stop`` is set, or AWS refuses; every call that began is finished."""
        self._ready = deque(self.chains)
        self._writes = Writes([False] * sum(map(len, self.chains)))
        self._moved_at = time.monotonic()
        count = min(WORKERS, 1 + len(self.chains) // BATCH_WRITE_ITEMS_MAX)
        threads = [threading.Thread(target=self._help, name="put", daemon=True) for _ in range(count - 1)]
        for thread in threads:
            thread.start()
        try:
            self._work()
        finally:
            self._broken = True
            with self._changed:
                self._changed.notify_all()
            for thread in threads:
                thread.join()
        if self._defect is not None:
            raise self._defect
        return self._writes

    def _help(self) -> None:
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 - a defect: the others end, and the main thread raises it
            self._defect, self._broken = error, True

    def _work(self) -> None:
        while chains := self._take():
            left, failure = self._write([chain[0] for chain in chains])
            self._account(chains, left, failure)
            if left and failure is None:
                self.stop.wait(spread(growing_pause(self._tries, _FIRST_PAUSE, _LONGEST_PAUSE)))

    def _take(self) -> list[deque[int]]:
        """Return chains whose first items are to be written now; none when all is done."""
        with self._changed:
            while not self._ended and not self._ready and self._busy:
                self._changed.wait(0.1)  # a stop is set elsewhere
            if self._ended or not self._ready:
                return []
            count = 1 if self._alone else min(BATCH_WRITE_ITEMS_MAX, len(self._ready))
            self._busy += 1
            return [self._ready.popleft() for _ in range(count)]

    @property
    def _ended(self) -> bool:
        return self._broken or self.stop.is_set() or self._writes.error is not None

    def _write(self, numbers: list[int]) -> tuple[set[int], tuple[int, FifoError] | None]:
        """Write items of different chains; return those that are not written, and a failure with its item."""
        left = set(numbers)
        if len(numbers) > 1:
            try:
                unprocessed = put_items(self.aws, self.table, [self.items(number) for number in numbers])
                return {numbers[place] for place in unprocessed}, None
            except BatchDeniedError:
                self._alone = True  # a policy that allows PutItem alone
            except FifoError as error:
                if table_is_busy(error):
                    return left, None
                if isinstance(error, AbandonedError | NotDeployedError):
                    return left, (numbers[0], error)
        # One item that is refused has the whole call refused: which one, only its own call shows.
        for number in numbers:
            if self._broken or self.stop.is_set():
                break
            try:
                put_item(self.aws, self.table, self.items(number))
            except FifoError as error:
                return left, None if table_is_busy(error) else (number, error)
            left.discard(number)
        return left, None

    def _account(
        self, chains: Sequence[deque[int]], left: set[int], failure: tuple[int, FifoError] | None
    ) -> None:
        with self._changed:
            self._busy -= 1
            again = [chain for chain in chains if chain[0] in left]
            for chain in chains:
                if chain[0] not in left:
                    self._writes.written[chain.popleft()] = True
                    self._done += 1
                    if chain:
                        self._ready.append(chain)
            self._ready.extendleft(reversed(again))
            if len(again) < len(chains):
                self._tries, self._moved_at = 0, time.monotonic()
            elif failure is None:
                self._tries += 1
                if time.monotonic() - self._moved_at > _BUSY_SECONDS_MAX:
                    failure = (again[0][0], _busy(self.table))
            if failure is not None and self._writes.error is None:
                self._writes.failed, self._writes.error = failure
            self.on_written(self._done)
            self._changed.notify_all()


def _busy(table: str) -> AwsError:
    return AwsError(
        f"table {table} took nothing for {_BUSY_SECONDS_MAX / 60:.0f} minutes: it throttles every write",
        hint="look at its write capacity, and at what else writes to it",
    )
