"""What a function's role lacks of what moves messages at all, whichever statement of its policy allows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from fifo_cli.model.resources import normalised

if TYPE_CHECKING:
    from fifo_cli.model.resources import Found, Resource

# By the names that role_policies.py gives the statements: to read the stream, to send, to receive and delete.
_NEEDED: Final = frozenset({"ReadStream", "Send", "Take"})


def lacking_actions(wanted: Resource, found: Found) -> tuple[str, ...]:
    """Return the actions that nothing allows; none if a policy besides ours, which is not read, may do so.

    Conditions are not judged: a statement that has one counts as allowing.
    """
    if wanted.kind != "role" or found.properties.get("other_policies"):
        return ()
    statements = normalised(found.properties.get("policy")) or {}
    allowing = [one for one in statements.values() if one.get("Effect") == "Allow"]
    return tuple(
        action
        for sid, needed in normalised(wanted.properties["policy"]).items()
        if sid in _NEEDED
        for action in _listed(needed["Action"])
        for resource in _listed(needed["Resource"])
        if not any(_allows(one, action, resource) for one in allowing)
    )


def _allows(statement: Mapping[str, Any], action: str, resource: str) -> bool:
    """Whether a statement may allow it: all but what it names (NotAction, NotResource) counts as all."""
    actions = _listed(statement.get("Action", "*"))
    resources = _listed(statement.get("Resource", "*"))
    return any(fnmatchcase(action.lower(), one.lower()) for one in actions) and any(
        # Of all streams of a table, one may be enough.
        fnmatchcase(resource, one) or fnmatchcase(one, resource)
        for one in resources
    )


def _listed(value: str | Iterable[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
