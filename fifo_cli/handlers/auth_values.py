"""What a text of ``[api] auth`` has to be, as far as the text alone, and the time, show it.

The worker asks when it has read the keys, ``keys set`` before it writes one.
"""

from __future__ import annotations

import re
from typing import Final

from .api_keys import header_fault
from .client_certificate import ca_fault, certificate_fault
from .webhook_secrets import WEBHOOK_SECRETS, webhook_keys

_PEM: Final = frozenset({"certificate", "key", "ca"})
_MAY_BE_EMPTY: Final = frozenset({"username", "password"})
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_DECRYPT: Final = "`openssl pkey -in FILE -out OTHER_FILE`"
_PRIVATE_KEY: Final = re.compile(r"-----BEGIN ((?:[A-Z]+ )?PRIVATE KEY)-----")


def value_fault(field: str, value: str) -> str | None:
    """Say why the value of a key cannot stand in a field of an auth, without quoting it; None if it can."""
    if any("\ud800" <= char <= "\udfff" for char in value):
        return "its value has half of a character (a surrogate), which UTF-8 cannot hold"
    if field == "format" or (field not in _PEM and value != value.strip("\r\n")):
        return header_fault(value)
    return None


def text_fault(kind: str, field: str, text: str, now: float) -> str | None:
    """Say why ``text`` cannot be a field of an auth of a kind, without quoting it; None if it can.

    ``now`` has the seconds since 1970.
    """
    if not text.strip() and field not in _MAY_BE_EMPTY:
        return "it is empty"
    fault = None
    match kind, field:
        case "basic", _:
            fault = _basic_fault(field, text)
        case "standard-webhooks", "secret":
            fault = None if webhook_keys(text) else f"it is not {WEBHOOK_SECRETS}"
        case "mtls", "certificate":
            fault = certificate_fault(text, now)
        case "mtls", "key":
            fault = _private_key_fault(text)
        case "mtls", "ca":
            fault = ca_fault(text)
    return fault


def _basic_fault(field: str, text: str) -> str | None:
    if field == "username" and ":" in text:
        return "it has a colon, which ends a user name (RFC 7617)"
    if found := _CONTROL.search(text):
        return f"character {found.start() + 1} is a control character, which RFC 7617 does not allow"
    return None


def _private_key_fault(text: str) -> str | None:
    kinds = _PRIVATE_KEY.findall(text)
    if not kinds:
        return "it is not a private key in PEM (-----BEGIN PRIVATE KEY-----)"
    if "ENCRYPTED PRIVATE KEY" in kinds or "Proc-Type: 4,ENCRYPTED" in text:
        return f"it is encrypted, and nobody can be asked for its password: {_DECRYPT} writes it without one"
    if "\\n" in text:
        return 'it has "\\n" where line breaks should be'
    return None
