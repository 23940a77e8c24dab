"""What starts the worker: schedules of EventBridge, or main itself, which Lambda polls by way of a mapping.

The one place that knows both: which resources they are, what each asks of main, of the worker and its role,
and what changing from one to the other means. operations/deploy/trigger_switch.py carries that out.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from fifo_cli.model.limits import RECEIVE_MAX
from fifo_cli.model.names import LIVE_ALIAS, PIPELINE_TAG, SWITCH_TAG, Names, Place

if TYPE_CHECKING:
    from fifo_cli.model.resources import Found, Key
    from fifo_cli.model.settings import Settings

Trigger = Literal["schedule", "queue"]
TriggerKey = tuple[Literal["rule", "schedule", "event-source-mapping"], str]
MAPPING: Final = "event-source-mapping"
# A message a run has taken stays hidden for this long beyond the time one message may take.
VISIBILITY_MARGIN: Final = timedelta(seconds=30)
# Lambda Developer Guide, "Using Lambda with Amazon SQS": "at least six times the timeout of your function".
_TIMEOUTS_HIDDEN: Final = 6
# The description of each version that is published: its code answers batches. Other code would answer what
# Lambda takes for a success, and Lambda would delete what was not delivered.
TAKES_BATCHES: Final = "fifo-cli: takes batches of the queue"


def by_queue(settings: Settings) -> bool:
    """Say whether Lambda polls main; else the worker is started at the times of ``[schedule]``."""
    return settings.worker.trigger == "queue"


def expressions(settings: Settings) -> tuple[str, ...]:
    """Return the times at which the worker is started; none where the queue starts it."""
    return () if by_queue(settings) else settings.schedule.expressions


def scheduler_timezone(settings: Settings) -> str | None:
    """Return the time zone if EventBridge Scheduler starts the worker, which only it knows; else None."""
    return None if by_queue(settings) else settings.schedule.timezone


def trigger_keys(settings: Settings, names: Names) -> tuple[TriggerKey, ...]:
    """Return the resources that start the worker, as fifo.toml asks for them."""
    if by_queue(settings):
        return (mapping_key(names),)
    kind: Literal["rule", "schedule"] = "schedule" if scheduler_timezone(settings) else "rule"
    return tuple((kind, names.schedule(number)) for number, _ in enumerate(expressions(settings), 1))


def mapping_key(names: Names) -> TriggerKey:
    """Return the mapping of main to the worker; it goes by the name of its function, as the enqueuer's."""
    return (MAPPING, names.function("worker"))


def trigger_of(key: Key, names: Names) -> Trigger | None:
    """Say to which trigger of the worker a resource belongs; None if it does not start the worker."""
    if key[0] in ("rule", "schedule"):
        return "schedule"
    return "queue" if key == mapping_key(names) else None


def trigger_word(settings: Settings) -> str:
    """Return how what starts the worker is called."""
    return "event source mapping" if by_queue(settings) else "schedule"


def wanted_triggers(found: Collection[Found], settings: Settings) -> tuple[Found, ...]:
    """Return which of the worker's triggers to enable: where a deploy has left both, what fifo.toml asks for.

    While a deploy changes from one to the other, both may exist, and one at a time is enabled.
    """
    names, target = settings.names, settings.worker.trigger
    wanted = tuple(one for one in found if trigger_of(one.key, names) == target)
    return wanted or tuple(found)


def mapping_properties(settings: Settings, names: Names, place: Place) -> dict[str, Any]:
    """Return the settings of the mapping of main.

    Without a filter: what does not match one is deleted. A FIFO queue knows no batching window.
    """
    return {
        "queue": place.queue(names.main),
        "function": place.function(names.function("worker"), LIVE_ALIAS),
        "filters": [],
        "batch_size": RECEIVE_MAX,
        "response_types": ["ReportBatchItemFailures"],
        "max_functions": settings.worker.max_functions,
        "others": [],
    }


def visibility_timeout(settings: Settings) -> timedelta:
    """Return for how long what was received from a queue stays hidden, unless the receiver says otherwise."""
    return timedelta(seconds=max(30, math.ceil((settings.run_needs + VISIBILITY_MARGIN).total_seconds())))


def main_visibility_timeout(settings: Settings) -> timedelta:
    """Return the same for main, which Lambda may receive from."""
    hidden = visibility_timeout(settings)
    return max(hidden, _TIMEOUTS_HIDDEN * settings.functions.timeout) if by_queue(settings) else hidden


def longest_pause(settings: Settings) -> timedelta:
    """Return for how long messages stay hidden after the last run, unless an API asked for a longer pause."""
    hidden = main_visibility_timeout(settings)
    return max(hidden, settings.worker.retry[1]) if by_queue(settings) else hidden


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
    def waits(self) -> bool:
        """Whether what the old trigger has started must end before the new one is enabled."""
        return self.running and not self.overlaps and bool(self.old)

    def texts(self, settings: Settings) -> list[str]:
        """Say what is going to happen."""
        old, new = "the schedule", "the queue"
        if self.target == "schedule":
            old, new = new, old
        if not self.old:
            return ["a deploy was cut off while it changed what starts the worker; this one completes it"]
        how = (
            f"{old} is disabled; when the last run has ended (some minutes later on AWS), {new} starts the"
            f" worker. Meanwhile messages wait in {settings.names.main}, and nothing is lost"
            if self.running
            else "the worker is paused, and stays so"
        )
        again = ", as a deploy that was cut off has begun" if self.resumed else ""
        return [f"what starts the worker changes from {old} to {new}{again}: {how}"]


def find_switch(settings: Settings, found: Mapping[Key, Found]) -> TriggerSwitch | None:
    """Return the change of what starts the worker that a deploy has to make or to complete, if any."""
    names, target = settings.names, settings.worker.trigger
    triggers = [
        one for one in found.values()
        if trigger_of(one.key, names) and one.tags.get(PIPELINE_TAG) == names.pipeline
    ]  # fmt: skip
    old = tuple(one for one in triggers if trigger_of(one.key, names) != target)
    main = found.get(("queue", names.main))
    begun = main is not None and SWITCH_TAG in main.tags
    if not old and not begun:
        return None
    enabled = {trigger_of(one.key, names) for one in triggers if one.facts["enabled"]}
    return TriggerSwitch(target, old, begun or bool(enabled), target in enabled, begun)


def is_paused(found: Mapping[Key, Found], names: Names) -> bool:
    """Say whether the worker is paused: something starts it, and all of that is disabled."""
    states = [
        one.facts["enabled"]
        for one in found.values()
        if trigger_of(one.key, names) and one.tags.get(PIPELINE_TAG) == names.pipeline
    ]
    return bool(states) and not any(states)
