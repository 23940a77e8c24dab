"""What looks, moves and drains say of groups that the worker's functions have paused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fifo_cli.errors import FifoError

if TYPE_CHECKING:
    from fifo_cli.cli.context import Cli


def mention_pauses(cli: Cli, *, left: int = 0) -> bool:
    """Say which groups of main are hidden by a pause, where the queue starts the worker; False if none is.

    ``left`` is how many messages a drain was not given.
    """
    from fifo_cli.model.worker_trigger import by_queue
    from fifo_cli.operations.monitor.worker_runs import paused_now
    from fifo_cli.render.pauses import hidden_text

    if not by_queue(cli.settings):
        return False
    now = datetime.now(UTC)
    try:
        found = paused_now(cli.aws, cli.settings, now=now)
    except FifoError:
        return False  # whoever may look at a queue need not be allowed to read logs
    if found.paused:
        cli.console.message(hidden_text(found.paused, as_of=found.as_of, now=now, left=left))
    return bool(found.paused)


def hidden_until(cli: Cli) -> datetime | None:
    """Return when the last group comes back that an API asked to pause for long; None if none is known."""
    from fifo_cli.operations.monitor.worker_runs import long_pause

    try:
        return long_pause(cli.aws, cli.settings, now=datetime.now(UTC))
    except FifoError:
        return None
