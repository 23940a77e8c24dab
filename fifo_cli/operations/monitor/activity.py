"""What the functions' logs show of their work, judged: the last runs and invocations, the heads that wait.

A number in a queue does not show that anything moves. OK rests on the last evidence there is; where nothing
was due, there is none, and that is well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final

from fifo_cli.invocation import command_line
from fifo_cli.model.group_names import shown_group
from fifo_cli.model.health import Problem, State, by_badness, evaluate, rough, unknown, waiting
from fifo_cli.model.names import Names
from fifo_cli.operations.deploy.api_keys import Keys, list_keys
from fifo_cli.operations.monitor.next_runs import reckon_next_runs
from fifo_cli.operations.monitor.worker_runs import (
    Batch,
    Batches,
    Runs,
    Stuck,
    WorkerRun,
    last_batches,
    last_runs,
)

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.errors import FifoError
    from fifo_cli.model.health import Measurements
    from fifo_cli.model.settings import Check, Settings
    from fifo_cli.operations.parallel import Gathered

RUNS: Final = "the worker's last runs"
BATCHES: Final = "the enqueuer's last invocations"
_LOGS: Final = (RUNS, BATCHES)
KEYS: Final = "which keys are set"
# A line can be read 5 to 10 minutes after it was logged (Lambda Developer Guide, "Sending Lambda function
# logs to CloudWatch Logs"). EventBridge fires within the minute, and a cold start takes seconds.
LATE: Final = timedelta(minutes=15)
# The embedded stack shows a line at once.
_LATE_LOCALLY: Final = timedelta(minutes=2)
_SEVERAL: Final = 2
_UNDELIVERED: Final = 3


def lateness(aws: Aws) -> timedelta:
    """Return how late a line of the log may be readable, with what a run takes to start."""
    return _LATE_LOCALLY if aws.target.local else LATE


@dataclass(frozen=True, slots=True)
class Activity:
    """What the functions' logs show, and which keys are set; ``failures`` is what could not be asked."""

    runs: Runs
    batches: Batches
    keys: Keys | None
    failures: Mapping[str, FifoError]


def activity_questions(
    aws: Aws, settings: Settings, check: Check, names: Names, *, now: datetime
) -> dict[str, Callable[[], Any]]:
    """Return what is to be asked, each under the words by which a failure is reported."""
    return {
        RUNS: partial(last_runs, aws, names, now=now, ages=max(check.age)),
        BATCHES: partial(last_batches, aws, names, now=now),
        KEYS: partial(list_keys, aws, settings),
    }


def activity_of(gathered: Gathered) -> Activity:
    """Put the answers together."""
    return Activity(
        gathered.get(RUNS, Runs()), gathered.get(BATCHES, Batches()), gathered.get(KEYS), gathered.failures
    )


def all_problems(
    measured: Measurements,
    activity: Activity,
    settings: Settings,
    check: Check,
    *,
    drifted: Iterable[Problem] = (),
    now: datetime,
    late: timedelta = LATE,
    patient: bool,
) -> tuple[Problem, ...]:
    """Return all that is wrong, the worst first; ``patient`` is of heads, as below."""
    return by_badness(
        [
            *evaluate(measured, check, settings.names),
            *_key_problems(activity.keys),
            *drifted,
            *activity_problems(
                activity.runs,
                activity.batches,
                measured,
                settings,
                check,
                now=now,
                late=late,
                patient=patient,
            ),
            *(unknown(what, why) for what, why in activity.failures.items() if what in _LOGS),
        ]
    )


def activity_problems(
    runs: Runs,
    batches: Batches,
    measured: Measurements,
    settings: Settings,
    check: Check,
    *,
    now: datetime,
    late: timedelta = LATE,
    patient: bool,
) -> Iterator[Problem]:
    """Yield what the logs show; where ``patient``, a head only when it has waited for ``[check] age``."""
    yield from _failed_runs(runs.runs)
    yield from _failed_batches(batches, now, late)
    yield from _silence(runs, batches, measured, settings, now, late)
    if measured.total("main") != 0:
        yield from _heads(runs.stuck, check, now, patient=patient)
        yield from _nothing_delivered(runs.runs)
        yield from _dead_lettering(runs.most_received, measured, settings)


def _failed_runs(runs: Sequence[WorkerRun]) -> Iterator[Problem]:
    failed = list(takewhile(lambda run: run.error is not None, runs))
    if not failed:
        return
    newest = failed[0]
    if newest.owner == "configuration":
        yield _unusable("the worker's last run ended early", newest)
        return
    state: State = "critical" if len(failed) >= _SEVERAL else "warning"
    which = "run" if len(failed) == 1 else f"{len(failed)} runs"
    yield Problem(
        state, f"the worker's last {which} failed: {_first_line(newest.error)}", command_line("logs worker")
    )


def _failed_batches(found: Batches, now: datetime, late: timedelta) -> Iterator[Problem]:
    """Report the last invocations. A single failure stands when no line of a later try can be late."""
    failed = list(takewhile(lambda batch: batch.error is not None, found.batches))
    if not failed:
        return
    newest = failed[0]
    if newest.owner == "configuration" and not found.moved:
        yield _unusable("the enqueuer's last invocation failed", newest)
        return
    stands = newest.raised and not found.moved
    lasting = len(failed) >= _SEVERAL or now - newest.time >= late
    which = "invocation" if len(failed) == 1 else f"{len(failed)} invocations"
    forgets = "; nothing was enqueued since, and the stream forgets a record after 24 h" if stands else ""
    if found.moved and newest.raised:
        return
    yield Problem(
        "critical" if stands and lasting else "warning",
        f"the enqueuer's last {which} failed: {_first_line(newest.error)}{forgets}",
        command_line("logs enqueuer"),
    )


def _unusable(message: str, one: WorkerRun | Batch) -> Problem:
    kind, name, *_ = [*(one.what or "").split()[:2], "", ""]
    step = f"correct it in fifo.toml or where it is set, then {command_line('deploy')}; nothing was parked"
    if kind == "key":
        step = f"{command_line('keys set', name)}; nothing was parked"
    elif (kind, name) == ("[api]", "keys:"):
        step = f"{command_line('keys list')}, then {command_line('keys set NAME')}; nothing was parked"
    return Problem("critical", f"{message}: {_first_line(one.error)}", step)


def _silence(
    runs: Runs, batches: Batches, measured: Measurements, settings: Settings, now: datetime, late: timedelta
) -> Iterator[Problem]:
    """Report that the worker was due and did not run, though messages wait."""
    main = measured.queues.get("main")
    if measured.worker != "running" or main is None or not main.visible:
        return
    last = runs.runs[0].time if runs.runs else _waiting_since(batches, measured, now)
    if last is None:
        return
    if (resumed := measured.resumed_at) is not None:
        last = max(last, resumed)  # paused, it was not to run
    due = reckon_next_runs(settings, last, now=last + timedelta(seconds=59), count=1).times
    if due and due[0] + late < now:
        since = "" if runs.runs else " since its messages came"
        message = f"the worker has not run for {rough(now - last)}{since}, though it should have"
        yield Problem("critical", message, f"{command_line('logs worker')}; {command_line('plan')}")


def _waiting_since(batches: Batches, measured: Measurements, now: datetime) -> datetime | None:
    """Return since when something waits, for a worker of which no run is known."""
    if measured.age:
        return now - timedelta(seconds=measured.age)
    return min((batch.time for batch in batches.batches if batch.enqueued), default=None)


def _heads(stuck: Sequence[Stuck], check: Check, now: datetime, *, patient: bool) -> Iterator[Problem]:
    if not stuck:
        return
    oldest = min(stuck, key=lambda one: one.since or one.time)
    age = now - (oldest.since or oldest.time)
    warning, critical = check.age
    more = len(stuck) - 1
    if age >= warning:
        state: State = "critical" if age >= critical else "warning"
        yield waiting(oldest.group, oldest.error, more=more, state=state, age=age)
    elif not patient:
        yield waiting(stuck[0].group, stuck[0].error, more=more)


def _nothing_delivered(runs: Sequence[WorkerRun]) -> Iterator[Problem]:
    last = runs[:_UNDELIVERED]
    if len(last) == _UNDELIVERED and all(
        run.error is None and run.received and not run.delivered and not run.parked for run in last
    ):
        step = f"{command_line('logs worker')}; if the API is down, wait: the messages keep their order"
        yield Problem("warning", f"the worker's last {len(last)} runs delivered nothing", step)


def _dead_lettering(most: Stuck | None, measured: Measurements, settings: Settings) -> Iterator[Problem]:
    """Warn before SQS moves a message to the DLQ by itself, out of order and without a reason."""
    main = measured.queues.get("main")
    if main is None or not main.max_receives or most is None or 2 * (most.receives or 0) < main.max_receives:
        return
    step = f"{command_line('deploy')} takes this policy away"
    if settings.queue.max_receives:
        step = f"set [queue] max_receives = 0, then {command_line('deploy')}"
    yield Problem(
        "warning",
        f"SQS moves a message to the DLQ after {main.max_receives} receives, and one of group"
        f" {shown_group(most.group)} has had {most.receives}",
        step,
    )


def _first_line(text: str | None) -> str:
    return next(iter((text or "").splitlines()), "") or "no reason logged"


def _key_problems(keys: Keys | None) -> Iterator[Problem]:
    """Name the keys without which no run can deliver."""
    for key in keys.keys if keys else ():
        if not key.exists:
            text = f"key {key.name} is missing: parameter {key.parameter} does not exist"
            yield Problem("critical", text, command_line("keys set", key.name))
