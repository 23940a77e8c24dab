"""What changes inside the functions' zips, added to a plan that shows only their hashes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fifo_cli.aws.function_code import deployed_files
from fifo_cli.errors import FifoError, Interrupted
from fifo_cli.events import Listener, Noted
from fifo_cli.model.code_changes import NewCode, code_changes
from fifo_cli.model.planning import CODE_HASH, Change, Difference, Plan
from fifo_cli.operations.deploy.user_files import looks_secret

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.operations.deploy.package import Zip


def with_code_changes(aws: Aws, made: Plan, zips: Sequence[Zip], *, whole: bool, listener: Listener) -> Plan:
    """Return the plan with what changes in the code, behind each hash that differs.

    The deployed code is read once for each hash; where that fails, the hash has to do.
    """
    if not zips:
        return made
    known: dict[str, tuple[Difference, ...]] = {}
    changes = []
    for change in made.changes:
        old = _old_hash(change)
        if old is not None and old not in known:
            known[old] = _changes(aws, change, old, zips[0].content, whole=whole, listener=listener)
        changes.append(_with(change, known[old]) if old is not None else change)
    return replace(made, changes=tuple(changes))


def _old_hash(change: Change) -> str | None:
    if change.action != "update" or change.kind not in ("function", "alias"):
        return None
    return next((one.old for one in change.diff if one.path == CODE_HASH and one.old), None)


def _changes(
    aws: Aws, change: Change, old: str, new: NewCode, *, whole: bool, listener: Listener
) -> tuple[Difference, ...]:
    function, _, qualifier = change.name.partition(":")
    try:
        deployed: Mapping[str, bytes] = deployed_files(aws, function, qualifier or None, old)
    except Interrupted:
        raise
    except FifoError as error:
        text = (
            f"what changes in the code of {change.name} is not shown: what runs now cannot be read"
            f" ({error.message})"
        )
        listener(Noted(text))
        return ()
    return code_changes(deployed, new, is_secret=looks_secret, whole=whole)


def _with(change: Change, more: Sequence[Difference]) -> Change:
    at = 1 + next(number for number, one in enumerate(change.diff) if one.path == CODE_HASH)
    return replace(change, diff=(*change.diff[:at], *more, *change.diff[at:]))
