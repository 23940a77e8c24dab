"""An HTTP proxy before the embedded stack that breaks what a test asks it to break, and counts.

Clients use ``proxy.endpoint`` as their endpoint. Every request goes through ``proxy.rule``, which sees
a :class:`Request` and says what happens to it (tests/faults.py).

``proxy.edit`` may change what is forwarded: ``hidden(2)`` makes every receive hide for two seconds only.
"""

from __future__ import annotations

import http.client
import http.server
import json
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, assert_never
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

from fifo_cli.local.loopback import LoopbackHandler, LoopbackServer
from fifo_cli.local.ports import HOST, owner_of, tcp_sockets
from tests.faults import (
    Action,
    AnswerWithError,
    Delay,
    Drop,
    DropAnswer,
    Kill,
    Pass,
    RefuseEntries,
    Rule,
    Stall,
    forward_all,
)

_UPSTREAM_TIMEOUT = 120.0
# The stack closes a connection that was idle for longer.
_IDLE_SECONDS = 2.0
# Of one connection, not of the message (RFC 9110, section 7.6.1), and what the server sets itself.
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


@dataclass(frozen=True)
class Request:
    """A request on its way: ``number`` counts all of them from 1, ``nth`` those of its ``action``."""

    number: int
    nth: int
    service: str  # the prefix of X-Amz-Target ("AmazonSQS"), or ""
    action: str  # "SendMessageBatch"; for REST APIs "POST /2015-03-31/functions"
    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)  # names in lower case
    body: bytes = field(repr=False)
    client_port: int
    connection: socket.socket = field(repr=False)

    @property
    def is_orphan(self) -> bool:
        """Say whether who made the request has hung up, as all connections of a dead process have.

        What a killed run had on its way may be read when the next run goes on already, and is none of its.
        """
        try:
            return not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def json(self) -> Any:
        """Return the body's JSON."""
        return json.loads(self.body)


def hidden(seconds: int) -> Callable[[Request], bytes]:
    """Make an edit by which nothing received is hidden for longer, so that what a crash left soon is seen."""

    def edit(request: Request) -> bytes:
        if request.action != "ReceiveMessage":
            return request.body
        document = request.json()
        document["VisibilityTimeout"] = min(seconds, document.get("VisibilityTimeout", seconds))
        return json.dumps(document).encode()

    return edit


class Proxy:
    """The proxy; ``rule`` and ``edit`` may be replaced at any time, ``counts`` holds requests by action."""

    def __init__(self, upstream: str, rule: Rule = forward_all, *, keep_host: bool = False) -> None:
        """``keep_host`` is for a stack that checks signatures, of which the Host header is a part."""
        address = urlsplit(upstream)
        assert address.hostname is not None
        assert address.port is not None
        self.upstream = (address.hostname, address.port)
        self.keep_host = keep_host
        self.rule = rule
        self.edit: Callable[[Request], bytes] = lambda request: request.body
        self.killed: list[int] = []
        self.stalled = threading.Event()
        self._faults: list[BaseException] = []
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._counts: Counter[str] = Counter()
        self._server: _Server | None = None

    def start(self) -> Proxy:
        self._server = _Server(self)
        self._server.start()
        return self

    def stop(self) -> None:
        """Stop; raises what went wrong in a rule or in the proxy itself, so that no test passes by it."""
        if self._server is not None:
            self._server.stop()
            self._server = None
        if self._faults:
            raise self._faults[0]

    def __enter__(self) -> Proxy:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        assert self._server is not None, "the proxy is not started"
        return f"http://{HOST}:{self._server.server_port}"

    @property
    def requests(self) -> list[Request]:
        """All requests so far."""
        with self._lock:
            return list(self._requests)

    @property
    def counts(self) -> Counter[str]:
        """How many requests came, by action."""
        with self._lock:
            return Counter(self._counts)

    def clear(self) -> None:
        """Forget requests and counts."""
        with self._lock:
            self._requests.clear()
            self._counts.clear()

    # For the server's threads.

    def _record(self, handler: _Handler, headers: Mapping[str, str], body: bytes) -> Request:
        method, path, connection = handler.command, handler.path, handler.connection
        port = handler.client_address[1]
        service, action = _action(method, path, headers, body)
        with self._lock:
            self._counts[action] += 1
            number, nth = len(self._requests) + 1, self._counts[action]
            request = Request(number, nth, service, action, method, path, headers, body, port, connection)
            self._requests.append(request)
        return request

    def _fault(self, error: BaseException) -> None:
        with self._lock:
            self._faults.append(error)

    def _kill(self, request: Request, kill: Kill) -> None:
        assert self._server is not None
        pid = kill.pid or pid_of_connection(request.client_port, self._server.server_port)
        if pid is None or pid == os.getpid():
            raise AssertionError(f"Kill: {request.action} came from process {pid}, which must not be killed")
        # Noted first: on a busy machine a test may see the process dead before this thread goes on.
        self.killed.append(pid)
        os.kill(pid, kill.number)


def _action(method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[str, str]:
    """Return service and action of a request in the JSON, query, RPC v2 or REST protocol."""
    if target := headers.get("x-amz-target"):
        service, _, action = target.rpartition(".")
        return service, action
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return "", parse_qs(body.decode(errors="replace")).get("Action", [""])[0]
    if "/operation/" in path:
        service, _, action = path.removeprefix("/service/").partition("/operation/")
        return service, action
    return "", f"{method} {urlsplit(path).path}"


class _Server(LoopbackServer):
    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        super().__init__(0, _Handler)


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    stalls: bool = False


class _Handler(LoopbackHandler):
    server: _Server

    def setup(self) -> None:
        super().setup()
        # One connection to the stack for each of the client's.
        # http.client itself sets TCP_NODELAY on it.
        self.upstream = http.client.HTTPConnection(*self.server.proxy.upstream, timeout=_UPSTREAM_TIMEOUT)
        self.used_at = time.monotonic()

    def parse_request(self) -> bool:
        # A client may call the proxy by any name; to the stack it has the stack's.
        return http.server.BaseHTTPRequestHandler.parse_request(self)

    def finish(self) -> None:
        self.upstream.close()
        super().finish()

    def _handle(self) -> None:
        proxy = self.server.proxy
        body = self.read_body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = proxy._record(self, headers, body)
        try:
            answer = self._answer(request, proxy.rule(request))
        except Exception as error:  # noqa: BLE001 - whatever it is, the test's thread hears of it
            if not self.server.stopping.is_set():
                proxy._fault(error)
            answer = None
        if answer is None:
            self.close_connection = True
            return
        try:
            if answer.stalls:
                self._send_half(request, answer)
            else:
                self.send_answer(answer.status, answer.headers, answer.body)
        except OSError:
            self.close_connection = True

    def _send_half(self, request: Request, answer: _Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(answer.body) or 1))
        self.end_headers()
        self.wfile.write(answer.body[: len(answer.body) // 2])
        self.wfile.flush()
        self.server.proxy.stalled.set()
        while not request.is_orphan and self.server.pause(0.05):
            pass
        self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

    def _answer(self, request: Request, action: Action) -> _Answer | None:
        """Do what the rule says; None cuts the connection."""
        if isinstance(action, Delay):
            return self._answer_late(request, action)
        match action:
            case Pass():
                return self._forward(request, self.server.proxy.edit(request))
            case AnswerWithError():
                return _error(request, action)
            case RefuseEntries():
                return self._forward_some(request, action)
            case Stall():
                return replace(self._forward(request, self.server.proxy.edit(request)), stalls=True)
            case Drop():
                pass
            case DropAnswer():
                self._forward(request, self.server.proxy.edit(request))
            case Kill():
                if action.after:
                    self._forward(request, self.server.proxy.edit(request))
                self.server.proxy._kill(request, action)
            case _:
                assert_never(action)
        return None

    def _answer_late(self, request: Request, action: Delay) -> _Answer | None:
        if not action.after and not self.server.pause(action.seconds):
            return None
        answer = self._answer(request, action.then)
        return answer if not action.after or self.server.pause(action.seconds) else None

    def _forward(self, request: Request, body: bytes) -> _Answer:
        keep_host = self.server.proxy.keep_host
        if time.monotonic() - self.used_at > _IDLE_SECONDS:
            self.upstream.close()  # http.client opens it again
        self.used_at = time.monotonic()
        headers = {name: value for name, value in request.headers.items() if name not in _HOP_BY_HOP}
        if not keep_host:
            headers.pop("host", None)
        # The embedded stack wants its own host and port in the Host header.
        self.upstream.putrequest(request.method, request.path, skip_host=keep_host, skip_accept_encoding=True)
        for name, value in headers.items():
            self.upstream.putheader(name, value)
        self.upstream.putheader("Content-Length", str(len(body)))
        self.upstream.endheaders(body)
        response = self.upstream.getresponse()
        kept = {name: value for name, value in response.getheaders() if name.lower() not in _HOP_BY_HOP}
        # Queue URLs in the answer lead to the proxy.
        theirs, ours = (f"{HOST}:{port}".encode() for port in (self.upstream.port, self.server.server_port))
        return _Answer(response.status, kept, response.read().replace(theirs, ours))

    def _forward_some(self, request: Request, refuse: RefuseEntries) -> _Answer:
        document, refused = refuse.split(request.json())
        if document["Entries"]:
            answer = self._forward(request, json.dumps(document).encode())
            result = json.loads(answer.body)
        else:
            answer = _Answer(200, {"Content-Type": "application/x-amz-json-1.0"}, b"")
            result = {"Successful": []}
        if answer.status != 200:
            return answer
        result["Failed"] = result.get("Failed", []) + refused
        return _Answer(answer.status, answer.headers, json.dumps(result).encode())


def _error(request: Request, error: AnswerWithError) -> _Answer:
    fault = "Sender" if error.status < 500 else "Receiver"
    headers = {"x-amzn-RequestId": f"proxy-{request.number}", "x-amzn-errortype": error.code}
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        body = (
            f"<ErrorResponse><Error><Type>{fault}</Type><Code>{escape(error.legacy or error.code)}</Code>"
            f"<Message>{escape(error.message)}</Message></Error></ErrorResponse>"
        )
        return _Answer(error.status, {**headers, "Content-Type": "text/xml"}, body.encode())
    if request.service == "AmazonSQS":
        headers["x-amzn-query-error"] = f"{error.legacy or error.code};{fault}"
    document = {"__type": f"com.amazonaws#{error.code}", "message": error.message}
    headers["Content-Type"] = "application/x-amz-json-1.0"
    return _Answer(error.status, headers, json.dumps(document).encode())


def pid_of_connection(local_port: int, remote_port: int) -> int | None:
    """Return the process at the ``local_port`` end of a loopback connection; None if not to be known."""
    return owner_of(
        {inode for local, remote, _, inode in tcp_sockets() if (local, remote) == (local_port, remote_port)}
    )
