"""Imported for what it does: what botocore and pydantic build again and again, they build once a process.

Each run of the program and most tests have a session and a fifo.toml of their own. Reading botocore's models
takes half of the time of a deploy to the embedded stack. Of a short command the checks of the tables, the
arguments of botocore's handlers and the names of its events take half.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import botocore.hooks
from botocore.hooks import EVENT_ALIASES, EventAliaser
from botocore.loaders import JSONFileLoader

import fifo_cli.model.settings
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

_accepts_kwargs: Any = vars(botocore.hooks)["accepts_kwargs"]


def _code_accepts_kwargs(handler: Any) -> Any:
    """Look where inspect.getfullargspec finds it in the end."""
    code = getattr(getattr(handler, "__func__", handler), "__code__", None)
    return code.co_flags & inspect.CO_VARKEYWORDS if code else _accepts_kwargs(handler)


vars(botocore.hooks)["accepts_kwargs"] = _code_accepts_kwargs

_TypeAdapter: Any = vars(fifo_cli.model.settings)["TypeAdapter"]
_adapters: dict[int, Any] = {}


def _adapter_of(table: Any) -> Any:
    """Return what checks a table; ``table`` is annotated with its field, of which there is one a process."""
    field = table.__metadata__[-1]
    if id(field) not in _adapters:
        _adapters[id(field)] = _TypeAdapter(table)
    return _adapters[id(field)]


vars(fifo_cli.model.settings)["TypeAdapter"] = _adapter_of
