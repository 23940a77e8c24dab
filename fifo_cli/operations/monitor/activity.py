"""What is asked of the functions' logs and the keys, and put together for model/advice.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from fifo_cli.model.advice import LATE, Snapshot, unknown
from fifo_cli.model.health import Problem
from fifo_cli.model.worker_log import Batches, Runs
from fifo_cli.operations.deploy.api_keys import Keys, list_keys
from fifo_cli.operations.monitor.worker_runs import last_batches, last_runs

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.health import Measurements
    from fifo_cli.model.names import Names
    from fifo_cli.model.settings import Check, Settings
    from fifo_cli.operations.parallel import Gathered

RUNS: Final = "the worker's last runs"
BATCHES: Final = "the enqueuer's last invocations"
_LOGS: Final = (RUNS, BATCHES)
KEYS: Final = "which keys are set"
PARKED: Final = "why messages were parked"
# The embedded stack shows a line at once.
_LATE_LOCALLY: Final = timedelta(minutes=2)


def lateness(aws: Aws) -> timedelta:
    """Return how late a line of the log may be readable, with what a run takes to start."""
    return _LATE_LOCALLY if aws.endpoint.local else LATE


def activity_questions(
    aws: Aws, settings: Settings, check: Check, names: Names, *, now: datetime
) -> dict[str, Callable[[], Any]]:
    """Return what is to be asked, each under the words by which a failure is reported."""
    polled = settings.worker.by_queue
    read = partial(last_runs, aws, names, now=now, ages=max(check.age), by_queue=polled, late=lateness(aws))
    return {
        # Functions that ended with their breaker open have logged nothing since, and exist no more.
        RUNS: read if settings.worker.breaker else lambda: replace(read(), breaker=None),
        BATCHES: partial(last_batches, aws, names, now=now),
        KEYS: partial(list_keys, aws, settings),
    }


def snapshot_of(
    measured: Measurements,
    gathered: Gathered,
    settings: Settings,
    check: Check,
    *,
    now: datetime,
    late: timedelta,
    others: Iterable[Problem],
    patient: bool = False,
) -> Snapshot:
    """Put the numbers and the logs together; what was not asked for is empty.

    ``others`` are problems that were found elsewhere.
    """
    keys: Keys = gathered.get(KEYS, Keys(()))
    parked: tuple[str, ...] = gathered.get(PARKED, ())
    return Snapshot(
        settings=settings,
        measured=measured,
        now=now,
        check=check,
        runs=gathered.get(RUNS, Runs()),
        batches=gathered.get(BATCHES, Batches()),
        # As many as there are: what was parked before has left the DLQ again.
        parked=Counter(parked[: measured.total("dlq") or 0]),
        missing_keys=tuple((key.name, key.fault) for key in keys.keys if not key.exists),
        others=(
            *others,
            *(unknown(what, why) for what, why in gathered.failures.items() if what in _LOGS),
        ),
        late=late,
        patient=patient,
    )
