"""Functions as Lambda's poller invokes them, each a process: the worker's handler on an SQS over HTTP.

Run as ``python -m tests.integration.queue_functions FOLDER``. The messages are lean_sqs's of ``Fill``:
each has its number. A call of the API is two lines of ``FOLDER/calls``, in the order in which all
calls began and ended: ``begin N PID`` and ``end N PID STATUS``. While ``FOLDER/down`` exists the API answers
503. When ``FOLDER/stop`` does, the process ends, and ``FOLDER/done-PID`` says what it did.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx

from fifo_cli.handlers import clients, worker
from fifo_cli.handlers.api_keys import Keys
from fifo_cli.handlers.delivery import ApiDelivery
from fifo_cli.handlers.runtime import Runtime, WorkerSettings
from tests.lambda_poller import failed_ids, record
from tests.unit.plain_api import API

TIMEOUT = 8.0
NEEDS = 3.0
VISIBILITY = 20
RETRY = (1.0, 2.0)
_API = replace(API, url="https://api.test/", timeout=1)
_SETTINGS = Runtime(
    pipeline="p",
    main="main.fifo",
    dlq="dlq.fifo",
    events=(),
    where=None,
    body=None,
    group=None,
    messages_per_run=10,
    run_needs=NEEDS,
    apis=(_API,),
    message_code=None,
    request_code=None,
    worker=WorkerSettings("queue", retry_first=RETRY[0], retry_longest=RETRY[1]),
)


class Function:
    """One execution environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = os.open(folder / "calls", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.down = str(folder / "down")
        self.delivered = self.batches = 0
        self.cpu = 0.0  # seconds that the handler took
        self.sqs = clients.direct_sqs()
        urls = {name: clients.queue_url(self.sqs, f"{name}.fifo") for name in ("main", "dlq")}
        self.main = urls["main"]
        delivery = ApiDelivery((_API,), Keys(None, {}), transport=httpx.MockTransport(self._answer))
        worker._environment = lambda: (_SETTINGS, urls, self.sqs, delivery)  # type: ignore[assignment]

    def run(self) -> None:
        """Receive, invoke and delete as the poller does, until told to stop."""
        while not (self.folder / "stop").exists():
            answer = self.sqs.receive_message(
                QueueUrl=self.main,
                MaxNumberOfMessages=10,
                VisibilityTimeout=VISIBILITY,
                WaitTimeSeconds=1,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["All"],
            )
            if messages := answer.get("Messages", []):
                self._invoke(messages)

    def _invoke(self, messages: list[Any]) -> None:
        end = time.monotonic() + TIMEOUT
        context = SimpleNamespace(get_remaining_time_in_millis=lambda: 1000 * (end - time.monotonic()))
        event = {"Records": [record(message) for message in messages]}
        began = time.process_time()
        answer: Any = "failed"
        with contextlib.suppress(worker.RunEndedEarlyError):
            answer = worker.handler(event, context)
        self.cpu += time.process_time() - began
        self.batches += 1
        failed = failed_ids(answer, [message["MessageId"] for message in messages])
        for message in messages:
            if message["MessageId"] not in failed:
                self.delivered += 1  # and deleted, by the handler

    def _answer(self, request: httpx.Request) -> httpx.Response:
        number, _ = json.loads(request.content)
        status = 503 if os.path.exists(self.down) else 200
        os.write(self.calls, f"begin {number} {os.getpid()}\n".encode())
        os.write(self.calls, f"end {number} {os.getpid()} {status}\n".encode())
        return httpx.Response(status)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    function = Function(folder)
    function.run()
    done = {"delivered": function.delivered, "batches": function.batches, "cpu": function.cpu}
    (folder / f"done-{os.getpid()}").write_text(json.dumps(done))
