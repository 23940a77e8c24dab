"""check: the pipeline's numbers against their thresholds, for a monitoring system."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from fifo_cli.errors import FifoError
from fifo_cli.model.health import Measurements, Problem, State, worst
from fifo_cli.model.results import Document, to_json_object
from fifo_cli.model.worker_log import Batch, Runs
from fifo_cli.operations.monitor.assessment import assess

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.settings import Check, Project

# Monitoring systems give a plugin 10 to 60 seconds; an answer that says UNKNOWN beats being killed.
TIMEOUT_SECONDS: Final = 30
# Monitoring Plugins Development Guidelines, "Plugin return codes".
CODES: Final[dict[State, int]] = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What was measured and what is thought of it; ``measured`` is None if AWS could not be asked."""

    pipeline: str
    measured: Measurements | None
    problems: tuple[Problem, ...]
    thresholds: dict[str, tuple[int, int]]
    runs: Runs = Runs()  # noqa: RUF009 - frozen
    batches: tuple[Batch, ...] = ()
    trigger: str | None = None

    @property
    def state(self) -> State:
        return worst(problem.state for problem in self.problems)

    @property
    def code(self) -> int:
        """The plugin's exit code: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN."""
        return CODES[self.state]

    @property
    def reached(self) -> bool:
        """Whether AWS could be asked."""
        return self.measured is not None

    @property
    def values(self) -> dict[str, int | None]:
        """The numbers that are held against thresholds; None for what is not known."""
        measured = self.measured or Measurements()
        return {
            "depth": measured.total("main"),
            "age_seconds": measured.age,
            "dlq": measured.total("dlq"),
            "hold": measured.total("hold"),
            "stream_failures": measured.total("stream_failures"),
            "iterator_age_seconds": measured.iterator_age,
        }

    def document(self) -> Document:
        """Return the JSON; numbers that are not known are null."""
        measured = self.measured or Measurements()
        return to_json_object(
            {
                "pipeline": self.pipeline,
                "state": self.state.upper(),
                "code": self.code,
                "problems": self.problems,
                "reached": self.reached,
                "values": self.values,
                "queues": measured.queues,
                "thresholds": self.thresholds,
                "last_run": next(iter(self.runs.runs), None),
                "last_batch": self.batches[0] if self.batches else None,
                "trigger": self.trigger,
                "worker": measured.worker,
                "paused_groups": len(self.runs.paused),
                "breaker": self.runs.breaker,
                "enqueuer": measured.enqueuer,
                "maintenance": measured.maintenance,
                "rebuild": measured.restore,
            }
        )


def check(aws: Aws, project: Project, thresholds: Check, *, limit: float = TIMEOUT_SECONDS) -> CheckResult:
    """Measure and judge; ends within ``limit`` seconds, and AWS's refusals are UNKNOWN with their reason."""
    pipeline = project.settings.pipeline.name
    try:
        found = assess(aws, project, thresholds, now=datetime.now(UTC), limit=limit, patient=True)
    except FifoError as error:
        return unknown(pipeline, error, thresholds)
    snapshot = found.snapshot
    return CheckResult(
        pipeline,
        snapshot.measured,
        found.problems,
        _numbers(thresholds),
        snapshot.runs,
        snapshot.batches.batches,
        snapshot.settings.worker.trigger,
    )


def unknown(pipeline: str, error: FifoError, thresholds: Check | None = None) -> CheckResult:
    """Return the result of a check that could not ask AWS."""
    problem = Problem("unknown", error.message, error.hint)
    return CheckResult(pipeline, None, (problem,), _numbers(thresholds) if thresholds else {})


def _numbers(check: Check) -> dict[str, tuple[int, int]]:
    """Return the thresholds as plain numbers, ages in seconds."""
    warning, critical = (int(age.total_seconds()) for age in check.age)
    return {"depth": check.depth, "age": (warning, critical), "dlq": check.dlq}
