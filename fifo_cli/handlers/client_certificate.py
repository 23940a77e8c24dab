"""Client certificates: from PEM texts to the TLS context of a call.

OpenSSL reads a certificate with its key from a file only. Theirs is in memory, or where a system has no such
files, one that only this user may read, removed as soon as it was read.
"""

from __future__ import annotations

import contextlib
import os
import re
import ssl
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from .failure import AuthError

_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
# How OpenSSL says that a key is another one's, or of another type than the certificate's.
_MISMATCH: Final = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"})
# By which a server says that it takes no such certificate (RFC 8446, 6.2), in OpenSSL's words.
_REFUSALS: Final = re.compile(
    r"\[SSL: \w*ALERT_((?:BAD|UNSUPPORTED)_CERTIFICATE|CERTIFICATE_\w+|UNKNOWN_CA|ACCESS_DENIED)\]"
)
# How OpenSSL says that nobody who is trusted has signed the server's certificate.
_UNKNOWN_ISSUER: Final = re.compile(r"\[SSL: CERTIFICATE_VERIFY_FAILED\].*(?:issuer|self.signed)")
# ASN.1's tags (X.690): the version of a certificate, and a time whose year has two digits.
_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17


def tls_context(trusted: ssl.SSLContext, certificate: str, key: str, ca: str | None) -> ssl.SSLContext:
    """Add a client certificate, and a CA of one's own, to what is ``trusted``.

    Raises AuthError that names what cannot be used, and quotes nothing of it.
    """
    try:
        _load(trusted, certificate, key)
    except ssl.SSLError as error:
        if error.reason in _MISMATCH:
            raise _mismatch(certificate, key) from None
        # OpenSSL does not say which of the two it was.
        field = "key" if _holds_certificates(certificate) else "certificate"
        raise AuthError(field, f"OpenSSL cannot read it ({error.reason or 'PEM'})") from None
    if ca is not None and (fault := ca_fault(ca, trusted)):
        raise AuthError("ca", fault)
    return trusted


def _load(context: ssl.SSLContext, certificate: str, key: str) -> None:
    with _file(certificate) as certificates, _file(key) as keys:
        context.load_cert_chain(certificates, keys, password=str)  # never a prompt


def _mismatch(certificate: str, key: str) -> AuthError:
    """Return what is at fault where a key is not the first certificate's: perhaps it is another's."""
    for other in _CERTIFICATE.findall(certificate)[1:]:
        with contextlib.suppress(ssl.SSLError):
            _load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), other, key)
            return AuthError(
                "certificate", "the one of the key must be the first, before those that signed it"
            )
    return AuthError("key", "it is not the key of the certificate")


def ca_fault(text: str, into: ssl.SSLContext | None = None) -> str | None:
    """Say why a text cannot be a CA; one that can is then trusted ``into`` a context."""
    return None if _holds_certificates(text, into) else "it is not one or more certificates in PEM"


def certificate_fault(text: str, now: float) -> str | None:
    """Say why a text cannot be a client's certificate."""
    if not _CERTIFICATE.search(text):
        return "it is not a certificate in PEM (-----BEGIN CERTIFICATE-----)"
    try:
        check_time(text, now)
    except AuthError as error:
        return error.reason()
    return None if _holds_certificates(text) else "OpenSSL cannot read it"


def _holds_certificates(text: str, into: ssl.SSLContext | None = None) -> bool:
    """Whether OpenSSL reads certificates in a PEM text; it then trusts them ``into`` a context."""
    try:
        (into or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        return False
    return True


def check_time(certificate: str, now: float) -> float:
    """Return when a certificate expires (seconds since 1970); raises AuthError if it is not valid."""
    begins, ends = _validity(certificate)
    if not begins <= now:
        raise AuthError("certificate", f"it is not valid before {_date(begins)}")
    if now >= ends:
        raise AuthError("certificate", f"it expired on {_date(ends)}")
    return ends


def refusal(error: Exception) -> AuthError | None:
    """Return what an error of a call means if the API did not take the certificate.

    httpcore hides the cause of its errors; their texts are those of OpenSSL.
    """
    match = _REFUSALS.match(str(error))
    words = match[1].lower().replace("_", " ") if match else ""
    return AuthError("certificate", f"the API refused it in the TLS handshake: {words}") if match else None


def is_unknown_issuer(error: Exception) -> bool:
    """Whether a call failed because the CA of the API's certificate is not trusted."""
    return _UNKNOWN_ISSUER.match(str(error)) is not None


@contextlib.contextmanager
def _file(text: str) -> Iterator[str]:
    """Give a text a path, for as long as the context lasts."""
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        with os.fdopen(os.memfd_create("pem"), "wb") as file:
            file.write(text.encode())
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
        return
    with tempfile.NamedTemporaryFile() as file:  # its mode is 0600
        file.write(text.encode())
        file.flush()
        yield file.name


def _validity(certificate: str) -> tuple[float, float]:
    """Read from when to when the first certificate of a PEM text is valid (RFC 5280, 4.1)."""
    match = _CERTIFICATE.search(certificate)
    try:
        data = ssl.PEM_cert_to_DER_cert(match[0]) if match else b""
        _, at, _ = _element(data, _element(data, 0)[1])  # into the certificate, and into its first part
        if data[at] == _VERSION:
            _, _, at = _element(data, at)
        for _ in ("serial number", "signature", "issuer"):
            _, _, at = _element(data, at)
        _, at, _ = _element(data, at)
        begins, at = _time(data, at)
        return begins, _time(data, at)[0]
    except (IndexError, ValueError):
        raise AuthError("certificate", "it is not a certificate in PEM that can be read") from None


def _element(data: bytes, at: int) -> tuple[int, int, int]:
    """Return the tag of a DER element, where its content begins, and where it ends (X.690, 8.1)."""
    tag, length, begin = data[at], data[at + 1], at + 2
    if length & 0x80:
        begin += length & 0x7F
        length = int.from_bytes(data[at + 2 : begin])
    return tag, begin, begin + length


def _time(data: bytes, at: int) -> tuple[float, int]:
    """Return a time in seconds since 1970, and where it ends; years of two digits are 1950 to 2049."""
    tag, begin, end = _element(data, at)
    text = data[begin:end].decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text >= "5" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp(), end


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
