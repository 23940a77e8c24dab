"""The commands that prove what happened: trace, audit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fifo_cli.cli.console import paced
from fifo_cli.cli.context import Cli
from fifo_cli.cli.framework import Impact, command
from fifo_cli.cli.parameters import read_duration
from fifo_cli.errors import ExitCode

if TYPE_CHECKING:
    from fifo_cli.events import Listener

# CloudWatch may show what a function logged 5 to 10 minutes late (Lambda Developer Guide, monitoring).
_SETTLE: Final = timedelta(minutes=15)
Since = Annotated[
    str, typer.Option("--since", metavar="TIME", help="ISO 8601, or a duration: that long ago.")
]

Settle = Annotated[
    str | None,
    typer.Option(
        "--settle",
        metavar="D",
        help="How late AWS may show log lines. Default: 15m; 0 with --local.",
        show_default=False,
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
    key: Annotated[
        str,
        typer.Argument(
            metavar="KEY", help="The table key as JSON, or the partition key.", show_default=False
        ),
    ],
    since: Since = "24h",
) -> ExitCode:
    """Show where one item is now and how it got there: table, stream, queue, DLQ, delivered.

    It shows each step with its time and its evidence. Exits 1 if the item is parked, stuck or lost, or if
    nothing is known of it.
    """
    from fifo_cli.operations.stream.record_filter import past_instant
    from fifo_cli.operations.stream.trace import trace, trace_key
    from fifo_cli.render.timeline import Clock, trace_text

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
    clock = Clock(now, whole=_whole(cli))
    return cli.emit(
        result,
        lambda: trace_text(result, clock=clock, width=cli.console.width, color=cli.console.color),
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
    from fifo_cli.operations.stream.record_filter import past_instant
    from fifo_cli.render.timeline import Clock, audit_text

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
                clock=Clock(now, whole=_whole(cli)),
                width=cli.console.width,
                color=cli.console.color,
            ),
        )


def _listener(cli: Cli) -> Listener:
    """Return who hears how far it is: a live line on a terminal; elsewhere nobody, unless --verbose."""
    return paced(cli.console) if cli.options.verbose else cli.listener


def _whole(cli: Cli) -> bool:
    """Say whether times are to be written whole: in a pipe, or with --verbose."""
    return cli.console.width is None or cli.options.verbose > 0


def settle_time(cli: Cli, text: str | None) -> timedelta:
    """Read ``--settle``; raises UsageError for what is not a duration."""
    if text is None:
        return timedelta() if cli.options.local else _SETTLE
    if text.strip() == "0":
        return timedelta()
    return read_duration("--settle", text, example="15m")
