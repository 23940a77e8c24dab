"""Results as JSON: one document, or one object a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fifo_cli.model.json_text import to_json


def json_document(document: Mapping[str, Any] | list[dict[str, Any]]) -> str:
    """Write the document of ``-o json``."""
    return to_json(document, indent=2) + "\n"


def json_line(row: Mapping[str, Any] | list[dict[str, Any]]) -> str:
    """Write one line of ``-o jsonl``."""
    return to_json(row) + "\n"
