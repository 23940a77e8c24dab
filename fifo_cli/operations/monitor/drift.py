"""How each resource of a pipeline is, compared with fifo.toml: as far as it may be seen, one by one.

``plan`` compares all or nothing, as deploy needs it; a monitor sees less, and still wants to know the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from fifo_cli.aws.resources.gateway import Waiter
from fifo_cli.errors import FifoError
from fifo_cli.model.drift import Condition, Drift, ResourceState, lacking_actions
from fifo_cli.model.external_triggers import other_starters
from fifo_cli.model.health import Unavailable
from fifo_cli.model.names import FUNCTION_ROLES, FunctionRole, Names
from fifo_cli.model.planning import CODE_HASH, differences, is_surplus, ownership_refusal
from fifo_cli.model.resources import (
    Found,
    Key,
    Resource,
    may_have_schedules,
    recorded_start,
    wanted_resources,
    with_more_permissions,
    with_start,
)
from fifo_cli.model.worker_trigger import MAPPING, mapping_key, mapping_properties, scheduler_timezone
from fifo_cli.operations.deploy.package import build_zips
from fifo_cli.operations.deploy.plan import other_readers
from fifo_cli.operations.deploy.remote_state import Gateways, gateways
from fifo_cli.operations.parallel import Gathered, read_all

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.names import Place
    from fifo_cli.model.planning import Difference
    from fifo_cli.model.settings import Project, Settings

_RULES: Final = "the rules"
_SCHEDULES: Final = "the schedules"
_RESERVE: Final = "the account's concurrency"
_READERS: Final = "what else reads main"


def drift(aws: Aws, project: Project, place: Place, *, limit: float | None = None) -> Drift:
    """Compare every resource with what fifo.toml wants; failures are kept beside, none is raised."""
    settings = project.settings
    codes, unseen = _codes(aws, project)
    gates = gateways(aws, settings, waiter=Waiter())
    resources = partial(wanted_resources, settings, place, codes or dict.fromkeys(FUNCTION_ROLES, ""))
    wanted = resources(reserve_concurrency=True)
    name = settings.pipeline.name
    questions: dict[str, Callable[[], Any]] = {
        **{_text(one.key): partial(gates.by_kind[one.kind].read, one.name) for one in wanted},
        _RULES: partial(gates.rules.names, name),
        _RESERVE: gates.functions.can_reserve,
        _READERS: gates.mappings.others_of_main,
    }
    if scheduler_timezone(settings):
        questions[_SCHEDULES] = partial(gates.schedules.names, name)
    gathered = read_all(questions, limit=limit)
    if _SCHEDULES not in questions and _may_have_schedules(settings, wanted, gathered):
        more = read_all({_SCHEDULES: partial(gates.schedules.names, name)}, limit=limit)
        gathered = Gathered({**gathered.answers, **more.answers}, {**gathered.failures, **more.failures})
    if not gathered.get(_RESERVE, True):
        wanted = resources(reserve_concurrency=False)
    if codes is None:
        wanted = tuple(_without_code(one) for one in wanted)
    surplus = _surplus(gates, gathered, {one.key for one in wanted}, settings.names, limit)
    found = {one.key: one for one in gathered.answers.values() if isinstance(one, Found) and not one.deleted}
    wanted = with_start(wanted, recorded_start(found.values(), name))
    wanted = with_more_permissions(settings, wanted, found)
    states = [_state(one, gathered, name) for one in wanted]
    states += _beside(settings, gathered, surplus, place)
    hidden = [Unavailable(what, gathered.failures[what].message) for what in (_RULES, _SCHEDULES, _READERS)
              if what in gathered.failures]  # fmt: skip
    return Drift(tuple(states), (*unseen, *hidden))


def _beside(
    settings: Settings, gathered: Gathered, surplus: Iterable[Found], place: Place
) -> Iterator[ResourceState]:
    """Yield what is there beside the wanted resources: this pipeline's, and others' that meddle with it."""
    for one in surplus:
        if is_surplus(one, settings.pipeline.name):
            yield ResourceState(one.kind, one.name, "surplus", _diff_of_surplus(one, settings, place))
    readers = other_readers(settings, gathered.get(_READERS, ()), {one.key: one for one in surplus})
    for function, text in readers.items():
        yield ResourceState(MAPPING, function, "foreign", reason=text)
    for (kind, name), text in other_starters(settings, surplus).items():
        yield ResourceState(kind, name, "surplus", reason=text)


def _may_have_schedules(settings: Settings, wanted: Iterable[Resource], gathered: Gathered) -> bool:
    """Say whether there may be schedules; what shows it and cannot be read rules nothing out."""
    names = settings.names
    signs: set[Key] = {("queue", names.main), ("role", names.function("worker"))}
    answers = {one.key: gathered.get(_text(one.key)) for one in wanted}
    found = {key: one for key, one in answers.items() if one is not None}
    return may_have_schedules(settings, found) or any(_text(key) in gathered.failures for key in signs)


def _codes(aws: Aws, project: Project) -> tuple[Mapping[FunctionRole, str] | None, tuple[Unavailable, ...]]:
    """Return the hash of each function's code; None, and why, if it cannot be built here."""
    try:
        zips = build_zips(project, here=aws.endpoint.local, build=False)
    except FifoError as error:
        return None, (Unavailable("whether the functions' code is the one here", error.message),)
    return {one.role: one.code_sha256 for one in zips}, ()


def _without_code(resource: Resource) -> Resource:
    kept = {name: value for name, value in resource.properties.items() if name != CODE_HASH}
    return replace(resource, properties=kept)


def _surplus(
    gates: Gateways, gathered: Gathered, wanted: set[Key], names: Names, limit: float | None
) -> Iterable[Found]:
    """Read what is named like this pipeline's triggers, and not wanted."""
    keys: list[Key] = [mapping_key(names), *(("rule", name) for name in gathered.get(_RULES, ()))]
    keys += [("schedule", name) for name in gathered.get(_SCHEDULES, ())]
    extra = [key for key in keys if key not in wanted]
    found = read_all({_text(key): partial(gates.by_kind[key[0]].read, key[1]) for key in extra}, limit=limit)
    return [one for one in found.answers.values() if one is not None]


def _diff_of_surplus(found: Found, settings: Settings, place: Place) -> tuple[Difference, ...]:
    """Return how a mapping of main that is not wanted differs from one that is: it may lose messages."""
    if found.key != mapping_key(settings.names):
        return ()
    properties = mapping_properties(settings, place)
    return differences(Resource(found.kind, found.name, properties), found)


def _state(wanted: Resource, gathered: Gathered, pipeline: str) -> ResourceState:
    failure = gathered.failures.get(_text(wanted.key))
    if failure is not None:
        return ResourceState(wanted.kind, wanted.name, "unknown", reason=failure.message)
    found: Found | None = gathered[_text(wanted.key)]
    if found is None or found.deleted:
        return ResourceState(wanted.kind, wanted.name, "missing")
    version, takes_batches = found.facts.get("version"), bool(found.facts.get("takes_batches"))
    if reason := ownership_refusal(wanted, found, pipeline, adopt=False):
        return ResourceState(wanted.kind, wanted.name, "foreign", reason=reason)
    diff = differences(wanted, found)
    state: Condition = "drift" if diff else "ok"
    return ResourceState(
        wanted.kind,
        wanted.name,
        state,
        diff,
        version=version,
        takes_batches=takes_batches,
        lacks=lacking_actions(wanted, found),
    )


def _text(key: Key) -> str:
    return f"{key[0]} {key[1]}"
