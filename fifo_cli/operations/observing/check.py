"""check: the pipeline's numbers against their thresholds, for a monitoring system."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fifo_cli.errors import FifoError
from fifo_cli.model.health import Problem, State, Vitals, judge, worst
from fifo_cli.model.names import Names
from fifo_cli.operations.observing.vitals import read_vitals

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.settings import Check, Settings

# Monitoring systems give a plugin 10 to 60 seconds; an answer that says UNKNOWN beats being killed.
TIMEOUT_SECONDS: Final = 30
# Monitoring Plugins Development Guidelines, "Plugin return codes".
CODES: Final[dict[State, int]] = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What was measured and what is thought of it; ``vitals`` is None if AWS could not be asked."""

    pipeline: str
    vitals: Vitals | None
    problems: tuple[Problem, ...]
    thresholds: dict[str, tuple[int, int]]

    @property
    def state(self) -> State:
        return worst(problem.state for problem in self.problems)

    @property
    def code(self) -> int:
        """The plugin's exit code: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN."""
        return CODES[self.state]

    def document(self) -> dict[str, Any]:
        """Return the JSON; numbers that are not known are null."""
        vitals = self.vitals or Vitals()
        return {
            "pipeline": self.pipeline,
            "state": self.state.upper(),
            "code": self.code,
            "problems": [problem.document() for problem in self.problems],
            "reached": self.vitals is not None,
            "values": {
                "depth": vitals.total("main"),
                "age_seconds": vitals.age,
                "dlq": vitals.total("dlq"),
                "hold": vitals.total("hold"),
                "stream_failures": vitals.total("stream_failures"),
                "iterator_age_seconds": vitals.iterator_age,
            },
            "queues": {kind: queue.document() for kind, queue in vitals.queues.items()},
            "thresholds": {name: list(values) for name, values in self.thresholds.items()},
            "worker": vitals.worker,
            "enqueuer": vitals.enqueuer,
            "maintenance": vitals.maintenance.document() if vitals.maintenance else None,
            "rebuild": vitals.rebuild.document() if vitals.rebuild else None,
        }


def check(aws: Aws, settings: Settings, thresholds: Check, *, limit: float = TIMEOUT_SECONDS) -> CheckResult:
    """Measure and judge; ends within ``limit`` seconds, and AWS's refusals are UNKNOWN with their reason."""
    names = Names(settings.pipeline.name)
    try:
        vitals = read_vitals(aws, settings, limit=limit)
    except FifoError as error:
        return unknown(names.pipeline, error, thresholds)
    return CheckResult(names.pipeline, vitals, judge(vitals, thresholds, names), _numbers(thresholds))


def unknown(pipeline: str, error: FifoError, thresholds: Check | None = None) -> CheckResult:
    """Return the result of a check that could not ask AWS."""
    problem = Problem("unknown", error.message, error.hint)
    return CheckResult(pipeline, None, (problem,), _numbers(thresholds) if thresholds else {})


def _numbers(check: Check) -> dict[str, tuple[int, int]]:
    """Return the thresholds as plain numbers, ages in seconds."""
    warning, critical = (int(age.total_seconds()) for age in check.age)
    return {"depth": check.depth, "age": (warning, critical), "dlq": check.dlq}
