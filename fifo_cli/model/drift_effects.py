"""What each setting does to messages that is not as fifo.toml wants it: the one table of that.

What loses, reorders or dead-letters messages is critical, whoever changed it: AWS, a person by hand, or a
fifo.toml that is not deployed yet. All else is a warning: a deploy puts it right, and nothing is lost before.
What AWS has and this program never sets, such as a queue's access policy, is not compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from fifo_cli.model.names import START_VARIABLE

if TYPE_CHECKING:
    from fifo_cli.model.resources import Kind

# A record is in the stream for 24 hours: so long the note of a failed batch is of use.
_STREAM_SECONDS: Final = 86_400
# Messages may be missing already.
_AUDIT: Final = "{audit} shows what is missing"
_POLLS: Final = "sqs:GetQueueAttributes"
_PARTIAL: Final = "ReportBatchItemFailures"


@dataclass(frozen=True, slots=True)
class Setting:
    """A difference as its judge sees it: what AWS has, what fifo.toml wants, and what starts the worker.

    ``by_queue``: Lambda polls main for the worker. ``timeout`` is that of the worker's function, in seconds.
    ``takes_batches``: the version with this difference is one that a deploy published for the queue.
    ``lacks`` are the actions that move messages and that the role with it does not allow.
    """

    path: str
    old: Any
    new: Any
    by_queue: bool
    timeout: float
    takes_batches: bool = False
    lacks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Harm:
    """What a setting does to messages, and what that means; ``when`` says for which values.

    ``unit`` is that of a number; ``then`` is what to do once it is put right. In braces are the two values of
    the setting (in ``does``), and commands.
    """

    does: str
    means: str = ""
    when: Callable[[Setting], bool] = lambda _: True
    unit: str = ""
    then: str = ""


Effects = Mapping[str, Harm | None]


def _drift(names: str) -> dict[str, None]:
    """Return settings whose drift harms no message."""
    return dict.fromkeys(names.split())


def _lower(one: Setting) -> bool:
    """Whether AWS has less than is wanted; -1 is without limit."""
    return isinstance(one.old, int) and isinstance(one.new, int) and -1 < one.old < one.new


def _sooner(one: Setting) -> bool:
    """Whether a redrive policy takes messages away sooner than is wanted, or to another queue."""
    if isinstance(one.old, Mapping) or isinstance(one.new, Mapping):
        return one.old is not None
    return one.old != one.new if isinstance(one.old, str) else _lower(one)


def _too_short(one: Setting) -> bool:
    """Whether main hides what Lambda receives for less than the function may take."""
    return one.by_queue and isinstance(one.old, int) and one.old < one.timeout


def _misses_events(one: Setting) -> bool:
    """Whether a filter lets fewer records through than the wanted one, which names events only."""
    wanted = one.new[0]["eventName"]
    return bool(one.old) and not any(
        isinstance(pattern, Mapping)
        and set(pattern) == {"eventName"}
        and isinstance(names := pattern["eventName"], list)
        and all(name in names for name in wanted)
        for pattern in one.old
    )


def _starts_nothing(one: Setting) -> bool:
    """Whether no target of a rule, or not that of a schedule, is the worker."""
    if one.path != "targets":
        return one.path in ("target", "target.arn")
    return one.new[0]["arn"] not in [target["arn"] for target in one.old or ()]


def _is_another(one: Setting) -> bool:
    """Whether it is another function, not only another version of it."""
    return str(one.old).split(":")[:7] != str(one.new).split(":")[:7]


def _is_whole(one: Setting) -> bool:
    """Whether Lambda takes each answer for that of a whole batch."""
    return _PARTIAL not in (one.old or ())


def _may_not_take_batches(one: Setting) -> bool:
    """Whether the queue starts code that no deploy published for it; earlier versions of ours are known."""
    return one.by_queue and not one.takes_batches


def _lacks_actions(one: Setting) -> bool:
    """Whether the role may not do what moves messages; main's attributes Lambda needs only to poll it."""
    return any(one.by_queue or action != _POLLS for action in one.lacks)


def _starts_later(one: Setting) -> bool:
    """Whether the enqueuer leaves out more of the table than it should: its start is another."""
    return any(f"{text}".startswith(START_VARIABLE) for text in one.old or ())


_SHORT_LIFE: Final = Harm(
    "keeps messages for {old} only, where fifo.toml has {new}",
    "SQS deletes what waits longer, as in a long outage",
    _lower,
    "seconds",
)
_SMALL: Final = Harm(
    "takes messages of {old} bytes at most, where {new} is its limit",
    "the enqueuer parks what is longer, and what cannot be parked holds up its shard",
    _lower,
)
_QUEUE: Final[Effects] = {
    # Our messages carry deduplication ids of their own, an id is of one group, and the worker says itself for
    # how long it hides what it receives. A delay and a limit on throughput keep the order.
    **_drift("fifo content_based_deduplication deduplication_scope throughput_limit visibility_timeout"),
    **_drift("delay encryption redrive redrive_allow"),
    "retention": _SHORT_LIFE,
    "max_message_bytes": _SMALL,
}
_OTHER_CODE: Final = Harm(
    "starts {old}, not {new}",
    "other code may answer what Lambda takes for a success: what it did not do is lost",
    then=_AUDIT,
)
_NO_BATCHES: Final = Harm(
    "is at code that no deploy published for batches of the queue",
    "Lambda deletes what its answer does not list: what it did not deliver is lost",
    _may_not_take_batches,
    then=_AUDIT,
)
_SHORT_PATIENCE: Final = Harm(
    "gives records up after {old}, where it should after {new}",
    "Lambda skips them when SQS is down for so long: their messages are missing, and later ones go first",
    _lower,
    then=_AUDIT,
)
_TIMER: Final[Effects] = {
    # The group lock keeps runs that overlap from doing harm. A permission differs also if it is a wider one;
    # where nothing starts the worker though messages wait, its silence is critical.
    **_drift("expression pattern timezone permission role flexible_window dates"),
}
_NO_TARGET: Final = Harm(
    "does not start the worker, which is not its target",
    "messages wait in the queue, in order; nothing is lost meanwhile",
    _starts_nothing,
)
_FUNCTION: Final[Effects] = _drift(
    "code_sha256 handler runtime architecture memory timeout role subnets security_groups environment layers"
    " logging reserved_concurrency published routing async_retries async_age async_destinations"
)
_ROLE: Final[Effects] = _drift("trust policy permissions_boundary other_policies")
# Every setting of every resource, by its kind and which one it is: its harm, or None where it has none.
EFFECTS: Final[Mapping[tuple[Kind, str], Effects]] = {
    ("queue", "main"): {
        **_QUEUE,
        "redrive": Harm(
            "has a redrive policy of {old}, where fifo.toml has {new}",
            "in an outage SQS moves good messages to the DLQ one by one, and later ones go first",
            _sooner,
            then="{redrive} puts back what is in the DLQ",
        ),
        "visibility_timeout": Harm(
            "hides what Lambda receives for {old} only, less than a function may take",
            "a batch may be handed to a second function while the first still delivers it",
            _too_short,
            "seconds",
        ),
    },
    ("queue", "dlq"): {
        **_QUEUE,
        "redrive": Harm(
            "has a redrive policy of {old}, where it should have none",
            "each look counts as a receive: SQS moves parked messages to where no command finds them",
            _sooner,
        ),
    },
    ("queue", "hold"): {
        **_QUEUE,
        "redrive": Harm(
            "has a redrive policy of {old}, where it should have {new}",
            "an in-order redrive keeps the messages of main there: SQS would move some, out of their order",
            _sooner,
        ),
    },
    ("queue", "stream-failures"): {
        **_QUEUE,
        "retention": Harm(
            "keeps the notes of failed batches for {old} only",
            "{replay} cannot find what was given up before that",
            lambda one: _lower(one) and one.old < _STREAM_SECONDS,
            "seconds",
        ),
    },
    ("event-source-mapping", "worker"): {
        **_drift("batch_size max_functions"),
        "queue": Harm("reads {old}, not main", "messages wait in main, in order; nothing delivers them"),
        "function": _OTHER_CODE,
        "filters": Harm("has a filter: Lambda deletes what does not match it", then=_AUDIT),
        "response_types": Harm(
            f"has no {_PARTIAL}: Lambda deletes what the worker could not deliver",
            when=_is_whole,
            then=_AUDIT,
        ),
        "others": Harm(
            "is not the only one: another mapping hands messages of main to {old}",
            "only the worker delivers them, and Lambda deletes what an answer does not list",
            then=_AUDIT,
        ),
    },
    ("event-source-mapping", "enqueuer"): {
        **_drift("batch_size batching_window bisect"),
        "function": replace(_OTHER_CODE, when=_is_another),
        "table": Harm("reads {old}, not the table's stream", "what is written to the table is not enqueued"),
        "filters": Harm(
            "leaves out records that fifo.toml wants: its filter is another",
            "they become no messages, and the stream forgets them after 24 h",
            _misses_events,
            then=_AUDIT,
        ),
        "response_types": Harm(
            f"has no {_PARTIAL}: Lambda skips what the enqueuer could not send",
            when=_is_whole,
            then=_AUDIT,
        ),
        "retries": replace(_SHORT_PATIENCE, unit="tries"),
        "record_age": replace(_SHORT_PATIENCE, unit="seconds"),
        "parallelization": Harm(
            "reads each shard {old} times side by side",
            "records of different items of one group may be enqueued in another order",
            then=_AUDIT,
        ),
        "on_failure": Harm(
            "does not note failed batches in the right queue: it has {old}",
            "{replay} does not find what Lambda gives up",
        ),
        "others": Harm(
            "is not the only one: another mapping hands the same records to {old}",
            "more than five minutes apart they become messages twice, the second behind newer ones",
            then=_AUDIT,
        ),
    },
    ("rule", ""): {**_TIMER, "targets": _NO_TARGET},
    ("schedule", ""): {**_TIMER, "target": _NO_TARGET},
    ("function", "enqueuer"): _FUNCTION,
    ("function", "worker"): _FUNCTION,
    ("alias", "enqueuer"): {
        **_FUNCTION,
        "environment": Harm(
            "leaves out other items than it should: it has {old}",
            "what was written before that instant becomes no message",
            _starts_later,
            then=_AUDIT,
        ),
    },
    ("alias", "worker"): {
        **_FUNCTION,
        "code_sha256": _NO_BATCHES,
        "handler": _NO_BATCHES,
        "routing": Harm(
            "shares its calls with another version: {old}",
            _OTHER_CODE.means,
            lambda one: one.by_queue,
            then=_AUDIT,
        ),
    },
    ("table", ""): {
        **_drift("keys billing"),
        "stream": Harm(
            "has another stream than the enqueuer needs: {old}",
            "what is written to the table becomes no message, or one without its item",
            then=_AUDIT,
        ),
    },
    ("log-group", ""): _drift("retention_days"),
    ("role", "enqueuer"): {
        **_ROLE,
        "policy": Harm(
            "may not do all that reading the stream and sending messages take",
            "what is written to the table is not enqueued, and the stream forgets it after 24 h",
            _lacks_actions,
        ),
    },
    ("role", "worker"): {
        **_ROLE,
        "policy": Harm(
            "may not do all that receiving and deleting messages take",
            "messages wait in main, in order; nothing delivers them",
            _lacks_actions,
        ),
    },
    ("alarm", ""): _drift(
        "namespace metric dimensions statistic period periods comparison threshold missing actions ok_actions"
        " insufficient_data_actions actions_enabled datapoints"
    ),
}
