"""Which distributions go into the zip."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from fifo_cli.errors import FifoError
from fifo_cli.operations.deploy import builtin_libraries as bundling
from fifo_cli.operations.deploy.builtin_libraries import built_in_files, bundled_files


def test_the_handlers_libraries_are_bundled_with_what_they_require() -> None:
    bundle = bundled_files("python3.13")
    assert {"httpx", "httpcore", "h11", "anyio", "idna", "certifi", "jmespath"} <= set(bundle.versions)
    assert bundle.versions["httpx"] == metadata.version("httpx")
    assert {"certifi/cacert.pem", "httpx/__init__.py", "jmespath/parser.py"} <= set(bundle.files)


def test_the_handlers_are_all_there_and_nothing_else_of_the_program() -> None:
    names = set(built_in_files())
    assert {"fifo_cli/__init__.py", "fifo_cli/handlers/enqueuer.py", "fifo_cli/handlers/worker.py"} <= names
    assert {str(Path(name).parent) for name in names} == {"fifo_cli", "fifo_cli/handlers"}


def installed(folder: Path, name: str, files: dict[str, str], requires: str = "") -> None:
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requires}\n")
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    (info / "RECORD").write_text("".join(f"{path},,\n" for path in (*files, f"{info.name}/METADATA")))


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    bundled_files.cache_clear()

    def bundle(*names: str):
        monkeypatch.setattr(bundling, "LIBRARIES", names)
        return bundled_files("python3.13")

    yield bundle
    bundled_files.cache_clear()


def test_requirements_that_hold_on_the_functions_python_are_followed_extras_are_not_and_a_circle_ends(
    tmp_path: Path, only
) -> None:
    requires = "Requires-Dist: second_one>=1\nRequires-Dist: nothing; extra == 'more'\n"
    requires += (
        "Requires-Dist: old; python_version < '3.13'\nRequires-Dist: new; python_full_version >= '3.13.0'\n"
        "Requires-Dist: old; python_version ~= '3.9.0' or platform_system == 'Windows'\n"
    )
    installed(tmp_path, "first", {"first.py": "1"}, requires)
    installed(
        tmp_path, "second_one", {"second/__init__.py": "2", "second/data.txt": ""}, "Requires-Dist: first\n"
    )
    installed(tmp_path, "new", {"new.py": "3", "__pycache__/new.pyc": "", "../../bin/new": ""})
    bundle = only("first")
    assert bundle.files == {
        "first.py": b"1",
        "second/__init__.py": b"2",
        "second/data.txt": b"",
        "new.py": b"3",
    }
    assert bundle.versions == {"first": "1.0", "second-one": "1.0", "new": "1.0"}


def test_a_library_that_is_not_installed_is_named_with_the_way_to_have_it(tmp_path: Path, only) -> None:
    installed(tmp_path, "first", {"first.py": "1"}, "Requires-Dist: missing-one\n")
    with pytest.raises(FifoError, match="missing-one is not installed") as failed:
        only("first")
    assert failed.value.hint == "python -m pip install missing-one"


def test_compiled_code_is_refused(tmp_path: Path, only) -> None:
    installed(tmp_path, "first", {"first.py": "1", "fast.cpython-311-x86_64-linux-gnu.so": ""})
    with pytest.raises(FifoError, match=r"the installed first 1\.0 holds compiled code"):
        only("first")


def test_an_editable_install_is_refused_since_its_files_are_not_known(tmp_path: Path, only) -> None:
    installed(tmp_path, "first", {"__editable__.first.pth": "/somewhere"})
    with pytest.raises(FifoError, match="editable"):
        only("first")


def test_a_file_that_has_gone_is_told(tmp_path: Path, only) -> None:
    installed(tmp_path, "first", {"first.py": "1", "gone.py": ""})
    (tmp_path / "gone.py").unlink()
    with pytest.raises(FifoError, match=r"gone\.py of the installed first 1\.0 cannot be read"):
        only("first")
