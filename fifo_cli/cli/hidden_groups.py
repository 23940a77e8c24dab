"""What looks, moves and drains say of groups that the worker's functions have paused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fifo_cli.errors import FifoError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fifo_cli.cli.context import Cli
    from fifo_cli.model.worker_log import PausedGroup


def mention_pauses(cli: Cli, *, left: int = 0, running: bool = True) -> Sequence[PausedGroup]:
    """Say which groups of main are hidden by a pause, where the queue starts the worker; return them.

    ``left`` is how many messages a drain was not given: then the log is read far enough back for every pause,
    also one that an API asked for, or that began before a schedule took the queue's place. ``running``: the
    worker is started by itself now.
    """
    from fifo_cli.model.worker_trigger import by_queue
    from fifo_cli.operations.monitor.worker_runs import last_runs, paused_now
    from fifo_cli.render.pauses import hidden_text

    if not (left or by_queue(cli.settings)):
        return ()
    now = datetime.now(UTC)
    try:
        if left:
            found = last_runs(cli.aws, cli.names, now=now, by_queue=True)
        else:
            found = paused_now(cli.aws, cli.settings, now=now)
    except FifoError:
        return ()  # whoever may look at a queue need not be allowed to read logs
    if found.paused:
        cli.console.message(hidden_text(found.paused, as_of=found.as_of, now=now, left=left, running=running))
    return found.paused


def is_started(cli: Cli) -> bool:
    """Whether main starts the worker now; also True where a schedule does, or nothing is known."""
    from fifo_cli.aws.triggers import is_mapping_enabled
    from fifo_cli.model.worker_trigger import by_queue

    if not by_queue(cli.settings):
        return True
    try:
        return is_mapping_enabled(cli.aws, cli.names.function("worker")) is not False
    except FifoError:
        return True  # whoever may drain need not be allowed to read mappings


def hidden_until(cli: Cli) -> datetime | None:
    """Return when the last group comes back that an API asked to pause for long; None if none is known."""
    from fifo_cli.operations.monitor.worker_runs import long_pause

    try:
        return long_pause(cli.aws, cli.settings, now=datetime.now(UTC))
    except FifoError:
        return None
