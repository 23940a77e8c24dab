"""The user's requirements.txt, installed for Lambda's platform or for this one, once for the same input."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fifo_cli.errors import ConfigError, UsageError
from fifo_cli.events import Finished, Listener, Started, silent
from fifo_cli.model.settings import Functions, Project
from fifo_cli.operations.provisioning.bundling import bundled_files

FOLDER: Final = ".fifo"
REQUIREMENTS: Final = "requirements.txt"
# python3.12 and later run on Amazon Linux 2023 with glibc 2.34, earlier ones on Amazon Linux 2 with 2.26.
_AMAZON_LINUX_2023_SINCE: Final = (3, 12)
_MACHINES: Final = {"arm64": "aarch64", "x86_64": "x86_64"}
_SHOWN_LINES: Final = 8
# Of a library's metadata only what it may ask for while running; the rest names this machine's paths.
_METADATA_KEPT: Final = ("METADATA", "entry_points.txt", "top_level.txt")


def vendored(
    project: Project,
    *,
    here: bool,
    constraints: Mapping[str, str] | None = None,
    listener: Listener = silent,
) -> Path | None:
    """Return the folder with the user's requirements installed, or None if there are none.

    ``here`` installs for the running interpreter (the embedded stack, ``drain --via local``), else for
    Lambda's. ``constraints`` are versions that are settled, by default those of the libraries in the zip.
    Raises UsageError if pip is missing or fails, ConfigError if requirements.txt cannot be read.
    """
    requirements = (project.source / REQUIREMENTS).resolve() if project.source else None
    if requirements is None or not requirements.is_file():
        return None
    settled = (
        bundled_files(project.settings.functions.runtime).versions if constraints is None else constraints
    )
    options = [] if here else _lambda_options(project.settings.functions)
    folder = project.folder.resolve() / FOLDER / "vendor" / _digest(requirements, options, settled, here=here)
    if folder.is_dir():
        return folder
    listener(Started("install", "requirements", str(requirements)))
    try:
        ensure_folder(project.folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as temporary:
            _install(requirements, Path(temporary), options, settled)
            _keep(Path(temporary) / "site", folder)
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be written: {error.strerror}",
            hint="what requirements.txt installs is kept there: make room, or mend its permissions",
        ) from None
    listener(Finished("install", "requirements", str(requirements)))
    return folder


def ensure_folder(project_folder: Path) -> None:
    """Make ``.fifo`` beside fifo.toml, kept out of the user's repository by a .gitignore of its own."""
    folder = project_folder / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")


def _lambda_options(functions: Functions) -> list[str]:
    version = functions.runtime.removeprefix("python")
    machine = _MACHINES[functions.architecture]
    glibc = (34, 28, 17) if tuple(map(int, version.split("."))) >= _AMAZON_LINUX_2023_SINCE else (26, 17)
    platforms = [f"--platform=manylinux_2_{minor}_{machine}" for minor in glibc]
    return [
        *platforms,
        f"--platform=manylinux2014_{machine}",
        f"--python-version={version}",
        "--implementation=cp",
        "--only-binary=:all:",
    ]


def _digest(requirements: Path, options: list[str], settled: Mapping[str, str], *, here: bool) -> str:
    """Hash what decides about the result; requirements may name other lists and wheels of the folder."""
    paths = [
        path
        for path in sorted(requirements.parent.rglob("*"))
        if path.suffix in (".txt", ".whl") and path.is_file()
    ]
    try:
        texts = {str(path.relative_to(requirements.parent)): path.read_bytes() for path in paths}
    except OSError as error:
        raise ConfigError(
            f"{error.filename} cannot be read: {error.strerror}", hint="requirements.txt names it"
        ) from None
    target = [sys.implementation.cache_tag, sys.platform, platform.machine()] if here else options
    hashed = hashlib.sha256(json.dumps([target, sorted(settled.items())]).encode())
    for name, text in texts.items():
        hashed.update(f"\0{name}\0{len(text)}\0".encode() + text)
    return hashed.hexdigest()[:32]


def _install(requirements: Path, temporary: Path, options: list[str], settled: Mapping[str, str]) -> None:
    constraints = temporary / "constraints.txt"
    constraints.write_text(
        "".join(f"{name}=={version}\n" for name, version in sorted(settled.items())), "utf-8"
    )
    command = [
        *(
            sys.executable,
            "-m",
            "pip",
            "install",
            "--no-compile",
            "--no-input",
            "--disable-pip-version-check",
        ),
        *("--quiet", "--target", str(temporary / "site"), *options),
        *("--constraint", str(constraints), "--requirement", str(requirements)),
    ]
    # Paths in requirements.txt are meant from where it lies; pip takes them from where it runs.
    ran = subprocess.run(
        command,
        cwd=requirements.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if ran.returncode == 0:
        return
    said = [line for line in (ran.stderr or ran.stdout).splitlines() if line.strip()][-_SHOWN_LINES:]
    if any("No module named pip" in line for line in said):
        raise UsageError(
            f"{requirements} cannot be installed: {sys.executable} has no pip",
            hint=f"install it: {sys.executable} -m ensurepip",
        )
    raise UsageError(
        "\n".join([f"pip could not install {requirements}:", *(f"  {line}" for line in said)]),
        hint="every requirement needs a wheel for Lambda's platform that agrees with the built-in libraries"
        if options
        else "correct it and run the command again",
    )


def _keep(site: Path, folder: Path) -> None:
    """Reduce what pip installed to what does not depend on this machine, and put it in place at once."""
    site.mkdir(exist_ok=True)
    shutil.rmtree(site / "bin", ignore_errors=True)
    for metadata in site.glob("*.dist-info"):
        for path in metadata.rglob("*"):
            if path.is_file() and path.name not in _METADATA_KEPT:
                path.unlink()
    try:
        site.replace(folder)
    except OSError:
        if not folder.is_dir():  # another run was faster
            raise
