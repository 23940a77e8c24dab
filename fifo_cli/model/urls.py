"""Which URLs an API may have: those that the HTTP client, the resolver and this program's rules all take.

The client itself is not asked about plain host names: importing it would cost every command more than
all of its own checks. What is accepted here is accepted there; a test holds one against the other.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from fifo_cli.handlers.hosts import is_this_machine

__all__ = ["PATTERN", "URL_MAX", "authority_of", "check_url", "host_of", "is_aws", "is_this_machine"]

URL_MAX: Final = 65_536  # httpx takes no longer one
PORT_MAX: Final = 65_535
HOST_MAX: Final = 253  # RFC 1035, 2.3.4
LABEL_MAX: Final = 63
_START: Final = re.compile(r"https?://[^/?#]+")
_LABEL: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?")
# No top-level domain is a number (URL Standard, 4.1 "ends in a number"), so such a host is an IPv4 address.
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_PORT: Final = re.compile(r"[0-9]{1,5}")
# http and https URLs, as the JSON Schema shows them.
PATTERN: Final = r"^https?://[^\s/?#@]+([/?]\S*)?$"


def check_url(url: str) -> None:
    """Raise ValueError saying what is allowed, unless ``url`` is one that an API can be called at."""
    if not _START.match(url):
        raise ValueError("an http:// or https:// URL")
    if len(url) > URL_MAX or not url.isprintable() or " " in url:
        raise ValueError("a URL without spaces or control characters")
    _, _, rest = url.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        raise ValueError(
            "a URL without a user name: use [api] headers and keys, so that no file holds a password"
        )
    if "#" in url:
        raise ValueError("a URL without a fragment (#...), which no API ever gets")
    host, port = _split(authority)
    if port is not None and not (_PORT.fullmatch(port) and 0 < int(port) <= PORT_MAX):
        raise ValueError("a URL whose port is a number from 1 to 65535")
    if host.startswith("["):
        _check_ipv6(host)
    else:
        _check_name(host)


def host_of(url: str) -> str:
    """Return the host of a URL that was checked, without the brackets of an address."""
    return urlsplit(url).hostname or ""


def authority_of(url: str) -> str:
    """Return the host of a URL that was checked, with its port if it has one."""
    return urlsplit(url).netloc.lower()


def is_aws(host: str) -> bool:
    """Say whether a host is AWS's own, and not an emulator's, a proxy's or a tunnel's."""
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws"))


def _split(authority: str) -> tuple[str, str | None]:
    if authority.startswith("["):
        host, bracket, rest = authority.partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError("a URL whose IPv6 address is in brackets, such as http://[::1]:8080/")
        return host + bracket, rest[1:] if rest else None
    host, colon, port = authority.partition(":")
    return host, port if colon else None


def _check_ipv6(host: str) -> None:
    try:
        ipaddress.IPv6Address(host[1:-1])
    except ValueError:
        raise ValueError("a URL with a valid IPv6 address in its brackets") from None
    if "%" in host:
        raise ValueError("a URL with an IPv6 address without a zone")


def _check_name(host: str) -> None:
    labels = host.removesuffix(".").split(".")
    plain = host.isascii() and not any(label.lower().startswith("xn--") for label in labels)
    if plain and not (
        len(host) <= HOST_MAX and all(len(label) <= LABEL_MAX and _LABEL.fullmatch(label) for label in labels)
    ):
        raise ValueError("a URL whose host is a name or an address")
    if plain and _NUMBER.fullmatch(labels[-1]):
        _check_ipv4(host)
    if not plain:
        _check_international(host)


def _check_ipv4(host: str) -> None:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        raise ValueError("a URL with an IPv4 address of four numbers from 0 to 255") from None


def _check_international(host: str) -> None:
    """Names beyond ASCII are encoded and decoded as the client does it."""
    import idna  # noqa: PLC0415 - its tables are large, and few need them

    try:
        encoded = host if host.isascii() else idna.encode(host.lower()).decode("ascii")
        idna.decode(encoded)
    except (idna.IDNAError, UnicodeError):
        raise ValueError("a URL whose host is a valid internationalised name") from None
    if len(encoded) > HOST_MAX:
        raise ValueError("a URL whose host is a name or an address")
