"""The breaker: after so many transient failures in a row, of different groups, the API is called no more.

Closed, every call is made. Open, none is, until a pause is over. Then one call is let through, the probe: its
success closes the breaker, its failure opens it again. Once a few rows have failed, each pause is twice the
one before, up to the longest. A breaker lasts as long as the execution environment, and counts over all APIs.

A few groups whose heads always fail must not stop the others:

- Once there was a success, a failure that is not news does not count: of a group that failed before that
  success, or of a head that was received before, as after a failure elsewhere. Only many of them, of
  different groups in a row, open the breaker all the same.
- The better probe goes first: a head that was never received before, when the first pause is over, however
  long the present one is; then a group that was not tried; and only when these had their time, one that
  failed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

# Of more groups than this that fail, the breaker forgets those that failed first.
_NAMES_MAX: Final = 200
# So many times the limit are failures enough, news or not: they open the breaker, and an open one begins to
# double its pauses. Before, what always fails may just be in front of all others.
_ROWS: Final = 8


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
        self.limit = limit
        self._rows_of_probes = (_ROWS - 1) * limit  # the first row is the one that opened it
        self._first = first
        self._longest = longest
        self._clock = clock
        self._changed = threading.Condition()
        self._row: dict[str, bool] = {}  # the groups that failed since the last success; True: that was news
        self._succeeded = False
        self._stuck: dict[str, None] = {}  # those that failed before it, and were not delivered since
        self._pause = 0.0  # seconds; 0: closed
        self._new_until = 0.0  # when the probe may be made by a head that was never received before,
        self._until = 0.0  # by another one,
        self._tried_until = 0.0  # and by one that failed
        self._probe: str | None = None
        self._probes_failed = 0  # since the last success

    @property
    def is_open(self) -> bool:
        """Whether the last calls failed: only a probe is let through, if anything."""
        with self._changed:
            return self._pause > 0

    @property
    def is_young(self) -> bool:
        """Whether it opened a short while ago, after few failures: its pauses are not doubled yet."""
        with self._changed:
            return self._pause > 0 and self._probes_failed < self._rows_of_probes

    @property
    def failures(self) -> int:
        """Of how many groups a call failed since the last success."""
        return len(self._row)

    def begin_run(self) -> None:
        """Let the probe of a run through at once: on a schedule, the time between runs was the pause."""
        with self._changed:
            self._new_until = self._until = self._tried_until = self._clock()

    def has_failed(self, group: str) -> bool:
        """Whether a group failed and was not delivered since, as far as is known here: it goes last."""
        with self._changed:
            return group in self._row or group in self._stuck

    def admits(self, group: str, *, new: bool = False) -> bool:
        """Whether the head of ``group`` may be delivered now; while there is a probe, wait for its end.

        ``new``: it was never received before.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._probe is None)
            if not self._pause:
                return True
            if self._pause_left(group, new) > 0:
                if not (group in self._row or group in self._stuck):
                    opened_at = self._until - self._pause
                    self._tried_until = min(self._until + self._first, opened_at + self._longest)
                return False
            self._probe = group
            return True

    def pause_left(self, group: str, *, new: bool = False) -> float:
        """Return in how many seconds ``group`` may be the probe; 0 if it may be called now."""
        with self._changed:
            return self._pause_left(group, new)

    def succeeded(self, group: str) -> bool:
        """Note an answer that shows that the API works; True if it closed the breaker."""
        with self._changed:
            was_open, self._pause = self._pause > 0, 0.0
            self._succeeded, self._probes_failed = True, 0
            for failed in self._row:
                self._stuck.pop(failed, None)
                self._stuck[failed] = None
            while len(self._stuck) > _NAMES_MAX:
                del self._stuck[next(iter(self._stuck))]
            self._row.clear()
            self._stuck.pop(group, None)
            self._end_probe(group)
            return was_open

    def failed(self, group: str, *, new: bool = True, retry_after: float | None = None) -> Opened | None:
        """Note a transient failure of the API; says so if it opened the breaker, or its probe failed.

        ``new``: the head was never received before. ``retry_after`` is what the API asked for, in seconds:
        the pause is that long, up to the longest.
        """
        with self._changed:
            news = not self._succeeded or (new and group not in self._stuck)
            self._row[group] = self._row.get(group, False) or news
            if len(self._row) > max(_NAMES_MAX, _ROWS * self.limit):
                del self._row[next(iter(self._row))]
            was_probe = self._probe == group
            self._end_probe(group)
            if was_probe:
                self._probes_failed += 1
                pause = self._pause if self._probes_failed < self._rows_of_probes else 2 * self._pause
            elif not self._pause and self._is_over_limit():
                pause = self._first
            else:
                return None
            self._pause = min(self._longest, max(pause, retry_after or 0.0))
            self._new_until = self._clock() + self._first
            self._until = self._tried_until = self._clock() + self._pause
            return Opened(len(self._row), self._pause)

    def passed_over(self, group: str) -> None:
        """Note that the call to be made for ``group`` says nothing: another may be the probe."""
        with self._changed:
            self._end_probe(group)

    def _pause_left(self, group: str, new: bool) -> float:
        if not self._pause:
            return 0.0
        tried = group in self._row or group in self._stuck
        until = self._new_until if new else self._tried_until if tried else self._until
        return max(0.0, until - self._clock())

    def _is_over_limit(self) -> bool:
        news = sum(self._row.values())
        return bool(self.limit) and (news >= self.limit or len(self._row) >= _ROWS * self.limit)

    def _end_probe(self, group: str) -> None:
        if self._probe == group:
            self._probe = None
            self._changed.notify_all()
