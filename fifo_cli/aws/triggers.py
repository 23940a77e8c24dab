"""Whether what starts a function is enabled, as one call shows it that a monitor may make.

None means that it does not exist. What deploy reads and changes of these is in aws/resources.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, assert_never

from fifo_cli.aws.errors import calling
from fifo_cli.aws.resources.gateway import unless_missing
from fifo_cli.model.health import Polling
from fifo_cli.model.names import LIVE_ALIAS

if TYPE_CHECKING:
    from mypy_boto3_lambda.type_defs import EventSourceMappingConfigurationTypeDef

    from fifo_cli.aws.session import Aws
    from fifo_cli.model.worker_trigger import TriggerKey

_SCHEDULER_GROUP: Final = "default"
# How Lambda begins to word what is wrong with a mapping.
_PROBLEM: Final = "PROBLEM"
_PARTIAL: Final = "ReportBatchItemFailures"


def get_trigger(aws: Aws, key: TriggerKey) -> bool | Polling | None:
    """Say whether a rule or schedule that starts the worker does so; of a mapping return how it is."""
    kind, name = key
    match kind:
        case "rule":
            return is_rule_enabled(aws, name)
        case "schedule":
            return is_schedule_enabled(aws, name)
        case "event-source-mapping":
            return get_polling(aws, name)
    assert_never(kind)


def is_rule_enabled(aws: Aws, name: str) -> bool | None:
    """Say whether an EventBridge rule fires."""
    with calling(f"rule {name}"):
        found = unless_missing(partial(aws.client("events").describe_rule, Name=name))
    return None if found is None else found.get("State") != "DISABLED"


def is_schedule_enabled(aws: Aws, name: str) -> bool | None:
    """Say whether a schedule of EventBridge Scheduler fires."""
    read = partial(aws.client("scheduler").get_schedule, Name=name, GroupName=_SCHEDULER_GROUP)
    with calling(f"schedule {name}"):
        found = unless_missing(read)
    return None if found is None else found.get("State") != "DISABLED"


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
            return Polling(state, result if result.startswith(_PROBLEM) else "", _loses(one))
    return None


def _loses(mapping: EventSourceMappingConfigurationTypeDef) -> str:
    """Say why Lambda deletes messages that were not delivered; nothing if it deletes none.

    Lambda Developer Guide, "Using Lambda with Amazon SQS": what no filter matches is deleted, and without
    partial batch responses a whole batch is, when the function returns.
    """
    if ":sqs:" not in mapping.get("EventSourceArn", ""):
        return ""
    reasons = []
    if _PARTIAL not in mapping.get("FunctionResponseTypes", []):
        reasons.append(f"has no {_PARTIAL}: Lambda deletes what the worker could not deliver")
    if mapping.get("FilterCriteria", {}).get("Filters"):
        reasons.append("has a filter: Lambda deletes what does not match it")
    return "; it ".join(reasons)


def get_reserved_concurrency(aws: Aws, function: str) -> int | None:
    """Return a function's reserved concurrency; None also if nothing is reserved."""
    with calling(f"function {function}"):
        answer = unless_missing(partial(aws.client("lambda").get_function_concurrency, FunctionName=function))
    return answer.get("ReservedConcurrentExecutions") if answer else None
