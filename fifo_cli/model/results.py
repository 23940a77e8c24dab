"""What operations return: plain values whose ``document`` is the contract's JSON, its one serialisation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from fifo_cli.errors import ExitCode

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
