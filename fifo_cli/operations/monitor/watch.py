"""watch: sample a pipeline again and again, through lost connections and expired credentials."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from fifo_cli.aws.retries import growing_pause
from fifo_cli.errors import FifoError
from fifo_cli.model.drift import Drift
from fifo_cli.model.drift_advice import drift_problems
from fifo_cli.model.next_runs import NextRuns, reckon_next_runs
from fifo_cli.model.watch_state import Lost, Sample
from fifo_cli.model.worker_log import Stuck, WatchEvent
from fifo_cli.operations.monitor.activity import activity_questions, lateness, snapshot_of
from fifo_cli.operations.monitor.assessment import DRIFT
from fifo_cli.operations.monitor.logs import FunctionLogs
from fifo_cli.operations.monitor.measure import (
    Triggers,
    depth_questions,
    measurements_of,
    slow_questions,
    triggers_of,
)
from fifo_cli.operations.monitor.operator_moves import operator_moves
from fifo_cli.operations.monitor.poll_backoff import LONGEST_PAUSE
from fifo_cli.operations.monitor.worker_runs import events_of, is_by_hand, last_runs
from fifo_cli.operations.parallel import Gathered, read_all

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.settings import Settings

# Metrics are a minute old anyway, and CloudWatch charges for each that is asked for.
SLOW_PERIOD: Final = timedelta(seconds=30)
# What differs from fifo.toml takes some fifty calls.
DRIFT_PERIOD: Final = timedelta(minutes=1)
LOOKED_BACK: Final = timedelta(minutes=15)
LIMIT_SECONDS: Final = 20.0
_MOVES: Final = "what operators moved"


class Sampler:
    """Takes samples; ``connect`` makes new clients, with the credentials of that moment.

    ``compare`` says how AWS differs from fifo.toml; without it, that is not looked at.
    """

    def __init__(
        self,
        connect: Callable[[], Aws],
        settings: Settings,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        with_logs: bool = True,
        compare: Callable[[Aws], Drift] | None = None,
    ) -> None:
        self._connect = connect
        self._settings = settings
        self._names = settings.names
        self._triggers = Triggers(settings)
        self._compare = compare
        self._drift = Drift(())
        self._compared_at: datetime | None = None
        self._now = now
        self._with_logs = with_logs
        self._logged = now() - LOOKED_BACK
        self._aws: Aws | None = None
        self._log_reader: FunctionLogs | None = None
        self._slow = Gathered()
        self._work = Gathered()
        self._slow_at: datetime | None = None
        self._last_run: datetime | None = None

    def sample(self) -> Sample:
        """Take one sample; raises what AWS answered if it shows no depth at all, and forgets the clients."""
        try:
            return self._sample()
        except BaseException:
            # A profile's or the environment's credentials may be new by the next time.
            self._aws = self._log_reader = None
            self._slow_at = None
            raise

    def _sample(self) -> Sample:
        aws = self._aws = self._aws or self._connect()
        now = self._now()
        fast = read_all(depth_questions(aws, self._names), limit=LIMIT_SECONDS)
        if not fast.answers:
            raise next(iter(fast.failures.values()))
        if self._slow_at is None or now - self._slow_at >= SLOW_PERIOD:
            self._ask_slowly(aws, now)
        both = Gathered({**self._slow.answers, **fast.answers}, {**self._slow.failures, **fast.failures})
        settings = self._triggers.settings
        measured = measurements_of(both, self._triggers, self._names)
        measured = replace(measured, started_by=self._drift.started_by)
        snapshot = snapshot_of(
            measured,
            self._work,
            settings,
            settings.check,
            now=now,
            late=lateness(aws),
            others=drift_problems(self._drift, measured, self._settings, settings),
        )
        before = self._stuck_before(aws)
        events, unseen = self._events(aws)
        runs = NextRuns()
        if measured.worker == "running" and not settings.worker.by_queue:
            runs = reckon_next_runs(settings, self._last_run, now=now, count=1)
        return Sample(
            at=now,
            measured=measured,
            snapshot=snapshot,
            before=before,
            # What was moved is the same again and again, and gone already.
            events=(*events, *self._work.get(_MOVES, ())),
            next_run=runs.times[0] if runs.times and not runs.unknown else None,
            estimated=runs.estimated,
            logs_unseen=unseen,
        )

    def _ask_slowly(self, aws: Aws, now: datetime) -> None:
        """Ask for metrics and switches, for what the logs show of the work, and now and then for drift."""
        numbers = slow_questions(aws, self._settings, self._names, now)
        self._slow = read_all(numbers, limit=LIMIT_SECONDS)
        self._triggers = triggers_of(aws, self._slow, self._settings, self._names)
        work: dict[str, Callable[[], Any]] = {}
        if self._with_logs:
            settings = self._triggers.settings
            work = activity_questions(aws, settings, settings.check, self._names, now=now)
            work[_MOVES] = partial(operator_moves, aws, self._names, since=now - LOOKED_BACK)
        due = self._compared_at is None or now - self._compared_at >= DRIFT_PERIOD
        if self._compare is not None and due:
            work[DRIFT] = partial(self._compare, aws)
            self._compared_at = now
        self._work = read_all(work, limit=LIMIT_SECONDS)
        self._drift = self._work.get(DRIFT, self._drift)
        self._slow_at = now

    def refresh(self) -> None:
        """Ask for everything at the next sample, as something was just switched."""
        self._slow_at = None

    def _stuck_before(self, aws: Aws) -> tuple[Stuck, ...]:
        """Return what was stuck before the first line that is read; nothing at later samples."""
        if not self._with_logs or self._log_reader is not None:
            return ()
        try:
            ages = max(self._settings.check.age)
            polled = self._triggers.settings.worker.by_queue
            return last_runs(aws, self._names, now=self._logged, ages=ages, by_queue=polled).stuck
        except FifoError:
            return ()

    def _events(self, aws: Aws) -> tuple[tuple[WatchEvent, ...], str]:
        """Return what was logged since the last time; why not, if the log may not be read."""
        if not self._with_logs:
            return (), ""
        if self._log_reader is None:
            self._log_reader = FunctionLogs(aws, self._names, since=self._logged)
        try:
            found = list(self._log_reader.poll())
        except FifoError as error:
            return (), error.message
        if found:
            self._logged = max(self._logged, max(line.time for line in found) + timedelta(milliseconds=1))
        ended = [line.time for line in found if line.message == "run ended" and not is_by_hand(line)]
        self._last_run = max([*ended, *([self._last_run] if self._last_run else [])], default=None)
        return events_of(found), ""


def keep_sampling(
    sampler: Sampler,
    put: Callable[[Sample | Lost], None],
    *,
    interval: float,
    stop: threading.Event,
    wait: Callable[[float], object] | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Sample until ``stop`` is set; after a failure wait longer and longer, half a minute at most."""
    failures = 0
    pause = wait or stop.wait
    while not stop.is_set():
        try:
            put(sampler.sample())
        except FifoError as error:
            failures += 1
            seconds = growing_pause(failures + 1, interval, LONGEST_PAUSE)
            put(Lost(now(), now() + timedelta(seconds=seconds), error.message, error.hint))
            pause(seconds)
        else:
            failures = 0
            pause(interval)
