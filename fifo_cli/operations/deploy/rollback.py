"""rollback: point both functions' ``live`` alias at an earlier version, both or neither.

A deploy publishes a version of each function, of the same code (settings included) and configuration. The
two are a *release*. As a rule they have the same number; should they not, because a version was published
by hand, a release is known by its content, and goes by the worker's number.

What starts the worker is not part of a release, and stays as it is. Where the queue does, code that does not
know its batches may not be live: its answer might stand for a success of what it did not deliver, and Lambda
would delete that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fifo_cli.aws.resources.function_versions import VersionAdmin
from fifo_cli.aws.sqs import Queue
from fifo_cli.aws.triggers import is_mapping_enabled
from fifo_cli.errors import AwsError, FifoError, Interrupted, NotDeployedError, UsageError
from fifo_cli.events import Finished, Listener, Noted, Started, Warned, silent
from fifo_cli.invocation import command_line
from fifo_cli.model.names import FUNCTION_ROLES, FunctionRole, Names
from fifo_cli.model.results import Document, Listed
from fifo_cli.operations.deploy.remote_state import naming_place
from fifo_cli.operations.maintenance_lock import refuse_beside

if TYPE_CHECKING:
    from fifo_cli.aws.resources.function_versions import Version
    from fifo_cli.aws.session import Aws

Numbers = dict[FunctionRole, int]


@dataclass(frozen=True, slots=True)
class AliasMove:
    """A function whose ``live`` goes from one version to another."""

    name: str
    source: int
    target: int

    def document(self) -> Document:
        return {"name": self.name, "from": str(self.source), "to": str(self.target)}


@dataclass(frozen=True, slots=True)
class RollbackResult(Listed):
    """Where ``live`` was and is, of each function."""

    functions: tuple[AliasMove, ...]


def rollback(
    aws: Aws,
    names: Names,
    *,
    to: int | None = None,
    confirm: Callable[[RollbackResult], None] = lambda result: None,
    dry_run: bool = False,
    listener: Listener = silent,
) -> RollbackResult:
    """Point both aliases at release ``to``, by default the one before, and return the moves.

    ``confirm`` gets the moves before they are made, and raises to stop. If the second move fails, the first
    is taken back. Raises UsageError if that release does not exist or may not be live, NotDeployedError
    without functions, BusyError while a deploy changes what starts the worker.
    """
    admin = VersionAdmin(aws.client("lambda"))
    functions = {role: names.function(role) for role in FUNCTION_ROLES}
    with naming_place(aws), ThreadPoolExecutor(len(functions)) as pool:
        versions = dict(zip(functions, pool.map(admin.list, functions.values()), strict=True))
        live = dict(zip(functions, pool.map(admin.live, functions.values()), strict=True))
    releases = releases_of(versions)
    target = _release(releases, to) if to is not None else previous_release(releases, live)
    result = RollbackResult(
        tuple(AliasMove(functions[one], live[one], target[one]) for one in FUNCTION_ROLES)
    )
    moves = [move for move in result.functions if move.source != move.target]
    if moves:
        by_queue = is_mapping_enabled(aws, functions["worker"]) is not None
        if by_queue:
            _refuse_without_batches(functions["worker"], versions["worker"], target["worker"])
        starts = "the queue" if by_queue else "the schedule"
        listener(Noted(f"what starts the worker stays as it is, also if that version had another: {starts}"))
    if moves and not dry_run:
        confirm(result)
        with suppress(NotDeployedError):  # without main nothing is delivered
            refuse_beside(Queue(aws, names, "main").tags, "deploy")
        _make(admin, moves, listener)
    return result


def _refuse_without_batches(function: str, versions: Sequence[Version], number: int) -> None:
    """Raise UsageError unless a version of the worker takes the batches that Lambda hands over."""
    if any(one.takes_batches for one in versions if one.number == number):
        return
    raise UsageError(
        f"version {number} of {function} is not known to take the batches that the queue starts it with:"
        " Lambda would delete what it does not deliver; nothing was changed",
        hint=f'write [worker] trigger = "schedule", run {command_line("deploy")}, and roll back then',
    )


def releases_of(versions: dict[FunctionRole, tuple[Version, ...]]) -> list[Numbers]:
    """Return the releases, the oldest first: each worker's version and the enqueuer's of the same content.

    Of several such, the one of the same number is taken, else the newest.
    """
    releases: list[Numbers] = []
    for worker in versions["worker"]:
        partners = [one.number for one in versions["enqueuer"] if one.content == worker.content]
        if partners:
            number = worker.number if worker.number in partners else max(partners)
            releases.append({"enqueuer": number, "worker": worker.number})
    return releases


def previous_release(releases: Sequence[Numbers], live: Numbers) -> Numbers:
    """Return the release before the live one.

    Where the two functions are of different releases, because a deploy or a rollback was cut off, that is
    the older of the two. Raises UsageError if there is none.
    """
    if live in releases:
        older = releases[: releases.index(live)][-1:]
    else:
        older = [one for one in releases if any(one[role] == live[role] for role in live)][:1]
    if not older:
        text = ", ".join(f"{role} {number}" for role, number in live.items())
        raise UsageError(
            f"no version before the live one ({text}) exists; nothing was changed", hint=_known(releases)
        )
    return older[0]


def _release(releases: Sequence[Numbers], number: int) -> Numbers:
    found = next((one for one in releases if one["worker"] == number), None)
    if found is None:
        raise UsageError(
            f"version {number} is not one that both functions have; nothing was changed",
            hint=_known(releases),
        )
    return found


def _known(releases: Sequence[Numbers]) -> str:
    """List what can be gone back to, with the enqueuer's version where that has another number."""
    named = (
        f"{one['worker']}" + (f" (enqueuer {one['enqueuer']})" if one["enqueuer"] != one["worker"] else "")
        for one in releases
    )
    text = ", ".join(named) or "none"
    return f"versions that both functions have: {text}; older ones than the last ten are removed by deploy"


def _make(admin: VersionAdmin, moves: Sequence[AliasMove], listener: Listener) -> None:
    """Move the aliases one after the other; on a failure or an interrupt take back what was moved."""
    begun: list[AliasMove] = []
    try:
        for move in moves:
            listener(Started("move", "alias", f"{move.name}:live"))
            begun.append(move)
            admin.point(move.name, move.target)
            listener(Finished("move", "alias", f"{move.name}:live", f"{move.source} -> {move.target}"))
    except BaseException as error:
        # The last one too: its answer may have been lost after it took effect.
        stay = [move for move in reversed(begun) if not _take_back(admin, move, listener)]
        if isinstance(error, FifoError) and not isinstance(error, Interrupted):
            raise _failed(error, moves, begun, stay) from error
        raise


def _take_back(admin: VersionAdmin, move: AliasMove, listener: Listener) -> bool:
    try:
        admin.point(move.name, move.source)
    except FifoError as error:
        listener(
            Warned(
                f"{move.name}: live could not be moved back to {move.source}: {error.message}; run it again"
            )
        )
        return False
    listener(Warned(f"{move.name}: live is at {move.source} again, since not both could be moved"))
    return True


def _failed(
    error: FifoError, moves: Sequence[AliasMove], begun: Sequence[AliasMove], stay: Sequence[AliasMove]
) -> AwsError:
    """Say how many aliases were moved, and stay moved; of the last one begun AWS gave no answer."""
    made = [move for move in stay if move is not begun[-1]]
    lines = [error.message, f"{len(made)} of {len(moves)} changes were made"]
    lines += [f"{move.name}: live is at {move.target}" for move in made]
    if begun[-1] in stay:
        lines.append(f"{begun[-1].name}: whether live is at {begun[-1].target} is not known")
    worker = next((move.target for move in moves if move.name.endswith("-worker")), None)
    rollback = command_line("rollback") if worker is None else command_line("rollback --to", str(worker))
    again = f"run {rollback} again"
    return AwsError("\n".join(lines), hint="; ".join([*([error.hint] if error.hint else []), again]))
