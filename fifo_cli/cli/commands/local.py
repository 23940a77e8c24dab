"""The commands of the embedded stack: local up, down, status, reset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fifo_cli.cli.context import Cli
from fifo_cli.cli.framework import Commands, Impact, command
from fifo_cli.errors import ExitCode

if TYPE_CHECKING:
    from fifo_cli.local.stack import StackStatus


@command(
    "up", impact=Impact.WRITES, recorded=False, examples=["fifo-cli local up", "fifo-cli local up --port 0"]
)
def up(
    cli: Cli,
    *,
    port: Annotated[
        int | None,
        typer.Option("--port", metavar="P", help="The TCP port; 0 for any free one. Default: 4566."),
    ] = None,
) -> ExitCode:
    """Start the embedded stack, and wait until it answers."""
    from fifo_cli.local import stack

    return _emit(cli, stack.up(cli.folder, port=port, listener=cli.listener))


@command("down", impact=Impact.WRITES, recorded=False, examples=["fifo-cli local down"])
def down(cli: Cli) -> ExitCode:
    """Stop the embedded stack; what it holds stays in .fifo/."""
    from fifo_cli.local import stack

    stopped = stack.down(cli.folder, listener=cli.listener)
    return cli.emit(stopped, lambda: "The embedded stack is stopped.\n")


@command("status", impact=Impact.READS, examples=["fifo-cli local status -o json"])
def status(cli: Cli) -> ExitCode:
    """Show whether the embedded stack runs, and where."""
    from fifo_cli.local import stack

    return _emit(cli, stack.status(cli.folder))


@command("reset", impact=Impact.WRITES, recorded=False, examples=["fifo-cli local reset"])
def reset(cli: Cli) -> ExitCode:
    """Forget everything the embedded stack holds."""
    from fifo_cli.local import stack

    return _emit(cli, stack.reset(cli.folder, listener=cli.listener))


# They act on 127.0.0.1 and `.fifo/` only, and so ask nothing.
local = Commands("local", "Run the embedded AWS on 127.0.0.1.", [up, down, status, reset])


def _emit(cli: Cli, status: StackStatus) -> ExitCode:
    from fifo_cli.render.deploy_tables import stack_table

    return cli.emit(status, lambda: stack_table(status))
