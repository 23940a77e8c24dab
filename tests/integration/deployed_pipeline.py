"""A deployed pipeline that several tests of a module share, and its queues set to what a test needs."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fifo_cli.aws.session import Aws
from fifo_cli.cli.app import main
from fifo_cli.local.receiver import Receiver
from fifo_cli.model.names import FUNCTION_ROLES, FunctionRole, QueueRole
from tests.cli_harness import Project, Ran, Stack, new_name


@dataclass(frozen=True)
class Pipeline:
    """A pipeline, its API, and clients of the stack it is on."""

    project: Project
    api: Receiver
    aws: Aws

    @property
    def name(self) -> str:
        return self.project.name

    def url(self, role: QueueRole) -> str:
        name = self.project.names.queue(role)
        return self.aws.client("sqs").get_queue_url(QueueName=name)["QueueUrl"]

    def send(self, count: int, role: QueueRole = "main", *, group: str = "g") -> None:
        """Put messages into a queue, as a producer of somebody else's would."""
        url = self.url(role)
        for number in range(count):
            self.aws.client("sqs").send_message(
                QueueUrl=url,
                MessageBody=json.dumps({"n": number}),
                MessageGroupId=group,
                MessageDeduplicationId=f"{role}-{group}-{number}-{new_name()}",
            )

    def measured(self, metric: str, value: float, **dimensions: str) -> None:
        """Let CloudWatch know a number that AWS would have reported it."""
        self.aws.client("cloudwatch").put_metric_data(
            Namespace="AWS/SQS" if "QueueName" in dimensions else "AWS/Lambda",
            MetricData=[
                {
                    "MetricName": metric,
                    "Dimensions": [{"Name": name, "Value": text} for name, text in dimensions.items()],
                    "Value": value,
                }
            ],
        )

    def logged(self, role: FunctionRole, *texts: str, ago: float = 0) -> None:
        """Let a function's log have lines that it would have written ``ago`` seconds before now."""
        logs, group = self.aws.client("logs"), self.project.names.log_group(role)
        logs.create_log_stream(logGroupName=group, logStreamName=(stream := new_name()))
        now = int((time.time() - ago) * 1000)
        logs.put_log_events(
            logGroupName=group,
            logStreamName=stream,
            logEvents=[{"timestamp": now + number, "message": text} for number, text in enumerate(texts)],
        )

    def forget_logs(self) -> None:
        """Empty the logs of both functions, as if they had never run."""
        logs = self.aws.client("logs")
        for role in FUNCTION_ROLES:
            group = self.project.names.log_group(role)
            for stream in logs.describe_log_streams(logGroupName=group)["logStreams"]:
                logs.delete_log_stream(logGroupName=group, logStreamName=stream["logStreamName"])

    def local(self, *words: str) -> Ran:
        """Run a command line with ``--local`` in this process, into pipes: the imports are there already."""
        return self._run(*words, "--local")

    def at(self, endpoint: str, *words: str) -> Ran:
        """Run one against another endpoint, as if that were AWS."""
        with pytest.MonkeyPatch.context() as patch:
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                patch.setenv(name, "test")
            patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            return self._run(*words, "--endpoint-url", endpoint)

    def _run(self, *words: str) -> Ran:
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        config = () if "--config" in words else ("--config", str(self.project.config))
        with redirect_stdout(out), redirect_stderr(err):
            code = main([*config, *words])
        texts = (each.buffer.getvalue().decode() for each in (out, err))
        return Ran(words, code, *texts)

    def reset(self) -> None:
        """Empty the table and the queues, let everything run, and let the API answer as at first."""
        table = self.aws.client("dynamodb")
        for item in table.scan(TableName=self.name, ProjectionExpression="id").get("Items", []):
            table.delete_item(TableName=self.name, Key=item)
        for role in ("main", "dlq", "hold"):
            self.aws.client("sqs").purge_queue(QueueUrl=self.url(role))
        self.switch(enabled=True)
        self.api.key, self.api.delay, self.api.answer = None, 0.0, lambda received: None
        self.api.recover()
        self.api.clear()

    def switch(self, *, enabled: bool) -> None:
        """Switch the rule that starts the worker."""
        change = self.aws.client("events").enable_rule if enabled else self.aws.client("events").disable_rule
        change(Name=self.project.names.schedule(1))


@contextmanager
def deployed(folder: Path, stack: Stack, *, deploy: bool = True, **tables: Any) -> Iterator[Pipeline]:
    """Deploy a pipeline of its own for the block inside; without ``deploy``, the test does so."""
    with Receiver() as api:
        name = new_name()
        project = Project.create(folder / name, name, api.url, stack, tables)
        if deploy:
            project.local("deploy", "--yes").ok()
        try:
            yield Pipeline(project, api, stack.aws())
        finally:
            project.end()
