"""The wanted resources of a pipeline as data: what fifo.toml asks of AWS, and what AWS was found to hold."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from fifo_cli import __version__
from fifo_cli.model import limits
from fifo_cli.model.alarms import alarm_properties
from fifo_cli.model.names import (
    FUNCTION_ROLES,
    LIVE_ALIAS,
    PIPELINE_TAG,
    REGION_TAG,
    SCHEDULER_TAG,
    START_TAG,
    START_VARIABLE,
    VERSION_TAG,
    FunctionRole,
    Names,
    Place,
)
from fifo_cli.model.role_policies import (
    INTERFACE_ACTION,
    SCHEDULER,
    Statement,
    read_table_key,
    role_policy,
    role_trust,
    use_network,
)
from fifo_cli.model.schedules import RUN_AGE_SECONDS
from fifo_cli.model.worker_trigger import (
    expressions,
    main_visibility_timeout,
    mapping_key,
    mapping_properties,
    scheduler_timezone,
    visibility_timeout,
)

if TYPE_CHECKING:
    from fifo_cli.model.settings import Settings

Kind = Literal[
    "table", "queue", "log-group", "role", "function", "alias", "event-source-mapping", "rule", "schedule",
    "alarm",
]  # fmt: skip
Key = tuple[Kind, str]
Properties = Mapping[str, Any]

HANDLERS: Final[dict[FunctionRole, str]] = {
    role: f"fifo_cli.handlers.{role}.handler" for role in FUNCTION_ROLES
}
# DynamoDB Developer Guide, "Change data capture for DynamoDB Streams".
STREAM_RETENTION: Final = timedelta(hours=24)
# A failed record's data is in the stream for 24 hours only, and the on-failure record does not hold it: three
# hours remain to notice and `replay --failed` (Lambda Developer Guide, "Using AWS Lambda with DynamoDB").
RECORD_AGE_SECONDS: Final = 21 * 3600
# Poison records leave by the DLQ, so a batch fails only when SQS or the code is down. Giving up early would
# break the order for an outage; the maximum leaves the decision to the age, which bounds it all the same.
RECORD_RETRIES: Final = 10_000
STREAM_BATCH_SIZE: Final = 100
# Longer than a message lives, in main and then in the DLQ, and as long as CloudTrail's own event history.
HISTORY_DAYS: Final = 90
STREAM_VIEW: Final = "NEW_AND_OLD_IMAGES"


@dataclass(frozen=True, slots=True)
class AtLeast:
    """The numbers from ``least`` on, and 0."""

    least: int

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int) and (value >= self.least or value == 0)


@dataclass(frozen=True, slots=True)
class Resource:
    """One wanted resource: ``properties`` and ``tags`` are compared with what AWS holds, by name.

    ``accepts`` lists values of a property that serve as well as the wanted one. ``managed`` is false for
    what belongs to somebody else: it must exist, and is never created, tagged or deleted. ``enabled`` is
    how a new schedule or mapping starts; on an existing one it is left as it is, and never compared, unless
    it ``must_run``: what started the worker before was disabled for it.
    """

    kind: Kind
    name: str
    properties: Properties
    tags: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[Key, ...] = ()
    accepts: Mapping[str, Container[Any]] = field(default_factory=dict)
    managed: bool = True
    enabled: bool = True
    must_run: bool = False

    @property
    def key(self) -> Key:
        return (self.kind, self.name)


@dataclass(frozen=True, slots=True)
class Found:
    """One resource as AWS reports it; ``facts`` (ARN, URL, state) are known but not compared.

    What is ``deleted`` is gone, though AWS still answers for it.
    """

    kind: Kind
    name: str
    properties: Properties
    tags: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        return (self.kind, self.name)

    @property
    def deleted(self) -> bool:
        return bool(self.facts.get("deleted"))


def stamped(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags to write: the wanted ones and our version, which alone is never a difference."""
    return {**tags, VERSION_TAG: __version__} if tags else {}


def wanted_resources(
    settings: Settings, place: Place, zips: Mapping[FunctionRole, str], *, reserve_concurrency: bool
) -> tuple[Resource, ...]:
    """Return every resource of a pipeline.

    ``zips`` is the base64 SHA-256 of each function's code, as Lambda's CodeSha256; ``reserve_concurrency``
    says whether the account has concurrency to reserve for the worker.
    """
    pipeline = _Pipeline(settings, place)
    return (
        pipeline.table(),
        *pipeline.queues(),
        *map(pipeline.log_group, FUNCTION_ROLES),
        operations_log(settings),
        *map(pipeline.role, FUNCTION_ROLES),
        *(pipeline.function(role, zips[role], reserve_concurrency) for role in FUNCTION_ROLES),
        *(pipeline.alias(role, zips[role]) for role in FUNCTION_ROLES),
        pipeline.mapping(),
        *pipeline.worker_triggers(),
        *pipeline.alarms(),
    )


def operations_log(settings: Settings) -> Resource:
    """Return the log group of the history, which a command makes, too, if it is the first to write there."""
    days = max(HISTORY_DAYS, settings.functions.log_retention.days)
    return Resource("log-group", settings.names.operations_log, {"retention_days": days}, _tags(settings))


def _tags(settings: Settings) -> dict[str, str]:
    return {PIPELINE_TAG: settings.pipeline.name, **settings.tags}


def with_start(wanted: Iterable[Resource], start: str | None) -> tuple[Resource, ...]:
    """Return the resources of a pipeline that leaves out what was written before ``start`` (ISO 8601).

    The moment is on every queue, as one of them is the first thing that a deploy makes, and in the enqueuer's
    environment, as it belongs to no version of code and settings.
    """
    return tuple(_started(one, start) for one in wanted) if start else tuple(wanted)


def _started(resource: Resource, start: str) -> Resource:
    if resource.kind == "queue":
        return replace(resource, tags={**resource.tags, START_TAG: start})
    if resource.properties.get("handler") == HANDLERS["enqueuer"]:
        return replace(
            resource, properties={**resource.properties, "environment": [f"{START_VARIABLE}={start}"]}
        )
    return resource


def recorded_start(found: Iterable[Found], pipeline: str) -> str | None:
    """Return the start that the first deploy of a pipeline recorded; None if none did."""
    ours = [one for one in found if one.kind == "queue" and one.tags.get(PIPELINE_TAG) == pipeline]
    return min((one.tags[START_TAG] for one in ours if START_TAG in one.tags), default=None)


def may_have_schedules(settings: Settings, found: Mapping[Key, Found]) -> bool:
    """Say whether EventBridge Scheduler may hold schedules of a pipeline, as it uses it, or did.

    A schedule is made after main has its tag, which stays as long as main. Earlier versions wrote no such
    tag: there the worker's role shows it, as no schedule fires whose role does not trust Scheduler
    (EventBridge Scheduler User Guide, "Setting up", execution role).
    """
    names = settings.names
    main = found.get(("queue", names.main))
    role = found.get(("role", names.function("worker")))
    return bool(
        scheduler_timezone(settings)
        or (main and SCHEDULER_TAG in main.tags)
        or (role and SCHEDULER in json.dumps(role.properties.get("trust")))
    )


def with_more_permissions(
    settings: Settings, wanted: Iterable[Resource], found: Mapping[Key, Found]
) -> tuple[Resource, ...]:
    """Return the resources of a pipeline whose roles may do what follows from what was found.

    Lambda reads the stream with the role of the enqueuer, so that needs the KMS key of the table, if there is
    one. A role with which network interfaces were made may still delete them: the versions that a rollback
    goes back to stay in the VPC, and Lambda deletes what nothing uses any more.
    """
    table = found.get(("table", settings.table.name))
    key = table.facts.get("kms_key") if table else None
    enqueuer = ("role", settings.names.function("enqueuer"))

    def more(one: Resource) -> list[Statement]:
        of_table = [read_table_key(key)] if key and one.key == enqueuer else []
        in_network = one.key in found and makes_interfaces(found[one.key])
        return [*of_table, *(use_network() if in_network else [])]

    return tuple(_with_statements(one, statements) if (statements := more(one)) else one for one in wanted)


def _with_statements(role: Resource, statements: Iterable[Statement]) -> Resource:
    policy = role.properties["policy"]
    more = [one for one in statements if one not in policy["Statement"]]
    policy = {**policy, "Statement": [*policy["Statement"], *more]}
    return replace(role, properties={**role.properties, "policy": policy})


def with_scheduler_tag(
    settings: Settings, wanted: Iterable[Resource], found: Mapping[Key, Found]
) -> tuple[Resource, ...]:
    """Return the resources of a pipeline whose schedules are to be deleted: main gets its tag first.

    Only then the role loses Scheduler's trust, so that a run that is killed in between is completed.
    """
    names = settings.names
    owners = {one.tags.get(PIPELINE_TAG) for one in found.values() if one.kind == "schedule"}
    resources = {one.key: one for one in wanted}
    if names.pipeline in owners and not scheduler_timezone(settings):
        main, role = resources["queue", names.main], resources["role", names.function("worker")]
        resources[main.key] = replace(main, tags={**main.tags, SCHEDULER_TAG: "used"})
        resources[role.key] = replace(role, needs=(*role.needs, main.key))
    return tuple(resources.values())


def makes_interfaces(found: Found) -> bool:
    """Say whether a found role is one with which Lambda makes network interfaces: its function is in a VPC.

    The role shows it as long as it exists, also when the function is deleted.
    """
    return found.kind == "role" and INTERFACE_ACTION in json.dumps(found.properties.get("policy"))


def alias_name(function: str) -> str:
    """Return the name of a function's ``live`` alias as a resource."""
    return f"{function}:{LIVE_ALIAS}"


@dataclass(frozen=True, slots=True)
class _Pipeline:
    """What the resources of one pipeline are made of."""

    settings: Settings
    place: Place

    @property
    def names(self) -> Names:
        return self.settings.names

    @property
    def tags(self) -> dict[str, str]:
        return _tags(self.settings)

    def table(self) -> Resource:
        table = self.settings.table
        properties: dict[str, Any] = {"keys": [list(key) for key in table.keys], "stream": STREAM_VIEW}
        # A queue first: it carries the pipeline's start, and a new stream holds what is written after it.
        needs: tuple[Key, ...] = (("queue", self.names.dlq),)
        if table.create:
            return Resource(
                "table", table.name, {**properties, "billing": "PAY_PER_REQUEST"}, self.tags, needs
            )
        # Only a removal needs the old image.
        views = () if "REMOVE" in self.settings.message.events else ("NEW_IMAGE",)
        return Resource("table", table.name, properties, {}, needs, {"stream": views}, managed=False)

    def queues(self) -> list[Resource]:
        settings, names = self.settings.queue, self.names
        common = {
            "max_message_bytes": limits.MESSAGE_BYTES_MAX,
            "visibility_timeout": _seconds(visibility_timeout(self.settings)),
            "delay": 0,
            "encryption": settings.kms_key or "sqs",
            "retention": _seconds(limits.RETENTION_MAX),
        }
        high = settings.high_throughput
        fifo = {
            **common,
            "fifo": True,
            "content_based_deduplication": False,
            "deduplication_scope": "messageGroup" if high else "queue",
            "throughput_limit": "perMessageGroupId" if high else "perQueue",
        }
        main = {
            "retention": _seconds(settings.retention),
            "redrive": self._redrive(settings.max_receives),
            "visibility_timeout": _seconds(main_visibility_timeout(self.settings)),
        }
        sources = [names.hold, *([names.main] if settings.max_receives else [])]
        allow = {"permission": "byQueue", "sources": sorted(map(self.place.queue, sources))}
        # A policy of its own would take away what waits in the DLQ, receive by receive.
        dlq = {"redrive": None, "redrive_allow": allow}
        # SQS starts a move task only from a queue that some queue's policy names. In hold a message is
        # received a few times in all, so this policy never acts.
        hold = {"redrive": self._redrive(limits.MAX_RECEIVES_MAX)}
        main_tags = {SCHEDULER_TAG: "used"} if scheduler_timezone(self.settings) else {}
        # A queue may name the DLQ once the DLQ admits it; main gives up its policy once hold has one.
        needs_dlq: Key = ("queue", names.dlq)
        return [
            Resource(
                "queue",
                names.main,
                {**fifo, **main},
                {**self.tags, **main_tags},
                (needs_dlq, ("queue", names.hold)),
            ),
            Resource("queue", names.dlq, {**fifo, **dlq}, self.tags),
            Resource("queue", names.hold, {**fifo, **hold}, self.tags, (needs_dlq,)),
            Resource("queue", names.stream_failures, {**common, "fifo": False}, self.tags),
        ]

    def _redrive(self, max_receives: int) -> dict[str, Any] | None:
        policy = {"target": self.place.queue(self.names.dlq), "max_receives": max_receives}
        return policy if max_receives else None

    def log_group(self, role: FunctionRole) -> Resource:
        days = self.settings.functions.log_retention.days
        return Resource("log-group", self.names.log_group(role), {"retention_days": days}, self.tags)

    def role(self, role: FunctionRole) -> Resource:
        properties: dict[str, Any] = {
            "trust": role_trust(self.settings, self.place, role),
            "policy": role_policy(self.settings, self.place, role),
            "permissions_boundary": self.settings.functions.permissions_boundary,
            # What else is attached to it, it may do besides.
            "other_policies": [],
        }
        tags = {**self.tags, REGION_TAG: self.place.region}
        return Resource("role", self.names.function(role), properties, tags)

    def _version(self, role: FunctionRole, code: str) -> dict[str, Any]:
        """Return what a version is made of; a difference in any of it needs a new one.

        There are no environment variables and no layers: settings and libraries are in the zip, so that a
        version holds all.
        """
        functions = self.settings.functions
        return {
            "code_sha256": code,
            "handler": HANDLERS[role],
            "runtime": functions.runtime,
            "architecture": functions.architecture,
            "memory": functions.memory,
            "timeout": _seconds(functions.timeout),
            "role": self.place.role(self.names.function(role)),
            "subnets": sorted(functions.subnets),
            "security_groups": sorted(functions.security_groups),
            "environment": [],
            "layers": [],
            # Where and how our own lines are found again: `logs`, `audit` and `trace` read them.
            "logging": {"group": self.names.log_group(role), "format": "Text"},
        }

    def function(self, role: FunctionRole, code: str, reserve_concurrency: bool) -> Resource:
        name = self.names.function(role)
        properties = self._version(role, code)
        accepts: dict[str, Container[Any]] = {}
        needs: tuple[Key, ...] = (("role", name), ("log-group", self.names.log_group(role)))
        # 0 is Lambda's emergency stop; who pulled it decides when it ends.
        if role == "worker" and self.settings.worker.by_queue:
            # With fewer than the mapping may start, Lambda would take messages and be throttled.
            properties["reserved_concurrency"] = None
            accepts["reserved_concurrency"] = AtLeast(self.settings.worker.max_functions)
            # Lambda refuses a timeout that is longer than the queue hides what is received.
            needs = (*needs, ("queue", self.names.main))
        elif role == "worker" and reserve_concurrency:
            properties["reserved_concurrency"] = 1
            accepts["reserved_concurrency"] = (0,)
        return Resource("function", name, properties, self.tags, needs, accepts)

    def alias(self, role: FunctionRole, code: str) -> Resource:
        name = self.names.function(role)
        # What is not published changes under the alias without a deploy.
        properties = {**self._version(role, code), "published": True, "routing": {}}
        if role == "worker":
            # Lambda would retry a failed run after one and two minutes, over the next ones (Lambda Developer
            # Guide, "How Lambda handles errors and retries with asynchronous invocation").
            properties |= {"async_retries": 0, "async_age": RUN_AGE_SECONDS, "async_destinations": {}}
        return Resource("alias", alias_name(name), properties, needs=(("function", name),))

    def mapping(self) -> Resource:
        table, names = self.settings.table.name, self.names
        function = names.function("enqueuer")
        properties = {
            "table": table,
            "function": self.place.function(function, LIVE_ALIAS),
            "filters": [{"eventName": sorted(self.settings.message.events)}],
            "batch_size": STREAM_BATCH_SIZE,
            "batching_window": 0,
            "response_types": ["ReportBatchItemFailures"],
            "bisect": True,
            "retries": RECORD_RETRIES,
            "record_age": RECORD_AGE_SECONDS,
            "parallelization": 1,
            "on_failure": self.place.queue(names.stream_failures),
            "others": [],
        }
        needs: tuple[Key, ...] = (
            ("table", table),
            ("alias", alias_name(function)),
            ("queue", names.main),
            ("queue", names.dlq),
            ("queue", names.stream_failures),
        )
        return Resource("event-source-mapping", function, properties, self.tags, needs)

    def worker_triggers(self) -> list[Resource]:
        """Return what starts the worker: the mapping of main, or the schedules."""
        if not self.settings.worker.by_queue:
            return self._schedules()
        kind, name = mapping_key(self.names)
        needs: tuple[Key, ...] = (("alias", alias_name(name)), ("queue", self.names.main))
        properties = mapping_properties(self.settings, self.place)
        return [Resource(kind, name, properties, self.tags, needs)]

    def _schedules(self) -> list[Resource]:
        worker, timezone = self.names.function("worker"), scheduler_timezone(self.settings)
        target = {"arn": self.place.function(worker, LIVE_ALIAS), "retries": 0, "age": RUN_AGE_SECONDS}
        needs: tuple[Key, ...] = (("alias", alias_name(worker)), ("queue", self.names.main))
        wanted = []
        for number, expression in enumerate(expressions(self.settings), 1):
            name = self.names.schedule(number)
            if timezone is None:
                rule = {"expression": expression, "pattern": None, "targets": [target], "permission": True}
                wanted.append(Resource("rule", name, rule, self.tags, needs))
                continue
            schedule = {
                "expression": expression,
                "timezone": timezone,
                "target": target,
                "role": self.place.role(worker),
                "flexible_window": "OFF",
                "dates": [],
            }
            # A schedule takes no tags; its description carries the pipeline's name instead.
            owner = {PIPELINE_TAG: self.names.pipeline}
            wanted.append(Resource("schedule", name, schedule, owner, (*needs, ("role", worker))))
        return wanted

    def alarms(self) -> list[Resource]:
        """Return the alarms: made when all they watch is there, and deleted before it."""
        needs: tuple[Key, ...] = (
            ("queue", self.names.main),
            ("event-source-mapping", self.names.function("enqueuer")),
            ("alias", alias_name(self.names.function("worker"))),
        )
        return [
            # To ring when all periods are bad is what CloudWatch does if it is given no number.
            Resource("alarm", name, properties, self.tags, needs, {"datapoints": (properties["periods"],)})
            for name, properties in alarm_properties(self.settings).items()
        ]


def _seconds(duration: timedelta) -> int:
    return int(duration.total_seconds())


def normalised(value: Any) -> Any:
    """Return a value as it is compared: an IAM policy as its statements by Sid, evened out.

    IAM keeps a policy as it was written, yet takes a list of one and a scalar for the same and no order for
    meaning (IAM User Guide, "Grammar of the IAM JSON policy language").
    """
    if isinstance(value, Mapping):
        if "Statement" in value:
            return _statements(value["Statement"])
        return {name: normalised(item) for name, item in value.items()}
    return value


def _statements(statements: Any) -> dict[str, Any]:
    listed = statements if isinstance(statements, list) else [statements]
    found: dict[str, Any] = {}
    for number, one in enumerate(listed, 1):
        sid = str(one.get("Sid", number))
        while sid in found:  # so that no statement hides another
            sid += "+"
        found[sid] = {name: _even(item) for name, item in one.items() if name != "Sid"}
    return found


def _even(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _even(item) for name, item in value.items()}
    if isinstance(value, list):
        items = sorted(value, key=lambda item: json.dumps(item, sort_keys=True))
        return items[0] if len(items) == 1 else items
    return value
