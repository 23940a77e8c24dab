"""Changing what starts the worker: what there is of both triggers, and what a deploy makes of it.

operations/deploy/trigger_switch.py carries it out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fifo_cli.model.names import PIPELINE_TAG, SWITCH_TAG, Names
from fifo_cli.model.resources import Found, Key
from fifo_cli.model.worker_trigger import Trigger, trigger_of

if TYPE_CHECKING:
    from fifo_cli.model.settings import Settings


# What the mark on main shows; which of the two it is, it does not.
BEGUN: Final = "a deploy that changes what starts the worker was cut off, or is at work still"


def wanted_triggers(found: Collection[Found], settings: Settings) -> tuple[Found, ...]:
    """Return which of the worker's triggers to enable: where a deploy has left both, what fifo.toml asks for.

    While a deploy changes from one to the other, both may exist, and one at a time is enabled.
    """
    names, target = settings.names, settings.worker.trigger
    wanted = tuple(one for one in found if trigger_of(one.key, names) == target)
    return wanted or tuple(found)


@dataclass(frozen=True, slots=True)
class TriggerSwitch:
    """A change of what starts the worker, by one deploy or by several that were cut off.

    ``old`` is what started it until now, to be stopped and deleted. ``running`` is false if it was paused.
    ``overlaps`` if the new trigger is enabled already. ``resumed`` if an earlier deploy began this one.
    """

    target: Trigger
    old: tuple[Found, ...]
    running: bool
    overlaps: bool
    resumed: bool

    @property
    def state(self) -> tuple[object, ...]:
        """What two looks at the same switch have in common."""
        return ({one.key for one in self.old}, self.running, self.overlaps, self.resumed)

    @property
    def waits(self) -> bool:
        """Whether what the old trigger has started must end before the new one is enabled."""
        return self.running and not self.overlaps and bool(self.old)

    def texts(self, settings: Settings) -> list[str]:
        """Say what is going to happen."""
        old, new = "the schedule", "the queue"
        if self.target == "schedule":
            old, new = new, old
        if not self.old:
            return [f"{BEGUN}; if it was cut off, this one completes it"]
        disabled = "the mapping of the queue" if self.target == "schedule" else old
        how = (
            f"{disabled} is disabled; when the last run has ended (some minutes later on AWS), {new} starts"
            f" the worker. Meanwhile messages wait in {settings.names.main}, and nothing is lost"
            if self.running
            else "the worker is paused, and stays so"
        )
        again = ", as a deploy that was cut off or is at work has begun" if self.resumed else ""
        return [f"what starts the worker changes from {old} to {new}{again}: {how}"]


def find_switch(settings: Settings, found: Mapping[Key, Found]) -> TriggerSwitch | None:
    """Return the change of what starts the worker that a deploy has to make or to complete, if any."""
    names, target = settings.names, settings.worker.trigger
    triggers = _triggers(found, names)
    old = tuple(one for one in triggers if trigger_of(one.key, names) != target)
    main = found.get(("queue", names.main))
    begun = main is not None and SWITCH_TAG in main.tags
    if not old and not begun:
        return None
    enabled = {trigger_of(one.key, names) for one in triggers if one.facts["enabled"]}
    return TriggerSwitch(target, old, begun or bool(enabled), target in enabled, begun)


def is_paused(found: Mapping[Key, Found], names: Names) -> bool:
    """Say whether the worker is paused: something starts it, and all of that is disabled."""
    states = [one.facts["enabled"] for one in _triggers(found, names)]
    return bool(states) and not any(states)


def _triggers(found: Mapping[Key, Found], names: Names) -> list[Found]:
    """Return this pipeline's triggers of the worker."""
    return [
        one
        for one in found.values()
        if trigger_of(one.key, names) and one.tags.get(PIPELINE_TAG) == names.pipeline
    ]
