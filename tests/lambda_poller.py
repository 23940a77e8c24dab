"""Lambda's poller of a FIFO queue and the functions that it invokes, on a clock that is simulated.

What the poller does (docs.aws.amazon.com/lambda: with-sqs, services-sqs-scaling, services-sqs-errorhandling):
it receives up to ten messages, and invokes a function with them; as many functions side by side as the
mapping's MaximumConcurrency; then it deletes what the answer does not list as failed. It never changes a
visibility timeout. A function that raises, or ends otherwise, has failed with all of its batch.

Every function runs in a thread, and one thread at a time: at each call of SQS or of the API (``pause``) the
next one in simulated time goes on. So a history is repeatable, and calls side by side overlap as on AWS.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.fakes import Clock

Handler = Callable[[Mapping[str, Any], Any], Any]
BATCH_SIZE = 10


class Killed(BaseException):
    """The function is at its end: out of time, or killed."""


@dataclass(eq=False)
class Function:
    """An execution environment: it handles one batch at a time. ``start`` makes its handler."""

    start: Callable[[], Handler]
    polls_at: float = 0.0
    handler: Handler | None = None
    invocation: Invocation | None = None


@dataclass(eq=False)
class Invocation:
    """One batch in a function; ``wakes_at`` is when it goes on."""

    function: Function
    messages: list[dict[str, Any]]
    wakes_at: float
    deadline: float
    clock: Callable[[], float]
    killed: bool = False
    done: bool = False
    answer: Any = None
    error: BaseException | None = None
    turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def get_remaining_time_in_millis(self) -> int:
        """What Lambda's context says."""
        return max(0, int((self.deadline - self.clock()) * 1000))


class Poller:
    """Polls ``url`` of ``sqs``; ``visibility`` is the queue's, ``timeout`` the functions', in seconds.

    ``choose`` one of so many functions that could go on; ``delay`` is from a receive to its invocation.
    """

    def __init__(
        self,
        sqs: Any,
        url: str,
        clock: Clock,
        start: Callable[[], Handler],
        *,
        max_functions: int = 2,
        timeout: float = 60,
        visibility: float = 360,
        choose: Callable[[int], int] = lambda count: 0,
        delay: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.sqs = sqs
        self.url = url
        self.clock = clock
        self.timeout = timeout
        self.visibility = visibility
        self.functions = [Function(start) for _ in range(max_functions)]
        self.invocations = 0
        self.receives = 0
        self.ended: list[Invocation] = []
        self._choose = choose
        self._delay = delay
        self._current: Invocation | None = None
        self._main = threading.Semaphore(0)

    def run(self, until: Callable[[], bool] = lambda: False, *, seconds: float = float("inf")) -> None:
        """Go on until ``until``, until so much time has passed, or until there is nothing more to do."""
        end = self.clock() + seconds
        while not until():
            waiting = [
                (function.invocation.wakes_at if function.invocation else function.polls_at, function)
                for function in self.functions
            ]
            now = min(at for at, _ in waiting)
            if now > end or now == float("inf"):
                self.clock.now = max(self.clock.now, min(now, end) if end < float("inf") else self.clock.now)
                return
            self.clock.now = max(self.clock.now, now)
            due = [function for at, function in waiting if at <= self.clock.now]
            function = due[self._choose(len(due))]
            if function.invocation:
                self._go_on(function.invocation)
            else:
                self._poll(function)

    def pause(self, seconds: float = 0.0) -> None:
        """What a function does takes so long: let others go on meanwhile. Raises Killed at its end."""
        invocation = self._current
        if invocation is None:
            self.clock.sleep(seconds)
            return
        if not invocation.killed:
            invocation.wakes_at = min(self.clock() + seconds, invocation.deadline)
            self._main.release()
            invocation.turn.acquire()
            invocation.killed = invocation.killed or self.clock() >= invocation.deadline
        if invocation.killed:
            raise Killed

    def kill(self) -> None:
        """End the function that is running, here and now."""
        assert self._current is not None
        self._current.killed = True
        raise Killed

    @property
    def has_killed(self) -> bool:
        """Whether the function that runs is at its end: what it still does has no effect."""
        return self._current is not None and self._current.killed

    def wake(self, seconds: float = 0.0) -> None:
        """Something is visible then, perhaps: whoever waits for messages looks again."""
        for function in self.functions:
            function.polls_at = min(function.polls_at, self.clock() + seconds)

    def _poll(self, function: Function) -> None:
        self.receives += 1
        answer = self.sqs.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=BATCH_SIZE, VisibilityTimeout=self.visibility
        )
        messages = answer.get("Messages", [])
        if not messages:
            groups = self.sqs.queues[self.url].groups.values()
            hidden = [one.visible_at for group in groups for one in group if one.visible_at > self.clock()]
            function.polls_at = min(hidden, default=float("inf"))
            return
        self.invocations += 1
        begins = self.clock() + self._delay()
        invocation = Invocation(function, messages, begins, begins + self.timeout, self.clock)
        function.invocation = invocation
        threading.Thread(target=self._invoke, args=(invocation,), daemon=True).start()

    def _invoke(self, invocation: Invocation) -> None:
        invocation.turn.acquire()
        function = invocation.function
        event = {"Records": [record(message) for message in invocation.messages]}
        try:
            if function.handler is None:
                function.handler = function.start()
            invocation.answer = function.handler(event, invocation)
        except BaseException as error:  # noqa: BLE001 - all of it means that the function failed
            invocation.error = error
        invocation.done = True
        self._main.release()

    def _go_on(self, invocation: Invocation) -> None:
        self._current = invocation
        invocation.turn.release()
        self._main.acquire()
        self._current = None
        if invocation.done:
            self._finish(invocation)

    def _finish(self, invocation: Invocation) -> None:
        function = invocation.function
        function.invocation, function.polls_at = None, self.clock()
        self.ended.append(invocation)
        if invocation.killed:
            function.handler = None
        elif invocation.error is None:
            failed = failed_ids(invocation.answer, [one["MessageId"] for one in invocation.messages])
            for message in invocation.messages:
                if message["MessageId"] not in failed:
                    self._delete(message)
        self.wake()

    def _delete(self, message: Mapping[str, Any]) -> None:
        try:
            self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        except Exception:  # noqa: BLE001 - deleted by the function, or no longer ours
            return


def failed_ids(answer: Any, ids: list[str]) -> set[str]:
    """Read a function's answer as Lambda does: which messages stay.

    ``{}``, null and an empty or null list mean success. A wrong key, an id that is empty, null or unknown,
    and what is not JSON mean that all have failed.
    """
    try:
        answer = json.loads(json.dumps(answer))
    except (TypeError, ValueError):
        return set(ids)
    if answer is None or answer == {}:
        return set()
    if not isinstance(answer, dict) or "batchItemFailures" not in answer:
        return set(ids)
    try:
        failed = {item["itemIdentifier"] for item in answer["batchItemFailures"] or []}
    except (TypeError, KeyError):
        return set(ids)
    return failed if failed <= set(ids) else set(ids)


def record(message: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a message as boto3 has it into what Lambda hands over."""
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": dict(message["Attributes"]),
        "messageAttributes": {
            name: _attribute(value) for name, value in message.get("MessageAttributes", {}).items()
        },
        "md5OfBody": message.get("MD5OfBody", ""),
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:main.fifo",
        "awsRegion": "us-east-1",
    }


def _attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {"stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}
    if "StringValue" in value:
        shown["stringValue"] = value["StringValue"]
    if "BinaryValue" in value:
        shown["binaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
    return shown
