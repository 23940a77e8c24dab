"""A requirement's own code runs here where that is allowed, in package and deploy, and nowhere else."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cli_harness import Project, Ran

# Builds itself, needs no index for it, and writes down in which environment it did.
_BACKEND: Final = """
import json, os, zipfile
with open({ran!r}, "a") as file:
    file.write(json.dumps(dict(os.environ)) + "\\n")
_META = "Metadata-Version: 2.1\\nName: mylib\\nVersion: 1.0\\n"
_WHEEL = "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"

def build_wheel(folder, settings=None, metadata=None):
    name = "mylib-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        wheel.writestr("mylib.py", "NAME = 'mine'\\n")
        for file, text in (("METADATA", _META), ("WHEEL", _WHEEL), ("RECORD", "")):
            wheel.writestr("mylib-1.0.dist-info/" + file, text)
    return name
"""
_PYPROJECT: Final = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "mylib"
version = "1.0"
"""
_SETUP: Final = "import backend\nfrom setuptools import setup\nsetup(name='mylib', version='1.0')\n"
CODE: Final = "import mylib\ndef to_message(item):\n    return {'name': mylib.NAME, **item}\n"
# What must not be there, under its own name or another's.
_SECRETS: Final = {
    "AWS_ACCESS_KEY_ID": "AKIAOFTHEUSER",
    "AWS_SECRET_ACCESS_KEY": "s3cret-of-the-user",
    "AWS_SESSION_TOKEN": "t0ken-of-the-user",
    "AWS_PROFILE": "prod-of-the-user",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN": "container-of-the-user",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere/of-the-user",
    "aws_secret_access_key": "lower-of-the-user",
    "BOTO_CONFIG": "/nowhere/boto-of-the-user",
}
LINES: Final = {
    "a folder": "./pkg",
    "a folder above": "../pkg",
    "a file URL": "mylib @ file://HERE/pkg",
    "an sdist": "../dist/mylib-1.0.tar.gz",
    "an sdist's URL": "mylib @ file://HERE/dist/mylib-1.0.tar.gz",
    "a name, of which there is an sdist": "--find-links ../dist\nmylib",
    "an editable folder": "-e ../pkg",
}


@pytest.fixture
def make(project: Callable[..., Project]) -> Callable[[str, bool], tuple[Project, Path]]:
    """Makes a pipeline whose code requires a library that has to be built, which leaves a file."""

    def made(line: str, allowed: bool) -> tuple[Project, Path]:
        handlers: dict[str, Any] = {"source": "code/", "message": "mine:to_message"}
        one = project(handlers={**handlers, **({"allow_builds": True} if allowed else {})})
        code, ran = one.folder / "code", one.folder / "ran.jsonl"
        for folder in (code / "pkg", one.folder / "pkg"):
            folder.mkdir(parents=True)
            (folder / "backend.py").write_text(_BACKEND.format(ran=str(ran)))
            (folder / "pyproject.toml").write_text(_PYPROJECT)
            (folder / "setup.py").write_text(_SETUP)
        (one.folder / "dist").mkdir()
        with tarfile.open(one.folder / "dist" / "mylib-1.0.tar.gz", "w:gz") as archive:
            archive.add(one.folder / "pkg", "mylib-1.0")
        (code / "mine.py").write_text(CODE)
        (code / "requirements.txt").write_text(line.replace("HERE", str(one.folder)) + "\n")
        return one, ran

    return made


def run(one: Project, *words: str) -> Ran:
    return one.local(*words, env={**_SECRETS, "PIP_NO_INDEX": "1"})


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_without_leave_no_command_builds(
    make: Callable[[str, bool], tuple[Project, Path]], line: str
) -> None:
    one, ran = make(line, False)
    for words in (["plan"], ["package"], ["deploy", "--yes"], ["deploy", "--dry-run"]):
        refused = run(one, *words)
        assert (refused.code, refused.out) == (2, ""), refused
        assert line.splitlines()[-1].removeprefix("-e ").replace("HERE", str(one.folder)) in refused.err
        assert "allow_builds = true" in refused.err
    run(one, "status")
    assert not ran.exists()


@pytest.mark.parametrize("line", [*LINES.values()][:-1], ids=[*LINES][:-1])
def test_with_leave_package_and_deploy_build_without_the_users_credentials(
    make: Callable[[str, bool], tuple[Project, Path]], line: str
) -> None:
    one, ran = make(line, True)
    planned = run(one, "plan")
    assert planned.code == 0, planned
    run(one, "status")
    assert not ran.exists(), "plan and status build nothing"

    run(one, "package").ok()
    assert ran.exists()
    run(one, "deploy", "--yes").ok()
    run(one, "status", "-o", "json").ok()
    assert run(one, "plan", "--check").code == 0

    for environment in map(json.loads, ran.read_text().splitlines()):
        assert [name for name in environment if name.upper().startswith(("AWS_", "BOTO"))] == []
        assert "of-the-user" not in json.dumps(environment).replace(str(one.folder), "")
