"""Whether the user's code is where fifo.toml says, read without running it."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from fifo_cli.model.setting_problems import SettingProblem

REQUIREMENTS: Final = "requirements.txt"
# Whose modules have which names already.
_OWNERS: Final = {
    # The last are of Python 3.14, which the running Python may not know.
    "Python": sys.stdlib_module_names | {"annotationlib", "compression"},
    # Imported before the function's code, or by the handlers from Lambda.
    "Lambda": {
        "awslambdaric", "awslambdaricmain", "bootstrap", "boto3", "botocore", "dateutil", "s3transfer", "six",
        "snapshot_restore_py", "urllib3",
    },
    "fifo-cli": {
        "anyio", "certifi", "fifo_cli", "h11", "httpcore", "httpx", "idna", "jmespath", "sniffio",
        "typing_extensions",
    },
}  # fmt: skip
# What Python imports when it starts. A file of that name is harmless; named in [handlers] it is never found.
_AT_START: Final = frozenset(("__main__", "sitecustomize", "usercustomize"))


def code_problems(source: Path, references: Mapping[str, str | None]) -> list[SettingProblem]:
    """Check the folder and each ``module:function``; a module may come from requirements.txt too.

    Only what runs or packs the code asks this: a mistake in it must stop nobody from looking or pausing.
    """
    if not source.is_dir():
        return [SettingProblem("handlers.source", repr(str(source)), "an existing folder")]
    return list(_shadowing(source)) or [
        SettingProblem(f"handlers.{key}", repr(reference), allowed)
        for key, reference in references.items()
        if reference and (allowed := _where_instead(source, reference))
    ]


def _shadowing(source: Path) -> Iterator[SettingProblem]:
    """Refuse modules named like ones of Python or Lambda: each would be imported in place of the other."""
    try:
        entries = sorted(source.iterdir())
    except OSError:  # whoever reads the files says so
        return
    for entry in entries:
        owner = _owner(_imported_as(entry))
        if owner in ("Python", "Lambda"):
            yield SettingProblem(
                "handlers.source",
                repr(str(entry)),
                f"named otherwise: {owner} has a module {_imported_as(entry)}, and only one of the two can be"
                f" imported; rename yours, such as my_{_imported_as(entry)}, also where it is imported",
            )


def _imported_as(entry: Path) -> str:
    """Return the name that a file or a package is imported by; empty for what is not."""
    if entry.suffix in (".py", ".so") or (entry / "__init__.py").is_file():
        return entry.name.partition(".")[0]
    return ""


def _owner(name: str) -> str | None:
    return next((owner for owner, names in _OWNERS.items() if name in names), None)


def _where_instead(source: Path, reference: str) -> str | None:
    """Say where a function has to be, if it is not where the reference says."""
    module, _, function = reference.partition(":")
    top = module.partition(".")[0]
    if owner := "Python" if top in _AT_START else _owner(top):
        return (
            f"in a module of your own: {top} is one of {owner}'s, which is imported in its place;"
            f" rename yours, such as my_{top.strip('_')}:{function}"
        )
    file = file_of(source, module)
    if file is None:
        required = (source / REQUIREMENTS).is_file()
        return None if required else f"in a module that is in {source}: no {module} is there"
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"in a module that Python can read: {_fault(file, error)}"
    defined = function in set(_names(tree)) or any(_imports_all(node) for node in tree.body)
    return None if defined else f"a function of {file}: it defines no {function}"


def _fault(file: Path, error: Exception) -> str:
    """Say in which line of a file Python finds which mistake."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f"{file}, line {error.lineno}: {error.msg}"
    reason = error.strerror if isinstance(error, OSError) else error
    return f"{file}: {reason or type(error).__name__}"


def file_of(source: Path, module: str) -> Path | None:
    """Return the file of a module, found as Python's import does: with its case, on every file system."""
    *folders, last = module.split(".")
    for steps in ((*folders, f"{last}.py"), (*folders, last, "__init__.py")):
        folder = source
        try:
            for step in steps:
                if step not in os.listdir(folder):  # is_file() may find Orders.py for orders
                    break
                folder = folder / step
            else:
                if folder.is_file():
                    return folder
        except OSError:
            continue
    return None


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
