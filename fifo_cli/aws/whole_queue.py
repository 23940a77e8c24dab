"""What concerns a queue as a whole: the largest message it takes, and emptying it at one blow."""

from __future__ import annotations

from botocore.exceptions import ClientError

from fifo_cli.aws.errors import calling, error_codes
from fifo_cli.aws.queues import Queue
from fifo_cli.aws.session import Aws
from fifo_cli.model.limits import MESSAGE_BYTES_MAX


def max_message_bytes(aws: Aws, queue: Queue) -> int:
    """Ask for the queue's own limit; one made before 2025 may keep 256 KiB."""
    with calling(queue.name):
        answer = aws.client("sqs").get_queue_attributes(
            QueueUrl=queue.url, AttributeNames=["MaximumMessageSize"]
        )
    return int(answer.get("Attributes", {}).get("MaximumMessageSize", MESSAGE_BYTES_MAX))


def purge_queue(aws: Aws, queue: Queue) -> bool:
    """Delete every message for good; False if the queue was purged within the last minute.

    SQS takes up to 60 s to do it, and may delete what is sent meanwhile (API Reference, PurgeQueue).
    """
    url = queue.url
    with calling(queue.name):
        try:
            aws.client("sqs").purge_queue(QueueUrl=url)
        except ClientError as error:
            if not any("PurgeQueueInProgress" in code for code in error_codes(error)):
                raise
            return False
    return True
