"""The one evaluation of a pipeline, which ``status`` and ``check`` share, so that their verdicts agree.

Numbers come first: what starts the worker decides how its log is read. Then come the logs, the keys, how AWS
differs from fifo.toml, and what commands did not end.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from fifo_cli.errors import NotDeployedError
from fifo_cli.model.advice import LATE, Snapshot, advise, unknown
from fifo_cli.model.drift import Drift
from fifo_cli.model.drift_advice import drift_problems
from fifo_cli.model.health import Measurements, Problem
from fifo_cli.model.history_events import OPERATION_TEXT
from fifo_cli.model.unfinished_operations import unfinished_problems
from fifo_cli.operations.history import history
from fifo_cli.operations.monitor.activity import PARKED, activity_questions, lateness, snapshot_of
from fifo_cli.operations.monitor.drift import drift
from fifo_cli.operations.monitor.measure import (
    Triggers,
    count_in,
    measurement_questions,
    measurements_of,
    queue_names,
    triggers_of,
)
from fifo_cli.operations.monitor.worker_runs import parked_reasons
from fifo_cli.operations.parallel import Gathered, read_all

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.history_events import Operation
    from fifo_cli.model.names import Names
    from fifo_cli.model.settings import Check, Project

DRIFT: Final = "how AWS differs from fifo.toml"
PLACE: Final = "the account"
HISTORY: Final = "the history"
_STARTS: Final = "what starts the worker"
# So long after it what an operator did is shown.
_LAST_CHANGE: Final = timedelta(hours=1)


@dataclass(frozen=True)
class Assessment:
    """All that was found of a pipeline at one moment, and what is wrong with it, the worst first.

    The settings of the snapshot are fifo.toml's, with what starts the worker in AWS.
    """

    snapshot: Snapshot
    drift: Drift
    changes: tuple[Operation, ...]
    problems: tuple[Problem, ...]
    others: Gathered


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for: of which fifo.toml, against which thresholds, when; ``patient`` as in Snapshot."""

    project: Project
    check: Check
    now: datetime
    late: timedelta = LATE
    patient: bool = False

    @property
    def names(self) -> Names:
        return self.project.settings.names


def assess(
    aws: Aws, project: Project, check: Check, *, now: datetime, limit: float, patient: bool = False
) -> Assessment:
    """Ask AWS for everything, in ``limit`` seconds in all, each thing once, and judge it.

    Raises NotDeployedError if nothing of the pipeline exists, and the first failure if nothing answers.
    """
    end = time.monotonic() + limit
    aws.client("sqs")  # a configuration that no client can be made with is not a failure of AWS's
    asked = Asked(project, check, now, lateness(aws), patient)
    names, settings = asked.names, project.settings
    with aws.read_cache.kept():
        numbers = read_all(measurement_questions(aws, settings, names, now), limit=limit)
        if not numbers.answers:
            # Each further question would wait as long for nothing.
            raise next(iter(numbers.failures.values()))
        starts = read_all({_STARTS: partial(triggers_of, aws, numbers, settings, names)}, limit=_left(end))
        triggers: Triggers = starts[_STARTS]
        left = _left(end)
        parked = partial(parked_reasons, aws, names, now=now)
        questions: dict[str, Callable[[], Any]] = {
            PLACE: lambda: aws.place,
            **activity_questions(aws, triggers.settings, check, names, now=now),
            **({PARKED: parked} if count_in(numbers, names.dlq) else {}),
            HISTORY: partial(_changes, aws, names, now),
            DRIFT: lambda: drift(aws, project, aws.place, limit=left),
        }
        return put_together(numbers, read_all(questions, limit=left), triggers, asked)


def _left(end: float) -> float:
    """Return how many seconds are left until the end, for a question that must have an answer or fail."""
    return max(0.1, round(end - time.monotonic(), 1))


def _changes(aws: Aws, names: Names, now: datetime) -> tuple[Operation, ...]:
    return history(aws, names, since=now - _LAST_CHANGE, text=OPERATION_TEXT).operations


def put_together(numbers: Gathered, others: Gathered, triggers: Triggers, asked: Asked) -> Assessment:
    """Judge what was answered."""
    found: Drift = others.get(DRIFT, Drift(()))
    measured = _measured(numbers, triggers, asked.names, found)
    measured = replace(measured, started_by=found.started_by)
    changes: tuple[Operation, ...] = others.get(HISTORY, ())
    problems = list(drift_problems(found, measured, asked.project.settings, triggers.settings))
    if DRIFT in others.failures:
        problems.append(unknown(DRIFT, others.failures[DRIFT]))
    if measured.maintenance is None and measured.restore is None:
        problems += unfinished_problems(changes, measured.left_lock, now=asked.now)
    snapshot = snapshot_of(
        measured,
        others,
        triggers.settings,
        asked.check,
        now=asked.now,
        late=asked.late,
        others=problems,
        patient=asked.patient,
    )
    if measured.total("main") == 0:
        # What stayed behind in the last run is gone since: by drain, or by hand.
        runs = replace(snapshot.runs, stuck=(), most_received=None, paused=(), breaker=None)
        snapshot = replace(snapshot, runs=runs)
    return Assessment(snapshot, found, changes, advise(snapshot), others)


def _measured(numbers: Gathered, triggers: Triggers, names: Names, found: Drift) -> Measurements:
    """Return the numbers; where no queue exists, but other parts do, they are reported as drift."""
    try:
        return measurements_of(numbers, triggers, names)
    except NotDeployedError:
        if not any(one.state in ("ok", "drift") for one in found.resources):
            raise
        return Measurements(missing=tuple(queue_names(names).values()))
