"""What looks, moves and drains say of groups that the worker's functions have paused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from fifo_cli.errors import FifoError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fifo_cli.cli.context import Cli
    from fifo_cli.model.worker_log import PausedGroup


def mention_pauses(cli: Cli, *, left: int = 0, running: bool = True) -> Sequence[PausedGroup]:
    """Say which groups of main are hidden by a pause of the worker's functions; return them.

    Also where fifo.toml has a schedule: the queue may start the worker still, or have done so before.
    ``left`` is how many messages a drain was not given: then the log is read far enough back for every pause,
    also one that an API asked for. ``running``: the worker is started by itself now.
    """
    from fifo_cli.operations.monitor.worker_runs import last_runs, paused_now
    from fifo_cli.render.pauses import hidden_text

    now = datetime.now(UTC)
    try:
        if not left and cli.settings.worker.by_queue:
            found = paused_now(cli.aws, cli.settings, now=now)
        elif left or _in_flight(cli):
            found = last_runs(cli.aws, cli.names, now=now, by_queue=True)
        else:
            return ()
    except FifoError:
        return ()  # whoever may look at a queue need not be allowed to read logs
    if found.paused:
        cli.console.message(hidden_text(found.paused, as_of=found.as_of, now=now, left=left, running=running))
    return found.paused


def _in_flight(cli: Cli) -> int:
    return cli.queue("main").counts().in_flight


def is_hidden(cli: Cli, group: str | None) -> bool:
    """Whether the log says that a function hides a group for longer than a move waits for it."""
    from fifo_cli.model.group_names import group_ids
    from fifo_cli.operations.monitor.worker_runs import last_runs
    from fifo_cli.operations.transfer.queue_source import PATIENCE_SECONDS

    now = datetime.now(UTC)
    try:
        if group is None or not _in_flight(cli):
            return False
        paused = last_runs(cli.aws, cli.names, now=now, by_queue=True).paused
    except FifoError:
        return False  # whoever may park need not be allowed to read logs
    waited = now + timedelta(seconds=PATIENCE_SECONDS)
    return any(one.group in group_ids(group) and one.until > waited for one in paused)


def is_started(cli: Cli) -> bool:
    """Whether main starts the worker now; also True where a schedule does, or nothing is known."""
    from fifo_cli.aws.triggers import is_mapping_enabled

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
