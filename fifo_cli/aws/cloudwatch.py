"""What monitoring asks of AWS, in as few calls as can be: counts, metrics, and what is switched on.

None of these calls changes anything, and none receives a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from fifo_cli.aws.errors import calling, is_missing
from fifo_cli.aws.sqs import read_counts
from fifo_cli.model.health import Counted
from fifo_cli.model.names import LIVE_ALIAS

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws

# SQS reports once a minute, Lambda within a few (CloudWatch User Guide).
METRIC_WINDOW: Final = timedelta(minutes=10)
_PERIOD_SECONDS: Final = 60
# A mapping in any other state reads the stream, or is about to (Lambda API Reference, GetEventSourceMapping).
_RESTING: Final = frozenset({"Disabled", "Disabling"})
_SCHEDULER_GROUP: Final = "default"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of one thing, and how its points of a minute are summed up."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]
    statistic: str = "Maximum"


@dataclass(frozen=True, slots=True)
class EventSourceMapping:
    """The event source mapping of a function: its state, and what came of its last batch."""

    state: str
    last_result: str | None

    @property
    def enabled(self) -> bool:
        return self.state not in _RESTING


def get_counts(aws: Aws, name: str) -> Counted:
    """Return a queue's approximate counts; raises NotDeployedError if it does not exist."""
    sqs = aws.client("sqs")
    with calling(f"queue {name}"):
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        found = read_counts(sqs, url)
    return Counted(name, found.visible, found.in_flight, found.delayed, max_receives=found.max_receives)


def get_latest(aws: Aws, metrics: Mapping[str, Metric], *, now: datetime) -> dict[str, float]:
    """Return the newest value of each metric that has one, in a single call of GetMetricData."""
    queries: list[Any] = [
        {
            "Id": name,
            "MetricStat": {
                "Metric": {
                    "Namespace": metric.namespace,
                    "MetricName": metric.name,
                    "Dimensions": [{"Name": key, "Value": value} for key, value in metric.dimensions.items()],
                },
                "Period": _PERIOD_SECONDS,
                "Stat": metric.statistic,
            },
        }
        for name, metric in metrics.items()
    ]
    with calling("metrics"):
        answer = aws.client("cloudwatch").get_metric_data(
            MetricDataQueries=queries, StartTime=now - METRIC_WINDOW, EndTime=now
        )
    newest: dict[str, float] = {}
    for one in answer["MetricDataResults"]:
        points = zip(one.get("Timestamps", []), one.get("Values", []), strict=True)
        if value := max(points, key=lambda point: point[0], default=None):
            newest[one["Id"]] = value[1]
    return newest


def is_rule_enabled(aws: Aws, name: str) -> bool | None:
    """Say whether an EventBridge rule fires; None if there is none."""
    with calling(f"rule {name}"):
        try:
            found = aws.client("events").describe_rule(Name=name)
        except ClientError as error:
            if is_missing(error):
                return None
            raise
    return found.get("State") != "DISABLED"


def is_schedule_enabled(aws: Aws, name: str) -> bool | None:
    """Say whether a schedule of EventBridge Scheduler fires; None if there is none."""
    with calling(f"schedule {name}"):
        try:
            found = aws.client("scheduler").get_schedule(Name=name, GroupName=_SCHEDULER_GROUP)
        except ClientError as error:
            if is_missing(error):
                return None
            raise
    return found.get("State") != "DISABLED"


def get_mapping(aws: Aws, function: str) -> EventSourceMapping | None:
    """Return the event source mapping of a function's ``live`` alias; None if there is none."""
    with calling(f"event source mapping of {function}"):
        try:
            answer = aws.client("lambda").list_event_source_mappings(FunctionName=f"{function}:{LIVE_ALIAS}")
        except ClientError as error:
            if is_missing(error):
                return None
            raise
    found = [one for one in answer["EventSourceMappings"] if one.get("State") != "Deleting"]
    if not found:
        return None
    return EventSourceMapping(found[0].get("State", ""), found[0].get("LastProcessingResult"))


def get_reserved_concurrency(aws: Aws, function: str) -> int | None:
    """Return a function's reserved concurrency; None if nothing is reserved, or it does not exist."""
    with calling(f"function {function}"):
        try:
            answer = aws.client("lambda").get_function_concurrency(FunctionName=function)
        except ClientError as error:
            if is_missing(error):
                return None
            raise
    return answer.get("ReservedConcurrentExecutions")
