"""The user's requirements: installed once for the same input, for the right platform, or told why not."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from fifo_cli.errors import UsageError
from fifo_cli.events import Event, Started
from fifo_cli.model.settings import Project, load
from fifo_cli.operations.provisioning.package import build_zips
from fifo_cli.operations.provisioning.vendoring import vendored

CONFIG = """
[pipeline]
name = "orders"
[table]
name = "items"
[api]
url = "https://api.example.com/orders"
[handlers]
source = "code/"
message = "orders:to_message"
"""


@pytest.fixture(autouse=True)
def no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """pip finds what lies in the folder and nothing else."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")


def project(folder: Path, requirements: str | None, functions: str = "") -> Project:
    (folder / "code").mkdir(parents=True, exist_ok=True)
    (folder / "code" / "orders.py").write_text("def to_message(item): return item\n")
    (folder / "fifo.toml").write_text(CONFIG + functions)
    if requirements is not None:
        (folder / "code" / "requirements.txt").write_text(requirements)
    return load(folder / "fifo.toml")


def wheel(folder: Path, name: str, tag: str = "py3-none-any", requires: str = "") -> str:
    """Write a wheel with one module and a script, and return its file name."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": f"NAME = {name!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requires}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    record = "".join(
        f"{path},sha256={hashlib.sha256(text.encode()).hexdigest()},\n" for path, text in files.items()
    )
    path = folder / f"{name}-1.0-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in files.items():
            archive.writestr(inside, text)
        archive.writestr(f"{info}/RECORD", record)
    return path.name


def test_without_requirements_nothing_is_vendored(tmp_path: Path) -> None:
    assert vendored(project(tmp_path, None), here=True) is None


def test_requirements_are_installed_once_and_kept_for_the_same_input(tmp_path: Path) -> None:
    name = wheel(tmp_path / "code" / "wheels", "pinned")
    made = project(tmp_path, f"./wheels/{name}\n")
    events: list[Event] = []
    first = vendored(made, here=True, listener=events.append)
    assert first is not None
    assert (first / "pinned.py").read_text() == "NAME = 'pinned'\n"
    assert first.parent == tmp_path / ".fifo" / "vendor"
    assert not (first / "bin").exists()
    assert sorted(path.name for path in first.glob("*.dist-info/*")) == ["METADATA", "entry_points.txt"]
    assert vendored(made, here=True, listener=events.append) == first
    assert len([one for one in events if isinstance(one, Started)]) == 1
    assert [path.name for path in first.parent.iterdir()] == [first.name]


def test_lambdas_platform_and_this_one_are_kept_apart(tmp_path: Path) -> None:
    name = wheel(tmp_path / "code" / "wheels", "pinned")
    made = project(tmp_path, f"./wheels/{name}\n")
    intel = project(tmp_path / "b", f"./wheels/{name}\n", '[functions]\narchitecture = "x86_64"\n')
    wheel(tmp_path / "b" / "code" / "wheels", "pinned")
    folders = [vendored(made, here=True), vendored(made, here=False), vendored(intel, here=False)]
    assert len({one.name for one in folders if one}) == 3


@pytest.mark.parametrize(
    ("tag", "functions", "fits"),
    [
        ("cp313-cp313-manylinux_2_28_aarch64", "", True),
        ("cp313-cp313-manylinux2014_aarch64", "", True),
        ("cp313-cp313-manylinux2014_x86_64", "", False),
        ("cp313-cp313-manylinux2014_x86_64", '[functions]\narchitecture = "x86_64"\n', True),
        ("cp312-cp312-manylinux2014_aarch64", "", False),
        ("cp311-cp311-manylinux_2_28_aarch64", '[functions]\nruntime = "python3.11"\n', False),
        ("cp311-cp311-manylinux2014_aarch64", '[functions]\nruntime = "python3.11"\n', True),
    ],
)
def test_wheels_are_chosen_for_the_functions_runtime_and_machine(
    tmp_path: Path, tag: str, functions: str, fits: bool
) -> None:
    wheel(tmp_path / "code" / "wheels", "native", tag)
    made = project(tmp_path, "--find-links ./wheels\nnative\n", functions)
    if fits:
        folder = vendored(made, here=False)
        assert folder is not None
        assert (folder / "native.py").is_file()
    else:
        with pytest.raises(UsageError, match="pip could not install") as failed:
            vendored(made, here=False)
        assert "native" in failed.value.message
        assert "wheel for Lambda's platform" in failed.value.hint


def test_what_cannot_be_had_leaves_nothing_behind(tmp_path: Path) -> None:
    made = project(tmp_path, "no-such-library==1\n")
    with pytest.raises(UsageError, match="no-such-library==1"):
        vendored(made, here=True)
    assert list((tmp_path / ".fifo" / "vendor").iterdir()) == []


def test_a_requirement_that_disagrees_with_the_built_in_libraries_is_told(tmp_path: Path) -> None:
    made = project(tmp_path, "httpx==0.1\n")
    with pytest.raises(UsageError, match="httpx"):
        build_zips(made, here=True)


def test_vendored_modules_lie_in_the_zip_beside_the_users(tmp_path: Path) -> None:
    name = wheel(tmp_path / "code" / "wheels", "pinned")
    made = project(tmp_path, f"./wheels/{name}\n")
    path = tmp_path / "out.zip"
    path.write_bytes(build_zips(made, here=True)[0].data)
    names = zipfile.ZipFile(path).namelist()
    assert {"pinned.py", "orders.py", "pinned-1.0.dist-info/METADATA"} <= set(names)
