"""The breaker: after so many transient failures in a row, of different groups, the API is called no more.

Closed, every call is made. Open, none is, until a pause is over. Then one call is let through, the probe: its
success closes the breaker, its failure opens it again for twice the pause, up to the longest. A breaker lasts
as long as the execution environment, and counts over all APIs.

A few groups whose heads always fail must not stop the others. So a group that failed and was not delivered
since then is a worse probe than one that was not tried, and where others succeeded after its failure, further
failures of it say nothing about the API and do not count.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

# Of more groups than this that fail while others are delivered, the breaker forgets those that failed first.
_STUCK_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Opened:
    """The breaker opened: after ``failures`` groups in a row, for ``pause`` seconds."""

    failures: int
    pause: float


class Breaker:
    """Counts failures, and says which calls may be made; safe to share between threads.

    ``limit`` is how many failures open it, 0: it never opens. ``first`` and ``longest`` are its pauses, in
    seconds. For every call that ``admits`` lets through, the caller reports ``succeeded``, ``failed``, or
    ``passed_over`` where the call said nothing about the API.
    """

    def __init__(
        self, limit: int, *, first: float, longest: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._first = first
        self._longest = longest
        self._clock = clock
        self._changed = threading.Condition()
        self._row: dict[str, None] = {}  # the groups that failed since the last success
        self._stuck: dict[str, None] = {}  # those that failed before it, and were not delivered since
        self._pause = 0.0  # seconds; 0: closed
        self._until = 0.0  # when the probe may be made
        self._untried_until = 0.0  # until then the probe is kept for groups that were not tried
        self._probe: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether the last calls failed: only a probe is let through, if anything."""
        with self._changed:
            return self._pause > 0

    def begin_run(self) -> None:
        """Let the probe of a run through at once: on a schedule, the time between runs was the pause."""
        with self._changed:
            self._until = self._untried_until = self._clock()

    def has_failed(self, group: str) -> bool:
        """Whether a group failed and was not delivered since, as far as is known here: it goes last."""
        with self._changed:
            return group in self._row or group in self._stuck

    def admits(self, group: str) -> bool:
        """Whether the head of ``group`` may be delivered now; while there is a probe, wait for its end."""
        with self._changed:
            self._changed.wait_for(lambda: self._probe is None)
            if not self._pause:
                return True
            if self._pause_left(group) > 0:
                if not (group in self._row or group in self._stuck):
                    opened_at = self._until - self._pause
                    self._untried_until = min(self._until + self._first, opened_at + self._longest)
                return False
            self._probe = group
            return True

    def pause_left(self, group: str) -> float:
        """Return in how many seconds ``group`` may be the probe; 0 if it may be called now."""
        with self._changed:
            return self._pause_left(group)

    def succeeded(self, group: str) -> bool:
        """Note an answer that shows that the API works; True if it closed the breaker."""
        with self._changed:
            was_open, self._pause = self._pause > 0, 0.0
            for failed in self._row:
                self._note_stuck(failed)
            self._row.clear()
            self._stuck.pop(group, None)
            self._end_probe(group)
            return was_open

    def failed(self, group: str, *, retry_after: float | None = None) -> Opened | None:
        """Note a transient failure of the API; says so if it opened the breaker, or its probe failed.

        ``retry_after`` is what the API asked for, in seconds: the pause is that long, up to the longest.
        """
        with self._changed:
            if group in self._stuck:
                self._note_stuck(group)
            else:
                self._row[group] = None
            was_probe = self._probe == group
            self._end_probe(group)
            if was_probe:
                pause = 2 * self._pause
            elif self._limit and not self._pause and len(self._row) >= self._limit:
                pause = self._first
            else:
                return None
            self._pause = min(self._longest, max(pause, retry_after or 0.0))
            self._until = self._untried_until = self._clock() + self._pause
            return Opened(len(self._row), self._pause)

    def passed_over(self, group: str) -> None:
        """Note that the call to be made for ``group`` says nothing: another may be the probe."""
        with self._changed:
            self._end_probe(group)

    def _pause_left(self, group: str) -> float:
        if not self._pause:
            return 0.0
        tried = group in self._row or group in self._stuck
        return max(0.0, (self._untried_until if tried else self._until) - self._clock())

    def _note_stuck(self, group: str) -> None:
        self._stuck.pop(group, None)
        self._stuck[group] = None
        if len(self._stuck) > _STUCK_MAX:
            del self._stuck[next(iter(self._stuck))]

    def _end_probe(self, group: str) -> None:
        if self._probe == group:
            self._probe = None
            self._changed.notify_all()
