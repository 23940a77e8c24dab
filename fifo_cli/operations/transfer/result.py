"""What a move is asked for, and what it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from fifo_cli.errors import FifoError
from fifo_cli.model.group_names import shown_group
from fifo_cli.model.message import ReceivedMessage
from fifo_cli.operations.transfer.interfaces import MoveHistory

WORKERS: Final = 12
FAILURES_SHOWN_MAX: Final = 100
_NOT_DELETED: Final = (
    "moved, but not deleted from the source: they may come again; running the command again within five"
    " minutes makes no second copy of them"
)


@dataclass(frozen=True, slots=True)
class MoveOptions:
    """How much to move, and how fast. ``count`` None is all; ``max_rate`` is messages a second.

    ``wanted``, if given, says which messages are moved, and ``leave`` which are none of this move's business;
    the others stay where they are. ``total`` is how many there seem to be, for the time left. ``receives``
    is how many receives at a time: 1 for a source that gives on of a group while some of it is in flight.
    ``before_sending`` is called once, while the first messages are taken; nothing is sent before it returns.
    ``throttles`` is how often the service has asked to slow down so far. ``on_failed`` hears of every message
    that stays behind because of a rejection. ``history``, if given, is where messages are noted before
    they are deleted from the source.
    """

    count: int | None = None
    max_rate: float | None = None
    wanted: Callable[[ReceivedMessage], bool] | None = None
    leave: Callable[[ReceivedMessage], bool] = lambda received: False
    total: int | None = None
    workers: int = WORKERS
    receives: int = WORKERS
    before_sending: Callable[[], None] = lambda: None
    throttles: Callable[[], int] = lambda: 0
    on_failed: Callable[[Failure], None] = lambda failure: None
    history: MoveHistory | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A message that stayed behind, and why."""

    message_id: str
    group: str
    reason: str


@dataclass(frozen=True, slots=True)
class Overtaking:
    """A message that was refused at first, and those of its group that the target has before it."""

    message_id: str
    group: str
    overtaken_by: tuple[str, ...]


@dataclass(slots=True)
class MoveReport:
    """What a move did, each message counted once.

    ``moved`` are in the target; of these, ``not_deleted`` could not be removed from the source and may come
    again. ``skipped`` were not wanted, ``left`` were to be left alone, ``failed`` stayed behind because of a
    refusal (the first hundred in ``failures``). ``error`` is why it ended early, if it did.
    """

    moved: int = 0
    skipped: int = 0
    left: int = 0
    failed: int = 0
    not_deleted: int = 0
    failures: list[Failure] = field(default_factory=list)
    overtakings: list[Overtaking] = field(default_factory=list)
    error: FifoError | None = None
    stopped: bool = False

    def warnings(self, *, not_deleted: str = _NOT_DELETED) -> list[str]:
        """Say what needs a look, message by message; ``not_deleted`` says what it means for those."""
        warnings = [
            f"{one.message_id} (group {shown_group(one.group)}): {one.reason}" for one in self.failures
        ]
        if self.failed > len(self.failures):
            warnings.append(f"and {self.failed - len(self.failures)} more that failed")
        warnings += [
            f"order: {one.message_id} (group {shown_group(one.group)}) was overtaken by"
            f" {', '.join(one.overtaken_by)}"
            for one in self.overtakings
        ]
        return warnings + ([f"{self.not_deleted} {not_deleted}"] if self.not_deleted else [])

    def failed_with(self, failure: Failure) -> None:
        """Count a message that stays behind."""
        self.failed += 1
        if len(self.failures) < FAILURES_SHOWN_MAX:
            self.failures.append(failure)
