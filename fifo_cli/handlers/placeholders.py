"""The texts of fifo.toml that hold keys: their ``{placeholders}``, and which of ``[api] auth`` are secret.

The reader of fifo.toml asks, too, so this module imports nothing that takes time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

PLACEHOLDER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
# The texts of ``[api] auth`` that are secret, also where fifo.toml has them as they are.
SECRET_FIELDS: Final = frozenset({"password", "client_secret", "secret", "key"})


def filled(template: str, values: Mapping[str, str]) -> str:
    """Put values in the place of a template's ``{placeholders}``; one without a value stays."""
    return PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), template)


def placeholders(template: str) -> list[str]:
    """Return the names of a template's placeholders, in order."""
    return PLACEHOLDER.findall(template)
