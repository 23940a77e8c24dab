"""Which group of a run has the next turn: new heads first, those that were received before last.

A head that was received before may be stuck: where many are, they stand in front, and a run that took them
in the order of the queue would reach no other group. So they are held while the run looks for new ones. As
long as there are new ones, those that fail again get at most a third of the turns and of the time.

A receive does not prove a failure: a look counts as one, and so does a run that was killed. So every head has
its turn in the end: first those that were received least, and every other time any of them, by chance.
"""

from __future__ import annotations

import heapq
import itertools
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from .limits import RECEIVE_MAX
from .visibility import QueueMessage

# One of so many turns is for a head that was received before, while there are new ones.
_SHARE: Final = 3


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """The messages of a group that are to be delivered one after the other.

    ``retry``: the first was received before. ``began`` is in seconds, by the clock of the order.
    """

    group: str
    messages: list[QueueMessage]
    retry: bool
    began: float


class TurnOrder:
    """The groups that a run has received; its owner locks it.

    ``count`` is how many messages may have a turn, None: any number. ``has_failed`` says whether a group is
    known to have failed last time. ``chance`` gives numbers from 0 to 1.
    """

    def __init__(
        self,
        count: int | None,
        *,
        has_failed: Callable[[str], bool] = lambda group: False,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._left = float("inf") if count is None else count
        # Of a count below three, a retry has its place in some runs only.
        self._retries_kept = 0 if count is None else count // _SHARE or int(chance() < count / _SHARE)
        self._has_failed = has_failed
        self._clock = clock
        self._chance = chance
        self._new: dict[str, list[QueueMessage]] = {}  # by group, in the order of receipt
        self._retries: dict[str, list[QueueMessage]] = {}
        self._ranks: list[tuple[bool, int, int, str]] = []  # a heap of these: the next one first
        self._drawn: list[str] = []  # and all of them, to draw one by chance
        self._numbers = itertools.count()
        self._by_chance = False
        self._in_flight: dict[str, Turn] = {}
        self._behind: dict[str, list[QueueMessage]] = {}  # what their group in flight has beside its turn
        self._closed: set[str] = set()
        self._turns = 0  # messages that had a turn
        self._vain = 0  # turns of retries that are in flight or failed again
        self._seconds = 0.0  # what turns took, in seconds of one thread
        self._vain_seconds = 0.0

    @property
    def in_flight(self) -> int:
        """How many groups are being delivered."""
        return len(self._in_flight)

    @property
    def ready(self) -> int:
        """How many groups with new heads wait for their turn."""
        return len(self._new)

    @property
    def groups(self) -> int:
        """How many groups are being delivered, or wait."""
        return len(self._in_flight) + len(self._new) + len(self._retries)

    @property
    def waiting(self) -> bool:
        """Whether a group waits for its turn, and may have it."""
        return self._left >= 1 and bool(self._new or self._retries)

    def unserved(self) -> list[QueueMessage]:
        """Return the messages with new heads that were received for a turn and had none."""
        return [message for messages in self._new.values() for message in messages]

    def wanted(self) -> int:
        """Return how many messages to receive in the next call: what may have a turn, and is not here yet."""
        kept = 0
        if self._retries and self._in_time():
            kept = min(len(self._retries), max(0, self._retries_kept - self._vain))
        return int(max(0, min(RECEIVE_MAX, self._left - self._stock() - kept)))

    def add(self, batch: Iterable[QueueMessage]) -> None:
        """Sort in what was received. A closed group's message comes again only if its time ran out."""
        groups: dict[str, list[QueueMessage]] = {}
        for message in batch:
            if message.group not in self._closed:
                groups.setdefault(message.group, []).append(message)
        for group, messages in groups.items():
            if group in self._in_flight:
                self._behind.setdefault(group, []).extend(messages)
            else:
                self._put(group, messages)

    def take(self, *, searching: bool) -> Turn | None:
        """Return the next turn; ``searching``: new heads may be received in a moment."""
        if not self.waiting:
            return None
        allowed = bool(self._retries) and self._may_retry()
        if self._new and not allowed:
            group, retry = next(iter(self._new)), False
        elif allowed or (self._retries and not searching):
            group, retry = self._next_retry(), True
        else:
            return None
        messages = (self._retries if retry else self._new).pop(group)
        # New messages that are here already were received for places of the count.
        places = self._left - self._stock() if retry else self._left
        given = messages[: int(min(len(messages), places))]
        if rest := messages[len(given) :]:
            self._behind[group] = rest
        self._left -= len(given)
        self._turns += len(given)
        self._vain += retry
        turn = self._in_flight[group] = Turn(group, given, retry, self._clock())
        return turn

    def finish(self, turn: Turn, *, tried: int, stays: bool) -> None:
        """Note the end of a turn: how many of its messages were tried, and whether one of them stays.

        What waits behind a failed message takes no other group's turn.
        """
        del self._in_flight[turn.group]
        self._left += len(turn.messages) - tried
        self._turns -= len(turn.messages) - tried
        seconds = self._clock() - turn.began
        self._seconds += seconds
        if turn.retry and stays:
            self._vain_seconds += seconds
        else:
            self._vain -= turn.retry
        behind = self._behind.pop(turn.group, [])
        if stays:
            self._closed.add(turn.group)
        elif behind:
            self._put(turn.group, behind)

    def _put(self, group: str, messages: list[QueueMessage]) -> None:
        if group in self._new:
            self._new[group] += messages
        elif group in self._retries:
            self._retries[group] += messages
        elif messages[0].receives <= 1:
            self._new[group] = messages
        else:
            self._retries[group] = messages
            rank = (self._has_failed(group), messages[0].receives, next(self._numbers), group)
            heapq.heappush(self._ranks, rank)
            self._drawn.append(group)

    def _next_retry(self) -> str:
        """Return a waiting retry: the first by rank, and every other time any of them."""
        self._by_chance, by_chance = not self._by_chance, self._by_chance
        while True:
            if by_chance:
                at = int(self._chance() * len(self._drawn))
                self._drawn[at], self._drawn[-1] = self._drawn[-1], self._drawn[at]
                group = self._drawn.pop()
            else:
                group = heapq.heappop(self._ranks)[-1]
            if group in self._retries:
                return group

    def _may_retry(self) -> bool:
        in_share = _SHARE * (self._vain + 1) <= self._turns + 1
        return in_share and self._left > self._stock() and self._in_time()

    def _stock(self) -> int:
        return sum(len(messages) for messages in self._new.values())

    def _in_time(self) -> bool:
        """Whether retries that failed or are in flight took at most their share of the time."""
        now, vain, seconds = self._clock(), self._vain_seconds, self._seconds
        for turn in self._in_flight.values():
            seconds += now - turn.began
            vain += (now - turn.began) * turn.retry
        return _SHARE * vain <= seconds
