"""What is in a queue by group and by reason: of each as much as SQS shows to one look, and how much it hides.

A look receives, as a peek does, and releases all of it (browse.py). While the first messages of a group, ten
at most, are looked at, SQS gives out none behind them: a group has at least as many as were seen of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fifo_cli.aws.session import Aws
from fifo_cli.aws.sqs import Queue
from fifo_cli.errors import ExitCode
from fifo_cli.model.message import Message
from fifo_cli.model.names import QUEUE_ROLES, Names, QueueRole
from fifo_cli.model.queue_counts import Counted
from fifo_cli.model.results import INTERNAL, Fields, Result
from fifo_cli.operations.queues.browse import look, require_safe
from fifo_cli.operations.queues.depth import depth
from fifo_cli.operations.queues.order_labels import real_group
from fifo_cli.operations.transfer.message_filter import MessageFilter


@dataclass(frozen=True, slots=True)
class GroupSum(Fields):
    """How many messages of a group were seen, and when the first and the last of them were sent."""

    group: str
    seen: int
    oldest_sent_at: datetime | None
    newest_sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class ReasonSum(Fields):
    """How many messages were parked for a reason, of how many groups; None for what was not parked."""

    reason: str | None
    seen: int
    groups: int


@dataclass(frozen=True, slots=True)
class QueueSummary(Result):
    """What was seen of a queue that counts ``counted``; the groups and reasons with the most come first.

    ``missed``: a group was asked for, and no message of it was seen.
    """

    queue: QueueRole
    counted: int
    seen: int
    hidden: int
    groups: tuple[GroupSum, ...]
    reasons: tuple[ReasonSum, ...]
    name: str = field(metadata=INTERNAL)
    missed: str | None = field(default=None, metadata=INTERNAL)

    @property
    def exit_code(self) -> ExitCode:
        """1 if nothing is of the group that was asked for."""
        return ExitCode.ATTENTION if self.missed is not None else ExitCode.OK


@dataclass(frozen=True, slots=True)
class GroupedDepth(Result):
    """The depths of all queues, and what a look shows of the groups in each."""

    pipeline: str
    queues: Mapping[QueueRole, Counted]
    by_group: Mapping[QueueRole, QueueSummary]


@dataclass(slots=True)
class _Sums:
    """Counts messages as they are seen; of each group only its numbers are kept."""

    wanted: MessageFilter
    groups: dict[str, tuple[int, datetime | None, datetime | None]] = field(default_factory=dict)
    reasons: Counter[str | None] = field(default_factory=Counter)
    reason_groups: dict[str | None, set[str]] = field(default_factory=dict)

    def add(self, message: Message) -> None:
        if not self.wanted(message):
            return
        group = real_group(message)
        number, oldest, newest = self.groups.get(group, (0, None, None))
        times = [one for one in (oldest, newest, message.sent_at) if one is not None]
        self.groups[group] = (number + 1, min(times, default=None), max(times, default=None))
        reason = message.text("park_reason")
        self.reasons[reason] += 1
        self.reason_groups.setdefault(reason, set()).add(group)


def summarise(
    queue: Queue,
    *,
    count: int | None = None,
    group: str | None = None,
    expression: str | None = None,
    force: bool = False,
) -> QueueSummary:
    """Look through a queue and sum up what was seen: of ``count`` messages at most, of ``group`` if given.

    Raises UsageError where looking could move a message to the DLQ, unless ``force``.
    """
    counts = queue.counts()
    if not force:
        require_safe(queue, counts, "a look at the groups")
    sums = _Sums(MessageFilter(group=group, expression=expression, group_of=real_group))

    def take(message: Message) -> bool:
        sums.add(message)
        return count is not None and sums.reasons.total() >= count

    seen = look(queue, take)
    by_group = sorted(sums.groups.items(), key=lambda one: (-one[1][0], one[0]))
    by_reason = sorted(sums.reasons.items(), key=lambda one: (-one[1], one[0] or ""))
    return QueueSummary(
        queue=queue.role,
        counted=max(counts.total, seen),
        seen=seen,
        hidden=max(0, counts.total - seen),
        groups=tuple(GroupSum(name, *numbers) for name, numbers in by_group),
        reasons=tuple(
            ReasonSum(reason, number, len(sums.reason_groups[reason])) for reason, number in by_reason
        ),
        name=queue.name,
        missed=None if sums.groups else group,
    )


def depth_by_group(aws: Aws, names: Names) -> GroupedDepth:
    """Return the depths of all queues, and what a look at each shows of its groups; it receives."""
    counted = depth(aws, names)
    seen = {role: summarise(Queue(aws, names, role)) for role in QUEUE_ROLES if counted.queues[role].total}
    return GroupedDepth(counted.pipeline, counted.queues, seen)
