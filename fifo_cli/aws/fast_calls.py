"""SQS's batch calls, and the log's, of which a move makes thousands, at a quarter of botocore's CPU.

The first try of such a call is made by handlers/signed_calls.py. What is not a plain success is given to
botocore as the result of its first try: errors, pauses, repetitions and what hears of them are as for any
other call.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from botocore.awsrequest import AWSResponse
from botocore.exceptions import HTTPClientError

from fifo_cli.aws.interruptible_calls import GivenUpError
from fifo_cli.handlers.signed_calls import NO_HEADERS, exchange, opened, pool_of, signed_request
from fifo_cli.interrupts import AWS_CALLS

_CALLS: Final = frozenset(
    {
        "ReceiveMessage",
        "SendMessageBatch",
        "DeleteMessageBatch",
        "ChangeMessageVisibilityBatch",
        "PutLogEvents",
    }
)
_VERSION: Final = "v4"


def make_fast(client: Any) -> None:
    """Let a client of a service with JSON, SQS or CloudWatch Logs, make the first try of such calls here."""
    tries = _FirstTries(client)
    service = client.meta.service_model.service_id.hyphenize()
    # Registered for all services, and last: botocore asks the handlers of one service first, and nobody after
    # one that answers. So what else is to happen before a call has happened.
    client.meta.events.register_last("before-call", tries.begin)
    client.meta.events.register_first(f"before-send.{service}", tries.result)


class _FirstTries:
    """The first tries of one client's calls; safe to share between threads."""

    def __init__(self, client: Any) -> None:
        self._session = client._endpoint.http_session
        self._read_timeout = client.meta.config.read_timeout
        self._pools: dict[str, Any] = {}
        # Between ``begin`` and ``result``, which botocore calls in one thread, the result of a try.
        self._tried = threading.local()

    def begin(
        self, model: Any, params: Mapping[str, Any], request_signer: Any, context: Mapping[str, Any], **_: Any
    ) -> tuple[AWSResponse, Any] | None:
        """Make the call's first try; return None if botocore has to make it, or to go on after it."""
        self._tried.result = None
        if model.name not in _CALLS or urlsplit(params["url"]).path not in {"", "/"}:
            return None
        data = _signed(params, request_signer, context)
        if data is None:
            return None
        url = params["url"]
        try:
            with AWS_CALLS.one():
                answer = self._exchange(url, data)
        except HTTPClientError as error:
            self._tried.result = error
            return None
        if isinstance(answer, dict):
            return AWSResponse(url, 200, NO_HEADERS, None), answer
        self._tried.result = answer
        return None

    def result(self, **_: Any) -> AWSResponse | None:
        """Return what the first try was answered, or raise its error; None if botocore has to send."""
        result = getattr(self._tried, "result", None)
        self._tried.result = None
        if isinstance(result, Exception):
            AWS_CALLS.unanswered()
            raise result
        return result

    def _exchange(self, url: str, data: bytes) -> AWSResponse | dict[str, Any] | None:
        """Send a request over a connection that is open; None if there is none."""
        if AWS_CALLS.given_up:
            raise GivenUpError
        if url not in self._pools:
            self._pools[url] = pool_of(self._session, url)
        pool = self._pools[url]
        connection = pool and opened(pool)
        if connection is None:
            return None
        try:
            answer = exchange(pool, connection, url, data, self._read_timeout)
        except HTTPClientError:
            if AWS_CALLS.given_up:
                raise GivenUpError from None
            raise
        AWS_CALLS.answered()
        return answer


def _signed(params: Mapping[str, Any], signer: Any, context: Mapping[str, Any]) -> bytes | None:
    """Return a request; None if it is to be signed otherwise, or has what no header may have."""
    if signer.signature_version != _VERSION or context.get("auth_type") not in {None, _VERSION}:
        return None
    given = context.get("signing", {})
    region, service = given.get("region", signer.region_name), given.get("signing_name", signer.signing_name)
    credentials = signer.get_auth_instance(service, region, _VERSION).credentials
    if credentials is None:
        return None
    headers = {name: _text(value) for name, value in params["headers"].items()}
    host = urlsplit(params["url"]).netloc
    return signed_request(headers, host, params["body"], credentials, region, service)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
