"""What ``watch`` shows: what was measured and logged so far, added to sample by sample."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from fifo_cli.model.advice import Snapshot, advise
from fifo_cli.model.health import Measurements, Problem
from fifo_cli.model.worker_log import Stuck, StuckGroups, WatchEvent, follow

POINTS_KEPT: Final = 600
EVENTS_KEPT: Final = 200
# Log lines come late and in bursts: a rate is taken over so long.
RATE_SPAN: Final = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class Sample:
    """What was found at one moment; ``next_run`` and ``logs_unseen`` are None and "" if nothing was found.

    ``snapshot`` is what else is known, ``before`` are the heads that were stuck before the first event.
    """

    at: datetime
    measured: Measurements
    snapshot: Snapshot | None = None
    before: tuple[Stuck, ...] = ()
    events: tuple[WatchEvent, ...] = ()
    next_run: datetime | None = None
    estimated: bool = False
    logs_unseen: str = ""


@dataclass(frozen=True, slots=True)
class Lost:
    """AWS does not answer since ``since``; it is asked again at ``again``."""

    since: datetime
    again: datetime
    reason: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """Depths at one moment, and what entered and left since the point before."""

    at: datetime
    main: int | None
    dlq: int | None
    entered: int = 0
    left: int = 0


@dataclass(frozen=True, slots=True)
class WatchState:
    """All that is shown; ``question`` is asked of the user, ``notice`` shown."""

    pipeline: str
    place: str = ""
    interval: float = 2.0
    since: datetime | None = None
    sample: Sample | None = None
    lost: Lost | None = None
    points: tuple[Point, ...] = ()
    recent: tuple[WatchEvent, ...] = ()
    statuses: Mapping[str, int] = field(default_factory=dict)
    groups: StuckGroups = StuckGroups()  # noqa: RUF009 - frozen
    question: str = ""
    notice: str = ""

    @property
    def stuck(self) -> tuple[Stuck, ...]:
        """The heads that do not move."""
        return self.groups.stuck

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong as of the last sample, the worst first."""
        snapshot = self.sample.snapshot if self.sample else None
        if snapshot is None or self.sample is None:
            return ()
        runs = replace(snapshot.runs, stuck=self.stuck)
        return advise(replace(snapshot, measured=self.sample.measured, now=self.sample.at, runs=runs))

    def rate(self, what: Literal["entered", "left"]) -> float | None:
        """Return messages a second over the last points; None before there are two."""
        if len(self.points) < 2:
            return None
        end = self.points[-1].at
        start = max((point for point in self.points if point.at <= end - RATE_SPAN),
                    key=lambda point: point.at, default=self.points[0])  # fmt: skip
        total = sum(getattr(point, what) for point in self.points if point.at > start.at)
        seconds = (end - start.at).total_seconds()
        return float(total) / seconds if seconds > 0 else None


def seen(dashboard: WatchState, sample: Sample) -> WatchState:
    """Return the dashboard with one more sample; what was lost is found again."""
    first = dashboard.sample is None
    # What was logged before the watch began happened over minutes, not at its first moment.
    counted: Iterable[WatchEvent] = () if first else sample.events
    point = Point(
        sample.at,
        sample.measured.total("main"),
        sample.measured.total("dlq"),
        entered=sum(one.fate == "enqueued" for one in counted),
        left=sum(one.fate in ("delivered", "parked") for one in counted),
    )
    shown = [one for one in sample.events if one.fate in ("delivered", "parked", "failed")]
    groups = dashboard.groups
    if first:
        groups = replace(groups, heads={one.group: one for one in sample.before})
    groups = follow(groups, sample.events)
    return replace(
        dashboard,
        sample=sample,
        lost=None,
        points=(*dashboard.points, point)[-POINTS_KEPT:],
        recent=(*dashboard.recent, *shown)[-EVENTS_KEPT:],
        statuses=_statuses(dashboard.statuses, shown),
        groups=groups if sample.measured.total("main") != 0 else replace(groups, heads={}),
    )


def lost(dashboard: WatchState, failure: Lost) -> WatchState:
    """Return the dashboard after a failure, which began with the first in a row."""
    since = dashboard.lost.since if dashboard.lost else failure.since
    return replace(dashboard, lost=replace(failure, since=since))


def _statuses(before: Mapping[str, int], events: Iterable[WatchEvent]) -> dict[str, int]:
    counts = dict(before)
    for one in events:
        if one.answer:
            counts[one.answer] = counts.get(one.answer, 0) + 1
    return dict(sorted(counts.items()))
