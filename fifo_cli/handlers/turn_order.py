"""Which group of a run has the next turn: the oldest new head, as long as nothing fails.

Groups may be stuck. Where many are, they stand in front, and a run that took them in the order of the queue
would reach no other group:

- Once a call failed, not every turn is the oldest head's: it may be the newest one's, or any. After two
  failures in a row the run also looks at four times as many groups as it may call. So several failures in a
  row say something of the API, and not only of what stands in front.
- A head that was received before may be stuck. Such heads are held while the run looks for new ones. As long
  as there are new ones, those that fail again get at most a third of the turns and of the time.

A receive does not prove a failure: a look counts as one, and so does a run that was killed. So every head has
its turn in the end: those that were received least as a rule, and now and then any of them.
"""

from __future__ import annotations

import itertools
import random
import time
from bisect import bisect, insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from .breaker import Breaker
from .limits import RECEIVE_MAX
from .visibility import QueueMessage

# One of so many turns is for a head that was received before, while there are new ones.
_SHARE: Final = 3
# After so many failures in a row a run looks at so many groups for each of its turns.
_DOUBTFUL: Final = 2
_LOOK_SHARE: Final = 4
# So many turns are reckoned with at least, and where their number has no limit.
_TURNS_MIN: Final = 10
_TURNS_ANY: Final = 25
_LAST: Final = float("inf")


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

    ``count`` is how many messages may have a turn, None: any number. The ``breaker`` knows which groups
    failed. ``chance`` gives numbers from 0 to 1.
    """

    def __init__(
        self,
        count: int | None,
        breaker: Breaker,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._left = float("inf") if count is None else count
        # Of a count below three, a retry has its place in some runs only.
        self._retries_kept = 0 if count is None else count // _SHARE or int(chance() < count / _SHARE)
        self._look_at = _LOOK_SHARE * (_TURNS_ANY if count is None else max(_TURNS_MIN, count))
        self._breaker = breaker
        self._clock = clock
        self._chance = chance
        self._waiting: dict[str, list[QueueMessage]] = {}
        # Their ranks, the first one first: failed before, receives, a number in the order of receipt, group.
        self._ranks: list[tuple[bool, int, float, str]] = []
        self._numbers = itertools.count()
        self._stock = 0  # messages that wait with a new head
        self._in_flight: dict[str, Turn] = {}
        self._behind: dict[str, list[QueueMessage]] = {}  # what their group in flight has beside its turn
        self._closed: set[str] = set()
        self.proven = False  # whether a call of this run succeeded
        # Until then so many are made at a time: half of what opens the breaker.
        self._unproven = max(1, breaker.limit // 2) if breaker.limit else _LAST
        self._failed = False  # whether a head failed
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
        return bisect(self._ranks, (False, 1, _LAST, ""))

    @property
    def groups(self) -> int:
        """How many groups are being delivered, or wait."""
        return len(self._in_flight) + len(self._ranks)

    @property
    def waiting(self) -> bool:
        """Whether a group waits for its turn, and may have it."""
        return self._left >= 1 and bool(self._ranks)

    @property
    def looks_further(self) -> bool:
        """Whether to see more groups before the next turn, as calls fail."""
        return self._breaker.failures >= _DOUBTFUL and self.groups + len(self._closed) < self._look_at

    def unserved(self) -> list[QueueMessage]:
        """Return the messages with new heads that were received for a turn and had none."""
        messages = (one for rank in self._ranks[: self.ready] for one in self._waiting[rank[-1]])
        return [one for number, one in enumerate(messages) if number < self._left]

    def wanted(self) -> int:
        """Return how many messages to receive in the next call: what may have a turn, and is not here yet.

        Past heads that were received before a search goes in full steps.
        """
        if self._left >= 1 and self.looks_further:
            return RECEIVE_MAX
        retries = len(self._ranks) - self.ready
        kept = min(retries, max(0, self._retries_kept - self._vain)) if self._in_time() else 0
        places = max(0, self._left - self._stock - kept)
        past_retries = bool(retries and not self.ready)
        return RECEIVE_MAX if places and past_retries else int(min(RECEIVE_MAX, places))

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
        """Return the next turn; ``searching``: more groups may be received in a moment."""
        if not self.waiting or (searching and self.looks_further):
            return None
        if not self.proven and len(self._in_flight) >= self._unproven:
            return None
        new, end = self.ready, len(self._ranks)
        retry = new < end and self._may_retry()
        if not (retry or new):
            if searching:
                return None
            retry = True
        group = self._ranks.pop(self._next(new, end) if retry else self._next(0, new))[-1]
        messages = self._waiting.pop(group)
        self._stock -= 0 if retry else len(messages)
        given = messages[: int(min(len(messages), self._left))]
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
            self._failed = True
            self._closed.add(turn.group)
        elif behind:
            self._put(turn.group, behind)

    def _put(self, group: str, messages: list[QueueMessage]) -> None:
        """Add messages to those of a group that is not in flight."""
        if (known := self._waiting.get(group)) is not None:
            known += messages
            self._stock += len(messages) if known[0].receives <= 1 else 0
            return
        self._waiting[group] = messages
        receives = messages[0].receives
        self._stock += len(messages) if receives <= 1 else 0
        failed = receives > 1 and self._breaker.has_failed(group)
        insort(self._ranks, (failed, receives, next(self._numbers), group))

    def _next(self, start: int, end: int) -> int:
        """Return the place of the next of these ranks.

        It is the first one. Where calls fail, it may also be the newest that is like it, or any.
        """
        ways = ["first", "newest", "any"]
        if self._breaker.failures:
            del ways[0]
        elif not (self._failed or len(self._ranks) > self.ready):
            return start
        match ways[int(self._chance() * len(ways))]:
            case "first":
                return start
            case "newest":
                return bisect(self._ranks, (*self._ranks[start][:2], _LAST, ""), start, end) - 1
            case _:
                return start + int(self._chance() * (end - start))

    def _may_retry(self) -> bool:
        return _SHARE * (self._vain + 1) <= self._turns + 1 and self._in_time()

    def _in_time(self) -> bool:
        """Whether retries that failed or are in flight took at most their share of the time."""
        now, vain, seconds = self._clock(), self._vain_seconds, self._seconds
        for turn in self._in_flight.values():
            seconds += now - turn.began
            vain += (now - turn.began) * turn.retry
        return _SHARE * vain <= seconds
