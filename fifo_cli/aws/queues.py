"""The pipeline's FIFO queues: their depths, and looking at their messages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from fifo_cli.aws.errors import calling, error_codes, explain
from fifo_cli.aws.session import Aws
from fifo_cli.model.limits import BATCH_ENTRIES_MAX
from fifo_cli.model.message import ReceivedMessage, from_sqs
from fifo_cli.model.names import Names, QueueRole

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# SQS gives ApproximateAgeOfOldestMessage to CloudWatch once a minute (Developer Guide, "Metrics").
_AGE_WINDOW: Final = timedelta(minutes=10)
_AGE_PERIOD_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Counts:
    """SQS's approximate counts of a queue."""

    visible: int
    in_flight: int
    delayed: int
    max_receives: int | None

    @property
    def total(self) -> int:
        return self.visible + self.in_flight + self.delayed


class Queue:
    """One queue of the pipeline; its URL is asked for once."""

    def __init__(self, aws: Aws, names: Names, role: QueueRole) -> None:
        self._aws = aws
        self.role = role
        self.name = names.queue(role)

    @property
    def _sqs(self) -> SQSClient:
        return self._aws.client("sqs")

    @cached_property
    def url(self) -> str:
        """The queue's URL; raises NotDeployedError if there is no such queue."""
        with calling(self.name):
            return self._sqs.get_queue_url(QueueName=self.name)["QueueUrl"]

    @cached_property
    def arn(self) -> str:
        """The queue's ARN."""
        with calling(self.name):
            answer = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])
        return answer["Attributes"]["QueueArn"]

    def dead_letter_sources(self) -> list[str]:
        """Return the names of the queues whose dead-letter queue this is; none where SQS cannot tell."""
        try:
            pages = self._sqs.get_paginator("list_dead_letter_source_queues").paginate(QueueUrl=self.url)
            return sorted(url.rpartition("/")[2] for page in pages for url in page.get("queueUrls", []))
        except BotoCoreError as error:
            raise explain(error, self.name) from error
        except ClientError as error:
            if "InvalidAction" in error_codes(error):  # the embedded stack does not know the call
                return []
            raise explain(error, self.name) from error

    def counts(self) -> Counts:
        """Ask for the approximate counts, and the receives that the redrive policy allows."""
        with calling(self.name):
            found = self._sqs.get_queue_attributes(
                QueueUrl=self.url,
                AttributeNames=[
                    "ApproximateNumberOfMessages",
                    "ApproximateNumberOfMessagesNotVisible",
                    "ApproximateNumberOfMessagesDelayed",
                    "RedrivePolicy",
                ],
            )["Attributes"]
        policy = json.loads(found.get("RedrivePolicy") or "{}")
        return Counts(
            visible=int(found["ApproximateNumberOfMessages"]),
            in_flight=int(found["ApproximateNumberOfMessagesNotVisible"]),
            delayed=int(found["ApproximateNumberOfMessagesDelayed"]),
            max_receives=int(policy["maxReceiveCount"]) if "maxReceiveCount" in policy else None,
        )

    def oldest_age(self, *, now: datetime | None = None) -> int | None:
        """Ask CloudWatch for the oldest message's age in seconds; None if it does not tell."""
        until = now or datetime.now(UTC)
        try:
            answer = self._aws.client("cloudwatch").get_metric_statistics(
                Namespace="AWS/SQS",
                MetricName="ApproximateAgeOfOldestMessage",
                Dimensions=[{"Name": "QueueName", "Value": self.name}],
                StartTime=until - _AGE_WINDOW,
                EndTime=until,
                Period=_AGE_PERIOD_SECONDS,
                Statistics=["Maximum"],
            )
        except (ClientError, BotoCoreError):
            return None
        points = sorted(answer.get("Datapoints", []), key=lambda point: point["Timestamp"])
        return int(points[-1]["Maximum"]) if points else None

    def receive(self, *, count: int, visibility: int, wait: int) -> list[ReceivedMessage]:
        """Receive up to ten messages, hidden for ``visibility`` seconds."""
        with calling(self.name):
            answer = self._sqs.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=count,
                VisibilityTimeout=visibility,
                WaitTimeSeconds=wait,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["All"],
            )
        return [from_sqs(raw, self.role) for raw in answer.get("Messages", [])]

    def release(self, messages: Sequence[ReceivedMessage]) -> None:
        """Make messages visible again in the order given; one whose time is over is visible already."""
        for start in range(0, len(messages), BATCH_ENTRIES_MAX):
            part = messages[start : start + BATCH_ENTRIES_MAX]
            with calling(self.name):
                self._sqs.change_message_visibility_batch(
                    QueueUrl=self.url,
                    Entries=[
                        {"Id": str(n), "ReceiptHandle": received.receipt_handle, "VisibilityTimeout": 0}
                        for n, received in enumerate(part)
                    ],
                )
