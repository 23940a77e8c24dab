"""What an account has of each kind under names that begin alike: what a killed `prove` left is found so.

IAM knows no regions; all else is of the client's region. AWS's tagging API does not list roles, rules and
log groups, so each service is asked for its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from fifo_cli.aws.errors import calling, unless_missing
from fifo_cli.aws.policy_check import asking
from fifo_cli.aws.resources.gateway import tag_map

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


# By type, as a plan calls it, in the order in which they are best removed.
LISTERS: Final[Mapping[str, Lister]] = {
    "event-source-mapping": _mappings,
    "rule": _named("events", "list_rules", "Rules", "Name", NamePrefix="{prefix}"),
    "schedule": _named("scheduler", "list_schedules", "Schedules", "Name", NamePrefix="{prefix}"),
    "alarm": _named("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName", AlarmNamePrefix="{prefix}"),
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


# What `destroy` does not delete: not the pipeline's, or what Lambda made again.
_DELETES: Final[Mapping[str, Callable[[Aws, str], object]]] = {
    "event-source-mapping": lambda aws, name: aws.client("lambda").delete_event_source_mapping(
        UUID=name.rpartition(" ")[2]
    ),
    "parameter": lambda aws, name: aws.client("ssm").delete_parameter(Name=name),
    "policy": lambda aws, name: aws.client("iam").delete_policy(PolicyArn=aws.place.policy(name)),
    "log-group": lambda aws, name: aws.client("logs").delete_log_group(logGroupName=name),
}
DELETABLE: Final = frozenset(_DELETES)


def delete(aws: Aws, kind: str, name: str) -> None:
    """Delete what is of a ``DELETABLE`` kind; that it is gone already is not an error.

    A mapping's ``name`` is as it is listed.
    """
    with calling(f"{kind} {name}"):
        unless_missing(lambda: _DELETES[kind](aws, name))


def _queue_tags(aws: Aws, name: str) -> Mapping[str, str]:
    sqs = aws.client("sqs")
    return sqs.list_queue_tags(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"]).get("Tags") or {}


# A schedule takes no tags.
_TAGS: Final[Mapping[str, Callable[[Aws, str], Mapping[str, str]]]] = {
    "event-source-mapping": lambda aws, name: aws.client("lambda").list_tags(
        Resource=aws.place.mapping(name.rpartition(" ")[2])
    )["Tags"],
    "rule": lambda aws, name: tag_map(
        aws.client("events").list_tags_for_resource(ResourceARN=aws.place.rule(name))["Tags"]
    ),
    "alarm": lambda aws, name: tag_map(
        aws.client("cloudwatch").list_tags_for_resource(ResourceARN=aws.place.alarm(name))["Tags"]
    ),
    "queue": _queue_tags,
    "table": lambda aws, name: tag_map(
        aws.client("dynamodb").list_tags_of_resource(ResourceArn=aws.place.table(name))["Tags"]
    ),
    "role": lambda aws, name: tag_map(aws.client("iam").list_role_tags(RoleName=name)["Tags"]),
    "policy": lambda aws, name: tag_map(
        aws.client("iam").list_policy_tags(PolicyArn=aws.place.policy(name))["Tags"]
    ),
    "parameter": lambda aws, name: tag_map(
        aws.client("ssm").list_tags_for_resource(ResourceType="Parameter", ResourceId=name)["TagList"]
    ),
    "function": lambda aws, name: aws.client("lambda").list_tags(Resource=aws.place.function(name))["Tags"],
    "log-group": lambda aws, name: aws.client("logs").list_tags_for_resource(
        resourceArn=aws.place.log_group(name)
    )["tags"],
}
TAGGED: Final = frozenset(_TAGS)


def tags_of(aws: Aws, kind: str, name: str) -> Mapping[str, str]:
    """Return the tags of a resource of a ``TAGGED`` kind; a mapping's ``name`` is as it is listed."""
    with calling(f"{kind} {name}"):
        return unless_missing(lambda: _TAGS[kind](aws, name)) or {}
