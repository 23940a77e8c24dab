"""What was done by hand and decides whether the worker runs, whether or not it is paused.

A rule or schedule of somebody else's goes on starting a worker that is paused. A function whose reserved
concurrency is 0, Lambda's emergency stop, does not run, though its trigger is enabled. Somebody meant both,
so no command changes them: they are named, with the command of AWS that ends them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fifo_cli.invocation import aws_command_line, command_line
from fifo_cli.model.planning import is_surplus

if TYPE_CHECKING:
    from fifo_cli.model.names import FunctionRole
    from fifo_cli.model.resources import Found, Key
    from fifo_cli.model.settings import Settings


def other_starters(settings: Settings, found: Iterable[Found]) -> dict[Key, str]:
    """Name the rules and schedules that start the worker, and are only named like this pipeline's."""
    name, worker = settings.pipeline.name, settings.names.function("worker")
    others = (one for one in found if one.kind in ("rule", "schedule") and not is_surplus(one, name))
    return {
        one.key: f"{one.kind} {one.name} starts {worker}, and is not this pipeline's"
        for one in others
        if one.facts["enabled"] and any(worker in str(target["arn"]).split(":") for target in _targets(one))
    }


def _targets(found: Found) -> Iterable[Mapping[str, Any]]:
    return [found.properties["target"]] if found.kind == "schedule" else found.properties["targets"]


def end_other(key: tuple[str, str]) -> str:
    """Return how somebody else's rule or schedule is kept from starting the worker."""
    kind, name = key
    if kind == "rule":
        return aws_command_line("events disable-rule --name", name)
    return aws_command_line("scheduler delete-schedule --name", name)


def stop_text(role: FunctionRole) -> str:
    """Say that a function is stopped, which only Lambda's emergency stop does."""
    return f"the {role} is stopped: its reserved concurrency is 0"


def end_stop(function: str, *, reserves: bool) -> str:
    """Return how reserved concurrency is taken away; where some is wanted, a deploy sets that again."""
    step = aws_command_line("lambda delete-function-concurrency --function-name", function)
    return f"{step}, then {command_line('deploy')}" if reserves else step
