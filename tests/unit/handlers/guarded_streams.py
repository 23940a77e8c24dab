"""Guarded output for a part of a test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from fifo_cli.handlers.guarded_output import STREAMS, Redact, guard_streams


@contextmanager
def guarded_streams(redact: Redact) -> Iterator[None]:
    """Hide keys in what is written to ``sys.stdout`` and ``sys.stderr`` inside."""
    before = {name: getattr(sys, name) for name in STREAMS}
    guard_streams(redact)
    try:
        yield
    finally:
        for name, stream in before.items():
            setattr(sys, name, stream)
