"""What the tags of main say of maintenance, in words for a person."""

from __future__ import annotations

from datetime import datetime

from fifo_cli.aws.sqs import Seen
from fifo_cli.model.health import Maintenance, UnfinishedRestore
from fifo_cli.model.names import RESUMED_TAG
from fifo_cli.model.times import parse_instant
from fifo_cli.operations.maintenance_lock import MAINTENANCE_TAG, RESTORE_TAG, Lease
from fifo_cli.operations.queues.restore_order import State


def maintenance_of(seen: Seen) -> Maintenance | None:
    """Return who holds the pipeline; None if nobody does, or one whose lock has expired.

    A tag that none of our commands wrote holds the pipeline too, with any text.
    """
    text = seen.tags.get(MAINTENANCE_TAG)
    if text is None:
        return None
    lease = Lease.parse(text)
    if lease is None:
        return Maintenance(text or "a command that left no name")
    return None if lease.has_ended(seen.at) else _maintenance(lease, seen)


def left_lock(seen: Seen) -> Maintenance | None:
    """Return the lock of a command that ended without removing it, as a killed one does."""
    lease = Lease.parse(seen.tags.get(MAINTENANCE_TAG, ""))
    return _maintenance(lease, seen) if lease and lease.has_ended(seen.at) else None


def _maintenance(lease: Lease, seen: Seen) -> Maintenance:
    return Maintenance(lease.what, lease.who, lease.since, lease.until, seen.at)


def resumed_at(seen: Seen) -> datetime | None:
    """Return when the worker was resumed last; None if it never was."""
    try:
        return parse_instant(seen.tags.get(RESUMED_TAG, ""), now=seen.at)
    except ValueError:
        return None


def unfinished_restore(seen: Seen) -> UnfinishedRestore | None:
    """Return the in-order rebuild that is not finished, if there is one."""
    text = seen.tags.get(RESTORE_TAG)
    if text is None:
        return None
    state = State.parse(text)
    try:
        since = parse_instant(state.since, now=seen.at)
    except ValueError:
        return UnfinishedRestore(text)
    return UnfinishedRestore(state.phase, tuple(sorted(state.running)), since, seen.at)
