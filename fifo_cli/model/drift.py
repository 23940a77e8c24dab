"""How each resource of a pipeline is, compared with fifo.toml; operations/monitor/drift.py compares them.

What a difference means is in drift_advice.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from fifo_cli.model.planning import CODE_HASH
from fifo_cli.model.results import INTERNAL, Fields, named

if TYPE_CHECKING:
    from fifo_cli.model.health import Unavailable
    from fifo_cli.model.planning import Difference
    from fifo_cli.model.resources import Kind
    from fifo_cli.model.results import Document

Condition = Literal["ok", "drift", "missing", "surplus", "foreign", "unknown"]


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
