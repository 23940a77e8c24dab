"""The event source mapping from the table's stream to the enqueuer as a resource."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from fifo_cli.aws.errors import calling
from fifo_cli.aws.resources.function import passing_refusal
from fifo_cli.aws.resources.gateway import Pending, TriggerGateway, Waiter, unless_missing
from fifo_cli.aws.resources.table import stream_arn
from fifo_cli.errors import AwsError
from fifo_cli.invocation import command_line
from fifo_cli.model.names import LIVE_ALIAS
from fifo_cli.model.resources import Found, Properties, Resource, stamped

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_lambda.type_defs import EventSourceMappingConfigurationTypeDef

# Creating and switching take up to a few minutes (Lambda Developer Guide, "Event source mappings").
SETTLED_LIMIT: Final = 600.0
T = TypeVar("T")
# Properties that are fields as they are: the field's name, and its value where Lambda leaves it out.
_FIELDS: Final[dict[str, tuple[str, Any]]] = {
    "batch_size": ("BatchSize", None),
    "batching_window": ("MaximumBatchingWindowInSeconds", 0),
    "response_types": ("FunctionResponseTypes", []),
    "bisect": ("BisectBatchOnFunctionError", False),
    "retries": ("MaximumRetryAttempts", -1),
    "record_age": ("MaximumRecordAgeInSeconds", -1),
    "parallelization": ("ParallelizationFactor", 1),
}
_SETTLED: Final = frozenset({"Enabled", "Disabled"})


@dataclass(frozen=True, slots=True)
class MappingAdmin(TriggerGateway):
    """The mapping of a function (by its name) and one table; a function has one and no other.

    One that somebody has pointed at ``sibling`` counts as the function's: the worker reads no stream.
    """

    client: LambdaClient
    dynamodb: DynamoDBClient
    table: str
    waiter: Waiter = field(default_factory=Waiter)
    sibling: str = ""
    title: ClassVar[str] = "event source mapping of"
    exists_codes: ClassVar[frozenset[str]] = frozenset({"ResourceConflictException"})

    def _read(self, name: str) -> Found | None:
        """Return the mapping; of several the one from the table's present stream to the alias, if there is.

        The further ones are its ``others``.
        """
        stream = self._stream()
        mappings = sorted(self._list(name, stream), key=lambda one: _strangeness(one, name, stream))
        if not mappings:
            return None
        first, *others = mappings
        state = self._known_state(first, name)
        arn, source = first.get("EventSourceMappingArn"), first.get("EventSourceArn", "")
        tags = self.client.list_tags(Resource=arn).get("Tags", {}) if arn else {}
        properties = {
            **_properties(first),
            "table": self.table if source == stream else source,
            "others": [one["UUID"] for one in others],
        }
        facts = {
            "uuid": first["UUID"],
            "arn": arn,
            "stream_arn": source,
            "state": state,
            "enabled": state in ("Enabled", "Enabling", "Creating"),
            # When it was changed last, or its state (API Reference, EventSourceMappingConfiguration).
            "changed": first.get("LastModified"),
            "last_result": first.get("LastProcessingResult", ""),
        }
        return Found("event-source-mapping", name, properties, tags, facts)

    def _create(self, wanted: Resource) -> None:
        """Create the mapping from the stream's beginning and wait until it is enabled, or disabled."""
        self._make(wanted, enabled=wanted.enabled)

    def _update(self, wanted: Resource, found: Found, changed: frozenset[str]) -> None:
        """Set what differs; one on another stream is deleted and made again, enabled or not as before."""
        for other in found.properties["others"]:
            self._remove(other, wanted.name)
        uuid = found.facts["uuid"]
        if "table" in changed:
            self._remove(uuid, wanted.name)
            self._make(wanted, enabled=found.facts["enabled"])
            return
        if changed - {"others", "tags"}:
            self._change(uuid, wanted.name, _arguments(wanted.properties))
            self._wait_settled(uuid, wanted.name)
        self.client.tag_resource(Resource=found.facts["arn"], Tags=stamped(wanted.tags))

    def _switch(self, found: Found, *, enabled: bool) -> None:
        """Enable or disable the mapping, which keeps its place; returns before that is in effect."""
        self._change(found.facts["uuid"], found.name, {"Enabled": enabled})

    def wait_settled(self, found: Found) -> None:
        """Wait until the mapping has done what was asked: it is enabled, or disabled."""
        with calling(f"{self.title} {found.name}"):
            self._wait_settled(found.facts["uuid"], found.name)

    def _delete(self, found: Found) -> None:
        """Delete the mapping and the further ones, and wait until they are gone."""
        for uuid in (found.facts["uuid"], *found.properties["others"]):
            self._remove(uuid, found.name)

    def _make(self, wanted: Resource, *, enabled: bool) -> None:
        stream = self._stream()
        if stream is None:
            raise AwsError(f"table {self.table} has no stream", hint=f"run {command_line('deploy')} again")
        create = partial(
            self.client.create_event_source_mapping,
            EventSourceArn=stream,
            StartingPosition="TRIM_HORIZON",
            Enabled=enabled,
            Tags=stamped(wanted.tags),
            **_arguments(wanted.properties),
        )
        made = self._accepted(create, wanted.name)
        self._wait_settled(made["UUID"], wanted.name)
        self._leave_one(wanted.name, stream)

    def _leave_one(self, name: str, stream: str) -> None:
        """Delete the further mappings that a deploy beside this one has made: both leave the same one."""
        listed = self._answers([{"EventSourceArn": stream}], [name])
        alike = [one for one in listed if not any(_strangeness(one, name, stream)[:3])]
        for uuid in sorted(one["UUID"] for one in alike)[1:]:
            self._remove(uuid, name)

    def _change(self, uuid: str, name: str, changes: dict[str, Any]) -> None:
        self._wait_settled(uuid, name)
        self._accepted(partial(self.client.update_event_source_mapping, UUID=uuid, **changes), name)

    def _remove(self, uuid: str, name: str) -> None:
        """Delete one mapping, and wait until it is gone."""
        delete = partial(self.client.delete_event_source_mapping, UUID=uuid)
        self._accepted(lambda: unless_missing(delete), name)

        def gone() -> Pending | None:
            return Pending("being deleted") if self._state(uuid) else None

        self.waiter.until(gone, name=name, limit=SETTLED_LIMIT)

    def _accepted(self, call: Callable[[], T], name: str) -> T:
        return self.waiter.accepted(call, passing_refusal, name=name, limit=SETTLED_LIMIT)

    def _wait_settled(self, uuid: str, name: str) -> None:
        def attempt() -> Pending | None:
            state = self._state(uuid)
            return None if state is None or state in _SETTLED else Pending(state.lower())

        self.waiter.until(attempt, name=name, limit=SETTLED_LIMIT)

    def _known_state(self, mapping: EventSourceMappingConfigurationTypeDef, name: str) -> str | None:
        """Return a mapping's state; "Updating", which a disabled one shows as well, is waited out."""
        state = mapping.get("State")
        if state != "Updating":
            return state
        self._wait_settled(mapping["UUID"], name)
        return self._state(mapping["UUID"])

    def _state(self, uuid: str) -> str | None:
        mapping = unless_missing(lambda: self.client.get_event_source_mapping(UUID=uuid))
        return mapping.get("State") if mapping else None

    def _stream(self) -> str | None:
        """Return the ARN of the table's stream that is switched on."""
        answer = unless_missing(lambda: self.dynamodb.describe_table(TableName=self.table))
        return stream_arn(answer["Table"]) if answer else None

    def _list(self, function: str, stream: str | None) -> list[EventSourceMappingConfigurationTypeDef]:
        """Return the function's mappings that are not going away.

        Lambda lists a function's by exactly the name or alias they were made with, and those of a deleted
        function only by their stream.
        """
        functions = [one for one in (function, self.sibling) if one]
        queries: list[dict[str, Any]] = [
            {"FunctionName": f"{one}{qualifier}"} for one in functions for qualifier in ("", f":{LIVE_ALIAS}")
        ]
        queries += [{"EventSourceArn": stream}] if stream else []
        return self._answers(queries, functions)

    def _answers(
        self, queries: Iterable[dict[str, Any]], functions: Collection[str]
    ) -> list[EventSourceMappingConfigurationTypeDef]:
        paginator = self.client.get_paginator("list_event_source_mappings")
        found: dict[str, EventSourceMappingConfigurationTypeDef] = {}
        for query in queries:
            # Lambda may not know the function.
            answer = unless_missing(paginator.paginate(**query).build_full_result)
            found |= {one["UUID"]: one for one in answer["EventSourceMappings"]} if answer else {}
        return [
            one
            for one in found.values()
            if one.get("State") != "Deleting" and _function(one.get("FunctionArn", "")) in functions
        ]


def _strangeness(
    mapping: EventSourceMappingConfigurationTypeDef, name: str, stream: str | None
) -> tuple[bool, bool, bool, str]:
    arn = mapping.get("FunctionArn", "")
    elsewhere, aliased = mapping.get("EventSourceArn") != stream, arn.endswith(f":{LIVE_ALIAS}")
    return _function(arn) != name, elsewhere, not aliased, mapping.get("UUID", "")


def _function(arn: str) -> str:
    """Return the function's name in ``arn:aws:lambda:region:account:function:NAME[:QUALIFIER]``."""
    return (arn.split(":") + [""] * 7)[6]


def _properties(mapping: Mapping[str, Any]) -> dict[str, Any]:
    filters = mapping.get("FilterCriteria", {}).get("Filters", [])
    return {
        "function": mapping.get("FunctionArn"),
        "filters": [_filter(one.get("Pattern", "{}")) for one in filters],
        **{name: mapping.get(field, default) for name, (field, default) in _FIELDS.items()},
        "on_failure": mapping.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination"),
    }


def _filter(text: str) -> Any:
    """Return a pattern with its event names in order, or as it is if it is none that we would write."""
    try:
        pattern = json.loads(text)
    except ValueError:
        return text
    if isinstance(pattern, dict) and isinstance(names := pattern.get("eventName"), list):
        return {**pattern, "eventName": sorted(names, key=str)}
    return pattern


def _arguments(properties: Properties) -> dict[str, Any]:
    """Return the settings as both CreateEventSourceMapping and UpdateEventSourceMapping take them."""
    patterns = [{"Pattern": json.dumps(one, separators=(",", ":"))} for one in properties["filters"]]
    return {
        "FunctionName": properties["function"],
        "FilterCriteria": {"Filters": patterns},
        **{field: properties[name] for name, (field, _) in _FIELDS.items()},
        "DestinationConfig": {"OnFailure": {"Destination": properties["on_failure"]}},
    }
