"""When the worker runs next, as far as that can be known from here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from fifo_cli.model.schedules import next_runs, rate_of

if TYPE_CHECKING:
    from fifo_cli.model.settings import Settings


@dataclass(frozen=True, slots=True)
class NextRuns:
    """When the worker runs next; ``estimated`` if a rate's run was reckoned from the last one.

    ``unknown`` are the rates that no run is known of: AWS alone knows when they fire.
    """

    times: tuple[datetime, ...] = ()
    estimated: bool = False
    unknown: tuple[str, ...] = ()


def reckon_next_runs(settings: Settings, last: datetime | None, *, now: datetime, count: int = 3) -> NextRuns:
    """Return the next runs: of cron as it says, of a rate reckoned from the ``last`` run, if any."""
    expressions = settings.schedule.expressions
    times = next_runs(expressions, settings.schedule.timezone, after=now, count=count)
    rates = {one: period for one in expressions if (period := rate_of(one)) is not None}
    if last is None:
        return NextRuns(times, unknown=tuple(rates))
    found = set(times)
    for period in rates.values():
        first = last + period * max(1, -(-(now - last) // period))
        found.update(first + period * number for number in range(count))
    return NextRuns(tuple(sorted(found)[:count]), estimated=bool(rates))
