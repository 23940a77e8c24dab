"""Imported for what it does: botocore's models are read once a process, not once a session.

Each run of the program and most tests have a session of their own, and reading the models takes half of the
time of a deploy to the embedded stack.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from botocore.loaders import JSONFileLoader

_load = JSONFileLoader.load_file


@cache
def _load_once(path: str) -> Any:
    return _load(JSONFileLoader(), path)


setattr(JSONFileLoader, "load_file", lambda self, path: _load_once(path))  # noqa: B010 - mypy, a method
