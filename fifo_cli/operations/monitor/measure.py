"""The numbers of a pipeline, measured at once: what ``check``, ``status`` and ``watch`` evaluate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from fifo_cli.aws.cloudwatch import Metric, get_counts, get_latest
from fifo_cli.aws.resources.gateway import Waiter
from fifo_cli.aws.sqs import Queue
from fifo_cli.aws.triggers import get_polling, get_reserved_concurrency, get_trigger, is_mapping_enabled
from fifo_cli.errors import FifoError, NotDeployedError
from fifo_cli.model.health import (
    Measurements,
    Polling,
    QueueKind,
    ScheduleState,
    TriggerState,
    Unavailable,
)
from fifo_cli.model.names import FUNCTION_ROLES, SWITCH_TAG, Names
from fifo_cli.model.queue_counts import Counted
from fifo_cli.model.worker_trigger import MAPPING, TriggerKey, trigger_keys, with_trigger
from fifo_cli.operations.deploy.remote_state import gateways, worker_triggers
from fifo_cli.operations.monitor.maintenance import (
    left_lock,
    maintenance_of,
    resumed_at,
    unfinished_restore,
)
from fifo_cli.operations.parallel import Gathered

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.resources import Found
    from fifo_cli.model.settings import Settings

_METRICS: Final = "the age of messages and stream records"


def queue_names(names: Names) -> dict[QueueKind, str]:
    """Return the name in AWS of each queue, the standard one too."""
    return {
        "main": names.main,
        "dlq": names.dlq,
        "hold": names.hold,
        "stream_failures": names.stream_failures,
    }


def measurement_questions(
    aws: Aws, settings: Settings, names: Names, now: datetime
) -> dict[str, Callable[[], Any]]:
    """Return what is to be asked, each under the words by which a failure is reported."""
    return {**depth_questions(aws, names), **slow_questions(aws, settings, names, now)}


def depth_questions(aws: Aws, names: Names) -> dict[str, Callable[[], Any]]:
    """Return what changes from one second to the next."""
    return {_queue(name): partial(get_counts, aws, name) for name in queue_names(names).values()}


def count_in(gathered: Gathered, name: str) -> int:
    """Return how many messages a queue was found to hold; 0 if that is not known."""
    counted = gathered.get(_queue(name))
    return counted.total if counted else 0


def slow_questions(aws: Aws, settings: Settings, names: Names, now: datetime) -> dict[str, Callable[[], Any]]:
    """Return what is to be asked once a minute at most: metrics are no newer, and cost."""
    return {
        _METRICS: partial(get_latest, aws, _metric_names(names), now=now),
        _tags(names): Queue(aws, names, "main").tags.read,
        **{_trigger(key): partial(get_trigger, aws, key) for key in trigger_keys(settings)},
        _mapping(names): partial(is_mapping_enabled, aws, names.function("enqueuer")),
        **{
            _concurrency(names.function(role)): partial(get_reserved_concurrency, aws, names.function(role))
            for role in FUNCTION_ROLES
        },
    }


@dataclass(frozen=True, slots=True)
class Triggers:
    """What starts the worker in AWS; ``settings`` are fifo.toml's, with this in place of what they ask for.

    The two differ while a deploy is still to come. ``known`` is false if some of it could not be asked.
    """

    settings: Settings
    found: tuple[ScheduleState | Polling, ...] = ()
    known: bool = True

    @property
    def polling(self) -> Polling | None:
        return next((one for one in self.found if isinstance(one, Polling)), None)

    @property
    def schedules(self) -> tuple[ScheduleState, ...]:
        return tuple(one for one in self.found if isinstance(one, ScheduleState))

    @property
    def enabled(self) -> bool:
        return any(one.enabled for one in self.found)


def triggers_of(aws: Aws, gathered: Gathered, settings: Settings, names: Names) -> Triggers:
    """Return what starts the worker: what fifo.toml asks for, unless something else does.

    Only where the first is missing or disabled, AWS is asked what else there is.
    """
    keys = [key for key in trigger_keys(settings) if _trigger(key) in gathered.answers]
    asked = [gathered[_trigger(key)] for key in keys]
    found = _triggers(settings, [one for one in asked if one is not None])
    found = replace(found, known=len(asked) == len(trigger_keys(settings)))
    if found.enabled or not found.known:
        return found
    try:
        present = worker_triggers(gateways(aws, settings, waiter=Waiter()), settings)
        others = [one for one in present if one.facts["enabled"] or not found.found]
        other = _triggers(settings, [_state_of(aws, one) for one in others])
    except FifoError:
        return found
    return other if other.found else found


def _state_of(aws: Aws, found: Found) -> ScheduleState | Polling | None:
    if found.kind == MAPPING:
        return get_polling(aws, found.name)
    expression, timezone = found.properties["expression"], found.properties.get("timezone")
    return ScheduleState(found.facts["enabled"], expression, timezone, found.name) if expression else None


def _triggers(settings: Settings, states: Iterable[ScheduleState | Polling | None]) -> Triggers:
    found = tuple(one for one in states if one is not None)
    if any(isinstance(one, Polling) for one in found):
        return Triggers(with_trigger(settings, "queue", ()), found)
    schedules = [one for one in found if isinstance(one, ScheduleState)]
    running = [one for one in schedules if one.enabled] or schedules
    if not running:
        return Triggers(settings)
    expressions = [(one.expression, one.timezone) for one in running]
    return Triggers(with_trigger(settings, "schedule", expressions), found)


def measurements_of(gathered: Gathered, triggers: Triggers, names: Names) -> Measurements:
    """Put the answers together; what cannot be asked is in ``unseen``.

    Raises NotDeployedError if no queue exists, and the first failure if nothing at all answered.
    """
    found: dict[QueueKind, Counted] = {}
    missing: list[str] = []
    for kind, name in queue_names(names).items():
        failure = gathered.failures.get(_queue(name))
        if isinstance(failure, NotDeployedError):
            missing.append(name)
        elif failure is None:
            found[kind] = gathered[_queue(name)]
    first = gathered.failures.get(_queue(names.main))
    if len(missing) == len(queue_names(names)) or not gathered.answers:
        assert first is not None, "every queue failed"
        raise first
    metrics: Mapping[str, float] = gathered.get(_METRICS, {})
    ages = {"main": metrics.get("main_age"), "dlq": metrics.get("dlq_age")}
    tags = gathered.get(_tags(names))
    iterator = metrics.get("iterator_age")
    return Measurements(
        queues={
            # CloudWatch's word is minutes old: an empty queue has no oldest message, even if it names one.
            kind: replace(one, oldest_age=_whole(ages.get(kind)) if one.total else None)
            for kind, one in found.items()
        },
        missing=tuple(missing),
        iterator_age=None if iterator is None else int(iterator / 1000),
        worker=_worker(gathered, triggers, names),
        enqueuer=_enqueuer(gathered, names),
        maintenance=maintenance_of(tags) if tags else None,
        left_lock=left_lock(tags) if tags else None,
        restore=unfinished_restore(tags) if tags else None,
        resumed_at=resumed_at(tags) if tags else None,
        polling=triggers.polling,
        schedules=triggers.schedules,
        changes_trigger=tags is not None and SWITCH_TAG in tags.tags,
        unseen=tuple(
            Unavailable(what, failure.message)
            for what, failure in gathered.failures.items()
            if not (isinstance(failure, NotDeployedError) and what in {_tags(names), *map(_queue, missing)})
        ),
    )


def _worker(gathered: Gathered, triggers: Triggers, names: Names) -> TriggerState | None:
    if gathered.get(_concurrency(names.function("worker"))) == 0:
        return "stopped"
    if triggers.enabled:
        return "running"
    if not triggers.known:
        return None
    return "paused" if triggers.found else "missing"


def _enqueuer(gathered: Gathered, names: Names) -> TriggerState | None:
    if gathered.get(_concurrency(names.function("enqueuer"))) == 0:
        return "stopped"
    if _mapping(names) not in gathered.answers:
        return None
    enabled = gathered[_mapping(names)]
    return "missing" if enabled is None else "running" if enabled else "paused"


def _metric_names(names: Names) -> dict[str, Metric]:
    age = "ApproximateAgeOfOldestMessage"
    enqueuer = {"FunctionName": names.function("enqueuer")}
    return {
        "main_age": Metric("AWS/SQS", age, {"QueueName": names.main}),
        "dlq_age": Metric("AWS/SQS", age, {"QueueName": names.dlq}),
        "iterator_age": Metric("AWS/Lambda", "IteratorAge", enqueuer),
    }


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _queue(name: str) -> str:
    return f"the depth of {name}"


def _tags(names: Names) -> str:
    return f"whether maintenance holds {names.main}"


def _trigger(key: TriggerKey) -> str:
    kind, name = key
    return f"how {name} reads main" if kind == MAPPING else f"whether schedule {name} is on"


def _mapping(names: Names) -> str:
    return f"whether {names.function('enqueuer')} reads the stream"


def _concurrency(function: str) -> str:
    return f"the reserved concurrency of {function}"
