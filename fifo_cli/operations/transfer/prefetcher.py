"""What a move has learned of its source: how many takes at a time it is good for, and if more is to be had.

While we hold some of a group, SQS gives nothing more of it (SQS Developer Guide, "FIFO queue delivery
logic"): what is let go makes more of its group available, a moment later.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence, Set
from typing import Final

from fifo_cli.model.message import ReceivedMessage
from fifo_cli.operations.transfer.result import MoveOptions
from fifo_cli.operations.transfer.steps import Receive

# A take that is sent before what it asks for is free costs a request if it comes too early: it has to pay.
# Each that gives something earns one, each other costs two; where they never pay, one in forty is tried.
AHEAD_CREDIT: Final = 4
_EARNED_BEHIND: Final = 1 / 20


class Prefetcher:
    """``takes`` are under way, of ``coming`` messages at most; ``dry``: all else is behind what we hold."""

    def __init__(self, options: MoveOptions, *, groups_max: int) -> None:
        self.takes = 0
        self.coming = 0
        self.dry = False
        self._takes_max = min(options.workers, options.takes)
        self._groups_max = groups_max
        self._width = 1  # takes at a time: doubled by a full one, one again after an empty one
        self._ticks = itertools.count(1)
        self._free: dict[str, int] = {}  # groups of which we have let all go, and when
        self._groups_a_take = 1.0
        self._credit: float = AHEAD_CREDIT

    @property
    def prefetch_worthwhile(self) -> bool:
        """Whether takes that were sent ahead were worth it."""
        return self._credit >= 1

    def may_give(self, *, at_all: bool) -> bool:
        """Say whether another take would bring as many as they do; or anything, if nothing else is to do."""
        if self.takes >= self._width:
            return False
        if not self.dry:
            return True
        free = len(self._free) - self.takes * self._groups_a_take
        return free >= self._groups_a_take or (at_all and free > 0)

    def ask(self, count: int, *, wait: bool, ahead: bool) -> Receive:
        """Begin a take."""
        self.takes += 1
        self.coming += count
        return Receive(count, wait=wait, started=next(self._ticks), ahead=ahead)

    def failed(self, act: Receive) -> None:
        """Account for a take that told nothing."""
        self.takes -= 1
        self.coming -= act.count

    def gave(self, act: Receive, batch: Sequence[ReceivedMessage], held: Set[str]) -> None:
        """Learn from what a take gave; ``held`` are the groups of which we have some already."""
        self.failed(act)
        if batch:
            self._credit = min(AHEAD_CREDIT, self._credit + (1 if act.ahead else _EARNED_BEHIND))
        elif act.ahead:
            self._credit -= 2
        if not batch:
            self._width = 1
            self.dry = True
            self._free = {group: tick for group, tick in self._free.items() if tick > act.started}
            return
        if len(batch) == act.count:
            self._width = min(self._takes_max, self._width * 2)
        groups = {one.message.group for one in batch}
        self._groups_a_take += (len(groups) - self._groups_a_take) / 4
        if not groups <= self._free.keys() | held:
            self.dry = False  # there is more than we thought
        for group in groups:
            self._free.pop(group, None)

    def let_go(self, group: str) -> None:
        """Note that we hold nothing of a group any more."""
        self._free[group] = next(self._ticks)
        if not self.dry and len(self._free) > self._groups_max:
            self._free.clear()  # it only matters when it is dry
