"""Options that mean the same in several commands, and what reads their values."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from fifo_cli.errors import UsageError
from fifo_cli.model.limits import RATE_MAX, RATE_MIN
from fifo_cli.model.times import iso, parse_duration, parse_instant

# Long before every stream and log, and still a time from which minutes can be taken.
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
QueueOption = Annotated[
    Literal["main", "dlq", "hold"], typer.Option("--queue", help="main, dlq or hold.", metavar="QUEUE")
]
Since = Annotated[
    str, typer.Option("--since", metavar="TIME", help="ISO 8601, or a duration: that long ago.")
]
Group = Annotated[
    str | None,
    typer.Option("--group", metavar="NAME", help="Only this message group, by its name or its id in SQS."),
]
Filter = Annotated[
    str | None,
    typer.Option(
        "--filter",
        metavar="JMESPATH",
        help="Only messages for which this is true. It sees body (parsed, if it is JSON), group, group_id,"
        " message_id, dedup_id, sequence_number, queue, sent_at, first_received_at, receives, and"
        " attributes.NAME.value, such as attributes.park_reason.value.",
    ),
]


def _rate(text: str) -> float:
    """Read a rate. The ranges of some versions of typer admit `nan`, which is in no order with a number."""
    with suppress(ValueError):
        if RATE_MIN <= (rate := float(text)) <= RATE_MAX:
            return rate
    raise typer.BadParameter(f"{text!r} is not a number from {RATE_MIN} to {RATE_MAX}")


def _max_rate(of_what: str) -> Any:
    text = f"At most R {of_what} a second, {RATE_MIN} to {RATE_MAX}."
    return typer.Option("--max-rate", parser=_rate, metavar="R", help=text)


MaxRate = Annotated[float | None, _max_rate("messages")]
CallRate = Annotated[float | None, _max_rate("API calls")]
SameGroupBatches = Annotated[
    bool,
    typer.Option("--same-group-batches", help="Faster for few groups; a refusal may then break order."),
]
DryRunOfChanges = Annotated[bool, typer.Option("--dry-run", help="Only show what would be changed.")]
Force = Annotated[
    bool, typer.Option("--force", help="Go on although another command holds the maintenance lock.")
]


def read_duration(option: str, text: str, *, example: str) -> timedelta:
    """Read an option's duration; raises UsageError for anything else."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}", hint=f"such as {option} {example}") from None


def past_instant(option: str, text: str, *, now: datetime) -> datetime:
    """Read an option's time; raises UsageError for what is not one, or is in the future."""
    if (instant := _instant(option, text, now=now)) > now:
        raise UsageError(
            f"{option} {text} is in the future: it is {iso(now)} now", hint="a time without an offset is UTC"
        )
    return max(instant, _BEGINNING)


def read_window(
    since: str | None, until: str | None, *, now: datetime, only_past: bool = False
) -> tuple[datetime | None, datetime | None]:
    """Read --since and --until; raises UsageError also for what can hold nothing."""
    begin = None if since is None else past_instant("--since", since, now=now)
    end = None if until is None else (past_instant if only_past else _instant)("--until", until, now=now)
    if begin is not None and end is not None and begin > end:
        raise UsageError(f"--since {iso(begin)} is later than --until {iso(end)}", hint="exchange the two")
    return begin, end


def _instant(option: str, text: str, *, now: datetime) -> datetime:
    """Read ISO 8601, or a duration before now."""
    try:
        return parse_instant(text, now=now)
    except ValueError as error:
        raise UsageError(f"{option}: {error}", hint=f"such as {option} 2h") from None


def read_file(path: Path, *, hint: str) -> bytes:
    """Read a whole file that the command line names; raises UsageError if that cannot be done."""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{path} cannot be read: {reason}", hint=hint) from None


def check_expression(option: str, expression: str | None) -> None:
    """Raise UsageError, saying what is wrong, unless ``expression`` is JMESPath or not given."""
    from fifo_cli.model.expressions import fault_of

    fault = None if expression is None else fault_of(expression)
    if fault is not None:
        # In single quotes: a shell runs what stands in backticks between double quotes.
        example = "customer.id" if option == "--group" else "'receives > `3`'"
        raise UsageError(
            f"{option} {expression!r} is not a JMESPath expression: {fault}",
            hint=f"an example: {option} {example}",
        )
