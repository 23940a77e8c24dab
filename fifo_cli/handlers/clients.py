"""The functions' AWS clients: short timeouts, bounded retries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, cast

import boto3
from botocore.config import Config

from .direct_sqs import DirectSqs

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# Longer than the longest poll (visibility.py); five attempts, as throttles are common on FIFO queues. A
# connection for each group that is delivered side by side, and one to receive: botocore would close what is
# over ten each time, and log it.
_CONFIG: Final = Config(
    connect_timeout=3,
    read_timeout=10,
    retries={"mode": "standard", "total_max_attempts": 5},
    max_pool_connections=65,
)


def sqs() -> SQSClient:
    return boto3.client("sqs", config=_CONFIG)


def direct_sqs() -> SQSClient:
    """Return the worker's client: what it calls for every message costs a third of boto3's CPU."""
    client = sqs()
    session = boto3.DEFAULT_SESSION
    assert session is not None, "the client was made by it"
    return cast("SQSClient", DirectSqs(client, session.get_credentials()))


def key_store(service: Literal["ssm", "secretsmanager"]) -> Any:
    """Return the client of a service that holds keys."""
    return boto3.client(service, config=_CONFIG)


def queue_url(client: SQSClient, name: str) -> str:
    """Ask SQS for a queue's URL, which no ARN shows in every partition."""
    return client.get_queue_url(QueueName=name)["QueueUrl"]
