"""When the worker runs next, as far as that can be known from here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from fifo_cli.model.schedules import next_runs, rate_of

if TYPE_CHECKING:
    from fifo_cli.model.settings import Settings

NEXT_RUNS: Final = 3


@dataclass(frozen=True, slots=True)
class NextRuns:
    """When the worker runs next; ``estimated`` if a rate's run was reckoned from the last one.

    ``unknown`` are the rates that no run is known of: AWS alone knows when they fire.
    """

    times: tuple[datetime, ...] = ()
    estimated: bool = False
    unknown: tuple[str, ...] = ()


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
