"""pause and resume: stop and restart what states through a pipeline; nothing is lost meanwhile.

The worker rests when its schedules are disabled, the enqueuer when its event source mapping is; both go on
where they stopped.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from fifo_cli.aws.queue_tags import QueueTags
from fifo_cli.aws.resources.gateway import LONGEST_PAUSE, Pending, TimedOut, Waiter
from fifo_cli.aws.settling import Settling
from fifo_cli.aws.sqs import Queue
from fifo_cli.errors import ExitCode, FifoError, Interrupted, NotDeployedError
from fifo_cli.events import Finished, Listener, Noted, Started, Warned, silent
from fifo_cli.model.names import FUNCTION_ROLES, PIPELINE_TAG, RESUMED_TAG, FunctionRole, Names
from fifo_cli.model.resources import STREAM_RETENTION, VISIBILITY_MARGIN, Found
from fifo_cli.model.results import INTERNAL, Single
from fifo_cli.model.times import format_duration, iso
from fifo_cli.operations.deploy.remote_state import (
    Gateways,
    gateways,
    observe,
    schedule_keys,
    telling_place,
)
from fifo_cli.operations.maintenance_lock import refuse_while_unfinished

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.settings import Settings

RunState = Literal["running", "paused"]
Part = Literal["enqueuer", "worker", "all"]


@dataclass(frozen=True, slots=True)
class PauseState(Single):
    """Whether each function is fed; ``settled`` is false if what was in flight did not end in time."""

    enqueuer: RunState
    worker: RunState
    settled: bool = field(default=True, metadata=INTERNAL)

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.OK if self.settled else ExitCode.ATTENTION


@dataclass(frozen=True, slots=True)
class _Feeds:
    """What feeds the functions: the mapping the enqueuer, rules or schedules the worker."""

    mapping: Found
    schedules: tuple[Found, ...]

    @property
    def enqueuer(self) -> RunState:
        return "running" if self.mapping.facts["enabled"] else "paused"

    @property
    def worker(self) -> RunState:
        return "running" if any(one.facts["enabled"] for one in self.schedules) else "paused"


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
    """Stop feeding a function, or both; with ``wait``, return when what was in flight is done.

    Where AWS settles late, that takes minutes even if nothing is to be seen in flight. The wait has a bound,
    past which the result is not ``settled``; ``sleep`` may raise Interrupted. Raises NotDeployedError if
    there is nothing to pause.
    """
    waiter = Waiter(listener, sleep, clock)
    gates = gateways(aws, settings, waiter=waiter)
    with telling_place(aws):
        state = _switch(gates, settings, part, listener, enabled=False)
    _warn(settings, part, listener, now())
    if not wait:
        return state
    since = waiter.clock()
    try:
        _wait_for_enqueuer(gates, settings, part, waiter, aws.settling)
        settled = _wait_for_worker(gates, settings, part, waiter, aws.settling, since=since)
    except (Interrupted, KeyboardInterrupt):
        listener(Noted("interrupted: what was paused stays so, but something of it may still be under way"))
        raise
    return replace(state, settled=settled)


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
    """Feed a function, or both, again.

    Raises NotDeployedError if there is nothing to resume, and BusyError while an in-order rebuild is
    unfinished (but for ``finishes_restore``): main lacks the heads of its groups, and what the enqueuer
    added would come before them.
    """
    gates = gateways(aws, settings, waiter=Waiter(listener, sleep, clock))
    tags = QueueTags(aws, Queue(aws, Names(settings.pipeline.name), "main"))
    with telling_place(aws):
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
    """Return whether each function is fed; raises NotDeployedError if there is nothing that feeds them."""
    feeds = _feeds(gateways(aws, settings, waiter=Waiter()), settings)
    return PauseState(feeds.enqueuer, feeds.worker)


def _roles(part: Part) -> Sequence[FunctionRole]:
    return FUNCTION_ROLES if part == "all" else (part,)


def _feeds(gates: Gateways, settings: Settings) -> _Feeds:
    """Read what feeds the functions; schedules of others that are named alike are left out."""
    name, mapping = settings.pipeline.name, _mapping(gates, settings)
    keys = schedule_keys(gates, settings)
    ours = [one for one in observe(gates, keys).values() if one.tags.get(PIPELINE_TAG) == name]
    if not ours:
        raise _not_deployed(f"the worker of {name} has no schedule")
    return _Feeds(mapping, tuple(ours))


def _mapping(gates: Gateways, settings: Settings) -> Found:
    name = settings.pipeline.name
    mapping = gates.mappings.read(Names(name).function("enqueuer"))
    if mapping is None or mapping.tags.get(PIPELINE_TAG) != name:
        raise _not_deployed(f"the enqueuer of {name} has no event source mapping")
    return mapping


def _not_deployed(what: str) -> NotDeployedError:
    return NotDeployedError(
        f"{what} in this account and region",
        hint="deploy the pipeline with `fifo-cli deploy`, or check --env, --profile and --region",
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
    """Switch what feeds a function, and return how both are then.

    The enqueuer is paused first and resumed last: meanwhile the line is served rather than fed. ``resumed``
    is called before a paused worker is resumed.
    """
    feeds = _feeds(gates, settings)
    verb, state = ("resume", "running") if enabled else ("pause", "paused")
    states: dict[str, Any] = {"enqueuer": feeds.enqueuer, "worker": feeds.worker}
    for role in (role for role in FUNCTION_ROLES[:: -1 if enabled else 1] if role in _roles(part)):
        changing = [one for one in _feeding(feeds, role) if one.facts["enabled"] != enabled]
        if enabled and changing and role == "worker":
            resumed()
        for found in changing:
            listener(Started(verb, found.kind, found.name))
            _gate(gates, found).switch(found, enabled=enabled)
            listener(Finished(verb, found.kind, found.name))
        if not changing:
            listener(Noted(f"the {role} is {state} already"))
        states[role] = state
    if enabled and part != "worker":
        gates.mappings.wait_settled(feeds.mapping)
    return PauseState(**states)


def _feeding(feeds: _Feeds, role: FunctionRole) -> tuple[Found, ...]:
    return (feeds.mapping,) if role == "enqueuer" else feeds.schedules


def _gate(gates: Gateways, found: Found) -> Any:
    switches: dict[str, Any] = {
        "event-source-mapping": gates.mappings, "rule": gates.rules, "schedule": gates.schedules,
    }  # fmt: skip
    return switches[found.kind]


def _warn(settings: Settings, part: Part, listener: Listener, now: datetime) -> None:
    if "enqueuer" in _roles(part):
        until = iso(now + STREAM_RETENTION)
        listener(
            Warned(f"{STREAM_FORGETS}: resume the enqueuer before {until}, or what was written first is lost")
        )
    if "worker" in _roles(part):
        kept = format_duration(settings.queue.retention)
        listener(Noted(f"messages wait in {Names(settings.pipeline.name).main} for {kept} at most"))


def _wait_for_enqueuer(
    gates: Gateways, settings: Settings, part: Part, waiter: Waiter, settling: Settling
) -> None:
    """Wait until the mapping is disabled, and its last invocation has had its time.

    No document says that a mapping is called Disabled only when its last invocation is over.
    """
    if "enqueuer" not in _roles(part):
        return
    gates.mappings.wait_settled(_mapping(gates, settings))
    rest = settings.functions.timeout.total_seconds() if settling.last_run else 0
    ends = waiter.clock() + rest

    def attempt() -> Pending | None:
        if waiter.clock() >= ends:
            return None
        return Pending(f"ending its last invocation, {rest:.0f} s at most")

    name = Names(settings.pipeline.name).function("enqueuer")
    waiter.until(attempt, name=name, limit=rest + 2 * LONGEST_PAUSE)


def _wait_for_worker(
    gates: Gateways, settings: Settings, part: Part, waiter: Waiter, settling: Settling, *, since: float
) -> bool:
    """Wait until no run can start any more and nothing of main is in flight; False if it takes too long."""
    names = Names(settings.pipeline.name)
    if "worker" not in _roles(part):
        return True
    quiet = _Quiet(waiter.clock, since + settling.last_run, settling.queue_counts)

    def attempt() -> Pending | None:
        return quiet.look(gates.queues.in_flight(names.main))

    # A run may take its whole timeout; what a killed one held stays hidden for as long again.
    hidden = settings.run_needs + timedelta(seconds=VISIBILITY_MARGIN)
    longest = (settings.functions.timeout + hidden).total_seconds()
    # Counts are late twice: they show for so long what has ended, and then have to show nothing for so long.
    limit = longest + settling.last_run + 2 * (settling.queue_counts + LONGEST_PAUSE)
    try:
        waiter.until(attempt, name=names.function("worker"), limit=limit)
    except TimedOut:
        text = f"{names.main} still has messages in flight after {limit:.0f} s; look with `fifo-cli depth`"
        waiter.listener(Warned(text))
        return False
    return True


@dataclass(slots=True)
class _Quiet:
    """Judges by SQS's counts, a look at a time, whether the worker rests.

    ``starts_until`` is when the last run has started; ``lag`` is by how many seconds counts may be late.
    Where nothing is late, one look is enough.
    """

    clock: Callable[[], float]
    starts_until: float
    lag: float
    since: float | None = None

    def look(self, in_flight: int) -> Pending | None:
        """Return what to wait for, if the worker may still be at work."""
        now = self.clock()
        if in_flight:
            self.since = None
            return Pending("delivering what it has received")
        if self.since is None:
            self.since = now
        if now < self.starts_until:
            return Pending(
                "started for the last time: a disabled rule may still fire, and its run start later,"
                f" {self.starts_until - self.since:.0f} s at most"
            )
        # Of a run that started last, the counts may know nothing for so long.
        if now < max(self.since, self.starts_until) + self.lag:
            return Pending(f"seen at rest for {self.lag:.0f} s: so late may SQS's counts be")
        return None
