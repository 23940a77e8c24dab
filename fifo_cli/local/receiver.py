"""A small HTTP receiver on loopback that stands in for the third-party API, in the demo and in tests.

It records every request in the order of arrival, never looks into a body, and answers as it is asked at
the moment. ``python -m fifo_cli.local.receiver --port P`` runs it alone, one JSON line a request. With a
secret that runs the API that ``prove --api URL`` delivers to (prove_receiver.py), which prints nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from fifo_cli.local.loopback import LoopbackHandler, LoopbackService
from fifo_cli.local.prove_receiver import ProveReceiver
from fifo_cli.model.receiver_protocol import check_secret
from fifo_cli.model.times import iso

_DRIP_INTERVAL: Final = 0.05


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived; ``number`` counts from 1, ``at`` is ``time.monotonic()`` in seconds."""

    number: int
    method: str
    path: str
    # Names in lower case; it may hold the key, so it is not shown.
    headers: Mapping[str, str] = field(repr=False)
    body: bytes
    at: float

    @property
    def idempotency_key(self) -> str | None:
        return self.headers.get("idempotency-key")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, sent after ``delay`` seconds."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Drop:
    """No answer: the connection is cut, after ``delay`` seconds."""

    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Drip:
    """An answer that never ends: header after header, slowly, for as long as the client listens."""


Answer = Reply | Drop | Drip
Rule = Callable[[Received], Answer | None]
Observer = Callable[[Received, Answer], None]


class Receiver(LoopbackService):
    """The receiver; every attribute and method may be used from any thread while it runs.

    What applies first wins: an outage (``fail``), a missing or wrong key (401), ``answer``, else 200.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        key: str | None = None,
        answer: Rule = lambda received: None,
        observer: Observer = lambda received, answer: None,
    ) -> None:
        super().__init__(port, _Handler)
        self._lock = threading.Lock()
        self._requests: list[Received] = []
        self._accepted: list[Received] = []
        self._outage: Answer | None = None
        self._observer = observer
        # Plain attributes, replaced whole: that is atomic.
        self.key = key  # the bearer key asked for, None for none; replace it to rotate it
        self.answer = answer  # what to answer a single request, None to treat it as all others
        self.delay = 0.0  # seconds before every answer

    @property
    def port(self) -> int:
        """Where it listens; 0 before the first start if any port would do."""
        return self._port

    @property
    def requests(self) -> list[Received]:
        """All requests, in the order of arrival."""
        with self._lock:
            return list(self._requests)

    @property
    def accepted(self) -> list[Received]:
        """The requests answered with 2xx, in the order of the answers."""
        with self._lock:
            return list(self._accepted)

    def fail(self, status: int = 503, *, retry_after: str | int | None = None) -> None:
        """Answer everything with ``status`` until ``recover``; ``retry_after`` in seconds or an HTTP date."""
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        self._outage = Reply(status, headers=headers)

    def drop(self) -> None:
        """Cut every connection without an answer until ``recover``."""
        self._outage = Drop()

    def recover(self) -> None:
        self._outage = None

    def clear(self) -> None:
        with self._lock:
            self._requests.clear()
            self._accepted.clear()

    # For the server's threads.

    def _record(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Received:
        with self._lock:
            received = Received(len(self._requests) + 1, method, path, headers, body, time.monotonic())
            self._requests.append(received)
            return received

    def _decide(self, received: Received) -> Answer:
        outage, key = self._outage, self.key
        if outage is not None:
            return outage
        sent = received.headers.get("authorization", "").encode()
        if key is not None and not secrets.compare_digest(sent, f"Bearer {key}".encode()):
            return Reply(HTTPStatus.UNAUTHORIZED)
        return self.answer(received) or Reply()

    def _settle(self, received: Received, answer: Answer) -> None:
        """Count an answer that is about to be sent, so that who has read it finds it counted."""
        with self._lock:
            if isinstance(answer, Reply) and 200 <= answer.status < 300:
                self._accepted.append(received)
        self._observer(received, answer)

    def _take_back(self, received: Received) -> None:
        """Do not count an answer that could not be sent."""
        with self._lock, contextlib.suppress(ValueError):
            self._accepted.remove(received)


class _Handler(LoopbackHandler):
    def _handle(self) -> None:
        body = self.read_body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        receiver: Receiver = self.server.service
        received = receiver._record(self.command, self.path, headers, body)
        answer = receiver._decide(received)
        delay = receiver.delay + (0.0 if isinstance(answer, Drip) else answer.delay)
        if not self.server.pause(delay):
            self.close_connection = True
            return
        receiver._settle(received, answer)
        match answer:
            case Reply():
                self._send(received, answer)
            case Drop():
                self.close_connection = True
            case Drip():
                self._drip()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _handle

    def _send(self, received: Received, reply: Reply) -> None:
        try:
            self.send_answer(reply.status, dict(reply.headers), reply.body)
        except OSError:
            self.server.service._take_back(received)
            self.close_connection = True

    def _drip(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while self.server.pause(_DRIP_INTERVAL):
                self.wfile.write(b"X-Drip: .\r\n")
                self.wfile.flush()


def _line(received: Received, answer: Answer) -> str:
    return json.dumps(
        {
            "time": iso(datetime.now(UTC)),
            "number": received.number,
            "method": received.method,
            "path": received.path,
            "idempotency_key": received.idempotency_key,
            "status": answer.status if isinstance(answer, Reply) else None,
            "body": received.body.decode("utf-8", "backslashreplace"),
        },
        ensure_ascii=False,
    )


def _arguments(arguments: list[str] | None) -> tuple[argparse.Namespace, str]:
    """Return the options, and the secret of prove's API or ""."""
    parser = argparse.ArgumentParser(
        prog="python -m fifo_cli.local.receiver",
        description="An HTTP API on 127.0.0.1 that accepts everything; one JSON line a request."
        " With a secret, the API that prove delivers to (docs/prove.md).",
    )
    parser.add_argument("--port", type=int, default=8080, help="0 for any free one (default: %(default)s)")
    parser.add_argument("--fail", type=int, metavar="STATUS", help="answer everything with this HTTP status")
    parser.add_argument("--retry-after", metavar="SECONDS", help="with --fail: the Retry-After header")
    parser.add_argument(
        "--delay", type=float, default=0.0, metavar="SECONDS", help="wait before every answer"
    )
    parser.add_argument(
        "--key-env", metavar="NAME", help="ask for the bearer key in this environment variable"
    )
    secret = parser.add_mutually_exclusive_group()
    secret.add_argument("--secret-env", metavar="NAME", help="prove's API, with the secret in this variable")
    secret.add_argument(
        "--secret-stdin", action="store_true", help="prove's API, with the secret in the first line of stdin"
    )
    options = parser.parse_args(arguments)
    for option, name in (("--key-env", options.key_env), ("--secret-env", options.secret_env)):
        if name and not os.environ.get(name):
            parser.error(f"{option}: the environment variable {name} is not set")
    if not (options.secret_env or options.secret_stdin):
        return options, ""
    given = sys.stdin.readline().strip() if options.secret_stdin else os.environ[options.secret_env]
    try:
        check_secret(given)
    except ValueError as error:
        parser.error(str(error))
    if options.fail or options.retry_after or options.delay or options.key_env:
        parser.error("with a secret, prove says how it answers: only --port goes with it")
    return options, given


def _recording(options: argparse.Namespace, ended: threading.Event) -> Receiver:
    """Return the receiver that prints a line a request, until nobody reads them."""
    writing = threading.Lock()

    def show(received: Received, answer: Answer) -> None:
        try:
            with writing:
                sys.stdout.write(_line(received, answer) + "\n")
                sys.stdout.flush()
        except OSError:
            # Nobody reads any more (`| head`); Python's own flush at exit must not fail on it again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ended.set()

    receiver = Receiver(
        port=options.port, key=os.environ.get(options.key_env) if options.key_env else None, observer=show
    )
    receiver.delay = options.delay
    if options.fail:
        receiver.fail(options.fail, retry_after=options.retry_after)
    return receiver


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; returns the exit code: 0, or 2 if it cannot listen."""
    options, secret = _arguments(arguments)
    ended = threading.Event()
    receiver = ProveReceiver(secret, port=options.port) if secret else _recording(options, ended)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        receiver.start()
    except (OSError, OverflowError) as error:
        sys.stderr.write(f"cannot listen on port {options.port}: {error}\nchoose another with --port\n")
        return 2
    sys.stderr.write(f"listening on {receiver.url}\n")
    sys.stderr.flush()
    ended.wait()
    receiver.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
