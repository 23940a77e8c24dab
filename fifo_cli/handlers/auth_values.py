"""What a text of ``[api] auth`` has to be, as far as the text alone shows it.

The worker asks when it has read the keys, ``keys set`` before it writes one.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

WEBHOOK_SECRET: Final = "whsec_"
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
_PRIVATE_KEY: Final = re.compile(r"-----BEGIN ((?:[A-Z]+ )?PRIVATE KEY)-----")


def text_fault(kind: str, field: str, text: str) -> str | None:
    """Say why ``text`` cannot be a field of an auth of a kind, without quoting it; None if it can."""
    match kind, field:
        case "basic", "username":
            return _user_name_fault(text)
        case "standard-webhooks", "secret" if not all(map(_is_webhook_secret, text.split())):
            return f"it is not {WEBHOOK_SECRET} and base64, or several of it with spaces between"
        case "mtls", "certificate" if not CERTIFICATE.search(text):
            return "it is not a certificate in PEM (-----BEGIN CERTIFICATE-----)"
        case "mtls", "key":
            return _private_key_fault(text)
    return None


def _user_name_fault(text: str) -> str | None:
    if ":" in text:
        return "it has a colon, which ends a user name (RFC 7617)"
    if found := _CONTROL.search(text):
        return f"character {found.start() + 1} is a control character, which RFC 7617 does not allow"
    return None


def _is_webhook_secret(text: str) -> bool:
    try:
        secret = base64.b64decode(text.removeprefix(WEBHOOK_SECRET), validate=True)
    except (binascii.Error, ValueError):
        return False
    return text.startswith(WEBHOOK_SECRET) and bool(secret)


def _private_key_fault(text: str) -> str | None:
    kinds = _PRIVATE_KEY.findall(text)
    if not kinds:
        return "it is not a private key in PEM (-----BEGIN PRIVATE KEY-----)"
    if "ENCRYPTED PRIVATE KEY" in kinds or "Proc-Type: 4,ENCRYPTED" in text:
        return "it is encrypted, and nobody can be asked for its password"
    if "\\n" in text:
        return 'it has "\\n" where line breaks should be'
    return None
