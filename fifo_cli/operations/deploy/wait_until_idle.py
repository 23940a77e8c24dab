"""Waiting until a paused function is idle: nothing starts any more, and what was started has ended."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from fifo_cli.aws.resources.gateway import LONGEST_PAUSE, Pending, TimedOut, Waiter
from fifo_cli.events import Noted, Warned
from fifo_cli.invocation import command_line
from fifo_cli.model.worker_trigger import MAPPING, longest_pause

if TYPE_CHECKING:
    from fifo_cli.aws.consistency import ConsistencyDelays
    from fifo_cli.model.names import Names
    from fifo_cli.model.resources import Found
    from fifo_cli.model.settings import Settings
    from fifo_cli.operations.deploy.remote_state import Gateways


@dataclass(frozen=True, slots=True)
class RunTimes:
    """How long a run of the worker takes at most, and how long messages stay hidden after it."""

    timeout: timedelta
    hidden: timedelta

    @classmethod
    def of(cls, settings: Settings) -> RunTimes:
        """Return the times of a pipeline that is deployed as its fifo.toml says."""
        return cls(settings.functions.timeout, longest_pause(settings))


def wait_for_enqueuer(
    gates: Gateways, mapping: Found, timeout: timedelta, waiter: Waiter, delays: ConsistencyDelays
) -> None:
    """Wait until the mapping is disabled, and its last invocation has had its time.

    No document says that a mapping is called Disabled only when its last invocation is over.
    """
    gates.mappings.wait_settled(mapping)
    longest = timeout.total_seconds() if delays.last_run else 0
    ends = waiter.clock() + longest

    def attempt() -> Pending | None:
        if waiter.clock() >= ends:
            return None
        return Pending(f"ending its last invocation, {longest:.0f} s at most")

    waiter.until(attempt, name=mapping.name, limit=longest + 2 * LONGEST_PAUSE)


def wait_for_worker(
    gates: Gateways,
    names: Names,
    triggers: Collection[Found],
    times: RunTimes,
    waiter: Waiter,
    delays: ConsistencyDelays,
    *,
    since: float,
    until_visible: bool = False,
) -> bool:
    """Wait until no run can start any more and the last one has ended; False if that takes too long.

    ``since`` is when the ``triggers`` were disabled, by the waiter's clock. Of runs on a schedule, no more
    messages in flight show the end. Where the queue starts them, a group that failed stays in flight until
    its pause is over: it is not waited for, unless all is to be ``until_visible``.
    """
    mappings = [one for one in triggers if one.kind == MAPPING]
    for one in mappings:
        gates.mappings.wait_settled(one)
    scheduled = len(mappings) < len(triggers)
    watch = _IdleWatch(
        starts_until=since + (delays.last_run if scheduled else 0),
        ends=None if scheduled or until_visible else waiter.clock() + _ending(times, delays),
        counts=delays.queue_counts,
    )

    def attempt() -> Pending | None:
        return watch.look(gates.queues.in_flight(names.main), waiter.clock())

    # Counts are late twice: they show for so long what has ended, and then have to show nothing for so long.
    longest = (times.timeout + times.hidden).total_seconds()
    limit = longest + delays.last_run + 2 * (delays.queue_counts + LONGEST_PAUSE)
    try:
        waiter.until(attempt, name=names.function("worker"), limit=limit)
    except TimedOut:
        late = f"{names.main} still has messages in flight after {limit:.0f} s"
        if mappings:
            late = f"{late}, as an API may have asked for a longer pause (Retry-After)"
        waiter.listener(Warned(f"{late}; look with {command_line('status' if mappings else 'depth')}"))
        return False
    if watch.empty_since is None:
        text = f"the last run has ended; some messages of {names.main} are hidden until their group's pause"
        waiter.listener(Noted(f"{text} is over"))
    return True


def _ending(times: RunTimes, delays: ConsistencyDelays) -> float:
    """Return within how many seconds the last invocation of a disabled mapping has ended.

    What its poller has read it may still hand over, a moment later: no document says how long.
    """
    return times.timeout.total_seconds() + delays.queue_counts


@dataclass(slots=True)
class _IdleWatch:
    """What SQS's counts show of a worker that is paused; times are the waiter's clock, in seconds.

    Until ``starts_until`` a run may start, at ``ends`` the last one has ended. The counts are late by
    ``counts``.
    """

    starts_until: float
    ends: float | None
    counts: float
    empty_since: float | None = None

    def look(self, in_flight: int, now: float) -> Pending | None:
        if in_flight:
            self.empty_since = None
            over = self.ends is not None and now >= self.ends
            return None if over else Pending("delivering what it has received")
        self.empty_since = now if self.empty_since is None else self.empty_since
        if now < self.starts_until:
            return Pending(
                "started for the last time: a disabled rule may still fire, and its run start later,"
                f" {self.starts_until - self.empty_since:.0f} s at most"
            )
        # Of a run that started last, the counts may know nothing for so long.
        if now < max(self.empty_since, self.starts_until) + self.counts:
            return Pending(f"seen at rest for {self.counts:.0f} s: so late may SQS's counts be")
        return None
