"""status: the whole pipeline at once; is it healthy, and if not, where is it stuck.

Nothing is changed and no message is received. What may not be seen is said, and the rest is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from fifo_cli.errors import ExitCode, NotDeployedError
from fifo_cli.model.health import STATES, Problem, State, Unseen, Vitals, judge, rough, waiting, worst
from fifo_cli.model.names import Names
from fifo_cli.model.resources import alias_name
from fifo_cli.model.results import Document, Single
from fifo_cli.model.schedules import next_runs
from fifo_cli.model.times import iso, parse_duration
from fifo_cli.operations.observing.drift import Drift, drift
from fifo_cli.operations.observing.gathering import Gathered, gather
from fifo_cli.operations.observing.runs import Runs, last_runs
from fifo_cli.operations.observing.vitals import queue_names, vital_questions, vitals_of
from fifo_cli.operations.provisioning.keys import Keys, list_keys

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.names import Place
    from fifo_cli.model.settings import Project, Settings

LIMIT_SECONDS: Final = 60.0
NEXT_RUNS: Final = 3
# EventBridge fires within the minute, a cold start takes seconds, CloudWatch shows a line a little later.
_LATE: Final = timedelta(minutes=5)
_RUNS: Final = "the worker's last runs"
_KEYS: Final = "which keys are set"
_DRIFT: Final = "drift"
_PLACE: Final = "the account"


@dataclass(frozen=True, slots=True)
class NextRuns:
    """When the worker runs next; ``estimated`` if a rate's run was reckoned from the last one.

    ``unknown`` are the rates that no run is known of: AWS alone knows when they fire.
    """

    times: tuple[datetime, ...] = ()
    estimated: bool = False
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class StatusResult(Single):
    """All there is to know at a glance."""

    names: Names
    settings: Settings
    place: Place | None
    vitals: Vitals
    runs: Runs
    drift: Drift
    keys: Keys | None
    next_runs: NextRuns
    problems: tuple[Problem, ...]
    unseen: tuple[Unseen, ...] = field(default=())

    @property
    def state(self) -> State:
        return worst(problem.state for problem in self.problems)

    @property
    def exit_code(self) -> ExitCode:
        """1 if anything needs a look."""
        return ExitCode.OK if self.state == "ok" else ExitCode.ATTENTION

    def document(self) -> Document:
        vitals, runs = self.vitals, self.runs
        versions = {one.name: one.version for one in self.drift.resources if one.kind == "alias"}
        enqueuer, worker = (self.names.function(role) for role in ("enqueuer", "worker"))
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
                kind: vitals.queues[kind].document() if kind in vitals.queues else _nameless(name)
                for kind, name in queue_names(self.names).items()
            },
            "schedule": {
                "enabled": None if vitals.worker is None else vitals.worker == "running",
                "expressions": list(self.settings.schedule.expressions),
                "timezone": self.settings.schedule.timezone,
                "next_runs": [iso(run) for run in self.next_runs.times],
                "estimated": self.next_runs.estimated,
                "unknown": list(self.next_runs.unknown),
            },
            "enqueuer": {
                "state": vitals.enqueuer,
                "version": versions.get(alias_name(enqueuer)),
                "iterator_age_seconds": vitals.iterator_age,
            },
            "worker": {
                "state": vitals.worker,
                "version": versions.get(alias_name(worker)),
                "last_runs": [run.document() for run in runs.runs],
                "stuck": [one.document() for one in runs.stuck],
            },
            "keys": self.keys.document()["keys"] if self.keys else None,
            "maintenance": vitals.maintenance.document() if vitals.maintenance else None,
            "rebuild": vitals.rebuild.document() if vitals.rebuild else None,
            "unseen": [one.document() for one in self.unseen],
        }


def status(
    aws: Aws, project: Project, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> StatusResult:
    """Ask AWS for everything at once, and judge it.

    Raises NotDeployedError if nothing of the pipeline exists, and the first failure if nothing answers.
    """
    settings = project.settings
    names = Names(settings.pipeline.name)
    aws.client("sqs")  # a configuration that no client can be made with is no failure of AWS's
    asked = now()
    vital = gather(vital_questions(aws, settings, names, asked), limit=LIMIT_SECONDS)
    if not vital.answers:
        # Each further question would wait as long for nothing.
        raise next(iter(vital.failures.values()))
    questions: dict[str, Callable[[], Any]] = {
        _PLACE: lambda: aws.place,
        _RUNS: partial(last_runs, aws, names, now=asked),
        _KEYS: partial(list_keys, aws, settings),
        _DRIFT: lambda: drift(aws, project, aws.place, limit=LIMIT_SECONDS),
    }
    others = gather(questions, limit=LIMIT_SECONDS)
    return _put_together(vital, others, settings, names, asked)


def _put_together(
    vital: Gathered, others: Gathered, settings: Settings, names: Names, now: datetime
) -> StatusResult:
    found = others.get(_DRIFT, Drift(()))
    vitals = _vitals(vital, settings, names, found)
    runs = others.get(_RUNS, Runs())
    if vitals.total("main") == 0:
        # What stayed behind in the last run is gone since: by drain, or by hand.
        runs = Runs(runs.runs)
    coming = NextRuns()
    if vitals.worker == "running":
        coming = reckon_next_runs(settings, runs.runs[0].time if runs.runs else None, now=now)
    unseen = (
        *vitals.unseen,
        *(Unseen(what, failure.message) for what, failure in others.failures.items()),
        *found.unseen,
        *(Unseen(f"{one.kind} {one.name}", one.reason) for one in found.resources if one.state == "unknown"),
    )  # fmt: skip
    keys = others.get(_KEYS)
    told = [*judge(vitals, settings.check, names), *_more_problems(found, keys, runs, vitals, settings, now)]
    problems = tuple(sorted(told, key=lambda problem: -STATES.index(problem.state)))
    return StatusResult(
        names, settings, others.get(_PLACE), vitals, runs, found, keys, coming, problems, unseen
    )


def _vitals(vital: Gathered, settings: Settings, names: Names, found: Drift) -> Vitals:
    """Return the vital signs; where no queue exists, but other parts do, they are drift and told as such."""
    try:
        return vitals_of(vital, settings, names)
    except NotDeployedError:
        if not any(one.state in ("ok", "drift") for one in found.resources):
            raise
        return Vitals(missing=tuple(queue_names(names).values()))


def _more_problems(
    found: Drift, keys: Keys | None, runs: Runs, vitals: Vitals, settings: Settings, now: datetime
) -> Iterator[Problem]:
    for key in keys.keys if keys else ():
        if not key.exists:
            text = f"key {key.name} is missing: parameter {key.parameter} does not exist"
            yield Problem("critical", text, f"fifo-cli keys set {key.name}")
    yield from _drift_problems(found, vitals)
    yield from _run_problems(runs)
    yield from _silence(runs, vitals, settings, now)


def _drift_problems(found: Drift, vitals: Vitals) -> Iterator[Problem]:
    def named(*states: str) -> list[str]:
        return [f"{one.kind} {one.name}" for one in found.resources
                if one.state in states and one.name not in vitals.missing]  # fmt: skip

    if missing := named("missing"):
        yield Problem("critical", f"missing: {_listed(missing)}", "fifo-cli deploy")
    if foreign := named("foreign"):
        yield Problem("critical", f"not this pipeline's: {_listed(foreign)}", "fifo-cli plan")
    if drifted := named("drift", "surplus"):
        yield Problem("warning", f"not as in fifo.toml: {_listed(drifted)}", "fifo-cli plan")


def _run_problems(runs: Runs) -> Iterator[Problem]:
    if runs.runs and runs.runs[0].error is not None:
        said = runs.runs[0].error.splitlines()[0]
        yield Problem("critical", f"the worker's last run failed: {said}", "fifo-cli logs worker")
    for one in runs.stuck[:1]:
        yield waiting(one.group, one.error, more=len(runs.stuck) - 1)


def _silence(runs: Runs, vitals: Vitals, settings: Settings, now: datetime) -> Iterator[Problem]:
    """Complain if the worker is to run and did not, though messages wait."""
    if vitals.worker != "running" or not vitals.total("main") or not runs.runs:
        return
    last = runs.runs[0].time
    due = reckon_next_runs(settings, last, now=last + timedelta(seconds=59), count=1).times
    if due and due[0] + _LATE < now:
        told = f"the worker has not run for {rough(now - last)}, though it should have"
        yield Problem("critical", told, "fifo-cli logs worker; fifo-cli plan")


def reckon_next_runs(
    settings: Settings, last: datetime | None, *, now: datetime, count: int = NEXT_RUNS
) -> NextRuns:
    """Return the next runs: of cron as it says, of a rate reckoned from the ``last`` run, if any."""
    expressions = settings.schedule.expressions
    times = list(next_runs(expressions, settings.schedule.timezone, after=now, count=count))
    estimated = False
    unknown = []
    for expression in expressions:
        period = rate_of(expression)
        if period is not None and last is None:
            unknown.append(expression)
        if period is not None and last is not None:
            first = last + period * max(1, -(-(now - last) // period))
            times += [first + period * number for number in range(count)]
            estimated = True
    return NextRuns(tuple(sorted(set(times))[:count]), estimated, tuple(unknown))


def rate_of(expression: str) -> timedelta | None:
    """Return the period of ``rate(...)``; None for cron."""
    if not expression.startswith("rate("):
        return None
    number, _, unit = expression.removeprefix("rate(").removesuffix(")").partition(" ")
    return parse_duration(f"{number}{unit[0]}")


def _listed(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _nameless(name: str) -> Document:
    return {"name": name, "visible": None, "in_flight": None, "delayed": None, "oldest_age_seconds": None}
