"""What is said of the drift of a pipeline's resources, and what to do; drift_effects.py has the table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, get_args

from fifo_cli.invocation import command_line
from fifo_cli.model.drift_effects import EFFECTS, Harm, Setting
from fifo_cli.model.external_triggers import end_other
from fifo_cli.model.health import Problem
from fifo_cli.model.names import FUNCTION_ROLES, Names, QueueRole
from fifo_cli.model.planning import CODE_HASH
from fifo_cli.model.resources import alias_name
from fifo_cli.model.times import rough
from fifo_cli.model.trigger_switch import BEGUN
from fifo_cli.model.worker_trigger import MAPPING, mapping_key, trigger_of

if TYPE_CHECKING:
    from fifo_cli.model.drift import Drift, ResourceState
    from fifo_cli.model.health import Measurements
    from fifo_cli.model.resources import Kind
    from fifo_cli.model.settings import Settings

_LISTED: Final = 3


def role_of(kind: Kind, name: str, names: Names) -> str:
    """Return which one of its kind a resource is, as the table calls it."""
    if kind == "queue":
        return next((one for one in get_args(QueueRole) if names.queue(one) == name), "")
    function = name.partition(":")[0]
    return next((one for one in FUNCTION_ROLES if names.function(one) == function), "")


def drift_problems(
    found: Drift, measured: Measurements, wanted: Settings, running: Settings
) -> Iterator[Problem]:
    """Yield what the drift comes to: harm first, then what is only not as wanted.

    ``running`` are the settings with what starts the worker now. A queue, or all that starts a function, is a
    problem already where it is ``measured`` as missing.
    """
    resources = [one for one in found.resources if not _is_known_as_missing(one, measured, wanted.names)]
    gone = [one for one in resources if one.state == "missing"]
    spare = [one for one in gone if _does_without(one, measured, wanted.names)]
    if missing := [one for one in gone if one not in spare]:
        yield Problem("critical", f"missing: {_listed(missing)}", command_line("deploy"))
    if foreign := [one for one in resources if one.state == "foreign"]:
        text = f"not this pipeline's: {_listed(foreign)}"
        yield Problem("critical", text, command_line("plan"), means=foreign[0].reason or None)
    judge = partial(_harms, running, _is_polled(resources, running), _timeout(resources, running))
    yield from _others_start_it(resources, measured)
    drifted = [one for one in resources if one.state in ("drift", "surplus") and not one.starts_beside]
    plain, other_code = spare, []
    for one in drifted:
        harms = list(judge(one))
        harmful = {setting.path for setting, _ in harms}
        first = {harm: setting for setting, harm in reversed(harms)}
        yield from (_harmful(one, harm, first[harm]) for harm in dict.fromkeys(harm for _, harm in harms))
        if one.has_other_code and CODE_HASH not in harmful:
            other_code.append(one)
        besides = {diff.path for diff in one.diff} - harmful - {CODE_HASH, "replaced"}
        if one.state == "surplus" or besides or not one.diff:
            plain.append(one)
    yield from _trigger_problem(measured, wanted, running)
    if plain:
        yield Problem("warning", f"not as in fifo.toml: {_listed(plain)}", command_line("plan"))
    yield from _code_problem(other_code)


def _others_start_it(resources: Iterable[ResourceState], measured: Measurements) -> Iterator[Problem]:
    """Name what is somebody else's and starts the worker: no pause stops it."""
    paused = measured.worker == "paused"
    for one in resources:
        if one.starts_beside:
            yield Problem(
                "critical" if paused else "warning",
                one.reason,
                f"{end_other((one.kind, one.name))} stops it",
                means="the worker is paused, and it goes on delivering all the same"
                if paused
                else f"{command_line('pause')} does not stop it",
            )


def _is_known_as_missing(one: ResourceState, measured: Measurements, names: Names) -> bool:
    starts_worker = trigger_of((one.kind, one.name), names) is not None
    of_enqueuer = (one.kind, one.name) == (MAPPING, names.function("enqueuer"))
    return one.name in measured.missing or (
        one.state == "missing"
        and (
            (starts_worker and measured.worker == "missing")
            or (of_enqueuer and measured.enqueuer == "missing")
        )
    )


def _does_without(one: ResourceState, measured: Measurements, names: Names) -> bool:
    """Whether the pipeline works without what is missing: an alarm, or one of several triggers."""
    starts = trigger_of((one.kind, one.name), names) is not None
    return one.kind == "alarm" or (starts and measured.worker in ("running", "paused"))


def _timeout(resources: Iterable[ResourceState], running: Settings) -> float:
    """Return how long the worker's function may take as it is deployed, in seconds."""
    live = alias_name(running.names.function("worker"))
    deployed = (
        diff.old for one in resources if one.name == live for diff in one.diff if diff.path == "timeout"
    )
    return next((float(old) for old in deployed if old), running.functions.timeout.total_seconds())


def _is_polled(resources: Iterable[ResourceState], running: Settings) -> bool:
    """Whether Lambda polls main for the worker: also by a mapping that is there beside the schedule."""
    mapping = mapping_key(running.names)
    return running.worker.by_queue or any(
        (one.kind, one.name) == mapping and one.state == "surplus" for one in resources
    )


def _harms(
    running: Settings, polled: bool, timeout: float, one: ResourceState
) -> Iterator[tuple[Setting, Harm]]:
    effects = EFFECTS.get((one.kind, role_of(one.kind, one.name, running.names)), {})
    for diff in one.diff:
        setting = Setting(diff.path, diff.old, diff.new, polled, timeout, one.takes_batches, one.lacks)
        harm = effects.get(diff.path.partition(".")[0])
        if harm is not None and harm.when(setting):
            yield setting, harm


def _harmful(one: ResourceState, harm: Harm, setting: Setting) -> Problem:
    old, new = (_shown(value, setting.path, harm.unit) for value in (setting.old, setting.new))
    commands = {
        "audit": command_line("audit"),
        "redrive": command_line("redrive --in-order"),
        "replay": command_line("replay --failed"),
    }
    then = f"; then {harm.then.format(**commands)}" if harm.then else ""
    return Problem(
        "critical",
        f"{one.kind} {one.name} {harm.does.format(old=old, new=new)}",
        f"{command_line('deploy')} puts it right{then}",
        means=harm.means.format(**commands) or None,
    )


def _shown(value: Any, path: str, unit: str) -> str:
    if isinstance(value, Mapping) and "max_receives" in value:
        return f"maxReceiveCount {value['max_receives']}"
    if value in (None, [], {}):
        return "none"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, int) and unit == "seconds":
        return rough(timedelta(seconds=value))
    number = f"maxReceiveCount {value}" if path == "redrive.max_receives" else f"{value} {unit}".strip()
    return number if isinstance(value, int) else str(value)


def _trigger_problem(measured: Measurements, wanted: Settings, running: Settings) -> Iterator[Problem]:
    """Say that the trigger of fifo.toml is not deployed: what started the worker before still does.

    While a deploy changes it, nothing does; that is a problem already where it is measured.
    """
    words = {"schedule": "the schedule", "queue": "the queue"}
    old, new = words[running.worker.trigger], words[wanted.worker.trigger]
    if measured.changes_trigger:
        if measured.worker == "running":
            yield Problem(
                "warning",
                f"{BEGUN}: {old} starts it",
                f"{command_line('deploy')} completes it, unless one is at work",
            )
        return
    if old == new:
        return
    yield Problem(
        "warning",
        f"{old} still starts the worker, though fifo.toml says that {new} does: that is not deployed",
        f"{command_line('deploy')} changes it, or set [worker] trigger back",
        means=f"the worker goes on as before; all that is shown here is of {old}",
    )


def _code_problem(other: Sequence[ResourceState]) -> Iterator[Problem]:
    if any(one.kind == "function" for one in other):
        yield Problem(
            "warning",
            "the functions run other code than is here",
            f"{command_line('plan --diff')} shows how it differs",
            means="your code or fifo-cli itself was changed since the last deploy; what was deployed runs on",
        )
    elif other:
        yield Problem(
            "warning",
            "the functions run an older version than was deployed last",
            f"once the code here is correct, {command_line('deploy')}",
            means="a rollback, or a deploy that did not end; the older version runs on",
            avoid="deploy before that: it takes the rollback back",
        )


def _listed(resources: Sequence[ResourceState]) -> str:
    names = [f"{one.kind} {one.name}" for one in resources]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
