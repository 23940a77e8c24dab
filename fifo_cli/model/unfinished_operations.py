"""Moves that did not log their end: what that means, and which command goes on or takes it back."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from fifo_cli.invocation import PROGRAM, command_line, typed_before
from fifo_cli.model.health import Maintenance, Problem
from fifo_cli.model.history_events import Operation, short_who
from fifo_cli.model.times import rough

# A command's lock is over so long after it was renewed last.
LOCK_LIFETIME: Final = timedelta(seconds=60)
# A lock's time comes in whole seconds, and history's is corrected by AWS's from this difference on.
_CLOCKS_DIFFER: Final = timedelta(seconds=3)
_STDIO: Final = "-"
_MOVES: Final = frozenset({"dump", "load", "park", "redrive", "replay"})
_ENDED: Final = frozenset({"done", "attention"})


def unfinished_problems(
    operations: Sequence[Operation], left_lock: Maintenance | None = None, *, now: datetime
) -> Iterator[Problem]:
    """Yield a problem for each kind of move whose last run did not end; ``operations`` are by time.

    One without a lock is about to take it, or has removed it and its end is not in the log yet; so it is
    reported only after a minute. If ``left_lock`` is its lock, it has ended, and is reported at once.
    """
    left: dict[str, Operation] = {}
    for one in operations:
        if one.result == "unfinished" and one.operation in _MOVES:
            left[one.operation] = one
        elif one.result in _ENDED:
            left.pop(one.operation, None)
            if one.operation == "load":
                left.pop("dump", None)
    for one in left.values():
        is_left = _is_of(one, left_lock)
        if (is_left or now - one.time >= LOCK_LIFETIME) and (words := _words(one)):
            found = _dumped(one, words, now) if one.operation == "dump" else _moved(one, words, now)
            yield replace(found, text=f"{found.text}; its lock holds nobody up") if is_left else found


def _is_of(one: Operation, lock: Maintenance | None) -> bool:
    """Say whether a lock that was left is this operation's, and not an earlier one's of its kind."""
    if lock is None or lock.since is None or lock.what != one.operation:
        return False
    return lock.since >= one.time - _CLOCKS_DIFFER


def _words(one: Operation) -> list[str]:
    """Return the words of a command's line; none if it is not whole."""
    try:
        words = shlex.split(one.command)
    except ValueError:
        return []
    whole = words[:2] == [PROGRAM, one.operation] and "…" not in words
    return words if whole and (one.operation != "dump" or words[2:]) else []


def _dumped(one: Operation, words: list[str], now: datetime) -> Problem:
    file, queue = words[2], _value(words, "--queue") or "dlq"
    back = f"{command_line(f'load --queue {queue}', file)} puts them back"
    place, step = (
        f"{file} on {one.host}",
        f"in the same folder on {one.host}, {typed_before(words)} goes on; {back}",
    )
    if file == _STDIO:
        back = f"{command_line(f'load --queue {queue} FILE')} puts them back"
        place, step = "its output", f"if its output was saved to FILE, {back}"
    means = f"if it was killed, some messages of {queue} are in {place} only"
    return Problem("warning", _text(one, now), step, means=means)


def _moved(one: Operation, words: list[str], now: datetime) -> Problem:
    """Return the problem of another move: some would take further messages, or send them twice."""
    means = "if it was killed, only a part of the messages may be moved; none is lost"
    repeats = one.operation == "park" or _value(words, "--count") or _STDIO in words
    if not repeats:
        return Problem("warning", _text(one, now), f"run it again: {typed_before(words)}", means=means)
    queue = "dlq" if one.operation == "park" else _value(words, "--queue") or "main"
    look = command_line(f"peek --queue {queue}")
    return Problem(
        "warning",
        _text(one, now),
        f"{look} shows which have arrived; run it again only for what is missing",
        means=means,
        avoid="run it again as it was: what it moved is not left out",
    )


def _text(one: Operation, now: datetime) -> str:
    who = f"{short_who(one.who)}@{one.host}"
    return f"{one.operation}, begun {rough(now - one.time)} ago by {who}, has not logged its end"


def _value(words: list[str], option: str) -> str:
    return words[words.index(option) + 1] if option in words[:-1] else ""
