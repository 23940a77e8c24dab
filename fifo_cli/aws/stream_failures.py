"""The queue of failed stream batches: what Lambda could not get through the enqueuer (a standard queue)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from fifo_cli.aws.errors import calling
from fifo_cli.aws.session import Aws
from fifo_cli.model.limits import BATCH_ENTRIES_MAX, RECEIVE_MAX
from fifo_cli.model.names import Names

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

_COUNTS: Final = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")


@dataclass(frozen=True, slots=True)
class FailureMessage:
    """A message of the queue, and the handle of the receive that gave it."""

    message_id: str
    receipt_handle: str
    body: str


class StreamFailures:
    """The queue ``NAME-stream-failures`` of one pipeline."""

    def __init__(self, aws: Aws, names: Names) -> None:
        self._aws = aws
        self.name = names.stream_failures

    @property
    def _sqs(self) -> SQSClient:
        return self._aws.client("sqs")

    @cached_property
    def _url(self) -> str:
        with calling(self.name):
            return self._sqs.get_queue_url(QueueName=self.name)["QueueUrl"]

    def counts(self) -> tuple[int, int]:
        """Return SQS's approximate counts: visible, and in flight."""
        with calling(self.name):
            found = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=list(_COUNTS))
        visible, in_flight = (int(found["Attributes"][name]) for name in _COUNTS)
        return visible, in_flight

    def receive(self, *, visibility: int, wait: int) -> list[FailureMessage]:
        """Receive up to ten messages, hidden for ``visibility`` seconds."""
        with calling(self.name):
            answer = self._sqs.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=RECEIVE_MAX,
                VisibilityTimeout=visibility,
                WaitTimeSeconds=wait,
            )
        return [
            FailureMessage(raw["MessageId"], raw["ReceiptHandle"], raw["Body"])
            for raw in answer.get("Messages", [])
        ]

    def hide(self, handles: Sequence[str], *, seconds: int) -> None:
        """Hide messages for so long from now on; 0 gives them back. One whose time is over stays as it is."""
        for start in range(0, len(handles), BATCH_ENTRIES_MAX):
            with calling(self.name):
                self._sqs.change_message_visibility_batch(
                    QueueUrl=self._url,
                    Entries=[
                        {"Id": str(n), "ReceiptHandle": handle, "VisibilityTimeout": seconds}
                        for n, handle in enumerate(handles[start : start + BATCH_ENTRIES_MAX])
                    ],
                )

    def delete(self, handles: Sequence[str]) -> int:
        """Delete messages for good; return how many could not be, which come again."""
        refused = 0
        for start in range(0, len(handles), BATCH_ENTRIES_MAX):
            with calling(self.name):
                answer = self._sqs.delete_message_batch(
                    QueueUrl=self._url,
                    Entries=[
                        {"Id": str(n), "ReceiptHandle": handle}
                        for n, handle in enumerate(handles[start : start + BATCH_ENTRIES_MAX])
                    ],
                )
            refused += len(answer.get("Failed", []))
        return refused
