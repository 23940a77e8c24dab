"""What the environment and the profile say about how AWS is reached, checked where botocore would fail late.

An endpoint, a proxy or a file of certificates that is not usable is named with the variable it comes from.
Only what a client uses is looked at: a proxy for https does not matter to an endpoint on this machine.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError
from botocore.utils import get_environ_proxies

from fifo_cli.aws.errors import PROFILE_FILES, profile_file, unreadable
from fifo_cli.errors import FifoError, UsageError

if TYPE_CHECKING:
    from botocore.session import Session

_ENDPOINT_VARIABLES: Final = ("AWS_ENDPOINT_URL", "AWS_EC2_METADATA_SERVICE_ENDPOINT")
# What a request's line and headers cannot carry.
_UNSENDABLE: Final = re.compile(r"[^!-~]")


def check_endpoint(session: Session, endpoint: str, *, given: str | None) -> None:
    """Raise UsageError if nothing can be sent to an endpoint that was given or configured."""
    reason = _fault(endpoint)
    if reason:
        raise UsageError(
            f"Invalid endpoint: {_shown(endpoint)!r}: {reason}",
            hint="an endpoint is a URL such as http://127.0.0.1:4566; look at "
            + ", ".join(_places(session, endpoint, given)),
        )


def check_way(session: Session, endpoint: str) -> None:
    """Raise UsageError if the proxy or the certificates that lead to an endpoint are not usable."""
    scheme = urlsplit(endpoint).scheme
    proxy = get_environ_proxies(endpoint).get(scheme)
    if proxy:
        name = next(
            (one for one in (f"{scheme}_proxy", f"{scheme.upper()}_PROXY") if os.environ.get(one)), ""
        )
        # As botocore reads it: without a scheme it is one of http.
        url = proxy if "://" in proxy else f"http://{proxy.removeprefix('//')}"
        reason = _fault(url)
        if reason:
            # Not the value: it may hold a password.
            raise UsageError(
                f"${name or 'HTTPS_PROXY'} is not usable: {reason}",
                hint="a proxy is a URL such as http://proxy.example.com:3128; $NO_PROXY has the exceptions",
            )
    if scheme == "https":
        _check_certificates(session)


def check_profile_files() -> None:
    """Raise UsageError if a variable names a file of profiles that cannot be read.

    botocore takes it for an empty one, so that the profile would be missing, or another account's be taken.
    One that does not exist is not a fault: it says that there are no profiles.
    """
    for name in PROFILE_FILES:
        path = profile_file(os.environ.get(name, ""))
        reason = unreadable(path) if path and os.path.exists(path) else ""
        if reason:
            raise UsageError(
                f"${name}: {path}: {reason}", hint="name a file of profiles that can be read, or leave it out"
            )


@contextmanager
def naming_settings(session: Session) -> Iterator[None]:
    """Where botocore or Python says that a value is wrong and not which, name the variable it is from."""
    try:
        yield
    except (BotoCoreError, FifoError):
        raise
    except (ValueError, TypeError):
        text = _unusable_endpoint(session) or _unusable_setting(session)
        if not text:
            raise
        # `from None`: what was raised may quote a password.
        raise UsageError(
            f"the AWS configuration is not usable: {text}", hint="correct it, or leave it out"
        ) from None


def _unusable_endpoint(session: Session) -> str:
    """Name the variable or the profile whose endpoint is not a URL; "" if all are."""
    given = {f"${name}": url for name, url in os.environ.items() if name.startswith(_ENDPOINT_VARIABLES)}
    profile = session.get_config_variable("profile") or "default"
    given[f"endpoint_url in the profile {profile}"] = session.get_scoped_config().get("endpoint_url", "")
    for name, url in given.items():
        reason = _fault(url) if url else ""
        if reason:
            return f"{name}: Invalid endpoint: {_shown(url)!r}: {reason}"
    return ""


def _unusable_setting(session: Session) -> str:
    """Name the variable or the profile's key that botocore cannot read; "" if it can read all."""
    for name, (key, variables, _, _) in session.SESSION_VARIABLES.items():
        try:
            session.get_config_variable(name)
        except (ValueError, TypeError) as error:
            names = [variables] if isinstance(variables, str) else list(variables or ())
            text = [f"${one}" for one in names if one in os.environ] or [f"{key} in the profile"]
            return f"{text[0]}: {error}"
    return ""


def _shown(url: str) -> str:
    """Hide all that may be a user and a password, with any text: no endpoint has an @ elsewhere."""
    login, at, rest = url.rpartition("@")
    scheme, slashes, _ = login.rpartition("://")
    return f"{scheme}{slashes}***@{rest}" if at else url


def _fault(url: str) -> str:
    """Say what is wrong with a URL; "" if nothing is."""
    if _UNSENDABLE.search(url):
        return "it holds a space, a line break or a character that is not ASCII"
    # Python's own words for these quote parts of the URL, which may be of a password.
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return "what is in brackets is not an IPv6 address"
    try:
        port = parts.port
    except ValueError:
        port = 0
    if parts.scheme not in ("http", "https"):
        return "it does not begin with http:// or https://"
    if not host:
        return "it names no host"
    if port == 0:
        return "a port is a number from 1 to 65535"
    # http://socks5://host reads as the host "socks5".
    return "it holds a second ://" if "://" in url.partition("://")[2].partition("?")[0] else ""


def _places(session: Session, endpoint: str, given: str | None) -> Iterator[str]:
    """Name where an endpoint may come from: those that hold this very one, else all."""
    if given is not None:
        yield "--endpoint-url"
        return
    names = [name for name in os.environ if name.startswith(_ENDPOINT_VARIABLES[0])]
    exact = [name for name in names if os.environ[name] == endpoint]
    yield from (f"${name}" for name in exact or names)
    if not exact:
        yield f"endpoint_url in the profile {session.get_config_variable('profile') or 'default'}"


def _check_certificates(session: Session) -> None:
    """As botocore chooses: $AWS_CA_BUNDLE, the profile's ca_bundle, $REQUESTS_CA_BUNDLE."""
    path, name = session.get_config_variable("ca_bundle"), "ca_bundle in the profile"
    if path and os.environ.get("AWS_CA_BUNDLE"):
        name = "$AWS_CA_BUNDLE"
    elif not path:
        path, name = os.environ.get("REQUESTS_CA_BUNDLE"), "$REQUESTS_CA_BUNDLE"
    if not path:
        return
    try:
        _read_certificates(path)
    except (OSError, ValueError) as error:
        reason = "it holds no certificates in PEM" if isinstance(error, ssl.SSLError) else _reason(error)
        raise UsageError(
            f"{name}: {path}: {reason}",
            hint="name a file of certificates in PEM that can be read, or leave it out",
        ) from error


@cache
def _read_certificates(path: str) -> None:
    """Read a file or folder of certificates, once for all clients: 20 ms for those of a Linux system."""
    where: dict[str, Any] = {"capath": path} if os.path.isdir(path) else {"cafile": path}
    ssl.create_default_context(**where)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or f"{error}"
