"""The commands that show what happened: trace, audit, history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fifo_cli.cli.console import paced
from fifo_cli.cli.context import Cli
from fifo_cli.cli.framework import Impact, command
from fifo_cli.cli.parameters import Since, past_instant, read_duration
from fifo_cli.errors import ExitCode

if TYPE_CHECKING:
    from fifo_cli.events import Listener
    from fifo_cli.render.timeline import Clock

# CloudWatch may show what a function logged 5 to 10 minutes late (Lambda Developer Guide, monitoring).
_SETTLE: Final = timedelta(minutes=15)
Settle = Annotated[
    str | None,
    typer.Option(
        "--settle", metavar="D", help="How late AWS may show log lines. Default: 15m; 0 with --local."
    ),
]


@command(
    "trace",
    impact=Impact.READS,
    examples=[
        "fifo-cli trace 4711",
        """fifo-cli trace '{"id": "4711", "created": 1767225600}' -o json""",
    ],
)
def trace(
    cli: Cli,
    *,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The table key as JSON, or the partition key.")],
    since: Since = "24h",
) -> ExitCode:
    """Show where one item is now and how it got there: table, stream, queue, DLQ, delivered.

    It shows each step with its time and its evidence. Exits 1 if the item is parked, stuck or lost, or if
    nothing is known of it.
    """
    from fifo_cli.operations.stream.trace import trace, trace_key
    from fifo_cli.render.timeline import trace_text

    now = datetime.now(UTC)
    start = past_instant("--since", since, now=now)
    wanted = trace_key(key, cli.settings.table.keys)
    result = trace(
        cli.aws,
        cli.project,
        wanted,
        since=start,
        now=now,
        settle=settle_time(cli, None),
        code_folders=lambda: cli.code_folders("message"),
        listener=_listener(cli),
    )
    return cli.emit(
        result,
        lambda: trace_text(result, clock=_clock(cli, now), width=cli.console.width, color=cli.console.color),
    )


@command(
    "audit",
    impact=Impact.READS,
    examples=["fifo-cli audit", "fifo-cli audit --since 90m -o json", "fifo-cli audit -o jsonl"],
)
def audit(cli: Cli, *, since: Since = "24h", settle: Settle = None) -> ExitCode:
    """Prove that every matching stream record was delivered once and in order, or list which were not.

    It compares the stream, the logs and the queues; at these it looks as peek does. What cannot be proven is
    counted as unknown. Exits 1 if anything is missing, was delivered twice or out of order, or is unknown.
    """
    from fifo_cli.operations.stream.audit import audit
    from fifo_cli.render.timeline import audit_text

    now = datetime.now(UTC)
    start = past_instant("--since", since, now=now)
    with audit(
        cli.aws,
        cli.project,
        since=start,
        now=now,
        settle=settle_time(cli, settle),
        code_folders=lambda: cli.code_folders("message"),
        listener=_listener(cli),
    ) as result:
        return cli.emit(
            result,
            lambda: audit_text(
                result.summary,
                result.findings(),
                clock=_clock(cli, now),
                width=cli.console.width,
                color=cli.console.color,
            ),
        )


@command(
    "history",
    impact=Impact.READS,
    examples=["fifo-cli history", "fifo-cli history --since 24h -o json", "fifo-cli history -o jsonl"],
)
def history(
    cli: Cli,
    *,
    since: Since = "7d",
) -> ExitCode:
    """Show who did what to this pipeline: every command that changed something.

    For each: when, who, from which host, with which options and why (--reason), and how it ended: done,
    attention, refused, failed, interrupted, or unfinished (still running, or killed). CloudWatch Logs may
    show the last seconds late.
    """
    from fifo_cli.operations.history import history
    from fifo_cli.render.history_table import history_text

    now = datetime.now(UTC)
    start = past_instant("--since", since, now=now)
    result = history(cli.aws, cli.names, since=start)
    if not result.exists:
        cli.console.message(
            f"{cli.names.operations_log} does not exist: nothing has been written into the history yet"
        )
    return cli.emit(
        result,
        lambda: history_text(
            result, clock=_clock(cli, now), width=cli.console.width, color=cli.console.color
        ),
    )


def _listener(cli: Cli) -> Listener:
    """Return who hears how far it is: a live line on a terminal; elsewhere nobody, unless --verbose."""
    return paced(cli.console) if cli.options.verbose else cli.listener


def _clock(cli: Cli, now: datetime) -> Clock:
    """Return how times are written: whole in a pipe, or with --verbose."""
    from fifo_cli.render.timeline import Clock

    return Clock(now, whole=cli.console.width is None or cli.options.verbose > 0)


def settle_time(cli: Cli, text: str | None) -> timedelta:
    """Read ``--settle``; raises UsageError for what is not a duration."""
    if text is None:
        return timedelta() if cli.options.local else _SETTLE
    if text.strip() == "0":
        return timedelta()
    return read_duration("--settle", text, example="15m")
