"""Whether the user's code is where fifo.toml says, read without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from fifo_cli.model.problems import Problem

REQUIREMENTS: Final = "requirements.txt"


def code_problems(source: Path, references: Mapping[str, str | None]) -> list[Problem]:
    """Check the folder and each ``module:function``; a module may come from requirements.txt too."""
    if not source.is_dir():
        return [Problem("handlers.source", repr(str(source)), "an existing folder")]
    found = ((key, source, reference) for key, reference in references.items() if reference)
    return [
        problem for key, folder, reference in found for problem in _reference_problems(key, folder, reference)
    ]


def _reference_problems(key: str, source: Path, reference: str) -> Iterator[Problem]:
    module, _, function = reference.partition(":")
    path = source.joinpath(*module.split("."))
    file = next((one for one in (path.with_suffix(".py"), path / "__init__.py") if one.is_file()), None)
    if file is None:
        if not (source / REQUIREMENTS).is_file():
            yield Problem(
                f"handlers.{key}", repr(reference), f"in a module that is in {source}: no {module} is there"
            )
        return
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError) as error:
        yield Problem(f"handlers.{key}", repr(reference), f"in a module that is Python: {file}: {error}")
        return
    if function not in set(_names(tree)) and not any(_imports_all(node) for node in tree.body):
        yield Problem(f"handlers.{key}", repr(reference), f"a function of {file}: it defines no {function}")


def _names(tree: ast.Module) -> Iterator[str]:
    """Yield every name that a module binds, wherever it does: in a branch, by an import, as a class."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                yield from (alias.asname or alias.name for alias in names)
            case ast.Name(id=name, ctx=ast.Store()):
                yield name


def _imports_all(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
