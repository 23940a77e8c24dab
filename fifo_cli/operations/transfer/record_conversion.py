"""Records that the enqueuer parked, on their way to main: each becomes a message, by the code as it is now.

Such a record is never sent as it lies in the DLQ, as it is not a message yet. What still fails, and what main
refuses for what it holds, goes to the end of the DLQ with the new reason. What is left out now, and what does
not hold the record, stays where it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from fifo_cli.errors import FifoError, UsageError
from fifo_cli.handlers.parked_records import NoRecordError, is_parked_record, record_of
from fifo_cli.handlers.records import Outgoing, Rules, Skipped, to_message
from fifo_cli.invocation import command_line
from fifo_cli.model.limits import MESSAGE_BYTES_MAX
from fifo_cli.model.message import Attribute, Message, ReceivedMessage
from fifo_cli.operations.code_process import usable_message_code
from fifo_cli.operations.transfer.interfaces import Rejection
from fifo_cli.operations.transfer.queue_target import QueueTarget, send_in_order

_SHOWN_MAX: Final = 100
_STOPPED: Final = "stopped while the user's code ran"

Stopped = Callable[[], bool]
LoadRules = Callable[[Stopped], Rules]


def no_rules(stopped: Stopped) -> Rules:
    """Refuse records where no rules are given."""
    raise UsageError(
        "what the enqueuer's records become is not known here",
        hint=f"run {command_line('redrive')} with the fifo.toml",
    )


class StoppedError(FifoError):
    """The user's code was left alone, as the program is to end."""


@dataclass(frozen=True, slots=True)
class Converted:
    """The message that a record becomes; one with queue "dlq" is the record, to be parked again.

    ``instead`` makes what is parked if SQS refuses the message for what it holds, out of SQS's reason.
    """

    message: Message
    instead: Callable[[str], Message] | None = None


class Converter:
    """Makes messages of records; safe to share between threads, of which one runs the user's code at a time.

    The rules are loaded when the first record comes. ``stopped`` ends code that does not return.
    ``bytes_max`` asks for the longest message that main takes.
    """

    def __init__(
        self, load: LoadRules, stopped: Stopped, bytes_max: Callable[[], int] = lambda: MESSAGE_BYTES_MAX
    ) -> None:
        self._load = load
        self._stopped = stopped
        self._ask_bytes_max = bytes_max
        self._rules: Rules | None = None
        self._lock = threading.Lock()
        self._skipped: dict[str, str] = {}
        self._failed: dict[str, str] = {}
        self.parked_again = 0

    @property
    def skipped(self) -> int:
        """How many records are left out now."""
        return len(self._skipped)

    @property
    def failed(self) -> int:
        """How many records could not become messages."""
        return len(self._failed)

    @property
    def stayed(self) -> int:
        """How many of these are where they were."""
        return self.skipped + self.failed - self.parked_again

    @cached_property
    def _bytes_max(self) -> int:
        return self._ask_bytes_max()

    def convert(self, message: Message) -> Converted | str:
        """Return what a record becomes, or why it stays where it is."""
        texts = {name: text for name in message.attributes if (text := message.text(name)) is not None}
        event_id = texts.get("event_id", message.message_id)
        with self._lock:
            if event_id in self._failed:
                return self._failed[event_id]
            try:
                with usable_message_code():
                    made = to_message(record_of(message.body, texts), self._loaded())
            except NoRecordError as error:
                replay = command_line("replay --key", texts.get("item_key", "KEY"))
                self._failed[event_id] = f"{error} ({replay})"
                return self._failed[event_id]
            if isinstance(made, Outgoing) and made.queue == "dlq" and self._stopped():
                raise StoppedError(_STOPPED, hint="run the command again")
            if isinstance(made, Skipped):
                self._skipped[event_id] = made.reason
                return made.reason
            if made.queue == "main" and made.size > self._bytes_max and made.instead:
                made = made.instead(f"the message has {made.size} bytes; main takes {self._bytes_max}")
            instead = made.instead
            if made.queue == "dlq" or instead is None:
                return Converted(_with(message, made))
            return Converted(_with(message, made), lambda reason: _with(message, instead(reason)))

    def park_again(self, messages: Sequence[Message]) -> None:
        """Note records that are in the DLQ again, with the new reason."""
        with self._lock:
            for message in messages:
                event_id = message.text("event_id") or message.message_id
                self.parked_again += event_id not in self._failed
                self._failed[event_id] = message.text("park_reason") or ""

    def warnings(self) -> list[str]:
        """Say which records could not become messages, and why."""
        words = [
            f"the record {event_id} stays in the DLQ: {reason}"
            for event_id, reason in list(self._failed.items())[:_SHOWN_MAX]
        ]
        return words + (
            [f"and {self.failed - _SHOWN_MAX} more records that stay"] if self.failed > _SHOWN_MAX else []
        )

    def notes(self) -> list[str]:
        """Say how many records are left out now."""
        if not self._skipped:
            return []
        reason = next(iter(self._skipped.values()))
        return [f"records that are left out now, and stay in the DLQ: {self.skipped} ({reason})"]

    def _loaded(self) -> Rules:
        if self._rules is None:
            self._rules = self._load(self._look)
        return self._rules

    def _look(self) -> bool:
        """Called while the user's code runs; raises StoppedError when the program is to end."""
        if self._stopped():
            raise StoppedError(_STOPPED, hint="run the command again")
        return False


def is_record(message: Message) -> bool:
    """Say whether a message is a record that the enqueuer parked."""
    return is_parked_record(message.text("park_from"))


def _with(message: Message, made: Outgoing) -> Message:
    attributes: Mapping[str, Attribute] = {
        name: Attribute("String", text) for name, text in made.attributes.items()
    }
    queue = message.queue if made.queue == "main" else "dlq"
    return replace(message, body=made.body, group=made.group, attributes=attributes, queue=queue)


class ConvertingTarget:
    """A target that takes messages as they are, and records as the messages that they become.

    ``dlq`` takes the records that fail again.
    """

    def __init__(self, target: QueueTarget, dlq: QueueTarget, converter: Converter) -> None:
        self._target = target
        self._dlq = dlq
        self._converter = converter
        self.batch_max, self.bytes_max, self.strict = target.batch_max, target.bytes_max, target.strict

    def size(self, message: Message) -> int:
        return self._target.size(message)

    def send(self, received: Sequence[ReceivedMessage]) -> list[Rejection]:
        """Send messages, and what records become; refuse the records that stay, without stopping a group."""
        if not any(is_record(one.message) for one in received):
            return self._target.send(received)
        refusals: list[Rejection] = []
        ready: list[ReceivedMessage] = []
        again: list[ReceivedMessage] = []
        instead: dict[str, Callable[[str], Message]] = {}
        for one in received:
            made = self._converter.convert(one.message) if is_record(one.message) else Converted(one.message)
            if isinstance(made, str):
                refusals.append(Rejection(one, made, retry=False, aside=True))
                continue
            if made.instead:
                instead[one.message.message_id] = made.instead
            # What is still a record failed again.
            (again if is_record(made.message) else ready).append(one._replace(message=made.message))
        groups = {one.message.message_id: one.message.group for one in received}
        for refused in self._send_all(self._target, ready, groups):
            message = refused.received.message
            if refused.retry or message.message_id not in instead:
                refusals.append(refused)
            else:
                parked = instead[message.message_id](f"SQS refuses the message: {refused.reason}")
                again.append(refused.received._replace(message=parked))
        places = list(groups)
        again.sort(key=lambda one: places.index(one.message.message_id))
        failed = self._send_all(self._dlq, again, groups)
        left = {one.received.message.message_id for one in failed}
        self._converter.park_again([one.message for one in again if one.message.message_id not in left])
        return [*refusals, *failed]

    def _send_all(
        self, target: QueueTarget, received: Sequence[ReceivedMessage], groups: Mapping[str, str]
    ) -> list[Rejection]:
        """Send in calls that hold one of a group; a refused one stops its group of before and of now."""
        return send_in_order(
            self._calls(received),
            target.send,
            groups=lambda one: {one.message.group, groups[one.message.message_id]},
        )

    def _calls(self, received: Sequence[ReceivedMessage]) -> list[list[ReceivedMessage]]:
        """Split into calls within the limits, as what records become may share a group, or be larger."""
        calls: list[list[ReceivedMessage]] = []
        size = 0
        for one in received:
            bytes_ = self._target.size(one.message)
            last = calls[-1] if calls else []
            shares = any(each.message.group == one.message.group for each in last)
            if not last or shares or size + bytes_ > self.bytes_max:
                calls.append([])
                size = 0
            calls[-1].append(one)
            size += bytes_
        return calls
