"""CloudWatch log groups as resources: retention and tags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from fifo_cli.aws.errors import calling, error_codes, explain, is_missing
from fifo_cli.aws.resources.gateway import AlreadyExists
from fifo_cli.model.resources import Found, Resource, stamped

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_logs.type_defs import LogGroupTypeDef


@dataclass(frozen=True, slots=True)
class LogGroupAdmin:
    """Log groups by name."""

    logs: CloudWatchLogsClient

    def read(self, name: str) -> Found | None:
        """Return a log group; its ARN and how many ``bytes`` it stores are facts."""
        with calling(f"log group {name}"):
            group = self._find(name)
        if group is None:
            return None
        # Tags hang on the ARN without the ":*" that stands for its streams.
        arn = group["arn"].removesuffix(":*")
        try:
            tags = self.logs.list_tags_for_resource(resourceArn=arn).get("tags", {})
        except ClientError as error:
            if is_missing(error):
                return None
            raise explain(error, f"log group {name}") from error
        facts = {"arn": arn, "bytes": group.get("storedBytes", 0)}
        return Found("log-group", name, {"retention_days": group.get("retentionInDays")}, tags, facts)

    def create(self, wanted: Resource) -> None:
        """Create a log group and say how long it keeps."""
        try:
            self.logs.create_log_group(logGroupName=wanted.name, tags=stamped(wanted.tags))
        except ClientError as error:
            if "ResourceAlreadyExistsException" in error_codes(error):
                raise AlreadyExists(f"log group {wanted.name} exists already") from error
            raise explain(error, f"log group {wanted.name}") from error
        self._retain(wanted)

    def update(self, wanted: Resource, found: Found, changed: frozenset[str]) -> None:
        """Set retention and tags."""
        if "retention_days" in changed:
            self._retain(wanted)
        with calling(f"log group {wanted.name}"):
            self.logs.tag_resource(resourceArn=found.facts["arn"], tags=stamped(wanted.tags))

    def delete(self, found: Found) -> None:
        """Delete a log group with all it holds."""
        try:
            self.logs.delete_log_group(logGroupName=found.name)
        except ClientError as error:
            if not is_missing(error):
                raise explain(error, f"log group {found.name}") from error

    def _retain(self, wanted: Resource) -> None:
        with calling(f"log group {wanted.name}"):
            days = wanted.properties["retention_days"]
            self.logs.put_retention_policy(logGroupName=wanted.name, retentionInDays=days)

    def _find(self, name: str) -> LogGroupTypeDef | None:
        pages = self.logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name)
        return next((one for page in pages for one in page["logGroups"] if one["logGroupName"] == name), None)
