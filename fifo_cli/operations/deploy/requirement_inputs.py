"""What a requirements.txt reads: other lists, wheels, folders; and which of it would be built from source.

pip reads the files again itself. Here it is only about what they name, so that a changed input changes the
zip, and so that a build is refused before pip runs.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from fifo_cli.errors import ConfigError

_VARIABLE: Final = re.compile(r"\$\{([A-Z0-9_]+)\}")
_COMMENT: Final = re.compile(r"(^|\s+)#.*$")
_ARCHIVES: Final = (
    ".zip",
    ".tar",
    ".tar.gz",
    ".tgz",
    ".tar.bz2",
    ".tbz",
    ".tar.xz",
    ".txz",
    ".tlz",
    ".tar.lz",
    ".tar.lzma",
)
_OPTION: Final = re.compile(r"(?:(--[a-z-]+)(?:=(.*))?|(-[rcef])(.*))", re.DOTALL)
_FULL: Final = {"-r": "--requirement", "-c": "--constraint", "-e": "--editable", "-f": "--find-links"}
_READ: Final = (*_FULL.values(), "--no-binary")
# What a build writes into the folder that it builds, and what is never part of a distribution.
_BUILT: Final = ("build", "dist")
_IGNORED: Final = (".egg-info", ".pyc")


@dataclass(slots=True)
class RequirementInputs:
    """The content of what the requirements name, as hashes by path, and the lines that need a build."""

    hashes: dict[str, str] = field(default_factory=dict)
    builds: list[str] = field(default_factory=list)


def read_inputs(requirements: Path) -> RequirementInputs:
    """Read a requirements.txt and all it names; raises ConfigError if a list or a path cannot be read."""
    inputs = RequirementInputs()
    _read_list(requirements, requirements.parent, inputs)
    return inputs


def _read_list(path: Path, root: Path, inputs: RequirementInputs) -> None:
    label = os.path.relpath(path, root)
    if label in inputs.hashes:
        return
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None
    inputs.hashes[label] = _hash(data)
    for number, line in _lines(data.decode("utf-8-sig", errors="replace")):
        _read_line(line, f"{label}:{number}: {line}", path, root, inputs)


def _unreadable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{error.filename or path} cannot be read: {error.strerror}", hint="requirements.txt names it"
    )


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines as pip joins them, without comments, with variables of the environment put in."""
    joined, start = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        start = start or number
        if line.endswith("\\") and not line.lstrip().startswith("#"):
            joined += line[:-1]
            continue
        whole = _COMMENT.sub("", joined + line).strip()
        if whole:
            yield start, _VARIABLE.sub(lambda found: os.environ.get(found[1]) or found[0], whole)
        joined, start = "", 0
    if rest := _COMMENT.sub("", joined).strip():
        yield start, rest


def _read_line(line: str, label: str, path: Path, root: Path, inputs: RequirementInputs) -> None:
    if not line.startswith("-"):
        _read_requirement(_target(line), label, root, inputs)
        return
    for name, value in _options(line):
        if name in ("--requirement", "--constraint") and _is_local(value):
            _read_list(_local(value, path.parent), root, inputs)
        elif name == "--find-links" and _is_local(value):
            beside = _local(value, path.parent)
            _hash_links(beside if beside.exists() else _local(value, root), root, inputs)
        elif name == "--editable":
            inputs.builds.append(label)
            _read_requirement(value, None, root, inputs)
        elif name == "--no-binary" and value != ":none:":
            inputs.builds.append(label)


def _options(line: str) -> Iterator[tuple[str, str]]:
    """Yield the options of a line that name files or ask for a build, by their long names."""
    try:
        words = iter(shlex.split(line))
    except ValueError:  # pip says so
        return
    for word in words:
        if (found := _OPTION.fullmatch(word)) is None:
            continue
        name, value = found[1] or _FULL[found[3]], found[2] or found[4]
        if name in _READ:
            yield name, value or next(words, "")


def _target(line: str) -> str:
    """Return the URL or the path of a requirement, else its name and versions."""
    text = re.split(r"\s+;|\s+--[a-z]", line)[0].strip()
    named = re.match(r"[A-Za-z0-9._-]+\s*(\[[^\]]*\])?\s*@\s*(.+)", text)
    return named[2].strip() if named else text


def _is_local(target: str) -> bool:
    return urlsplit(target).scheme in ("", "file")


def _local(target: str, base: Path) -> Path:
    if target.startswith("file:"):
        target = unquote(urlsplit(target).path)
    return base / target


def _read_requirement(target: str, label: str | None, root: Path, inputs: RequirementInputs) -> None:
    """Note what one requirement reads; ``label`` is how to name its line where it needs a build."""
    if not _is_local(target):
        is_url = "://" in target
        if label and is_url and not urlsplit(target).path.endswith(".whl"):
            inputs.builds.append(label)
        return
    path = _local(re.sub(r"\[[^\]]*\]$", "", target), root)
    looks_like_path = target.startswith((".", "/", "file:")) or os.sep in target
    if path.is_dir() and looks_like_path:
        _hash_folder(path, root, inputs)
    elif path.is_file() and (looks_like_path or target.endswith((".whl", *_ARCHIVES))):
        _hash_file(path, root, inputs)
        if path.suffix == ".whl":
            return
    else:
        return
    if label:
        inputs.builds.append(label)


def _hash_file(path: Path, root: Path, inputs: RequirementInputs) -> None:
    try:
        inputs.hashes[os.path.relpath(path, root)] = _hash(path.read_bytes())
    except OSError as error:
        raise _unreadable(path, error) from None


def _hash_links(path: Path, root: Path, inputs: RequirementInputs) -> None:
    """Hash the wheels and archives that pip may find in a folder, or the page that lists them."""
    files = [path] if path.is_file() else sorted(path.iterdir()) if path.is_dir() else []
    for file in files:
        if file.is_file() and (file == path or file.name.endswith((".whl", *_ARCHIVES))):
            _hash_file(file, root, inputs)


def _hash_folder(folder: Path, root: Path, inputs: RequirementInputs) -> None:
    for name, folders, files in os.walk(folder):
        here = Path(name)
        built = _BUILT if here == folder else ()
        folders[:] = sorted(
            one for one in folders
            if not one.startswith(".") and one not in ("__pycache__", *built) and not one.endswith(_IGNORED)
        )  # fmt: skip
        for one in sorted(files):
            if (here / one).is_file() and not one.endswith(_IGNORED):
                _hash_file(here / one, root, inputs)
