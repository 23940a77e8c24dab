"""The user's requirements.txt, installed for Lambda's platform or for this one, once for the same input."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

from fifo_cli.errors import ConfigError, UsageError
from fifo_cli.events import Finished, Listener, Started, silent
from fifo_cli.invocation import command_line
from fifo_cli.model.settings import Functions, Project
from fifo_cli.operations.deploy.builtin_libraries import bundled_files
from fifo_cli.operations.deploy.pip_run import NOTHING_IS_BUILT, run_pip
from fifo_cli.operations.deploy.requirement_inputs import RequirementInputs, read_inputs
from fifo_cli.own_files import check_own_folder

FOLDER: Final = ".fifo"
REQUIREMENTS: Final = "requirements.txt"
# python3.12 and later run on Amazon Linux 2023 with glibc 2.34, earlier ones on Amazon Linux 2 with 2.26.
_AMAZON_LINUX_2023_SINCE: Final = (3, 12)
_MACHINES: Final = {"arm64": "aarch64", "x86_64": "x86_64"}
_SHOWN_LINES: Final = 8
# Of a library's metadata only what it may ask for while running; the rest names this machine's paths.
_METADATA_KEPT: Final = ("METADATA", "entry_points.txt", "top_level.txt")
_BUILT_HERE: Final = re.compile(r"^Tag: \S+-(linux|macosx|win)_?\S*$", re.MULTILINE)
_ONLY_BINARY: Final = "--only-binary=:all:"
_NO_WHEEL: Final = "No matching distribution found for"
_ALLOW: Final = (
    "require wheels (a folder can be built into one: pip wheel FOLDER), or set allow_builds = true in"
    " [handlers], which runs the requirements' own code on this machine"
)


class NotBuiltError(UsageError):
    """The requirements may have to be built from source, which only package, deploy and drain do."""


def vendored(
    project: Project,
    *,
    here: bool,
    build: bool = True,
    listener: Listener = silent,
) -> Path | None:
    """Return the folder with the user's requirements installed, or None if there are none.

    ``here`` installs for the running interpreter (the embedded stack, ``drain --via local``), else for
    Lambda's. The libraries in the zip keep their versions. Without ``build`` nothing is built from source:
    raises NotBuiltError where that may be needed. Raises UsageError if pip is missing or fails, ConfigError
    if requirements.txt cannot be read, or needs a build that [handlers] does not allow.
    """
    requirements = (project.source / REQUIREMENTS).resolve() if project.source else None
    if requirements is None or not requirements.is_file():
        return None
    pinned = bundled_files(project.settings.functions.runtime).versions
    allowed = project.settings.handlers is not None and project.settings.handlers.allow_builds
    options = [] if here else _lambda_options(project.settings.functions)
    if not (here and allowed):  # for another platform pip takes nothing but wheels and what is named
        options.append(_ONLY_BINARY)
    inputs = read_inputs(requirements)
    if inputs.builds and not allowed:
        raise ConfigError(f"{requirements} needs a build from source:", inputs.builds, hint=_ALLOW)
    digest = _digest(inputs, options, pinned, here=here, allowed=allowed)
    folder = project.folder.resolve() / FOLDER / "vendor" / digest
    if folder.is_dir():
        return folder
    if allowed and not build:
        raise NotBuiltError(
            f"the requirements are built by deploy, from inputs {digest[:8]}",
            hint=f"{command_line('package')} builds them now, without a change in AWS",
        )
    listener(Started("install", "requirements", str(requirements)))
    try:
        ensure_folder(project.folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as temporary:
            _install(requirements, Path(temporary), options, pinned, allowed=allowed)
            if not here:
                _refuse_built_for_here(Path(temporary) / "site")
            _keep(Path(temporary) / "site", folder)
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be written: {error.strerror}",
            hint="what requirements.txt installs is kept there: make room, or fix its permissions",
        ) from None
    listener(Finished("install", "requirements", str(requirements)))
    return folder


def ensure_folder(project_folder: Path) -> None:
    """Make ``.fifo`` beside fifo.toml, kept out of the user's repository by a .gitignore of its own."""
    folder = project_folder / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    check_own_folder(folder)
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
    ]


def _digest(
    inputs: RequirementInputs,
    options: list[str],
    pinned: Mapping[str, str],
    *,
    here: bool,
    allowed: bool,
) -> str:
    """Hash what decides about the result."""
    target = [sys.implementation.cache_tag, sys.platform, platform.machine()] if here else options
    decides = [target, allowed, sorted(pinned.items()), sorted(inputs.hashes.items())]
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:32]


def _install(
    requirements: Path, temporary: Path, options: list[str], pinned: Mapping[str, str], *, allowed: bool
) -> None:
    constraints = temporary / "constraints.txt"
    constraints.write_text(
        "".join(f"{name}=={version}\n" for name, version in sorted(pinned.items())), "utf-8"
    )
    how = ["--no-input", "--disable-pip-version-check", "--progress-bar=off"]
    named = ["--constraint", str(constraints), "--requirement", str(requirements)]
    arguments = ["install", "--no-compile", "--target", str(temporary / "site"), *how, *options, *named]
    # Paths in requirements.txt are meant from where it lies; pip takes them from where it runs.
    own = temporary / "tmp"
    own.mkdir()
    pip = partial(run_pip, folder=requirements.parent, temporary=own, allow_builds=allowed)
    ran = pip(arguments)
    if allowed and _ONLY_BINARY in options and _NO_WHEEL in ran.stderr:
        # For another platform pip builds nothing that it looks for; what is pure Python runs there, too.
        built = temporary / "built"
        if pip(["wheel", "--no-deps", "--wheel-dir", str(built), *how, *named]).returncode == 0:
            ran = pip([*arguments, "--find-links", str(built)])
    if ran.returncode == 0:
        return
    if NOTHING_IS_BUILT in ran.stderr:
        steps = [
            line.strip() for line in ran.stdout.splitlines() if line.startswith(("Collecting", "Processing"))
        ]
        raise ConfigError(f"{requirements} needs a build from source:", steps[-1:], hint=_ALLOW)
    lines = [line for line in (ran.stderr or ran.stdout).splitlines() if line.strip()][-_SHOWN_LINES:]
    raise UsageError(
        "\n".join([f"pip could not install {requirements}:", *(f"  {line}" for line in lines)]),
        hint=_wheel_hint(ran.stderr, allowed=allowed)
        if _ONLY_BINARY in options
        else "correct it and run the command again",
    )


def _wheel_hint(output: str, *, allowed: bool) -> str:
    wheels = "every requirement needs a wheel for Lambda's platform that agrees with the built-in libraries"
    if allowed or _NO_WHEEL not in output:
        return wheels
    return f"{wheels}; where there is only a source: {_ALLOW}"


def _refuse_built_for_here(site: Path) -> None:
    """Refuse compiled code that was built on this machine: Lambda's platform is another."""
    for path in site.glob("*.dist-info/WHEEL"):
        if _BUILT_HERE.search(path.read_text("utf-8", errors="replace")):
            raise ConfigError(
                f"{path.parent.name.removesuffix('.dist-info')} was built into compiled code for this"
                " machine, which does not run in Lambda",
                hint="require a wheel for Lambda's platform in its place",
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
