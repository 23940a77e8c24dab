"""How many messages a queue holds; apart from health.py, of which ``depth`` needs nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field

from fifo_cli.model.results import INTERNAL, Fields, named


@dataclass(frozen=True, slots=True)
class Counted(Fields):
    """A queue's approximate counts; ``oldest_age`` is in seconds, None where CloudWatch knows none.

    ``max_receives`` is after how many receives SQS moves a message to the DLQ; None without such a policy.
    """

    name: str
    visible: int
    in_flight: int
    delayed: int
    oldest_age: int | None = field(default=None, metadata=named("oldest_age_seconds"))
    max_receives: int | None = field(default=None, metadata=INTERNAL)

    @property
    def total(self) -> int:
        return self.visible + self.in_flight + self.delayed
