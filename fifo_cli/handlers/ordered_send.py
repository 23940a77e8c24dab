"""Strict sending: no call to SQS ever holds two messages of one group.

SendMessageBatch may refuse one entry and accept the next; with two of one group in a call, that would
put the second before the first. So a call takes at most one message of each group, and a refusal stops
that group while the others go on.

A message that SQS refuses for what it holds would be refused for ever: what is there ``instead`` of it, the
same record for the DLQ, is sent in its place, and its group goes on. Where SQS refuses a whole call for that
reason, its messages are sent one at a time, so that only the one at fault pays for it.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from .batch_answer import BatchAnswer, EntryError, read_batch
from .limits import BATCH_BYTES_MAX, BATCH_ENTRIES_MAX
from .records import Outgoing

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

# What SQS answers to a message that it can never take: too long, or with characters it does not allow (API
# Reference, SendMessage and SendMessageBatch).
_MESSAGE_FAULTS: Final = frozenset({"InvalidMessageContents", "InvalidParameterValue", "BatchRequestTooLong"})

GroupQueue = tuple[str, str]  # queue and group: within a group, order is kept


@dataclass(slots=True)
class SendReport:
    """What became of the messages; ``unsent`` holds those refused and those behind them, with the reason.

    ``numbers`` are the sequence numbers that SQS gave, by message id. ``skipped`` counts the records that
    became no message.
    """

    sent: list[tuple[Outgoing, str]] = field(default_factory=list)
    numbers: dict[str, str] = field(default_factory=dict)
    unsent: list[tuple[Outgoing, str]] = field(default_factory=list)
    error: Exception | None = None
    skipped: int = 0


@dataclass(slots=True)
class _GroupQueues:
    """The messages still to send, by group; the longest goes first, as that needs the fewest calls."""

    waiting: dict[GroupQueue, deque[Outgoing]]
    heap: list[tuple[int, int, GroupQueue]]
    # Groups whose heads go one a call, before all others.
    one_a_call: deque[tuple[int, GroupQueue]] = field(default_factory=deque)

    @classmethod
    def of(cls, messages: Iterable[Outgoing]) -> _GroupQueues:
        waiting: dict[GroupQueue, deque[Outgoing]] = {}
        for message in messages:
            waiting.setdefault((message.queue, message.group), deque()).append(message)
        heap = [(-len(queue), index, key) for index, (key, queue) in enumerate(waiting.items())]
        heapq.heapify(heap)
        return cls(waiting, heap)

    def take_batch(self) -> list[tuple[int, GroupQueue]]:
        """Choose the groups whose heads go into the next call: one queue, ten entries, the size limit."""
        if self.one_a_call:
            return [self.one_a_call.popleft()]
        chosen: list[tuple[int, GroupQueue]] = []
        left: list[tuple[int, int, GroupQueue]] = []
        size = 0
        while self.heap and len(chosen) < BATCH_ENTRIES_MAX:
            entry = heapq.heappop(self.heap)
            _, index, queue = entry
            head = self.waiting[queue][0]
            if (chosen and queue[0] != chosen[0][1][0]) or size + head.size > BATCH_BYTES_MAX:
                left.append(entry)
                continue
            chosen.append((index, queue))
            size += head.size
        for entry in left:
            heapq.heappush(self.heap, entry)
        return chosen

    def put_back(self, index: int, queue: GroupQueue) -> None:
        """Make a group eligible again after its head was sent."""
        if self.waiting[queue]:
            heapq.heappush(self.heap, (-len(self.waiting[queue]), index, queue))

    def replace_head(self, index: int, queue: GroupQueue, other: Outgoing) -> None:
        """Let ``other`` go in the place of a group's head, also to another queue."""
        self.waiting[queue].popleft()
        to = (other.queue, other.group)
        if to == queue:
            self.waiting[queue].appendleft(other)
        elif self.waiting.get(to):
            self.waiting[to].append(other)
        else:
            self.waiting[to] = deque([other])
            self.put_back(len(self.waiting), to)
        self.put_back(index, queue)


def send_strictly(
    sqs: SQSClient,
    urls: Mapping[str, str],
    messages: Iterable[Outgoing],
    *,
    may_go_on: Callable[[], bool] = lambda: True,
) -> SendReport:
    """Send ``messages``, each to ``urls[its queue]``, in order within each group.

    A call that fails as a whole ends the sending: its error is in the report, with nothing raised, so that
    the caller knows what was sent. ``may_go_on`` is asked before every call (the time budget).
    """
    report = SendReport()
    queues = _GroupQueues.of(messages)
    while may_go_on() and (chosen := queues.take_batch()):
        heads = [queues.waiting[queue][0] for _, queue in chosen]
        try:
            answer = _answer(sqs, urls[heads[0].queue], heads)
        except _CallRefusedError:
            queues.one_a_call.extend(chosen)
            continue
        except Exception as error:  # noqa: BLE001 - reported to the caller with what was sent until then
            report.error = error
            break
        _settle(queues, chosen, answer, report)
    why = f"{type(report.error).__name__}: {report.error}" if report.error else "the time is up"
    report.unsent += [(message, why) for queue in queues.waiting.values() for message in queue]
    return report


class _CallRefusedError(Exception):
    """SQS refused a call of several messages for what one of them holds."""


def _answer(sqs: SQSClient, url: str, heads: list[Outgoing]) -> BatchAnswer:
    """Send one call; what refuses a call of a single message for what it holds is that entry's failure."""
    try:
        answer: Mapping[str, Any] = sqs.send_message_batch(
            QueueUrl=url, Entries=[_entry(n, head) for n, head in enumerate(heads)]
        )
    except ClientError as error:
        found = error.response.get("Error", {})
        code = _plain_code(found.get("Code", ""))
        if code not in _MESSAGE_FAULTS:
            raise
        if len(heads) > 1:
            raise _CallRefusedError from error
        entry = {"Id": "0", "SenderFault": True, "Code": code, "Message": found.get("Message", "")}
        answer = {"Failed": [entry]}
    return read_batch(answer, [str(n) for n in range(len(heads))])


def _settle(
    queues: _GroupQueues,
    chosen: list[tuple[int, GroupQueue]],
    answer: BatchAnswer,
    report: SendReport,
) -> None:
    """Account for a call's answer, and make the groups that go on eligible again."""
    for number, (index, queue) in enumerate(chosen):
        head = queues.waiting[queue][0]
        error = answer.failed.get(str(number))
        if error is None:
            accepted = answer.done[str(number)]
            message_id = accepted.get("MessageId", "")
            if "SequenceNumber" in accepted:
                report.numbers[message_id] = accepted["SequenceNumber"]
            report.sent.append((queues.waiting[queue].popleft(), message_id))
            queues.put_back(index, queue)
        elif head.instead and _is_the_messages(error):
            queues.replace_head(index, queue, head.instead(f"SQS refuses the message: {error.reason}"))
        else:
            report.unsent += [(message, error.reason) for message in queues.waiting.pop(queue)]


def _is_the_messages(error: EntryError) -> bool:
    """Whether SQS refused an entry for what it holds."""
    return error.sender_fault and _plain_code(error.code) in _MESSAGE_FAULTS


def _plain_code(code: str) -> str:
    """Return an error's code as the API Reference has it: services spell it in several ways."""
    return code.rpartition(".")[2].removesuffix("Exception")


def _entry(number: int, message: Outgoing) -> SendMessageBatchRequestEntryTypeDef:
    return {
        "Id": str(number),
        "MessageBody": message.body,
        "MessageGroupId": message.group,
        "MessageDeduplicationId": message.dedup_id,
        "MessageAttributes": {
            name: {"DataType": "String", "StringValue": value} for name, value in message.attributes.items()
        },
    }
