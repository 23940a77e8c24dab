"""Imported before a process forks runs of the program: all that any command imports."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import httpx  # noqa: F401
import rich.live  # noqa: F401

import fifo_cli.cli.commands
import fifo_cli.operations
import fifo_cli.render

for _package in (fifo_cli.operations, fifo_cli.render, fifo_cli.cli.commands):
    for _found in pkgutil.walk_packages(_package.__path__, _package.__name__ + "."):
        import_module(_found.name)
import_module("fifo_cli.cli.screen")
# Last: it freezes what there is.
import_module("tests.integration.warm")
