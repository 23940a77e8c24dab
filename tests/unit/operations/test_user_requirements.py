"""The user's requirements: installed once for the same input, for the right platform, or reported why not."""

from __future__ import annotations

import hashlib
import json
import tarfile
import zipfile
from pathlib import Path

import pytest

from fifo_cli.errors import ConfigError, UsageError
from fifo_cli.events import Event, Started
from fifo_cli.model.settings import Project, load
from fifo_cli.operations.deploy.package import build_zips
from fifo_cli.operations.deploy.user_requirements import NotBuiltError, vendored

pytestmark = pytest.mark.slow  # nearly every test runs pip

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


SETUP = """
import json, os, pathlib
pathlib.Path({ran!r}).write_text(json.dumps(dict(os.environ)))
from setuptools import setup
setup(name="mylib", version="1.0", py_modules=["mylib"])
"""


def local_library(folder: Path) -> Path:
    """Write a library that is built by its setup.py, and return the file that shows that it ran."""
    folder.mkdir(parents=True, exist_ok=True)
    ran = folder.parent / "ran.json"
    (folder / "setup.py").write_text(SETUP.format(ran=str(ran)))
    (folder / "mylib.py").write_text("NAME = 'first'\n")
    return ran


ALLOW = "allow_builds = true\n"


@pytest.mark.parametrize(
    "line",
    [
        "../libs/mylib",
        "mylib @ file://HERE/libs/mylib",
        "-e ../libs/mylib",
        "--editable=../libs/mylib",
        "-r ../more.txt",
        "../mylib-1.0.tar.gz",
        "mylib @ https://127.0.0.1:1/mylib-1.0.tar.gz",
        "git+https://127.0.0.1:1/mylib.git",
        "mylib @ git+https://127.0.0.1:1/mylib.git@main",
        "--no-binary mylib\nmylib",
        "--no-index --no-binary=mylib\nmylib",
        "./wheels/outer-1.0-py3-none-any.whl",
    ],
)
@pytest.mark.parametrize("here", [True, False])
def test_nothing_is_built_from_source_unless_it_is_allowed(tmp_path: Path, line: str, here: bool) -> None:
    ran = local_library(tmp_path / "libs" / "mylib")
    (tmp_path / "more.txt").write_text("../libs/mylib\n")
    with tarfile.open(tmp_path / "mylib-1.0.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "libs" / "mylib", "mylib-1.0")
    requires = f"Requires-Dist: mylib @ file://{tmp_path}/libs/mylib\n"
    wheel(tmp_path / "code" / "wheels", "outer", requires=requires)
    made = project(tmp_path, line.replace("HERE", str(tmp_path)) + "\n")
    with pytest.raises(ConfigError, match="needs a build from source") as refused:
        vendored(made, here=here)
    assert "allow_builds = true" in refused.value.hint
    assert "mylib" in str(refused.value)
    assert not ran.exists()


def test_a_build_that_is_allowed_has_no_aws_credentials_and_plan_starts_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "1")
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "elsewhere"))
    ran = local_library(tmp_path / "libs" / "mylib")
    made = project(tmp_path, "../libs/mylib\n", "")
    made = project(tmp_path, "../libs/mylib\n", ALLOW)
    with pytest.raises(NotBuiltError, match=r"are built by deploy, from inputs [0-9a-f]{8}$"):
        vendored(made, here=False, build=False)
    assert not ran.exists()
    folder = vendored(made, here=False)
    assert folder is not None
    assert (folder / "mylib.py").read_text() == "NAME = 'first'\n"
    assert [name for name in json.loads(ran.read_text()) if name.startswith("AWS_")] == []
    assert vendored(made, here=False, build=False) == folder
    (tmp_path / "libs" / "mylib" / "mylib.py").write_text("NAME = 'second'\n")
    with pytest.raises(NotBuiltError):
        vendored(made, here=False, build=False)


def test_what_requirements_name_outside_the_folder_changes_the_result(tmp_path: Path) -> None:
    for name in ("first", "second"):
        wheel(tmp_path / "wheels", name)
    (tmp_path / "limits.txt").write_text("")
    (tmp_path / "common.txt").write_text("-r deeper/more.txt\n-c limits.txt\n")
    (tmp_path / "deeper").mkdir()
    more = tmp_path / "deeper" / "more.txt"
    more.write_text("--find-links ../wheels\nfirst\n")
    made = project(tmp_path, "-r ../common.txt\n")
    folders = [vendored(made, here=True)]
    more.write_text("--find-links ../wheels\nfirst\nsecond\n")
    folders.append(vendored(made, here=True))
    (tmp_path / "limits.txt").write_text("second<2\n")
    folders.append(vendored(made, here=True))
    wheel(tmp_path / "wheels", "second", requires="Summary: other\n")
    folders.append(vendored(made, here=True))
    assert len({one.name for one in folders if one}) == 4
    assert folders[1] is not None
    assert (folders[1] / "second.py").is_file()


HOW = {
    "user": "1",
    "prefix": "ELSEWHERE",
    "target": "ELSEWHERE",
    "root": "ELSEWHERE",
    "require-virtualenv": "1",
    "dry-run": "1",
    "no-deps": "1",
    "quiet": "3",
    "no-binary": ":all:",
    "editable": "ELSEWHERE",
    "requirement": "ELSEWHERE/none.txt",
    "report": "ELSEWHERE/report.json",
}


@pytest.mark.parametrize("where", ["variable", "global", "install"])
def test_settings_of_where_and_how_to_install_do_not_reach_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    settings = {name: value.replace("ELSEWHERE", str(elsewhere)) for name, value in HOW.items()}
    if where == "variable":
        for name, value in settings.items():
            monkeypatch.setenv(f"PIP_{name.upper().replace('-', '_')}", value)
    else:
        lines = [f"{name} = {value}\n" for name, value in settings.items()]
        (tmp_path / "pip.conf").write_text("".join([f"[{where}]\n", *lines]))
        monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    wheel(tmp_path / "code" / "wheels", "inner")
    name = wheel(tmp_path / "code" / "wheels", "pinned", requires="Requires-Dist: inner\n")
    folder = vendored(project(tmp_path, f"-f wheels\n./wheels/{name}\n"), here=True)
    assert folder is not None
    assert (folder / "pinned.py").is_file()
    assert (folder / "inner.py").is_file()
    assert not elsewhere.exists()


@pytest.mark.parametrize("where", ["variable", "global", "install"])
def test_settings_of_indexes_stay_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    wheel(tmp_path / "private", "pinned")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    if where == "variable":
        monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "private"))
    else:
        text = f"[{where}]\nfind-links =\n    {tmp_path}/nothing\n    {tmp_path}/private\nquiet = 3\n"
        (tmp_path / "pip.conf").write_text(text)
        monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    folder = vendored(project(tmp_path, "pinned\n"), here=True)
    assert folder is not None
    assert (folder / "pinned.py").is_file()


def test_a_module_of_the_users_is_not_pips(tmp_path: Path) -> None:
    name = wheel(tmp_path / "code" / "wheels", "pinned")
    made = project(tmp_path, f"./wheels/{name}\n")
    for taken in ("pip", "optparse"):
        (tmp_path / "code" / f"{taken}.py").write_text("raise SystemExit('not me')\n")
    assert vendored(made, here=True) is not None
