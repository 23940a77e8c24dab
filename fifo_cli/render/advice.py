"""A problem as text: what it means, what to do first, and what not to do, a line each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fifo_cli.render.text import printable

if TYPE_CHECKING:
    from fifo_cli.model.health import Problem


def advice_lines(problem: Problem) -> Iterator[str]:
    """Yield the lines below a problem's text."""
    if problem.means:
        yield f"means: {printable(problem.means)}"
    if problem.next:
        yield f"next: {problem.next}"
    if problem.avoid:
        yield f"do not {printable(problem.avoid)}"


def problem_text(problem: Problem) -> str:
    return "\n".join([printable(problem.text), *advice_lines(problem)])
