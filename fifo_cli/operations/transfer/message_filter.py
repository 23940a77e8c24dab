"""Which messages a command is asked for: by id, by group, by an expression over the message."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from fifo_cli.handlers import exact_json
from fifo_cli.handlers.exact_jmespath import Expression, is_true
from fifo_cli.model.message import Message


class MessageFilter:
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
            return is_true(self._compiled.search(filtered_document(message)))
        except Exception:  # noqa: BLE001 - jmespath raises TypeError, too: for "a" < 1
            self.failures += 1
            return False

    @cached_property
    def _compiled(self) -> Expression:
        assert self._expression is not None
        return Expression(self._expression)


def filtered_document(message: Message) -> dict[str, Any]:
    """Return what ``--filter`` sees: the message's document with its body parsed, if it is JSON."""
    try:
        body = exact_json.loads(message.body)
    except ValueError:
        body = message.body
    return {**message.document(), "body": body}
