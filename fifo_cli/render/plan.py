"""A plan as text for a terminal of 80 columns."""

from __future__ import annotations

import json
import textwrap
from typing import Any, Final

from fifo_cli.invocation import command_line
from fifo_cli.model.planning import CODE_HASH, Action, Change, Difference, Plan, is_code_change
from fifo_cli.render.text import fit, printable, shorten

WIDTH: Final = 80
# SHA-256 in base64, as Lambda writes it.
_HASH: Final = 44
_INDENT: Final = " " * 6
_MARKS: Final[dict[Action, str]] = {"create": "+", "update": "~", "delete": "-"}


def plan_table(plan: Plan, *, done: bool = False, whole: bool = False) -> str:
    """Return the changes a line each, updates with what differs below them, and the sum; ``done`` if made.

    The warnings are not in it: they are reported as events. Both functions have the same code, and so their
    aliases: what changes in it is shown once. ``whole``: no line of a file's diff is cut off.
    """
    shown: list[tuple[list[Difference], str]] = []
    lines = [line for change in plan.changes for line in _change(change, shown, done=done, whole=whole)]
    if lines:
        lines.append("")
    if not plan.changes:
        return "\n".join([*lines, f"Nothing to change: {plan.unchanged} resources are as wanted."])
    if not (whole or done) and any(_is_cut(one) for change in plan.changes for one in change.diff):
        lines += [f"{command_line('plan --diff')} shows all of what changes in your files.", ""]
    return "\n".join([*lines, plan_sum(plan, done=done)])


def plan_sum(plan: Plan, *, done: bool = False) -> str:
    """Return how much a plan changes, in one line."""
    counts = plan.summary
    sums = [f"{counts[word]} {word}d" if done else f"{counts[word]} to {word}" for word in _MARKS]
    return ", ".join([*sums, f"{plan.unchanged} unchanged"])


def _change(
    change: Change, shown: list[tuple[list[Difference], str]], *, done: bool, whole: bool
) -> list[str]:
    head = f"{_MARKS[change.action]} {change.action} {change.kind} {change.name}"
    if change.action != "update":
        return [shorten(head, WIDTH)]
    code = [one for one in change.diff if is_code_change(one)]
    lines = [
        line
        for one in change.diff
        if one not in code and not (code and one.path == CODE_HASH)
        for line in _difference(one)
    ]
    known = next((name for differences, name in shown if differences == code), None)
    if code and known:
        lines.append(shorten(f"    code: the same changes as in {known}", WIDTH))
    elif code:
        shown.append((code, change.name))
        lines += [line for one in code for line in _code_difference(one, done=done, whole=whole)]
    return [shorten(head, WIDTH), *lines]


def _code_difference(one: Difference, *, done: bool, whole: bool) -> list[str]:
    lines = _difference(one)
    for line in () if done else one.unified or ():
        lines.append(fit(f"{_INDENT}{printable(line)}", None if whole else WIDTH))
    return lines


def _is_cut(one: Difference) -> bool:
    lines = one.unified or ()
    return any(len(line) > WIDTH - len(_INDENT) or line.startswith("(") for line in lines)


def _difference(one: Difference) -> list[str]:
    """One line if it fits, else the path and, below it, what is and what will be."""
    if one.path == "replaced":
        return _wrapped("    ", str(one.new))
    old, new = value_text(one.old), value_text(one.new)
    if one.path == CODE_HASH and len(old) == len(new) == _HASH:
        return [f"    code: changed (hash {old[:8]} -> {new[:8]})"]
    path = printable(one.path)
    line = f"    {path}: {old} -> {new}"
    if len(line) <= WIDTH:
        return [line]
    items = _items(one) or (old, f"-> {new}")
    return [shorten(f"    {path}:", WIDTH), *(shorten(f"{_INDENT}{item}", WIDTH) for item in items)]


def _items(one: Difference) -> list[str]:
    """Return what is added to a list and taken away from it, such as a role's actions; [] if it is none."""
    if not (isinstance(one.old, list) or isinstance(one.new, list)) or None in (one.old, one.new):
        return []
    # In a policy, a list of one is the value itself.
    old, new = (value if isinstance(value, list) else [value] for value in (one.old, one.new))
    added = [f"+ {value_text(item)}" for item in new if item not in old]
    return added + [f"- {value_text(item)}" for item in old if item not in new]


def value_text(value: Any) -> str:
    """Write a property's value as fifo.toml or AWS has it."""
    if value is None:
        return "(none)"
    return printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _wrapped(prefix: str, text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=prefix, subsequent_indent=" " * len(prefix))
