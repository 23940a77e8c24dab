"""The API call and its class: success, transient, permanent (docs/how-it-works.md)."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import urlsplit

import httpx

from . import exact_json
from .api_client import MESSAGE_ID, SENT_OPENLY, Answer, Clients, url_fault
from .api_keys import Keys, KeyValues, header_fault
from .code_guard import CodeGuard
from .failure import (
    ApiUnavailableError,
    ConfigurationError,
    LateTokenError,
    MessageError,
    NoTokenError,
    Owner,
    described,
    may_have_arrived,
)
from .hosts import is_this_machine
from .parked_records import NOT_A_MESSAGE, is_parked_record
from .placeholders import filled, placeholders
from .runtime import Api
from .visibility import QueueMessage

_UNAUTHORIZED: Final = 401
_CREDENTIALS: Final = frozenset({_UNAUTHORIZED, 403})
_SNIPPET_MAX: Final = 300
# So much of an answer is looked at for that; an outage has many answers.
_QUOTED_FROM_MAX: Final = 1_000
# What it takes to park or release what a run holds.
_SETTLE_SECONDS: Final = 2.0
# What h11 sends: a token as name, and no NUL, line break or outer white space in a value.
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(rb"(?:[^\0-\x20\x7f]+(?:[ \t]+[^\0-\x20\x7f]+)*)?")  # RFC 9110, 5.5

if TYPE_CHECKING:
    from .api_auth import ApiAuth

RequestCode = Callable[[Any, dict[str, Any], dict[str, str]], httpx.Request]


class Verdict(Enum):
    """What an attempt means for the message."""

    SUCCESS = "success"
    TRANSIENT = "transient"
    PERMANENT = "permanent"


@dataclass(frozen=True, slots=True)
class Attempt:
    """The outcome of one attempt at all APIs; ``retry_after`` is in seconds, ``api`` the one that decided.

    ``owner`` is whose failure it is, None for a success. ``error_type`` is the class of the error where the
    API was called and did not answer. ``no_token``: there was none for the call, which was not made.
    """

    verdict: Verdict
    http_status: int | None = None
    error: str | None = None
    retry_after: float | None = None
    api: Api | None = None
    owner: Owner | None = None
    error_type: str | None = None
    no_token: bool = False

    @property
    def failed_at(self) -> str | None:
        """The name of the API that the message did not get past, if there is one."""
        return None if self.api is None or self.verdict is Verdict.SUCCESS else self.api.name


@dataclass(frozen=True, slots=True)
class _Try:
    """One attempt at a message: what it may take, and what it has taken.

    ``waited`` is for how many seconds each API's token was waited for before the first call.
    """

    message: QueueMessage
    time_left: Callable[[], float]
    on_repeat: Callable[[], None]
    waited: dict[int, float] = field(default_factory=dict)

    def has_time_for(self, api: Api) -> bool:
        """Whether the run has the time for another call."""
        return self.time_left() >= api.timeout + _SETTLE_SECONDS


class ApiDelivery:
    """Delivers messages to the APIs, in their order; safe to share between threads."""

    def __init__(
        self,
        apis: tuple[Api, ...],
        keys: Keys,
        *,
        code: RequestCode | None = None,
        guard: CodeGuard | None = None,
        transport: httpx.BaseTransport | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        assert (code is None) == (guard is None), "code of the user's is run by its guard"
        self._apis = apis
        self._keys = keys
        self._code = code
        self._guard = guard
        self._clients = Clients(transport)
        # The URL and the headers of each API, with the keys of one generation.
        self._prepared: dict[int, tuple[int, httpx.URL, httpx.Headers]] = {}
        self._auths: dict[int, ApiAuth] = {}
        for api in apis:
            if api.auth:
                from .api_auth import ApiAuth  # noqa: PLC0415 - 10 ms that most functions need not take

                named = api.name if len(apis) > 1 else ""
                self._auths[id(api)] = ApiAuth(api, keys, transport, now, named=named)

    def close(self) -> None:
        self._clients.close()
        for auth in self._auths.values():
            auth.close()
        if self._guard is not None:
            self._guard.close()

    def redact(self, text: str) -> str:
        return self._keys.redact(text)

    @property
    def calls(self) -> int:
        """How many calls a message makes if none is repeated."""
        return len(self._apis)

    @property
    def keys_too_short(self) -> tuple[str, ...]:
        """The keys that were read and are too short to be hidden in a text."""
        return self._keys.too_short

    def attempt(
        self,
        message: QueueMessage,
        *,
        time_left: Callable[[], float] = lambda: float("inf"),
        on_doubt: Callable[[Sequence[str]], None] = lambda apis: None,
        on_repeat: Callable[[], None] = lambda: None,
    ) -> Attempt:
        """Try every API once, the message counting as delivered when all have succeeded.

        ``time_left`` says how many seconds the run still has: the user's code may take so many. ``on_doubt``
        is called if the message is not delivered, with the names of the APIs that have taken it, or may have;
        ``on_repeat`` before a call that is made again, with other keys.
        Raises what is neither the message's failure nor the API's: ConfigurationError, AWS's errors, and any
        defect.
        """
        if is_parked_record(message.attribute("park_from")):  # moved to main by other means than ours
            return Attempt(Verdict.PERMANENT, None, NOT_A_MESSAGE, owner="message")
        this = _Try(message, time_left, on_repeat)
        if len(self._apis) > 1 and (unready := self._unready(this)):
            return unready
        outcome = Attempt(Verdict.SUCCESS)
        taken: list[str] = []
        try:
            for api in self._apis:
                outcome = self._attempt_one(api, this)
                if outcome.verdict is not Verdict.SUCCESS:
                    if may_have_arrived(outcome.http_status, outcome.error_type):
                        taken.append(api.name)
                    return outcome
                taken.append(api.name)
            taken = []
            return outcome
        finally:
            if taken:
                on_doubt(taken)

    def _unready(self, this: _Try) -> Attempt | None:
        """Find what an API could not be called for, before the first of several is called; None if nothing.

        Found at its turn only, the APIs before it would get the message again in every run.
        """
        generation = self._keys.current().generation
        try:
            return self._first_unready(this)
        except ConfigurationError as fault:
            if not self._keys:
                raise
            self._keys.renew(generation)
            if self._first_unready(this) is None:
                return None
            raise fault from None  # it may have taken the time for the second try: a token endpoint is slow

    def _first_unready(self, this: _Try) -> Attempt | None:
        keys = self._keys.current()
        for api in self._apis:
            self._prepare(api, keys)
            if (auth := self._auths.get(id(api))) is None:
                continue
            began, waited, late = time.monotonic(), this.waited.get(id(api), 0.0), False
            try:
                auth.prepare(keys, waited)
            except LateTokenError as error:
                if not this.has_time_for(api):
                    return self._unanswered(api, error)
                late = True  # its call has the token at once
            except ApiUnavailableError as error:
                return self._unanswered(api, error)
            finally:
                this.waited[id(api)] = 0.0 if late else waited + time.monotonic() - began
        return None

    def _attempt_one(self, api: Api, this: _Try) -> Attempt:
        """Call one API, and say what became of it."""
        try:
            answer, called = self._call_with_fresh_keys(api, this)
        except MessageError as error:
            return Attempt(Verdict.PERMANENT, None, error.shown(self.redact), api=api, owner="message")
        except ApiUnavailableError as error:
            return self._unanswered(api, error)
        verdict = classify(answer.status, api)
        if verdict is Verdict.SUCCESS:
            return Attempt(verdict, answer.status, None, answer.retry_after, api)
        owner: Owner = "message" if verdict is Verdict.PERMANENT else "api"
        return Attempt(verdict, answer.status, self._reason(answer, called), answer.retry_after, api, owner)

    def _unanswered(self, api: Api, error: ApiUnavailableError) -> Attempt:
        what = "no answer from" if error.error_type else "no call to"
        return Attempt(
            Verdict.TRANSIENT,
            None,
            f"{what} {error.called or api.name}: {error.shown(self.redact)}",
            error.retry_after,
            api=api,
            owner="api",
            error_type=error.error_type,
            no_token=isinstance(error, NoTokenError),
        )

    def _call_with_fresh_keys(self, api: Api, this: _Try) -> tuple[Answer, str]:
        """Call an API; where a key was refused or cannot be used, once more with the keys read again.

        They may have been rotated, or corrected, since this environment read them; and a token may have been
        revoked. Without time for another call, the next run makes it.
        """
        generation = self._keys.current().generation
        can_change = bool(self._keys) or id(api) in self._auths
        fault = None
        try:
            answer, called = self._call(api, this, first=True)
            refused = answer.status in _CREDENTIALS and not _matches(answer.status, api.success)
            if not (refused and can_change and this.has_time_for(api)):
                return answer, called
        except ConfigurationError as error:
            if not self._keys:
                raise
            fault = error
        self._keys.renew(generation)
        if fault is not None and not this.has_time_for(api):
            raise fault  # the answer may have taken all the time: a token endpoint is slow
        this.on_repeat()
        return self._call(api, this)

    def _reason(self, answer: Answer, name: str) -> str:
        """Return status, API and beginning of an answer on one line; keys are hidden before it is cut off.

        Of an answer that broke off nothing is quoted: a part of a key could be its end.
        """
        status = f"HTTP {answer.status} from {name}"
        if answer.text is None:
            return f"{status}; the answer broke off"
        if answer.packed:
            return f"{status}: (text withheld: it is compressed in a way that is not read here)"
        line = " ".join(self.redact(answer.text[:_QUOTED_FROM_MAX]).split())
        text = self.redact("".join(char if char.isprintable() else "?" for char in line))[:_SNIPPET_MAX]
        return f"{status}: {text}".rstrip(": ")

    def _call(self, api: Api, this: _Try, *, first: bool = False) -> tuple[Answer, str]:
        """Make the request and send it; everything that httpx then raises has an owner.

        Returns the answer and how texts call who gave it. A token that is refused is renewed where this is
        the ``first`` call of an attempt.
        """
        keys = self._keys.current()
        request, called = self._request(api, this, keys)
        auth, clients, timeout = self._auths.get(id(api)), self._clients, api.timeout
        if auth is not None:
            try:
                timeout = auth.authenticate(request, keys, this.waited.get(id(api), 0.0))
            except LateTokenError:
                if not (first and this.has_time_for(api)):
                    raise
                timeout = auth.authenticate(request, keys)  # with the token that came
            clients = auth.clients or clients
        try:
            answer = clients.send(request, timeout)
            if auth is not None and first and answer.status == _UNAUTHORIZED:
                auth.refused(request)
            return answer, called
        except Exception as error:
            if self._guard is not None and type(error).__name__ == "LocalProtocolError":  # httpx's, and h11's
                # It could not be sent as it is, such as a body of another length than its header says.
                words = f"{self._guard.name} made a request that cannot be sent: "
                raise MessageError(described(error), words=words) from error
            if isinstance(error, httpx.TransportError):
                if fault := auth and auth.fault_of(error):
                    raise fault from error
                # h11 quotes what it cannot read: of such an answer nothing is shown.
                text = described(error).partition(": bytearray(")[0]
                words = auth.words_of(error) if auth else ""
                raise ApiUnavailableError(text, type(error).__name__, called=called, words=words) from error
            raise

    def _request(self, api: Api, this: _Try, keys: KeyValues) -> tuple[httpx.Request, str]:
        """Make the request, and return how texts call what it goes to: user code may call another host."""
        if self._guard is None:
            return self._own_request(api, this.message, keys), api.name
        seconds = max(1.0, this.time_left() - _SETTLE_SECONDS)
        request = self._user_request(api, this.message, keys.values, seconds)
        if not this.has_time_for(api):
            raise ApiUnavailableError(f"{self._guard.name} left no time in this run to call the API")
        host = request.url.host
        return request, api.name if host == urlsplit(api.url).hostname else self.redact(host)

    def _own_request(self, api: Api, message: QueueMessage, keys: KeyValues) -> httpx.Request:
        body = _checked_body(message)
        url, headers = self._prepare(api, keys)
        # The body goes out as it came, so that no number or key order changes on the way.
        return _addressed(httpx.Request(api.method, url, headers=headers, content=body), api, message)

    def _prepare(self, api: Api, keys: KeyValues) -> tuple[httpx.URL, httpx.Headers]:
        """Return where an API's calls go, and their headers; raises ConfigurationError."""
        prepared = self._prepared.get(id(api))
        if prepared is None or prepared[0] != keys.generation:
            if fault := url_fault(api.url):
                raise ConfigurationError(f"[api] url {api.url}", fault)
            headers = httpx.Headers(self._own_headers(api, keys.values))
            self._prepared[id(api)] = prepared = keys.generation, httpx.URL(api.url), headers
        return prepared[1:]

    def _own_headers(self, api: Api, keys: Mapping[str, str]) -> dict[str, str]:
        """Put the keys into the headers; raises ConfigurationError for one that no header can hold."""
        headers = {"Content-Type": "application/json"}
        for name, template in api.headers.items():
            for key in placeholders(template):
                if key in keys and (fault := header_fault(keys[key])):
                    raise ConfigurationError(self._keys.label(key), fault)
            value = filled(template, keys)
            if not (value.isascii() and _HEADER_VALUE.fullmatch(value.encode())):
                raise ConfigurationError(f"[api] headers: {name}", "not a legal value of an HTTP header")
            headers = {kept: text for kept, text in headers.items() if kept.lower() != name.lower()}
            headers[name] = value
        return headers

    def _user_request(
        self, api: Api, message: QueueMessage, keys: Mapping[str, str], seconds: float
    ) -> httpx.Request:
        guard, code = self._guard, self._code
        assert guard is not None
        assert code is not None
        try:
            body = exact_json.loads(message.body)
        except Exception as error:  # what cannot be read is this message's fault
            raise MessageError(f"the body is not JSON that can be read: {described(error)}") from error
        attributes = {
            name: value.get("StringValue", value.get("BinaryValue"))
            for name, value in message.attributes.items()
        }

        def make() -> httpx.Request:
            try:
                request = code(body, attributes, dict(keys))
            except UnicodeEncodeError as error:  # httpx takes no such header
                self._blame_a_key(str(error.object), keys)
                raise
            return _addressed(self._sendable(request, api, keys), api, message)

        return guard.run(message.message_id, make, seconds=seconds)

    def _sendable(self, request: object, api: Api, keys: Mapping[str, str]) -> httpx.Request:
        """Check what the user's code made, and read its body: all of it is code of the user's."""
        assert self._guard is not None
        name = self._guard.name
        request = checked_request(name, request)
        url = request.url
        if fault := url_fault(url):
            shown = str(url.copy_with(userinfo=b""))[:_SNIPPET_MAX]
            raise MessageError(f"{name} returned a request for {shown!r}, {fault}")
        if url.userinfo and "Authorization" in request.headers:
            raise MessageError(
                f"{name} returned a request with both a user name in its URL and an Authorization header"
            )
        for header, value in request.headers.raw:
            if not (_TOKEN.fullmatch(header) and _HEADER_VALUE.fullmatch(value)):
                self._blame_a_key(value.decode("utf-8", "replace"), keys)
                raise MessageError(
                    f"{name} made the header {header.decode('ascii', 'replace')!r},"
                    " whose name or value HTTP does not allow (a line break, say)"
                )
        if url.scheme == "http" and not (api.insecure or is_this_machine(url.host)):
            texts = [str(url), *(value.decode("utf-8", "replace") for _, value in request.headers.raw)]
            if any(value and value in text for value in keys.values() for text in texts):
                raise ConfigurationError("[handlers] request", SENT_OPENLY)
        return request

    def _blame_a_key(self, text: str, keys: Mapping[str, str]) -> None:
        """Raise ConfigurationError if a header is illegal because of a key that it holds."""
        for name, value in keys.items():
            if value and value in text and (fault := header_fault(value)):
                raise ConfigurationError(self._keys.label(name), fault)


def checked_request(name: str, request: object) -> httpx.Request:
    """Return what the user's function made, its body read; raises MessageError if it is not a request."""
    if not isinstance(request, httpx.Request):
        raise MessageError(f"{name} returned {type(request).__name__}, not an httpx.Request")
    if not isinstance(request.stream, httpx.SyncByteStream):
        raise MessageError(f"{name} returned a request with an asynchronous body")
    request.read()
    return request


def _addressed(request: httpx.Request, api: Api, message: QueueMessage) -> httpx.Request:
    """Add what every request has: the key that makes a second delivery harmless, and the time limit."""
    message_id = _header_text(message.attribute("event_id") or message.message_id)
    if "idempotency-key" not in request.headers:
        request.headers["Idempotency-Key"] = message_id
    if request.url.userinfo:
        next(httpx.BasicAuth(request.url.username, request.url.password).auth_flow(request))
    # httpx applies a client's timeout only to requests that the client built itself.
    timeout = httpx.Timeout(api.timeout).as_dict()
    request.extensions = {**request.extensions, "timeout": timeout, MESSAGE_ID: message_id}
    return request


def _checked_body(message: QueueMessage) -> bytes:
    """Return the body's bytes if it is JSON; its numbers are read as texts, so none is too large."""
    try:
        json.loads(message.body, parse_int=str, parse_float=str, parse_constant=_refuse)
    except RecursionError:
        pass  # nested too deep to look at here, and legal JSON all the same
    except ValueError as error:
        raise MessageError(f"the body is not JSON: {error}") from None
    return message.body.encode("utf-8", "surrogatepass")


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def classify(status: int, api: Api) -> Verdict:
    """Say what an HTTP status means; neither success nor listed as permanent may pass, so it waits."""
    if _matches(status, api.success):
        return Verdict.SUCCESS
    return Verdict.PERMANENT if _matches(status, api.permanent) else Verdict.TRANSIENT


def _matches(status: int, patterns: tuple[str, ...]) -> bool:
    return str(status) in patterns or f"{status // 100}xx" in patterns


def _header_text(text: str) -> str:
    """Return ``text`` if a header can hold it, else its escaped form."""
    if text.isascii() and text.isprintable() and text == text.strip():
        return text
    return text.encode("unicode_escape").decode("ascii").replace(" ", "\\x20") or "-"
