"""pause and resume: stop and restart the enqueuer and the worker; nothing is lost meanwhile.

The enqueuer is paused when its event source mapping is disabled, the worker when all is that starts it
(model/worker_trigger.py); both go on where they stopped.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from fifo_cli.aws.resources.gateway import Waiter
from fifo_cli.aws.sqs import Queue, QueueTags
from fifo_cli.aws.triggers import get_reserved_concurrency
from fifo_cli.errors import ExitCode, FifoError, Interrupted, NotDeployedError
from fifo_cli.events import Finished, Listener, Noted, Started, Warned, silent
from fifo_cli.invocation import command_line
from fifo_cli.model.external_triggers import end_other, end_stop, other_starters, stop_text
from fifo_cli.model.names import FUNCTION_ROLES, PIPELINE_TAG, RESUMED_TAG, SWITCH_TAG, FunctionRole
from fifo_cli.model.planning import is_surplus
from fifo_cli.model.resources import STREAM_RETENTION, Found, Key
from fifo_cli.model.results import INTERNAL, Result
from fifo_cli.model.times import format_duration, iso
from fifo_cli.model.trigger_switch import wanted_triggers
from fifo_cli.model.worker_trigger import MAPPING
from fifo_cli.operations.deploy.remote_state import Gateways, gateways, named_triggers, naming_place
from fifo_cli.operations.deploy.wait_until_idle import RunTimes, wait_for_enqueuer, wait_for_worker
from fifo_cli.operations.maintenance_lock import refuse_while_unfinished

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.settings import Settings

RunState = Literal["running", "paused"]
Part = Literal["enqueuer", "worker", "all"]


@dataclass(frozen=True, slots=True)
class PauseState(Result):
    """Whether each function is started; ``idle`` is false if what was in flight did not end in time.

    ``as_asked`` is false if something done by hand keeps a function from being paused or resumed.
    """

    enqueuer: RunState
    worker: RunState
    idle: bool = field(default=True, metadata=INTERNAL)
    as_asked: bool = field(default=True, metadata=INTERNAL)

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.OK if self.idle and self.as_asked else ExitCode.ATTENTION


# What starts each function.
_Triggers = Mapping[FunctionRole, tuple[Found, ...]]
# Said of every pause; whoever resumes a moment later by itself may leave it out.
STREAM_FORGETS: Final = "the stream keeps a record for 24 hours only"


def pause(
    aws: Aws,
    settings: Settings,
    part: Part = "all",
    *,
    wait: bool | Literal["until visible"] = False,
    listener: Listener = silent,
    sleep: Callable[[float], None] = time.sleep,
) -> PauseState:
    """Stop a function, or both; with ``wait``, return when what was in flight is done.

    On AWS that takes minutes, even if nothing is seen in flight: its counts are late. The wait has a bound,
    past which the result is not ``idle``; "until visible" waits for the pauses of groups that failed, too.
    ``sleep`` may raise Interrupted. Raises NotDeployedError if there is nothing to pause.
    """
    waiter = Waiter(listener, sleep)
    gates = gateways(aws, settings, waiter=waiter)
    with naming_place(aws):
        present = named_triggers(gates, settings)
        triggers = _triggers(gates, settings, present)
        if "worker" in _roles(part):
            _forget_change(Queue(aws, settings.names, "main").tags)
        state = _switch(gates, triggers, part, listener, enabled=False)
    _warn(settings, part, listener)
    if "worker" in _roles(part):
        state = _unless_others_start_it(state, other_starters(settings, present), listener)
    if not wait:
        return state
    since = waiter.clock()
    try:
        idle = True
        if "enqueuer" in _roles(part):
            (mapping,) = triggers["enqueuer"]
            wait_for_enqueuer(gates, mapping, settings.functions.timeout, waiter, aws.delays)
        if "worker" in _roles(part):
            idle = wait_for_worker(
                gates,
                settings.names,
                triggers["worker"],
                RunTimes.of(settings),
                waiter,
                aws.delays,
                since=since,
                until_visible=wait == "until visible",
            )
    except (Interrupted, KeyboardInterrupt):
        listener(Noted("interrupted: what was paused stays so, but a run that had begun may not have ended"))
        raise
    return replace(state, idle=idle)


def resume(
    aws: Aws,
    settings: Settings,
    part: Part = "all",
    *,
    finishes_restore: bool = False,
    listener: Listener = silent,
) -> PauseState:
    """Start a function, or both, again.

    Raises NotDeployedError if there is nothing to resume, and BusyError while an in-order rebuild is
    unfinished (except for ``finishes_restore``): main lacks the heads of its groups, and what the enqueuer
    added would come before them.
    """
    gates = gateways(aws, settings, waiter=Waiter(listener))
    tags = Queue(aws, settings.names, "main").tags
    with naming_place(aws):
        if not finishes_restore:
            refuse_while_unfinished(tags)
        triggers = _triggers(gates, settings, named_triggers(gates, settings))
        triggers = {**triggers, "worker": wanted_triggers(triggers["worker"], settings)}
        state = _switch(gates, triggers, part, listener, enabled=True, resumed=partial(_note_resume, tags))
    for role in _roles(part):
        state = _unless_stopped(state, aws, settings, role, listener)
    return state


def _unless_others_start_it(state: PauseState, others: Mapping[Key, str], listener: Listener) -> PauseState:
    """Say of a worker that was paused what goes on starting it."""
    for key, text in others.items():
        listener(Warned(f"{text}: it is not paused, and the worker goes on; {end_other(key)} stops it"))
    return replace(state, worker="running", as_asked=False) if others else state


def _unless_stopped(
    state: PauseState, aws: Aws, settings: Settings, role: FunctionRole, listener: Listener
) -> PauseState:
    """Say of a function that was resumed that Lambda's emergency stop keeps it from running."""
    name = settings.names.function(role)
    try:
        stopped = get_reserved_concurrency(aws, name) == 0
    except FifoError as error:
        listener(Warned(f"whether the {role} is stopped is not known: {error.message}"))
        return state
    if not stopped:
        return state
    step = end_stop(name, reserves=role == "worker" and not settings.worker.by_queue)
    listener(Warned(f"{stop_text(role)}, and resume leaves it so; {step} starts it again"))
    if role == "worker":
        return replace(state, worker="paused", as_asked=False)
    return replace(state, enqueuer="paused", as_asked=False)


def _note_resume(tags: QueueTags) -> None:
    """Let ``status`` and ``check`` know that no run was due before, if the caller may write tags."""
    with contextlib.suppress(FifoError):
        tags.write(RESUMED_TAG, iso(datetime.now(UTC)))


def _forget_change(tags: QueueTags) -> None:
    """Let the deploy that completes a change of what starts the worker leave it paused."""
    if SWITCH_TAG in tags.read().tags:
        tags.remove(SWITCH_TAG)


def pause_state(aws: Aws, settings: Settings) -> PauseState:
    """Return whether each function is started; raises NotDeployedError if nothing starts one of them."""
    gates = gateways(aws, settings, waiter=Waiter())
    triggers = _triggers(gates, settings, named_triggers(gates, settings))
    return PauseState(_state(triggers["enqueuer"]), _state(triggers["worker"]))


def _state(triggers: Iterable[Found]) -> RunState:
    return "running" if any(one.facts["enabled"] for one in triggers) else "paused"


def _roles(part: Part) -> Sequence[FunctionRole]:
    return FUNCTION_ROLES if part == "all" else (part,)


def _triggers(gates: Gateways, settings: Settings, present: Iterable[Found]) -> _Triggers:
    """Return what starts the functions; ``present`` is all that is named like what starts the worker."""
    name = settings.pipeline.name
    mapping = gates.mappings.read(settings.names.function("enqueuer"))
    if mapping is None or mapping.tags.get(PIPELINE_TAG) != name:
        raise _not_deployed(f"the enqueuer of {name} has no event source mapping")
    ours = tuple(one for one in present if is_surplus(one, name))
    if not ours:
        trigger = "event source mapping" if settings.worker.by_queue else "schedule"
        raise _not_deployed(f"the worker of {name} has no {trigger}")
    return {"enqueuer": (mapping,), "worker": ours}


def _not_deployed(what: str) -> NotDeployedError:
    return NotDeployedError(
        f"{what} in this account and region",
        hint=f"deploy the pipeline with {command_line('deploy')}, or check --env, --profile and --region",
    )


def _switch(
    gates: Gateways,
    triggers: _Triggers,
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
    states = {role: _state(triggers[role]) for role in FUNCTION_ROLES}
    state: RunState
    verb, state = ("resume", "running") if enabled else ("pause", "paused")
    for role in (role for role in FUNCTION_ROLES[:: -1 if enabled else 1] if role in _roles(part)):
        changing = [one for one in triggers[role] if one.facts["enabled"] != enabled]
        if enabled and changing and role == "worker":
            resumed()
        for found in changing:
            listener(Started(verb, found.kind, found.name))
            gates.trigger(found).switch(found, enabled=enabled)
            listener(Finished(verb, found.kind, found.name))
        if not changing:
            listener(Noted(f"the {role} is {state} already"))
        states[role] = state
    if enabled:
        for found in (one for role in _roles(part) for one in triggers[role] if one.kind == MAPPING):
            gates.mappings.wait_settled(found)
    return PauseState(states["enqueuer"], states["worker"])


def _warn(settings: Settings, part: Part, listener: Listener) -> None:
    if "enqueuer" in _roles(part):
        until = iso(datetime.now(UTC) + STREAM_RETENTION)
        listener(
            Warned(f"{STREAM_FORGETS}: resume the enqueuer before {until}, or what was written first is lost")
        )
    if "worker" in _roles(part):
        kept = format_duration(settings.queue.retention)
        listener(Noted(f"messages wait in {settings.names.main} for {kept} at most"))
