"""The tests' SQS in memory (fakes.py) over HTTP, with AWS's rule for groups, and with message move tasks.

The embedded stack scans its queue at every call, so that 100,000 messages would take hours there. What this
one's calls cost does not grow with a queue, and it follows AWS where the stack does not: a receive fills its
answer from one group first, an expired receipt handle is refused, a receive repeated with its
ReceiveRequestAttemptId gets the same answer, trace headers survive batches.

Run as ``python -m tests.integration.lean_sqs``; it prints its port. ``Test.Fill`` and ``Test.Audit`` fill a
queue, and say how many messages it holds and whether its groups are in order, without 20,000 calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from botocore.exceptions import ClientError

from tests.fakes import FakeQueue, FakeSqs, arn
from tests.faults import client_error

TASK_RATE = 50.0
_HOST = "127.0.0.1"
_WORD = re.compile("(?<!^)(?=[A-Z])")


@dataclass(slots=True, eq=False)
class MoveTask:
    """A message move task; it moves ``TASK_RATE`` messages a second, as it is looked at."""

    number: int
    source: FakeQueue
    target: FakeQueue
    started: float
    total: int
    moved: int = 0
    status: str = "RUNNING"

    @property
    def handle(self) -> str:
        return f"task-{self.number}-{self.source.name}"

    def shown(self) -> dict[str, Any]:
        running = {"TaskHandle": self.handle} if self.status == "RUNNING" else {}
        return {
            "Status": self.status,
            "SourceArn": arn(self.source),
            "DestinationArn": arn(self.target),
            "StartedTimestamp": int(self.started * 1000),
            "ApproximateNumberOfMessagesMoved": self.moved,
            "ApproximateNumberOfMessagesToMove": self.total,
            **running,
        }


class LeanSqs(FakeSqs):
    """The service; ``answers`` counts what it was asked."""

    aws_rule = True

    def __init__(self) -> None:
        super().__init__(time.time)
        self.answers: Counter[str] = Counter()
        self.tasks: list[MoveTask] = []

    async def call(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        """Answer a call; raises ClientError."""
        self.answers[action] += 1
        method = getattr(self, _WORD.sub("_", action).lower(), None)
        if method is None:
            raise client_error(
                action, "InvalidAction", f"The action {action} is not valid for this endpoint."
            )
        deadline = self.clock() + request.get("WaitTimeSeconds", 0)
        while True:
            answer: dict[str, Any] = method(**request)
            left = deadline - self.clock()
            if answer or left <= 0:
                return answer
            await asyncio.sleep(min(0.02, left))

    def start_message_move_task(self, **request: Any) -> dict[str, Any]:
        source, target = (self.queues[request[key].rpartition(":")[2]] for key in _TASK_ENDS)
        if any(task.status == "RUNNING" for task in self._tasks_of(source)):
            raise client_error("StartMessageMoveTask", "InvalidParameterValue", "There is already a task.")
        count = len(source.messages)
        self.tasks.append(MoveTask(len(self.tasks), source, target, self.clock(), count))
        return {"TaskHandle": self.tasks[-1].handle}

    def list_message_move_tasks(self, **request: Any) -> dict[str, Any]:
        tasks = self._tasks_of(self.queues[request["SourceArn"].rpartition(":")[2]])
        for task in tasks:
            self._go_on(task)
        return {"Results": [task.shown() for task in reversed(tasks)][: request.get("MaxResults", 1)]}

    def cancel_message_move_task(self, **request: Any) -> dict[str, Any]:
        for task in self.tasks:
            if task.handle == request["TaskHandle"] and task.status == "RUNNING":
                task.status = "CANCELLED"
                return {"ApproximateNumberOfMessagesMoved": task.moved}
        raise client_error(
            "CancelMessageMoveTask", "ResourceNotFoundException", "There is no such task running."
        )

    def fill(self, *, QueueUrl: str, Count: int, Groups: int, Bytes: int = 100) -> dict[str, Any]:
        """Put in ``Count`` messages [0,"…"], [1,"…"], …, the groups taking turns."""
        filling, now = "x" * Bytes, time.time_ns()
        for number in range(Count):
            self.send_message(
                QueueUrl=QueueUrl,
                MessageBody=f'[{number},"{filling}"]',
                MessageGroupId=f"g{number % Groups}",
                MessageDeduplicationId=f"fill-{now}-{number}",
            )
        return {}

    def audit(self, *, QueueUrl: str) -> dict[str, Any]:
        """Say how many messages there are, how many different ones, and which groups are out of order."""
        numbers = {
            name: [int(message.body[1 : message.body.index(",")]) for message in group]
            for name, group in self.queues[QueueUrl.rpartition("/")[2]].groups.items()
        }
        return {
            "Count": sum(map(len, numbers.values())),
            "Different": len({number for group in numbers.values() for number in group}),
            "Disordered": [name for name, group in numbers.items() if group != sorted(group)],
            "Calls": dict(self.answers),
        }

    def _called(self, action: str, request: dict[str, Any]) -> None:
        """Keep no list of calls: there are too many."""

    def _tasks_of(self, source: FakeQueue) -> list[MoveTask]:
        return [task for task in self.tasks if task.source is source]

    def _go_on(self, task: MoveTask) -> None:
        while task.status == "RUNNING" and task.moved < (self.clock() - task.started) * TASK_RATE:
            now = self.clock()
            given = list(self._take(task.source, 1, now, now + 30))
            for message in given:
                entry = {"MessageBody": message.body, "MessageGroupId": message.group}
                self._send(task.target, {**entry, "MessageDeduplicationId": message.message_id})
                task.source.remove(message)
            task.moved += len(given)
            if not given:
                task.status = "COMPLETED"


_TASK_ENDS = ("SourceArn", "DestinationArn")


async def _serve_connection(
    service: LeanSqs, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])
            }
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            action = headers.get("x-amz-target", "").rpartition(".")[2]
            status, document = "200 OK", {}
            try:
                document = await service.call(action, json.loads(body or b"{}"))
            except ClientError as error:
                status, said = "400 Bad Request", error.response["Error"]
                document = {"__type": f"com.amazonaws.sqs#{said['Code']}", "message": said["Message"]}
            data = json.dumps(document).encode()
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Type: application/x-amz-json-1.0\r\n"
                f"Date: {formatdate(usegmt=True)}\r\nContent-Length: {len(data)}\r\n\r\n".encode()
                + data
            )
            await writer.drain()
    writer.close()


async def _main() -> None:
    service = LeanSqs()
    server = await asyncio.start_server(
        lambda reader, writer: _serve_connection(service, reader, writer), _HOST, 0, limit=16 * 1024 * 1024
    )
    port = server.sockets[0].getsockname()[1]
    service.base = f"http://{_HOST}:{port}/000000000000/"
    print(port, flush=True)  # noqa: T201 - what the parent reads
    # The parent's end of stdin closes when it ends, however it does.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


@contextlib.contextmanager
def lean_sqs() -> Iterator[str]:
    """Run the service in a process of its own; give its endpoint."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.lean_sqs"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process:
        try:
            yield f"http://{_HOST}:{int(process.stdout.readline())}"
        finally:
            process.kill()


def ask(endpoint: str, action: str, **request: Any) -> Any:
    """Call what boto3 does not know: Fill and Audit."""
    import urllib.request

    asked = urllib.request.Request(
        endpoint, json.dumps(request).encode(), headers={"X-Amz-Target": f"Test.{action}"}
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked) as answer:
        return json.loads(answer.read())


if __name__ == "__main__":
    asyncio.run(_main())
