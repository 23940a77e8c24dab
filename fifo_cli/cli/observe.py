"""Commands that watch a pipeline at work: logs."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from fifo_cli.cli.command import Commands, Impact, command
from fifo_cli.cli.context import Cli
from fifo_cli.cli.options import Output
from fifo_cli.errors import ExitCode, UsageError


class Function(StrEnum):
    """The functions, as named on the command line."""

    ENQUEUER = "enqueuer"
    WORKER = "worker"


def register(app: Commands) -> None:
    """Add the commands."""

    @command(
        app,
        "logs",
        impact=Impact.READS,
        examples=[
            "fifo-cli logs --since 15m",
            "fifo-cli logs worker --filter parked -o jsonl",
            "fifo-cli logs --follow",
        ],
    )
    def logs(
        cli: Cli,
        *,
        function: Annotated[
            Function | None,
            typer.Argument(metavar="[enqueuer|worker]", help="Only this one's.", show_default=False),
        ] = None,
        since: Annotated[
            str, typer.Option("--since", metavar="TIME", help="ISO 8601, or a duration: that long ago.")
        ] = "1h",
        text: Annotated[
            str,
            typer.Option(
                "--filter", metavar="TEXT", help="Only lines that contain this.", show_default=False
            ),
        ] = "",
        follow: Annotated[
            bool, typer.Option("--follow", help="Go on with what comes, until Ctrl-C.")
        ] = False,
    ) -> ExitCode:
        """Show the functions' logs, merged in order of time."""
        from fifo_cli.model.names import FUNCTION_ROLES
        from fifo_cli.model.times import parse_instant
        from fifo_cli.operations.observing import logs as operation

        if follow and cli.options.output is Output.JSON:
            raise UsageError("--follow has no end, and -o json is one document", hint="use -o jsonl")
        try:
            start = parse_instant(since, now=datetime.now(UTC))
        except ValueError as error:
            raise UsageError(f"--since: {error}") from None
        functions = [role for role in FUNCTION_ROLES if function is None or role == function.value]
        if not follow:
            result = operation.logs(
                cli.aws, cli.names, functions=functions, since=start, text=text, listener=cli.listener
            )
            return _emit(cli, result)
        with cli.stopping() as stop:
            result = operation.follow(
                cli.aws,
                cli.names,
                functions=functions,
                since=start,
                text=text,
                stop=stop,
                listener=cli.listener,
            )
            return _emit(cli, result)


def _emit(cli: Cli, result: object) -> ExitCode:
    from fifo_cli.operations.observing.logs import LogsResult
    from fifo_cli.render.logs import log_line

    assert isinstance(result, LogsResult)
    if cli.options.output is not Output.TABLE:
        return cli.emit(result, lambda: "")
    color, platform = cli.console.color, cli.options.verbose > 0
    rows = (row for row in result.rows() if platform or row["level"] != "platform")
    cli.console.result((log_line(row, color=color) for row in rows), data=False)
    return result.exit_code
