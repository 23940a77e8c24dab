"""The API call and its class: success, transient, permanent (design, *Failure policy*)."""

from __future__ import annotations

import email.utils
import re
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

import httpx

from . import exact_json
from .inbox import Held
from .keys import Keys
from .runtime import Api

_PLACEHOLDER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_CREDENTIALS: Final = frozenset({401, 403})
_SNIPPET_MAX: Final = 300
# Enough of an answer to keep the connection usable; a longer one is cut off with its connection.
_ANSWER_BYTES_MAX: Final = 65_536

RequestCode = Callable[[Any, dict[str, Any], dict[str, str]], httpx.Request]


class Verdict(Enum):
    """What an attempt means for the message."""

    SUCCESS = "success"
    TRANSIENT = "transient"
    PERMANENT = "permanent"


@dataclass(frozen=True, slots=True)
class Attempt:
    """The outcome of one attempt at all APIs; ``retry_after`` is in seconds, ``api`` the one that decided."""

    verdict: Verdict
    http_status: int | None = None
    error: str | None = None
    retry_after: float | None = None
    api: Api | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    text: str
    retry_after: float | None
    complete: bool


class _PermanentError(Exception):
    """The message itself cannot be made into a request."""


class Courier:
    """Delivers messages to the APIs, in their order; safe to share between threads."""

    def __init__(
        self,
        apis: tuple[Api, ...],
        keys: Keys,
        *,
        code: RequestCode | None = None,
        code_name: str = "",
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._apis = apis
        self._keys = keys
        self._code = code
        self._code_name = code_name
        self._transport = transport
        # A client a thread: when one call's time is up its connections are closed, and no other's.
        self._clients: dict[int, httpx.Client] = {}

    def close(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            client.close()

    def redact(self, text: str) -> str:
        """Blot the keys' values out of a text."""
        return self._keys.redact(text)

    def attempt(self, message: Held) -> Attempt:
        """Try every API once, the message counting as delivered when all have succeeded.

        Raises what reading the keys raises: their lack is no fault of the message's.
        """
        outcome = Attempt(Verdict.SUCCESS)
        for api in self._apis:
            outcome = self._attempt_one(api, message)
            if outcome.verdict is not Verdict.SUCCESS:
                return outcome
        return outcome

    def _attempt_one(self, api: Api, message: Held) -> Attempt:
        """Call one API; on 401 and 403 once more with the keys read again, as they may have been rotated."""
        generation, values = self._keys.current()
        try:
            answer = self._call(api, self._request(api, message, values))
            if answer.status in _CREDENTIALS and not _matches(answer.status, api.success) and self._keys:
                self._keys.renew(generation)
                answer = self._call(api, self._request(api, message, self._keys.current()[1]))
        except _PermanentError as error:
            return Attempt(Verdict.PERMANENT, None, self.redact(str(error)), api=api)
        except httpx.HTTPError as error:
            reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            return Attempt(Verdict.TRANSIENT, None, self.redact(reason), api=api)
        verdict = classify(answer.status, api)
        if verdict is Verdict.SUCCESS and not answer.complete:
            return Attempt(Verdict.TRANSIENT, answer.status, "the answer broke off", api=api)
        said = (
            None
            if verdict is Verdict.SUCCESS
            else f"HTTP {answer.status}: {self._snippet(answer.text)}".rstrip(": ")
        )
        return Attempt(verdict, answer.status, said, answer.retry_after, api)

    def _snippet(self, text: str) -> str:
        """Return the beginning of an answer on one line, the keys blotted out before anything is cut off."""
        line = " ".join(self.redact(text).split())
        return self.redact("".join(char if char.isprintable() else "?" for char in line))[:_SNIPPET_MAX]

    def _request(self, api: Api, message: Held, keys: Mapping[str, str]) -> httpx.Request:
        try:
            body = exact_json.loads(message.body)
        except (ValueError, RecursionError) as error:
            raise _PermanentError(f"the body is not JSON: {error}") from None
        request = (
            self._own_request(api, message, keys)
            if self._code is None
            else self._user_request(body, message, keys)
        )
        if "idempotency-key" not in request.headers:
            request.headers["Idempotency-Key"] = _header_text(
                message.attribute("event_id") or message.message_id
            )
        # httpx applies a client's timeout only to requests that the client built itself.
        request.extensions = {**request.extensions, "timeout": httpx.Timeout(api.timeout).as_dict()}
        return request

    def _own_request(self, api: Api, message: Held, keys: Mapping[str, str]) -> httpx.Request:
        headers = {"Content-Type": "application/json"}
        for name, template in api.headers.items():
            headers = {kept: value for kept, value in headers.items() if kept.lower() != name.lower()}
            headers[name] = _PLACEHOLDER.sub(lambda match: keys.get(match[1], match[0]), template)
        try:
            # The body goes out as it came, so that no number or key order changes on the way.
            return httpx.Request(api.method, api.url, headers=headers, content=message.body.encode())
        except (ValueError, TypeError, httpx.InvalidURL) as error:
            raise _PermanentError(f"the request cannot be built: {type(error).__name__}: {error}") from None

    def _user_request(self, body: Any, message: Held, keys: Mapping[str, str]) -> httpx.Request:
        assert self._code is not None
        attributes = {
            name: value.get("StringValue", value.get("BinaryValue"))
            for name, value in message.attributes.items()
        }
        try:
            request = self._code(body, attributes, dict(keys))
        except (
            Exception,
            SystemExit,
        ) as error:  # the user's code: whatever it raises is the message's reason
            raise _PermanentError(f"{self._code_name} raised {type(error).__name__}: {error}") from error
        if not isinstance(request, httpx.Request):
            raise _PermanentError(
                f"{self._code_name} returned {type(request).__name__}, not an httpx.Request"
            )
        return request

    def _call(self, api: Api, request: httpx.Request) -> _Answer:
        """Send a request and read its answer within ``api.timeout`` seconds in all.

        httpx's timeouts are for each read; an API that trickles its answer would never exceed them. So
        the call runs in a thread of its own that is abandoned when the time is up: its connections are
        closed, and it ends at its next read.
        """
        client, box = self._client(), _Box()
        thread = threading.Thread(target=box.fill, args=(lambda: _exchange(client, request),), daemon=True)
        thread.start()
        thread.join(api.timeout)
        if thread.is_alive():
            del self._clients[threading.get_ident()]
            client.close()
            raise httpx.ReadTimeout(f"no complete answer within {api.timeout:g} s")
        return box.result()

    def _client(self) -> httpx.Client:
        thread = threading.get_ident()
        if thread not in self._clients:
            self._clients[thread] = httpx.Client(transport=self._transport, follow_redirects=False)
        return self._clients[thread]


class _Box:
    """Carries a result or an exception out of a thread."""

    def __init__(self) -> None:
        self._answer: _Answer | None = None
        self._error: BaseException | None = None

    def fill(self, work: Callable[[], _Answer]) -> None:
        try:
            self._answer = work()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            self._error = error

    def result(self) -> _Answer:
        if self._error is not None:
            if isinstance(self._error, httpx.HTTPError | _PermanentError):
                raise self._error
            # A closed client, a header that h11 refuses, an odd URL: no answer, so nothing is known.
            raise httpx.RequestError(f"{type(self._error).__name__}: {self._error}") from self._error
        assert self._answer is not None
        return self._answer


def _exchange(client: httpx.Client, request: httpx.Request) -> _Answer:
    response = client.send(request, stream=True)
    encoding = response.headers.get("Content-Encoding", "")
    body, complete = b"", True
    try:
        # Raw where it is compressed: a small answer may unpack to more than the function's memory holds.
        for chunk in response.iter_raw() if encoding else response.iter_bytes():
            body += chunk
            if len(body) > _ANSWER_BYTES_MAX:
                break
    except httpx.HTTPError:
        complete = False
    finally:
        response.close()
    text = _unpacked(body, encoding).decode("utf-8", "replace")
    return _Answer(response.status_code, text, retry_after(response.headers.get("Retry-After")), complete)


def _unpacked(body: bytes, encoding: str) -> bytes:
    """Return the beginning of a body, uncompressed if it was gzip or deflate, else as it is."""
    if encoding.lower() not in ("gzip", "x-gzip", "deflate"):
        return body
    try:
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 32).decompress(body, _ANSWER_BYTES_MAX)
    except zlib.error:
        return body


def classify(status: int, api: Api) -> Verdict:
    """Say what an HTTP status means; neither success nor listed as permanent may pass, so it waits."""
    if _matches(status, api.success):
        return Verdict.SUCCESS
    return Verdict.PERMANENT if _matches(status, api.permanent) else Verdict.TRANSIENT


def _matches(status: int, patterns: tuple[str, ...]) -> bool:
    return str(status) in patterns or f"{status // 100}xx" in patterns


def retry_after(value: str | None) -> float | None:
    """Read a Retry-After header (RFC 9110, 10.2.3): seconds, or an HTTP date; None if it says nothing."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value.strip()[:9])
    try:
        instant = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    instant = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return max(0.0, (instant - datetime.fromtimestamp(time.time(), UTC)).total_seconds())


def _header_text(text: str) -> str:
    """Return ``text`` if a header can hold it, else its escaped form."""
    return text if text.isascii() and text.isprintable() else text.encode("unicode_escape").decode("ascii")
