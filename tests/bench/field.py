"""A pipeline's queues on some endpoint, filled and emptied, and commands run on them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.model.names import QUEUE_ROLES, QueueRole
from tests.bench.measure import Sample, run
from tests.bench.relay import Relay
from tests.cli_harness import Project, clean_environment, new_name
from tests.integration.lean_sqs import ask

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
}
_BATCH = 10
_FILLING = "x" * 100


@dataclass(frozen=True)
class Taken:
    """A sample of a command that moves messages, with the requests it made, by action."""

    sample: Sample
    requests: Counter[str]


@dataclass
class Field:
    """The queues, and a folder with their fifo.toml. Without a relay, requests go straight to the service."""

    project: Project
    service: str
    relay: Relay | None
    lean: bool = False
    others: str = ""  # where services other than SQS are
    urls: dict[str, str] = field(default_factory=dict)

    @classmethod
    def create(
        cls,
        folder: Path,
        service: str,
        relay: Relay | None,
        *,
        api: str = "http://127.0.0.1:9",
        others: str = "",
        tables: Mapping[str, Any] | None = None,
    ) -> Field:
        """Make a folder and queues; with ``others``, ``service`` is the lean double, which knows only SQS.

        ``tables`` are of fifo.toml.
        """
        name = new_name()
        settings = {"api": {"timeout": "10s"}, **(tables or {})}
        project = Project.create(folder / name, name, api, None, settings)
        made = cls(project, service, relay, bool(others), others or service)
        for role in QUEUE_ROLES:
            attributes = {"FifoQueue": "true", "VisibilityTimeout": "120"}
            answer = made.sqs.create_queue(QueueName=made.project.names.queue(role), Attributes=attributes)
            made.urls[role] = answer["QueueUrl"]
        return made

    @cached_property
    def sqs(self) -> Any:
        return Aws(AwsEndpoint(endpoint_url=self.service, local=True)).client("sqs")

    def client(self, service: Literal["dynamodb", "dynamodbstreams", "logs"]) -> Any:
        """Return a client of another service than SQS."""
        return Aws(AwsEndpoint(endpoint_url=self.others, local=True)).client(service)

    @property
    def endpoint(self) -> str:
        """Where a command under measurement sends its requests."""
        return self.relay.endpoint if self.relay else self.service

    @property
    def env(self) -> dict[str, str]:
        """What shows a program where AWS is."""
        others = self.others if self.lean else self.endpoint
        return {**CREDENTIALS, "AWS_ENDPOINT_URL": others, "AWS_ENDPOINT_URL_SQS": self.endpoint}

    def url(self, role: QueueRole) -> str:
        """Return a queue's URL as a peer is to use it: through the relay, if there is one."""
        return f"{self.endpoint}/{self.urls[role].split('/', 3)[3]}"

    def fill(self, role: QueueRole, count: int, groups: int) -> None:
        """Send ``count`` messages of 100 bytes and more, the groups taking turns."""
        if self.lean:
            ask(self.service, "Fill", QueueUrl=self.urls[role], Count=count, Groups=groups)
            return
        for start in range(0, count, _BATCH):
            entries = [
                {
                    "Id": str(number),
                    "MessageBody": f'{{"number": {number}, "filling": "{_FILLING}"}}',
                    "MessageGroupId": f"g{number % groups}",
                    "MessageDeduplicationId": f"fill-{number}",
                }
                for number in range(start, min(count, start + _BATCH))
            ]
            self.sqs.send_message_batch(QueueUrl=self.urls[role], Entries=entries)

    def run(self, *words: str) -> Taken:
        """Measure a command line of ours; it must exit 0."""
        return self.measure(sys.executable, "-m", "fifo_cli", *words)

    def peer(self, what: str, *arguments: str) -> Taken:
        """Measure a peer."""
        return self.measure(sys.executable, "-m", "tests.bench.peers", what, self.endpoint, *arguments)

    def measure(self, *command: str) -> Taken:
        """Measure a command that is run in the folder."""
        if self.relay:
            self.relay.clear()
        sample = run(command, clean_environment(self.env), self.project.folder)
        return Taken(sample, self.relay.counts if self.relay else Counter())

    def count(self, role: QueueRole) -> int:
        """Return how many messages a queue holds."""
        names = [f"ApproximateNumberOfMessages{kind}" for kind in ("", "NotVisible", "Delayed")]
        found = self.sqs.get_queue_attributes(QueueUrl=self.urls[role], AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

    def audit(self, role: QueueRole) -> dict[str, Any]:
        """Return what the lean service says of a queue: Count, Different, Disordered."""
        found: dict[str, Any] = ask(self.service, "Audit", QueueUrl=self.urls[role])
        return found

    def delete(self) -> None:
        """Delete the queues, so that the service's memory does not grow from cell to cell."""
        for url in self.urls.values():
            (self.sqs.purge_queue if self.lean else self.sqs.delete_queue)(QueueUrl=url)
