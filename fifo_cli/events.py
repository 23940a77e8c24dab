"""What happens during an operation, reported to whoever listens; without a listener nothing is reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Started:
    """Work on one thing begins: ``action`` is a verb ("create", "update", "deliver"), ``name`` the thing."""

    action: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The work announced by :class:`Started` is done; ``detail`` may add a word on how it went."""

    action: str
    kind: str
    name: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """AWS is not ready yet and is waited for."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Warned:
    """Something a person should know that does not stop the work."""

    text: str


@dataclass(frozen=True, slots=True)
class Noted:
    """Something worth a line."""

    text: str


@dataclass(frozen=True, slots=True)
class Progressed:
    """How far the work is, for a live line; the next one takes its place. ``share`` is done, of 1."""

    text: str
    share: float | None = None


Event = Started | Finished | Waiting | Warned | Noted | Progressed
Listener = Callable[[Event], None]


def silent(event: Event) -> None:
    """Listen to nothing."""
