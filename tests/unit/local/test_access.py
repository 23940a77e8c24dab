"""Who is let in by a server on loopback."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fifo_cli.local.access import guarded, has_key, refusal

KEY = "A" * 40
SIGNED = (
    f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0"
)
OTHER = SIGNED.replace(KEY, "test")
GOOD = {"host": "127.0.0.1:4566", "authorization": SIGNED}


@pytest.mark.parametrize("host", ["127.0.0.1:4566", "localhost:4566", "LOCALHOST:4566"])
def test_this_machine_is_a_host(host: str) -> None:
    assert refusal("POST", [("Host", host)], 4566) == ""


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "127.0.0.1:80", "evil.example:4566", "localhost.evil.example:4566", "",
        "127.0.0.1:4566.evil.example", "0.0.0.0:4566", "[::1]:4566", "127.1:4566", "x@127.0.0.1:4566",
    ],
)  # fmt: skip
def test_no_other_name_is_a_host(host: str) -> None:
    """A page may have its own name lead to 127.0.0.1 (DNS rebinding): the browser then sends that name."""
    assert refusal("POST", [("Host", host)], 4566) != ""


def test_one_host_is_named() -> None:
    assert refusal("POST", [], 4566) != ""
    assert refusal("POST", [("Host", "127.0.0.1:4566"), ("Host", "127.0.0.1:4566")], 4566) != ""


@pytest.mark.parametrize(
    ("method", "header"),
    [
        ("POST", ("Origin", "http://evil.example")),
        ("POST", ("Origin", "null")),
        ("POST", ("origin", "http://127.0.0.1:4566")),
        ("GET", ("Sec-Fetch-Site", "cross-site")),
        ("GET", ("Sec-Fetch-Site", "same-site")),
        ("OPTIONS", ("Accept", "*/*")),
        ("GET", ("Access-Control-Request-Method", "POST")),
    ],
)
def test_what_a_page_of_a_browser_sends_is_refused(method: str, header: tuple[str, str]) -> None:
    assert "browser" in refusal(method, [("Host", "127.0.0.1:4566"), header], 4566)


@pytest.mark.parametrize(
    ("headers", "query", "let_in"),
    [
        ({"authorization": SIGNED}, "", True),
        ({"authorization": OTHER, "x-amz-security-token": KEY}, "", True),
        (
            {},
            f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={KEY}%2F20260101%2Fx%2Fs3%2Faws4_request",
            True,
        ),
        ({}, "", False),
        ({"authorization": OTHER}, "", False),
        ({"authorization": f"Bearer {KEY}"}, "", False),
        ({"authorization": f"Credential={KEY}/"}, "", False),
        ({"authorization": SIGNED.replace(KEY, KEY[:-1])}, "", False),
        ({"authorization": SIGNED.replace(KEY, KEY.lower())}, "", False),
        ({"authorization": SIGNED.replace(KEY, "")}, "", False),
        ({"x-amz-security-token": ""}, "", False),
        ({"x-amz-security-token": "\xe9"}, "", False),
        ({}, "X-Amz-Credential=test/20260101/x/s3/aws4_request", False),
    ],
)
def test_the_key_is_asked_for(headers: dict[str, str], query: str, let_in: bool) -> None:
    assert has_key(headers, query, KEY) is let_in


def call(headers: dict[str, str], *, path: str = "/", kind: str = "http", method: str = "POST") -> list[Any]:
    """Send a request through the guard; return what was sent back, after "reached" if it got to the stack."""
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        sent.append("reached")
        cors = [(b"Access-Control-Allow-Origin", b"*"), (b"access-control-max-age", b"1"), (b"x-a", b"b")]
        await send({"type": "http.response.start", "status": 200, "headers": cors})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {}

    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    scope = {"type": kind, "method": method, "path": path, "headers": raw, "query_string": b""}

    async def serve() -> None:
        await guarded(app, port=4566, key=KEY)(scope, receive, send)

    asyncio.run(serve())
    return sent


def test_an_answer_has_no_cors_header() -> None:
    reached, start, _ = call(GOOD)
    assert (reached, start["headers"]) == ("reached", [(b"x-a", b"b")])


@pytest.mark.parametrize(
    "path", ["/", "/_ministack/health", "/_ministack/reset", "/_localstack/health", "/health", "/_aws/other"]
)
def test_without_the_key_nothing_reaches_the_stack(path: str) -> None:
    start, _ = call({"host": "127.0.0.1:4566"}, path=path)
    assert start["status"] == 403


def test_the_url_of_a_function_needs_no_key_but_is_none_for_a_page() -> None:
    assert call({"host": "127.0.0.1:4566"}, path="/_aws/lambda-url/abc/")[0] == "reached"
    assert call({"host": "evil.example:4566"}, path="/_aws/lambda-url/abc/")[0]["status"] == 403
    assert call({"host": "127.0.0.1:4566", "origin": "null"}, path="/_aws/lambda-url/abc")[0]["status"] == 403


def test_websockets_are_closed() -> None:
    assert call(GOOD, kind="websocket") == [{"type": "websocket.close", "code": 1008}]
