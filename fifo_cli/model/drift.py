"""How each resource of a pipeline is, compared with fifo.toml; operations/monitor/drift.py compares them.

What a difference means is in drift_advice.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, Literal

from fifo_cli.model.planning import CODE_HASH, Difference
from fifo_cli.model.resources import Found, Kind, Resource, normalised
from fifo_cli.model.results import INTERNAL, Document, Fields, named

if TYPE_CHECKING:
    from fifo_cli.model.health import Unavailable

Condition = Literal["ok", "drift", "missing", "surplus", "foreign", "unknown"]
# By the names that role_policies.py gives the statements: to read the stream, to send, to receive and delete.
_MOVES_MESSAGES: Final = frozenset({"ReadStream", "Send", "Take"})


@dataclass(frozen=True, slots=True)
class ResourceState(Fields):
    """One resource: as wanted, or how not; ``reason`` is why it is foreign or unknown.

    Of what is surplus, ``reason`` says that it is somebody else's, and starts the worker.
    ``takes_batches``: of the worker's alias, whether the version it points to may be started by the queue.
    ``lacks``: of a role, the actions that move messages and that it does not allow.
    """

    kind: Kind = field(metadata=named("type"))
    name: str
    state: Condition
    diff: tuple[Difference, ...] = ()
    reason: str = ""
    version: str | None = field(default=None, metadata=INTERNAL)
    takes_batches: bool = field(default=False, metadata=INTERNAL)
    lacks: tuple[str, ...] = field(default=(), metadata=INTERNAL)

    @property
    def has_other_code(self) -> bool:
        return any(one.path == CODE_HASH for one in self.diff)

    @property
    def starts_beside(self) -> bool:
        """Whether it is somebody else's, and starts the worker beside what this pipeline has for that."""
        return self.state == "surplus" and bool(self.reason)

    def document(self) -> Document:
        return {**Fields.document(self), "reason": self.reason or None}


@dataclass(frozen=True, slots=True)
class Drift:
    """All resources, wanted and surplus, and what could not be compared."""

    resources: tuple[ResourceState, ...]
    unseen: tuple[Unavailable, ...] = ()

    @property
    def started_by(self) -> tuple[str, ...]:
        """What is somebody else's and starts the worker, by its names."""
        return tuple(one.name for one in self.resources if one.starts_beside)


def lacking_actions(wanted: Resource, found: Found) -> tuple[str, ...]:
    """Return what moves messages and nothing allows a role; none if a policy besides ours may do so.

    Such a policy is not read. Conditions are not judged: a statement that has one counts as allowing.
    """
    if wanted.kind != "role" or found.properties.get("other_policies"):
        return ()
    statements = normalised(found.properties.get("policy")) or {}
    allowing = [one for one in statements.values() if one.get("Effect") == "Allow"]
    return tuple(
        action
        for sid, needed in normalised(wanted.properties["policy"]).items()
        if sid in _MOVES_MESSAGES
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
