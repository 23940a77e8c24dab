"""CloudWatch alarms as resources: what they watch, when they ring, what they notify, tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from fifo_cli.aws.errors import calling
from fifo_cli.aws.resources.gateway import Gateway, tag_list, tag_map
from fifo_cli.model.resources import Found, Resource, stamped

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import MetricAlarmTypeDef

# Each property and the field of PutMetricAlarm and DescribeAlarms that holds it.
_FIELDS: Final = {
    "namespace": "Namespace",
    "metric": "MetricName",
    "statistic": "Statistic",
    "period": "Period",
    "periods": "EvaluationPeriods",
    "comparison": "ComparisonOperator",
    "threshold": "Threshold",
    "missing": "TreatMissingData",
    "actions": "AlarmActions",
    "ok_actions": "OKActions",
    "insufficient_data_actions": "InsufficientDataActions",
    "datapoints": "DatapointsToAlarm",
    "actions_enabled": "ActionsEnabled",
}


@dataclass(frozen=True, slots=True)
class AlarmAdmin(Gateway):
    """Alarms by name."""

    cloudwatch: CloudWatchClient
    title: ClassVar[str] = "alarm"

    def names(self, candidates: Sequence[str]) -> tuple[str, ...]:
        """Return those of the names that are alarms, whoever's they are."""
        with calling(f"alarms {', '.join(candidates)}"):
            found = self._describe(candidates)
        return tuple(name for name in candidates if name in found)

    def _read(self, name: str) -> Found | None:
        alarm = self._describe([name]).get(name)
        if alarm is None:
            return None
        arn = alarm["AlarmArn"]
        tags = self.cloudwatch.list_tags_for_resource(ResourceARN=arn).get("Tags")
        return Found("alarm", name, _properties(alarm), tag_map(tags), {"arn": arn})

    def _create(self, wanted: Resource) -> None:
        """Create an alarm; one that is there already is overwritten, so a repeated call does no harm."""
        settings = {field: wanted.properties[name] for name, field in _FIELDS.items()}
        arguments: dict[str, Any] = {field: value for field, value in settings.items() if value is not None}
        self.cloudwatch.put_metric_alarm(
            AlarmName=wanted.name,
            AlarmDescription="Made by fifo-cli; deploy puts changes by hand right",
            Dimensions=[
                {"Name": name, "Value": value} for name, value in wanted.properties["dimensions"].items()
            ],
            Tags=tag_list(stamped(wanted.tags)),
            **arguments,
        )

    def _update(self, wanted: Resource, found: Found, changed: frozenset[str]) -> None:
        """Write the whole alarm, as PutMetricAlarm does; of an existing one it ignores the tags."""
        if changed != {"tags"}:
            self._create(wanted)
        self.cloudwatch.tag_resource(ResourceARN=found.facts["arn"], Tags=tag_list(stamped(wanted.tags)))

    def _delete(self, found: Found) -> None:
        self.cloudwatch.delete_alarms(AlarmNames=[found.name])

    def _describe(self, names: Sequence[str]) -> dict[str, MetricAlarmTypeDef]:
        answer = self.cloudwatch.describe_alarms(AlarmNames=list(names), AlarmTypes=["MetricAlarm"])
        return {one["AlarmName"]: one for one in answer.get("MetricAlarms", [])}


def _properties(alarm: MetricAlarmTypeDef) -> dict[str, Any]:
    fields: dict[str, Any] = dict(alarm)
    properties = {name: fields.get(field) for name, field in _FIELDS.items()}
    properties["dimensions"] = {one["Name"]: one["Value"] for one in alarm.get("Dimensions", [])}
    properties["missing"] = properties["missing"] or "missing"
    for name in ("actions", "ok_actions", "insufficient_data_actions"):
        properties[name] = list(properties[name] or [])
    return properties
