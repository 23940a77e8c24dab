"""Imported for what it does: what botocore reads and computes for each session, it does once a process.

Each run of the program and most tests have a session of their own. Reading the models takes half of the time
of a deploy to the embedded stack, and finding the events' names a tenth.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from botocore.hooks import EVENT_ALIASES, EventAliaser
from botocore.loaders import JSONFileLoader

from fifo_cli.aws.session import JsonFiles

for _loader in (JSONFileLoader, JsonFiles):
    _load_once = cache(_loader().load_file)
    setattr(_loader, "load_file", lambda self, path, load=_load_once: load(path))  # noqa: B010 - mypy, a method

_begin = EventAliaser.__init__
_names: dict[str, str] = {}


def _begin_with_names(self: Any, *args: Any, **options: Any) -> None:
    _begin(self, *args, **options)
    if self._event_aliases == EVENT_ALIASES:
        self._alias_name_cache = _names


setattr(EventAliaser, "__init__", _begin_with_names)  # noqa: B010 - mypy, a method
