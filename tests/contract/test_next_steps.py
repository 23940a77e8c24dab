"""An error names the thing, the reason and the next step: whoever raises one gives it a ``hint``."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fifo_cli import errors
from tests.bed import ROOT

KINDS = {
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.FifoError) and value is not errors.Interrupted
}
# Whose message is the next step, or whose cause is anything at all; by file, so that nothing new hides there.
WITHOUT = {
    "aws/functions.py": 1,  # Lambda's own reason
    "aws/schedules.py": 1,  # EventBridge's own reason
    "aws/session.py": 1,  # STS's answer is no ARN
    "cli/files.py": 1,
    "cli/provision.py": 1,
    "cli/tracing.py": 1,
    "operations/delivering/drain.py": 3,  # the function's own complaint
    "operations/moving/checkpoint.py": 1,
    "operations/moving/engine.py": 1,  # a defect
    "operations/moving/files.py": 1,
    "operations/moving/load.py": 1,
    "operations/provisioning/deploy.py": 1,
    "operations/provisioning/init.py": 2,
    "operations/provisioning/keys.py": 1,
    "operations/provisioning/package.py": 2,
    "operations/provisioning/vendoring.py": 2,
    "operations/streams/choosing.py": 1,
    "operations/streams/sending.py": 1,  # a defect
}


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
