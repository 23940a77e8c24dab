"""Everything that is wrong with a pipeline, and for each what to do first: the one place that advises.

A cause comes before its symptoms: behind a group that is stuck, that messages wait and grow old says nothing
more, and has no step of its own. A number in a queue does not show that anything moves: OK rests on the last
evidence there is; where nothing was due, there is none, and that is well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from fifo_cli.invocation import command_line
from fifo_cli.model.external_triggers import end_stop, stop_text
from fifo_cli.model.group_names import shown_group
from fifo_cli.model.health import (
    STATES,
    Flow,
    Measurements,
    Problem,
    State,
    TriggerState,
    by_badness,
    count_messages,
    worst,
)
from fifo_cli.model.key_faults import key_commands
from fifo_cli.model.names import FunctionRole
from fifo_cli.model.next_runs import reckon_next_runs
from fifo_cli.model.stuck_advice import Around, breaker_problem, stuck_problems
from fifo_cli.model.times import rough
from fifo_cli.model.trigger_switch import BEGUN
from fifo_cli.model.worker_log import Batch, Batches, Runs, Stuck, WorkerRun
from fifo_cli.model.worker_trigger import disabled_schedules, main_visibility_timeout

if TYPE_CHECKING:
    from fifo_cli.errors import FifoError
    from fifo_cli.model.settings import Check, Settings

# A line can be read 5 to 10 minutes after it was logged (Lambda Developer Guide, "Sending Lambda function
# logs to CloudWatch Logs"). EventBridge fires within the minute, and a cold start takes seconds.
LATE: Final = timedelta(minutes=15)
_SEVERAL: Final = 2
# How [handlers] names a function of the user's, such as orders:to_message.
_FUNCTION: Final = re.compile(r"[\w.]+:\w+")
_UNDELIVERED: Final = 3
# After so many of its longest pauses a group was to be tried again, also where many wait.
_PAUSES_UNTRIED: Final = 4
_REASONS_SHOWN: Final = 3
_WAITS: Final[Mapping[Flow, str]] = {
    "messages": "messages wait in the queue, in order; nothing is lost meanwhile",
    "records": "new items wait in the stream, which forgets them after 24 h",
}
_LEAVE: Final[Mapping[Flow, str]] = {
    "messages": "park: no message is at fault",
    "records": "put the items again: the stream has them, and each would be delivered twice",
}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known of a pipeline at a moment.

    ``missing_keys`` are placeholders and what is wrong with each; ``parked`` says how many messages of the
    DLQ were parked for which reason, as far as a log shows it. ``others`` are problems that were found
    elsewhere. Log lines may be ``late``. ``patient``: a group that is stuck is a problem only after
    ``[check] age``.
    """

    settings: Settings
    measured: Measurements
    now: datetime
    check: Check | None = None
    runs: Runs = Runs()  # noqa: RUF009 - frozen
    batches: Batches = Batches()  # noqa: RUF009 - frozen
    missing_keys: tuple[tuple[str, str], ...] = ()
    parked: Mapping[str, int] = field(default_factory=dict)
    others: tuple[Problem, ...] = ()
    late: timedelta = LATE
    patient: bool = False

    @property
    def thresholds(self) -> Check:
        return self.check or self.settings.check


def advise(snapshot: Snapshot) -> tuple[Problem, ...]:
    """Return all that is wrong, the worst first, and of what is equally bad the cause before its symptoms."""
    settings, measured = snapshot.settings, snapshot.measured
    waits = measured.total("main") != 0
    stuck = list(_stuck(snapshot)) if waits else []
    return _causes_first(
        [
            *_key_problems(snapshot.missing_keys, settings),
            *_failed_runs(snapshot),
            *_failed_batches(snapshot),
            *stuck,
            *(_open_breaker(snapshot) if waits else ()),
            *(one for one in snapshot.others if one.state != "warning"),
            *evaluate(snapshot, stuck=bool(stuck)),
            # Of these is drift, which holds up nothing by itself.
            *(one for one in snapshot.others if one.state == "warning"),
            *(_unpolled(snapshot) if settings.worker.by_queue else _silence(snapshot)),
            *(_nothing_delivered(snapshot, stuck_named=bool(stuck)) if waits else ()),
            *(_dead_lettering(snapshot.runs.most_received, measured, settings) if waits else ()),
        ]
    )


def advise_on_stuck(
    settings: Settings, stuck: Sequence[Stuck], *, now: datetime, running: bool = True
) -> tuple[Problem, ...]:
    """Return what groups that are stuck come to, with nothing else known but whether the worker runs."""
    measured = Measurements(worker="running" if running else "paused")
    return tuple(_stuck(Snapshot(settings, measured, now, runs=Runs(stuck=tuple(stuck)))))


def _stuck(snapshot: Snapshot) -> Iterator[Problem]:
    stuck = [one for one in snapshot.runs.stuck if _is_problem(snapshot, one.since or one.time)]
    yield from stuck_problems(stuck, _around(snapshot))


def _open_breaker(snapshot: Snapshot) -> Iterator[Problem]:
    found = snapshot.runs.breaker
    if found is not None and _is_problem(snapshot, found.since):
        yield breaker_problem(found, _around(snapshot))


def _is_problem(snapshot: Snapshot, since: datetime) -> bool:
    """Whether what began then is a problem by now."""
    return not snapshot.patient or snapshot.now - since >= snapshot.thresholds.age[0]


def _around(snapshot: Snapshot) -> Around:
    settings, measured = snapshot.settings, snapshot.measured
    longest = untried = None
    if settings.worker.by_queue:
        longest = settings.worker.retry[1]
        # What a killed function had stays hidden for the first of these.
        untried = main_visibility_timeout(settings) + _PAUSES_UNTRIED * longest
    return Around(
        snapshot.now,
        running=measured.worker in ("running", None),
        busy=measured.maintenance is not None,
        apis=dict(zip(settings.api_names, settings.api, strict=True)),
        age=snapshot.thresholds.age,
        longest=longest,
        untried=untried,
    )


def _causes_first(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Put causes before symptoms: a cause is as bad as the worst of its symptoms, which then have no step."""
    problems = list(problems)
    symptoms: dict[Flow, State] = {
        flow: worst(one.state for one in problems if one.symptom_of == flow)
        for flow in ("messages", "records")
    }
    causes = {one.cause_of for one in problems if one.cause_of}
    raised: set[Flow] = set()
    found = []
    for one in sorted(problems, key=lambda one: (one.symptom_of is not None, -STATES.index(one.state))):
        if one.cause_of and one.cause_of not in raised:
            raised.add(one.cause_of)
            found.append(replace(one, state=worst([one.state, symptoms[one.cause_of]])))
        else:
            found.append(replace(one, next="") if one.symptom_of in causes else one)
    return by_badness(found)


def evaluate(snapshot: Snapshot, *, stuck: bool = False) -> tuple[Problem, ...]:
    """Return the problems of the numbers, the worst first: from a threshold on, as for the alarms.

    Maintenance that is going on comes first, as bad as the worst of them: it may have paused what is paused,
    and may be about to move what lies in a queue.
    """
    measured = snapshot.measured
    problems = [
        *(
            Problem("critical", f"queue {name} does not exist", command_line("plan"))
            for name in measured.missing
        ),
        *_stopped(snapshot, stuck=stuck),
        *_partly_disabled(measured),
        *_badly_polled(measured),
        *_numbers(snapshot),
        *(Problem("unknown", f"{one.what} is not known: {one.reason}") for one in measured.unseen),
    ]
    upkeep = list(_maintenance(measured))
    if measured.maintenance is not None:
        state = worst(one.state for one in (*upkeep, *problems))
        upkeep = [replace(one, state=state) for one in upkeep]
    return by_badness([*upkeep, *problems])


def _numbers(snapshot: Snapshot) -> Iterator[Problem]:
    measured, check = snapshot.measured, snapshot.thresholds
    warning, critical = (int(one.total_seconds()) for one in check.age)
    if (number := measured.total("dlq")) and (state := _rated(number, check.dlq)):
        yield _dlq(state, number, snapshot.parked, busy=measured.maintenance is not None)
    if (number := measured.total("stream_failures")) and (state := _rated(number, check.dlq)):
        queue = snapshot.settings.names.stream_failures
        text = f"{count_messages(number)} in {queue}: stream records that were given up"
        yield Problem(state, text, f"{command_line('replay --failed')}, within 24 h of the record")
    if (age := measured.age) and (state := _rated(age, (warning, critical))):
        text = f"the oldest message has waited {_age(age)}"
        yield Problem(state, text, command_line("logs worker"), symptom_of="messages")
    if (number := measured.total("main")) and (state := _rated(number, check.depth)):
        text = f"{count_messages(number)} waiting"
        yield Problem(state, text, command_line("peek --count 3"), symptom_of="messages")
    if (age := measured.iterator_age) and (state := _rated(age, (warning, critical))):
        text = f"the enqueuer is {_age(age)} behind the stream"
        yield Problem(state, text, command_line("logs enqueuer"), symptom_of="records")


def _rated(value: int, thresholds: tuple[int, int]) -> State | None:
    """Say how bad a number is; None if it is not a problem."""
    _, critical = thresholds
    if value < min(thresholds):
        return None
    return "critical" if value >= critical else "warning"


def _dlq(state: State, number: int, parked: Mapping[str, int], *, busy: bool) -> Problem:
    most = sorted(parked.items(), key=lambda one: -one[1])[:_REASONS_SHOWN]
    known = "; ".join(f"{count} by {reason}" for reason, count in most)
    # While another has the lock, a redrive would be refused.
    when = "once that is fixed, and the maintenance is over," if busy else "once that is fixed,"
    return Problem(
        state,
        f"{count_messages(number)} in the DLQ",
        f"{command_line('peek --queue dlq')} shows why; {when} {command_line('redrive')}",
        means=f"parked, as the log shows: {known}" if known else None,
        avoid="redrive before that is fixed: they would be parked again",
    )


def _age(seconds: int) -> str:
    return rough(timedelta(seconds=seconds))


def _badly_polled(measured: Measurements) -> Iterator[Problem]:
    if measured.worker == "running" and measured.polling is not None and measured.polling.problem:
        yield Problem(
            "warning",
            f"Lambda reports of its polling of main: {measured.polling.problem}",
            f"{command_line('logs worker')}; {command_line('plan')}",
            means=_WAITS["messages"],
            cause_of="messages",
        )


def _partly_disabled(measured: Measurements) -> Iterator[Problem]:
    """Report that some schedules are disabled while others start the worker."""
    off = [one.name for one in measured.schedules if not one.enabled]
    number = len(measured.schedules)
    if measured.worker == "running" and 0 < len(off) < number:
        yield Problem(
            "warning",
            disabled_schedules(off, number),
            command_line("resume worker"),
            means="the worker runs at the times of the others only; a deploy leaves it so",
        )


def _stopped(snapshot: Snapshot, *, stuck: bool) -> Iterator[Problem]:
    """Report what nothing starts: it is paused, stopped, or what started it is gone."""
    measured, settings = snapshot.measured, snapshot.settings
    flows: tuple[tuple[FunctionRole, TriggerState | None, Flow], ...] = (
        ("worker", measured.worker, "messages"),
        ("enqueuer", measured.enqueuer, "records"),
    )
    for role, state, flow in flows:
        by_mapping = settings.worker.by_queue or role == "enqueuer"
        late = "" if role == "worker" else "; the stream forgets a record after 24 h"
        found = Problem("critical", "", means=_WAITS[flow], avoid=_LEAVE[flow], cause_of=flow)
        if state == "stopped":
            step = end_stop(settings.names.function(role), reserves=not by_mapping)
            yield replace(found, text=f"{stop_text(role)}{late}", next=step)
        elif role == "worker" and measured.changes_trigger and state in ("paused", "missing"):
            # Who pauses the worker takes the mark of the change away: this is nobody's pause.
            text = f"{BEGUN}: nothing starts it"
            step = f"{command_line('deploy')} completes it, unless one is at work"
            yield replace(found, state="warning", text=text, next=step)
        elif state == "paused":
            step = _end_pause(measured, role, stuck=stuck)
            found = replace(found, state="warning", text=f"the {role} is paused{late}", next=step)
            # Where something else starts it, messages do not wait: drift says that.
            started = role == "worker" and measured.started_by
            yield replace(found, means=None, avoid=None, cause_of=None) if started else found
        elif state == "missing":
            what = "event source mapping" if by_mapping else "schedule"
            text = f"the {role} has no {what}: nothing starts it{late}"
            yield replace(found, text=text, next=f"{command_line('deploy')} makes it again")


def _end_pause(measured: Measurements, role: FunctionRole, *, stuck: bool) -> str:
    both = measured.worker == measured.enqueuer == "paused" and not measured.changes_trigger
    step = command_line("resume" if both and not stuck else f"resume {role}")
    if measured.maintenance is not None:
        return f"wait for the maintenance to finish: it may have paused it; if it stays so, {step}"
    if measured.restore is not None:
        # Resumed now, it would meet a main that lacks the heads of its groups.
        return command_line("redrive --in-order")
    return f"once a message is delivered again, {step}" if stuck and role == "worker" else step


def _maintenance(measured: Measurements) -> Iterator[Problem]:
    if measured.restore is not None and measured.maintenance is None:
        yield Problem(
            "critical",
            f"an in-order rebuild is unfinished: {measured.restore}",
            f"{command_line('redrive --in-order')} finishes it",
            means="messages of main are in the hold queue; nothing is lost",
            avoid="resume the worker before: it would meet groups without their heads",
        )
    elif measured.maintenance is not None:
        yield Problem(
            "warning",
            f"maintenance is going on: {measured.maintenance}",
            "wait for it to finish; if it was killed, its lock expires within 60 s",
            avoid="use --force while it is at work: two would move the same messages",
        )
    elif measured.total("hold"):
        held = count_messages(measured.total("hold") or 0)
        yield Problem("warning", f"{held} left in the hold queue", command_line("peek --queue hold"))


def unknown(what: str, failure: FifoError) -> Problem:
    """Return the problem of something that AWS did not answer."""
    return Problem("unknown", f"{what} is not known: {failure.message}", failure.hint)


def _failed_runs(snapshot: Snapshot) -> Iterator[Problem]:
    failed = list(takewhile(lambda run: run.error is not None, snapshot.runs.runs))
    if not failed:
        return
    newest = failed[0]
    if newest.owner == "configuration":
        text = f"the worker's last {_turns(snapshot, 1)} ended early"
        yield _unusable(text, newest, "messages", snapshot.settings)
        return
    yield Problem(
        "critical" if len(failed) >= _SEVERAL else "warning",
        f"the worker's last {_turns(snapshot, len(failed))} failed: {_first_line(newest.error)}",
        command_line("logs worker"),
        means=_hidden_by(newest, snapshot) or _WAITS["messages"],
        avoid=_LEAVE["messages"],
        cause_of="messages",
    )


def _hidden_by(run: WorkerRun, snapshot: Snapshot) -> str | None:
    """Say what is in flight after a function did not live to log its counts: the queue hides its batch."""
    main = snapshot.measured.queues.get("main")
    ends = run.time + main_visibility_timeout(snapshot.settings)
    if run.received is not None or main is None or not main.in_flight or ends <= snapshot.now:
        return None
    hidden = f"{count_messages(main.in_flight)} in flight: what this function had received is hidden"
    return f"{hidden} until {ends.astimezone(UTC):%H:%M:%S} UTC at the latest; its order is kept"


def _failed_batches(snapshot: Snapshot) -> Iterator[Problem]:
    """Report the last invocations. A single failure stands when no line of a later try can be late."""
    found = snapshot.batches
    failed = list(takewhile(lambda batch: batch.error is not None, found.batches))
    if not failed:
        return
    newest = failed[0]
    if newest.owner == "configuration" and not found.moved:
        yield _unusable("the enqueuer's last invocation failed", newest, "records", snapshot.settings)
        return
    if found.moved and newest.raised:
        return
    lasting = len(failed) >= _SEVERAL or snapshot.now - newest.time >= snapshot.late
    which = "invocation" if len(failed) == 1 else f"{len(failed)} invocations"
    forgets = "; nothing was enqueued since, and the stream forgets a record after 24 h"
    yield Problem(
        "critical" if newest.raised and lasting else "warning",
        f"the enqueuer's last {which} failed: {_first_line(newest.error)}{forgets if newest.raised else ''}",
        command_line("logs enqueuer"),
        means=_WAITS["records"],
        avoid=_LEAVE["records"],
        cause_of="records",
    )


def _unusable(message: str, one: WorkerRun | Batch, flow: Flow, settings: Settings) -> Problem:
    what = one.what or ""
    step = f"correct it in fifo.toml or where it is set, then {command_line('deploy')}"
    keys = key_commands(what, one.error or "", settings)
    if _FUNCTION.fullmatch(what):
        step = (
            f"if a deploy brought this, {command_line('rollback')}; else correct your code, or the"
            f" requirements.txt beside it, then {command_line('deploy')}"
        )
    elif keys and what.startswith("[api] auth"):
        step = (
            f"{keys} with what the API's owner gave you, or correct [api] auth, then {command_line('deploy')}"
        )
    elif keys:
        step = keys
    return Problem(
        "critical",
        f"{message}: {_first_line(one.error)}",
        f"{step}; nothing was parked",
        means=_WAITS[flow],
        avoid=_LEAVE[flow],
        cause_of=flow,
    )


def _silence(snapshot: Snapshot) -> Iterator[Problem]:
    """Report that the worker was due and did not run, though messages wait."""
    runs, measured, now = snapshot.runs.runs, snapshot.measured, snapshot.now
    if not _should_run(measured):
        return
    last = runs[0].time if runs else _waiting_since(snapshot)
    if last is None:
        return
    if (resumed := measured.resumed_at) is not None:
        last = max(last, resumed)  # paused, it was not to run
    due = reckon_next_runs(snapshot.settings, last, now=last + timedelta(seconds=59), count=1).times
    if due and due[0] + snapshot.late < now:
        yield _silent(now - last, "" if runs else " since its messages came")


def _unpolled(snapshot: Snapshot) -> Iterator[Problem]:
    """Report that no batch was handed to the worker, though messages wait that no function has paused.

    Of a group that is paused, what is behind the head counts as visible.
    """
    runs, measured, now = snapshot.runs, snapshot.measured, snapshot.now
    if not _should_run(measured):
        return
    since = _waiting_since(snapshot, after=runs.by_itself)
    pauses = [*(one.until for one in runs.paused), *(one.paused_until for one in runs.stuck)]
    times = list(filter(None, (runs.by_itself, measured.resumed_at, *pauses)))
    if since is not None and (last := max([since, *times])) + snapshot.late < now:
        yield _silent(now - last, "" if runs.by_itself else " since its messages came")
    elif _lies_idle(snapshot) and (last := max(times)) + snapshot.late < now:
        text = f"the worker has not run for {rough(now - last)}, though messages are visible"
        yield replace(_silent(now - last, ""), state="warning", text=text)


def _lies_idle(snapshot: Snapshot) -> bool:
    """Whether, with no age known, nothing is in flight and more visible than was enqueued since the last run.

    Some of that was there before the run, or came another way, such as by ``load``.
    """
    main, last = snapshot.measured.queues["main"], snapshot.runs.by_itself
    if last is None or main.oldest_age is not None:
        return False
    new = sum(one.enqueued or 0 for one in snapshot.batches.batches if one.time > last)
    return main.visible == main.total and main.visible > new and snapshot.runs.breaker is None


def _should_run(measured: Measurements) -> bool:
    main = measured.queues.get("main")
    return measured.worker == "running" and main is not None and main.visible > 0


def _silent(since: timedelta, note: str) -> Problem:
    text = f"the worker has not run for {rough(since)}{note}, though it should have"
    step = f"{command_line('logs worker')}; {command_line('plan')}"
    return Problem("critical", text, step, means=_WAITS["messages"], cause_of="messages")


def _waiting_since(snapshot: Snapshot, *, after: datetime | None = None) -> datetime | None:
    """Return since when something waits: by its age, or by what was enqueued ``after`` an instant."""
    if snapshot.measured.age:
        return snapshot.now - timedelta(seconds=snapshot.measured.age)
    sent = (batch.time for batch in snapshot.batches.batches if batch.enqueued)
    return min((time for time in sent if after is None or time > after), default=None)


def _turns(snapshot: Snapshot, number: int) -> str:
    """Write a number of runs, which are batches where the queue starts the worker; of one only the noun."""
    one, several = ("batch", "batches") if snapshot.settings.worker.by_queue else ("run", "runs")
    return one if number == 1 else f"{number} {several}"


def _nothing_delivered(snapshot: Snapshot, *, stuck_named: bool) -> Iterator[Problem]:
    """Report runs that delivered nothing; with the reason, where no group that is stuck is named yet."""
    last = snapshot.runs.runs[:_UNDELIVERED]
    if snapshot.settings.worker.max_rate is not None and not any(run.failed for run in last):
        return  # nothing was tried: the rate allows the next call only later
    if len(last) == _UNDELIVERED and all(
        run.error is None and run.received and not run.delivered and not run.parked for run in last
    ):
        step = f"{command_line('logs worker')}; if the API is down, wait: the messages keep their order"
        text = f"the worker's last {_turns(snapshot, len(last))} delivered nothing"
        found = Problem("warning", text, step, symptom_of="messages")
        young = () if stuck_named else _stuck(replace(snapshot, patient=False))
        if why := next((one for one in young if one.cause_of), None):
            text = f"{text}: {why.text}"
            found = replace(found, text=text, next=why.next, means=why.means, avoid=why.avoid)
        yield found


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


def _key_problems(missing: Iterable[tuple[str, str]], settings: Settings) -> Iterator[Problem]:
    """Name the keys without which no run can deliver."""
    for name, fault in missing:
        lacks = "is missing" if fault.endswith("does not exist") else "cannot be read"
        text = f"key {name} {lacks}: {fault}"
        step = key_commands(f"key {name}", fault, settings) or command_line("keys set", name)
        yield Problem("critical", text, step, _WAITS["messages"], cause_of="messages")
