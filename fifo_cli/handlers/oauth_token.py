"""The access token of OAuth 2.0 client credentials (RFC 6749, 4.4): one for all calls of an API.

It is kept for a function's life and shared by its threads, fetched once however many wait for it, and
renewed before it expires. A token endpoint that refuses the client is a fault of configuration: nobody else
can correct it. All else that keeps it from giving a token is an outage, and the messages wait.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

import httpx

from .api_client import Answer
from .api_keys import Hide
from .failure import AuthError, NoTokenError, described

# A token is renewed so long before it expires (seconds), but not earlier than after 9/10 of its life.
_MARGIN: Final = 60.0
_MARGIN_SHARE: Final = 0.1
# The life of a token that names none, or none that can be (seconds): a refused one is renewed anyway.
_LIFETIME_UNKNOWN: Final = 300.0
_LIFETIME_MAX: Final = 86_400.0
# A renewal before the token expires may take this share of a call's time; and is tried again after so long.
_EARLY_SHARE: Final = 0.5
_EARLY_AGAIN: Final = 5.0
# An endpoint that asks for more time is asked again after five minutes.
_RETRY_AFTER_MAX: Final = 300.0
# What a header can hold (RFC 6750, 2.1, is stricter).
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_QUOTED_MAX: Final = 200
_CREDENTIALS: Final = "client_id, client_secret"
# Which text of [api] auth an error of RFC 6749, 5.2, or RFC 8707, 2, is about.
_ABOUT: Final = {
    "invalid_client": _CREDENTIALS,
    "unauthorized_client": _CREDENTIALS,
    "invalid_scope": "scope",
    "invalid_target": "audience",
}
# Errors that some servers send with a status of 4xx, though they are theirs.
_TRANSIENT: Final = frozenset({"server_error", "temporarily_unavailable", "slow_down"})
_SPECIFIED: Final = (
    *_ABOUT,
    *_TRANSIENT,
    "access_denied",
    "invalid_grant",
    "invalid_request",
    "unsupported_grant_type",
)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token is asked for with."""

    token_url: str
    client_id: str
    client_secret: str
    client_auth: str
    scope: str | None = None
    audience: str | None = None


@dataclass(frozen=True, slots=True)
class _Token:
    """A token; times are on the monotonic clock."""

    grant: Grant
    text: str
    renew_at: float
    ends: float


class _Fetch:
    """A fetch under way; when it is ``done`` it has a token or an error, or was interrupted."""

    def __init__(self, grant: Grant) -> None:
        self.grant = grant
        self.done = threading.Event()
        self.token: _Token | None = None
        self.error: Exception | None = None


@dataclass(eq=False, repr=False)  # it holds secrets
class Tokens:
    """Gives the token of a grant; threads may share it.

    ``send`` makes one call within so many seconds; ``endpoint`` is how texts call what it goes to.
    """

    send: Callable[[httpx.Request, float], Answer]
    hide: Hide
    redact: Callable[[str], str]
    clock: Callable[[], float] = time.monotonic
    _: KW_ONLY
    endpoint: str
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _held: _Token | None = field(default=None, init=False)
    _fetch: _Fetch | None = field(default=None, init=False)
    _asked_to_wait: tuple[Grant, float, str] | None = field(default=None, init=False)

    def token(self, grant: Grant, seconds: float) -> str:
        """Return a token within so many seconds.

        Raises ConfigurationError if the client is refused, NoTokenError if it gives none for now.
        """
        until = self.clock() + seconds
        while True:
            with self._lock:
                held = self._held if self._held is not None and self._held.grant == grant else None
                if held and self.clock() < (held.ends if self._fetch else held.renew_at):
                    return held.text
                fetch, mine = self._fetch, self._fetch is None
                if fetch is None:
                    fetch = self._fetch = _Fetch(grant)
            if mine:
                return self._fetched(fetch, held, until)
            if not fetch.done.wait(max(0.0, until - self.clock())):
                raise self._outage(f" within {seconds:.3g} s")
            if fetch.grant == grant and fetch.error is not None:
                raise fetch.error
            if fetch.grant == grant and fetch.token is not None:
                return fetch.token.text

    def refused(self, text: str) -> None:
        """Forget a token that the API refused, unless it was renewed since."""
        with self._lock:
            if self._held is not None and self._held.text == text:
                self._held = None

    def _fetched(self, fetch: _Fetch, held: _Token | None, until: float) -> str:
        """Fetch a token for all that wait; where that fails, the old one serves, if it is good."""
        now = self.clock()
        early = held is not None and now < held.ends
        try:
            self._wait_as_asked(fetch.grant)
            token = self._ask(fetch.grant, (until - now) * (_EARLY_SHARE if early else 1.0))
            with self._lock:
                fetch.token = self._held = token
        except NoTokenError as error:
            fetch.token = self._kept_on(held)
            if fetch.token is None:
                fetch.error = error
                raise
        except Exception as error:
            fetch.error = error
            raise
        finally:
            with self._lock:
                self._fetch = None
            fetch.done.set()
        return fetch.token.text

    def _kept_on(self, held: _Token | None) -> _Token | None:
        """Hold the old token for a while more; None if it is over, or the API refused it meanwhile."""
        with self._lock:
            now = self.clock()
            if held is None or self._held is not held or now >= held.ends:
                return None
            self._held = replace(held, renew_at=min(held.ends, now + _EARLY_AGAIN))
            return self._held

    def _wait_as_asked(self, grant: Grant) -> None:
        """Raise NoTokenError while the endpoint wants to be left alone (Retry-After)."""
        if self._asked_to_wait is not None:
            asked, until, reason = self._asked_to_wait
            if asked == grant and (left := until - self.clock()) > 0:
                raise self._outage(reason, retry_after=left)

    def _ask(self, grant: Grant, seconds: float) -> _Token:
        began = self.clock()
        try:
            answer = self.send(self._request(grant), seconds)
        except httpx.TransportError as error:
            reason = self.redact(described(error).partition(": bytearray(")[0])
            raise self._outage(f": {reason}") from error
        fields = _fields(answer)
        text = fields.get("access_token")
        if not (200 <= answer.status < 300 and isinstance(text, str) and _TOKEN.fullmatch(text)):
            raise self._refusal(grant, answer, fields)
        self.hide(text)
        kind = fields.get("token_type", "Bearer")
        if not (isinstance(kind, str) and kind.lower() == "bearer"):
            kind = self._shown(kind)
            reason = f"{self.endpoint} gives tokens of token_type {kind}; only Bearer is known here"
            raise AuthError("token_url", reason)
        life = lifetime(fields.get("expires_in"))
        renew_at = began + life - min(_MARGIN, life * _MARGIN_SHARE)
        return _Token(grant, text, renew_at, began + life)

    def _request(self, grant: Grant) -> httpx.Request:
        form = {"grant_type": "client_credentials"}
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        if grant.client_auth == "post":
            form |= {"client_id": grant.client_id, "client_secret": grant.client_secret}
        else:  # each is encoded as in a form, then both as in RFC 7617 (RFC 6749, 2.3.1)
            pair = f"{quote_plus(grant.client_id)}:{quote_plus(grant.client_secret)}"
            encoded = base64.b64encode(pair.encode()).decode()
            self.hide(encoded, readable=True)
            headers["Authorization"] = f"Basic {encoded}"
        form |= {"scope": grant.scope} if grant.scope else {}
        form |= {"audience": grant.audience} if grant.audience else {}
        return httpx.Request("POST", grant.token_url, headers=headers, content=urlencode(form).encode())

    def _refusal(self, grant: Grant, answer: Answer, fields: Mapping[str, Any]) -> Exception:
        """Return what an answer without a token means; of its text, only what says why is shown."""
        reasons = (fields.get("error"), fields.get("error_description"))
        said = " ".join(self._shown(text) for text in reasons if isinstance(text, str))
        success = 200 <= answer.status < 300
        lacks = _without_token(answer, fields) + (": " if said else "") if success else ""
        status = f"HTTP {answer.status} {lacks}{said}".rstrip()
        error = reasons[0] if isinstance(reasons[0], str) else ""
        named = bool(error) and answer.status in (400, 403) and error not in _TRANSIENT
        # Some servers answer 200 and say in the body that they refuse.
        if answer.status == 401 or named or (success and error in _ABOUT):
            about = _ABOUT.get(error, _CREDENTIALS if answer.status == 401 else "token_url")
            return AuthError(about, f"{self.endpoint} refused it: {status}")
        wait = answer.retry_after and min(answer.retry_after, _RETRY_AFTER_MAX)
        why = f": {status}"
        if wait:
            then = datetime.now(UTC) + timedelta(seconds=wait)
            why += f"; it is not asked again before {then:%H:%M:%S} UTC"
            self._asked_to_wait = grant, self.clock() + wait, why
        return self._outage(why, retry_after=wait)

    def _outage(self, why: str, *, retry_after: float | None = None) -> NoTokenError:
        """Make the error of an endpoint that gives no token for now; in ``why`` all secrets are hidden."""
        return NoTokenError("", words=f"no token from {self.endpoint}{why}", retry_after=retry_after)

    def _shown(self, text: object) -> str:
        """Return what the endpoint says, as it may be shown; the words of the standards hold no secret."""
        if text in _SPECIFIED:
            return str(text)
        line = " ".join(self.redact(str(text)).split())
        return "".join(char if char.isprintable() else "?" for char in line)[:_QUOTED_MAX]


def lifetime(expires_in: object) -> float:
    """Read ``expires_in`` as seconds; what cannot be a token's life says nothing of it."""
    try:
        seconds = 0.0 if isinstance(expires_in, bool) else float(expires_in)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        seconds = 0.0
    return min(seconds, _LIFETIME_MAX) if seconds > 0 else _LIFETIME_UNKNOWN


def _fields(answer: Answer) -> Mapping[str, Any]:
    """Return the fields of an answer; of what is not a JSON object, none."""
    try:
        found = json.loads(answer.text or "")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _without_token(answer: Answer, fields: Mapping[str, Any]) -> str:
    """Say why a success holds no token; its text is not quoted, as one may be in it."""
    if answer.text is None:
        return "with an answer that broke off"
    if not fields:
        return "with no access_token, as its body is not a JSON object"
    text = fields.get("access_token")
    return "with no access_token" if text is None else "with an access_token that no header can hold"
