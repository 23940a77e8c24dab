"""What monitoring measures, in as few calls as can be: counts and metrics.

None of these calls changes anything, and none receives a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from fifo_cli.aws.errors import calling
from fifo_cli.aws.sqs import read_counts
from fifo_cli.model.queue_counts import Counted

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws

# SQS reports once a minute, Lambda within a few (CloudWatch User Guide).
METRIC_WINDOW: Final = timedelta(minutes=10)
_PERIOD_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of one thing, and how its points of a minute are summed up."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]
    statistic: str = "Maximum"


def get_counts(aws: Aws, name: str) -> Counted:
    """Return a queue's approximate counts; raises NotDeployedError if it does not exist."""
    sqs = aws.client("sqs")
    with calling(f"queue {name}"):
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        return read_counts(sqs, url, name)


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
