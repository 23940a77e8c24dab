"""deploy: make AWS match fifo.toml. Each step may be repeated, so a run that was cut off is run again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fifo_cli.aws.consistency import ConsistencyDelays
from fifo_cli.aws.resources.gateway import AlreadyExists, Gateway, Pending, Waiter
from fifo_cli.errors import AwsError, UsageError
from fifo_cli.events import Listener, Warned, silent
from fifo_cli.invocation import command_line
from fifo_cli.model.names import FUNCTION_ROLES, QUEUE_ROLES, Names
from fifo_cli.model.planning import (
    Change,
    DeployedMapping,
    DeployedSchedule,
    DeployResult,
    Outputs,
    differences,
    ownership_refusal,
)
from fifo_cli.model.resources import Found, Key, Resource, alias_name
from fifo_cli.model.schedules import next_runs
from fifo_cli.model.worker_trigger import mapping_key
from fifo_cli.operations.deploy.apply import Work, depths, in_levels, one_at_a_time, sleep_unless
from fifo_cli.operations.deploy.plan import Prepared, prepare
from fifo_cli.operations.deploy.remote_state import observe
from fifo_cli.operations.deploy.trigger_switch import (
    check_live_code,
    end_switch,
    one_switch_at_a_time,
    saying_what_rests,
    stop_old_trigger,
)

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.planning import Plan
    from fifo_cli.model.settings import Project, Settings


def deploy(
    aws: Aws,
    project: Project,
    *,
    adopt: bool = False,
    confirm: Callable[[Plan], None] = lambda plan: None,
    dry_run: bool = False,
    listener: Listener = silent,
    sleep: Callable[[float], None] = time.sleep,
) -> DeployResult:
    """Make AWS match fifo.toml and return what was changed, and where things are.

    ``confirm`` gets the plan before anything is changed, and raises to stop; it is not asked when there is
    nothing to change. Raises UsageError, nothing touched, if a resource may not be changed; AwsError,
    saying what was done, if a change failed; BusyError, nothing touched, beside another's change of what
    starts the worker.
    """
    listener = one_at_a_time(listener)
    work = Work("deploy", listener)
    waiter = Waiter(listener, sleep_unless(work.halt.is_set, sleep))
    prepared = prepare(aws, project, adopt=adopt, build=not dry_run, waiter=waiter)
    found = prepared.found
    if prepared.plan.changes and not dry_run:
        confirm(prepared.plan)
        planned = len(prepared.plan.changes)
        with one_switch_at_a_time(aws, prepared, waiter), saying_what_rests(prepared, listener):
            work.beforehand(lambda: stop_old_trigger(prepared, waiter, aws.delays), planned)
            apply(prepared, adopt=adopt, work=work)
            work.afterwards(lambda: end_switch(prepared))
        found = work.afterwards(lambda: wait_until_shown(prepared, aws.delays, waiter))
    return DeployResult(prepared.plan, outputs(aws, project.settings, found, now=datetime.now(UTC)))


def levels(changes: Sequence[Change], wanted: Iterable[Resource]) -> list[list[Change]]:
    """Order changes so that what a resource needs comes before it, and deletes come last."""
    depth = depths(wanted)
    last = 1 + max(depth.values(), default=0)
    return in_levels(changes, lambda change: last if change.action == "delete" else depth[change.key])


def apply(prepared: Prepared, *, adopt: bool, work: Work) -> None:
    """Carry out a plan; raises AwsError, saying what was done, if a change failed."""
    wanted = {one.key: one for one in prepared.wanted}
    names = prepared.settings.names

    def make(change: Change) -> None:
        if change.key == mapping_key(names) and change.key in wanted:
            check_live_code(prepared, change.name)
        gate, resource = prepared.gates.by_kind[change.kind], wanted.get(change.key)
        if resource is None:
            gate.delete(prepared.found[change.key])
        elif change.action == "update":
            gate.update(resource, prepared.found[change.key], change.changed)
        else:
            try:
                gate.create(resource)
            except AlreadyExists:
                _converge(resource, gate, names.pipeline, adopt=adopt)

    work.carry_out(levels(prepared.plan.changes, prepared.wanted), make)


def wait_until_shown(prepared: Prepared, delays: ConsistencyDelays, waiter: Waiter) -> Mapping[Key, Found]:
    """Read what there is now; on AWS, wait until the queues show everywhere as they were set.

    Otherwise a ``plan --check`` that follows would see a difference that is none. One answer with the new
    attributes of a queue proves little: another one of SQS's servers may still have the old ones.
    """
    found = observe(prepared.gates, [one.key for one in prepared.wanted])
    changes = [change for change in prepared.plan.changes if change.kind == "queue"]
    if not delays.queue_attributes or not changes:
        return found
    changed = {change.key for change in changes}
    queues = [one for one in prepared.wanted if one.key in changed]
    began = waiter.clock()
    # An attribute that a queue was created with is there with the queue.
    least = delays.queue_attributes if any(map(_sets_attributes, changes)) else 0

    def attempt() -> Pending | None:
        late = _not_shown(queues, found)
        found.update(observe(prepared.gates, [one.key for one in late]))
        late = _not_shown(late, found)
        elapsed = waiter.clock() - began
        if elapsed < least:
            return Pending(
                f"known to all of SQS, {least:.0f} s: all changes are made, but a plan may show old values"
            )
        names = ", ".join(one.name for one in late)
        if late and elapsed < _shown_within(late, found, delays):
            return Pending(f"shown as it was set: {names}")
        if late:
            waiter.listener(
                Warned(
                    f"SQS does not show yet what was set: {names}; look with {command_line('plan --diff')}"
                )
            )
        return None

    # The attempt itself ends before.
    waiter.until(attempt, name="what was changed", limit=2 * delays.queue_retention)
    return found


def _sets_attributes(change: Change) -> bool:
    return change.action == "update" and change.changed != {"tags"}


def _not_shown(queues: Iterable[Resource], found: Mapping[Key, Found]) -> list[Resource]:
    return [one for one in queues if one.key not in found or differences(one, found[one.key])]


def _shown_within(late: Iterable[Resource], found: Mapping[Key, Found], delays: ConsistencyDelays) -> float:
    """Return how many seconds SQS may take to show what is late; a retention takes longest."""
    pairs = [(one, found[one.key]) for one in late if one.key in found]
    paths = {difference.path for pair in pairs for difference in differences(*pair)}
    return delays.queue_retention if "retention" in paths else 2 * delays.queue_attributes


def _converge(wanted: Resource, gate: Gateway, pipeline: str, *, adopt: bool) -> None:
    """Bring what turned up meanwhile to what is wanted, if it is ours.

    It may be the work of this very call, whose first answer was lost, or of a deploy beside this one.
    """
    found = gate.read(wanted.name)
    if found is None or found.deleted:
        raise AwsError(
            f"{wanted.kind} {wanted.name}: create says that it exists, read says that it does not",
            hint="AWS shows some changes late: run deploy again in a minute",
        )
    if reason := ownership_refusal(wanted, found, pipeline, adopt=adopt):
        raise UsageError(
            reason,
            hint=f"somebody made it meanwhile: look with {command_line('plan')}, and deploy again",
        )
    diff = differences(wanted, found)
    if diff:
        gate.update(wanted, found, Change("update", wanted.kind, wanted.name, diff).changed)


def outputs(aws: Aws, settings: Settings, found: Mapping[Key, Found], *, now: datetime) -> Outputs:
    """Return where the pipeline's resources are, and the next runs; None for what does not exist (yet)."""
    names = settings.names

    def fact(key: Key, name: str) -> Any:
        return found[key].facts.get(name) if key in found else None

    queues: dict[str, str | None] = {role: fact(("queue", names.queue(role)), "url") for role in QUEUE_ROLES}
    aliases = {role: alias_name(names.function(role)) for role in FUNCTION_ROLES}
    return Outputs(
        account=aws.place.account,
        region=aws.place.region,
        queues={**queues, "stream-failures": fact(("queue", names.stream_failures), "url")},
        functions={role: fact(("alias", name), "arn") for role, name in aliases.items()},
        versions={role: fact(("alias", name), "version") for role, name in aliases.items()},
        table=settings.table.name,
        stream=fact(("table", settings.table.name), "stream_arn"),
        log_groups={
            **{role: names.log_group(role) for role in FUNCTION_ROLES},
            "history": names.operations_log,
        },
        schedules=tuple(_schedule(one, now) for one in found.values() if one.kind in ("rule", "schedule")),
        mapping=_mapping(found.get(mapping_key(names)), names),
    )


def _mapping(found: Found | None, names: Names) -> DeployedMapping | None:
    if found is None:
        return None
    return DeployedMapping(names.main, found.facts["enabled"], found.properties["max_functions"])


def _schedule(found: Found, now: datetime) -> DeployedSchedule:
    """Return a schedule with its next run; that of a rate only AWS knows, and a paused one has none."""
    expression, enabled = found.properties["expression"], found.facts["enabled"]
    runs = next_runs([expression], found.properties.get("timezone"), after=now, count=1) if enabled else ()
    return DeployedSchedule(found.name, expression, enabled, runs[0] if runs else None)
