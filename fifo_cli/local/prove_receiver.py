"""The API that ``prove --api URL`` delivers to, on loopback: as the function's (prove_api/), in memory.

It listens on 127.0.0.1 alone. For AWS to reach it, a proxy of the user's that speaks TLS stands in front.
"""

from __future__ import annotations

import threading
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from fifo_cli.local.loopback import LoopbackHandler, LoopbackService
from fifo_cli.prove_api.api import (
    BODY_BYTES_MAX,
    SECRET_HEADER,
    AnswerRules,
    ProveApi,
    RecordedDelivery,
    Request,
    Response,
    Store,
    is_secret,
    sha256,
)

_IDLE_SECONDS: Final = 60.0


class MemoryStore(Store):
    """The memory of the API while its process runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules = AnswerRules()
        self._deliveries: list[tuple[int, RecordedDelivery]] = []
        self._last = 0

    def rules(self) -> AnswerRules:
        return self._rules

    def set_rules(self, rules: AnswerRules) -> None:
        self._rules = rules

    def append(self, delivery: RecordedDelivery) -> None:
        with self._lock:
            self._last += 1
            self._deliveries.append((self._last, delivery))

    def since(self, number: int) -> list[tuple[int, RecordedDelivery]]:
        with self._lock:
            return [one for one in self._deliveries if one[0] > number]

    def forget(self) -> None:
        """Numbers go on, as the function's do."""
        with self._lock:
            self._deliveries.clear()


class ProveReceiver(LoopbackService):
    """The API on a port of loopback, from ``start`` to ``stop``; port 0 takes any that is free."""

    def __init__(self, secret: str, *, port: int = 0) -> None:
        super().__init__(port, _Handler)
        self.api = ProveApi(sha256(secret), MemoryStore())


class _Handler(LoopbackHandler):
    timeout = _IDLE_SECONDS  # a proxy in front may leave connections open

    @property
    def _api(self) -> ProveApi:
        service: ProveReceiver = self.server.service
        return service.api

    def _handle(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        response = self._answer(headers)
        if not self.server.pause(response.delay):
            self.close_connection = True
            return
        shown = {"Content-Type": "application/json", "Cache-Control": "no-store", **response.headers}
        try:
            self.send_answer(response.status, shown, response.body)
        except OSError:
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _handle

    def _answer(self, headers: dict[str, str]) -> Response:
        """Answer a request; of one without the secret, or too long, no body is kept."""
        if refused := self._refusal(headers):
            self.close_connection = True
            # What is left unread when a connection closes resets it, and the answer may be lost.
            length = headers.get("content-length", "")
            if length.isascii() and length.isdecimal() and 0 < int(length) <= BODY_BYTES_MAX:
                self.rfile.read1(BODY_BYTES_MAX)
            return refused
        url = urlsplit(self.path)
        return self._api.answer(Request(self.command, url.path, url.query, headers, self.read_body()))

    def _refusal(self, headers: dict[str, str]) -> Response | None:
        if not is_secret(headers.get(SECRET_HEADER, ""), self._api.secret_sha256):
            return self._api.answer(Request(self.command, self.path, headers=headers))
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not (length.isascii() and length.isdecimal()):
            return Response(HTTPStatus.LENGTH_REQUIRED, {"error": "Content-Length is needed"})
        if int(length) > BODY_BYTES_MAX:
            return Response(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": "the body is too long"})
        return None
