"""One HTTP call: a request goes out, and the status of its answer comes back; nothing else of it counts.

The status decides a message's fate. A header that cannot be read, a redirect that leads nowhere, a body
that breaks off or is compressed in an odd way change nothing about it. httpx refuses some of these answers
altogether; so what came over the wire is kept until the answer is understood, and the status is read there.

An answer whose header broke off is none: nobody knows what was to follow (RFC 9112, section 8).
"""

from __future__ import annotations

import contextlib
import email.utils
import os
import re
import ssl
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpcore
import httpx

from .call_thread import CallThread, TimeUpError
from .failure import ConfigurationError, described

# Where a request has the id of its message (in httpx's "extensions").
MESSAGE_ID: Final = "message_id"
SENT_OPENLY: Final = "it sends a key to an http:// URL; use https://, or [api] insecure = true"
# Enough of an answer to keep the connection usable; a longer one is cut off with its connection.
_ANSWER_BYTES_MAX: Final = 65_536
# The formats of zlib that RFC 9110, 8.4.1, names.
_WINDOWS: Final = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
# More than h11 takes for a header (100 KiB) and one read.
_WIRE_BYTES_MAX: Final = 262_144
# httpx's errors of the same names mean the same.
_CORE_ERRORS: Final = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
)
# So much is written within one time limit.
_WRITE_BYTES: Final = 16_384
_STATUS_LINE: Final = re.compile(rb"HTTP/\d(?:\.\d)?[ \t]+(\d{3})(?!\d)[^\n]*\n")
_HEADER_END: Final = re.compile(rb"\n\r?\n")
_SECONDS: Final = re.compile(r"[0-9]+(?:\s*,\s*[0-9]+)*")
# Longer than any message lives, and small enough for every clock.
_RETRY_AFTER_MAX: Final = 10_000_000.0
_PORTS: Final = 65_536
_HOST_MAX: Final = 253  # RFC 1035, 2.3.4
_LABEL_MAX: Final = 63
_PROXY_VARIABLES: Final = ("http_proxy", "https_proxy", "all_proxy")


@dataclass(slots=True)
class Answer:
    """What an API answered; ``text`` is None if its body did not come to an end.

    ``packed`` says that the body is compressed in a way that is not read here: then its text is empty.
    """

    status: int
    text: str | None
    retry_after: float | None
    packed: bool = False


class ApiClient:
    """The connections of one caller at a time; it makes one call at a time, from any thread."""

    def __init__(self, transport: httpx.BaseTransport | None, tls: ssl.SSLContext | None) -> None:
        self._transport = transport
        self._tls = tls
        self._client: httpx.Client | None = None
        self._wire = _Wire()
        self._thread = CallThread()

    def send(self, request: httpx.Request, timeout: float) -> Answer:
        """Send a request and read its answer within ``timeout`` seconds in all.

        httpx's timeouts are for each read; an API that trickles its answer would never exceed them. So
        each read and write on a connection gets what is left of the time. To make a connection has no such
        limit: the system's look-up of a name takes none. A call that needs one runs in a thread of its own
        that is left alone when the time is up: its connections are closed, and it ends at its next read.
        Raises ConfigurationError, or httpx's errors: whichever time is over first, its own or that in all,
        the error is the same.
        """
        if self._client is None:
            self._client, self._wire = _new_client(self._transport, self._tls), _Wire()
        client, wire = self._client, self._wire
        wire.deadline = time.monotonic() + timeout
        try:
            try:
                answer = _exchange(client, request, wire, may_connect=False)
            except _NoConnectionError:
                return self._thread.call(lambda: _exchange(client, request, wire, may_connect=True), timeout)
            self._thread.close()  # the API keeps its connections: no thread has to wait for the next
            return answer
        except TimeUpError:
            self._client = None
            client.close()
            if wire.answer is not None:
                return wire.answer
            raise _time_over(timeout, connecting=wire.connecting) from None
        except (httpx.ReadTimeout, httpx.WriteTimeout, httpx.ConnectTimeout) as error:
            raise _time_over(timeout, connecting=isinstance(error, httpx.ConnectTimeout)) from None

    def close(self) -> None:
        self._thread.close()
        if self._client is not None:
            self._client.close()


class Clients:
    """Clients of one kind; as many are made as calls are in flight at once. Threads may share it.

    A run has new threads, which go on with the connections of the last run's. ``tls`` is the context of all
    connections, None for that of calls without a client certificate.
    """

    def __init__(
        self, transport: httpx.BaseTransport | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self._transport = transport
        self._tls = tls
        self._idle: list[ApiClient] = []
        self._closed = False

    def send(self, request: httpx.Request, timeout: float) -> Answer:
        """Send a request as :meth:`ApiClient.send` does."""
        try:
            client = self._idle.pop()  # the one used last: its connections are the most likely to be open
        except IndexError:
            client = ApiClient(self._transport, self._tls)
        try:
            return client.send(request, timeout)
        finally:
            self._idle.append(client)
            if self._closed:
                self.close()

    def close(self) -> None:
        """Close every connection, those in use when their call ends."""
        self._closed = True
        while self._idle:
            with contextlib.suppress(IndexError):  # another thread was faster
                self._idle.pop().close()


class _NoConnectionError(Exception):
    """No connection is open any more; nothing was sent."""


def _time_over(timeout: float, *, connecting: bool) -> httpx.TimeoutException:
    if connecting:
        return httpx.ConnectTimeout(f"no connection within {timeout:.3g} s")
    return httpx.ReadTimeout(f"no complete answer within {timeout:.3g} s")


class _Wire:
    """What was received in answer to the request at hand, and what it may still take.

    ``deadline`` is on the monotonic clock; ``connecting``: nothing of the request was sent yet.
    """

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self.connecting = False
        self.may_connect = True
        self.deadline = 0.0
        self._received = bytearray()
        self._ended = False

    def begin(self) -> None:
        self.answer = None
        self.connecting = False
        self._received.clear()
        self._ended = False

    def trace(self, name: str, info: Mapping[str, Any]) -> None:
        """Follow httpcore's events (its extension "trace"): listen to each new connection."""
        if name.endswith("connect_tcp.started"):
            if not self.may_connect:
                raise _NoConnectionError
            self.connecting = True
        elif name.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._listen(info.get("return_value"))
        elif name.endswith("send_request_headers.started"):
            self.begin()  # a proxy's answer before is not the API's

    def status(self, *, broken_off: bool) -> int | None:
        """Return the status received; None if the other side broke off before the end of its header."""
        broken_off = broken_off or self._ended
        start = 0
        while match := _STATUS_LINE.match(self._received, start):
            end = _HEADER_END.search(self._received, match.end() - 1)
            if not match[1].startswith(b"1") or match[1] == b"101":
                return int(match[1]) if end or not broken_off else None
            if end is None:
                return None
            start = end.end()
        return None

    def _listen(self, stream: Any) -> None:
        """Keep what a connection's stream reads, and bound what each of its reads and writes may take."""
        if not isinstance(stream, httpcore.NetworkStream):
            return
        read, write = stream.read, stream.write

        def listening(max_bytes: int, timeout: float | None = None) -> bytes:
            data = read(max_bytes, self._left(httpcore.ReadTimeout))
            if not data:
                self._ended = True
            elif len(self._received) < _WIRE_BYTES_MAX:
                self._received += data
            return data

        def writing(buffer: bytes, timeout: float | None = None) -> None:
            for start in range(0, len(buffer), _WRITE_BYTES):
                write(buffer[start : start + _WRITE_BYTES], self._left(httpcore.WriteTimeout))

        vars(stream).update(read=listening, write=writing)

    def _left(self, over: type[httpcore.TimeoutException]) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise over
        return left


class _Received(NamedTuple):
    """An answer whose body is still to be read."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: Any  # an iterable of bytes that can be closed

    def values(self, name: bytes) -> list[str]:
        """Return the values of all headers of a name, which is in lower case."""
        return [value.decode("latin-1") for known, value in self.headers if known.lower() == name]


def _exchange(client: httpx.Client, request: httpx.Request, wire: _Wire, *, may_connect: bool) -> Answer:
    wire.begin()
    wire.may_connect = may_connect
    request.extensions = {**request.extensions, "trace": wire.trace}
    try:
        received = _sent(client, request)
    except (httpx.TimeoutException, httpx.LocalProtocolError, _NoConnectionError):
        raise
    except Exception as error:  # httpx does not accept the answer; its status may be plain nevertheless
        status = wire.status(broken_off=isinstance(error, httpx.NetworkError))
        if status is None:
            raise
        return Answer(status, None, None)
    answer = wire.answer = Answer(received.status, None, _retry_after(received))
    try:
        answer = _with_body(answer, received)
    except Exception:  # noqa: BLE001 - the status is known, and it decides
        return answer
    finally:
        with contextlib.suppress(Exception):
            received.body.close()
    return answer


def _sent(client: httpx.Client, request: httpx.Request) -> _Received:
    """Send a request by the connections that httpx has chosen for it; raises httpx's errors.

    What httpx does beyond that costs as much as the call itself, and none of it is wanted: redirects,
    cookies, the decoding of answers.
    """
    transport = client._transport_for_url(request.url)
    if not isinstance(transport, httpx.HTTPTransport):
        response = transport.handle_request(request)
        return _Received(response.status_code, response.headers.raw, response.stream)
    url = request.url
    try:
        answer = transport._pool.handle_request(
            httpcore.Request(
                request.method,
                httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.content,
                extensions=request.extensions,
            )
        )
    except _CORE_ERRORS as error:
        raise getattr(httpx, type(error).__name__)(str(error)) from error
    return _Received(answer.status, answer.headers, answer.stream)


def _with_body(answer: Answer, received: _Received) -> Answer:
    """Read the beginning of a body; raw if it is packed: a small answer may unpack to a huge one."""
    encoding = ", ".join(received.values(b"content-encoding")).strip().lower()
    body = b""
    for chunk in received.body:
        body += chunk
        if len(body) > _ANSWER_BYTES_MAX:
            break
    text: str | None
    try:
        text = _unpacked(body, encoding, whole=len(body) <= _ANSWER_BYTES_MAX)
    except zlib.error:
        return replace(answer, text="", packed=True)
    return replace(answer, text=text)


def _unpacked(body: bytes, encoding: str, *, whole: bool) -> str | None:
    """Return the beginning of a body, None if it broke off; raises zlib.error if it cannot be unpacked."""
    if body and encoding not in ("", "identity"):
        if encoding not in _WINDOWS:
            raise zlib.error(encoding)
        unpack = zlib.decompressobj(wbits=_WINDOWS[encoding])
        if encoding == "deflate" and not _is_zlib(body):  # many servers leave zlib's header out
            unpack = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        body = unpack.decompress(body, _ANSWER_BYTES_MAX)
        if whole and not unpack.eof and not unpack.unconsumed_tail and len(body) < _ANSWER_BYTES_MAX:
            return None
    return body.decode("utf-8", "replace")


def _is_zlib(body: bytes) -> bool:
    """Whether a body begins as RFC 1950 has it."""
    return len(body) > 1 and body[0] & 15 == zlib.DEFLATED and int.from_bytes(body[:2]) % 31 == 0


def _retry_after(received: _Received) -> float | None:
    """Return the longest time that the Retry-After headers ask for."""
    asked = [retry_after(value) for value in received.values(b"retry-after")]
    return max((seconds for seconds in asked if seconds is not None), default=None)


def retry_after(value: str) -> float | None:
    """Read a Retry-After header (RFC 9110, 10.2.3): seconds, or an HTTP date; None if it says nothing."""
    text = value.strip()
    if _SECONDS.fullmatch(text):  # with a comma where a proxy joined two headers
        return min(_RETRY_AFTER_MAX, max(float(part.strip()[:20]) for part in text.split(",")))
    try:
        instant = email.utils.parsedate_to_datetime(text)
        instant = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
        seconds = (instant - datetime.fromtimestamp(time.time(), UTC)).total_seconds()
    except Exception:  # noqa: BLE001 - it is the API's text: what cannot be read as a date is not one
        return None
    return min(_RETRY_AFTER_MAX, max(0.0, seconds))


def url_fault(url: str | httpx.URL) -> str | None:
    """Say why a URL cannot be called, by what httpx and the resolver make of it; None if it can."""
    try:
        parsed = httpx.URL(url)
        parsed.host  # noqa: B018 - decoding an internationalised name may fail
        host = parsed.raw_host.decode("ascii")
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        return f"which is not a URL: {described(error)}"
    if parsed.scheme not in ("http", "https") or not host:
        return "which is not an http:// or https:// URL with a host"
    if parsed.port is not None and not 0 < parsed.port < _PORTS:
        return "whose port is not from 1 to 65535"
    labels = host.removesuffix(".").split(".")
    if len(host) > _HOST_MAX or not all(0 < len(label) <= _LABEL_MAX for label in labels):
        return "whose host has a part that is empty or longer than 63 characters"
    return None


def _new_client(transport: httpx.BaseTransport | None, tls: ssl.SSLContext | None) -> httpx.Client:
    """Make a client; raises ConfigurationError naming what in the environment is unusable."""
    file, folder, log = map(os.environ.get, ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"))
    try:
        return httpx.Client(transport=transport, verify=tls or _certificates(file, folder, log))
    except Exception as error:  # noqa: BLE001 - the environment is the cause of any error here
        raise _environment_fault(error) from None


def new_tls_context() -> ssl.SSLContext:
    """Make a context of its own that trusts whom every call trusts; raises ConfigurationError."""
    try:
        return _tls_context()
    except Exception as error:  # noqa: BLE001 - the environment is the cause of any error here
        raise _environment_fault(error) from None


def _tls_context() -> ssl.SSLContext:
    folder = os.environ.get("SSL_CERT_DIR")
    if folder and not os.environ.get("SSL_CERT_FILE") and not Path(folder).is_dir():
        raise FileNotFoundError(folder)  # OpenSSL would ignore it, and then trust nobody
    return httpx.create_ssl_context()


@lru_cache(maxsize=1)
def _certificates(*places: str | None) -> ssl.SSLContext:
    """Read the certificates, once for all clients: it takes 24 ms and a MiB, and httpx does it for each.

    Where they are is the environment's affair: httpx reads these variables.
    """
    return _tls_context()


def _environment_fault(error: Exception) -> ConfigurationError:
    """Find out which variable it was that httpx could not use. Proxy URLs may hold passwords: not quoted."""
    for name, value in sorted(os.environ.items()):
        if name.lower() in _PROXY_VARIABLES and value:
            try:
                url = value if "://" in value else f"http://{value}"
                httpx.HTTPTransport(
                    proxy=url, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), trust_env=False
                )
            except ImportError:
                return ConfigurationError(_variable(name), "a SOCKS proxy needs the package socksio")
            except Exception:  # noqa: BLE001 - this variable is the cause of any error here
                return ConfigurationError(_variable(name), "not the URL of a proxy (http://HOST:PORT)")
    for name, check in (
        ("SSLKEYLOGFILE", _open_key_log),
        ("SSL_CERT_FILE", lambda path: ssl.create_default_context(cafile=path)),
        ("SSL_CERT_DIR", os.listdir),
    ):
        path = os.environ.get(name, "")
        try:
            if path:
                check(path)
        except Exception as fault:  # noqa: BLE001 - this variable is the cause of any error here
            reason = getattr(fault, "strerror", None) or type(fault).__name__
            return ConfigurationError(f"{_variable(name)}, file {path}", str(reason))
    for name in ("NO_PROXY", "no_proxy"):
        if hosts := os.environ.get(name):
            return ConfigurationError(_variable(name), f"{hosts} cannot be used", described(error))
    return ConfigurationError("the environment for HTTP calls", "it cannot be used", described(error))


def _variable(name: str) -> str:
    return f"environment variable {name}"


def _open_key_log(path: str) -> None:
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).keylog_filename = path
