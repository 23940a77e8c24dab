"""An exit code and a result each have one place; what is added elsewhere fails here.

That each error of botocore has one rule is a test of aws/errors.py (tests/unit/aws/test_errors.py).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fifo_cli.cli.manual import _EXITS
from fifo_cli.errors import ExitCode
from tests.cli_harness import ROOT

PACKAGE = ROOT / "fifo_cli"
# Where a process ends, and why there; an exit code elsewhere goes through errors.py and cli/app.py.
ENDS = {
    "__main__.py",  # the program, and an interrupt before its own code is imported
    "cli/signals.py",  # a second signal
    "operations/code_server.py",  # the process of the user's code
    "handlers/code_guard.py",  # the function, where the user's code closed the files of its process
    "local/server.py",  # the embedded stack's own process
    "local/receiver.py",  # another program: python -m fifo_cli.local.receiver
}
# Values that are a part of a result, not what a command returns.
PARTS = {"BrowseResult"}
# `check` writes formats of its own, none of them JSON lines.
WITHOUT_ROWS = {"CheckResult"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def ends(path: Path) -> Iterator[int]:
    """Yield the lines that end the process or name an exit code by its number."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        if called in {"sys.exit", "os._exit", "exit", "SystemExit"}:
            yield node.lineno  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_only_a_few_places_end_the_process(path: Path) -> None:
    assert name_of(path) in ENDS or not list(ends(path))


def test_every_exit_code_is_in_the_man_page() -> None:
    assert set(_EXITS) == set(ExitCode)


def results() -> Iterator[tuple[str, ast.ClassDef]]:
    for path in modules():
        text = path.read_text(encoding="utf-8")
        # Each worker of a test run collects this: only what has such a class is parsed.
        if not re.search(r"^class \w+(Result|Preview)\b", text, re.MULTILINE):
            continue
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef) and node.name.endswith(("Result", "Preview")):
                yield name_of(path), node


@pytest.mark.parametrize(("file", "node"), [pytest.param(*one, id=one[1].name) for one in results()])
def test_what_a_command_returns_lies_beside_its_verb_and_has_the_contracts_json(
    file: str, node: ast.ClassDef
) -> None:
    if node.name in PARTS or file == "model/results.py":
        return
    # Two are in model, where the renderers that make a page or a plan of them may import their types.
    assert file.startswith(("operations/", "model/planning.py", "model/prove_result.py"))
    bases = {ast.unparse(base) for base in node.bases}
    own = {one.name for one in node.body if isinstance(one, ast.FunctionDef)}
    assert (
        bases & {"Result", "Listed", "WorkResult", "ReplayResult", "DumpPreview"}
        or {"document", "rows"} <= own
        or node.name in WITHOUT_ROWS
    )
