"""pause and resume: stop and restart the enqueuer and the worker; nothing is lost meanwhile.

The worker is paused when its schedules are disabled, the enqueuer when its event source mapping is; both go
on where they stopped.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from fifo_cli.aws.consistency import ConsistencyDelays
from fifo_cli.aws.queue_tags import QueueTags
from fifo_cli.aws.resources.gateway import LONGEST_PAUSE, Pending, TimedOut, Waiter
from fifo_cli.aws.sqs import Queue
from fifo_cli.errors import ExitCode, FifoError, Interrupted, NotDeployedError
from fifo_cli.events import Finished, Listener, Noted, Started, Warned, silent
from fifo_cli.invocation import command_line
from fifo_cli.model.names import FUNCTION_ROLES, PIPELINE_TAG, RESUMED_TAG, FunctionRole, Names
from fifo_cli.model.resources import STREAM_RETENTION, VISIBILITY_MARGIN, Found
from fifo_cli.model.results import INTERNAL, Single
from fifo_cli.model.times import format_duration, iso
from fifo_cli.operations.deploy.remote_state import (
    Gateways,
    gateways,
    naming_place,
    observe,
    schedule_keys,
)
from fifo_cli.operations.maintenance_lock import refuse_while_unfinished

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.settings import Settings

RunState = Literal["running", "paused"]
Part = Literal["enqueuer", "worker", "all"]


@dataclass(frozen=True, slots=True)
class PauseState(Single):
    """Whether each function is started; ``at_rest`` is false if what was in flight did not end in time."""

    enqueuer: RunState
    worker: RunState
    at_rest: bool = field(default=True, metadata=INTERNAL)

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.OK if self.at_rest else ExitCode.ATTENTION


# What starts each function: the enqueuer its mapping, the worker its rules or schedules.
_Triggers = Mapping[FunctionRole, tuple[Found, ...]]
# Said of every pause; whoever resumes a moment later by itself may leave it out.
STREAM_FORGETS: Final = "the stream keeps a record for 24 hours only"


def pause(
    aws: Aws,
    settings: Settings,
    part: Part = "all",
    *,
    wait: bool = False,
    listener: Listener = silent,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> PauseState:
    """Stop a function, or both; with ``wait``, return when what was in flight is done.

    On AWS that takes minutes, even if nothing is seen in flight: its counts are late. The wait has a bound,
    past which the result is not ``at_rest``; ``sleep`` may raise Interrupted. Raises NotDeployedError if
    there is nothing to pause.
    """
    waiter = Waiter(listener, sleep, clock)
    gates = gateways(aws, settings, waiter=waiter)
    with naming_place(aws):
        state = _switch(gates, settings, part, listener, enabled=False)
    _warn(settings, part, listener, now())
    if not wait:
        return state
    since = waiter.clock()
    try:
        _wait_for_enqueuer(gates, settings, part, waiter, aws.delays)
        at_rest = _wait_for_worker(gates, settings, part, waiter, aws.delays, since=since)
    except (Interrupted, KeyboardInterrupt):
        listener(Noted("interrupted: what was paused stays so, but something of it may still be under way"))
        raise
    return replace(state, at_rest=at_rest)


def resume(
    aws: Aws,
    settings: Settings,
    part: Part = "all",
    *,
    finishes_restore: bool = False,
    listener: Listener = silent,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> PauseState:
    """Start a function, or both, again.

    Raises NotDeployedError if there is nothing to resume, and BusyError while an in-order rebuild is
    unfinished (but for ``finishes_restore``): main lacks the heads of its groups, and what the enqueuer
    added would come before them.
    """
    gates = gateways(aws, settings, waiter=Waiter(listener, sleep, clock))
    tags = QueueTags(aws, Queue(aws, settings.names, "main"))
    with naming_place(aws):
        if not finishes_restore:
            refuse_while_unfinished(tags)
        return _switch(
            gates, settings, part, listener, enabled=True, resumed=partial(_note_resume, tags, now)
        )


def _note_resume(tags: QueueTags, now: Callable[[], datetime]) -> None:
    """Let ``status`` and ``check`` know that no run was due before, if the caller may write tags."""
    with contextlib.suppress(FifoError):
        tags.write(RESUMED_TAG, iso(now()))


def pause_state(aws: Aws, settings: Settings) -> PauseState:
    """Return whether each function is started; raises NotDeployedError if nothing starts one of them."""
    triggers = _triggers(gateways(aws, settings, waiter=Waiter()), settings)
    return PauseState(_state(triggers["enqueuer"]), _state(triggers["worker"]))


def _state(triggers: Iterable[Found]) -> RunState:
    return "running" if any(one.facts["enabled"] for one in triggers) else "paused"


def _roles(part: Part) -> Sequence[FunctionRole]:
    return FUNCTION_ROLES if part == "all" else (part,)


def _triggers(gates: Gateways, settings: Settings) -> _Triggers:
    """Read what starts the functions; schedules of others that are named alike are left out."""
    name, mapping = settings.pipeline.name, _mapping(gates, settings)
    found = observe(gates, schedule_keys(gates, settings))
    ours = tuple(one for one in found.values() if one.tags.get(PIPELINE_TAG) == name)
    if not ours:
        raise _not_deployed(f"the worker of {name} has no schedule")
    return {"enqueuer": (mapping,), "worker": ours}


def _mapping(gates: Gateways, settings: Settings) -> Found:
    name = settings.pipeline.name
    mapping = gates.mappings.read(Names(name).function("enqueuer"))
    if mapping is None or mapping.tags.get(PIPELINE_TAG) != name:
        raise _not_deployed(f"the enqueuer of {name} has no event source mapping")
    return mapping


def _not_deployed(what: str) -> NotDeployedError:
    return NotDeployedError(
        f"{what} in this account and region",
        hint=f"deploy the pipeline with {command_line('deploy')}, or check --env, --profile and --region",
    )


def _switch(
    gates: Gateways,
    settings: Settings,
    part: Part,
    listener: Listener,
    *,
    enabled: bool,
    resumed: Callable[[], None] = lambda: None,
) -> PauseState:
    """Enable or disable what starts a function, and return how both are then.

    The enqueuer is paused first and resumed last: meanwhile the queue gets shorter rather than longer.
    ``resumed`` is called before a paused worker is resumed.
    """
    triggers = _triggers(gates, settings)
    states = {role: _state(triggers[role]) for role in FUNCTION_ROLES}
    state: RunState
    verb, state = ("resume", "running") if enabled else ("pause", "paused")
    for role in (role for role in FUNCTION_ROLES[:: -1 if enabled else 1] if role in _roles(part)):
        changing = [one for one in triggers[role] if one.facts["enabled"] != enabled]
        if enabled and changing and role == "worker":
            resumed()
        for found in changing:
            listener(Started(verb, found.kind, found.name))
            gates.switch(found, enabled=enabled)
            listener(Finished(verb, found.kind, found.name))
        if not changing:
            listener(Noted(f"the {role} is {state} already"))
        states[role] = state
    if enabled and part != "worker":
        gates.mappings.wait_settled(*triggers["enqueuer"])
    return PauseState(states["enqueuer"], states["worker"])


def _warn(settings: Settings, part: Part, listener: Listener, now: datetime) -> None:
    if "enqueuer" in _roles(part):
        until = iso(now + STREAM_RETENTION)
        listener(
            Warned(f"{STREAM_FORGETS}: resume the enqueuer before {until}, or what was written first is lost")
        )
    if "worker" in _roles(part):
        kept = format_duration(settings.queue.retention)
        listener(Noted(f"messages wait in {settings.names.main} for {kept} at most"))


def _wait_for_enqueuer(
    gates: Gateways, settings: Settings, part: Part, waiter: Waiter, delays: ConsistencyDelays
) -> None:
    """Wait until the mapping is disabled, and its last invocation has had its time.

    No document says that a mapping is called Disabled only when its last invocation is over.
    """
    if "enqueuer" not in _roles(part):
        return
    gates.mappings.wait_settled(_mapping(gates, settings))
    longest = settings.functions.timeout.total_seconds() if delays.last_run else 0
    ends = waiter.clock() + longest

    def attempt() -> Pending | None:
        if waiter.clock() >= ends:
            return None
        return Pending(f"ending its last invocation, {longest:.0f} s at most")

    name = settings.names.function("enqueuer")
    waiter.until(attempt, name=name, limit=longest + 2 * LONGEST_PAUSE)


def _wait_for_worker(
    gates: Gateways,
    settings: Settings,
    part: Part,
    waiter: Waiter,
    delays: ConsistencyDelays,
    *,
    since: float,
) -> bool:
    """Wait until no run can start any more and nothing of main is in flight; False if it takes too long."""
    names = settings.names
    if "worker" not in _roles(part):
        return True
    starts_until = since + delays.last_run  # then the last run has started
    empty_since: float | None = None

    def attempt() -> Pending | None:
        nonlocal empty_since
        now = waiter.clock()
        if gates.queues.in_flight(names.main):
            empty_since = None
            return Pending("delivering what it has received")
        empty_since = now if empty_since is None else empty_since
        if now < starts_until:
            return Pending(
                "started for the last time: a disabled rule may still fire, and its run start later,"
                f" {starts_until - empty_since:.0f} s at most"
            )
        # Of a run that started last, the counts may know nothing for so long.
        if now < max(empty_since, starts_until) + delays.queue_counts:
            return Pending(f"seen at rest for {delays.queue_counts:.0f} s: so late may SQS's counts be")
        return None

    # A run may take its whole timeout; what a killed one held stays hidden for as long again.
    hidden = settings.run_needs + timedelta(seconds=VISIBILITY_MARGIN)
    longest = (settings.functions.timeout + hidden).total_seconds()
    # Counts are late twice: they show for so long what has ended, and then have to show nothing for so long.
    limit = longest + delays.last_run + 2 * (delays.queue_counts + LONGEST_PAUSE)
    try:
        waiter.until(attempt, name=names.function("worker"), limit=limit)
    except TimedOut:
        late = f"{names.main} still has messages in flight after {limit:.0f} s"
        waiter.listener(Warned(f"{late}; look with {command_line('depth')}"))
        return False
    return True
