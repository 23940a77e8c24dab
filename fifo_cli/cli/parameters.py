"""Options that mean the same in several commands."""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from typing import Annotated, Final

import typer


class QueueName(StrEnum):
    """The queues, as the command line calls them."""

    MAIN = "main"
    DLQ = "dlq"
    HOLD = "hold"


QueueOption = Annotated[QueueName, typer.Option("--queue", help="main, dlq or hold.", metavar="QUEUE")]
Group = Annotated[str | None, typer.Option("--group", metavar="ID", help="Only this message group.")]
Filter = Annotated[
    str | None,
    typer.Option(
        "--filter", metavar="JMESPATH", help="Only messages for which this is true; body is parsed."
    ),
]
# More than any queue takes; without it `inf` would be a rate.
_RATE_MIN: Final = 0.001
_RATE_MAX: Final = 1_000_000


def _rate(text: str) -> float:
    """Read a rate. The ranges of some versions of typer admit `nan`, which is in no order with a number."""
    with suppress(ValueError):
        if _RATE_MIN <= (rate := float(text)) <= _RATE_MAX:
            return rate
    raise typer.BadParameter(f"{text!r} is not a number from {_RATE_MIN} to {_RATE_MAX}")


MaxRate = Annotated[
    float | None,
    typer.Option(
        "--max-rate", parser=_rate, metavar="R", help="At most R messages a second, 0.001 to 1000000."
    ),
]
SameGroupBatches = Annotated[
    bool,
    typer.Option("--same-group-batches", help="Faster for few groups; a refusal may then break order."),
]
Force = Annotated[bool, typer.Option("--force", help="Go on in spite of another's maintenance marker.")]
