"""The contract's JSON: one document, or one object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def json_document(document: Mapping[str, Any]) -> str:
    """Write the document of ``-o json``."""
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def json_line(row: Mapping[str, Any]) -> str:
    """Write one line of ``-o jsonl``."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
