"""How many receives at a time a source is worth, and whether to receive ahead; learned from what it gave.

While messages of a group are in flight, SQS gives no more of that group (SQS Developer Guide, "FIFO queue
delivery logic"). A moment after they are deleted, more of the group becomes visible.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence, Set
from typing import Final

from fifo_cli.model.message import ReceivedMessage
from fifo_cli.operations.transfer.result import MoveOptions
from fifo_cli.operations.transfer.steps import Receive

# A receive ahead (sent before its messages are visible) wastes a request if it comes too early. Each that
# gives something earns one credit, each other costs two. Where they never pay, one in forty is still tried.
AHEAD_CREDIT: Final = 4
_EARNED_BEHIND: Final = 1 / 20


class Prefetcher:
    """``receives`` calls are under way, which may bring up to ``coming`` messages.

    ``source_drained``: a receive gave nothing, so what is left waits behind messages in flight here.
    """

    def __init__(self, options: MoveOptions, *, groups_max: int) -> None:
        self.receives = 0
        self.coming = 0
        self.source_drained = False
        self._receives_max = min(options.workers, options.receives)
        self._groups_max = groups_max
        self._width = 1  # receives at a time: doubled by a full one, back to one after an empty one
        self._ticks = itertools.count(1)
        self._free: dict[str, int] = {}  # groups with nothing in flight any more, and since when
        self._groups_per_receive = 1.0
        self._credit: float = AHEAD_CREDIT

    @property
    def prefetch_worthwhile(self) -> bool:
        """Whether receives ahead were worth it so far."""
        return self._credit >= 1

    def may_give(self, *, at_all: bool) -> bool:
        """Say whether another receive would bring as many as the others, or with ``at_all``, anything."""
        if self.receives >= self._width:
            return False
        if not self.source_drained:
            return True
        free = len(self._free) - self.receives * self._groups_per_receive
        return free >= self._groups_per_receive or (at_all and free > 0)

    def ask(self, count: int, *, wait: bool, ahead: bool) -> Receive:
        """Begin a receive."""
        self.receives += 1
        self.coming += count
        return Receive(count, wait=wait, started=next(self._ticks), ahead=ahead)

    def failed(self, action: Receive) -> None:
        """Account for a receive that failed."""
        self.receives -= 1
        self.coming -= action.count

    def gave(self, action: Receive, batch: Sequence[ReceivedMessage], held: Set[str]) -> None:
        """Learn from what a receive gave; ``held`` are the groups with messages in flight already."""
        self.failed(action)
        if batch:
            self._credit = min(AHEAD_CREDIT, self._credit + (1 if action.ahead else _EARNED_BEHIND))
        elif action.ahead:
            self._credit -= 2
        if not batch:
            self._width = 1
            self.source_drained = True
            self._free = {group: tick for group, tick in self._free.items() if tick > action.started}
            return
        if len(batch) == action.count:
            self._width = min(self._receives_max, self._width * 2)
        groups = {one.message.group for one in batch}
        self._groups_per_receive += (len(groups) - self._groups_per_receive) / 4
        if not groups <= self._free.keys() | held:
            self.source_drained = False  # there is more than we thought
        for group in groups:
            self._free.pop(group, None)

    def group_done(self, group: str) -> None:
        """Note that nothing of a group is in flight any more."""
        self._free[group] = next(self._ticks)
        if not self.source_drained and len(self._free) > self._groups_max:
            self._free.clear()  # it only matters when the source is drained
