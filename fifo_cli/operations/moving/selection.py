"""Which messages a command is asked for: by id, by group, by an expression over the message."""

from __future__ import annotations

from functools import cached_property

import jmespath

from fifo_cli.handlers.records import is_true
from fifo_cli.model.message import Message


class Selection:
    """Says of a message whether it is asked for; ``failures`` counts those on which the expression failed.

    The expression is JMESPath over the message with its body parsed; a message of another shape than it
    expects is not asked for.
    """

    def __init__(
        self, *, ids: frozenset[str] = frozenset(), group: str | None = None, expression: str | None = None
    ) -> None:
        self.ids = ids
        self._group = group
        self._expression = expression
        self.failures = 0

    @property
    def everything(self) -> bool:
        """Whether all messages are asked for."""
        return not self.ids and self._group is None and self._expression is None

    def __call__(self, message: Message) -> bool:
        if self.ids and message.message_id not in self.ids:
            return False
        if self._group is not None and message.group != self._group:
            return False
        if self._expression is None:
            return True
        try:
            return is_true(self._compiled.search(message.filtered_document()))
        except Exception:  # noqa: BLE001 - jmespath raises TypeError, too: for "a" < 1
            self.failures += 1
            return False

    @cached_property
    def _compiled(self) -> jmespath.parser.ParsedResult:
        assert self._expression is not None
        return jmespath.compile(self._expression)
