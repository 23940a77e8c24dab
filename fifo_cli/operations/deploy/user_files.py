"""The user's files for the zip: those of [handlers] source, no links that leave it, no secrets."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from fifo_cli.errors import ConfigError
from fifo_cli.model import limits

Files = dict[str, bytes]

_SECRET_NAME: Final = re.compile(
    r"""
      (secrets?|credentials?|passwords?|api[-_]?keys?|tokens?)(\.(json|ya?ml|toml|ini|txt|env|cfg|conf|xml|properties|csv))?
    | .+[-_.](secrets?|credentials?)\.(json|ya?ml|toml|ini|txt|env|cfg|conf|xml|properties|csv)
    | (.+[-_.])?(api|access|auth)[-_]?(keys?|tokens?)
      \.(json|ya?ml|toml|ini|txt|env|cfg|conf|xml|properties|csv)
    | id_(rsa|dsa|ecdsa|ed25519)(_sk)?
    | (.+[-_.])?(service[-_]?account|client[-_]?secret)s?([-_.].*)?\.json
    | .+\.(key|p12|pfx|p8|jks|keystore|kdbx|ppk|pgpass|netrc|env|tfstate|tfvars|ovpn)
    | [._](netrc|pgpass|npmrc|pypirc|htpasswd|git-credentials|env(\..+)?)
    | netrc | htpasswd | (.+[-_.])?kube-?config([-_.].+)?
    """,
    re.VERBOSE | re.IGNORECASE,
)
# What editors and people append to the name of a copy.
_COPY_ENDING: Final = re.compile(r"(~|\.(bak|backup|copy|old|orig|save|\d+))+$", re.IGNORECASE)
_PEM_NAME: Final = re.compile(r".+\.pem", re.IGNORECASE)
_PUBLIC_PEM: Final = re.compile(rb"\s*-----BEGIN (TRUSTED |X509 )?(CERTIFICATE|PUBLIC KEY)")
_PRIVATE_KEY: Final = re.compile(
    rb"""
      \A(\xef\xbb\xbf)?\s*-----BEGIN\ [A-Z0-9 ]*PRIVATE\ KEY
    | -----BEGIN\ [A-Z0-9 ]*PRIVATE\ KEY(\ BLOCK)?-----(\s|\\r|\\n|["'])+[A-Za-z0-9+/=:, \-]{20}
    | PuTTY-User-Key-File-\d
    """,
    re.VERBOSE,
)
# AWS's documents use ids that end in EXAMPLE.
_AWS_KEY_ID: Final = re.compile(
    rb"(?<![A-Za-z0-9])(AKIA|ASIA)(?![A-Z0-9]{9}EXAMPLE)[A-Z2-7]{16}(?![A-Za-z0-9])"
)
_AWS_SECRET_KEY: Final = re.compile(
    rb"(?i:aws_?secret_?(access_?)?key)[\"']?\s*[=:]\s*[\"']?(?![A-Za-z0-9/+]{30}EXAMPLEKEY)[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])"
)
_TOKEN: Final = re.compile(
    rb"(?<![A-Za-z0-9_])(gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{60}|[sr]k_live_[A-Za-z0-9]{16}|xox[abprs]-\d+-[\w-]{20}"
    rb"|whsec_[A-Za-z0-9+/]{24})"
)
_KUBERNETES_KEY: Final = re.compile(rb"(?m)^\s*client-key-data:\s*[\"']?[A-Za-z0-9+/]{20}")
# pip's files name an index, and may name who logs in there.
_PIP_NAME: Final = re.compile(r"pip\.(conf|ini)|(.*[-_.])?requirements.*\.txt", re.IGNORECASE)
_LOGIN_URL: Final = re.compile(rb"://[^\s/:@]+:[^\s/@$]+@")


def source_files(source: Path, include: Iterable[str] = ()) -> Files:
    """Read the user's files; hidden ones and bytecode stay behind, unless ``include`` names them.

    Raises ConfigError for a link that leaves the folder, for what looks like a secret and is not in
    ``include``, and for what cannot be read or is too large.
    """
    wanted = {Path(one).as_posix() for one in include}
    names = _names(source, wanted)
    files = read_files(source, names)
    if not files:
        raise ConfigError(f"{source} holds no files", hint="[handlers] source names the folder of your code")
    _refuse_secrets(source, files, wanted)
    return files


def looks_secret(name: str, data: bytes) -> bool:
    """Say whether a file looks like a secret, also one that is meant to be in the zip."""
    return _secret(name, data) is not None


def read_tree(folder: Path) -> Files:
    """Read all files of a folder that are neither hidden nor bytecode."""
    return read_files(folder, _walked(folder))


def read_files(folder: Path, names: Iterable[str]) -> Files:
    """Read files by their names in a folder; raises ConfigError if they are too large in all for Lambda."""
    files: Files = {}
    size = 0
    for name in names:
        path = folder / name
        try:
            size += _size(path)
            if size > limits.UNZIPPED_BYTES_MAX:
                raise ConfigError(
                    f"{folder} holds more than the {limits.UNZIPPED_BYTES_MAX:,} bytes that Lambda takes"
                    f" unzipped (reached at {name})",
                    hint="leave out of [handlers] source and requirements.txt what the functions do not need",
                )
            files[name] = path.read_bytes()
        except OSError as error:
            raise _unreadable(error, path) from None
    return files


def _size(path: Path) -> int:
    """Return a file's size; a pipe or a device, which may have no end, is refused."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a file (a pipe, a socket or a device)", str(path))
    return status.st_size


def _unreadable(error: OSError, path: Path) -> ConfigError:
    return ConfigError(
        f"{error.filename or path} cannot be read: {error.strerror}",
        hint="correct its permissions, take it away, or correct [handlers] source",
    )


def _names(source: Path, wanted: set[str]) -> list[str]:
    """Return the names of the files to take; refuses links that leave the folder, and names not in UTF-8."""
    names = sorted({*_walked(source, stay=True), *wanted})
    root = _real(source)
    for name in names:
        _check_name(source, name)
    missing = [name for name in sorted(wanted) if not (source / name).is_file()]
    if missing:
        raise ConfigError(
            f"[handlers] include names what is not a file of {source}: {', '.join(missing)}",
            hint="its paths are relative to [handlers] source; take away what is not there",
        )
    leaving = [name for name in names if not _real(source / name).is_relative_to(root)]
    if leaving:
        raise _leaves(source, leaving)
    return names


def _real(path: Path) -> Path:
    """Return where a path leads; a link to itself leads nowhere, and whoever reads it says so."""
    return Path(os.path.realpath(path))


def _leaves(source: Path, names: Iterable[str]) -> ConfigError:
    lines = [f"{source / name} -> {os.path.realpath(source / name)}" for name in sorted(names)]
    return ConfigError(
        f"symbolic links lead out of {source}, and what they lead to would be in the zip:",
        lines,
        hint="copy what is needed into the folder, or take the links away",
    )


def _check_name(source: Path, name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = name.encode(errors="surrogateescape").decode(errors="backslashreplace")
        raise ConfigError(
            f"{source} holds a file whose name is not UTF-8: {shown}", hint="rename it, or take it away"
        ) from None


def _walked(folder: Path, *, stay: bool = False) -> Iterator[str]:
    """Yield the names of the files below a folder, through symbolic links, each folder once.

    With ``stay``, a linked folder that lies outside is refused before it is entered.
    """
    root = _real(folder)
    seen = {root}

    def fail(error: OSError) -> None:
        raise _unreadable(error, folder)

    for name, folders, files in os.walk(folder, followlinks=True, onerror=fail):
        here = Path(name)
        kept = sorted(one for one in folders if not _hidden(one))
        outside = [one for one in kept if stay and not _real(here / one).is_relative_to(root)]
        if outside:
            raise _leaves(folder, [(here / one).relative_to(folder).as_posix() for one in outside])
        folders[:] = [one for one in kept if _real(here / one) not in seen]
        seen.update(_real(here / one) for one in folders)
        for one in sorted(files):
            if not _hidden(one) and not one.endswith(".pyc"):
                yield (here / one).relative_to(folder).as_posix()


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__"


def _refuse_secrets(source: Path, files: Files, wanted: set[str]) -> None:
    reasons = {name: _secret(name, data) for name, data in files.items() if name not in wanted}
    lines = [f"{name}: {reason}" for name, reason in sorted(reasons.items()) if reason]
    if lines:
        raise ConfigError(
            f"{source} holds what looks like secrets, which would be in the functions' zips:",
            lines,
            hint="move them out of the folder (keys belong in SSM or Secrets Manager: [api] keys), or name"
            " those that are meant to be in the zip in [handlers] include",
        )


def _secret(name: str, data: bytes) -> str | None:
    """Say why a file looks like a secret, never with a part of it; None if it does not."""
    base = _COPY_ENDING.sub("", name.rpartition("/")[2])
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        data = data.replace(b"\0", b"")  # UTF-16: what is ASCII in it reads as such
    named_as_key = _PEM_NAME.fullmatch(base) and not _PUBLIC_PEM.match(data)
    in_url = _PIP_NAME.fullmatch(base) and _LOGIN_URL.search(data)
    # The surest first, as one reason is shown.
    reasons = (
        (_SECRET_NAME.fullmatch(base), "its name is that of a secret"),
        (_PRIVATE_KEY.search(data) or _KUBERNETES_KEY.search(data), "it holds a private key"),
        (named_as_key, "its name is that of a key"),
        (in_url, "it holds a password in a URL"),
        (_AWS_KEY_ID.search(data), "it holds the id of an AWS access key"),
        (_AWS_SECRET_KEY.search(data), "it holds a secret AWS access key"),
        (_TOKEN.search(data), "it holds an access token"),
    )
    return next((reason for found, reason in reasons if found), None)
