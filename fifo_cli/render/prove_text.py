"""What ``prove`` came to, as text: the verdicts, what was measured, and what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fifo_cli.errors import without_login
from fifo_cli.invocation import command_line
from fifo_cli.model.prove_result import CheckVerdict
from fifo_cli.render.text import as_lines, count, printable, table

if TYPE_CHECKING:
    from fifo_cli.model.prove_result import Measurement, ProveResult


def prove_text(result: ProveResult, *, width: int | None) -> str:
    lines = []
    if result.checks:
        rows = [(one.name, one.verdict.value, f"{one.seconds:.0f} s", one.detail) for one in result.checks]
        lines.append(table(rows, headers=("check", "verdict", "took", "detail"), width=width))
    if result.measured:
        measured = [(_numbers(one), one.what) for one in result.measured.values()]
        lines.append(table(measured, headers=("measured", "what"), width=width))
    for one in result.left:
        lines.append(f"LEFT: {one.type} {printable(one.name)}: {printable(one.reason)}\n  {one.command}\n")
    lines.append(as_lines(*_summary(result)))
    return "\n".join(lines)


def left_text(result: ProveResult) -> str:
    """Say how many resources could not be removed, and apart from them what could not be looked for."""
    kinds = sum(one.unlisted for one in result.left)
    stay = len(result.left) - kinds
    said = [f"{count(stay, 'resource')} could not be removed"] if stay else []
    said += [f"{count(kinds, 'kind')} of resource could not be looked for"] if kinds else []
    return ", ".join(said)


def _summary(result: ProveResult) -> list[str]:
    lines = []
    if result.checks:
        counts = [f"{result.count(verdict)} {verdict}" for verdict in CheckVerdict if result.count(verdict)]
        lines.append(", ".join(counts))
    if result.kept:
        lines.append(f"{result.pipeline} was kept; {command_line('prove --clean')} removes it")
    elif result.left:
        lines.append(left_text(result))
    else:
        lines.append(f"{count(len(result.removed), 'resource')} removed; nothing is left")
    if result.requests:
        asked = f"{result.endpoint}, which is not AWS" if result.endpoint else f"AWS; cost {result.cost}"
        lines.append(f"{sum(result.requests.values())} requests to {printable(without_login(asked))}")
    return lines


def _numbers(measured: Measurement) -> str:
    values = sorted(measured.values)
    if len(values) == 1:
        return f"{values[0]:.1f} {measured.unit}"
    return f"{measured.median:.1f} ({values[0]:.1f} to {values[-1]:.1f}) {measured.unit}"
