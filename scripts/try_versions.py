"""Run the unit tests and the demo with the lowest or the newest versions that pyproject.toml allows.

    python3 scripts/try_versions.py lowest [TESTS ...]    on the oldest Python allowed
    python3 scripts/try_versions.py newest [TESTS ...]    on the newest one

Python is looked for on PATH and in pyenv's folder. Without it nothing is run, and a line says so.
The tools of the tests (pytest and so on) are the newest in both cases.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_LOWEST = re.compile(r"([A-Za-z0-9._-]+)>=([0-9.]+)(?:,.*)?")
_PYTHON = "Programming Language :: Python :: 3."
_NOT_FOR_TESTS = ("fifo-cli", "ruff", "mypy", "boto3-stubs", "types-")
# What an installed package requires, but for its extras and its botocore.
_REQUIRED = """
from importlib import metadata
for line in metadata.requires("ministack") or ():
    if "extra ==" not in line and not line.startswith("botocore"):
        print(line)
"""


def lowest(requirements: list[str]) -> Iterator[str]:
    """Yield `name==version` for each requirement."""
    for text in requirements:
        found = _LOWEST.fullmatch(text)
        if found is None:
            raise SystemExit(f"pyproject.toml: {text!r} has no lowest version")
        yield f"{found[1]}=={found[2]}"


def minor_versions(project: dict[str, Any]) -> list[int]:
    """Return the minor versions of Python 3 that the classifiers name, the oldest first."""
    return sorted(int(text[len(_PYTHON) :]) for text in project["classifiers"] if text.startswith(_PYTHON))


def interpreter(minor: int) -> str | None:
    """Return a Python of this version that runs and can make a virtual environment; None without one."""
    name = f"python3.{minor}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for candidate in [name, *map(str, sorted(pyenv.glob(f"versions/3.{minor}.*/bin/{name}"), reverse=True))]:
        try:
            # pyenv puts a script on PATH that fails if the version is not selected.
            subprocess.run([candidate, "-c", "import venv, ensurepip"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    return None


def run(*words: str, folder: Path = ROOT) -> None:
    """Show a command and run it; the script ends with its exit code if it fails."""
    print("+", *words, flush=True)
    code = subprocess.run(words, cwd=folder, check=False).returncode
    if code:
        raise SystemExit(code)


def install(project: dict[str, Any], folder: Path, *, oldest: bool) -> None:
    """Install the program, the embedded stack and the tools of the tests into ``folder``/venv."""
    extras = project["optional-dependencies"]
    tools = [text for text in extras["dev"] if not text.startswith(_NOT_FOR_TESTS)]
    pip = [str(folder / "venv/bin/pip"), "install", "--quiet"]
    if not oldest:
        run(*pip, "--editable", f"{ROOT}[local]", *tools)
        return
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(lowest(project["dependencies"])) + "\n", encoding="utf-8")
    pip = [*pip, "--constraint", str(constraints)]
    run(*pip, "--editable", str(ROOT), *tools)
    # ministack wants one certain botocore, a newer one; it runs with the lowest, too.
    run(*pip, "--no-deps", *lowest(extras["local"]))
    others = subprocess.run(
        [folder / "venv/bin/python", "-c", _REQUIRED], check=True, capture_output=True, text=True
    )
    run(*pip, *others.stdout.splitlines())


def main() -> None:
    """Do what the command line asks for."""
    which, *tests = sys.argv[1:] or [""]
    if which not in ("lowest", "newest"):
        raise SystemExit(__doc__)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    minor = minor_versions(project)[0 if which == "lowest" else -1]
    python = interpreter(minor)
    if python is None:
        print(f"skipped: Python 3.{minor} is neither on PATH nor in pyenv's folder")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(python, "-m", "venv", "venv", folder=folder)
        install(project, folder, oldest=which == "lowest")
        run(str(folder / "venv/bin/pip"), "list", folder=folder)
        run(
            str(folder / "venv/bin/pytest"),
            "-q",
            "-n",
            "2",
            "-p",
            "no:cacheprovider",
            *(tests or ["tests/unit"]),
        )
        run(str(folder / "venv/bin/fifo-cli"), "demo", folder=folder)


if __name__ == "__main__":
    main()
