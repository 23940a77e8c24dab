"""The history as text: an operation a line, and below it what came of it and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from fifo_cli.model.history_events import short_who
from fifo_cli.render.text import Style, count, fit, paint, printable, table

if TYPE_CHECKING:
    from fifo_cli.model.history_events import Operation, Result
    from fifo_cli.operations.history import HistoryResult
    from fifo_cli.render.timeline import Clock

_INDENT: Final = "    "
_LONGEST_WHO: Final = 80  # one long name would move the commands of all lines away
_STYLES: Final[dict[Result, Style]] = {
    "done": "green",
    "attention": "yellow",
    "refused": "yellow",
    "failed": "red",
    "interrupted": "yellow",
    "unfinished": "red",
}


def history_text(result: HistoryResult, *, clock: Clock, width: int | None, color: bool) -> str:
    """Write the operations in order of time, the latest last."""
    if not result.operations:
        return "nothing was changed in this time\n"
    rows = [
        (clock(one.time), one.result, fit(f"{short_who(one.who)}@{one.host}", _LONGEST_WHO), one.command)
        for one in result.operations
    ]
    head, *lines = table(rows, headers=("TIME", "RESULT", "WHO", "COMMAND"), width=width).splitlines()
    return "".join(
        f"{line}\n" for line in [head, *_with_details(result.operations, lines, width=width, color=color)]
    )


def _with_details(
    operations: tuple[Operation, ...], lines: list[str], *, width: int | None, color: bool
) -> Iterator[str]:
    for one, line in zip(operations, lines, strict=True):
        before, word, after = line.partition(f" {one.result} ")
        yield f"{before} {paint(one.result, _STYLES[one.result], color=color)} {after}" if word else line
        if detail := details(one):
            text = _INDENT + printable(detail)
            yield paint(fit(text, width), "dim", color=color)


def details(operation: Operation) -> str:
    """Say what came of an operation, and why it was done."""
    counts = ", ".join(f"{name.replace('_', ' ')} {number}" for name, number in operation.counts.items())
    if not counts and operation.messages:
        counts = f"{count(operation.messages, 'message')} noted before the end"
    reason = f"reason: {operation.reason}" if operation.reason else ""
    error = operation.error.splitlines()[0] if operation.error else ""
    return "; ".join(filter(None, [counts, reason, error]))
