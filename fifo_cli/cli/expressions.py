"""JMESPath expressions given on the command line."""

from __future__ import annotations

from fifo_cli.errors import UsageError


def check_expression(option: str, expression: str | None) -> None:
    """Raise UsageError, saying what is wrong, unless ``expression`` is JMESPath or not given."""
    from fifo_cli.model.expressions import fault_of

    if expression is None:
        return
    fault = fault_of(expression)
    if fault is not None:
        example = "customer.id" if option == "--group" else "\"body.type == 'refund' && receives > `3`\""
        raise UsageError(
            f"{option} {expression!r} is not a JMESPath expression: {fault}",
            hint=f"an example: {option} {example}",
        )
