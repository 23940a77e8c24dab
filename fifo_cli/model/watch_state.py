"""What ``watch`` shows: what was measured and logged so far, added to sample by sample."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from fifo_cli.model.health import Measurements, Problem, by_badness, waiting

POINTS_KEPT: Final = 600
EVENTS_KEPT: Final = 200
# Log lines come late and in bursts: a rate is taken over so long.
RATE_SPAN: Final = timedelta(seconds=20)

Fate = Literal["enqueued", "delivered", "parked", "failed", "run ended"]


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One line of a function's log about a message, or about a run."""

    time: datetime
    fate: Fate
    group: str = ""
    message_id: str = ""
    item_key: str = ""
    http_status: int | None = None
    receives: int | None = None
    elapsed_ms: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was found at one moment; ``next_run`` and ``logs_unseen`` are None and "" if there is no such."""

    at: datetime
    measured: Measurements
    problems: tuple[Problem, ...] = ()
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
    stuck: Mapping[str, WatchEvent] = field(default_factory=dict)
    run_ended: datetime | None = None
    question: str = ""
    notice: str = ""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What the last sample reported, and the heads that do not move, the worst first."""
        heads = sorted(self.stuck.values(), key=lambda one: one.time)
        stuck = [waiting(one.group, one.reason, more=len(heads) - 1) for one in heads[:1]]
        return by_badness([*(self.sample.problems if self.sample else ()), *stuck])

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
    stuck, ended = _stuck(dashboard.stuck, dashboard.run_ended, sample.events)
    return replace(
        dashboard,
        sample=sample,
        lost=None,
        points=(*dashboard.points, point)[-POINTS_KEPT:],
        recent=(*dashboard.recent, *shown)[-EVENTS_KEPT:],
        statuses=_statuses(dashboard.statuses, shown),
        stuck=stuck if sample.measured.total("main") != 0 else {},
        run_ended=ended,
    )


def lost(dashboard: WatchState, failure: Lost) -> WatchState:
    """Return the dashboard after a failure, which began with the first in a row."""
    since = dashboard.lost.since if dashboard.lost else failure.since
    return replace(dashboard, lost=replace(failure, since=since))


def _statuses(before: Mapping[str, int], events: Iterable[WatchEvent]) -> dict[str, int]:
    counts = dict(before)
    for one in events:
        key = str(one.http_status) if one.http_status else "no answer"
        counts[key] = counts.get(key, 0) + 1
    return dict(sorted(counts.items()))


def _stuck(
    before: Mapping[str, WatchEvent], ended: datetime | None, events: Iterable[WatchEvent]
) -> tuple[dict[str, WatchEvent], datetime | None]:
    """Follow the head of each group that failed, until it is delivered or parked; return when a run ended.

    A failure closes its group for the run, so the last one that failed is the head. One that a whole run did
    not meet again has gone by other ways: moved, parked by hand, or purged.
    """
    heads = dict(before)
    for one in events:
        if one.fate == "run ended":
            since = ended
            heads = {group: head for group, head in heads.items() if since is None or head.time > since}
            ended = one.time
        elif one.fate == "failed":
            heads[one.group] = one
        elif one.group in heads and heads[one.group].message_id == one.message_id:
            del heads[one.group]
    return heads, ended
