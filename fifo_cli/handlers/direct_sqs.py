"""SQS for the worker: the calls that every delivery makes go out directly, all others by boto3.

Beside the layers that signed_calls.py leaves out, these calls need no serializer and no rules for endpoints,
which botocore goes through for each. What is not a plain success is given to botocore as the result of the
first try: its parser names the error, and its rules say whether and when the call is repeated.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from botocore.exceptions import HTTPClientError

from .signed_calls import exchange, opened, pool_of, signed_request

if TYPE_CHECKING:
    from botocore.credentials import Credentials
    from mypy_boto3_sqs import SQSClient

_JSON: Final = "application/x-amz-json-1.0"  # SQS Developer Guide, "AWS JSON protocol"
_CREDENTIAL: Final = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/,]+/\d{8}/([^/,]+)/([^/,]+)/aws4_request,")
_PORTS: Final = {"http": ":80", "https": ":443"}  # which HTTP leaves out


class _Route(NamedTuple):
    """How botocore sent a request of its own; ``host`` is spelled as it is signed."""

    pool: Any
    url: str
    host: str
    region: str
    service: str
    agent: str


class DirectSqs:
    """What boto3's client of SQS is to the worker; safe to share between threads.

    The first of these calls is boto3's own, which shows the way, and so is each that needs a new connection.
    Where the way goes by a proxy, or a request is not signed in the usual way, all of them are boto3's.
    """

    def __init__(self, client: SQSClient, credentials: Credentials | None) -> None:
        self._client = client
        self._credentials = credentials
        self._timeout: float = client.meta.config.read_timeout  # type: ignore[attr-defined]
        self._noted: _Route | None = None
        self._route: _Route | None = None
        self._tried = threading.local()
        client.meta.events.register_first("before-send.sqs", self._first_result)
        client.meta.events.register_last("before-send.sqs", self._note)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def receive_message(self, **request: Any) -> Any:
        return self._call("ReceiveMessage", self._client.receive_message, request)

    def delete_message(self, **request: Any) -> Any:
        return self._call("DeleteMessage", self._client.delete_message, request)

    def change_message_visibility_batch(self, **request: Any) -> Any:
        by_boto3 = self._client.change_message_visibility_batch
        return self._call("ChangeMessageVisibilityBatch", by_boto3, request)

    def _call(self, action: str, by_boto3: Callable[..., Any], request: Mapping[str, Any]) -> Any:
        try:
            result = self._first_try(action, request)
        except HTTPClientError as error:
            result = error
        if isinstance(result, dict):
            return result
        self._tried.result = result
        try:
            return by_boto3(**request)
        finally:
            self._tried.result = None
            self._route = self._noted  # botocore has set up the connections by now

    def _first_try(self, action: str, request: Mapping[str, Any]) -> Any:
        """Return an answer's document, or what botocore is to make of it; None if botocore has to send."""
        route, credentials = self._route, self._credentials
        if route is None or credentials is None:
            return None
        body = json.dumps(request).encode()
        headers = {"Content-Type": _JSON, "User-Agent": route.agent, "X-Amz-Target": f"AmazonSQS.{action}"}
        frozen = credentials.get_frozen_credentials()
        data = signed_request(headers, route.host, body, frozen, route.region, route.service)
        connection = opened(route.pool) if data else None
        if data is None or connection is None:
            return None
        return exchange(route.pool, connection, route.url, data, self._timeout)

    def _first_result(self, **_: Any) -> Any:
        """Let botocore go on after the first try, if one was made: return its answer, or raise its error."""
        result = getattr(self._tried, "result", None)
        self._tried.result = None
        if isinstance(result, Exception):
            raise result
        return result

    def _note(self, request: Any, **_: Any) -> None:
        """Note the way of a request that botocore is about to send, if these calls can go it, too."""
        try:
            self._noted = _route_of(self._client, request)
        except (AttributeError, KeyError, TypeError):  # Lambda's botocore is of another version
            self._noted = None


def _route_of(client: Any, request: Any) -> _Route | None:
    headers = {name.lower(): _text(value) for name, value in request.headers.items()}
    signed = _CREDENTIAL.match(headers["authorization"])
    url = urlsplit(request.url)
    # The session is private, but botocore has no other name for what it sends by.
    pool = pool_of(client._endpoint.http_session, request.url)
    is_json = "x-amz-target" in headers  # an older botocore's requests and answers are of another form
    if signed is None or url.path != "/" or url.query or pool is None or not is_json:
        return None
    host = url.netloc.rpartition("@")[2].removesuffix(_PORTS[url.scheme])
    return _Route(pool, request.url, host, signed[1], signed[2], headers["user-agent"])


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
