"""Any string → a legal, distinct message group id or deduplication id.

SQS takes 1 to 128 ASCII letters, digits and punctuation, no space (API Reference, SendMessage). Legal
ids stay as they are, except that ``%`` begins an escape and is escaped itself; so two strings never
share an id (beyond SHA-256 for the very long).
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

ID_MAX: Final = 128
_LEGAL: Final = re.compile(r"[!-$&-~]{1,128}")  # every printable ASCII character but the space and %
_KEPT: Final = frozenset(range(0x21, 0x7F)) - {ord("%")}
_HASH_MARK: Final = "%~"  # no escape: ~ is not a hexadecimal digit
_HASH_CHARACTERS: Final = 64


def sqs_id(text: str) -> str:
    """Return ``text`` itself if SQS takes it, else an encoding that no other text has."""
    if _LEGAL.fullmatch(text):
        return text
    if not text:
        return _HASH_MARK
    raw = text.encode("utf-8", "surrogatepass")
    encoded = "".join(chr(byte) if byte in _KEPT else f"%{byte:02X}" for byte in raw)
    if len(encoded) <= ID_MAX:
        return encoded
    readable = encoded[: ID_MAX - len(_HASH_MARK) - _HASH_CHARACTERS]
    return f"{readable}{_HASH_MARK}{hashlib.sha256(raw).hexdigest()}"
