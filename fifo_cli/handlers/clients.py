"""The functions' AWS clients: short timeouts, bounded retries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_ssm import SSMClient

# Longer than the longest poll (visibility.py); five attempts, as throttles are common on FIFO queues.
_CONFIG: Final = Config(
    connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 5}
)


def sqs() -> SQSClient:
    return boto3.client("sqs", config=_CONFIG)


def ssm() -> SSMClient:
    return boto3.client("ssm", config=_CONFIG)


def queue_url(client: SQSClient, name: str) -> str:
    """Ask SQS for a queue's URL, which no ARN shows in every partition."""
    return client.get_queue_url(QueueName=name)["QueueUrl"]
