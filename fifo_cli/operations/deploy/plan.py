"""plan: what deploy would change. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from fifo_cli.aws.resources.gateway import Waiter
from fifo_cli.errors import FifoError, UsageError
from fifo_cli.events import Listener, Noted, Warned, silent
from fifo_cli.invocation import command_line
from fifo_cli.model.external_triggers import end_other, end_stop, other_starters, stop_text
from fifo_cli.model.key_faults import key_commands
from fifo_cli.model.names import FUNCTION_ROLES, FunctionRole
from fifo_cli.model.planning import CODE_HASH, Plan, is_surplus, make_plan
from fifo_cli.model.resources import (
    Found,
    Key,
    Resource,
    recorded_start,
    wanted_resources,
    with_more_permissions,
    with_scheduler_tag,
    with_start,
)
from fifo_cli.model.schedules import next_runs
from fifo_cli.model.setting_warnings import setting_warnings
from fifo_cli.model.times import iso
from fifo_cli.model.trigger_switch import TriggerSwitch, find_switch, is_paused
from fifo_cli.model.worker_trigger import (
    MAPPING,
    disabled_schedules,
    expressions,
    mapping_key,
    scheduler_timezone,
    trigger_keys,
    trigger_of,
)
from fifo_cli.operations.deploy.api_keys import list_keys
from fifo_cli.operations.deploy.code_changes import with_code_changes
from fifo_cli.operations.deploy.package import Zip, build_zips
from fifo_cli.operations.deploy.remote_state import Gateways, gateways, observe_pipeline
from fifo_cli.operations.deploy.user_requirements import NotBuiltError
from fifo_cli.operations.maintenance_lock import RESTORE_TAG, finishes, unfinished
from fifo_cli.operations.parallel import Gathered, read_all

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.settings import Project, Settings


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan and all it takes to carry it out."""

    settings: Settings
    plan: Plan
    wanted: tuple[Resource, ...]
    found: Mapping[Key, Found]
    gates: Gateways
    switch: TriggerSwitch | None = None

    @property
    def main(self) -> Found | None:
        """The queue that the worker delivers from, if it exists."""
        return self.found.get(("queue", self.settings.names.main))


def plan(
    aws: Aws,
    project: Project,
    *,
    check: bool = False,
    whole_diff: bool = False,
    listener: Listener = silent,
) -> Plan:
    """Return what deploy would change; with ``check``, any change makes the exit code 1.

    ``whole_diff``: all of what changes in the user's files, not only the first lines of each. Raises
    UsageError if deploy would refuse.
    """
    prepared = prepare(aws, project, adopt=False, build=False, waiter=Waiter(listener), whole_diff=whole_diff)
    return replace(prepared.plan, check=check)


def prepare(
    aws: Aws, project: Project, *, adopt: bool, build: bool, waiter: Waiter, whole_diff: bool = False
) -> Prepared:
    """Build the zips, read what AWS holds, and compare; warnings go to the listener.

    Without ``build`` no requirement is built from source; code that would need it counts as changed.
    """
    settings = project.settings
    zips, codes = _zips(aws, project, build=build, listener=waiter.listener)
    gates = gateways(aws, settings, zips={one.function: one.data for one in zips}, waiter=waiter)
    resources = wanted_resources(settings, aws.place, codes, reserve_concurrency=True)
    gathered = read_all(
        {
            "resources": partial(observe_pipeline, gates, settings, [one.key for one in resources]),
            "concurrency to reserve": gates.functions.can_reserve,
            "keys": partial(_missing_keys, aws, settings),
            "what else reads main": gates.mappings.others_of_main,
        }
    )
    found = _without_deleted(gathered["resources"], waiter.listener)
    if not gathered["concurrency to reserve"] and not _reserved(found):
        resources = wanted_resources(settings, aws.place, codes, reserve_concurrency=False)
    warnings = [
        *setting_warnings(settings),
        *gathered["keys"],
        *_never_due(settings, aws.called_at),
        *_others(settings, gathered, found),
        *_stopped(settings, found),
    ]
    start = recorded_start(found.values(), settings.pipeline.name)
    began = _Beginning(start) if start else _beginning(aws, settings, found)
    resources = with_more_permissions(settings, with_start(resources, began.start), found)
    resources = with_scheduler_tag(settings, resources, found)
    warnings += began.warnings
    switch = find_switch(settings, found)
    wanted, said = _with_states(resources, found, settings, switch)
    warnings += said
    made = make_plan(wanted, found, pipeline=settings.pipeline.name, adopt=adopt)
    warnings += [*_unwatched(settings, resources, made), *_rolled_back(made, found)]
    warnings += _partly_disabled(settings, found)
    made = with_code_changes(aws, made, zips, whole=whole_diff, listener=waiter.listener)
    made = replace(made, warnings=(*made.warnings, *warnings), losses=(*made.losses, *began.losses))
    for text in made.warnings:
        waiter.listener(Warned(text))
    return Prepared(settings, made, wanted, found, gates, switch)


def _without_deleted(found: Mapping[Key, Found], listener: Listener) -> dict[Key, Found]:
    """Leave out what was deleted just now, and say so: AWS still answers for it."""
    for one in found.values():
        if one.deleted:
            listener(
                Noted(f"{one.kind} {one.name} was deleted within the last minute: deploy waits for that")
            )
    return {key: one for key, one in found.items() if not one.deleted}


@dataclass(frozen=True, slots=True)
class _Beginning:
    """From when on a pipeline reads its table (ISO 8601); ``losses`` is what has to be asked about."""

    start: str | None
    warnings: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()


def _beginning(aws: Aws, settings: Settings, found: Mapping[Key, Found]) -> _Beginning:
    """Return where a pipeline without a recorded start begins; one that is deployed already has none."""
    if ("function", settings.names.function("enqueuer")) in found:
        return _Beginning(None)
    name = settings.table.name
    table = found.get(("table", name))
    streams = table is not None and table.properties.get("stream") is not None
    if settings.table.start == "oldest":
        if not streams:
            return _Beginning(None)
        text = (
            f'{name}: [table] start = "oldest": the changes of the last 24 hours that its stream holds'
            " are sent to the API"
        )
        return _Beginning(None, (text,), (text,))
    start = iso(aws.called_at.replace(microsecond=0))
    text = f'{name}: [table] start = "now": what was written before {start} does not become messages'
    return _Beginning(start, (text,) if streams else ())


def _zips(
    aws: Aws, project: Project, *, build: bool, listener: Listener
) -> tuple[tuple[Zip, ...], Mapping[FunctionRole, str]]:
    """Return the zips and the hash of each; in place of a hash that only a build gives, the inputs'."""
    try:
        zips = build_zips(project, here=aws.endpoint.local, build=build, listener=listener)
    except NotBuiltError as error:
        listener(Warned(f"whether the functions' code changes is not known: {error.message}"))
        return (), dict.fromkeys(FUNCTION_ROLES, error.message)
    return zips, {one.role: one.code_sha256 for one in zips}


def _rolled_back(made: Plan, found: Mapping[Key, Found]) -> list[str]:
    """Say which aliases run older code than their function has: deploy takes a rollback back."""
    other = {one.name: one for one in made.changes if one.action == "update" and CODE_HASH in one.changed}
    older = [
        f"{name} is at version {found[one.key].facts.get('version')}"
        for name, one in other.items()
        if one.kind == "alias" and name.partition(":")[0] not in other
    ]
    if not older:
        return []
    return [f"{', '.join(older)}, not at the newest code, as after a rollback; deploy moves it to the newest"]


def _missing_keys(aws: Aws, settings: Settings) -> list[str]:
    """Name the keys that do not exist; that AWS cannot be asked is a warning, too."""
    try:
        keys = list_keys(aws, settings).keys
    except FifoError as error:
        return [f"whether the keys in [api] exist is not known: {error.message}"]
    return [
        f"key {key.name}: {key.fault}, so the worker cannot deliver:"
        f" use {key_commands(f'key {key.name}', key.fault, settings)}"
        for key in keys
        if not key.exists
    ]


def _never_due(settings: Settings, now: datetime) -> list[str]:
    """Name the cron expressions that EventBridge takes and that start nothing, such as February 31."""
    return [
        f"schedule.expressions[{index}]: {expression} has no run in the next eight years: it starts no worker"
        for index, expression in enumerate(expressions(settings))
        if expression.startswith("cron(")
        and not next_runs((expression,), scheduler_timezone(settings), after=now, count=1)
    ]


def _unwatched(settings: Settings, wanted: Iterable[Resource], made: Plan) -> list[str]:
    """Say, when alarms are made or deleted, why there is none on a worker that is never started."""
    name = settings.names.alarm("worker-silent")
    news = any(one.kind == "alarm" and one.action != "update" for one in made.changes)
    if not news or settings.alarms is None or any(one.name == name for one in wanted):
        return []
    if settings.worker.by_queue:
        return [f"the alarm {name} is not made: the queue starts no worker while it is empty"]
    return [
        f"the alarm {name} is not made: the schedule may rest for longer than the seven days that an alarm"
        " can look back"
    ]


def _partly_disabled(settings: Settings, found: Mapping[Key, Found]) -> list[str]:
    """Name the schedules that are disabled while others start the worker: deploy leaves them so."""
    schedules = [found[key] for key in trigger_keys(settings) if key in found]
    off = [one.name for one in schedules if not one.facts["enabled"]]
    if not 0 < len(off) < len(schedules):
        return []
    which = f"{disabled_schedules(off, len(schedules))}, and deploy leaves it so"
    return [f"{which}; {command_line('resume worker')} enables all"]


def _reserved(found: Mapping[Key, Found]) -> bool:
    return any(one.properties.get("reserved_concurrency") is not None for one in found.values())


def restore_warning(found: Mapping[Key, Found], settings: Settings) -> str | None:
    """Say that an in-order rebuild is unfinished, and who finishes it; None if none is."""
    main = found.get(("queue", settings.names.main))
    text = main.tags.get(RESTORE_TAG) if main else None
    return None if main is None or text is None else f"{unfinished(main.name, text)}; {finishes()}"


def other_readers(settings: Settings, functions: Iterable[str], found: Mapping[Key, Found]) -> dict[str, str]:
    """Say what follows from mappings of main that are somebody else's, by their function.

    Also from one to a function of ours, where the queue is to start nothing and deploy leaves it alone.
    """
    mapping = found.get(mapping_key(settings.names))
    if mapping and not settings.worker.by_queue and not is_surplus(mapping, settings.pipeline.name):
        functions = [*functions, mapping.properties["function"]]
    return {
        function: f"{function} reads {settings.names.main} by an event source mapping that is not this"
        " pipeline's: what it takes is not delivered, and Lambda deletes it; delete that mapping"
        for function in functions
    }


def _others(settings: Settings, gathered: Gathered, found: Mapping[Key, Found]) -> Iterator[str]:
    """Say of other things than this pipeline's what they do to it."""
    yield from other_readers(settings, gathered["what else reads main"], found).values()
    for key, text in other_starters(settings, found.values()).items():
        yield f"{text}: deploy leaves it alone; {end_other(key)} stops it"


def _stopped(settings: Settings, found: Mapping[Key, Found]) -> Iterator[str]:
    """Name the functions that Lambda's emergency stop keeps from running."""
    for role in FUNCTION_ROLES:
        name = settings.names.function(role)
        one = found.get(("function", name))
        if one is not None and one.properties.get("reserved_concurrency") == 0:
            step = end_stop(name, reserves=role == "worker" and not settings.worker.by_queue)
            yield f"{stop_text(role)}, and deploy leaves it so; {step} starts it again"


def _with_states(
    wanted: tuple[Resource, ...],
    found: Mapping[Key, Found],
    settings: Settings,
    switch: TriggerSwitch | None,
) -> tuple[tuple[Resource, ...], list[str]]:
    """Say what is to run, and in words what is special about that.

    What is paused stays paused, so what is new of it starts disabled; in an in-order rebuild all does that is
    new. Where the trigger of a running worker is changed, the new one must run.
    """
    rebuild = restore_warning(found, settings)
    if rebuild and switch:
        raise UsageError(
            f"what starts the worker cannot be changed now: {rebuild}", hint="nothing was changed"
        )
    running = switch.running if switch else not is_paused(found, settings.names)

    def state(one: Resource) -> Resource:
        is_trigger = trigger_of(one.key, settings.names) is not None
        if (is_trigger and not running) or (rebuild and (is_trigger or one.kind == MAPPING)):
            return replace(one, enabled=False)
        return replace(one, must_run=True) if is_trigger and switch else one

    said = [f"{rebuild}; what deploy makes again does not run before that"] if rebuild else []
    return tuple(map(state, wanted)), [*said, *(switch.texts(settings) if switch else ())]
