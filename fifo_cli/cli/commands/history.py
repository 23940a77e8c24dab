"""The command that shows who did what: history."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from fifo_cli.cli.context import Cli
from fifo_cli.cli.framework import Impact, command
from fifo_cli.errors import ExitCode


@command(
    "history",
    impact=Impact.READS,
    examples=["fifo-cli history", "fifo-cli history --since 24h -o json", "fifo-cli history -o jsonl"],
)
def history(
    cli: Cli,
    *,
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="ISO 8601, or a duration: that long ago.")
    ] = "7d",
) -> ExitCode:
    """Show who did what to this pipeline: every command that changed something.

    For each: when, who, from which host, with which options and why (--reason), and how it ended: done,
    attention, refused, failed, interrupted, or unfinished (still running, or killed). CloudWatch Logs may
    show the last seconds late.
    """
    from fifo_cli.operations.history import history
    from fifo_cli.operations.stream.record_filter import past_instant
    from fifo_cli.render.history_table import history_text
    from fifo_cli.render.timeline import Clock

    now = datetime.now(UTC)
    start = past_instant("--since", since, now=now)
    result = history(cli.aws, cli.names, since=start)
    if not result.exists:
        cli.console.message(
            f"{cli.names.operations_log} does not exist: nothing has been written into the history yet"
        )
    clock = Clock(now, whole=cli.console.width is None or cli.options.verbose > 0)
    return cli.emit(
        result,
        lambda: history_text(result, clock=clock, width=cli.console.width, color=cli.console.color),
    )
