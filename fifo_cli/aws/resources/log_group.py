"""CloudWatch log groups as resources: retention and tags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fifo_cli.aws.log_streams import find_log_group
from fifo_cli.aws.resources.gateway import Gateway
from fifo_cli.model.resources import Found, Resource, stamped

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient


@dataclass(frozen=True, slots=True)
class LogGroupAdmin(Gateway):
    """Log groups by name."""

    logs: CloudWatchLogsClient
    title: ClassVar[str] = "log group"
    exists_codes: ClassVar[frozenset[str]] = frozenset({"ResourceAlreadyExistsException"})

    def _read(self, name: str) -> Found | None:
        """Return a log group; its ARN and how many ``bytes`` it stores are facts."""
        group = find_log_group(self.logs, name)
        if group is None:
            return None
        # Tags hang on the ARN without the ":*" that stands for its streams.
        arn = group["arn"].removesuffix(":*")
        tags = self.logs.list_tags_for_resource(resourceArn=arn).get("tags", {})
        facts = {"arn": arn, "bytes": group.get("storedBytes", 0)}
        return Found("log-group", name, {"retention_days": group.get("retentionInDays")}, tags, facts)

    def _create(self, wanted: Resource) -> None:
        self.logs.create_log_group(logGroupName=wanted.name, tags=stamped(wanted.tags))
        self._retain(wanted)

    def _update(self, wanted: Resource, found: Found, changed: frozenset[str]) -> None:
        if "retention_days" in changed:
            self._retain(wanted)
        self.logs.tag_resource(resourceArn=found.facts["arn"], tags=stamped(wanted.tags))

    def _delete(self, found: Found) -> None:
        self.logs.delete_log_group(logGroupName=found.name)

    def _retain(self, wanted: Resource) -> None:
        days = wanted.properties["retention_days"]
        self.logs.put_retention_policy(logGroupName=wanted.name, retentionInDays=days)
