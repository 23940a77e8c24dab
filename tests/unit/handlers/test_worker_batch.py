"""The worker's entry point, as Lambda's poller calls it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from fifo_cli.handlers import worker
from fifo_cli.handlers.api_keys import Keys
from fifo_cli.handlers.code_guard import CodeGuard, Notes
from fifo_cli.handlers.delivery import ApiDelivery
from fifo_cli.handlers.failure import ConfigurationError
from fifo_cli.handlers.runtime import Runtime, UserCodeError, WorkerSettings
from tests.fakes import Clock
from tests.lambda_poller import record
from tests.unit.handlers.queue_world import AwsRule
from tests.unit.plain_api import API, URLS

SETTINGS = Runtime(
    pipeline="p",
    main="main",
    dlq="dlq",
    events=(),
    where=None,
    body=None,
    group=None,
    messages_per_run=10,
    run_needs=15,
    apis=(API,),
    message_code=None,
    request_code=None,
    worker=WorkerSettings(trigger="queue"),
)
CONTEXT = SimpleNamespace(get_remaining_time_in_millis=lambda: 60_000)


class Lambda:
    """An execution environment; ``answer`` is the API's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sqs: Any = AwsRule(Clock(), "main", "dlq")
        self.answer: Callable[[httpx.Request], httpx.Response] = lambda request: httpx.Response(200)
        self.requests: list[httpx.Request] = []
        transport = httpx.MockTransport(self._receive)
        delivery = ApiDelivery((replace(API, headers={"X-Test": "1"}),), Keys(None, {}), transport=transport)
        self.environment = (SETTINGS, URLS, self.sqs, delivery)
        self.fault: Exception | None = None
        monkeypatch.setattr(worker, "_environment", self._environment)

    def invoke(self, *bodies: str) -> Any:
        for number, body in enumerate(bodies):
            self.sqs.send_message(
                QueueUrl="main",
                MessageBody=json.dumps(body),
                MessageGroupId="g",
                MessageDeduplicationId=str(number),
                MessageAttributes={"event_id": {"DataType": "String", "StringValue": f"e{number}"}},
            )
        answer = self.sqs.receive_message(QueueUrl="main", MaxNumberOfMessages=10, VisibilityTimeout=360)
        return worker.handler({"Records": [record(one) for one in answer["Messages"]]}, CONTEXT)

    def _environment(self) -> Any:
        if self.fault is not None:
            raise self.fault
        return self.environment

    def _receive(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self.answer(request)


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lambda]:
    worker._batch_worker.cache_clear()
    yield Lambda(monkeypatch)
    worker._batch_worker.cache_clear()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_batch_is_delivered_and_the_answer_names_nothing(function, capsys):
    assert function.invoke("1", "2") == {"batchItemFailures": []}
    assert [json.loads(request.content) for request in function.requests] == ["1", "2"]
    assert [request.headers["Idempotency-Key"] for request in function.requests] == ["e0", "e1"]
    logged = lines(capsys)
    assert [line["message"] for line in logged] == ["delivered", "delivered", "run ended"]
    end = {name: value for name, value in logged[-1].items() if name != "time"}
    assert end == {
        "level": "info",
        "message": "run ended",
        "trigger": "queue",
        "received": 2,
        "delivered": 2,
        "parked": 0,
        "failed": 0,
    }


def test_the_answer_names_what_was_not_deleted(function):
    function.answer = lambda request: httpx.Response(503 if request.content == b'"2"' else 200)
    assert function.invoke("1", "2", "3") == {
        "batchItemFailures": [{"itemIdentifier": "m2"}, {"itemIdentifier": "m3"}]
    }


def test_what_a_schedules_version_leaves_of_a_batch_is_a_failure_of_it_as_its_mapping_may_know_no_other(
    function,
):
    by_schedule = replace(SETTINGS, worker=WorkerSettings(trigger="schedule"))
    function.environment = (by_schedule, *function.environment[1:])
    function.answer = lambda request: httpx.Response(503 if request.content == b'"2"' else 200)
    with pytest.raises(worker.RunEndedEarlyError, match="2 of 3 messages wait: a mapping of the queue"):
        function.invoke("1", "2", "3")
    assert function.sqs.bodies("main") == ['"2"', '"3"']
    function.sqs.clock.now += 400
    function.answer = lambda request: httpx.Response(200)
    assert function.invoke() == {"batchItemFailures": []}


@pytest.mark.parametrize(
    ("error", "left", "parked"),
    [(ValueError("bad"), [], ['"2"']), (ConnectionError("no network"), ["m2", "m3"], [])],
)
def test_what_the_users_code_raises_is_the_messages_failure_or_the_apis(
    function, tmp_path, error, left, parked
):
    def code(body: Any, attributes: Any, keys: Any) -> httpx.Request:
        if body == "2":
            raise error
        return httpx.Request("POST", API.url, json=body)

    guard = CodeGuard("m:f", Notes(tmp_path), limit=30, calls_network=True)
    transport = httpx.MockTransport(function._receive)
    delivery = ApiDelivery((API,), Keys(None, {}), code=code, guard=guard, transport=transport)
    function.environment = (SETTINGS, URLS, function.sqs, delivery)
    try:
        answer = function.invoke("1", "2", "3")
    finally:
        delivery.close()
    assert [one["itemIdentifier"] for one in answer["batchItemFailures"]] == left
    assert function.sqs.bodies("dlq") == parked


def test_the_breaker_is_the_environments_and_holds_from_one_batch_to_the_next(function):
    assert function.invoke("1") == {"batchItemFailures": []}
    assert worker._batch_worker() is worker._batch_worker()


def test_what_ends_a_batch_early_is_raised_and_logged_and_nothing_of_it_is_success(function, capsys):
    def broken(request: httpx.Request) -> httpx.Response:
        raise ConfigurationError("/key", "is gone")

    function.answer = broken
    with pytest.raises(worker.RunEndedEarlyError, match="/key: is gone"):
        function.invoke("1", "2")
    logged = {line["message"]: line for line in lines(capsys)}
    assert logged["run failed"]["what"] == "/key"
    assert (logged["run ended"]["level"], logged["run ended"]["trigger"]) == ("error", "queue")
    assert function.sqs.bodies("main") == ['"1"', '"2"']


def test_an_environment_that_cannot_be_built_is_a_failure_of_the_whole_batch(function, capsys):
    function.fault = UserCodeError("m:f", "cannot be loaded")
    with pytest.raises(worker.RunEndedEarlyError, match="cannot be loaded"):
        function.invoke("1")
    assert [line["message"] for line in lines(capsys)] == ["run failed", "run ended"]


@pytest.mark.parametrize("source", ["aws:dynamodb", None])
def test_records_of_another_source_are_no_batch_of_messages(function, source):
    function.sqs.send_message(
        QueueUrl="main", MessageBody="1", MessageGroupId="g", MessageDeduplicationId="1"
    )
    answer = worker.handler({"Records": [{"eventSource": source}], "fifo_cli": {"count": 1}}, CONTEXT)
    assert answer["delivered"] == 1


def test_a_record_that_cannot_be_read_fails_the_batch(function):
    with pytest.raises(KeyError):
        worker.handler({"Records": [{"eventSource": "aws:sqs", "messageId": "m"}]}, CONTEXT)
