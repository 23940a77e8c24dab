"""What AWS holds of a pipeline: a gateway for every kind, and all of them read at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from fifo_cli.aws.aliases import AliasAdmin
from fifo_cli.aws.functions import FunctionAdmin
from fifo_cli.aws.gateway import Gateway, Patience
from fifo_cli.aws.logs_admin import LogGroupAdmin
from fifo_cli.aws.mappings import MappingAdmin
from fifo_cli.aws.queue_admin import QueueAdmin
from fifo_cli.aws.roles import RoleAdmin
from fifo_cli.aws.schedules import RuleAdmin, ScheduleAdmin
from fifo_cli.aws.tables import TableAdmin
from fifo_cli.model.names import Names
from fifo_cli.model.resources import Found, Key, Kind

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.settings import Settings

# Below the connections of a client's pool; IAM and Lambda's control plane take some 15 requests a second.
THREADS: Final = 8


@dataclass(frozen=True, slots=True)
class Gateways:
    """One gateway a kind, and the typed ones for what only they can tell."""

    by_kind: Mapping[Kind, Gateway]
    functions: FunctionAdmin
    rules: RuleAdmin
    schedules: ScheduleAdmin


def gateways(aws: Aws, settings: Settings, *, zips: Mapping[str, bytes], patience: Patience) -> Gateways:
    """Make the gateways of a pipeline; ``zips`` is the code by function name, empty to write none."""
    client, dynamodb = aws.client("lambda"), aws.client("dynamodb")
    worker = Names(settings.pipeline.name).function("worker")
    functions = FunctionAdmin(client, zips, patience)
    rules = RuleAdmin(aws.client("events"), client, worker)
    schedules = ScheduleAdmin(aws.client("scheduler"), patience)
    by_kind: dict[Kind, Gateway] = {
        "table": TableAdmin(dynamodb, patience),
        "queue": QueueAdmin(aws.client("sqs"), patience),
        "log-group": LogGroupAdmin(aws.client("logs")),
        "role": RoleAdmin(aws.client("iam")),
        "function": functions,
        "alias": AliasAdmin(client, patience),
        "event-source-mapping": MappingAdmin(client, dynamodb, settings.table.name, patience),
        "rule": rules,
        "schedule": schedules,
    }
    return Gateways(by_kind, functions, rules, schedules)


def observe(gates: Gateways, keys: Iterable[Key]) -> dict[Key, Found]:
    """Read resources side by side and return those that exist, in the order of ``keys``."""
    ordered = list(dict.fromkeys(keys))
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(lambda key: gates.by_kind[key[0]].read(key[1]), ordered)
        return {key: one for key, one in zip(ordered, found, strict=True) if one is not None}


def observe_pipeline(gates: Gateways, pipeline: str, keys: Iterable[Key]) -> tuple[dict[Key, Found], bool]:
    """Return what exists of ``keys`` and of schedules named like ours, and if concurrency can be reserved.

    A schedule beyond the wanted ones is found by its name; whose it is, its tag tells.
    """
    with ThreadPoolExecutor(3) as pool:
        rules = pool.submit(partial(gates.rules.names, pipeline))
        schedules = pool.submit(partial(gates.schedules.names, pipeline))
        reserve = pool.submit(gates.functions.can_reserve)
        surplus: list[Key] = [("rule", name) for name in rules.result()]
        surplus += [("schedule", name) for name in schedules.result()]
        return observe(gates, [*keys, *surplus]), reserve.result()
