"""The event source mappings as resources: of the table's stream to the enqueuer, of main to the worker."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from fifo_cli.aws.errors import calling, unless_missing
from fifo_cli.aws.resources.function import passing_refusal
from fifo_cli.aws.resources.gateway import Pending, TriggerGateway, Waiter
from fifo_cli.aws.resources.table import stream_arn
from fifo_cli.errors import AwsError
from fifo_cli.invocation import command_line
from fifo_cli.model.names import LIVE_ALIAS
from fifo_cli.model.resources import Found, Properties, Resource, stamped

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_lambda.type_defs import EventSourceMappingConfigurationTypeDef

# Creating and switching take up to a few minutes (Lambda Developer Guide, "Event source mappings").
SETTLED_LIMIT: Final = 600.0
T = TypeVar("T")
# Properties that are fields as they are: the field's name, and its value where Lambda leaves it out. A
# mapping of a queue has some of them only, and Lambda refuses the others.
_FIELDS: Final[dict[str, tuple[str, Any]]] = {
    "batch_size": ("BatchSize", None),
    "batching_window": ("MaximumBatchingWindowInSeconds", 0),
    "response_types": ("FunctionResponseTypes", []),
    "bisect": ("BisectBatchOnFunctionError", False),
    "retries": ("MaximumRetryAttempts", -1),
    "record_age": ("MaximumRecordAgeInSeconds", -1),
    "parallelization": ("ParallelizationFactor", 1),
}
_SOURCES: Final = frozenset({"table", "queue"})
_SETTLED: Final = frozenset({"Enabled", "Disabled"})


@dataclass(frozen=True, slots=True)
class MappingAdmin(TriggerGateway):
    """The mapping of a function (by its name) and its one source; a function has one and no other.

    The source of ``worker`` is the queue ``main`` (its ARN, asked for late), that of any other function the
    stream of ``table``. One that somebody has pointed at the other function counts as that of its source.
    """

    client: LambdaClient
    dynamodb: DynamoDBClient
    table: str
    waiter: Waiter = field(default_factory=Waiter)
    functions: tuple[str, ...] = ()
    worker: str = ""
    main: Callable[[], str] = str
    title: ClassVar[str] = "event source mapping of"
    exists_codes: ClassVar[frozenset[str]] = frozenset({"ResourceConflictException"})

    def _read(self, name: str) -> Found | None:
        """Return the mapping; of several the one from its present source to the alias, if there is.

        The functions of further ones are its ``others``; their ids are a fact.
        """
        present = self._source(name)
        mappings = sorted(self._list(name, present), key=lambda one: _strangeness(one, name, present))
        if not mappings:
            return None
        first, *others = mappings
        state = self._known_state(first, name)
        arn, source = first.get("EventSourceMappingArn"), first.get("EventSourceArn", "")
        tags = self.client.list_tags(Resource=arn).get("Tags", {}) if arn else {}
        properties = {
            **_properties(first),
            **({"queue": source} if _is_queue(first) else {}),
            "table": self.table if source == present else source,
            "others": [one.get("FunctionArn", "") for one in others],
        }
        facts = {
            "uuid": first["UUID"],
            "others": [one["UUID"] for one in others],
            "arn": arn,
            "source": source,
            "state": state,
            "enabled": state in ("Enabled", "Enabling", "Creating"),
            # When it was changed last, or its state (API Reference, EventSourceMappingConfiguration).
            "changed": first.get("LastModified"),
            "last_result": first.get("LastProcessingResult", ""),
        }
        return Found("event-source-mapping", name, properties, tags, facts)

    def _create(self, wanted: Resource) -> None:
        """Create the mapping, of a stream from its beginning, and wait until it is enabled, or disabled."""
        self._make(wanted, enabled=wanted.enabled)

    def _update(self, wanted: Resource, found: Found, changed: frozenset[str]) -> None:
        """Set what differs; one of another source is deleted and made again, enabled or not as before."""
        for other in found.facts["others"]:
            self._remove(other, wanted.name)
        uuid = found.facts["uuid"]
        if changed & _SOURCES:
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
        for uuid in (found.facts["uuid"], *found.facts["others"]):
            self._remove(uuid, found.name)

    def _make(self, wanted: Resource, *, enabled: bool) -> None:
        source = self._source(wanted.name)
        if source is None:
            raise AwsError(f"table {self.table} has no stream", hint=f"run {command_line('deploy')} again")
        start: dict[str, Any] = {} if wanted.name == self.worker else {"StartingPosition": "TRIM_HORIZON"}
        create = partial(
            self.client.create_event_source_mapping,
            EventSourceArn=source,
            **start,
            Enabled=enabled,
            Tags=stamped(wanted.tags),
            **_arguments(wanted.properties),
        )
        made = self._accepted(create, wanted.name)
        self._wait_settled(made["UUID"], wanted.name)
        self._leave_one(wanted.name, source)

    def _leave_one(self, name: str, source: str) -> None:
        """Delete the further mappings that a deploy beside this one has made: both leave the same one."""
        listed = self._answers([{"EventSourceArn": source}], [name])
        alike = [one for one in listed if not any(_strangeness(one, name, source)[:3])]
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

    def _source(self, name: str) -> str | None:
        """Return the ARN of what a function reads: of main, or of the table's stream that is switched on."""
        if name == self.worker:
            return self.main()
        answer = unless_missing(lambda: self.dynamodb.describe_table(TableName=self.table))
        return stream_arn(answer["Table"]) if answer else None

    def _list(self, function: str, source: str | None) -> list[EventSourceMappingConfigurationTypeDef]:
        """Return the function's mappings that are not going away.

        Lambda lists a function's by exactly the name or alias they were made with, and those of a deleted
        function only by their source.
        """
        functions = list(dict.fromkeys((function, *self.functions)))
        # One of an earlier stream may feed the worker; what reads main is found at main.
        asked = [function] if function == self.worker else functions
        queries: list[dict[str, Any]] = [
            {"FunctionName": f"{one}{qualifier}"} for one in asked for qualifier in ("", f":{LIVE_ALIAS}")
        ]
        queries += [{"EventSourceArn": source}] if source else []
        listed = self._answers(queries, functions)
        return [one for one in listed if _is_queue(one) == (function == self.worker)]

    def others_of_main(self) -> list[str]:
        """Return the functions of somebody else's that take messages of main, by their ARNs."""
        with calling(f"{self.title} {self.worker}"):
            listed = self._answers([{"EventSourceArn": self.main()}])
        arns = [one.get("FunctionArn", "") for one in listed]
        return sorted(arn for arn in arns if _function(arn) not in self.functions)

    def _answers(
        self, queries: Iterable[dict[str, Any]], functions: Collection[str] | None = None
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
            if one.get("State") != "Deleting"
            and (functions is None or _function(one.get("FunctionArn", "")) in functions)
        ]


def _strangeness(
    mapping: EventSourceMappingConfigurationTypeDef, name: str, source: str | None
) -> tuple[bool, bool, bool, str]:
    arn = mapping.get("FunctionArn", "")
    elsewhere, aliased = mapping.get("EventSourceArn") != source, arn.endswith(f":{LIVE_ALIAS}")
    return _function(arn) != name, elsewhere, not aliased, mapping.get("UUID", "")


def _is_queue(mapping: EventSourceMappingConfigurationTypeDef) -> bool:
    return ":sqs:" in mapping.get("EventSourceArn", "")


def _function(arn: str) -> str:
    """Return the function's name in ``arn:aws:lambda:region:account:function:NAME[:QUALIFIER]``."""
    return (arn.split(":") + [""] * 7)[6]


def _properties(mapping: Mapping[str, Any]) -> dict[str, Any]:
    filters = mapping.get("FilterCriteria", {}).get("Filters", [])
    return {
        "function": mapping.get("FunctionArn"),
        "filters": [_filter(one.get("Pattern", "{}")) for one in filters],
        **{name: mapping.get(field, default) for name, (field, default) in _FIELDS.items()},
        "max_functions": mapping.get("ScalingConfig", {}).get("MaximumConcurrency"),
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
    arguments = {
        "FunctionName": properties["function"],
        # An empty one takes the filters away.
        "FilterCriteria": {"Filters": patterns} if patterns else {},
        **{field: properties[name] for name, (field, _) in _FIELDS.items() if name in properties},
    }
    if "max_functions" in properties:
        arguments["ScalingConfig"] = {"MaximumConcurrency": properties["max_functions"]}
    if "on_failure" in properties:
        arguments["DestinationConfig"] = {"OnFailure": {"Destination": properties["on_failure"]}}
    return arguments
