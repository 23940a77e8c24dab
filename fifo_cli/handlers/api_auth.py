"""``[api] auth``: how a call shows the API who makes it.

A new way of authentication is a class here, and its table in model/auth_settings.py. Each is an httpx.Auth:
it changes a request just before that goes out, so the user's code that made it need not know of it. It has
the texts of fifo.toml, filled with the keys as last read.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Generator, Mapping
from typing import ClassVar, Final, Protocol

import httpx

from .api_keys import Keys, header_fault
from .failure import ConfigurationError
from .hosts import is_this_machine
from .runtime import Api, filled, placeholders

# Where a request has the id of its message, and the time limit of its call (in httpx's "extensions").
MESSAGE_ID: Final = "message_id"
_WEBHOOK_SECRET: Final = "whsec_"
# The texts that are secret, also where fifo.toml has them as they are.
_SECRET: Final = frozenset({"password", "client_secret", "secret", "key"})
_MAY_BE_EMPTY: Final = frozenset({"username", "password"})


SENT_OPENLY: Final = "it sends a key to an http:// URL; use https://, or [api] insecure = true"

Flow = Generator[httpx.Request, httpx.Response, None]


class Hide(Protocol):
    """Hides what was made of secrets; see :meth:`Keys.hide`."""

    def __call__(self, made: str, *, readable: bool = False) -> None: ...


class Way(httpx.Auth):
    """One way to authenticate, with the texts of its table in fifo.toml; threads may share it.

    ``clock`` has the seconds since 1970.
    """

    requires_request_body = True
    # Whether a secret itself, or a token, goes to the API.
    sends_secret: ClassVar[bool] = False

    def __init__(self, texts: Mapping[str, str], hide: Hide, clock: Callable[[], float]) -> None:
        self._texts = texts
        self._hide = hide
        self._clock = clock

    def auth_flow(self, request: httpx.Request) -> Flow:
        self.sign(request)
        yield request

    def sign(self, request: httpx.Request) -> None:
        """Put into a request's headers what the API wants to see; raises ConfigurationError."""
        raise NotImplementedError


class Basic(Way):
    """A user name and a password (RFC 7617)."""

    sends_secret = True

    def sign(self, request: httpx.Request) -> None:
        user = self._texts["username"]
        if ":" in user:
            raise fault("username", "it has a colon, which ends a user name (RFC 7617)")
        pair = _base64(f"{user}:{self._texts['password']}".encode())
        self._hide(pair, readable=True)
        request.headers["Authorization"] = f"Basic {pair}"


class StandardWebhooks(Way):
    """The signature of the Standard Webhooks specification, one for each secret."""

    def sign(self, request: httpx.Request) -> None:
        message_id, timestamp = request.extensions[MESSAGE_ID], str(int(self._clock()))
        signed = f"{message_id}.{timestamp}.".encode() + request.content
        secrets = [_webhook_secret(text) for text in self._texts["secret"].split()]
        signatures = [_base64(hmac.digest(secret, signed, "sha256")) for secret in secrets]
        for signature in signatures:
            self._hide(signature)
        request.headers["webhook-id"] = message_id
        request.headers["webhook-timestamp"] = timestamp
        request.headers["webhook-signature"] = " ".join(f"v1,{signature}" for signature in signatures)


class Hmac(Way):
    """An HMAC of the body, in a header as the API wants it."""

    def sign(self, request: httpx.Request) -> None:
        texts, timestamp = self._texts, str(int(self._clock()))
        before = texts["content"].removesuffix("{body}").replace("{timestamp}", timestamp)
        digest = hmac.digest(texts["secret"].encode(), before.encode() + request.content, texts["algorithm"])
        forms = {"hex": digest.hex(), "base64": _base64(digest)}
        self._hide(forms["hex"])
        request.headers[texts["header"]] = filled(texts["format"], {**forms, "timestamp": timestamp})


# By the type in fifo.toml.
_WAYS: Final[Mapping[str, type[Way]]] = {"basic": Basic, "standard-webhooks": StandardWebhooks, "hmac": Hmac}


class ApiAuth:
    """The authentication of one API, made once for the keys of a generation; threads may share it."""

    def __init__(self, api: Api, keys: Keys, clock: Callable[[], float]) -> None:
        assert api.auth is not None
        self._way = _WAYS[api.auth["type"]]
        self._texts = api.auth
        self._insecure = api.insecure
        self._keys = keys
        self._clock = clock
        self._made: tuple[int, Way] | None = None

    def authenticate(self, request: httpx.Request, generation: int, values: Mapping[str, str]) -> None:
        """Make of a request what may go out; raises ConfigurationError."""
        readable = request.url.scheme == "http" and not is_this_machine(request.url.host)
        if self._way.sends_secret and readable and not self._insecure:
            raise ConfigurationError("[handlers] request", SENT_OPENLY)
        if self._made is None or self._made[0] != generation:
            self._made = generation, self._way(self._filled(values), self._keys.hide, self._clock)
        next(self._made[1].sync_auth_flow(request))

    def _filled(self, values: Mapping[str, str]) -> dict[str, str]:
        """Put the keys into the texts."""
        texts = {}
        for field, template in self._texts.items():
            for name in placeholders(template):
                value = values.get(name, "-")  # one without a value is not of the keys
                if value != value.strip("\r\n") or (field == "format" and header_fault(value)):
                    raise ConfigurationError(self._keys.label(name), header_fault(value) or "")
            texts[field] = filled(template, values)
            if not texts[field].strip() and field not in _MAY_BE_EMPTY:
                raise fault(field, "it is empty")
            if field in _SECRET:
                self._keys.hide_value(texts[field])
        return texts


def fault(field: str, reason: str) -> ConfigurationError:
    """Make the error that names a text of ``auth``; no text quotes it."""
    return ConfigurationError(f"[api] auth: {field}", reason)


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _webhook_secret(text: str) -> bytes:
    try:
        secret = base64.b64decode(text.removeprefix(_WEBHOOK_SECRET), validate=True)
    except binascii.Error:
        secret = b""
    if not (text.startswith(_WEBHOOK_SECRET) and secret):
        raise fault("secret", f"it is not {_WEBHOOK_SECRET} and base64, or several of it with spaces between")
    return secret
