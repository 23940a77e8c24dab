"""The command that writes items: put."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fifo_cli.cli.console import paced
from fifo_cli.cli.context import Cli
from fifo_cli.cli.framework import Impact, command
from fifo_cli.cli.options import complete_files
from fifo_cli.cli.parameters import read_file
from fifo_cli.errors import ExitCode
from fifo_cli.render.text import count

if TYPE_CHECKING:
    from fifo_cli.model.settings import Project


@command(
    "put",
    impact=Impact.WRITES,
    private=["source"],  # it may be the item itself
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
            autocompletion=complete_files,
        ),
    ],
) -> ExitCode:
    """Write items to the table, those of each message group in the order given.

    Items of different groups and keys are written in parallel, so a pipeline with a [message] group is
    faster. If it is interrupted, it says how many are written and how to write the rest.

    The items are a JSON object, an array of objects, or JSON lines. All are checked before one is written.
    Numbers stay exact; a key attribute of type B is given as base64. Two items with one key are refused,
    unless MODIFY is in [message] events.
    """
    from fifo_cli.operations.table.put import put, read_items

    table = cli.settings.table
    rewrites = "MODIFY" in cli.settings.message.events
    entries = read_items(_read(source), table.keys, rewrites=rewrites)
    cli.begin()
    with cli.stopping() as stop:
        result = put(
            cli.aws,
            table.name,
            table.keys,
            entries,
            group=cli.settings.message.group,
            stop=stop,
            listener=paced(cli.console),
            save_rest=lambda lines: _saved(cli.project, lines),
        )
    return cli.conclude(result, lambda: f"{count(result.written, 'item')} written to {table.name}\n")


def _saved(project: Project, lines: Iterable[str]) -> str:
    """Save what is not written yet in .fifo/ beside fifo.toml, and return its path."""
    from fifo_cli.operations.deploy.user_requirements import FOLDER, ensure_folder
    from fifo_cli.own_files import replace_file

    ensure_folder(project.folder)
    path = project.folder / FOLDER / f"put-rest-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.jsonl"
    replace_file(path, "".join(lines).encode())
    return str(path)


def _read(source: str) -> bytes:
    """Return the input that an argument means."""
    if source == "-":
        return sys.stdin.buffer.read() if sys.stdin is not None else b""
    if not source.startswith("@"):
        # An argument that is not UTF-8 comes as surrogate escapes; as bytes again, it is reported.
        return source.encode("utf-8", "surrogateescape")
    return read_file(Path(source[1:]), hint="put @FILE reads a file, put - stdin")
