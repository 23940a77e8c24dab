"""What the tests of Lambda's gateways share: a stubbed client, and what was waited for."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.stub import Stubber

from fifo_cli.aws.resources.gateway import Waiter
from fifo_cli.events import Event, Waiting

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:orders-worker"
READY = {"Configuration": {"State": "Active", "LastUpdateStatus": "Successful", "FunctionArn": ARN}}
VERSION: dict[str, Any] = {
    "code_sha256": "c2hh",
    "handler": "fifo_cli.handlers.worker.handler",
    "runtime": "python3.13",
    "architecture": "arm64",
    "memory": 256,
    "timeout": 60,
    "role": "arn:aws:iam::123456789012:role/orders-worker",
    "subnets": [],
    "security_groups": [],
    "environment": [],
    "layers": [],
}


class Bench:
    """A stubbed Lambda client, and what was waited for."""

    def __init__(self) -> None:
        self.client = boto3.client(
            "lambda", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
        )
        self.stub = Stubber(self.client)
        self.stub.activate()
        self.events: list[Event] = []
        self.now = 0.0
        self.waiter = Waiter(self.events.append, self.sleep, lambda: self.now)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def answer(
        self, call: str, answer: dict[str, Any] | None = None, expected: dict[str, Any] | None = None
    ) -> None:
        self.stub.add_response(call, answer or {}, expected)

    def refuse(self, call: str, code: str, message: str) -> None:
        self.stub.add_client_error(call, service_error_code=code, service_message=message)

    def check(self, *reasons: str) -> None:
        self.stub.assert_no_pending_responses()
        assert [one.reason for one in self.events if isinstance(one, Waiting)] == list(reasons)
