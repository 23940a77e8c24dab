"""The protocol of the API that prove delivers to: who is answered, by which rules, and what is recorded."""

from __future__ import annotations

import hmac
import json
from typing import Any

import pytest

from fifo_cli.local.prove_receiver import MemoryStore
from fifo_cli.model.receiver_protocol import SECRET_HEADER, AnswerRules, Mode, Received
from fifo_cli.prove_api.api import MODES, ProveApi, Request, Response, sha256

SECRET = "s" * 32


class Caller:
    """Calls the API as prove and the worker do."""

    def __init__(self) -> None:
        self.api = ProveApi(sha256(SECRET), MemoryStore(), clock=lambda: 1700000000.5)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        path, _, query = path.partition("?")
        shown = {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.api.answer(Request(method, path, query, {SECRET_HEADER: SECRET, **shown}, content))

    def deliver(self, item: str = "a-1", **headers: str) -> Response:
        body = {"id": item, "group": "a", "number": 1, "note": "kept nowhere"}
        return self.call("POST", "/deliver", body, **{"idempotency_key": f"key-{item}", **headers})

    def rules(self, **values: Any) -> None:
        assert self.call("PUT", "/temper", AnswerRules(**values).document()).status == 200

    def received(self, after: int = 0) -> list[Received]:
        answer = self.call("GET", f"/received?after={after}")
        assert answer.status == 200
        return [Received.from_document(one) for one in answer.document["received"]]


@pytest.fixture
def caller() -> Caller:
    return Caller()


def test_a_delivery_is_recorded_with_the_names_of_its_item_and_no_body(caller: Caller) -> None:
    assert caller.deliver().status == 200
    assert caller.received() == [Received(1, "a-1", "a", 1, "key-a-1", 200, 1700000000.5)]
    assert b"nowhere" not in caller.call("GET", "/received").body


@pytest.mark.parametrize("secret", [None, "", "wrong", SECRET[:-1], SECRET + "s", SECRET.upper(), "é\udcff"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/deliver"), ("GET", "/received"), ("PUT", "/temper"), ("DELETE", "/received"), ("GET", "/")],
)
def test_who_does_not_know_the_secret_learns_nothing_and_changes_nothing(
    caller: Caller, secret: str | None, method: str, path: str
) -> None:
    caller.deliver()
    body = json.dumps({"id": "x", "group": "x", "number": 1, "mode": "503"}).encode()
    headers = {"idempotency-key": "k"} if secret is None else {SECRET_HEADER: secret, "idempotency-key": "k"}
    answer = caller.api.answer(Request(method, path, "", headers, body))
    assert (answer.status, answer.document, answer.headers) == (403, {"error": "forbidden"}, {})
    assert [one.id for one in caller.received()] == ["a-1"]
    assert caller.deliver().status == 200


def test_secret_and_key_are_compared_in_constant_time_and_kept_as_hashes(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[str, str]] = []

    def compare(one: str, other: str) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    caller.rules(key="the-key-of-the-api")
    compared.clear()
    caller.deliver(authorization="Bearer wrong")
    assert compared == [
        (sha256(SECRET), sha256(SECRET)),
        (sha256("wrong"), sha256("the-key-of-the-api")),
    ]
    assert "the-key" not in repr(caller.api.store.rules())
    assert SECRET not in repr(caller.api)


@pytest.mark.parametrize(
    ("rules", "status", "headers", "delay"),
    [
        ({"mode": Mode.OK}, 200, {}, 0.0),
        ({"mode": Mode.UNAVAILABLE}, 503, {}, 0.0),
        ({"mode": Mode.THROTTLED, "retry_after": 7}, 429, {"Retry-After": "7"}, 0.0),
        ({"mode": Mode.SLOW, "slow_seconds": 1.5}, 200, {}, 1.5),
        ({"mode": Mode.UNAUTHORIZED}, 401, {}, 0.0),
        ({"refuse": ("a-0", "a-1")}, 422, {}, 0.0),
        ({"refuse": ("a-0",)}, 200, {}, 0.0),
        ({"mode": Mode.UNAVAILABLE, "refuse": ("a-1",)}, 503, {}, 0.0),
    ],
)
def test_it_answers_by_its_temper_and_records_what_it_answered(
    caller: Caller, rules: dict[str, Any], status: int, headers: dict[str, str], delay: float
) -> None:
    caller.rules(**rules)
    answer = caller.deliver()
    assert (answer.status, answer.headers, answer.delay) == (status, headers, delay)
    assert [one.status for one in caller.received()] == [status]


def test_every_mode_of_the_protocol_is_one_of_the_api() -> None:
    assert set(MODES) == set(Mode)


def test_it_answers_401_until_the_key_is_rotated(caller: Caller) -> None:
    caller.rules(key="new-key", refuse=("a-2",))
    statuses = [
        caller.deliver(item, **headers).status
        for item, headers in (
            ("a-1", {}),
            ("a-1", {"authorization": "Bearer old-key"}),
            ("a-1", {"authorization": "new-key"}),
            ("a-2", {"authorization": "Bearer old-key"}),
            ("a-1", {"authorization": "bearer new-key"}),
            ("a-2", {"authorization": "Bearer new-key"}),
        )
    ]
    assert statuses == [401, 401, 401, 401, 200, 422]


def test_what_came_is_read_from_a_number_on_and_numbers_go_on_after_it_is_forgotten(caller: Caller) -> None:
    for number in range(5):
        caller.deliver(f"a-{number}")
    assert [one.n for one in caller.received(3)] == [4, 5]
    assert caller.call("GET", "/received?after=3").document["next"] == 5
    assert caller.call("GET", "/received?after=9").document == {"received": [], "next": 9}
    assert caller.call("DELETE", "/received").status == 200
    assert caller.received() == []
    caller.deliver()
    assert [one.n for one in caller.received()] == [6]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/deliver", b"not json", 400),
        ("POST", "/deliver", b"[" * 100_000, 400),
        ("POST", "/deliver", b" " * 300_001, 400),
        ("POST", "/deliver", [], 400),
        ("POST", "/deliver", {"id": 1, "group": "a", "number": 1}, 400),
        ("POST", "/deliver", {"id": "a" * 257, "group": "a", "number": 1}, 400),
        ("POST", "/deliver", {"id": "a", "group": "", "number": 1}, 400),
        ("POST", "/deliver", {"id": "a", "group": "a", "number": True}, 400),
        ("POST", "/deliver", {"id": "a", "group": "a", "number": 1.5}, 400),
        ("PUT", "/temper", {"mode": "broken"}, 400),
        ("PUT", "/temper", {"mode": ["ok"]}, 400),
        ("PUT", "/temper", {"mood": "ok"}, 400),
        ("PUT", "/temper", {"retry_after": -1}, 400),
        ("PUT", "/temper", {"retry_after": 1.5}, 400),
        ("PUT", "/temper", {"slow_seconds": 21}, 400),
        ("PUT", "/temper", {"slow_seconds": float("nan")}, 400),
        ("PUT", "/temper", {"key": ""}, 400),
        ("PUT", "/temper", {"refuse": [1]}, 400),
        ("PUT", "/temper", {"refuse": "a-1"}, 400),
        ("PUT", "/temper", {"refuse": ["a"] * 1001}, 400),
        ("GET", "/received?after=-1", None, 400),
        ("GET", "/received?after=" + "9" * 400, None, 400),
        ("GET", "/received?after=\u0661", None, 400),
        ("GET", "/deliver", None, 404),
        ("POST", "/", None, 404),
        ("DELETE", "/temper", None, 404),
    ],
)
def test_what_the_protocol_does_not_have_is_refused_and_changes_nothing(
    caller: Caller, method: str, path: str, body: Any, status: int
) -> None:
    answer = caller.call(method, path, body, idempotency_key="k")
    assert answer.status == status
    assert answer.document["error"]
    assert caller.received() == []
    assert caller.deliver().status == 200


def test_a_delivery_without_an_idempotency_key_is_refused(caller: Caller) -> None:
    body = {"id": "a", "group": "a", "number": 1}
    assert caller.call("POST", "/deliver", body).status == 400
