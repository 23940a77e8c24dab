"""Options that mean the same in several commands."""

from __future__ import annotations

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
_RATE_MAX: Final = 1_000_000
MaxRate = Annotated[
    float | None,
    typer.Option("--max-rate", min=0.001, max=_RATE_MAX, metavar="R", help="At most R messages a second."),
]
SameGroupBatches = Annotated[
    bool,
    typer.Option("--same-group-batches", help="Faster for few groups; a refusal may then break order."),
]
Force = Annotated[bool, typer.Option("--force", help="Go on in spite of another's maintenance marker.")]
