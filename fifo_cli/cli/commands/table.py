"""The command that writes items: put."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fifo_cli.cli.context import Cli
from fifo_cli.cli.framework import Impact, command
from fifo_cli.cli.options import complete_files
from fifo_cli.errors import ExitCode, UsageError
from fifo_cli.render.text import count


@command(
    "put",
    impact=Impact.WRITES,
    examples=[
        """fifo-cli put '{"id": "42", "total": 9.99}'""",
        "fifo-cli put @orders.jsonl",
        "generate-orders | fifo-cli put -",
    ],
)
def put(
    cli: Cli,
    *,
    source: Annotated[
        str,
        typer.Argument(
            metavar="JSON|@FILE|-",
            help="The items: JSON, a file of it, or - for stdin.",
            show_default=False,
            autocompletion=complete_files,
        ),
    ],
) -> ExitCode:
    """Write items to the table, in the order given.

    An object, an array of objects, or JSON lines. All is checked before anything is written. Numbers stay
    exact; a key attribute of type B is given as base64. One key twice is refused, unless MODIFY is in
    [message] events.
    """
    from fifo_cli.operations.table.put import put, read_items

    table = cli.settings.table
    rewrites = "MODIFY" in cli.settings.message.events
    entries = read_items(_read(source), table.keys, rewrites=rewrites)
    with cli.stopping() as stop:
        result = put(cli.aws, table.name, table.keys, entries, stop=stop)
    code = cli.emit(result, lambda: f"{count(result.written, 'item')} written to {table.name}\n")
    if result.error is not None:
        raise result.error
    return code


def _read(source: str) -> bytes:
    """Return the input that an argument means."""
    if source == "-":
        return sys.stdin.buffer.read() if sys.stdin is not None else b""
    if not source.startswith("@"):
        # An argument that is not UTF-8 comes as surrogate escapes; as bytes again, it is reported.
        return source.encode("utf-8", "surrogateescape")
    path = Path(source[1:])
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"{path} cannot be read: {reason}", hint="put @FILE reads a file, put - stdin"
        ) from None
