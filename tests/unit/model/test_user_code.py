"""Modules of the user's whose names are taken are refused, with the reason and another name."""

from __future__ import annotations

from pathlib import Path

import pytest

from fifo_cli.model.user_code import code_problems


def problems(folder: Path, name: str, reference: str | None = None) -> list[str]:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("def f(item): return item\n")
    return [str(one) for one in code_problems(folder, {"message": reference})]


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        *((f"{one}.py", "Python") for one in ("html", "json", "queue", "types", "secrets", "email", "token")),
        ("logging/__init__.py", "Python"),
        ("http/__init__.py", "Python"),
        ("compression.py", "Python"),
        ("select.cpython-313-aarch64-linux-gnu.so", "Python"),
        ("boto3.py", "Lambda"),
        ("urllib3/__init__.py", "Lambda"),
        ("bootstrap.py", "Lambda"),
    ],
)
def test_a_module_named_like_one_of_python_or_lambda_is_refused(
    tmp_path: Path, name: str, owner: str
) -> None:
    top = name.replace("/", ".").partition(".")[0]
    (found,) = problems(tmp_path, name, f"{top}:f")
    assert found.startswith(f"handlers.source: '{tmp_path / top}")
    assert f"{owner} has a module {top}" in found
    assert f"my_{top}" in found


@pytest.mark.parametrize(
    "reference",
    [
        *("html:f", "json.decoder:f", "httpx:f", "fifo_cli.errors:f", "boto3:f"),
        *("__main__:f", "sitecustomize:f", "usercustomize:f"),
    ],
)
def test_a_reference_to_a_module_of_others_is_refused(tmp_path: Path, reference: str) -> None:
    (tmp_path / "requirements.txt").write_text("requests\n")
    (found,) = problems(tmp_path, "orders.py", reference)
    assert found.startswith(f"handlers.message: '{reference}'; must be in a module of your own")


@pytest.mark.parametrize("reference", ["__main__", "sitecustomize", "usercustomize"])
def test_what_python_imports_when_it_starts_is_not_found_as_a_handler(tmp_path: Path, reference: str) -> None:
    (found,) = problems(tmp_path, f"{reference}.py", f"{reference}:f")
    assert f"my_{reference.strip('_')}:f" in found
    assert problems(tmp_path, "orders.py", "orders:f") == []  # beside the code it is harmless


@pytest.mark.parametrize("name", ["calendar/days.json", "lib/html.py", "html5.py", "HTML.txt", "json.toml"])
def test_other_names_are_taken(tmp_path: Path, name: str) -> None:
    (tmp_path / "orders.py").write_text("def f(item): return item\n")
    assert problems(tmp_path, name, "orders:f") == []


@pytest.mark.parametrize(
    ("written", "reference", "found"),
    [
        ("HTML.py", "HTML:f", True),
        ("Orders.py", "Orders:f", True),
        ("orders.py", "Orders:f", False),
        ("Orders.py", "orders:f", False),
        ("shop/orders.py", "Shop.orders:f", False),
        ("shop/Orders/__init__.py", "shop.orders:f", False),
        ("shop/Orders/__init__.py", "shop.Orders:f", True),
    ],
)
def test_a_module_is_found_with_its_case_as_lambda_does_on_file_systems_without_case_too(
    tmp_path, monkeypatch, written, reference, found
):
    (tmp_path / written).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / written).write_text("def f(item): ...\n")
    there = {str(path).lower() for path in tmp_path.rglob("*") if path.is_file()}
    monkeypatch.setattr(Path, "is_file", lambda path: str(path).lower() in there)  # as on macOS

    assert (code_problems(tmp_path, {"message": reference}) == []) is found
