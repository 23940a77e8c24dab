"""Whose failure it is: each exception has exactly one owner, and the owner decides what happens.

| owner         | what happens                                                                        |
| ------------- | ----------------------------------------------------------------------------------- |
| api           | the message stays at the head of its group, and the group waits                      |
| message       | the message (in the enqueuer: the record) is parked with the reason                  |
| configuration | nothing is parked; the run ends and names the key, variable, file or setting         |
| aws           | nothing is parked; the run ends with what was done, the next one goes on             |
| program       | the message stays and its group waits; others go on; it is reported as a defect      |

``owner_of`` is complete: what nothing else claims is the program's. (docs/how-it-works.md)
"""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Final, Literal

from botocore.exceptions import BotoCoreError, ClientError

Owner = Literal["api", "message", "configuration", "aws", "program"]
# Errors of a call (httpx's) that come before any of it is sent: the API cannot have taken the message.
NEVER_SENT: Final = frozenset(
    {
        "ConnectError",
        "ConnectTimeout",
        "LocalProtocolError",
        "PoolTimeout",
        "ProxyError",
        "UnsupportedProtocol",
    }
)
# Of the statuses that mean "try again", those by which an API says that it did not do it (RFC 9110, 15.6;
# 511: RFC 6585). A 500 may come after the work, a 502 or 504 from a gateway that got no answer.
_REFUSED: Final = frozenset({501, 503, 505, 511})


Redact = Callable[[str], str]


class ConfigurationError(Exception):
    """A key, variable, file, module or setting is unusable; ``what`` names it, and no text holds a value.

    ``what`` and ``reason`` are words of ours and of fifo.toml, shown as they are, also where a key happens to
    be alike. What others say, such as AWS or an import, is ``quoted``: in it the keys are hidden.
    """

    owner: Final = "configuration"

    def __init__(self, what: str, reason: str, quoted: str = "") -> None:
        self.what = what
        self._words = reason
        self._quoted = quoted
        super().__init__(f"{what}: {self.reason()}")

    def reason(self, redact: Redact = str) -> str:
        return f"{self._words}: {redact(self._quoted)}" if self._quoted else self._words


class AuthError(ConfigurationError):
    """One or several texts of ``[api] auth`` are unusable; ``api`` is whose, where there are several APIs."""

    def __init__(self, fields: str, reason: str, quoted: str = "", *, api: str = "") -> None:
        super().__init__(f"[api] auth{f' of {api}' if api else ''}: {fields}", reason, quoted)
        self._fields = fields

    def of(self, api: str) -> AuthError:
        """Return the same error, of an API that is named."""
        return AuthError(self._fields, self._words, self._quoted, api=api)


class _QuotingError(Exception):
    """``words`` of ours are shown as they are; in ``text``, which may quote others, the keys are hidden."""

    def __init__(self, text: str, *, words: str = "") -> None:
        super().__init__(words + text)
        self._words = words
        self._text = text

    def shown(self, redact: Redact) -> str:
        return self._words + redact(self._text)


class MessageError(_QuotingError):
    """This message or record can never be delivered as it is; the text says why."""

    owner: Final = "message"


class ApiUnavailableError(_QuotingError):
    """The API, or what the user's code calls to reach it, did not answer; the text says why.

    ``error_type`` is the class of the error of the call; None if the API was not called. ``retry_after`` is
    for how many seconds it wants to be left alone. ``called`` is how texts call what was called, if that is
    not the API's name.
    """

    owner: Final = "api"

    def __init__(
        self,
        text: str,
        error_type: str | None = None,
        *,
        retry_after: float | None = None,
        called: str = "",
        words: str = "",
    ) -> None:
        super().__init__(text, words=words)
        self.called = called
        self.error_type = error_type
        self.retry_after = retry_after


class NoTokenError(ApiUnavailableError):
    """A call lacks its token: however long that lasts, no message is given up for it."""


class LateTokenError(NoTokenError):
    """A token came, and too little of the call's time was left: another try has the token at once."""


class OutOfTimeError(Exception):
    """The run's time was over before the user's code returned for this message; it is tried again."""

    owner: Final = "message"


# By name, so that no library is imported for it: module and class of what means "no network".
_NETWORK_ERRORS: Final = frozenset(
    {
        ("aiohttp", "ClientConnectionError"),
        ("aiohttp", "ClientPayloadError"),
        ("botocore", "ConnectionError"),
        ("botocore", "HTTPClientError"),
        ("http", "BadStatusLine"),
        ("http", "IncompleteRead"),
        ("httpcore", "NetworkError"),
        ("httpcore", "ProtocolError"),
        ("httpcore", "TimeoutException"),
        ("httpx", "TransportError"),
        ("requests", "ChunkedEncodingError"),
        ("requests", "ConnectionError"),
        ("requests", "Timeout"),
        ("ssl", "SSLError"),
        ("urllib3", "MaxRetryError"),
        ("urllib3", "NewConnectionError"),
        ("urllib3", "ProtocolError"),
        ("urllib3", "ProxyError"),
        ("urllib3", "TimeoutError"),
    }
)
_NETWORK_ERRNOS: Final = frozenset(
    {
        errno.EADDRNOTAVAIL,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETRESET,
        errno.ENETUNREACH,
    }
)


def owner_of(error: BaseException) -> Owner:
    """Say whose failure an exception is; what nothing claims is the program's."""
    match error:
        case ConfigurationError() | MessageError() | ApiUnavailableError() | OutOfTimeError():
            return error.owner
        case ClientError() | BotoCoreError():
            return "aws"
        case _:
            return "program"


def may_have_arrived(status: int | None, error_type: str | None) -> bool:
    """Whether an API may have taken a message that it did not confirm: no answer, or an error of its own."""
    if status is not None:
        return 500 <= status < 600 and status not in _REFUSED
    return error_type is not None and error_type not in NEVER_SENT


def is_interruption(error: BaseException) -> bool:
    """Whether ``error`` is Ctrl-C or its like: these are raised in the main thread only."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


def user_code_failure(name: str, error: BaseException, *, calls_network: bool) -> Exception:
    """Return what an exception of the user's code means; raise the result ``from`` it.

    With ``calls_network``, an error of the network is the API's: the code asks a token endpoint, say.
    Anything else is the message's, and so is all of it without.
    """
    text, words = described(error), f"{name} raised "
    if calls_network and is_network_error(error):
        return ApiUnavailableError(text, words=words)
    return MessageError(text, words=words)


def described(error: BaseException) -> str:
    """Return type and text of an exception on one line, even if its own ``__str__`` raises."""
    try:
        text = " ".join(str(error).split())
    except BaseException as broken:  # noqa: BLE001 - the user's class may do anything
        text = f"(its text cannot be read: {type(broken).__name__})"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def shown(error: BaseException, redact: Redact) -> str:
    """Return type and text of an exception, with the keys hidden in all that may quote others.

    A fault of configuration is in words of ours, which need no type.
    """
    if isinstance(error, ConfigurationError):
        return f"{error.what}: {error.reason(redact)}"
    return redact(described(error))


def ending(error: BaseException | None, redact: Redact = str) -> dict[str, str]:
    """Return why a run or invocation ended early, for its log lines: owner, reason, and what is unusable."""
    if error is None:
        return {}
    if isinstance(error, ConfigurationError):
        return {"owner": error.owner, "what": error.what, "reason": error.reason(redact)}
    return {"owner": owner_of(error), "reason": redact(described(error))}


def is_network_error(error: BaseException) -> bool:
    """Whether an exception, or what caused it, says that something on the network did not answer."""
    return any(_is_network_error(link) for link in _chain(error, set()))


def _is_network_error(error: BaseException) -> bool:
    if isinstance(error, ConnectionError | TimeoutError | socket.gaierror | socket.herror):
        return True
    if isinstance(error, OSError) and error.errno in _NETWORK_ERRNOS:
        return True
    return any(
        (kind.__module__.partition(".")[0], kind.__name__) in _NETWORK_ERRORS for kind in type(error).__mro__
    )


def _chain(error: BaseException, seen: set[int]) -> Iterator[BaseException]:
    """Yield an exception and what a traceback would show with it: causes, contexts, members of a group."""
    if id(error) in seen:
        return
    seen.add(id(error))
    yield error
    linked = [error.__cause__, None if error.__suppress_context__ else error.__context__]
    # urllib wraps the socket's error without chaining it.
    linked.append(getattr(error, "reason", None) if isinstance(error, OSError) else None)
    linked += error.exceptions if isinstance(error, BaseExceptionGroup) else []
    for link in linked:
        if isinstance(link, BaseException):
            yield from _chain(link, seen)
