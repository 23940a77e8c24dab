"""Which messages a command is asked for, and which are none of its business."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final

from fifo_cli.handlers import exact_json
from fifo_cli.handlers.exact_jmespath import Expression, is_true
from fifo_cli.model.group_names import group_ids, shown_group
from fifo_cli.model.message import Message, ReceivedMessage
from fifo_cli.model.times import from_iso

# The Date header has whole seconds: what was sent within the second of the start counts as before it.
_DATE_RESOLUTION: Final = timedelta(seconds=1)


class MessageFilter:
    """Says of a message whether it is asked for: by its id, its group, its time, and a JMESPath expression.

    Its time is when it was parked, or where it does not say so, when it was sent: not before ``since``, and
    before ``until``.

    The expression sees the message with its body parsed, its ``group`` as people know it, and ``group_id``.
    A message of another shape than it expects is not asked for; ``failures`` counts those, and
    ``first_failure`` is why the first one failed. ``group_of`` says where a message has its group.
    """

    def __init__(
        self,
        *,
        ids: frozenset[str] = frozenset(),
        group: str | None = None,
        expression: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        group_of: Callable[[Message], str] = lambda message: message.group,
    ) -> None:
        self.ids = ids
        self._since, self._until = since, until
        self._groups = None if group is None else group_ids(group)
        self._expression = expression
        self._group_of = group_of
        self.failures = 0
        self.first_failure = ""

    @property
    def everything(self) -> bool:
        """Whether all messages are asked for."""
        given = (self._groups, self._expression, self._since, self._until)
        return not self.ids and all(one is None for one in given)

    def may_be_behind(self, message: Message) -> bool:
        """Say whether one that is asked for may be in the group of this message."""
        return self._groups is None or self._group_of(message) in self._groups

    def __call__(self, message: Message) -> bool:
        if self.ids and message.message_id not in self.ids:
            return False
        if not self.may_be_behind(message):
            return False
        if not self._in_time(message):
            return False
        if self._expression is None:
            return True
        try:
            return is_true(self._compiled.search(filtered_document(message, self._group_of(message))))
        except Exception as error:  # noqa: BLE001 - jmespath raises TypeError, too: for "a" < 1
            self.failures += 1
            self.first_failure = self.first_failure or str(error).partition("\n")[0]
            return False

    def _in_time(self, message: Message) -> bool:
        if self._since is None and self._until is None:
            return True
        at = from_iso(message.text("park_at")) or message.sent_at
        if at is None:
            return False
        return (self._since is None or at >= self._since) and (self._until is None or at < self._until)

    @cached_property
    def _compiled(self) -> Expression:
        assert self._expression is not None
        return Expression(self._expression)


class Exclusions:
    """Messages that a move leaves alone: those that came after it began, and another queue's.

    A poison message that is parked again at once would otherwise be moved for ever. ``began`` is by AWS's
    clock. Another queue's are those that SQS dead-lettered here from a queue other than ``owner_arn``, if
    that is given.
    """

    def __init__(self, began: datetime, owner_arn: str) -> None:
        self._until = began + _DATE_RESOLUTION
        self._owner_arn = owner_arn
        self.foreign = 0
        self._late = 0

    def __call__(self, received: ReceivedMessage) -> bool:
        foreign = is_foreign(received, self._owner_arn)
        late = not foreign and received.message.sent_after(self._until)
        self.foreign += foreign
        self._late += late
        return foreign or late

    def notes(self, operation: str) -> Iterator[str]:
        """Say what was left alone."""
        if self.foreign:
            yield f"left alone: {self.foreign} that another queue dead-lettered"
        if self._late:
            yield f"left alone: {self._late} that came after the {operation} began"


def is_foreign(received: ReceivedMessage, owner_arn: str) -> bool:
    """Say whether SQS dead-lettered a message from another queue than ``owner_arn``, if that is given."""
    return bool(owner_arn) and received.dead_letter_source not in ("", owner_arn)


def filtered_document(message: Message, group_id: str) -> dict[str, Any]:
    """Return what ``--filter`` sees: the message's document with its body parsed, if it is JSON."""
    try:
        body = exact_json.loads(message.body)
    except ValueError:
        body = message.body
    group = {"group": shown_group(group_id), "group_id": group_id}
    return {**message.document(), "body": body, **group}
