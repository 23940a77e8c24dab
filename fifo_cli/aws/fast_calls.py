"""SQS's batch calls, and the log's, of which a move makes thousands, at a quarter of botocore's CPU.

Most of what botocore spends on a call goes into headers, which it copies and parses several times, into its
signer and its parser. So the first try of such a call is signed, sent and read here, over a connection that
botocore has opened: certificates are botocore's business. What is not a plain success is given to botocore as
the result of its first try: errors, pauses, repetitions and what hears of them are as for any other call.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from http.client import HTTPException, HTTPResponse, IncompleteRead
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from botocore.awsrequest import AWSResponse, HeadersDict
from botocore.exceptions import ConnectionClosedError, HTTPClientError, ReadTimeoutError
from urllib3 import HTTPResponse as RawResponse

from fifo_cli.aws.interruptible_calls import GivenUpError
from fifo_cli.interrupts import AWS_CALLS

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials

_CALLS: Final = frozenset(
    {
        "ReceiveMessage",
        "SendMessageBatch",
        "DeleteMessageBatch",
        "ChangeMessageVisibilityBatch",
        "PutLogEvents",
    }
)
_OK: Final = 200
_NO_HEADERS: Final[Any] = HeadersDict()  # nobody reads those of a success
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*(?=\r\n|$)", re.IGNORECASE)
_NOT_PLAIN: Final = re.compile(rb"\r\n(?:transfer-encoding:|connection:[ \t]*close)", re.IGNORECASE)
_VERSION: Final = "v4"
_ALGORITHM: Final = "AWS4-HMAC-SHA256"
# Not signed, as a proxy may change them (so does botocore).
_UNSIGNED: Final = frozenset({"user-agent", "x-amzn-trace-id"})


def make_fast(client: Any) -> None:
    """Let a client of a service with JSON, SQS or CloudWatch Logs, make the first try of such calls here."""
    tries = _FirstTries(client)
    service = client.meta.service_model.service_id.hyphenize()
    client.meta.events.register_last(f"before-call.{service}", tries.begin)
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
        head = _signed_head(params, request_signer, context)
        connection = self._opened(params["url"]) if head else None
        if head is None or connection is None:
            return None
        url = params["url"]
        try:
            with AWS_CALLS.one():
                status, headers, body = self._exchange(connection, url, head + params["body"])
        except HTTPClientError as error:
            self._tried.result = error
            return None
        if status == _OK and (answer := _parsed(body)) is not None:
            return AWSResponse(url, status, headers, None), answer
        raw = RawResponse(BytesIO(body), preload_content=False)
        self._tried.result = AWSResponse(url, status, headers, raw)
        return None

    def result(self, **_: Any) -> AWSResponse | None:
        """Return what the first try was answered, or raise its error; None if botocore has to send."""
        result = getattr(self._tried, "result", None)
        self._tried.result = None
        if isinstance(result, Exception):
            AWS_CALLS.unanswered()
            raise result
        return result

    def _opened(self, url: str) -> Any:
        """Return a connection that botocore has opened and nobody uses, if there is one."""
        pool = self._pools.get(url)
        if pool is None:
            proxy = self._session._proxy_config.proxy_url_for(url)
            if proxy:
                return None
            pool = self._pools[url] = self._session._manager.connection_from_url(url)
        connection = pool._get_conn()
        if connection.sock is not None:
            return connection
        pool._put_conn(connection)
        return None

    def _exchange(self, connection: Any, url: str, data: bytes) -> tuple[int, Any, bytes]:
        """Send a request, read the answer to its end, and return its status, headers and body."""
        done = False
        try:
            if AWS_CALLS.given_up:
                raise GivenUpError
            connection.sock.settimeout(self._read_timeout)
            connection.sock.sendall(data)
            with HTTPResponse(connection.sock, method="POST") as response:
                body = _plain_body(response.fp)
                if body is not None:
                    answer = (_OK, _NO_HEADERS, body)
                    done = True
                else:
                    response.begin()
                    answer = (response.status, HeadersDict(response.headers), response.read())
                    done = not response.will_close
        except (OSError, HTTPException) as error:
            if AWS_CALLS.given_up:
                raise GivenUpError from None
            kind = ReadTimeoutError if isinstance(error, TimeoutError) else ConnectionClosedError
            raise kind(endpoint_url=url, error=error, request=None) from error
        finally:
            if not done:
                connection.close()
            self._pools[url]._put_conn(connection)
        AWS_CALLS.answered()
        return answer


def _signed_head(params: Mapping[str, Any], signer: Any, context: Mapping[str, Any]) -> bytes | None:
    """Return a request's head; None if it is to be signed otherwise, or has what no header may have."""
    if signer.signature_version != _VERSION or context.get("auth_type") not in {None, _VERSION}:
        return None
    given = context.get("signing", {})
    region, service = given.get("region", signer.region_name), given.get("signing_name", signer.signing_name)
    credentials = signer.get_auth_instance(service, region, _VERSION).credentials
    if credentials is None:
        return None
    headers = {name: _text(value) for name, value in params["headers"].items()}
    headers["Host"] = urlsplit(params["url"]).netloc
    headers["X-Amz-Date"] = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    if credentials.token:
        headers["X-Amz-Security-Token"] = credentials.token
    headers["Authorization"] = authorization(headers, params["body"], credentials, region, service)
    headers |= {"Accept-Encoding": "identity", "Content-Length": str(len(params["body"]))}
    text = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    if text.count("\n") != len(headers) or text.count("\r") != len(headers):
        return None
    return f"POST / HTTP/1.1\r\n{text}\r\n".encode("latin-1")


def authorization(
    headers: Mapping[str, str], body: bytes, credentials: ReadOnlyCredentials, region: str, service: str
) -> str:
    """Sign a POST to "/" without a query (IAM User Guide, "Create a signed AWS API request")."""
    signed = sorted(
        (lower, " ".join(value.split()))
        for name, value in headers.items()
        if (lower := name.lower()) not in _UNSIGNED
    )
    names = ";".join(name for name, _ in signed)
    lines = "".join(f"{name}:{value}\n" for name, value in signed)
    digest = _sha256(f"POST\n/\n\n{lines}\n{names}\n{_sha256(body)}".encode())
    time = headers["X-Amz-Date"]
    scope = f"{time[:8]}/{region}/{service}/aws4_request"
    key = _signing_key(credentials.secret_key, scope)
    signature = _hmac(key, f"{_ALGORITHM}\n{time}\n{scope}\n{digest}").hex()
    credential = f"{credentials.access_key}/{scope}"
    return f"{_ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}"


@lru_cache(maxsize=8)
def _signing_key(secret: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    return key


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _plain_body(file: Any) -> bytes | None:
    """Read the body of a 200; None, with nothing read, if the head is not there as a whole, or not plain.

    http.client reads the head as that of an e-mail, which takes longer than all the rest.
    """
    head, end, _ = file.peek().partition(b"\r\n\r\n")
    if not (end and head.startswith(b"HTTP/1.1 200 ")) or _NOT_PLAIN.search(head):
        return None
    lengths = _LENGTH.findall(head)
    if len(lengths) != 1:
        return None
    file.read(len(head) + len(end))
    body: bytes = file.read(int(lengths[0]))
    if len(body) < int(lengths[0]):
        raise IncompleteRead(body)
    return body


def _parsed(body: bytes) -> dict[str, Any] | None:
    """Return an answer as botocore parses it; None if that is not plain."""
    try:
        found = json.loads(body)
        if not isinstance(found, dict):
            return None
        answer = {name: value for name, value in found.items() if value is not None}
        for message in answer.get("Messages", ()):
            for value in message.get("MessageAttributes", {}).values():
                if "BinaryValue" in value:
                    value["BinaryValue"] = base64.b64decode(value["BinaryValue"])
        return answer
    except (ValueError, TypeError, AttributeError, RecursionError, binascii.Error):
        return None
