"""The functions' zips: the same input gives the same bytes, so that unchanged code is known by its hash."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fifo_cli.errors import ConfigError, UsageError
from fifo_cli.events import Finished, Listener, Started, silent
from fifo_cli.model import limits
from fifo_cli.model.code_changes import SETTINGS_FILE, NewCode, top_of
from fifo_cli.model.names import FUNCTION_ROLES, FunctionRole
from fifo_cli.model.results import Fields, Result, named
from fifo_cli.model.settings import Project
from fifo_cli.operations.deploy.builtin_libraries import built_in_files, bundled_files
from fifo_cli.operations.deploy.user_files import read_tree, source_files
from fifo_cli.operations.deploy.user_requirements import FOLDER, REQUIREMENTS, ensure_folder, vendored
from fifo_cli.operations.runtime_settings import runtime_settings
from fifo_cli.own_files import replace_file

# The first date a zip can hold; every file has it, and one mode.
_DATE: Final = (1980, 1, 1, 0, 0, 0)
_MODE: Final = 0o100644
# What deflate makes of a file differs between zlib and zlib-ng, so between Python builds; small zips are
# therefore stored, and the hash depends on nothing but their files.
_STORED_MAX: Final = 8 * 1024 * 1024
_LEAVE_OUT: Final = "leave out of [handlers] source and its requirements.txt what the functions do not need"


@dataclass(frozen=True, slots=True)
class Zip:
    """The code of one function; ``code_sha256`` is the hash as Lambda writes it, in base64."""

    function: str
    role: FunctionRole
    data: bytes
    sha256: str
    code_sha256: str
    content: NewCode = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Packed(Fields):
    """A zip that was written to a file."""

    function: str
    path: Path
    size: int = field(metadata=named("bytes"))
    sha256: str


@dataclass(frozen=True, slots=True)
class PackageResult(Result):
    """What ``package`` wrote."""

    zips: tuple[Packed, ...]


def build_zips(
    project: Project, *, here: bool, build: bool = True, listener: Listener = silent
) -> tuple[Zip, ...]:
    """Build the zip of each function; ``here`` vendors for the running interpreter, not for Lambda's.

    Both are the same: which function it is, Lambda knows from the handler. Raises ConfigError if the user's
    files clash with ours or the zip is too large, UsageError if a requirement cannot be found, and, without
    ``build``, NotBuiltError if requirements may have to be built from source.
    """
    names = project.settings.names
    listener(Started("build", "zip", names.pipeline))
    content = _collected(project, here=here, build=build, listener=listener)
    size = sum(map(len, content.files.values()))
    if size > limits.UNZIPPED_BYTES_MAX:
        raise ConfigError(
            f"the functions' zip holds {size:,} bytes unzipped;"
            f" Lambda takes {limits.UNZIPPED_BYTES_MAX:,} at most",
            hint=_LEAVE_OUT,
        )
    data = zipped(content.files)
    if len(data) > limits.ZIP_BYTES_MAX:
        raise ConfigError(
            f"the functions' zip has {len(data):,} bytes; Lambda takes {limits.ZIP_BYTES_MAX:,} at most",
            hint=_LEAVE_OUT,
        )
    digest = hashlib.sha256(data)
    listener(Finished("build", "zip", names.pipeline, f"{len(data):,} bytes"))
    code = base64.b64encode(digest.digest()).decode()
    return tuple(
        Zip(names.function(role), role, data, digest.hexdigest(), code, content) for role in FUNCTION_ROLES
    )


def package(
    project: Project, *, out: Path | None = None, here: bool = False, listener: Listener = silent
) -> PackageResult:
    """Build both zips and write them to ``out``, by default ``.fifo/build`` beside fifo.toml."""
    zips = build_zips(project, here=here, listener=listener)
    folder = out if out is not None else project.folder / FOLDER / "build"
    try:
        if out is None:
            ensure_folder(project.folder)
        folder.mkdir(parents=True, exist_ok=True)
        return PackageResult(tuple(_written(one, folder / f"{one.function}.zip") for one in zips))
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be written: {error.strerror}", hint="name another folder with --out"
        ) from None


def _collected(project: Project, *, here: bool, build: bool, listener: Listener) -> NewCode:
    settings = project.settings
    document = json.dumps(runtime_settings(settings), sort_keys=True, separators=(",", ":"))
    ours = {**built_in_files(), SETTINGS_FILE: document.encode()}
    bundle = bundled_files(settings.functions.runtime)
    libraries = {top_of(name) for name in bundle.files}
    handlers = settings.handlers
    if project.source is None:
        return NewCode({**ours, **bundle.files}, libraries=libraries)
    taken = {top_of(name) for name in (*ours, *bundle.files)}
    theirs = source_files(project.source, handlers.include if handlers else ())
    clashes = sorted({top_of(name) for name in theirs} & taken)
    if clashes:
        raise ConfigError(
            f"{project.source} holds names that are taken in the zip: {', '.join(clashes)}",
            hint="rename them: the built-in handlers and their libraries lie beside your files",
        )
    folder = vendored(project, here=here, build=build, listener=listener)
    # What is required both by the user and by us is the same version (pip gets ours), so ours serves.
    required = (
        {} if folder is None else {k: v for k, v in read_tree(folder).items() if top_of(k) not in taken}
    )
    clashes = sorted({top_of(name) for name in theirs} & {top_of(name) for name in required})
    if clashes:
        where = project.source / REQUIREMENTS
        raise ConfigError(
            f"{where} installs names that {project.source} holds as well: {', '.join(clashes)}",
            hint="rename your own, or leave the requirement out",
        )
    return NewCode({**ours, **bundle.files, **required, **theirs}, frozenset(theirs), libraries)


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return the zip of these files by their paths: the same bytes for the same files."""
    stored = sum(map(len, files.values())) <= _STORED_MAX
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system = 3  # Unix, on every system: it is a byte of the zip
            info.external_attr = _MODE << 16
            info.compress_type = archive.compression
            archive.writestr(info, files[name])
    return buffer.getvalue()


def _written(one: Zip, path: Path) -> Packed:
    replace_file(path, one.data)
    return Packed(one.function, path, len(one.data), one.sha256)
