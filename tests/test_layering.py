"""Which layer may import which (CONTRIBUTING.md), read from the code's own imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "fifo_cli"
OURS = {"errors", "events", "interrupts", "invocation", "own_files"}
ALLOWED = {
    "model": OURS | {"model"},
    "handlers": {"handlers"},
    "prove_api": {"prove_api"},
    "aws": OURS | {"aws", "model"},
    "operations": OURS | {"operations", "aws", "model", "handlers", "prove_api"},
    "render": OURS | {"render", "model"},
    "local": OURS | {"local", "model", "prove_api"},
    "local/demo": OURS | {"local", "operations", "aws", "model", "handlers"},
    "cli": OURS | {"cli", "operations", "aws", "model", "render", "local"},
    ".": OURS | {"cli"},
}
# What else one module may import, as it is the functions' too, whose zips hold handlers/ alone: the encoding
# of group names, AWS's limits, which hosts are this machine, where keys are, which placeholders stand for
# them, which secrets sign webhooks, how calls are signed and sent, how batch answers are read, and what hides
# keys.
EXCEPTIONS: dict[str, str | tuple[str, ...]] = {
    "model/auth_settings.py": ("fifo_cli.handlers.webhook_secrets.", "fifo_cli.handlers.placeholders."),
    "model/group_names.py": "fifo_cli.handlers.identifiers.",
    "model/key_faults.py": ("fifo_cli.handlers.key_sources.", "fifo_cli.handlers.placeholders."),
    "model/limits.py": "fifo_cli.handlers.limits.",
    "model/role_policies.py": "fifo_cli.handlers.key_sources.",
    "model/setting_problems.py": "fifo_cli.handlers.placeholders.",
    "model/setting_types.py": "fifo_cli.handlers.key_sources.",
    "model/setting_warnings.py": "fifo_cli.handlers.placeholders.",
    "model/settings.py": "fifo_cli.handlers.placeholders.",
    "model/stuck_advice.py": "fifo_cli.handlers.placeholders.",
    "model/urls.py": "fifo_cli.handlers.hosts.",
    "aws/fast_calls.py": "fifo_cli.handlers.signed_calls.",
    "aws/sqs.py": "fifo_cli.handlers.batch_answer.",
    "aws/hidden_values.py": "fifo_cli.handlers.redaction.",
}
FORBIDDEN = {
    "model": {"boto3", "botocore", "httpx", "rich", "typer"},
    "handlers": {"typer", "rich", "pydantic"},
    "prove_api": {"httpx", "pydantic", "rich", "typer"},
    "operations": {"typer", "rich"},
    "render": {"boto3", "botocore", "httpx", "typer"},
    "aws": {"typer", "rich", "httpx"},
}
# The wings of operations, and what each may import of the others. Modules of operations itself know no wing.
WINGS: dict[str, set[str]] = {
    "deploy": set(),
    "table": set(),
    "transfer": set(),
    "queues": {"deploy", "transfer"},
    "monitor": {"deploy", "queues"},
    "stream": {"monitor", "queues", "transfer"},
    "prove": {"deploy"},
}
BOTO_CALLERS = {"aws", "handlers", "prove_api"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def layer(path: Path) -> str:
    folder = path.relative_to(PACKAGE).parent.as_posix()
    return folder if folder in ALLOWED else folder.split("/")[0]


@cache
def imports(path: Path) -> tuple[tuple[str, bool], ...]:
    """Return what a module imports, absolute, and whether only for the type checker."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[tuple[str, bool]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    checked_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    package = ["fifo_cli", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in checked_only) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((f"{module}.{alias.name}", id(node) in checked_only) for alias in node.names)


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_imports_only_from_the_layers_it_may(path):
    allowed = ALLOWED[layer(path)]
    for name, for_types in imports(path):
        top, *rest = name.split(".")
        if name.startswith(EXCEPTIONS.get(path.relative_to(PACKAGE).as_posix(), "-")):
            continue
        if top == "fifo_cli" and rest and rest[0] != "__version__":
            assert rest[0] in allowed or for_types, f"{path} imports {name}"
        assert top not in FORBIDDEN.get(layer(path), ()) or for_types, f"{path} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_only_the_gateways_and_the_handlers_call_boto3(path):
    if layer(path) in BOTO_CALLERS:
        return
    names = {name for name, for_types in imports(path) if name.split(".")[0] == "boto3" and not for_types}
    assert not names


def wing(name: str) -> str | None:
    """Return the wing of a module's or a file's dotted name; None for what is in none."""
    parts = name.split(".")
    inside = parts[:2] == ["fifo_cli", "operations"] and len(parts) > 2
    return parts[2] if inside and parts[2] in WINGS else None


def test_every_wing_has_its_place_in_the_order():
    folders = {path.parent.name for path in (PACKAGE / "operations").glob("*/__init__.py")}
    assert folders == set(WINGS)
    order = list(WINGS)
    assert all(order.index(other) < order.index(one) for one, others in WINGS.items() for other in others)


@pytest.mark.parametrize(
    "path", [path for path in modules() if layer(path) == "operations"], ids=lambda path: path.name
)
def test_a_wing_imports_only_from_the_wings_before_it(path):
    own = wing(".".join(("fifo_cli", *path.relative_to(PACKAGE).with_suffix("").parts)))
    for name, _ in imports(path):
        other = wing(name)
        if other is not None and other != own:
            assert own is not None, f"{path} is in no wing and imports {name}"
            assert other in WINGS[own], f"{path} imports {name}"


def test_a_forbidden_import_would_be_noticed(tmp_path):
    """The test of the test: relative, nested and type-only imports are all seen for what they are."""
    source = PACKAGE / "handlers" / "worker.py"
    assert ("fifo_cli.handlers.clients", False) in set(imports(source))
    assert ("mypy_boto3_sqs.SQSClient", True) in set(imports(PACKAGE / "handlers" / "clients.py"))
    nested = {name for name, _ in imports(PACKAGE / "cli" / "commands" / "queues.py")}
    assert "fifo_cli.operations.queues.peek.peek" in nested
