"""The flow of every command that moves messages: show, or ask and perform; then report.

Each command gives its pieces as a ``MoveCommand``. The first signal ends the work early; what was done is
reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from fifo_cli.cli.context import Cli
from fifo_cli.cli.hidden_groups import mention_pauses
from fifo_cli.cli.options import Output
from fifo_cli.errors import ExitCode
from fifo_cli.render.text import printable

if TYPE_CHECKING:
    from fifo_cli.model.results import Result, WorkResult

P = TypeVar("P", bound="Result")
R = TypeVar("R", bound="WorkResult")
Stopped = Callable[[], bool]


@dataclass(frozen=True, kw_only=True)
class MoveCommand(Generic[P, R]):
    """One command's pieces of the flow.

    ``question`` says what is about to be done, or returns the result if there is nothing to do; None asks
    nothing. ``changes``: what it performs is written into the history. ``remarks`` are what a person has to
    know beside the JSON; ``text`` has them already if ``remarks_in_text``. If ``stdout_is_taken`` by the
    messages themselves, the text goes to stderr. If messages of main stay behind, it says which groups
    are paused.
    """

    preview: Callable[[], P]
    preview_text: Callable[[P], str]
    question: Callable[[], str | R] | None
    perform: Callable[[Stopped], R]
    text: Callable[[R], str]
    remarks: Callable[[WorkResult], Iterable[str]] = lambda result: (*result.notes, *result.warnings)
    remarks_in_text: bool = True
    stdout_is_taken: bool = False
    takes_from_main: bool = False
    changes: bool = True


def run_move(cli: Cli, move: MoveCommand[P, R], *, dry_run: bool) -> ExitCode:
    """Run a command that moves messages; raises what ended it early, when the rest has been reported."""
    code = carry_out(cli, move, dry_run=dry_run)()
    if move.takes_from_main and code is ExitCode.ATTENTION:
        mention_pauses(cli)
    return code


def carry_out(cli: Cli, move: MoveCommand[P, R], *, dry_run: bool) -> Callable[[], ExitCode]:
    """Do all but the report, and return what reports it."""
    if dry_run:
        seen = move.preview()
        return lambda: _report(cli, move, seen, lambda: move.preview_text(seen))
    asked = None if cli.options.yes or move.question is None else move.question()
    if isinstance(asked, str):
        cli.confirm(asked)
    if asked is None or isinstance(asked, str):
        if move.changes:
            cli.begin()
        with cli.stopping() as stop:
            result = move.perform(stop.is_set)
    else:
        result = asked
    return lambda: _report(cli, move, result, lambda: move.text(result))


def _report(cli: Cli, move: MoveCommand[P, R], result: Result, text: Callable[[], str]) -> ExitCode:
    from fifo_cli.model.results import WorkResult

    if not isinstance(result, WorkResult):
        if cli.options.output is not Output.TABLE:
            for one in getattr(result, "warnings", ()):
                cli.console.message(printable(one))
        return cli.emit(result, text)
    if cli.options.output is not Output.TABLE or not move.remarks_in_text:
        for one in move.remarks(result):
            cli.console.message(printable(one))
    if not move.stdout_is_taken:
        return cli.conclude(result, text)
    cli.console.message(text().rstrip())
    if result.error is not None:
        raise result.error
    return result.exit_code
