"""JMESPath expressions given on the command line."""

from __future__ import annotations

from fifo_cli.errors import UsageError


def check_expression(option: str, expression: str | None) -> None:
    """Raise UsageError, saying what is wrong, unless ``expression`` is JMESPath or not given."""
    import jmespath

    if expression is None:
        return
    try:
        jmespath.compile(expression)
    except jmespath.exceptions.JMESPathError as error:
        reason = str(error).splitlines()[0].rstrip(":. ")
        raise UsageError(
            f"{option} {expression!r} is no JMESPath expression: {reason}",
            hint="an example: --filter \"body.type == 'refund' && receives > `3`\"",
        ) from error
