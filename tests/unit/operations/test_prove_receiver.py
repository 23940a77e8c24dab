"""Talking to the API that prove delivers to: what is waited out, what is not, and what is never sent."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from fifo_cli.aws.resources.gateway import Waiter
from fifo_cli.errors import UsageError
from fifo_cli.model.receiver_protocol import AnswerRules, Mode
from fifo_cli.operations.prove.receiver import HttpReceiver, ReceiverError, UnreachableError

Answer = Callable[[httpx.Request], httpx.Response]
URL = "https://api.example.com/prove/"
RECEIVED = {"id": "a-1", "group": "a", "number": 1, "key": "k", "status": 200, "at": 1.5}


class Wire:
    """What goes over the wire; time passes in pauses alone."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.now = 0.0

    def receiver(self, url: str = URL) -> HttpReceiver:
        waiter = Waiter(sleep=self.sleep, clock=lambda: self.now)
        return HttpReceiver(url, "the-secret", waiter, httpx.MockTransport(self.answer))

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_every_request_has_the_secret_and_no_repr_does() -> None:
    wire = Wire(httpx.Response(200, json={}))
    receiver = wire.receiver()
    receiver.set_rules(AnswerRules(mode=Mode.THROTTLED, retry_after=7, key="k", refuse=("a-1",)))
    receiver.forget()
    first, second = wire.requests
    assert (first.method, str(first.url)) == ("PUT", "https://api.example.com/prove/temper")
    assert first.headers["x-prove-secret"] == second.headers["x-prove-secret"] == "the-secret"
    assert b'"mode":"429"' in first.content
    assert (second.method, str(second.url)) == ("DELETE", "https://api.example.com/prove/received")
    assert "the-secret" not in repr(receiver)
    assert receiver.url == "https://api.example.com/prove"


def test_deliveries_are_read_page_after_page() -> None:
    wire = Wire(
        httpx.Response(200, json={"received": [{"n": 1, **RECEIVED}, {"n": 2, **RECEIVED}], "next": 2}),
        httpx.Response(200, json={"received": [{"n": 3, **RECEIVED}], "next": 3}),
        httpx.Response(200, json={"received": [], "next": 3}),
    )
    assert [one.n for one in wire.receiver().received()] == [1, 2, 3]
    assert [one.url.query for one in wire.requests] == [b"after=0", b"after=2", b"after=3"]


def test_a_stranger_is_one_without_the_secret_and_one_with_another() -> None:
    wire = Wire(httpx.Response(403))
    assert wire.receiver().strangers_get() == {403}
    assert [(one.method, one.headers.get("x-prove-secret")) for one in wire.requests] == [
        (method, secret) for method in ("GET", "PUT") for secret in (None, "terces-eht")
    ]
    with pytest.raises(ReceiverError, match="ConnectError"):
        Wire(httpx.ConnectError("no")).receiver().strangers_get()


@pytest.mark.parametrize("passing", [httpx.Response(503), httpx.Response(429), httpx.ConnectError("no")])
def test_a_moments_failure_is_waited_out(passing: httpx.Response | Exception) -> None:
    wire = Wire(passing, passing, httpx.Response(200, json={}))
    wire.receiver().forget()
    assert len(wire.requests) == 3


def test_a_failure_that_lasts_ends_the_wait() -> None:
    wire = Wire(httpx.Response(503))
    with pytest.raises(ReceiverError, match="still answering 503"):
        wire.receiver().forget()
    assert 20 < wire.now <= 120


def test_where_nothing_listens_the_wait_is_shorter_and_only_for_that() -> None:
    wire = Wire(httpx.ConnectError("refused"))
    with pytest.raises(UnreachableError, match="nothing is reached there") as caught:
        wire.receiver().forget()
    assert "see whether it runs" in caught.value.hint
    assert 20 < wire.now < 40
    wire = Wire(*[httpx.Response(503)] * 8, httpx.ConnectError("refused"), httpx.Response(200, json={}))
    wire.receiver().forget()
    assert wire.now > 20


def test_until_it_is_ready_even_403_is_waited_out_and_then_the_way_around_is_named() -> None:
    wire = Wire(httpx.Response(403), httpx.Response(502), httpx.Response(200, json={"received": []}))
    wire.receiver().wait_ready()
    wire = Wire(httpx.Response(403, json={"Message": "Forbidden"}))
    with pytest.raises(ReceiverError, match="still answering 403") as caught:
        wire.receiver().wait_ready()
    assert "--api URL" in caught.value.hint
    assert 100 < wire.now <= 120


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404])
def test_a_refusal_is_named_at_once(status: int) -> None:
    wire = Wire(httpx.Response(status, headers={"Location": "https://elsewhere.example/"}))
    with pytest.raises(ReceiverError, match=f"answered {status} to DELETE /prove/received") as caught:
        wire.receiver().forget()
    assert ("$FIFO_PROVE_SECRET" in caught.value.hint) == (status == 403)
    assert [one.url.host for one in wire.requests] == ["api.example.com"]


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={}),
        httpx.Response(200, json={"received": [{"n": "x"}], "next": 1}),
        httpx.Response(200, json={"received": [RECEIVED], "next": 1}),
        httpx.Response(200, json={"received": 7, "next": 1}),
    ],
)
def test_what_is_not_the_protocols_answer_is_named(answer: httpx.Response) -> None:
    with pytest.raises(ReceiverError, match="answered what is not"):
        Wire(answer).receiver().received()


def test_an_endless_list_comes_to_an_end() -> None:
    wire = Wire(httpx.Response(200, json={"received": [{"n": 1, **RECEIVED}], "next": 1}))
    with pytest.raises(ReceiverError, match="again and again"):
        wire.receiver().received()


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("http://api.example.com/", "unencrypted"),
        ("ftp://api.example.com/", "http:// or https://"),
        ("https://user:pw@api.example.com/", "user name"),
        ("https://api.example.com/#x", "fragment"),
        ("https://api.example.com/x?token=s3cret", "a query"),
        ("nonsense", "http:// or https://"),
    ],
)
def test_a_url_to_which_no_secret_may_go_is_refused(url: str, named: str) -> None:
    with pytest.raises(UsageError) as caught:
        HttpReceiver(url, "the-secret")
    assert named in f"{caught.value.message} {caught.value.hint}"
    assert "pw" not in caught.value.message
    assert "s3cret" not in caught.value.message


def test_on_this_machine_http_will_do() -> None:
    assert HttpReceiver("http://127.0.0.1:8080/", "the-secret").url == "http://127.0.0.1:8080"
