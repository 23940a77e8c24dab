"""What starts the worker: schedules of EventBridge, or main itself, which Lambda polls by way of a mapping.

The one place that knows both: which resources they are, and what each asks of main, of the worker and its
role. What changing from one to the other means is in trigger_switch.py.
"""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from fifo_cli.model.limits import RECEIVE_MAX
from fifo_cli.model.names import LIVE_ALIAS, Names, Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fifo_cli.model.settings import Settings

Trigger = Literal["schedule", "queue"]
TriggerKey = tuple[Literal["rule", "schedule", "event-source-mapping"], str]
MAPPING: Final = "event-source-mapping"
# The queue hides what was received for so much longer than one message may take.
_SPARE: Final = timedelta(seconds=30)
# Lambda Developer Guide, "Using Lambda with Amazon SQS": "at least six times the timeout of your function".
_TIMEOUTS_HIDDEN: Final = 6
# The description of each version that is published: its code answers batches. Other code would answer what
# Lambda takes for a success, and Lambda would delete what was not delivered.
TAKES_BATCHES: Final = "fifo-cli: takes batches of the queue"


def expressions(settings: Settings) -> tuple[str, ...]:
    """Return the times at which the worker is started; none where the queue starts it."""
    return () if settings.worker.by_queue else settings.schedule.expressions


def scheduler_timezone(settings: Settings) -> str | None:
    """Return the time zone if EventBridge Scheduler starts the worker, which only it knows; else None."""
    return None if settings.worker.by_queue else settings.schedule.timezone


def trigger_keys(settings: Settings) -> tuple[TriggerKey, ...]:
    """Return the resources that start the worker, as fifo.toml asks for them."""
    if settings.worker.by_queue:
        return (mapping_key(settings.names),)
    kind: Literal["rule", "schedule"] = "schedule" if scheduler_timezone(settings) else "rule"
    return tuple((kind, settings.names.schedule(number)) for number, _ in enumerate(expressions(settings), 1))


def disabled_schedules(off: Sequence[str], number: int) -> str:
    """Say which of a number of schedules are disabled."""
    return f"{len(off)} of {number} schedules {'is' if len(off) == 1 else 'are'} disabled: {', '.join(off)}"


def mapping_key(names: Names) -> TriggerKey:
    """Return the mapping of main to the worker; it goes by the name of its function, as the enqueuer's."""
    return (MAPPING, names.function("worker"))


def trigger_of(key: tuple[str, str], names: Names) -> Trigger | None:
    """Say to which trigger of the worker a resource belongs; None if it does not start the worker."""
    if key[0] in ("rule", "schedule"):
        return "schedule"
    return "queue" if key == mapping_key(names) else None


def with_trigger(
    settings: Settings, trigger: Trigger, schedules: Sequence[tuple[str, str | None]]
) -> Settings:
    """Return fifo.toml as if its trigger were the one in AWS; ``schedules`` are expressions with their zones.

    What only AWS can read, such as ``at(…)`` made by hand, stays as fifo.toml has it.
    """
    worker = settings.worker.model_copy(update={"trigger": trigger})
    schedule = settings.schedule
    if schedules:
        deployed = {"expressions": [one for one, _ in schedules], "timezone": schedules[0][1]}
        with suppress(ValueError):  # pydantic's is one
            schedule = type(schedule).model_validate({**schedule.model_dump(), **deployed})
    return settings.model_copy(update={"worker": worker, "schedule": schedule})


def mapping_properties(settings: Settings, place: Place) -> dict[str, Any]:
    """Return the settings of the mapping of main.

    Without a filter: what does not match one is deleted. A FIFO queue knows no batching window.
    """
    return {
        "queue": place.queue(settings.names.main),
        "function": place.function(settings.names.function("worker"), LIVE_ALIAS),
        "filters": [],
        "batch_size": RECEIVE_MAX,
        "response_types": ["ReportBatchItemFailures"],
        "max_functions": settings.worker.max_functions,
        "others": [],
    }


def visibility_timeout(settings: Settings) -> timedelta:
    """Return for how long what was received from a queue stays hidden, unless the receiver says otherwise.

    A run of the worker and a drain do: they keep a margin of their own (handlers/visibility.py).
    """
    return timedelta(seconds=math.ceil((settings.run_needs + _SPARE).total_seconds()))


def main_visibility_timeout(settings: Settings) -> timedelta:
    """Return the same for main, which Lambda may receive from."""
    hidden = visibility_timeout(settings)
    return max(hidden, _TIMEOUTS_HIDDEN * settings.functions.timeout) if settings.worker.by_queue else hidden


def longest_pause(settings: Settings) -> timedelta:
    """Return for how long messages stay hidden after the last run, unless an API asked for a longer pause."""
    hidden = main_visibility_timeout(settings)
    return max(hidden, settings.worker.retry[1]) if settings.worker.by_queue else hidden
