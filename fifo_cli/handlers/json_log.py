"""One JSON object a line: what the functions log, and ``logs``, ``trace`` and ``audit`` read.

Fields: time (ISO 8601 UTC), level (info, warning, error), message (a fixed word, such as "delivered"),
and facts: ids, group, sequence, status, receives, milliseconds. Never a body, never a key's value.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

from . import standard_files

Level = Literal["info", "warning", "error"]
Journal = Callable[..., None]

_kept: list[int] = []


def keep_stdout() -> None:
    """Log to the stdout of now from here on, even if the user's code closes, replaces or redirects it."""
    standard_files.keep()
    if not _kept:
        with contextlib.suppress(AttributeError, OSError, ValueError):
            _kept.append(standard_files.copy_of(sys.stdout.fileno()))


def stdout_journal(level: Level, message: str, **facts: Any) -> None:
    """Write a line to stdout, which Lambda sends to CloudWatch Logs; what cannot be logged stops nothing."""
    text = line(level, message, **facts)
    with contextlib.suppress(AttributeError, OSError, ValueError):
        if _kept:
            os.write(_kept[0], f"{text}\n".encode(errors="replace"))
        else:
            stream = getattr(sys.stdout, "unguarded", sys.stdout)  # keys are hidden in the text already
            print(text, file=stream, flush=True)


def line(level: Level, message: str, *, at: datetime | None = None, **facts: Any) -> str:
    """Build one line, of this moment if not ``at`` another; facts that are None are left out."""
    known = {name: value for name, value in facts.items() if value is not None}
    document = {"time": iso(at or datetime.now(UTC)), "level": level, "message": message, **known}
    return json.dumps(document, ensure_ascii=False, default=str)


def iso(instant: datetime) -> str:
    """Write an instant in ISO 8601, UTC, milliseconds."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
