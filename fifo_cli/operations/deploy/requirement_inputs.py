"""What a requirements.txt reads: other lists, wheels, folders; and which of it would be built from source.

pip reads the files again itself. Here it is only about what they name, so that a changed input changes the
zip, and so that a build is refused before pip runs.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import unquote, urlsplit

from fifo_cli.errors import ConfigError

_VARIABLE: Final = re.compile(r"\$\{([A-Z0-9_]+)\}")
_COMMENT: Final = re.compile(r"(^|\s+)#.*$")
_ARCHIVES: Final = (
    ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tlz", ".tar.lz", ".tar.lzma",
)  # fmt: skip
# What a build writes into the folder that it builds, and what is never part of a distribution.
_BUILT: Final = ("build", "dist")
_IGNORED: Final = (".egg-info", ".pyc")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raise ValueError; argparse's own would print this program's usage, and end it."""
        raise ValueError(message)


def _option_parser() -> _Parser:
    """Return a parser of the options of a line that name files or ask for a build; pip knows more."""
    parser = _Parser(add_help=False)
    for names in (
        ("-r", "--requirement"),
        ("-c", "--constraint"),
        ("-e", "--editable"),
        ("-f", "--find-links"),
    ):
        parser.add_argument(*names, action="append", default=[])
    parser.add_argument("--no-binary", action="append", default=[])
    return parser


_OPTIONS: Final = _option_parser()


@dataclass(frozen=True, slots=True)
class RequirementInputs:
    """The content of what the requirements in ``root`` name, as hashes by path; the lines that need a build.

    pip takes relative paths from where it runs, which is ``root``.
    """

    root: Path
    hashes: dict[str, str] = field(default_factory=dict)
    builds: list[str] = field(default_factory=list)

    def read_list(self, path: Path) -> None:
        """Read a requirements file and all it names; raises ConfigError for what cannot be read."""
        label = os.path.relpath(path, self.root)
        if label in self.hashes:
            return
        text = self._hash_file(path).decode("utf-8-sig", errors="replace")
        for number, line in _lines(text):
            with contextlib.suppress(ValueError):  # of what cannot be read at all pip says what is wrong
                self._read_line(line, f"{label}:{number}: {line}", path.parent)

    def _read_line(self, line: str, label: str, folder: Path) -> None:
        """Read one line of a file in ``folder``; ``label`` is how to name it where it needs a build."""
        if not line.startswith("-"):
            if self._needs_build(_target(line)):
                self.builds.append(label)
            return
        options, _ = _OPTIONS.parse_known_args(shlex.split(line))
        for value in filter(_is_local, [*options.requirement, *options.constraint]):
            self.read_list(_local(value, folder))
        for value in filter(_is_local, options.find_links):
            beside = _local(value, folder)
            self._hash_links(beside if beside.exists() else _local(value, self.root))
        for value in options.editable:
            self._needs_build(value)
        if options.editable or any(value != ":none:" for value in options.no_binary):
            self.builds.append(label)

    def _needs_build(self, target: str) -> bool:
        """Note the content of what one requirement names, and say whether pip would have to build it."""
        if not _is_local(target):
            return "://" in target and not urlsplit(target).path.endswith(".whl")
        path = _local(re.sub(r"\[[^\]]*\]$", "", target), self.root)
        looks_like_path = target.startswith((".", "/", "file:")) or os.sep in target
        if path.is_dir() and looks_like_path:
            self._hash_folder(path)
            return True
        if path.is_file() and (looks_like_path or target.endswith((".whl", *_ARCHIVES))):
            self._hash_file(path)
            return path.suffix != ".whl"
        return False

    def _hash_file(self, path: Path) -> bytes:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ConfigError(
                f"{error.filename or path} cannot be read: {error.strerror}", hint="requirements.txt names it"
            ) from None
        self.hashes[os.path.relpath(path, self.root)] = hashlib.sha256(data).hexdigest()
        return data

    def _hash_links(self, path: Path) -> None:
        """Hash the wheels and archives that pip may find in a folder, or the page that lists them."""
        files = [path] if path.is_file() else sorted(path.iterdir()) if path.is_dir() else []
        for file in files:
            if file.is_file() and (file == path or file.name.endswith((".whl", *_ARCHIVES))):
                self._hash_file(file)

    def _hash_folder(self, folder: Path) -> None:
        for name, folders, files in os.walk(folder):
            here = Path(name)
            built = _BUILT if here == folder else ()
            left_out = {"__pycache__", *built, *(one for one in folders if one.startswith("."))}
            folders[:] = sorted(one for one in set(folders) - left_out if not one.endswith(_IGNORED))
            for one in sorted(files):
                if (here / one).is_file() and not one.endswith(_IGNORED):
                    self._hash_file(here / one)


def read_inputs(requirements: Path) -> RequirementInputs:
    """Read a requirements.txt and all it names; raises ConfigError if a list or a path cannot be read."""
    inputs = RequirementInputs(requirements.parent)
    inputs.read_list(requirements)
    return inputs


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
