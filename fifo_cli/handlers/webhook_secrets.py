"""The secrets of the Standard Webhooks specification, as a text has them.

The reader of fifo.toml asks, too, so this module imports nothing that takes time.
"""

from __future__ import annotations

import base64
from typing import Final

_PREFIX: Final = "whsec_"
WEBHOOK_SECRETS: Final = f"{_PREFIX} and base64, or several of it with spaces between"


def webhook_keys(text: str) -> list[bytes]:
    """Return what each secret of a text signs with; nothing where the text is not ``WEBHOOK_SECRETS``."""
    keys = [_key(secret) for secret in text.split()]
    return keys if all(keys) else []


def _key(secret: str) -> bytes:
    if not secret.startswith(_PREFIX):
        return b""
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except ValueError:
        return b""
