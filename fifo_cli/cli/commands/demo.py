"""The command that shows it all: demo."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Annotated

import typer

from fifo_cli.cli.console import Console
from fifo_cli.cli.context import Cli
from fifo_cli.cli.framework import Impact, command
from fifo_cli.cli.options import Output, complete_files
from fifo_cli.cli.parameters import check_expression, read_file
from fifo_cli.errors import ExitCode, UsageError
from fifo_cli.render.progress import bar
from fifo_cli.render.text import count, paint, printable

if TYPE_CHECKING:
    from fifo_cli.local.demo.items import DemoItems
    from fifo_cli.local.demo.verdict import DemoVerdict
    from fifo_cli.model.message import Message
    from fifo_cli.operations.queues.depth import DepthResult

_INDENT = "   "
_PROBLEMS_SHOWN = 20
_BAR = 40


@command(
    "demo",
    impact=Impact.READS,
    examples=["fifo-cli demo", "fifo-cli demo --items orders.jsonl --group customer.id"],
)
def demo(
    cli: Cli,
    *,
    items: Annotated[
        Path | None,
        typer.Option(
            "--items",
            metavar="FILE",
            help="JSON lines, each with an id, instead of made-up orders.",
            autocompletion=complete_files,
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option("--group", metavar="JMESPATH", help="The JMESPath of an item's message group."),
    ] = None,
) -> ExitCode:
    """Show the whole story on an embedded stack of its own, and check it at the end.

    Needs nothing but Python, touches no AWS and no project, and leaves nothing behind. Exits 1 if an item
    was lost, delivered twice, changed, or out of order.
    """
    from fifo_cli.local.demo.story import run_story

    if cli.options.output is not Output.TABLE:
        raise UsageError("demo shows a story and has no JSON", hint="leave -o out")
    chosen = _items(items, group)
    listener = _StoryText(cli.console)
    # A second Ctrl-C may come before the first one has got to the cleaning up.
    cli.signals.first_only()
    return _conclude(listener, run_story(chosen, listener, before_cleanup=cli.signals.ignore))


def _items(path: Path | None, group: str | None) -> DemoItems:
    from fifo_cli.local.demo.items import items_of_file, made_up_orders

    check_expression("--group", group)
    if path is None:
        return made_up_orders(group)
    return items_of_file(read_file(path, hint="give a file of JSON lines"), group)


def _conclude(listener: _StoryText, verdict: DemoVerdict) -> ExitCode:
    for problem in verdict.problems[:_PROBLEMS_SHOWN]:
        listener.say(f"WRONG  {problem}")
    if verdict.problems:
        listener.say(f"The check found {count(len(verdict.problems), 'problem')}.")
        return ExitCode.ATTENTION
    put = f"{count(verdict.items, 'item')} in {count(verdict.groups, 'group')}"
    listener.say(f"OK: {put}, {verdict.delivered} delivered once and {verdict.parked} parked,")
    listener.say("each unchanged to the last digit, every group in the order it was put.")
    return ExitCode.OK


class _StoryText:
    """Writes the story to stdout, and how far the messages are to a live line on a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._number = 0

    def step(self, title: str, command: str = "") -> None:
        self._number += 1
        self._write("\n" + paint(f"{self._number}. {title}", "bold", color=self._console.color))
        if command:
            self._write(_INDENT + paint(f"$ {command}", "cyan", color=self._console.color))

    def say(self, text: str) -> None:
        self._write(_INDENT + printable(text))

    def progress(self, what: str, done: int, total: int) -> None:
        self._console.live(f"{_INDENT}{bar(done / total, _BAR)}{done} of {total} {what}")

    def depth(self, result: DepthResult) -> None:
        from fifo_cli.render.queue_tables import depth_table

        self._block(depth_table(result.queues.items(), width=self._width))

    def messages(self, queue: str, messages: tuple[Message, ...]) -> None:
        from fifo_cli.render.queue_tables import peek_table

        shown = peek_table(
            messages,
            truncated=False,
            queue=queue,
            width=self._width,
            color=self._console.color,
            now=datetime.now(UTC),
        )
        self._block(shown)

    @property
    def _width(self) -> int:
        return (self._console.width or 80) - len(_INDENT)

    def _block(self, text: str) -> None:
        self._write(indent(text.rstrip("\n"), _INDENT))

    def _write(self, line: str) -> None:
        self._console.result([line + "\n"], data=False)
