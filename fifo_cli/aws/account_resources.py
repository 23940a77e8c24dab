"""What an account has of each kind under names that begin alike: what a killed `prove` left is found so.

IAM knows no regions; all else is of the client's region. AWS's tagging API does not list roles, rules and
log groups, so each service is asked for its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from fifo_cli.aws.errors import calling
from fifo_cli.aws.policy_check import asking
from fifo_cli.aws.resources.gateway import tag_map, unless_missing

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws

Lister = Callable[["Aws", str], Iterator[str]]


def _pages(aws: Aws, service: str, operation: str, **parameters: Any) -> Iterator[Mapping[str, Any]]:
    client: Any = aws.client(service)  # type: ignore[call-overload]
    yield from client.get_paginator(operation).paginate(**parameters)


def _named(service: str, operation: str, field: str, name: str, **parameters: Any) -> Lister:
    """List by a paginator of botocore's; ``{prefix}`` in a parameter is the beginning of the names."""

    def listed(aws: Aws, prefix: str) -> Iterator[str]:
        asked = {key: text.replace("{prefix}", prefix) for key, text in parameters.items()}
        for page in _pages(aws, service, operation, **asked):
            for one in page.get(field, []):
                found = one[name] if isinstance(one, Mapping) else one
                if found.startswith(prefix):
                    yield found

    return listed


def _queues(aws: Aws, prefix: str) -> Iterator[str]:
    for page in _pages(aws, "sqs", "list_queues", QueueNamePrefix=prefix):
        yield from (url.rpartition("/")[2] for url in page.get("QueueUrls", []))


def _rules(aws: Aws, prefix: str) -> Iterator[str]:
    yield from (
        one["Name"]
        for page in _pages(aws, "events", "list_rules", NamePrefix=prefix)
        for one in page["Rules"]
    )


def _log_groups(aws: Aws, prefix: str) -> Iterator[str]:
    for place in ("/aws/lambda/", "/fifo-cli/"):
        for page in _pages(aws, "logs", "describe_log_groups", logGroupNamePrefix=place + prefix):
            yield from (one["logGroupName"] for one in page["logGroups"])


def _mappings(aws: Aws, prefix: str) -> Iterator[str]:
    """List mappings as ``FUNCTION UUID``: they have no names, and outlive their functions."""
    for page in _pages(aws, "lambda", "list_event_source_mappings"):
        for one in page["EventSourceMappings"]:
            function = one["FunctionArn"].split(":")[6]
            if function.startswith(prefix):
                yield f"{function} {one['UUID']}"


def _parameters(aws: Aws, prefix: str) -> Iterator[str]:
    filters = [{"Key": "Name", "Option": "BeginsWith", "Values": [f"/{prefix}"]}]
    for page in _pages(aws, "ssm", "describe_parameters", ParameterFilters=filters):
        yield from (one["Name"] for one in page["Parameters"])


def _alarms(aws: Aws, prefix: str) -> Iterator[str]:
    for page in _pages(aws, "cloudwatch", "describe_alarms", AlarmNamePrefix=prefix):
        yield from (one["AlarmName"] for one in page.get("MetricAlarms", []))


# By type, as a plan calls it, in the order in which they are best removed.
LISTERS: Mapping[str, Lister] = {
    "event-source-mapping": _mappings,
    "rule": _rules,
    "schedule": _named("scheduler", "list_schedules", "Schedules", "Name", NamePrefix="{prefix}"),
    "alarm": _alarms,
    "function": _named("lambda", "list_functions", "Functions", "FunctionName"),
    "role": _named("iam", "list_roles", "Roles", "RoleName"),
    "policy": _named("iam", "list_policies", "Policies", "PolicyName", Scope="Local"),
    "parameter": _parameters,
    "queue": _queues,
    "table": _named("dynamodb", "list_tables", "TableNames", ""),
    "log-group": _log_groups,
}


def names_of(aws: Aws, kind: str, prefix: str) -> list[str]:
    """Return the names of one kind that begin with ``prefix``, those of paths behind the path.

    Raises NotPermittedError if the caller may not list them.
    """
    with asking(f"the {kind}s of this account"):
        return list(LISTERS[kind](aws, prefix))


def delete_parameter(aws: Aws, name: str) -> None:
    """Delete a parameter; that it is gone already is not an error."""
    with calling(f"parameter {name}"):
        unless_missing(lambda: aws.client("ssm").delete_parameter(Name=name))


def delete_log_group(aws: Aws, name: str) -> None:
    """Delete a log group; that it is gone already is not an error."""
    with calling(f"log group {name}"):
        unless_missing(lambda: aws.client("logs").delete_log_group(logGroupName=name))


def delete_mapping(aws: Aws, uuid: str) -> None:
    """Delete an event source mapping; that it is gone already is not an error."""
    with calling(f"event source mapping {uuid}"):
        unless_missing(lambda: aws.client("lambda").delete_event_source_mapping(UUID=uuid))


def delete_policy(aws: Aws, name: str) -> None:
    """Delete a managed policy; that it is gone already is not an error."""
    with calling(f"policy {name}"):
        unless_missing(lambda: aws.client("iam").delete_policy(PolicyArn=aws.place.policy(name)))


def tags_of(aws: Aws, kind: str, name: str) -> dict[str, str]:
    """Return the tags of a resource; a mapping's ``name`` is as it is listed."""
    with calling(f"{kind} {name}"):
        return unless_missing(lambda: _TAGS[kind](aws, name)) or {}


def _queue_tags(aws: Aws, name: str) -> dict[str, str]:
    sqs = aws.client("sqs")
    return dict(sqs.list_queue_tags(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"]).get("Tags") or {})


def _parameter_tags(aws: Aws, name: str) -> dict[str, str]:
    answer = aws.client("ssm").list_tags_for_resource(ResourceType="Parameter", ResourceId=name)
    return tag_map(answer["TagList"])


def _rule_tags(aws: Aws, name: str) -> dict[str, str]:
    return tag_map(aws.client("events").list_tags_for_resource(ResourceARN=aws.place.rule(name))["Tags"])


def _alarm_tags(aws: Aws, name: str) -> dict[str, str]:
    return tag_map(aws.client("cloudwatch").list_tags_for_resource(ResourceARN=aws.place.alarm(name))["Tags"])


def _mapping_tags(aws: Aws, name: str) -> dict[str, str]:
    arn = aws.place.mapping(name.rpartition(" ")[2])
    return aws.client("lambda").list_tags(Resource=arn)["Tags"]


# A schedule takes no tags.
_TAGS: Mapping[str, Callable[[Aws, str], dict[str, str]]] = {
    "event-source-mapping": _mapping_tags,
    "rule": _rule_tags,
    "alarm": _alarm_tags,
    "queue": _queue_tags,
    "table": lambda aws, name: tag_map(
        aws.client("dynamodb").list_tags_of_resource(ResourceArn=aws.place.table(name))["Tags"]
    ),
    "role": lambda aws, name: tag_map(aws.client("iam").list_role_tags(RoleName=name)["Tags"]),
    "policy": lambda aws, name: tag_map(
        aws.client("iam").list_policy_tags(PolicyArn=aws.place.policy(name))["Tags"]
    ),
    "parameter": _parameter_tags,
    "function": lambda aws, name: aws.client("lambda").list_tags(Resource=aws.place.function(name))["Tags"],
    "log-group": lambda aws, name: aws.client("logs").list_tags_for_resource(
        resourceArn=aws.place.log_group(name)
    )["tags"],
}
TAGGED = tuple(_TAGS)
