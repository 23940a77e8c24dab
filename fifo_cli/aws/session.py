"""The one place where AWS clients are made: standard resolution, or the embedded stack and nothing else."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, overload

import boto3
import botocore.session
from botocore.config import Config

from fifo_cli import __version__
from fifo_cli.aws.errors import calling
from fifo_cli.errors import AwsError
from fifo_cli.model.names import Place

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_scheduler import EventBridgeSchedulerClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_sts import STSClient

CONNECT_TIMEOUT: Final = 5
# Longer than SQS's longest poll (20 s), so that a slow answer is not taken for a lost one.
READ_TIMEOUT: Final = 30
# With its backoff, botocore gives up on an endpoint that refuses connections after a few seconds.
ATTEMPTS: Final = 4
LOCAL_REGION: Final = "us-east-1"


@dataclass(frozen=True, slots=True)
class Target:
    """Which AWS to talk to. ``endpoint_url`` with ``local`` is the embedded stack's."""

    profile: str | None = None
    region: str | None = None
    endpoint_url: str | None = None
    local: bool = False


class Aws:
    """Clients of one account and region, each made once; safe to share between threads."""

    def __init__(self, target: Target, *, connections: int = 16) -> None:
        self.target = target
        self._connections = connections
        self._clients: dict[tuple[str, float, int], Any] = {}
        self._lock = threading.Lock()
        with calling("the AWS configuration"):
            self._session = _local_session(target) if target.local else _session(target)

    @property
    def region(self) -> str:
        """The region the clients talk to; raises UsageError if none is set."""
        return str(self.client("sqs").meta.region_name)

    @cached_property
    def place(self) -> Place:
        """Account, region and partition, asked of STS once."""
        with calling("the caller's identity"):
            identity = self.client("sts").get_caller_identity()
        parts = identity["Arn"].split(":")
        if len(parts) < 6:
            raise AwsError(f"sts:GetCallerIdentity answered {identity['Arn']!r}, which is no ARN")
        return Place(account=identity["Account"], region=self.region, partition=parts[1])

    # fmt: off
    @overload
    def client(self, service: Literal["sqs"]) -> SQSClient: ...
    @overload
    def client(self, service: Literal["dynamodb"]) -> DynamoDBClient: ...
    @overload
    def client(self, service: Literal["dynamodbstreams"]) -> DynamoDBStreamsClient: ...
    @overload
    def client(
        self, service: Literal["lambda"], *, read_timeout: float = ..., attempts: int = ...
    ) -> LambdaClient: ...
    @overload
    def client(self, service: Literal["events"]) -> EventBridgeClient: ...
    @overload
    def client(self, service: Literal["scheduler"]) -> EventBridgeSchedulerClient: ...
    @overload
    def client(self, service: Literal["ssm"]) -> SSMClient: ...
    @overload
    def client(self, service: Literal["iam"]) -> IAMClient: ...
    @overload
    def client(self, service: Literal["logs"]) -> CloudWatchLogsClient: ...
    @overload
    def client(self, service: Literal["cloudwatch"]) -> CloudWatchClient: ...
    @overload
    def client(self, service: Literal["sts"]) -> STSClient: ...
    # fmt: on
    def client(self, service: str, *, read_timeout: float = READ_TIMEOUT, attempts: int = ATTEMPTS) -> Any:
        """Return the client of a service.

        An invocation of a function passes a longer ``read_timeout`` and ``attempts=1``: botocore would
        otherwise invoke it a second time when the answer is slow.
        """
        with self._lock:
            key = (service, read_timeout, attempts)
            if key not in self._clients:
                config = Config(
                    connect_timeout=CONNECT_TIMEOUT,
                    read_timeout=read_timeout,
                    retries={"mode": "standard", "total_max_attempts": attempts},
                    max_pool_connections=self._connections,
                    tcp_keepalive=True,
                    # The embedded stack is on loopback, where no proxy of the environment's can reach it.
                    proxies={} if self.target.local else None,
                    user_agent_extra=f"fifo-cli/{__version__}",
                )
                with calling(service):
                    self._clients[key] = self._session.client(
                        service,  # type: ignore[call-overload]
                        endpoint_url=self.target.endpoint_url,
                        config=config,
                    )
            return self._clients[key]


def _session(target: Target) -> boto3.Session:
    # botocore reads $AWS_DEFAULT_REGION only; AWS's other SDKs and its CLI read $AWS_REGION, and first.
    region = target.region or os.environ.get("AWS_REGION")
    return boto3.Session(profile_name=target.profile, region_name=region)


def _local_session(target: Target) -> boto3.Session:
    """Build a session that reads neither the user's profiles nor credentials and so cannot reach AWS."""
    session = botocore.session.Session(
        session_vars={
            "profile": (None, None, None, None),
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
    )
    return boto3.Session(
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name=target.region or LOCAL_REGION,
        botocore_session=session,
    )
