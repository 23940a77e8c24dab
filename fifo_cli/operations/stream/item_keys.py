"""Table keys as logs and messages spell them, and as results show them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from fifo_cli.handlers import exact_json


def read_key(text: str) -> Any:
    """Parse the JSON of a table key, numbers exact; None if it is not JSON."""
    try:
        return exact_json.loads(text)
    except (ValueError, RecursionError):
        return None


def shown_key(key: Any) -> Any:
    """Return a table key for a result: a number that JSON's readers would round is its text."""
    if not isinstance(key, Mapping):
        return key
    return {name: str(value) if isinstance(value, Decimal) else value for name, value in key.items()}
