"""status: the whole pipeline at once; is it healthy, and if not, where is it stuck.

Nothing is changed and no message is received. What may not be seen is said, and the rest is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from fifo_cli.errors import ExitCode
from fifo_cli.model.drift import Drift
from fifo_cli.model.health import Measurements, Problem, QueueKind, State, Unavailable, worst
from fifo_cli.model.names import FunctionRole, Names
from fifo_cli.model.next_runs import NextRuns, reckon_next_runs
from fifo_cli.model.queue_counts import Counted
from fifo_cli.model.resources import alias_name
from fifo_cli.model.results import Document, Result, to_json_object
from fifo_cli.model.worker_log import Runs
from fifo_cli.model.worker_trigger import expressions
from fifo_cli.operations.deploy.api_keys import Keys
from fifo_cli.operations.monitor.activity import KEYS
from fifo_cli.operations.monitor.assessment import PLACE, Assessment, assess
from fifo_cli.operations.monitor.measure import queue_names

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.history_events import Operation
    from fifo_cli.model.names import Place
    from fifo_cli.model.settings import Project, Settings

LIMIT_SECONDS: Final = 60.0


@dataclass(frozen=True)
class StatusResult(Result):
    """All there is to know at a glance; ``settings`` are fifo.toml's, with what starts the worker in AWS."""

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
        return to_json_object(
            {
                "pipeline": self.names.pipeline,
                "account": self.place.account if self.place else None,
                "region": self.place.region if self.place else None,
                "verdict": {"state": self.state, "problems": self.problems},
                "resources": self.drift.resources,
                "queues": {
                    kind: _nameless(one) if isinstance(one, str) else one for kind, one in self.queues.items()
                },
                "schedule": {
                    "enabled": self.enabled,
                    "expressions": [one.expression for one in measured.schedules]
                    or expressions(self.settings),
                    "timezone": self.settings.schedule.timezone,
                    "next_runs": self.next_runs.times,
                    "estimated": self.next_runs.estimated,
                    "unknown": self.next_runs.unknown,
                },
                "enqueuer": {
                    "state": measured.enqueuer,
                    "version": self.version("enqueuer"),
                    "iterator_age_seconds": measured.iterator_age,
                },
                "worker": {
                    "trigger": self.settings.worker.trigger,
                    "state": measured.worker,
                    "polling": measured.polling,
                    "version": self.version("worker"),
                    "last_runs": runs.runs,
                    "stuck": runs.stuck,
                    "paused": runs.paused,
                    "breaker": runs.breaker,
                    "as_of": runs.as_of,
                },
                "keys": self.keys.keys if self.keys else None,
                "maintenance": measured.maintenance,
                "last_change": self.last_change,
                "rebuild": measured.restore,
                "unseen": self.unseen,
            }
        )


def status(
    aws: Aws, project: Project, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> StatusResult:
    """Ask AWS for everything at once, and judge it.

    Raises NotDeployedError if nothing of the pipeline exists, and the first failure if nothing answers.
    """
    asked = now()
    return result_of(assess(aws, project, project.settings.check, now=asked, limit=LIMIT_SECONDS), now=asked)


def result_of(found: Assessment, *, now: datetime) -> StatusResult:
    """Return what is shown of an assessment."""
    settings, measured, runs = found.snapshot.settings, found.snapshot.measured, found.snapshot.runs
    coming = NextRuns()
    if measured.worker == "running" and not settings.worker.by_queue:
        coming = reckon_next_runs(settings, runs.by_itself, now=now)
    resources = found.drift.resources
    return StatusResult(
        names=settings.names,
        settings=settings,
        place=found.others.get(PLACE),
        measured=measured,
        runs=runs,
        drift=found.drift,
        keys=found.others.get(KEYS),
        next_runs=coming,
        problems=found.problems,
        last_change=next(reversed(found.changes), None),
        unseen=(
            *measured.unseen,
            *(Unavailable(what, failure.message) for what, failure in found.others.failures.items()),
            *found.drift.unseen,
            *(Unavailable(f"{r.kind} {r.name}", r.reason) for r in resources if r.state == "unknown"),
        ),
    )


def _nameless(name: str) -> Document:
    return {"name": name, "visible": None, "in_flight": None, "delayed": None, "oldest_age_seconds": None}
