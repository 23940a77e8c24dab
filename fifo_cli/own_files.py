"""Files and folders that are the user's own: what others could change, or make lead elsewhere, is refused.

A message leaves its queue once its line is in such a file. In a folder that several people use, another user
may have put a file of the same name there before, or a link in its place.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
import tempfile
from pathlib import Path
from typing import Final

from fifo_cli.errors import UsageError

OWNER_ONLY: Final = 0o600
_HINT: Final = "name a file of your own, in a folder that only you can write to"


class NotOwnError(UsageError):
    """A file or folder is another user's, or others can change it."""


def open_own(path: Path, flags: int) -> int:
    """Open a file; raises NotOwnError unless it is the user's own, and OSError as ``os.open`` does.

    A file that is made gets mode 0600. A FIFO is refused, and not waited for; whether it is a regular file is
    for the caller to see.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, OWNER_ONLY)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK) and path.is_symlink():
            raise _refused(path, "it is a symbolic link") from None
        if error.errno == errno.ENXIO:  # fifo(7): nobody reads it
            raise _refused(path, "it is not a regular file") from None
        raise
    try:
        found = os.fstat(descriptor)
        if why := "it is not a regular file" if stat.S_ISFIFO(found.st_mode) else _not_own(found):
            raise _refused(path, why)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def check_own(path: Path) -> None:
    """Raise NotOwnError if a file that is about to be replaced is there and not the user's own."""
    try:
        found = path.lstat()
    except OSError:
        return  # whoever opens it says why that cannot be done
    why = "it is a symbolic link" if stat.S_ISLNK(found.st_mode) else _not_own(found)
    if not why and not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        why = "it is not a regular file"
    if why:
        raise _refused(path, why)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file that others may read, so that a reader finds the old or the new one, never half of it.

    Raises NotOwnError unless file and folder are the user's own, and OSError. A half-written file has a
    hidden name that ends in ``.tmp``.
    """
    check_folder(path.parent)
    check_own(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def check_folder(path: Path) -> None:
    """Raise NotOwnError if others could replace a file in the folder, or a folder on the way to it.

    A sticky folder, as /tmp is, protects what is in it (unlink(2), EPERM). A link on the way is as safe as
    the folder that holds it.
    """
    given = Path(os.path.abspath(path))
    try:
        resolved = given.resolve()
    except (OSError, RuntimeError):
        return  # whoever opens the file says why that cannot be done
    for folder in dict.fromkeys((given, *given.parents, resolved, *resolved.parents)):
        try:
            found = folder.stat()
        except OSError:
            continue
        _check_writers(folder, found)


def _check_writers(folder: Path, found: os.stat_result) -> None:
    # Root may write into the folders of others: a container has those of its host's users.
    if found.st_uid not in (0, os.geteuid()) and os.geteuid() != 0:
        raise _refused(folder, "it is another user's folder")
    if found.st_mode & stat.S_ISVTX:
        return
    if found.st_mode & stat.S_IWOTH:
        hint = f"chmod o-w {folder}, or {_HINT}"
        raise _refused(folder, "every user can replace the files in it", hint=hint)
    if found.st_mode & stat.S_IWGRP and (group := _shared_group(found.st_gid)):
        hint = f"chmod g-w {folder}, or {_HINT}"
        raise _refused(folder, f"the group {group} can replace the files in it", hint=hint)


def _shared_group(gid: int) -> str:
    """Return a group's name if others than this user and root are in it."""
    try:
        group = grp.getgrgid(gid)
    except KeyError:
        return ""
    users = pwd.getpwall()
    primary = {one.pw_name for one in users if one.pw_gid == gid}
    ours = {one.pw_name for one in users if one.pw_uid in (0, os.geteuid())}
    return group.gr_name if (primary | set(group.gr_mem)) - ours else ""


def check_own_folder(path: Path) -> None:
    """Raise NotOwnError if a folder that is there already is another user's, or others can write to it."""
    for found in _stats(path):
        if found.st_uid != os.geteuid():
            raise _refused(path, "it is another user's")
        if stat.S_ISDIR(found.st_mode) and found.st_mode & 0o022:
            raise _refused(path, "others can write to it", hint=f"chmod go-w {path}, or {_HINT}")


def _stats(path: Path) -> list[os.stat_result]:
    """Return what a link is and what it leads to; one of the two where it is not a link."""
    try:
        return [path.lstat(), path.stat()]
    except OSError:
        return []


def _not_own(found: os.stat_result) -> str:
    if found.st_uid != os.geteuid():
        # A terminal, /dev/null or a pipe is nobody's file.
        return "it is another user's" if stat.S_ISREG(found.st_mode) else ""
    if not stat.S_ISREG(found.st_mode):
        return ""
    if found.st_mode & 0o022:
        return "others can write to it (chmod go-w)"
    return "it has a second name (a hard link)" if found.st_nlink > 1 else ""


def _refused(path: Path, why: str, *, hint: str = _HINT) -> NotOwnError:
    return NotOwnError(f"{path} is not used: {why}; nothing was touched", hint=hint)
