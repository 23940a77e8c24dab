"""``depth``: how many messages wait in each queue, and for how long; read-only calls only."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from fifo_cli.aws.session import Aws
from fifo_cli.aws.sqs import Queue
from fifo_cli.model.names import QUEUE_ROLES, Names, QueueRole
from fifo_cli.model.results import Fields, Single


@dataclass(frozen=True, slots=True)
class QueueDepth(Fields):
    """A queue's approximate counts; ``oldest_age_seconds`` is CloudWatch's, None where it knows none."""

    name: str
    visible: int
    in_flight: int
    delayed: int
    oldest_age_seconds: int | None


@dataclass(frozen=True)
class DepthResult(Single):
    """The depths of all queues."""

    pipeline: str
    queues: dict[QueueRole, QueueDepth]


def depth(aws: Aws, names: Names) -> DepthResult:
    """Ask all queues at once; raises NotDeployedError if one does not exist."""
    queues = [Queue(aws, names, role) for role in QUEUE_ROLES]
    with ThreadPoolExecutor(len(queues)) as pool:
        return DepthResult(names.pipeline, dict(zip(QUEUE_ROLES, pool.map(_depth_of, queues), strict=True)))


def _depth_of(queue: Queue) -> QueueDepth:
    counts = queue.counts()
    # CloudWatch's word is a minute old: an empty queue has no oldest message, even if it names one.
    age = queue.oldest_age() if counts.total else None
    return QueueDepth(queue.name, counts.visible, counts.in_flight, counts.delayed, age)
