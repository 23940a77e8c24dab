"""The function behind a URL: its events and answers, and its memory in a table, on moto."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from fifo_cli.prove_api import function as module
from fifo_cli.prove_api.api import AnswerRules, RecordedDelivery, Response, sha256
from fifo_cli.prove_api.function import TableStore, answer_of, request_of


@pytest.fixture
def dynamodb() -> Iterator[Any]:
    with mock_aws():
        client = boto3.client(
            "dynamodb", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
        )
        client.create_table(
            TableName="t",
            KeySchema=[
                {"AttributeName": "kind", "KeyType": "HASH"},
                {"AttributeName": "n", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "kind", "AttributeType": "S"},
                {"AttributeName": "n", "AttributeType": "N"},
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        yield client


def delivery(number: int, group: str = "a") -> RecordedDelivery:
    return RecordedDelivery(f"{group}-{number}", group, number, f"k-{group}-{number}", 200, 1700000000.25)


def test_the_temper_is_kept_whole(dynamodb: Any) -> None:
    store = TableStore(dynamodb, "t")
    assert store.rules() == AnswerRules()
    rules = AnswerRules("429", 7, 1.5, sha256("key"), ("a-1", "é"))
    store.set_rules(rules)
    assert TableStore(dynamodb, "t").rules() == rules


def test_deliveries_are_numbered_in_their_order_and_read_from_a_number_on(
    dynamodb: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = TableStore(dynamodb, "t")
    assert store.since(0) == []
    for number in range(1, 8):
        store.append(delivery(number))
    assert store.since(0) == [(number, delivery(number)) for number in range(1, 8)]
    assert [number for number, _ in store.since(5)] == [6, 7]
    # Page after page there is no gap.
    monkeypatch.setattr(module, "_PAGE", 3)
    assert [number for number, _ in store.since(0)] == [1, 2, 3]
    assert [number for number, _ in store.since(3)] == [4, 5, 6]
    store.forget()
    assert store.since(0) == []
    store.append(delivery(8))
    assert store.since(0) == [(8, delivery(8))]


class Wrapped:
    """A client whose writes something happens to."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def store_of(client: Any) -> TableStore:
    return TableStore(client, "t")


class Late(Wrapped):
    """A client for whom another call is faster than this one's next write."""

    def __init__(self, client: Any, others: int) -> None:
        super().__init__(client)
        self._others = others

    def put_item(self, **arguments: Any) -> Any:
        if self._others:
            self._others -= 1
            TableStore(self._client, "t").append(delivery(self._others, "other"))
        return self._client.put_item(**arguments)


def test_a_number_that_another_call_took_is_left_to_it(dynamodb: Any) -> None:
    store_of(Late(dynamodb, 3)).append(delivery(1, "own"))
    assert [one.group for _, one in TableStore(dynamodb, "t").since(0)] == ["other"] * 3 + ["own"]


class Repeating(Wrapped):
    """A client that loses the answer to each write and makes the call again, as botocore does."""

    def put_item(self, **arguments: Any) -> Any:
        self._client.put_item(**arguments)
        return self._client.put_item(**arguments)


def test_a_write_whose_answer_was_lost_is_one_delivery(dynamodb: Any) -> None:
    store = store_of(Repeating(dynamodb))
    store.append(delivery(1))
    store.append(delivery(2))
    assert store.since(0) == [(1, delivery(1)), (2, delivery(2))]


class Atomic(Wrapped):
    """A client whose writes are atomic, as DynamoDB's are: moto looks at a condition, and writes later."""

    _lock = threading.Lock()

    def put_item(self, **arguments: Any) -> Any:
        with self._lock:
            return self._client.put_item(**arguments)


def test_side_by_side_each_delivery_has_a_number_and_each_groups_are_in_order(dynamodb: Any) -> None:
    def send(group: str) -> None:
        store = store_of(Atomic(dynamodb))
        for number in range(10):
            store.append(delivery(number, group))

    threads = [threading.Thread(target=send, args=(group,)) for group in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = TableStore(dynamodb, "t").since(0)
    assert [number for number, _ in found] == list(range(1, 41))
    for group in "abcd":
        assert [one.number for _, one in found if one.group == group] == list(range(10))


def event(body: str | None, **more: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {} if body is None else {"body": body}
    return {
        "version": "2.0",
        "rawPath": "/received",
        "rawQueryString": "after=3",
        "headers": {"X-Prove-Secret": "s"},
        "requestContext": {"http": {"method": "GET", "path": "/received"}},
        **shown,
        **more,
    }


@pytest.mark.parametrize(
    ("given", "body"),
    [
        (event(None), b""),
        (event('{"é": 1}'), '{"é": 1}'.encode()),
        (event(base64.b64encode(b"\xff\x00").decode(), isBase64Encoded=True), b"\xff\x00"),
    ],
)
def test_an_event_of_a_url_is_a_request(given: dict[str, Any], body: bytes) -> None:
    request = request_of(given)
    assert (request.method, request.path, request.query) == ("GET", "/received", "after=3")
    assert (dict(request.headers), request.body) == ({"x-prove-secret": "s"}, body)
    assert "s'" not in repr(request)


def test_an_answer_is_given_after_its_delay() -> None:
    slept: list[float] = []
    answer = answer_of(Response(429, {"error": "é"}, {"Retry-After": "7"}, 1.5), slept.append)
    assert slept == [1.5]
    assert (answer["statusCode"], json.loads(answer["body"])) == (429, {"error": "é"})
    assert answer["headers"]["Retry-After"] == "7"


def test_the_function_answers_by_what_its_environment_says(
    dynamodb: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("TABLE", "t"),
        ("SECRET_SHA256", sha256("s")),
        ("AWS_DEFAULT_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
    ):
        monkeypatch.setenv(name, value)
    module._api.cache_clear()
    TableStore(dynamodb, "t").append(delivery(1))
    try:
        answer = module.handler(event(None, rawQueryString=""), None)
        refused = module.handler(event(None, headers={"x-prove-secret": "other"}), None)
    finally:
        module._api.cache_clear()
    assert [one["id"] for one in json.loads(answer["body"])["received"]] == ["a-1"]
    assert refused["statusCode"] == 403
