"""An error names the thing, the reason and the next step: whoever raises one gives it a ``hint``."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fifo_cli import errors
from tests.cli_harness import ROOT

KINDS = {
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.FifoError)
    if value not in (errors.Interrupted, errors.DeclinedError)
}
# A defect of ours, which nobody who meets it can do anything about; by file, so that nothing new hides there.
WITHOUT = {"operations/transfer/engine.py": 1}


def without_hint(tree: ast.AST) -> Iterator[int]:
    """Yield the line of each of our errors that is made without a hint."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in KINDS
            and not any(keyword.arg == "hint" for keyword in node.keywords)
        ):
            yield node.lineno


def test_every_error_has_a_next_step() -> None:
    package = ROOT / "fifo_cli"
    owed = []
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        lines = list(without_hint(ast.parse(path.read_text(encoding="utf-8"))))
        if len(lines) > WITHOUT.get(name, 0):
            owed += [f"{name}:{line}" for line in lines]

    assert owed == []


def test_an_error_without_one_is_found() -> None:
    source = "raise UsageError('a')\nraise AwsError('b', hint='c')\nraise ValueError('d')\n"

    assert list(without_hint(ast.parse(source))) == [1]
