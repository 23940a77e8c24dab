"""A plan as text for a terminal of 80 columns."""

from __future__ import annotations

import json
import textwrap
from typing import Any, Final

from fifo_cli.model.planning import Action, Change, Difference, Plan

WIDTH: Final = 80
_MARKS: Final[dict[Action, str]] = {"create": "+", "update": "~", "delete": "-"}


def plan_table(plan: Plan, *, done: bool = False) -> str:
    """Return the changes a line each, updates with what differs below them, and the sum; ``done`` if made.

    The warnings are not in it: they were reported as events.
    """
    lines = [line for change in plan.changes for line in _change(change)]
    if lines:
        lines.append("")
    if not plan.changes:
        return "\n".join([*lines, f"Nothing to change: {plan.unchanged} resources are as wanted."])
    counts = plan.summary
    sums = [f"{counts[word]} {word}d" if done else f"{counts[word]} to {word}" for word in _MARKS]
    return "\n".join([*lines, ", ".join([*sums, f"{plan.unchanged} unchanged"])])


def _change(change: Change) -> list[str]:
    head = f"{_MARKS[change.action]} {change.action} {change.kind} {change.name}"
    if change.action != "update":
        return [_fit(head)]
    return [_fit(head), *(line for one in change.diff for line in _difference(one))]


def _difference(one: Difference) -> list[str]:
    """One line if it fits, else the path and, below it, what is and what shall be."""
    if one.path == "replaced":
        return _wrapped("    ", str(one.new))
    old, new = _value(one.old), _value(one.new)
    line = f"    {one.path}: {old} -> {new}"
    if len(line) <= WIDTH:
        return [line]
    return [_fit(f"    {one.path}:"), _fit(f"      {old}"), _fit(f"      -> {new}")]


def _value(value: Any) -> str:
    return (
        "(none)"
        if value is None
        else value
        if isinstance(value, str)
        else json.dumps(value, ensure_ascii=False)
    )


def _fit(line: str) -> str:
    """Cut a line that is too long in the middle: ARNs and names differ at their ends."""
    head = WIDTH // 2
    return line if len(line) <= WIDTH else f"{line[:head]}…{line[head + 1 - WIDTH :]}"


def _wrapped(prefix: str, text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=prefix, subsequent_indent=" " * len(prefix))
