"""plan: what deploy would change. Nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fifo_cli.aws.gateway import Patience
from fifo_cli.events import Listener, Warned, silent
from fifo_cli.model.planning import Plan, make_plan
from fifo_cli.model.resources import Found, Key, Resource, wanted_resources
from fifo_cli.operations.provisioning.inventory import Gateways, gateways, observe_pipeline
from fifo_cli.operations.provisioning.package import build_zips

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.settings import Project


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan and all it takes to carry it out."""

    plan: Plan
    wanted: tuple[Resource, ...]
    found: Mapping[Key, Found]
    gates: Gateways


def plan(
    aws: Aws, project: Project, *, adopt: bool = False, check: bool = False, listener: Listener = silent
) -> Plan:
    """Return what deploy would change; with ``check``, any change makes the exit code 1.

    Raises UsageError if deploy would refuse.
    """
    prepared = prepare(aws, project, adopt=adopt, patience=Patience(listener))
    return replace(prepared.plan, check=check)


def prepare(aws: Aws, project: Project, *, adopt: bool, patience: Patience) -> Prepared:
    """Build the zips, read what AWS holds, and compare; warnings go to the listener."""
    settings = project.settings
    zips = build_zips(project, here=aws.target.local, listener=patience.listener)
    gates = gateways(aws, settings, zips={one.function: one.data for one in zips}, patience=patience)
    codes = {one.role: one.code_sha256 for one in zips}
    resources = wanted_resources(settings, aws.place, codes, reserve_concurrency=True)
    found, can_reserve = observe_pipeline(gates, settings.pipeline.name, [one.key for one in resources])
    if not can_reserve and not _reserved(found):
        resources = wanted_resources(settings, aws.place, codes, reserve_concurrency=False)
    wanted = _resting(resources) if _rests(found) else resources
    made = make_plan(wanted, found, pipeline=settings.pipeline.name, adopt=adopt)
    for text in made.warnings:
        patience.listener(Warned(text))
    return Prepared(made, wanted, found, gates)


def _reserved(found: Mapping[Key, Found]) -> bool:
    return any(one.properties.get("reserved_concurrency") is not None for one in found.values())


def _rests(found: Mapping[Key, Found]) -> bool:
    """Say whether the worker is paused: it has schedules, and every one is disabled."""
    states = [one.facts["enabled"] for one in found.values() if one.kind in ("rule", "schedule")]
    return bool(states) and not any(states)


def _resting(wanted: tuple[Resource, ...]) -> tuple[Resource, ...]:
    """Let new schedules of a paused worker start disabled: a deploy wakes nobody."""
    return tuple(replace(one, enabled=False) if one.kind in ("rule", "schedule") else one for one in wanted)
