"""``[api] auth``: how a call shows the API who makes it.

A new way of authentication is a class here, and its table in model/auth_settings.py. It changes a request
just before that goes out, so the user's code that made it need not know of it. It has the texts of fifo.toml,
filled with the keys as last read.
"""

from __future__ import annotations

import base64
import hmac
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import ClassVar, Final
from urllib.parse import urlsplit

import httpx

from .api_client import MESSAGE_ID, SENT_OPENLY, Answer, Clients, new_tls_context, url_fault
from .api_keys import Hide, Keys, KeyValues
from .auth_values import text_fault, value_fault
from .client_certificate import check_time, is_unknown_issuer, refusal, tls_context
from .failure import AuthError, ConfigurationError, LateTokenError
from .hosts import is_this_machine
from .oauth_token import Grant, Tokens
from .placeholders import SECRET_FIELDS, filled, placeholders
from .runtime import Api
from .webhook_secrets import webhook_keys

# With less of a call's time left than this share, it is not made.
_CALL_SHARE_MIN: Final = 0.2


@dataclass(frozen=True, slots=True)
class Tools:
    """What a scheme works with; ``now`` has the seconds since 1970.

    ``tokens`` outlive a generation of keys. ``insecure``: secrets may go over ``http://``.
    """

    hide: Hide
    tokens: Tokens
    insecure: bool
    now: Callable[[], float]


class AuthScheme:
    """One way to authenticate, with the texts of its table in fifo.toml; threads may share it."""

    # Whether a secret itself, or a token, goes to the API.
    sends_secret: ClassVar[bool] = False

    def __init__(self, texts: Mapping[str, str], tools: Tools) -> None:
        self._texts = texts
        self._tools = tools

    def prepare(self, seconds: float) -> None:
        """Get what the next call needs within so many seconds, before there is a request."""

    def sign(self, request: httpx.Request) -> None:
        """Put into a request's headers what the API wants to see; raises ConfigurationError."""
        raise NotImplementedError

    def refused(self, request: httpx.Request) -> None:
        """Take note that the API answered 401."""

    @property
    def tls(self) -> ssl.SSLContext | None:
        """The TLS context of its calls; None for that of all calls."""
        return None


class Basic(AuthScheme):
    """A user name and a password (RFC 7617)."""

    sends_secret = True

    def sign(self, request: httpx.Request) -> None:
        pair = _base64(f"{self._texts['username']}:{self._texts['password']}".encode())
        self._tools.hide(pair, readable=True)
        request.headers["Authorization"] = f"Basic {pair}"


class StandardWebhooks(AuthScheme):
    """The signature of the Standard Webhooks specification, one for each secret."""

    def __init__(self, texts: Mapping[str, str], tools: Tools) -> None:
        super().__init__(texts, tools)
        self._keys = webhook_keys(texts["secret"])

    def sign(self, request: httpx.Request) -> None:
        message_id, timestamp = request.extensions[MESSAGE_ID], str(int(self._tools.now()))
        signed = f"{message_id}.{timestamp}.".encode() + request.content
        signatures = [_base64(hmac.digest(key, signed, "sha256")) for key in self._keys]
        for signature in signatures:
            self._tools.hide(signature)
        request.headers["webhook-id"] = message_id
        request.headers["webhook-timestamp"] = timestamp
        request.headers["webhook-signature"] = " ".join(f"v1,{signature}" for signature in signatures)


class Hmac(AuthScheme):
    """An HMAC of the body, in a header as the API wants it."""

    def sign(self, request: httpx.Request) -> None:
        texts, timestamp = self._texts, str(int(self._tools.now()))
        before = texts["content"].removesuffix("{body}").replace("{timestamp}", timestamp)
        digest = hmac.digest(texts["secret"].encode(), before.encode() + request.content, texts["algorithm"])
        forms = {"hex": digest.hex(), "base64": _base64(digest)}
        self._tools.hide(forms["hex"])
        request.headers[texts["header"]] = filled(texts["format"], {**forms, "timestamp": timestamp})


class OAuth2(AuthScheme):
    """The access token of client credentials (RFC 6750); the wait for it counts as the call's."""

    sends_secret = True

    def __init__(self, texts: Mapping[str, str], tools: Tools) -> None:
        super().__init__(texts, tools)
        self._grant = Grant(**{name: text for name, text in texts.items() if name != "type"})
        if reason := url_fault(self._grant.token_url):
            raise AuthError("token_url", "it cannot be called", reason)
        if is_open(httpx.URL(self._grant.token_url)) and not tools.insecure:
            raise AuthError("token_url", SENT_OPENLY)

    def prepare(self, seconds: float) -> None:
        self._tools.hide(self._tools.tokens.token(self._grant, seconds))

    def sign(self, request: httpx.Request) -> None:
        token = self._tools.tokens.token(self._grant, request.extensions["timeout"]["read"])
        self._tools.hide(token)
        request.headers["Authorization"] = f"Bearer {token}"

    def refused(self, request: httpx.Request) -> None:
        self._tools.tokens.refused(request.headers["Authorization"].removeprefix("Bearer "))


class Mtls(AuthScheme):
    """A client certificate in the TLS handshake."""

    def __init__(self, texts: Mapping[str, str], tools: Tools) -> None:
        super().__init__(texts, tools)
        self._ends = check_time(texts["certificate"], tools.now())
        self._tls = tls_context(new_tls_context(), texts["certificate"], texts["key"], texts.get("ca"))

    @property
    def tls(self) -> ssl.SSLContext | None:
        return self._tls

    def prepare(self, seconds: float) -> None:
        if self._tools.now() >= self._ends:
            check_time(self._texts["certificate"], self._tools.now())

    def sign(self, request: httpx.Request) -> None:
        if request.url.scheme != "https":
            raise ConfigurationError(
                "[handlers] request", "its URL is http://, where no certificate is shown"
            )
        self.prepare(0.0)


# By the type in fifo.toml.
_SCHEMES: Final[Mapping[str, type[AuthScheme]]] = {
    "mtls": Mtls,
    "basic": Basic,
    "standard-webhooks": StandardWebhooks,
    "hmac": Hmac,
    "oauth2": OAuth2,
}


class ApiAuth:
    """The authentication of one API, made again when its keys have changed; threads may share it.

    ``named`` is how its faults name the API, "" where there is one only.
    """

    def __init__(
        self,
        api: Api,
        keys: Keys,
        transport: httpx.BaseTransport | None,
        now: Callable[[], float],
        *,
        named: str = "",
    ) -> None:
        assert api.auth is not None
        self._api = api
        self._named = named
        self._kind = _SCHEMES[api.auth["type"]]
        self._texts = api.auth
        self._keys = keys
        self._transport = transport
        # As fifo.toml has it: a key in it stays a {placeholder}.
        self._endpoint = urlsplit(api.auth.get("token_url", "")).hostname or "[api] auth token_url"
        tokens = Tokens(self._send, keys.hide, keys.redact, endpoint=self._endpoint)
        self._tools = Tools(keys.hide, tokens, api.insecure, now)
        self._lock = threading.Lock()
        self._generation = 0
        self._filled: Mapping[str, str] = {}
        self._scheme: AuthScheme | None = None
        self.clients: Clients | None = None
        """The clients for its calls, where these are not those of all calls."""

    def prepare(self, keys: KeyValues, waited: float) -> None:
        """Get what the next call needs; raises what :meth:`authenticate` does."""
        began = time.monotonic() - waited
        with self._naming():
            self._current(keys).prepare(self._api.timeout - waited)
        self._left(began)

    def authenticate(self, request: httpx.Request, keys: KeyValues, waited: float = 0.0) -> float:
        """Make of a request what may go out, and return for how many seconds it may then take.

        ``waited``: it took so many seconds of them to prepare it. Raises ConfigurationError;
        NoTokenError where a token is needed and there is none.
        """
        began = time.monotonic() - waited
        if self._kind.sends_secret and is_open(request.url) and not self._api.insecure:
            raise ConfigurationError("[handlers] request", SENT_OPENLY)
        request.extensions["timeout"] = httpx.Timeout(self._api.timeout - waited).as_dict()
        with self._naming():
            self._current(keys).sign(request)
        return self._left(began)

    def _left(self, began: float) -> float:
        """Return what is left of the time of a call; raises LateTokenError if that is too little."""
        timeout = self._api.timeout
        left = timeout - (time.monotonic() - began)
        if left < timeout * _CALL_SHARE_MIN:
            spent = f"the wait for it left {max(left, 0.0):.1f} s of {timeout:.3g} s"
            raise LateTokenError("", words=f"no token from {self._endpoint} in time: {spent}")
        return left

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Say which API a fault is of."""
        try:
            yield
        except AuthError as error:
            raise error.of(self._named) from None

    def refused(self, request: httpx.Request) -> None:
        """Take note that the API answered 401."""
        if self._scheme is not None:
            self._scheme.refused(request)

    def fault_of(self, error: httpx.TransportError) -> ConfigurationError | None:
        """Return what an error of a call means, if it is the fault of what authenticates it."""
        found = refusal(error) if self.clients is not None else None
        return found and found.of(self._named)

    def words_of(self, error: httpx.TransportError) -> str:
        """Return what stands before the text of an error of a call, where a text of ours is its cause."""
        if self.clients is None or not is_unknown_issuer(error):
            return ""
        return "its certificate is of a CA that is not the system's and not in [api] auth ca: "

    def close(self) -> None:
        """Close the connections that it has of its own."""
        if self.clients is not None:
            self.clients.close()

    def _current(self, keys: KeyValues) -> AuthScheme:
        """Return the scheme with these keys, or with later ones that another thread has read."""
        with self._lock:
            if self._scheme is None or keys.generation > self._generation:
                filled_texts = self._fill(keys.values)
                if self._scheme is None or filled_texts != self._filled:
                    scheme = self._kind(filled_texts, self._tools)
                    self.close()
                    self.clients = Clients(self._transport, scheme.tls) if scheme.tls else None
                    self._scheme, self._filled = scheme, filled_texts
                self._generation = keys.generation
            return self._scheme

    def _send(self, request: httpx.Request, timeout: float) -> Answer:
        """Make a call of another service, on a connection of its own: there is one an hour."""
        with closing(Clients(self._transport)) as clients:
            return clients.send(request, timeout)

    def _fill(self, values: Mapping[str, str]) -> dict[str, str]:
        """Put the keys into the texts."""
        texts = {}
        for field, template in self._texts.items():
            for name in placeholders(template):
                value = values.get(name, "-")  # one without a value is not of the keys
                if reason := value_fault(field, value):
                    raise ConfigurationError(self._keys.label(name), reason)
            texts[field] = filled(template, values)
            if reason := text_fault(self._texts["type"], field, texts[field], self._tools.now()):
                raise AuthError(field, reason)
            if field in SECRET_FIELDS:
                self._keys.hide_value(texts[field])
        return texts


def is_open(url: httpx.URL) -> bool:
    """Whether anyone on the way can read what goes to a URL."""
    return url.scheme == "http" and not is_this_machine(url.host)


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
