"""The queues of one pipeline without the rest of it, for tests of what moves messages between them."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fifo_cli.aws.session import Aws
from fifo_cli.model.names import Names, QueueRole
from tests.cli_harness import Project, Ran, new_name
from tests.faults import Action, AnswerWithError, Delay, DropAnswer, Kill, RefuseEntries, Rule, forward_all
from tests.integration.fork_server import Forked, ForkServer, Running
from tests.integration.proxy import Proxy, Request, hidden

ENV = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
# The whole of a matrix of crashes takes minutes; CI runs the first and the last request of each action.
crashes = pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.long)])
# What a crash in a test left hidden comes back after so many seconds.
HIDDEN = 1
Found = Mapping[str, Any]


@dataclass
class Queues:
    """Queues, a folder with their fifo.toml, and the program run in it through a proxy."""

    aws: Aws
    project: Project
    proxy: Proxy
    fork_server: ForkServer
    urls: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> Names:
        return self.project.names

    @property
    def sqs(self) -> Any:
        return self.aws.client("sqs")

    def create(self, *roles: QueueRole, **attributes: str) -> None:
        """Create queues; ``attributes`` are SQS's."""
        for role in roles or ("main", "dlq", "hold"):
            self.urls[role] = self.sqs.create_queue(
                QueueName=self.names.queue(role), Attributes={"FifoQueue": "true", **attributes}
            )["QueueUrl"]

    def send(self, role: QueueRole, body: str, group: str = "g", dedup_id: str = "", **more: Any) -> str:
        """Send a message and return its id."""
        answer = self.sqs.send_message(
            QueueUrl=self.urls[role],
            MessageBody=body,
            MessageGroupId=group,
            MessageDeduplicationId=dedup_id or f"d-{role}-{group}-{body}"[:128],
            **more,
        )
        return str(answer["MessageId"])

    def fill(self, role: QueueRole, count: int, groups: int) -> None:
        """Send numbered messages, the groups taking turns, ten a call."""
        for start in range(0, count, 10):
            self.sqs.send_message_batch(
                QueueUrl=self.urls[role],
                Entries=[
                    {
                        "Id": str(n),
                        "MessageBody": str(n),
                        "MessageGroupId": f"g{n % groups}",
                        "MessageDeduplicationId": f"fill-{n}",
                    }
                    for n in range(start, min(count, start + 10))
                ],
            )

    def start(self, *args: str, patient: bool = True) -> Running:
        """Run a command line through the proxy, in the background."""
        line = [*args, "--endpoint-url", self.proxy.endpoint]
        return self.fork_server.start(self.project.folder, line, ENV, patient=patient)

    def run(self, *args: str, timeout: float = 60.0) -> Forked:
        """Run a command line through the proxy."""
        return self.start(*args).wait(timeout)

    def drained(self, role: QueueRole, *, timeout: float = 0.0) -> list[Found]:
        """Receive and delete everything of a queue in order; wait so long for what is still hidden."""
        found: list[Found] = []
        deadline = time.monotonic() + timeout
        while True:
            batch = self.sqs.receive_message(
                QueueUrl=self.urls[role],
                MaxNumberOfMessages=10,
                VisibilityTimeout=60,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["All"],
            ).get("Messages", [])
            for message in batch:
                self.sqs.delete_message(QueueUrl=self.urls[role], ReceiptHandle=message["ReceiptHandle"])
            found += batch
            if not batch:
                if not self.total(role) or time.monotonic() >= deadline:
                    return found
                time.sleep(0.05)

    def hidden(self, role: QueueRole) -> int:
        """Return how many messages of a queue are in flight."""
        return self._count(role, "NotVisible")

    def total(self, role: QueueRole) -> int:
        """Return SQS's counts of a queue, together."""
        return self._count(role, "", "NotVisible", "Delayed")

    def _count(self, role: QueueRole, *kinds: str) -> int:
        names = [f"ApproximateNumberOfMessages{kind}" for kind in kinds]
        found = self.sqs.get_queue_attributes(QueueUrl=self.urls[role], AttributeNames=names)["Attributes"]
        return sum(map(int, found.values()))


Make = Callable[..., contextlib.AbstractContextManager[Queues]]


def by_group(messages: Iterable[Found]) -> dict[str, list[str]]:
    """Return bodies by group, in order."""
    groups: dict[str, list[str]] = defaultdict(list)
    for message in messages:
        groups[message["Attributes"]["MessageGroupId"]].append(message["Body"])
    return dict(groups)


@contextlib.contextmanager
def queues(
    folder: Path, endpoint: str, aws: Aws, fork_server: ForkServer, *, api: str = "http://127.0.0.1:9"
) -> Iterator[Queues]:
    """Make a pipeline's folder and queues, behind a proxy of their own."""
    with Proxy(endpoint) as proxy:
        name = new_name()
        made = Queues(aws, Project.create(folder / name, name, api, None, {}), proxy, fork_server)
        made.create()
        yield made


class ImpatientAws(Aws):
    """Clients that take an answer later than 1.5 s for a lost one, so that a test can make it late."""

    def client(self, service: Any, **options: Any) -> Any:
        return super().client(service, **{"read_timeout": 1.5, **options})


def weather(seed: int, *, slow: float = 0.0) -> Rule:
    """Make bad weather: 30 % of requests throttled, 10 % of batch entries refused, 5 % of answers lost.

    With ``slow``, 2 % of the answers come so many seconds late.
    """
    dice = random.Random(seed)

    def refused(place: int, entry: Mapping[str, Any]) -> bool:
        return dice.random() < 0.1

    def rule(request: Request) -> Action:
        if request.service != "AmazonSQS":
            return forward_all(request)
        drawn = dice.random()
        if drawn < 0.3:
            return AnswerWithError("RequestThrottled")
        if drawn < 0.35:
            return DropAnswer()
        if slow and drawn < 0.37:
            return Delay(slow)
        if request.action.endswith("Batch"):
            return RefuseEntries(refused, sender_fault=dice.random() < 0.5)
        return forward_all(request)

    return rule


def crash_everywhere(
    make: Make,
    prepare: Callable[[Queues], None],
    command: Callable[[Queues], Ran],
    check: Callable[[Queues], None],
    *,
    after: bool,
    at: Callable[[Request], bool] = lambda request: True,
    codes: Container[int] = (0,),
    every: bool,
    at_once: int = 12,
    hidden_for: int = HIDDEN,
) -> int:
    """Run a command killed at its n-th request, run it again, and check; for every n there is.

    Without ``every``, only at the first and the last request of each action. ``at`` says which requests
    count. ``after``: killed when the request took effect but before the answer comes. ``codes`` are the exit
    codes that the second run may have, and ``hidden_for`` the seconds for which what was received stays
    hidden: longer than a poll where a run holds messages that stay. Returns how many requests it was killed
    at. Cases run beside each other, each with queues of its own.
    """

    def crash(number: int) -> bool:
        """Say whether there was an n-th request to be killed at."""
        with make() as one:
            prepare(one)
            one.proxy.edit = hidden(hidden_for)
            one.proxy.clear()
            one.proxy.rule = _kill_at(number, after=after, at=at)
            first = command(one)
            if not one.proxy.killed:
                return False
            assert first.code == -9, (number, first)
            one.proxy.rule = forward_all
            again = command(one)
            assert again.code in codes, (number, again)
            try:
                check(one)
            except AssertionError as error:
                raise AssertionError(f"killed at request {number}, after={after}: {error}") from error
            return True

    killed: list[bool] = []
    with ThreadPoolExecutor(at_once) as pool:
        if not every:
            killed += pool.map(crash, _first_and_last(make, prepare, command, at))
        while every and all(killed):
            killed += pool.map(crash, range(len(killed) + 1, len(killed) + 1 + at_once))
    return sum(killed)


def _first_and_last(
    make: Make,
    prepare: Callable[[Queues], None],
    command: Callable[[Queues], Ran],
    at: Callable[[Request], bool],
) -> list[int]:
    """Return the numbers of each action's first and last request, in a run that nothing kills."""
    with make() as one:
        prepare(one)
        one.proxy.clear()
        command(one)
        actions = [request.action for request in one.proxy.requests if at(request)]
    last = {action: number for number, action in enumerate(actions, 1)}
    return sorted({actions.index(action) + 1 for action in last} | set(last.values()))


def to_sqs(request: Request) -> bool:
    """Say whether a request goes to SQS."""
    return request.service == "AmazonSQS"


def changes_sqs(request: Request) -> bool:
    """Say whether a request leaves anything changed in SQS.

    After one that does not, everything is as it was before it: one kill, before, shows as much as two.
    """
    return to_sqs(request) and not request.action.startswith(("Get", "List"))


def _kill_at(number: int, *, after: bool, at: Callable[[Request], bool]) -> Rule:
    lock = threading.Lock()
    seen = 0

    def rule(request: Request) -> Any:
        nonlocal seen
        if not at(request):
            return forward_all(request)
        with lock:
            seen += 1
            return Kill(after=after) if seen == number else forward_all(request)

    return rule
