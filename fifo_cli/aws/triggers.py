"""How what starts a function is, as one call shows it that a monitor may make.

None means that it does not exist. What deploy reads and changes of these is in aws/resources.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, assert_never

from fifo_cli.aws.errors import calling, unless_missing
from fifo_cli.model.health import Polling, ScheduleState
from fifo_cli.model.names import LIVE_ALIAS

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.worker_trigger import TriggerKey

_SCHEDULER_GROUP: Final = "default"
# How Lambda begins to word what is wrong with a mapping.
_PROBLEM: Final = "PROBLEM"


def get_trigger(aws: Aws, key: TriggerKey) -> ScheduleState | Polling | None:
    """Return how a rule, a schedule or a mapping that starts the worker is."""
    kind, name = key
    match kind:
        case "rule":
            return _get_rule(aws, name)
        case "schedule":
            return _get_schedule(aws, name)
        case "event-source-mapping":
            return get_polling(aws, name)
    assert_never(kind)


def _get_rule(aws: Aws, name: str) -> ScheduleState | None:
    with calling(f"rule {name}"):
        found = unless_missing(partial(aws.client("events").describe_rule, Name=name))
    if found is None or not found.get("ScheduleExpression"):
        return None  # one that fires on events only starts nothing by itself
    return ScheduleState(found.get("State") != "DISABLED", found["ScheduleExpression"], name=name)


def _get_schedule(aws: Aws, name: str) -> ScheduleState | None:
    read = partial(aws.client("scheduler").get_schedule, Name=name, GroupName=_SCHEDULER_GROUP)
    with calling(f"schedule {name}"):
        found = unless_missing(read)
    if found is None:
        return None
    timezone = found.get("ScheduleExpressionTimezone", "UTC")
    return ScheduleState(found.get("State") != "DISABLED", found["ScheduleExpression"], timezone, name)


def is_mapping_enabled(aws: Aws, function: str) -> bool | None:
    """Say whether the event source mapping of a function's ``live`` alias reads its source."""
    found = get_polling(aws, function)
    return None if found is None else found.enabled


def get_polling(aws: Aws, function: str) -> Polling | None:
    """Return how the event source mapping of a function's ``live`` alias is."""
    read = partial(aws.client("lambda").list_event_source_mappings, FunctionName=f"{function}:{LIVE_ALIAS}")
    with calling(f"event source mapping of {function}"):
        answer = unless_missing(read)
    for one in answer["EventSourceMappings"] if answer else []:
        if (state := one.get("State", "")) != "Deleting":
            result = one.get("LastProcessingResult", "")
            return Polling(state, result if result.startswith(_PROBLEM) else "")
    return None


def get_reserved_concurrency(aws: Aws, function: str) -> int | None:
    """Return a function's reserved concurrency; None also if nothing is reserved."""
    with calling(f"function {function}"):
        answer = unless_missing(partial(aws.client("lambda").get_function_concurrency, FunctionName=function))
    return answer.get("ReservedConcurrentExecutions") if answer else None
