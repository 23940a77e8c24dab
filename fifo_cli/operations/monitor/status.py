"""status: the whole pipeline at once; is it healthy, and if not, where is it stuck.

Nothing is changed and no message is received. What may not be seen is said, and the rest is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from fifo_cli.errors import ExitCode, NotDeployedError
from fifo_cli.invocation import command_line
from fifo_cli.model.advice import LATE, advise
from fifo_cli.model.health import Measurements, Problem, QueueKind, State, Unavailable, worst
from fifo_cli.model.history_events import OPERATION_TEXT
from fifo_cli.model.names import FunctionRole, Names
from fifo_cli.model.next_runs import NextRuns, reckon_next_runs
from fifo_cli.model.queue_counts import Counted
from fifo_cli.model.resources import alias_name
from fifo_cli.model.results import Document, Single
from fifo_cli.model.times import iso
from fifo_cli.model.unfinished import unfinished_problems
from fifo_cli.model.worker_log import Runs
from fifo_cli.model.worker_trigger import by_queue, expressions
from fifo_cli.operations.deploy.api_keys import Keys
from fifo_cli.operations.history import history
from fifo_cli.operations.monitor.activity import (
    activity_of,
    activity_questions,
    evidence_of,
    lateness,
    parked_question,
)
from fifo_cli.operations.monitor.drift import Drift, ResourceState, drift
from fifo_cli.operations.monitor.measure import count_in, measurement_questions, measurements_of, queue_names
from fifo_cli.operations.parallel import Gathered, read_all

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.history_events import Operation
    from fifo_cli.model.names import Place
    from fifo_cli.model.settings import Project, Settings

LIMIT_SECONDS: Final = 60.0
_DRIFT: Final = "drift"
_PLACE: Final = "the account"
_HISTORY: Final = "the history"
# So long after it what an operator did is shown.
_LAST_CHANGE: Final = timedelta(hours=1)


@dataclass(frozen=True)
class StatusResult(Single):
    """All there is to know at a glance."""

    names: Names
    settings: Settings
    place: Place | None
    measured: Measurements
    runs: Runs
    drift: Drift
    keys: Keys | None
    next_runs: NextRuns
    problems: tuple[Problem, ...]
    last_change: Operation | None = None
    unseen: tuple[Unavailable, ...] = field(default=())

    @property
    def state(self) -> State:
        return worst(problem.state for problem in self.problems)

    @property
    def exit_code(self) -> ExitCode:
        """1 if anything needs a look."""
        return ExitCode.OK if self.state == "ok" else ExitCode.ATTENTION

    @property
    def queues(self) -> dict[QueueKind, Counted | str]:
        """Each queue's counts, or its name if they are not known."""
        return {kind: self.measured.queues.get(kind, name) for kind, name in queue_names(self.names).items()}

    @property
    def enabled(self) -> bool | None:
        """Whether the worker is started by itself, if that is known."""
        return None if self.measured.worker is None else self.measured.worker == "running"

    def version(self, role: FunctionRole) -> str | None:
        """Return the version of a function that is live."""
        alias = ("alias", alias_name(self.names.function(role)))
        return next((one.version for one in self.drift.resources if (one.kind, one.name) == alias), None)

    def document(self) -> Document:
        measured, runs = self.measured, self.runs
        return {
            "pipeline": self.names.pipeline,
            "account": self.place.account if self.place else None,
            "region": self.place.region if self.place else None,
            "verdict": {
                "state": self.state,
                "problems": [problem.document() for problem in self.problems],
            },
            "resources": [one.document() for one in self.drift.resources],
            "queues": {
                kind: _nameless(one) if isinstance(one, str) else one.document()
                for kind, one in self.queues.items()
            },
            "schedule": {
                "enabled": self.enabled,
                "expressions": list(expressions(self.settings)),
                "timezone": self.settings.schedule.timezone,
                "next_runs": [iso(run) for run in self.next_runs.times],
                "estimated": self.next_runs.estimated,
                "unknown": list(self.next_runs.unknown),
            },
            "enqueuer": {
                "state": measured.enqueuer,
                "version": self.version("enqueuer"),
                "iterator_age_seconds": measured.iterator_age,
            },
            "worker": {
                "trigger": self.settings.worker.trigger,
                "state": measured.worker,
                "polling": measured.polling.document() if measured.polling else None,
                "version": self.version("worker"),
                "last_runs": [run.document() for run in runs.runs],
                "stuck": [one.document() for one in runs.stuck],
                "paused": [one.document() for one in runs.paused],
                "breaker": runs.breaker.document() if runs.breaker else None,
                "as_of": iso(runs.as_of) if runs.as_of else None,
            },
            "keys": self.keys.document()["keys"] if self.keys else None,
            "maintenance": measured.maintenance.document() if measured.maintenance else None,
            "last_change": self.last_change.document() if self.last_change else None,
            "rebuild": measured.restore.document() if measured.restore else None,
            "unseen": [one.document() for one in self.unseen],
        }


def status(
    aws: Aws, project: Project, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> StatusResult:
    """Ask AWS for everything at once, and judge it.

    Raises NotDeployedError if nothing of the pipeline exists, and the first failure if nothing answers.
    """
    settings = project.settings
    names = settings.names
    aws.client("sqs")  # a configuration that no client can be made with is not a failure of AWS's
    asked = now()
    numbers = read_all(measurement_questions(aws, settings, names, asked), limit=LIMIT_SECONDS)
    if not numbers.answers:
        # Each further question would wait as long for nothing.
        raise next(iter(numbers.failures.values()))
    questions: dict[str, Callable[[], Any]] = {
        _PLACE: lambda: aws.place,
        **activity_questions(aws, settings, settings.check, names, now=asked),
        **(parked_question(aws, names, now=asked) if count_in(numbers, names.dlq) else {}),
        _HISTORY: lambda: _changes(aws, names, asked),
        _DRIFT: lambda: drift(aws, project, aws.place, limit=LIMIT_SECONDS),
    }
    others = read_all(questions, limit=LIMIT_SECONDS)
    return _put_together(numbers, others, settings, names, asked, late=lateness(aws))


def _changes(aws: Aws, names: Names, now: datetime) -> tuple[Operation, ...]:
    return history(aws, names, since=now - _LAST_CHANGE, text=OPERATION_TEXT).operations


def _put_together(
    numbers: Gathered,
    others: Gathered,
    settings: Settings,
    names: Names,
    now: datetime,
    *,
    late: timedelta = LATE,
) -> StatusResult:
    found = others.get(_DRIFT, Drift(()))
    measured = _measured(numbers, settings, names, found)
    activity = activity_of(others)
    if measured.total("main") == 0:
        # What stayed behind in the last run is gone since: by drain, or by hand.
        runs = replace(activity.runs, stuck=(), most_received=None, paused=(), breaker=None)
        activity = replace(activity, runs=runs)
    runs = activity.runs
    coming = NextRuns()
    if measured.worker == "running" and not by_queue(settings):
        coming = reckon_next_runs(settings, runs.by_itself, now=now)
    unseen = (
        *measured.unseen,
        *(Unavailable(what, failure.message) for what, failure in others.failures.items()),
        *found.unseen,
        *(Unavailable(f"{r.kind} {r.name}", r.reason) for r in found.resources if r.state == "unknown"),
    )  # fmt: skip
    changes: tuple[Operation, ...] = others.get(_HISTORY, ())
    problems = [*_drift_problems(found, measured)]
    if measured.maintenance is None and measured.restore is None:
        problems += unfinished_problems(changes, now=now)
    evidence = evidence_of(
        measured,
        activity,
        settings,
        settings.check,
        now=now,
        late=late,
        others=problems,
    )
    return StatusResult(
        names=names,
        settings=settings,
        place=others.get(_PLACE),
        measured=measured,
        runs=runs,
        drift=found,
        keys=activity.keys,
        next_runs=coming,
        problems=advise(evidence),
        last_change=next(reversed(changes), None),
        unseen=unseen,
    )


def _measured(numbers: Gathered, settings: Settings, names: Names, found: Drift) -> Measurements:
    """Return the numbers; where no queue exists, but other parts do, they are reported as drift."""
    try:
        return measurements_of(numbers, settings, names)
    except NotDeployedError:
        if not any(one.state in ("ok", "drift") for one in found.resources):
            raise
        return Measurements(missing=tuple(queue_names(names).values()))


def _drift_problems(found: Drift, measured: Measurements) -> Iterator[Problem]:
    def named(*states: str) -> list[ResourceState]:
        return [one for one in found.resources if one.state in states and one.name not in measured.missing]

    if missing := named("missing"):
        yield Problem("critical", f"missing: {_listed(missing)}", command_line("deploy"))
    if foreign := named("foreign"):
        yield Problem("critical", f"not this pipeline's: {_listed(foreign)}", command_line("plan"))
    drifted = named("drift", "surplus")
    if others := [one for one in drifted if not one.has_only_other_code]:
        yield Problem("warning", f"not as in fifo.toml: {_listed(others)}", command_line("plan"))
    if any(one.kind == "function" and one.has_other_code for one in drifted):
        yield Problem(
            "warning",
            "the functions run other code than is here",
            f"{command_line('plan --diff')} shows how it differs",
            means="your code or fifo-cli itself was changed since the last deploy; what was deployed runs on",
        )
    elif any(one.has_other_code for one in drifted):
        yield Problem(
            "warning",
            "the functions run an older version than was deployed last",
            f"once the code here is correct, {command_line('deploy')}",
            means="a rollback, or a deploy that did not end; the older version runs on",
            avoid="deploy before that: it takes the rollback back",
        )


def _listed(resources: list[ResourceState], most: int = 3) -> str:
    names = [f"{one.kind} {one.name}" for one in resources]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _nameless(name: str) -> Document:
    return {"name": name, "visible": None, "in_flight": None, "delayed": None, "oldest_age_seconds": None}
