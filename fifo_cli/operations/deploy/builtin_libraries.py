"""What of the running installation goes into the zip: the built-in handlers and the libraries they import."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Final

import fifo_cli
from fifo_cli.errors import FifoError

# boto3 is Lambda's own (Lambda Developer Guide, "Lambda runtimes").
LIBRARIES: Final = ("httpx", "jmespath")
_COMPILED: Final = (".so", ".pyd", ".dylib", ".dll")
_NAME: Final = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_PYTHON_MARKER: Final = re.compile(r"python_(?:full_)?version\s*(<=|>=|==|!=|<|>)\s*['\"]([\d.]+)['\"]")


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
    python = _version(runtime.removeprefix("python"))
    files: dict[str, bytes] = {}
    versions: dict[str, str] = {}
    for distribution in _closure(LIBRARIES, python):
        versions[_canonical(distribution.metadata["Name"])] = distribution.version
        files |= _files(distribution)
    return Bundle(files, versions)


def _closure(names: tuple[str, ...], python: tuple[int, ...]) -> Iterator[metadata.Distribution]:
    """Yield the distributions of these names and of all they require, each once."""
    waiting, seen = list(names), set[str]()
    while waiting:
        name = _canonical(waiting.pop())
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
        waiting += [one for line in distribution.requires or () if (one := _required(line, python))]


def _required(line: str, python: tuple[int, ...]) -> str | None:
    """Return the name in a requirement (PEP 508) if it holds for a Python version; extras never do.

    Markers on anything but the Python version do not occur in these libraries; one that does is taken
    to hold, so that at worst a library too many is in the zip.
    """
    requirement, _, marker = line.partition(";")
    found = _NAME.match(requirement)
    if found is None or re.search(r"\bextra\b", marker):
        return None
    holds = all(
        _compare(python, operator, _version(text)) for operator, text in _PYTHON_MARKER.findall(marker)
    )
    return found[1] if holds else None


def _compare(left: tuple[int, ...], operator: str, right: tuple[int, ...]) -> bool:
    left, right = left[:2], right[:2]
    return {
        "<": left < right,
        "<=": left <= right,
        ">": left > right,
        ">=": left >= right,
        "==": left == right,
        "!=": left != right,
    }[operator]


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


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
