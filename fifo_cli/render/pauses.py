"""Groups that the worker's functions have paused, a line each; and when an open breaker calls again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from fifo_cli.invocation import command_line
from fifo_cli.model.group_names import shown_group
from fifo_cli.model.times import iso, rough
from fifo_cli.render.text import count, printable

if TYPE_CHECKING:
    from fifo_cli.model.worker_log import OpenBreaker, PausedGroup

_SHOWN: Final = 3


def hidden_text(
    paused: Sequence[PausedGroup],
    *,
    as_of: datetime | None,
    now: datetime,
    left: int = 0,
    running: bool = True,
) -> str:
    """Say below a look or a drain why it did not see some messages; a drain left so many in the queue.

    ``running``: the queue starts the functions, which then try again by themselves.
    """
    lines = [f"  {line}" for line in pause_lines(paused, as_of=as_of, now=now)]
    what = f"{count(left, 'message')} left in the queue that SQS did not give out, " if left else ""
    next_ = [f"next: {_next_step(running=running)}"] if left else []
    return "\n".join([f"{what}hidden, as their groups are paused:", *lines, *next_])


def _next_step(*, running: bool) -> str:
    if running:
        return "wait: the functions try again by themselves when the pauses are over"
    resume, drain = command_line("resume worker"), command_line("drain --all")
    return f"{resume}, as a paused worker tries nothing again; or {drain} when the pauses are over"


def pause_lines(
    paused: Sequence[PausedGroup],
    *,
    as_of: datetime | None,
    now: datetime,
    clock: Callable[[datetime], str] = lambda instant: f"{instant.astimezone(UTC):%H:%M:%S} UTC",
    absolute: bool = False,
) -> Iterator[str]:
    """Yield until when groups are hidden, the first to come back at the top, and as of when that is known.

    ``absolute``: with the instants in full.
    """
    for one in paused[:_SHOWN]:
        until = f"{clock(one.until)} (in {rough(one.until - now)})"
        why = printable(one.error or "no reason logged") + ", as the API asked (Retry-After)" * bool(
            one.retry_after
        )
        instant = f"  {iso(one.until)}" * absolute
        yield f"group {printable(shown_group(one.group))} until {until}: {why}{instant}"
    if len(paused) > _SHOWN:
        more = len(paused) - _SHOWN
        yield f"and {count(more, 'more group')} that {'is' if more == 1 else 'are'} paused"
    if paused:
        known = f"as of {clock(as_of)} ({rough(now - as_of)} ago); " if as_of else ""
        yield f"{known}only the function that paused a group can end it"


def next_call(
    breaker: OpenBreaker, *, now: datetime, clock: Callable[[datetime], str], absolute: bool = False
) -> str:
    """Say when an open breaker lets the next call through; "" if the worker's next run makes it."""
    if breaker.until is None:
        return ""
    due = "one call each, the last at" if breaker.functions > 1 else "one call at"
    if breaker.until <= now:
        due = "a call was due at"
    return f"{due} {clock(breaker.until)}{f'  {iso(breaker.until)}' * absolute}"
