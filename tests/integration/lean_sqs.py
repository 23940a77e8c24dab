"""An SQS of FIFO queues over HTTP whose calls cost the same however long the queues are.

The embedded stack scans its queue at every call, so that 100,000 messages would take hours there. This one
keeps the rules that matter to what moves messages, and follows AWS where the stack does not: a receive
fills its answer from one group first, an expired receipt handle is refused, a receive repeated with its
ReceiveRequestAttemptId gets the same answer, trace headers survive batches. test_fake_is_true.py holds it
to the rules.

Run as ``python -m tests.integration.lean_sqs``; it prints its port. ``Test.Fill`` and ``Test.Audit`` fill a
queue, and say how many messages it holds and whether its groups are in order, without 20,000 calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import heapq
import itertools
import json
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

DEDUP_SECONDS = 300.0
TASK_RATE = 50.0
_HOST = "127.0.0.1"
_ATTEMPTS_KEPT = 1000


class Refused(Exception):
    """An error answer."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True, eq=False)
class Message:
    id: str
    body: str
    group: str
    dedup_id: str
    sequence: int
    sent_at: float
    attributes: dict[str, Any] | None
    trace_header: str | None
    hidden_until: float = 0.0
    handle: str | None = None
    receives: int = 0
    first_received_at: float = 0.0


@dataclass(slots=True, eq=False)
class Group:
    messages: deque[Message] = field(default_factory=deque)
    hidden: int = 0


@dataclass(slots=True, eq=False)
class MoveTask:
    """A message move task; it moves ``TASK_RATE`` messages a second, as it is looked at."""

    source: LeanQueue
    target: LeanQueue
    started: float
    total: int
    moved: int = 0
    status: str = "RUNNING"

    @property
    def handle(self) -> str:
        return f"task-{self.source.tasks.index(self)}-{self.source.name}"

    def shown(self) -> dict[str, Any]:
        running = {"TaskHandle": self.handle} if self.status == "RUNNING" else {}
        return {
            "Status": self.status,
            "SourceArn": _arn(self.source),
            "DestinationArn": _arn(self.target),
            "StartedTimestamp": int(self.started * 1000),
            "ApproximateNumberOfMessagesMoved": self.moved,
            "ApproximateNumberOfMessagesToMove": self.total,
            **running,
        }


@dataclass(slots=True, eq=False)
class LeanQueue:
    name: str
    url: str
    attributes: dict[str, str]
    tags: dict[str, str] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    ready: deque[str] = field(default_factory=deque)  # groups with messages, none of them hidden
    in_flight: dict[str, Message] = field(default_factory=dict)  # by receipt handle
    expiries: list[tuple[float, int, Message]] = field(default_factory=list)
    dedup: dict[str, tuple[float, str, int]] = field(default_factory=dict)
    attempts: dict[str, list[Message]] = field(default_factory=dict)
    count: int = 0
    tasks: list[MoveTask] = field(default_factory=list)

    def expire(self, now: float) -> None:
        """Make visible what was hidden for long enough."""
        while self.expiries and self.expiries[0][0] <= now:
            until, _, message = heapq.heappop(self.expiries)
            if message.handle is not None and message.hidden_until == until:
                self.show(message)

    def show(self, message: Message) -> None:
        del self.in_flight[message.handle or ""]
        message.handle = None
        self.unhide(self.groups[message.group], message.group)

    def unhide(self, group: Group, name: str) -> None:
        group.hidden -= 1
        if group.hidden:
            return
        if group.messages:
            self.ready.append(name)
        else:
            del self.groups[name]

    def held(self, handle: str) -> Message:
        message = self.in_flight.get(handle)
        if message is None:
            raise Refused("ReceiptHandleIsInvalid", "The receipt handle has expired.")
        return message


class LeanSqs:
    """The service."""

    def __init__(self) -> None:
        self.queues: dict[str, LeanQueue] = {}
        self.counts: Counter[str] = Counter()
        self._numbers = itertools.count(1)
        self.base = ""

    async def call(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        """Answer a call; raises Refused."""
        self.counts[action] += 1
        if action == "ReceiveMessage":
            return await self._receive_message(request)
        method: Callable[[dict[str, Any]], dict[str, Any]] | None = getattr(self, f"do_{action}", None)
        if method is None:
            raise Refused("InvalidAction", f"The action {action} is not valid for this endpoint.")
        return method(request)

    def do_CreateQueue(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["QueueName"]
        queue = LeanQueue(name, f"{self.base}/000000000000/{name}", request.get("Attributes", {}))
        return {"QueueUrl": self.queues.setdefault(name, queue).url}

    def do_GetQueueUrl(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"QueueUrl": self._queue({"QueueUrl": f"/{request['QueueName']}"}).url}

    def do_GetQueueAttributes(self, request: dict[str, Any]) -> dict[str, Any]:
        queue = self._queue(request)
        queue.expire(time.time())
        flying = len(queue.in_flight)
        return {
            "Attributes": {
                **queue.attributes,
                "QueueArn": _arn(queue),
                "ApproximateNumberOfMessages": str(queue.count - flying),
                "ApproximateNumberOfMessagesNotVisible": str(flying),
                "ApproximateNumberOfMessagesDelayed": "0",
            }
        }

    def do_ListQueueTags(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"Tags": self._queue(request).tags}

    def do_TagQueue(self, request: dict[str, Any]) -> dict[str, Any]:
        self._queue(request).tags.update(request["Tags"])
        return {}

    def do_UntagQueue(self, request: dict[str, Any]) -> dict[str, Any]:
        for key in request["TagKeys"]:
            self._queue(request).tags.pop(key, None)
        return {}

    def do_SendMessage(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._send(self._queue(request), request)

    def do_SendMessageBatch(self, request: dict[str, Any]) -> dict[str, Any]:
        queue = self._queue(request)
        return {
            "Successful": [{"Id": each["Id"], **self._send(queue, each)} for each in request["Entries"]],
            "Failed": [],
        }

    def do_DeleteMessage(self, request: dict[str, Any]) -> dict[str, Any]:
        self._delete(self._queue(request), request)
        return {}

    def do_DeleteMessageBatch(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._each(request, self._delete)

    def do_ChangeMessageVisibility(self, request: dict[str, Any]) -> dict[str, Any]:
        self._hide(self._queue(request), request)
        return {}

    def do_ChangeMessageVisibilityBatch(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._each(request, self._hide)

    def do_PurgeQueue(self, request: dict[str, Any]) -> dict[str, Any]:
        queue = self._queue(request)
        for each in (queue.groups, queue.ready, queue.in_flight, queue.expiries, queue.dedup):
            each.clear()
        queue.count = 0
        return {}

    def do_ListDeadLetterSourceQueues(self, request: dict[str, Any]) -> dict[str, Any]:
        arn = _arn(self._queue(request))
        sources = [one for one in self.queues.values() if arn in one.attributes.get("RedrivePolicy", "")]
        return {"queueUrls": [one.url for one in sources]}

    def do_StartMessageMoveTask(self, request: dict[str, Any]) -> dict[str, Any]:
        source, target = (self._queue({"QueueUrl": request[key].replace(":", "/")}) for key in _TASK_ENDS)
        if source.tasks and source.tasks[-1].status == "RUNNING":
            raise Refused("InvalidParameterValue", "There is already a task running.")
        task = MoveTask(source, target, time.time(), source.count)
        source.tasks.append(task)
        return {"TaskHandle": task.handle}

    def do_ListMessageMoveTasks(self, request: dict[str, Any]) -> dict[str, Any]:
        tasks = self._queue({"QueueUrl": request["SourceArn"].replace(":", "/")}).tasks
        for task in tasks:
            self._go_on(task)
        return {"Results": [task.shown() for task in reversed(tasks)][: request.get("MaxResults", 1)]}

    def _go_on(self, task: MoveTask) -> None:
        while task.status == "RUNNING" and task.moved < (time.time() - task.started) * TASK_RATE:
            given = self._give(task.source, {"MaxNumberOfMessages": 1}, time.time())
            for message in given:
                entry = {"MessageBody": message.body, "MessageGroupId": message.group}
                self._send(task.target, {**entry, "MessageDeduplicationId": message.id})
                self._delete(task.source, {"ReceiptHandle": message.handle})
            task.moved += len(given)
            if not given:
                task.status = "COMPLETED"

    def do_CancelMessageMoveTask(self, request: dict[str, Any]) -> dict[str, Any]:
        tasks = self._queue({"QueueUrl": f"/{request['TaskHandle'].split('-', 2)[2]}"}).tasks
        if not tasks or tasks[-1].handle != request["TaskHandle"] or tasks[-1].status != "RUNNING":
            raise Refused("ResourceNotFoundException", "There is no such task running.")
        tasks[-1].status = "CANCELLED"
        return {"ApproximateNumberOfMessagesMoved": tasks[-1].moved}

    def do_Fill(self, request: dict[str, Any]) -> dict[str, Any]:
        """Put in ``Count`` messages [0,"…"], [1,"…"], …, the groups taking turns."""
        queue, filling, now = self._queue(request), "x" * request.get("Bytes", 100), time.time_ns()
        for number in range(request["Count"]):
            group = f"g{number % request['Groups']}"
            entry = {"MessageBody": f'[{number},"{filling}"]', "MessageGroupId": group}
            self._send(queue, {**entry, "MessageDeduplicationId": f"fill-{now}-{number}"})
        return {}

    def do_Audit(self, request: dict[str, Any]) -> dict[str, Any]:
        """Say how many messages there are, how many different ones, and which groups are out of order."""
        queue = self._queue(request)
        numbers = {
            name: [int(message.body[1 : message.body.index(",")]) for message in group.messages]
            for name, group in queue.groups.items()
        }
        return {
            "Count": queue.count,
            "Different": len({number for group in numbers.values() for number in group}),
            "Disordered": [name for name, group in numbers.items() if group != sorted(group)],
            "Calls": dict(self.counts),
        }

    async def _receive_message(self, request: dict[str, Any]) -> dict[str, Any]:
        queue = self._queue(request)
        deadline = time.time() + request.get("WaitTimeSeconds", 0)
        while True:
            now = time.time()
            queue.expire(now)
            given = self._give(queue, request, now)
            if given or now >= deadline:
                return {"Messages": [_shown(message) for message in given]} if given else {}
            await asyncio.sleep(min(0.02, deadline - now))

    def _give(self, queue: LeanQueue, request: dict[str, Any], now: float) -> list[Message]:
        attempt = request.get("ReceiveRequestAttemptId")
        until = now + request.get("VisibilityTimeout", 30)
        if attempt in queue.attempts:
            again = queue.attempts[attempt]
            if all(message.handle in queue.in_flight for message in again):
                for message in again:
                    self._hide_until(queue, message, until)
                return again
        given: list[Message] = []
        while queue.ready and len(given) < request.get("MaxNumberOfMessages", 1):
            name = queue.ready.popleft()
            group = queue.groups[name]
            for message in itertools.islice(group.messages, request["MaxNumberOfMessages"] - len(given)):
                number = next(self._numbers)
                message.handle = f"handle-{number}-{message.id}"
                message.receives += 1
                message.first_received_at = message.first_received_at or now
                queue.in_flight[message.handle] = message
                self._hide_until(queue, message, until)
                group.hidden += 1
                given.append(message)
        if attempt and given:
            queue.attempts[attempt] = given
            if len(queue.attempts) > _ATTEMPTS_KEPT:
                del queue.attempts[next(iter(queue.attempts))]
        return given

    def _hide_until(self, queue: LeanQueue, message: Message, until: float) -> None:
        message.hidden_until = until
        heapq.heappush(queue.expiries, (until, next(self._numbers), message))

    def _hide(self, queue: LeanQueue, request: dict[str, Any]) -> None:
        now = time.time()
        queue.expire(now)
        message = queue.held(request["ReceiptHandle"])
        if request["VisibilityTimeout"]:
            self._hide_until(queue, message, now + request["VisibilityTimeout"])
        else:
            queue.show(message)

    def _delete(self, queue: LeanQueue, request: dict[str, Any]) -> None:
        queue.expire(time.time())
        message = queue.held(request["ReceiptHandle"])
        del queue.in_flight[request["ReceiptHandle"]]
        message.handle = None
        group = queue.groups[message.group]
        group.messages.remove(message)  # near the front, where it was given out
        queue.count -= 1
        queue.unhide(group, message.group)

    def _send(self, queue: LeanQueue, entry: dict[str, Any]) -> dict[str, Any]:
        now, dedup_id = time.time(), entry["MessageDeduplicationId"]
        digest = hashlib.md5(entry["MessageBody"].encode()).hexdigest()
        seen_at, seen_id, seen_number = queue.dedup.get(dedup_id, (-DEDUP_SECONDS, "", 0))
        if now - seen_at < DEDUP_SECONDS:
            return {"MessageId": seen_id, "MD5OfMessageBody": digest, "SequenceNumber": str(seen_number)}
        number = next(self._numbers)
        header = entry.get("MessageSystemAttributes", {}).get("AWSTraceHeader", {}).get("StringValue")
        message = Message(
            f"m-{number:032x}",
            entry["MessageBody"],
            entry["MessageGroupId"],
            dedup_id,
            number,
            now,
            entry.get("MessageAttributes"),
            header,
        )
        queue.dedup[dedup_id] = (now, message.id, number)
        group = queue.groups.get(message.group)
        if group is None:
            group = queue.groups[message.group] = Group()
        if not group.messages:
            queue.ready.append(message.group)
        group.messages.append(message)
        queue.count += 1
        return {"MessageId": message.id, "MD5OfMessageBody": digest, "SequenceNumber": str(number)}

    def _each(
        self, request: dict[str, Any], act: Callable[[LeanQueue, dict[str, Any]], None]
    ) -> dict[str, Any]:
        queue = self._queue(request)
        answer: dict[str, Any] = {"Successful": [], "Failed": []}
        for entry in request["Entries"]:
            try:
                act(queue, entry)
                answer["Successful"].append({"Id": entry["Id"]})
            except Refused as error:
                failure = {"Code": error.code, "Message": str(error), "SenderFault": True}
                answer["Failed"].append({"Id": entry["Id"], **failure})
        return answer

    def _queue(self, request: dict[str, Any]) -> LeanQueue:
        name = request["QueueUrl"].rpartition("/")[2]
        if name not in self.queues:
            raise Refused("QueueDoesNotExist", "The specified queue does not exist.")
        return self.queues[name]


_TASK_ENDS = ("SourceArn", "DestinationArn")


def _arn(queue: LeanQueue) -> str:
    return f"arn:aws:sqs:us-east-1:000000000000:{queue.name}"


def _shown(message: Message) -> dict[str, Any]:
    system = {
        "MessageGroupId": message.group,
        "MessageDeduplicationId": message.dedup_id,
        "SequenceNumber": str(message.sequence),
        "SentTimestamp": str(int(message.sent_at * 1000)),
        "ApproximateReceiveCount": str(message.receives),
        "ApproximateFirstReceiveTimestamp": str(int(message.first_received_at * 1000)),
    }
    if message.trace_header:
        system["AWSTraceHeader"] = message.trace_header
    shown = {
        "MessageId": message.id,
        "ReceiptHandle": message.handle,
        "Body": message.body,
        "Attributes": system,
    }
    return {**shown, "MessageAttributes": message.attributes} if message.attributes else shown


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
            except Refused as error:
                status = "400 Bad Request"
                document = {"__type": f"com.amazonaws.sqs#{error.code}", "message": str(error)}
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
    service.base = f"http://{_HOST}:{port}"
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
