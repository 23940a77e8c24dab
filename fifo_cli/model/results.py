"""What operations return: plain values whose ``document`` is the contract's JSON, its one serialisation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from fifo_cli.errors import ExitCode, FifoError

Document = dict[str, Any]


class Result(Protocol):
    """The outcome of one command."""

    @property
    def exit_code(self) -> ExitCode:
        """0, or 1 when something needs a look."""

    def document(self) -> Document:
        """Return the JSON document of ``-o json``."""

    def rows(self) -> Iterable[Document]:
        """Return the JSON lines of ``-o jsonl``."""


class Single:
    """A result that is one document, in JSON lines as well."""

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.OK

    def document(self) -> Document:
        raise NotImplementedError

    def rows(self) -> Iterable[Document]:
        return [self.document()]


@dataclass(frozen=True, kw_only=True)
class WorkResult(Single):
    """What a command that moves or delivers came to.

    ``notes`` are for a person; any of ``concerns`` needs a look; ``complaint`` is why it ended early, if it
    did: raised when the rest has been reported.
    """

    notes: tuple[str, ...] = ()
    concerns: tuple[str, ...] = ()
    complaint: FifoError | None = None

    @property
    def needs_look(self) -> bool:
        return bool(self.concerns)

    @property
    def exit_code(self) -> ExitCode:
        if self.complaint is not None:
            return self.complaint.exit_code
        return ExitCode.ATTENTION if self.needs_look else ExitCode.OK
