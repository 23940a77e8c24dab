"""One try of a call to SQS or CloudWatch Logs without botocore's layers, at a quarter of its CPU.

Most of what botocore spends on a call goes into headers, which it copies and parses several times, into its
signer and its parser. Here a request is signed, sent and read over a connection that botocore has opened:
certificates, proxies and names are botocore's business. What is not a plain success is for the callers to
give to botocore (handlers/direct_sqs.py, aws/fast_calls.py).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from http.client import HTTPException, HTTPResponse, IncompleteRead
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from botocore.awsrequest import AWSResponse, HeadersDict
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
from urllib3 import HTTPResponse as RawResponse

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials

_OK: Final = 200
NO_HEADERS: Final[Any] = HeadersDict()  # nobody reads those of a success
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*(?=\r\n|$)", re.IGNORECASE)
_NOT_PLAIN: Final = re.compile(rb"\r\n(?:transfer-encoding:|connection:[ \t]*close)", re.IGNORECASE)
_ALGORITHM: Final = "AWS4-HMAC-SHA256"
# Not signed, as a proxy may change them (so does botocore).
_UNSIGNED: Final = frozenset({"user-agent", "x-amzn-trace-id"})


def pool_of(session: Any, url: str) -> Any:
    """Return the connections by which a session of botocore's sends to a URL; None if it does by a proxy."""
    if session._proxy_config.proxy_url_for(url):
        return None
    return session._manager.connection_from_url(url)


def opened(pool: Any) -> Any:
    """Return a connection that botocore has opened and nobody uses, if there is one."""
    connection = pool._get_conn()
    if connection.sock is not None:
        return connection
    pool._put_conn(connection)
    return None


def exchange(
    pool: Any, connection: Any, url: str, data: bytes, timeout: float
) -> AWSResponse | dict[str, Any]:
    """Send a request, and read the answer to its end: the document of a success, or what botocore reads.

    Raises botocore's HTTPClientError. ``timeout`` is that of a read. The connection goes back to the pool,
    closed if there may be more to read from it.
    """
    done = False
    try:
        connection.sock.settimeout(timeout)
        connection.sock.sendall(data)
        with HTTPResponse(connection.sock, method="POST") as response:
            body = _plain_body(response.fp)
            if body is not None:
                status, headers, done = _OK, NO_HEADERS, True
            else:
                response.begin()
                body = response.read()
                status, headers = response.status, HeadersDict(response.headers)
                done = not response.will_close
    except (OSError, HTTPException) as error:
        kind = ReadTimeoutError if isinstance(error, TimeoutError) else ConnectionClosedError
        raise kind(endpoint_url=url, error=error, request=None) from error
    finally:
        if not done:
            connection.close()
        pool._put_conn(connection)
    if status == _OK and (answer := _parsed(body)) is not None:
        return answer
    return AWSResponse(url, status, headers, RawResponse(BytesIO(body), preload_content=False))


def signed_request(
    headers: Mapping[str, str],
    host: str,
    body: bytes,
    credentials: ReadOnlyCredentials,
    region: str,
    service: str,
) -> bytes | None:
    """Return a POST to "/"; None if it has what no header may have."""
    whole = {**headers, "Host": host, "X-Amz-Date": f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"}
    if credentials.token:
        whole["X-Amz-Security-Token"] = credentials.token
    whole["Authorization"] = authorization(whole, body, credentials, region, service)
    whole |= {"Accept-Encoding": "identity", "Content-Length": str(len(body))}
    text = "".join(f"{name}: {value}\r\n" for name, value in whole.items())
    if text.count("\n") != len(whole) or text.count("\r") != len(whole):
        return None
    return f"POST / HTTP/1.1\r\n{text}\r\n".encode("latin-1") + body


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
