"""What AWS holds of a pipeline: a gateway for every kind, and all of them read at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from fifo_cli.aws.resources.alarm import AlarmAdmin
from fifo_cli.aws.resources.alias import AliasAdmin
from fifo_cli.aws.resources.event_source_mapping import MappingAdmin
from fifo_cli.aws.resources.function import FunctionAdmin
from fifo_cli.aws.resources.gateway import Gateway, TriggerGateway, Waiter
from fifo_cli.aws.resources.log_group import LogGroupAdmin
from fifo_cli.aws.resources.network_interface import NetworkInterfaces
from fifo_cli.aws.resources.queue import QueueAdmin
from fifo_cli.aws.resources.role import RoleAdmin
from fifo_cli.aws.resources.schedule import RuleAdmin, ScheduleAdmin
from fifo_cli.aws.resources.table import TableAdmin
from fifo_cli.aws.retries import announce_retries
from fifo_cli.errors import FifoError, NotDeployedError
from fifo_cli.events import Listener, Waiting, Warned
from fifo_cli.model.names import ALARM_ROLES, FUNCTION_ROLES
from fifo_cli.model.planning import is_surplus
from fifo_cli.model.resources import Found, Key, Kind, may_have_schedules
from fifo_cli.model.worker_trigger import mapping_key, scheduler_timezone
from fifo_cli.operations.parallel import read_all

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.settings import Settings

_NO_CODE: Final[Mapping[str, bytes]] = {}


@contextmanager
def naming_place(aws: Aws) -> Iterator[None]:
    """Name account and region where something is not deployed: as a rule they are not the ones meant."""
    try:
        yield
    except NotDeployedError as error:
        place = f"account {aws.place.account}, region {aws.place.region}"
        message = error.message.replace("this account and region", place)
        raise NotDeployedError(message, hint=error.hint) from error


@dataclass(frozen=True, slots=True)
class Gateways:
    """One gateway for each kind, and by name those that have methods of their own."""

    by_kind: Mapping[Kind, Gateway]
    tables: TableAdmin
    queues: QueueAdmin
    functions: FunctionAdmin
    mappings: MappingAdmin
    rules: RuleAdmin
    schedules: ScheduleAdmin
    alarms: AlarmAdmin

    def trigger(self, found: Found) -> TriggerGateway:
        """Return the gateway of what starts a function: of an event source mapping, a rule or a schedule."""
        gate = self.by_kind[found.kind]
        assert isinstance(gate, TriggerGateway)
        return gate


def gateways(
    aws: Aws, settings: Settings, *, waiter: Waiter, zips: Mapping[str, bytes] = _NO_CODE
) -> Gateways:
    """Make the gateways of a pipeline; ``zips`` is the code by function name, empty to write none."""
    client, dynamodb, iam = aws.client("lambda"), aws.client("dynamodb"), aws.client("iam")
    sqs, logs, events = aws.client("sqs"), aws.client("logs"), aws.client("events")
    scheduler, cloudwatch = aws.client("scheduler"), aws.client("cloudwatch")
    for one in (client, dynamodb, iam, sqs, logs, events, scheduler, cloudwatch):
        announce_retries(one, lambda service, call: waiter.listener(Waiting(service, call)))
    names = settings.names
    worker = names.function("worker")
    tables = TableAdmin(dynamodb, waiter)
    queues = QueueAdmin(sqs, waiter, aws.delays)
    functions = FunctionAdmin(client, zips, waiter)
    mappings = MappingAdmin(
        client,
        dynamodb,
        settings.table.name,
        waiter,
        tuple(map(names.function, FUNCTION_ROLES)),
        worker,
        lambda: aws.place.queue(names.main),
    )
    rules = RuleAdmin(events, client, worker)
    schedules = ScheduleAdmin(scheduler, waiter)
    alarms = AlarmAdmin(cloudwatch)
    by_kind: dict[Kind, Gateway] = {
        "table": tables,
        "queue": queues,
        "log-group": LogGroupAdmin(logs),
        "role": RoleAdmin(iam, NetworkInterfaces(partial(aws.client, "ec2"), waiter)),
        "function": functions,
        "alias": AliasAdmin(client, waiter),
        "event-source-mapping": mappings,
        "rule": rules,
        "schedule": schedules,
        "alarm": alarms,
    }
    return Gateways(by_kind, tables, queues, functions, mappings, rules, schedules, alarms)


def table_key(aws: Aws, settings: Settings, listener: Listener) -> str | None:
    """Return the ARN of the account's KMS key that encrypts the table; if it cannot be seen, say so."""
    try:
        return TableAdmin(aws.client("dynamodb")).kms_key(settings.table.name)
    except FifoError as error:
        listener(Warned(f"whether a key of the account encrypts the table is not known: {error.message}"))
        return None


def observe(gates: Gateways, keys: Iterable[Key]) -> dict[Key, Found]:
    """Read resources side by side and return those that exist, in the order of ``keys``."""
    questions = {f"{kind} {name}": partial(gates.by_kind[kind].read, name) for kind, name in keys}
    gathered = read_all(questions)
    found: Iterable[Found | None] = (gathered[question] for question in questions)
    return {one.key: one for one in found if one is not None}


def observe_pipeline(gates: Gateways, settings: Settings, keys: Sequence[Key]) -> dict[Key, Found]:
    """Return what exists of ``keys``, and of triggers and alarms that are named like this pipeline's.

    What is beyond the wanted ones is found by its name; whose it is, its tag shows.
    """
    pipeline = settings.pipeline.name
    candidates = [settings.names.alarm(role) for role in ALARM_ROLES]
    gathered = read_all(
        {
            "resources": partial(observe, gates, keys),
            "rules": partial(gates.rules.names, pipeline),
            "alarms": partial(gates.alarms.names, candidates),
        }
    )
    found: dict[Key, Found] = gathered["resources"]
    named: list[Key] = [mapping_key(settings.names), *(("rule", name) for name in gathered["rules"])]
    named += [("alarm", name) for name in gathered["alarms"]]
    if may_have_schedules(settings, found):
        named += [("schedule", name) for name in gates.schedules.names(pipeline)]
    return {**found, **observe(gates, (key for key in named if key not in keys))}


def worker_triggers(gates: Gateways, settings: Settings) -> tuple[Found, ...]:
    """Return all that starts the worker; schedules of others that are named alike are left out."""
    return tuple(one for one in named_triggers(gates, settings) if is_surplus(one, settings.pipeline.name))


def named_triggers(gates: Gateways, settings: Settings) -> tuple[Found, ...]:
    """Return what is named like that which starts the worker, whoever's it is.

    Scheduler is asked, too, where main and the worker's role, which show whether to, cannot be read.
    """
    names = settings.names
    keys: list[Key] = [mapping_key(names), *(("rule", name) for name in gates.rules.names(names.pipeline))]
    signs: list[Key] = [("queue", names.main), ("role", names.function("worker"))]
    try:
        asks = may_have_schedules(settings, {} if scheduler_timezone(settings) else observe(gates, signs))
    except FifoError:
        asks = True
    keys += [("schedule", name) for name in (gates.schedules.names(names.pipeline) if asks else ())]
    return tuple(observe(gates, keys).values())
