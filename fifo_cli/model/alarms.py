"""What the alarms of a pipeline watch, and from which number on they ring (docs/provisioning.md)."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from fifo_cli.model.schedules import longest_gap
from fifo_cli.model.worker_trigger import expressions, scheduler_timezone

if TYPE_CHECKING:
    from fifo_cli.model.names import AlarmRole
    from fifo_cli.model.settings import Settings

# SQS and Lambda report once a minute; one bad minute of a busy queue is not a reason to wake anyone.
_PERIOD_SECONDS: Final = 300
# The stream forgets a record after 24 hours; half of that is left to act.
_ITERATOR_AGE_MAX: Final = timedelta(hours=12)
# EventBridge fires within the minute, a cold start takes seconds, and Lambda reports a minute later.
_LATE: Final = timedelta(minutes=5)
# CloudWatch API Reference, PutMetricAlarm: the periods of an alarm cover a day at most, or seven days if
# each lasts an hour or more.
_DAY_SECONDS: Final = 86_400
_HOUR_SECONDS: Final = 3600
_WEEK_SECONDS: Final = 604_800


def alarm_properties(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the properties of each wanted alarm by its name; none without ``[alarms]``.

    ``NAME-worker-silent`` does not exist if the schedule may rest for longer than an alarm can look back.
    """
    if settings.alarms is None:
        return {}
    names = settings.names
    age = int(settings.check.age[1].total_seconds())
    main, dlq = {"QueueName": names.main}, {"QueueName": names.dlq}
    iterator_age = min(settings.check.age[1], _ITERATOR_AGE_MAX) // timedelta(milliseconds=1)
    enqueuer = {"FunctionName": names.function("enqueuer")}
    worker = {"FunctionName": names.function("worker")}
    watched: dict[AlarmRole, dict[str, Any]] = {
        "age": _above("AWS/SQS", "ApproximateAgeOfOldestMessage", main, age),
        # The DLQ's NumberOfMessagesSent does not count what SQS itself moves there.
        "dlq": _above("AWS/SQS", "ApproximateNumberOfMessagesVisible", dlq, settings.check.dlq[1]),
        "iterator-age": _above("AWS/Lambda", "IteratorAge", enqueuer, iterator_age),
        "worker-errors": {**_above("AWS/Lambda", "Errors", worker, 1), "statistic": "Sum"},
    }
    if silence := _silence(settings):
        watched["worker-silent"] = {
            **_above("AWS/Lambda", "Invocations", worker, 1),
            "statistic": "Sum",
            "comparison": "LessThanThreshold",
            # Lambda reports nothing, not zero, of a function that is not invoked.
            "missing": "breaching",
            **silence,
        }
    actions = [settings.alarms.sns_topic] if settings.alarms.sns_topic else []
    text = {"actions": actions, "ok_actions": actions}
    return {names.alarm(role): {**properties, **text} for role, properties in watched.items()}


def _above(namespace: str, metric: str, dimensions: dict[str, str], threshold: int) -> dict[str, Any]:
    """An alarm on a metric's maximum; without data (nothing waits, nothing ran) it is content."""
    return {
        "namespace": namespace,
        "metric": metric,
        "dimensions": dimensions,
        "statistic": "Maximum",
        "period": _PERIOD_SECONDS,
        "periods": 1,
        "comparison": "GreaterThanOrEqualToThreshold",
        "threshold": max(1, threshold),
        "missing": "notBreaching",
        "actions_enabled": True,
        "insufficient_data_actions": [],
        # Of the periods, all: a smaller number by hand would let it ring earlier.
        "datapoints": None,
    }


def _silence(settings: Settings) -> dict[str, int] | None:
    """Return the periods that together outlast every rest the schedule has; None if they cannot."""
    gap = longest_gap(expressions(settings), scheduler_timezone(settings))
    if gap is None:
        return None
    seconds = (gap + _LATE).total_seconds()
    for period, most in ((_PERIOD_SECONDS, _DAY_SECONDS), (_HOUR_SECONDS, _WEEK_SECONDS)):
        periods = math.ceil(seconds / period)
        if periods * period <= most:
            return {"period": period, "periods": periods}
    return None
