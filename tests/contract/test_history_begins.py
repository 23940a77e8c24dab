"""Every command that changes a pipeline begins in its history: read from the code, so that none is forgotten.

That the beginning is on record before the first change, tests/integration/test_history.py shows by kills.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Callable
from textwrap import dedent
from typing import Any

import pytest

from fifo_cli.cli.framework import Impact
from tests.every_command import EVERY_COMMAND

# The contract's commands that change something of a pipeline.
CHANGING = {
    "deploy", "rollback", "destroy", "drain", "redrive", "park", "replay", "dump", "load", "purge", "pause",
    "resume", "put", "keys set",
}  # fmt: skip
# These change files, or what runs on this machine. What watch does is recorded as pause, resume and drain;
# what prove does, in the history of a pipeline of its own.
ELSEWHERE = {"init", "package", "watch", "local up", "local down", "local reset", "prove"}


def begins(function: Callable[..., Any], seen: set[Any] | None = None) -> bool:
    """Say whether a function, or one of the command line's that it names, calls the history's ``begin``."""
    seen = set() if seen is None else seen
    if function in seen:
        return False
    seen.add(function)
    tree = ast.parse(dedent(inspect.getsource(function)))
    known = dict(vars(inspect.getmodule(function)))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("fifo_cli.cli"):
            module = importlib.import_module(str(node.module))
            known |= {one.asname or one.name: getattr(module, one.name) for one in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "begin":
            return True
    named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    found = [known[name] for name in named if inspect.isfunction(known.get(name))]
    return any(begins(one, seen) for one in found if one.__module__.startswith("fifo_cli.cli"))


def test_the_commands_that_are_recorded_are_those_that_change_a_pipeline() -> None:
    recorded = {name for name, one in EVERY_COMMAND.items() if one.recorded}
    assert recorded == CHANGING
    changing = {name for name, one in EVERY_COMMAND.items() if one.impact is not Impact.READS}
    assert changing - recorded == ELSEWHERE


@pytest.mark.parametrize("name", sorted(CHANGING))
def test_it_begins_in_the_history(name: str) -> None:
    assert begins(EVERY_COMMAND[name].body)


@pytest.mark.parametrize("name", ["depth", "status", "peek", "trace", "plan"])
def test_what_only_reads_does_not(name: str) -> None:
    assert not begins(EVERY_COMMAND[name].body)
