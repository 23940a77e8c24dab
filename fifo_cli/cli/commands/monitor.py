"""The commands that show a pipeline at work: status, logs (``watch`` is in watch.py)."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from fifo_cli.cli.context import Cli
from fifo_cli.cli.framework import Impact, command
from fifo_cli.cli.options import Output
from fifo_cli.cli.parameters import Since, past_instant
from fifo_cli.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from fifo_cli.operations.monitor.logs import LogsResult

# How soon `logs --follow | head` ends once head has.
_LOOK_SECONDS: Final = 0.5


@command(
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
        Literal["enqueuer", "worker"] | None,
        typer.Argument(metavar="enqueuer|worker", help="Only this function's."),
    ] = None,
    since: Since = "1h",
    text: Annotated[str, typer.Option("--filter", metavar="TEXT", help="Only lines that contain this.")] = "",
    follow: Annotated[
        bool, typer.Option("--follow", help="Also show new lines as they come, until Ctrl-C.")
    ] = False,
) -> ExitCode:
    """Show the functions' logs, merged in order of time."""
    from fifo_cli.model.names import FUNCTION_ROLES
    from fifo_cli.operations.monitor.logs import FunctionLogs

    if follow and cli.options.output is Output.JSON:
        raise UsageError("--follow has no end, and -o json is one document", hint="use -o jsonl")
    start = past_instant("--since", since, now=datetime.now(UTC))
    functions = FUNCTION_ROLES if function is None else (function,)
    found = FunctionLogs(
        cli.aws, cli.names, functions=functions, since=start, text=text, listener=cli.listener
    )
    if not follow:
        return _emit(cli, found.read())
    with cli.stopping() as stop:
        return _emit(cli, found.follow(stop, partial(_wait, cli, stop)))


@command(
    "status",
    impact=Impact.READS,
    examples=["fifo-cli status", "fifo-cli status --env prod -v", "fifo-cli status -o json"],
)
def status(cli: Cli) -> ExitCode:
    """Show on one screen whether the pipeline is healthy, and if not, where it is stuck.

    The verdict comes first, with the next command to type; then depths, drift, pause, keys, the last runs,
    what waits and why, groups that are paused, an open breaker, and the next runs in the time zone of
    [schedule], or UTC. If anything needs a look, it exits 1, and the verdict comes last if the terminal has
    too few lines for all of it. It receives no message and changes nothing, and lists what the credentials
    may not read. With -v, times are also shown in full.
    """
    from fifo_cli.operations.monitor.status import status
    from fifo_cli.render.status import status_screen

    result = status(cli.aws, cli.project)
    return cli.emit(
        result,
        lambda: status_screen(
            result,
            width=cli.console.width,
            height=cli.console.height,
            color=cli.console.color,
            now=datetime.now(UTC),
            absolute=cli.options.verbose > 0,
        ),
    )


def _wait(cli: Cli, stop: threading.Event, seconds: float) -> None:
    """Wait so long, and end sooner, and everything, if whoever read the lines has gone (``| head``)."""
    end = time.monotonic() + seconds
    while not stop.is_set():
        if cli.console.unread:
            stop.set()
        left = end - time.monotonic()
        if left <= 0:
            return
        stop.wait(min(left, _LOOK_SECONDS))


def _emit(cli: Cli, result: LogsResult) -> ExitCode:
    from fifo_cli.render.log_line import log_line

    if cli.options.output is not Output.TABLE:
        return cli.emit(result, lambda: "")
    color, platform = cli.console.color, cli.options.verbose > 0
    # Into a pipe, and with -v, ids go whole, to be searched for.
    short = cli.console.width is not None and not platform
    lines = (line for line in result.lines if platform or line.level != "platform")
    cli.console.result((log_line(line, color=color, short=short) for line in lines), data=False)
    return result.exit_code
