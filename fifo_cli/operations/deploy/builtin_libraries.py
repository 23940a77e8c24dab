"""What of the running installation goes into the zip: the built-in handlers and the libraries they import."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import fifo_cli
from fifo_cli.errors import FifoError

# boto3 is Lambda's own (Lambda Developer Guide, "Lambda runtimes").
LIBRARIES: Final = ("httpx", "jmespath")
_COMPILED: Final = (".so", ".pyd", ".dylib", ".dll")
# What a marker (PEP 508) is evaluated for beside the Python version, wherever the zip is built.
_LAMBDA: Final = {
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "os_name": "posix",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "extra": "",
}


@dataclass(frozen=True, slots=True)
class Bundle:
    """Files by their path in the zip, and the version of each distribution they are from."""

    files: dict[str, bytes]
    versions: dict[str, str]


def built_in_files() -> dict[str, bytes]:
    """Return the handlers, and what of the package must be there to import them."""
    root = Path(fifo_cli.__file__).parent
    paths = [root / "__init__.py", *sorted((root / "handlers").glob("*.py"))]
    return {f"fifo_cli/{path.relative_to(root).as_posix()}": path.read_bytes() for path in paths}


@cache
def bundled_files(runtime: str) -> Bundle:
    """Return the libraries of the handlers with all they require on a Lambda runtime, such as python3.13.

    Raises FifoError if one is not installed, or is not pure Python and so would not run in Lambda.
    """
    version = runtime.removeprefix("python")
    environment = {**_LAMBDA, "python_version": version, "python_full_version": f"{version}.0"}
    files: dict[str, bytes] = {}
    versions: dict[str, str] = {}
    for distribution in _closure(LIBRARIES, environment):
        versions[canonicalize_name(distribution.metadata["Name"])] = distribution.version
        files |= _files(distribution)
    return Bundle(files, versions)


def _closure(names: tuple[str, ...], environment: dict[str, str]) -> Iterator[metadata.Distribution]:
    """Yield the distributions of these names and of all they require there, each once."""
    waiting, seen = list(names), set[str]()
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            raise FifoError(
                f"the library {name} is not installed, and the functions need it on this runtime",
                hint=f"python -m pip install {name}",
            ) from None
        yield distribution
        required = map(Requirement, distribution.requires or ())
        waiting += [one.name for one in required if not one.marker or one.marker.evaluate(environment)]


def _files(distribution: metadata.Distribution) -> dict[str, bytes]:
    """Return a distribution's modules and data; not its metadata, scripts or bytecode."""
    name = distribution.metadata["Name"]
    files: dict[str, bytes] = {}
    for path in _recorded(distribution):
        if ".." in path.parts or "__pycache__" in path.parts or path.suffix in (".pyc", ".pth"):
            continue
        if path.parts[0].endswith((".dist-info", ".egg-info", ".data")):
            continue
        if path.suffix in _COMPILED:
            raise FifoError(
                f"the installed {name} {distribution.version} holds compiled code, unfit for Lambda: {path}",
                hint=f"from source: python -m pip install --force-reinstall --no-binary {name} {name}",
            )
        try:
            files[path.as_posix()] = Path(str(distribution.locate_file(path))).read_bytes()
        except OSError as error:
            raise FifoError(
                f"{path} of the installed {name} {distribution.version} cannot be read: {error.strerror}",
                hint=f"repair it: python -m pip install --force-reinstall {name}",
            ) from None
    if not any(path.endswith(".py") for path in files):
        raise FifoError(
            f"the files of the installed {name} {distribution.version} are not known (an editable install?)",
            hint=f"install it as usual: python -m pip install --force-reinstall {name}",
        )
    return files


def _recorded(distribution: metadata.Distribution) -> Iterator[PurePosixPath]:
    """Yield all files that were installed, also those that have gone: ``files`` omits these since 3.12."""
    record = distribution.read_text("RECORD")
    if record is None:
        yield from map(PurePosixPath, distribution.files or ())
    else:
        yield from (PurePosixPath(row[0]) for row in csv.reader(record.splitlines()) if row)
