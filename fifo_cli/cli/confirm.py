"""The question before a command destroys or moves something."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from fifo_cli.cli.console import stdin_is_terminal
from fifo_cli.errors import UsageError
from fifo_cli.render.text import fields, printable

if TYPE_CHECKING:
    from fifo_cli.cli.console import Console


def ask(console: Console, what: str, *, where: Callable[[], Iterable[tuple[str, str]]]) -> None:
    """Ask on stderr whether to do ``what``; the default is no. ``where`` shows account, region and pipeline.

    Raises UsageError if the answer is not yes, or if stdin is not a terminal.
    """
    if not stdin_is_terminal():
        raise UsageError(
            f"there is no terminal to ask on, so nothing was touched; to do: {what}",
            hint="look at it with --dry-run, and go ahead with --yes",
        )
    console.message(f"About to {printable(what, keep=chr(10))}\n{fields(where()).rstrip()}")
    answer = console.prompt("Go ahead? [y/N] ")
    if answer.strip().lower() not in ("y", "yes"):
        raise UsageError(
            "the answer was not yes; nothing was touched", hint="--dry-run only shows what would be done"
        )
