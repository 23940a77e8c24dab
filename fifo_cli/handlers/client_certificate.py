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

from .failure import ConfigurationError

_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
_PRIVATE_KEY: Final = re.compile(r"-----BEGIN ((?:[A-Z]+ )?PRIVATE KEY)-----")
# How OpenSSL says that a key is another one's, or of another type than the certificate's.
_MISMATCH: Final = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"})
# By which a server says that it takes no such certificate (RFC 8446, 6.2), in OpenSSL's words.
_REFUSALS: Final = re.compile(
    r"\[SSL: \w*ALERT_((?:BAD|UNSUPPORTED)_CERTIFICATE|CERTIFICATE_\w+|UNKNOWN_CA|ACCESS_DENIED)\]"
)
# ASN.1's tags (X.690): the version of a certificate, and a time whose year has two digits.
_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17


def tls_context(trusted: ssl.SSLContext, certificate: str, key: str, ca: str | None) -> ssl.SSLContext:
    """Add a client certificate, and a CA of one's own, to what is ``trusted``.

    Raises ConfigurationError that names what cannot be used, and quotes nothing of it.
    """
    if not _CERTIFICATE.search(certificate):
        raise _fault("certificate", "it is not a certificate in PEM (-----BEGIN CERTIFICATE-----)")
    kinds = _PRIVATE_KEY.findall(key)
    if not kinds:
        raise _fault("key", "it is not a private key in PEM (-----BEGIN PRIVATE KEY-----)")
    if "ENCRYPTED PRIVATE KEY" in kinds or "Proc-Type: 4,ENCRYPTED" in key:
        raise _fault("key", "it is encrypted, and nobody can be asked for its password")
    if "\\n" in key:
        raise _fault("key", 'it has "\\n" where line breaks should be')
    try:
        with _file(certificate) as certificates, _file(key) as keys:
            trusted.load_cert_chain(certificates, keys, password=str)  # never a prompt
    except ssl.SSLError as error:
        if error.reason in _MISMATCH:
            raise _fault("key", "it is not the key of the certificate") from None
        raise _fault("certificate, key", f"OpenSSL cannot read them ({error.reason or 'PEM'})") from None
    if ca is not None:
        try:
            trusted.load_verify_locations(cadata=ca)
        except (ssl.SSLError, ValueError):
            raise _fault("ca", "it is not one or more certificates in PEM") from None
    return trusted


def check_time(certificate: str, now: float) -> float:
    """Return when a certificate expires (seconds since 1970); raises ConfigurationError if not valid."""
    begins, ends = _validity(certificate)
    if not begins <= now:
        raise _fault("certificate", f"it is not valid before {_date(begins)}")
    if now >= ends:
        raise _fault("certificate", f"it expired on {_date(ends)}")
    return ends


def refusal(error: Exception) -> ConfigurationError | None:
    """Return what an error of a call means if the API did not take the certificate.

    httpcore hides the cause of its errors; their texts are those of OpenSSL.
    """
    match = _REFUSALS.match(str(error))
    words = match[1].lower().replace("_", " ") if match else ""
    return _fault("certificate", f"the API refused it in the TLS handshake: {words}") if match else None


def _fault(field: str, reason: str) -> ConfigurationError:
    return ConfigurationError(f"[api] auth: {field}", reason)


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
        raise _fault("certificate", "it is not a certificate in PEM that can be read") from None


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
