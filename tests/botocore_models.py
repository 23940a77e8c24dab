"""Imported for what it does: botocore's models are read once a process, not once a session.

Each run of the program and most tests have a session of their own, and reading the models takes half of the
time of a deploy to the embedded stack.
"""

from __future__ import annotations

from functools import cache

from botocore.loaders import JSONFileLoader

from fifo_cli.aws.session import JsonFiles

for _loader in (JSONFileLoader, JsonFiles):
    _load_once = cache(_loader().load_file)
    setattr(_loader, "load_file", lambda self, path, load=_load_once: load(path))  # noqa: B010 - mypy, a method
