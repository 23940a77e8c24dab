"""destroy: delete what deploy made, and nothing else; what needs a resource goes before it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from fifo_cli.aws.resources.gateway import Waiter
from fifo_cli.aws.resources.network_interface import DELETED_WITHIN_SECONDS
from fifo_cli.errors import AwsError
from fifo_cli.events import Listener, Noted, Warned, silent
from fifo_cli.model.names import FUNCTION_ROLES, PIPELINE_TAG, SCHEDULER_TAG, START_TAG, SWITCH_TAG
from fifo_cli.model.planning import Plan, held, make_destroy_plan
from fifo_cli.model.resources import (
    Found,
    Key,
    Kind,
    Resource,
    makes_interfaces,
    operations_log,
    wanted_resources,
)
from fifo_cli.operations.deploy.apply import Work, depths, in_levels, one_at_a_time, sleep_unless
from fifo_cli.operations.deploy.plan import restore_warning
from fifo_cli.operations.deploy.remote_state import Gateways, gateways, observe_pipeline

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.planning import Change
    from fifo_cli.model.settings import Settings

_LATE: Final = (
    "role {} is deleted last, when Lambda has deleted the network interfaces of its function: this may take"
    f" {DELETED_WITHIN_SECONDS / 60:.0f} minutes"
)
_DATA: Final[tuple[Kind, ...]] = ("queue", "table")


def destroy(
    aws: Aws,
    settings: Settings,
    *,
    keep: frozenset[Kind] = frozenset(),
    confirm: Callable[[Plan, Sequence[str]], None] = lambda plan, data: None,
    dry_run: bool = False,
    listener: Listener = silent,
    sleep: Callable[[float], None] = time.sleep,
) -> Plan:
    """Delete a pipeline's resources except the kinds to ``keep``, and return what was deleted.

    ``confirm`` gets the plan and what data goes with it, a line each, and raises to stop. The operations log
    goes last: until then it shows what was done.
    What is not this pipeline's stays and is warned of. Raises AwsError, saying what was done, if a delete
    failed; the next run completes the work.
    """
    listener = one_at_a_time(listener)
    work = Work("destroy", listener)
    gates = gateways(aws, settings, waiter=Waiter(listener, sleep_unless(work.halt.is_set, sleep)))
    # Only names, tags and the order are of use here, so no code is built.
    wanted = wanted_resources(
        settings, aws.place, dict.fromkeys(FUNCTION_ROLES, ""), reserve_concurrency=False
    )
    name = settings.pipeline.name
    found = observe_pipeline(gates, settings, [one.key for one in wanted])
    if "table" not in keep:
        found = _with_items(gates, found, settings.table.name)
    plan = make_destroy_plan(wanted, found, pipeline=name, keep=keep)
    waiting = [one for one in found.values() if makes_interfaces(one)]
    history = operations_log(settings).key
    order = removal_levels(plan.changes, wanted, last=[one.key for one in waiting], history=history)
    plan = replace(plan, changes=tuple(change for level in order for change in level))
    rebuild = restore_warning(found, settings)
    late = [_LATE.format(change.name) for one in waiting for change in plan.changes if change.key == one.key]
    warnings = (*plan.warnings, *late, *([rebuild] if rebuild and plan.changes else []))
    plan = replace(plan, warnings=warnings)
    for warning in plan.warnings:
        listener(Warned(warning))
    if not plan.changes:
        place = f"account {aws.place.account}, region {aws.place.region}"
        listener(Noted(f"there is nothing of {name} to delete in {place}"))
    elif not dry_run:
        data = [text for change in plan.changes if (text := held(found[change.key]))]
        confirm(plan, [rebuild, *data] if rebuild and data else data)
        work.carry_out(order, lambda change: gates.by_kind[change.kind].delete(found[change.key]))
        if "queue" in keep:
            work.afterwards(lambda: _forget(gates, found.values(), name))
    return plan


def _forget(gates: Gateways, found: Iterable[Found], pipeline: str) -> None:
    """Let the next deploy begin again: the queues that stay do not carry the pipeline's start any more.

    Nor that it has schedules, or changes what starts the worker: all that starts it is deleted.
    """
    for kept in found:
        for tag in (START_TAG, SCHEDULER_TAG, SWITCH_TAG):
            if kept.kind == "queue" and tag in kept.tags and kept.tags.get(PIPELINE_TAG) == pipeline:
                gates.queues.untag(kept, tag)


def removal_levels(
    changes: Sequence[Change],
    wanted: Sequence[Resource],
    *,
    last: Collection[Key] = (),
    history: Key | None = None,
) -> list[list[Change]]:
    """Order deletes so that what needs a resource goes before it: the schedules first, the data last.

    After the data only what is ``last``, as Lambda takes its time with it, and the ``history`` of all this.
    """
    depth = depths(wanted)
    # A schedule or an alarm that is not wanted any more needs all the others, as the wanted ones do.
    first = 1 + max(depth.values(), default=0)

    def level(change: Change) -> int:
        if change.key == history:
            return 2
        if change.key in last:
            return 1
        return 0 if change.kind in _DATA else -depth.get(change.key, first)

    return in_levels(changes, level)


def _with_items(gates: Gateways, found: dict[Key, Found], name: str) -> dict[Key, Found]:
    """Look whether a table that counts no items has some: DynamoDB's count is hours old."""
    table = found.get(("table", name))
    if table is None or table.facts["holds"]:
        return found
    try:
        holds = gates.tables.holds_items(name)
    except AwsError:
        return found  # what may not be looked at is asked about with the plan all the same
    facts = {**table.facts, "holds": "some" if holds else 0}
    return {**found, table.key: replace(table, facts=facts)}
