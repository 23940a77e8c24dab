"""Who may use a server on loopback: no page of a browser, and of the stack nobody without its key.

A page of any origin can send requests to 127.0.0.1. What it cannot do is leave out ``Origin`` where a request
changes something, name another host than the one it called, or know the key.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs

from fifo_cli.invocation import command_line
from fifo_cli.local.ports import HOST

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_HOSTS: Final = (HOST, "localhost")
_CREDENTIAL: Final = re.compile(r"^AWS4-HMAC-SHA256 .*?Credential=([^/,\s]+)/")
# A function's URL: whoever calls it has the function's own secret, or is let in by the function.
_FUNCTION_URL: Final = re.compile(r"^/_aws/lambda-url/[^/]+(/|$)")
_CORS: Final = b"access-control-"


def refusal(method: str, headers: Iterable[tuple[str, str]], port: int) -> str:
    """Say why a request is refused whoever makes it, or "".

    ``headers`` are all of the request's, in any case of letters.
    """
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name.lower(), []).append(value.strip())
    hosts = values.get("host", [])
    if len(hosts) != 1 or hosts[0].lower() not in {f"{host}:{port}" for host in _HOSTS}:
        return f"the Host header must be {HOST}:{port} or localhost:{port}"
    if "origin" in values or "access-control-request-method" in values or method == "OPTIONS":
        return "a page in a browser may not call this"
    # Browsers say so also where they send no Origin, as for an image.
    if any(value not in ("same-origin", "none") for value in values.get("sec-fetch-site", [])):
        return "a page in a browser may not call this"
    return ""


def has_key(headers: Mapping[str, str], query: str, key: str) -> bool:
    """Say whether a request carries the stack's key, as access key id or as session token.

    The stack's own functions have their account's number as access key id, and the key as session token.
    """
    signed = _CREDENTIAL.match(headers.get("authorization", ""))
    asked = parse_qs(query) if "X-Amz-" in query else {}
    carried = [
        signed.group(1) if signed else "",
        headers.get("x-amz-security-token", ""),
        *(one.partition("/")[0] for one in asked.get("X-Amz-Credential", [])),
        *asked.get("X-Amz-Security-Token", []),
    ]
    return any([hmac.compare_digest(one.encode(), key.encode()) for one in carried])


def guarded(app: App, *, port: int, key: str) -> App:
    """Wrap an ASGI application: what is refused does not reach it, and no answer has a CORS header."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        if scope["type"] != "http":  # nothing of ours uses websockets
            await send({"type": "websocket.close", "code": 1008})
            return
        given = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        why = refusal(scope["method"], given, port)
        if not why and not _FUNCTION_URL.match(scope["path"]):
            headers = {name.lower(): value for name, value in given}
            if not has_key(headers, scope.get("query_string", b"").decode("latin-1"), key):
                why = (
                    f"the access key is not this stack's; {command_line('local status')} shows how to use it"
                )
        if why:
            await _refuse(send, why)
            return

        async def send_plainly(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [one for one in message.get("headers", []) if not one[0].lower().startswith(_CORS)]
                message = {**message, "headers": kept}
            await send(message)

        await app(scope, receive, send_plainly)

    return serve


async def _refuse(send: Send, why: str) -> None:
    """Answer as AWS does where a key is unknown, in JSON, which its clients read the code from."""
    body = json.dumps({"__type": "InvalidClientTokenId", "message": why}).encode()
    headers = [
        (b"content-type", b"application/x-amz-json-1.0"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        (b"x-amzn-errortype", b"InvalidClientTokenId"),
        (b"x-amzn-query-error", b"InvalidClientTokenId;Sender"),
    ]
    await send({"type": "http.response.start", "status": int(HTTPStatus.FORBIDDEN), "headers": headers})
    await send({"type": "http.response.body", "body": body})
