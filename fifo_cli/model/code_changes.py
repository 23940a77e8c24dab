"""What differs between the code that is deployed and the code here, by name: settings, requirements, files.

Both are the files of a zip, by their paths in it. No secret is shown: neither what a header or another
secret field of [api] holds beside its placeholders, nor the content of a file that looks like a secret, nor
what a line of code sets a password to.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from fifo_cli.model.planning import Difference
from fifo_cli.model.results import to_json_value
from fifo_cli.model.times import format_duration

SETTINGS_FILE: Final = "fifo_cli/handlers/settings.json"
SHORT_LINES: Final = 12
# What a person reads of one file at most, and what is compared line by line.
_LONG_LINES: Final = 2_000
_TEXT_BYTES_MAX: Final = 200_000
# More files than this of one folder, all added or all removed, are one line.
_FOLDER_FILES_MAX: Final = 3
# Settings that the functions know by another name than fifo.toml.
_NAMES: Final = {
    "apis": "api",
    "code.message": "handlers.message",
    "code.request": "handlers.request",
    "messages_per_run": "schedule.messages_per_run",
    "worker.retry_first": "worker.retry[0]",
    "worker.retry_longest": "worker.retry[1]",
}
# Durations, which the functions know in seconds.
_SECONDS: Final = frozenset({"retry[0]", "retry[1]", "timeout", "give_up_after", "run_needs", "limit"})
# In these tables of [api] a value may be a secret that somebody wrote down, except what is plain.
_SECRET_TABLES: Final = frozenset({"headers", "auth"})
_PLAIN: Final = frozenset({"type", "algorithm", "client_auth"})
# A template that shows nothing but which key is used, such as "Bearer {api_key}".
_TEMPLATE: Final = re.compile(
    r"((Api-?Key|Basic|Bearer|Digest|DPoP|GenieKey|Key|OAuth|SSWS|Token) )?(\{\w+\}[ :,.]?)+", re.IGNORECASE
)
_QUERY: Final = re.compile(r"(?<==)[^&#{}]+")
_HIDDEN: Final = "***"
_CHANGED: Final = "*** (changed)"
# A line of code that is about a secret, and the strings in it that may be one.
_SECRET_LINE: Final = re.compile(
    r"passw(or)?d|secret|token|(api|access|private|auth)_?-?key|credential|authorization", re.IGNORECASE
)
_STRING: Final = re.compile(r"""([=:(,]\s*[bBrRuUfF]{0,2})(["'])(?!\2).*?\2""")
_VERSION: Final = re.compile(rb"^__version__\s*(?::[^=]*)?=\s*[\"']([^\"']+)[\"']", re.MULTILINE)
_METADATA: Final = re.compile(rb"^(Name|Version):[ \t]*(\S+)", re.MULTILINE)

Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class NewCode:
    """The files of the zip that deploy would send, and which of them are the user's own.

    ``libraries`` are the modules and packages that this program brings.
    """

    files: Files
    own: Collection[str] = ()
    libraries: Collection[str] = ()


@dataclass(slots=True)
class _Sides:
    """The paths of files that differ, by what they are."""

    built_in: set[str] = field(default_factory=set)
    libraries: dict[str, set[str]] = field(default_factory=dict)  # by the name of the module or package
    required: set[str] = field(default_factory=set)
    own: set[str] = field(default_factory=set)


def code_changes(
    old: Files, new: NewCode, *, is_secret: Callable[[str, bytes], bool], whole: bool = False
) -> tuple[Difference, ...]:
    """Return how two zips differ: settings, requirements, this program's part, and the user's files.

    ``whole``: all of each file's unified diff, not only its first lines.
    """
    sides = _sorted(old, new)
    return (
        *_settings(old.get(SETTINGS_FILE), new.files.get(SETTINGS_FILE)),
        *_requirements(old, new.files, sides),
        *_built_in(old, new.files, sides),
        *_files(old, new.files, sides.own, is_secret, _LONG_LINES if whole else SHORT_LINES),
    )


def _sorted(old: Files, new: NewCode) -> _Sides:
    """Sort the files that differ: the user's, those of requirements, and those of this program."""
    sides = _Sides()
    own_tops = {top_of(name) for name in new.own}
    required = _modules(old) | _modules(new.files)
    for name in sorted({*old, *new.files}):
        if old.get(name) == new.files.get(name) or name == SETTINGS_FILE:
            continue
        top = top_of(name)
        if top == "fifo_cli":
            sides.built_in.add(name)
        elif name in new.own or top in own_tops:
            sides.own.add(name)
        elif top in new.libraries and top not in required:
            sides.libraries.setdefault(top, set()).add(name)
        elif top in required or ".dist-info/" in name or name in new.files:
            sides.required.add(name)
        else:
            sides.own.add(name)  # it is there no more, and nothing says what it was
    return sides


def top_of(name: str) -> str:
    """Return the name by which a file's package or module is imported."""
    top = name.partition("/")[0]
    return top.partition(".")[0] if top.endswith((".py", ".so")) else top


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _distributions(files: Files) -> dict[str, str]:
    """Return the versions of the distributions whose metadata is in a zip, by name."""
    found = {}
    for name, data in files.items():
        if name.endswith(".dist-info/METADATA"):
            fields = {
                one.decode(): value.decode("utf-8", "replace") for one, value in _METADATA.findall(data)
            }
            if "Name" in fields:
                found[_normalised(fields["Name"])] = fields.get("Version", "?")
    return found


def _modules(files: Files) -> set[str]:
    """Return the names by which what is required is imported, as far as the metadata has them."""
    found = set()
    for name, data in files.items():
        folder, _, file = name.rpartition("/")
        if not folder.endswith(".dist-info"):
            continue
        if file == "top_level.txt":
            found.update(data.decode("utf-8", "replace").split())
        distribution = _normalised(folder.removesuffix(".dist-info").rpartition("-")[0])
        found.update((distribution, distribution.replace("-", "_")))
    return found


def _settings(old: bytes | None, new: bytes | None) -> Iterator[Difference]:
    """Compare the settings inside the zips, by their names in fifo.toml."""
    before, after = _flat(_loaded(old)), _flat(_loaded(new))
    for name in {**after, **before}:
        if before.get(name) == after.get(name):
            continue
        shown = [_shown(name, side[name]) if name in side else None for side in (before, after)]
        if shown[0] == shown[1]:
            shown[1] = _CHANGED
        yield Difference(f"settings.{name}", *shown)


def _loaded(data: bytes | None) -> Any:
    try:
        return json.loads(data or b"{}")
    except ValueError:
        return {}


def _flat(document: Any) -> dict[str, Any]:
    """Return settings by their dotted names; lists are values, except that of the APIs."""
    flat: dict[str, Any] = {}

    def add(path: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, one in value.items():
                add(f"{path}.{name}" if path else name, one)
        elif path == "apis" and isinstance(value, list):
            for number, one in enumerate(value, 1):
                add(path if len(value) == 1 else f"{path}[{number}]", one)
        elif value is not None:
            flat[_named(path)] = value

    add("", document)
    return flat


def _named(path: str) -> str:
    if path in _NAMES:
        return _NAMES[path]
    return f"api{path.removeprefix('apis')}" if path.startswith("apis") else path


def _shown(path: str, value: Any) -> Any:
    """Return a setting's value as fifo.toml has it, without what may be a secret in it."""
    parts = path.split(".")
    if isinstance(value, int | float) and parts[-1] in _SECONDS:
        return format_duration(timedelta(seconds=value)) if value == int(value) else f"{value:g}s"
    if not isinstance(value, str):
        return to_json_value(value)
    if _SECRET_TABLES.intersection(parts[:-1]) and parts[-1] not in _PLAIN:
        return value if _TEMPLATE.fullmatch(value) else _HIDDEN
    if parts[-1] in ("url", "token_url") and "?" in value:
        address, _, query = value.partition("?")
        return f"{address}?{_QUERY.sub(_HIDDEN, query)}"
    return value


def _requirements(old: Files, new: Files, sides: _Sides) -> Iterator[Difference]:
    before, after = _distributions(old), _distributions(new)
    moved = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    for name in moved:
        yield Difference(f"requirements.{name}", before.get(name), after.get(name))
    if sides.required and not moved:
        yield Difference("requirements", "the same versions", f"other content: {_some(sides.required)}")


def _built_in(old: Files, new: Files, sides: _Sides) -> Iterator[Difference]:
    """Compare the part of this program, and the libraries that it brings, by version where one is known."""
    for name, paths in (("fifo_cli", sides.built_in), *sorted(sides.libraries.items())):
        if not paths:
            continue
        before, after = _version(old, name), _version(new, name)
        path = "fifo-cli" if name == "fifo_cli" else f"libraries.{name}"
        if before != after:
            yield Difference(path, before, after)
        else:
            yield Difference(path, before, f"{after or ''} (other content: {_some(paths)})".lstrip())


def _version(files: Files, package: str) -> str | None:
    for file in ("__init__.py", "__version__.py", "_version.py"):
        if found := _VERSION.search(files.get(f"{package}/{file}", b"")):
            return found[1].decode("utf-8", "replace")
    return None


def _some(paths: Collection[str]) -> str:
    first, *others = sorted(paths)
    return f"{first} and {len(others):,} more" if others else first


def _files(
    old: Files, new: Files, names: Collection[str], is_secret: Callable[[str, bytes], bool], lines: int
) -> Iterator[Difference]:
    """Compare the user's files; a folder that is wholly new or gone is one entry."""
    folders = dict(_whole_folders(old, new, names))
    hidden = {name for inside in folders.values() for name in inside}
    for folder, inside in folders.items():
        size = sum(len(old.get(name) or new.get(name) or b"") for name in inside)
        text = f"{len(inside):,} files, {size:,} bytes"
        yield Difference(f"files.{folder}/", *((text, None) if inside[0] in old else (None, text)))
    for name in sorted(set(names) - hidden):
        before, after = old.get(name), new.get(name)
        unified = None
        if (
            before is not None
            and after is not None
            and not any(is_secret(name, one) for one in (before, after))
        ):
            unified = _unified(before, after, lines)
        yield Difference(f"files.{name}", _size(before), _size(after), unified)


def _whole_folders(old: Files, new: Files, names: Collection[str]) -> Iterator[tuple[str, list[str]]]:
    for folder in sorted({name.partition("/")[0] for name in names if "/" in name}):
        inside = [name for name in sorted(names) if name.startswith(f"{folder}/")]
        for files, others in ((old, new), (new, old)):
            alone = not any(name.startswith(f"{folder}/") for name in others)
            if alone and len(inside) > _FOLDER_FILES_MAX and all(name in files for name in inside):
                yield folder, inside


def _size(data: bytes | None) -> str | None:
    """Say how large a file is, and which of two of one size; None if it is not there."""
    return None if data is None else f"{len(data):,} bytes ({hashlib.sha256(data).hexdigest()[:8]})"


def _unified(old: bytes, new: bytes, most: int) -> tuple[str, ...] | None:
    """Return a unified diff without its header; None for what is not text, or too long to compare."""
    before, after = _text(old), _text(new)
    if before is None or after is None:
        return None
    changed = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1))[2:]
    shown = [_without_secret(line) for line in changed]
    if len(shown) > most:
        return (*shown[:most], f"({len(shown) - most:,} more lines)")
    return tuple(shown)


def _without_secret(line: str) -> str:
    if not _SECRET_LINE.search(line):
        return line
    return _STRING.sub(lambda found: f"{found[1]}{found[2]}{_HIDDEN}{found[2]}", line)


def _text(data: bytes) -> str | None:
    if len(data) > _TEXT_BYTES_MAX or b"\0" in data:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None
