"""``depth``: how many messages wait in each queue, and for how long; read-only calls only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from fifo_cli.aws.session import Aws
from fifo_cli.aws.sqs import Queue
from fifo_cli.model.names import QUEUE_ROLES, Names, QueueRole
from fifo_cli.model.queue_counts import Counted
from fifo_cli.model.results import Result
from fifo_cli.operations.parallel import read_all


@dataclass(frozen=True)
class DepthResult(Result):
    """The depths of all queues."""

    pipeline: str
    queues: dict[QueueRole, Counted]


def depth(aws: Aws, names: Names) -> DepthResult:
    """Ask all queues at once; raises NotDeployedError if one does not exist."""
    found = read_all({role: partial(_depth_of, Queue(aws, names, role)) for role in QUEUE_ROLES})
    return DepthResult(names.pipeline, {role: found[role] for role in QUEUE_ROLES})


def _depth_of(queue: Queue) -> Counted:
    counts = queue.counts()
    # CloudWatch's age is a minute old; an empty queue has no oldest message, even if CloudWatch shows one.
    return replace(counts, oldest_age=queue.oldest_age()) if counts.total else counts
