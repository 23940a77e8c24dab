"""Standard input, output and error, open again for the next message if the user's code closed them.

A copy of each is kept. A standard file that was closed is put back from its copy. Where the copies were
closed as well, any file of the process may be: connections, too, whose numbers others then take over. Such
a process cannot go on.
"""

from __future__ import annotations

import contextlib
import os
from typing import Final

# The exit code of a process whose files were closed, and the reason that people read.
CLOSED: Final = 113
CLOSED_ITS_FILES: Final = "it closed the files of its process"

_copies: dict[int, tuple[int, object]] = {}  # descriptor → its copy, and which file that is


def keep() -> None:
    """Keep the standard files as they are now; the first call counts."""
    for descriptor in range(0 if _copies else 3):
        with contextlib.suppress(OSError):
            copy = os.dup(descriptor)
            _copies[descriptor] = copy, _file(copy)


def copy_of(descriptor: int) -> int:
    """Return the copy of a standard file, or ``descriptor`` itself if there is none."""
    return _copies[descriptor][0] if descriptor in _copies else descriptor


def put_back() -> bool:
    """Open again what was closed; False if that is not possible and the process has to end."""
    for descriptor, (copy, kept) in _copies.items():
        if _file(copy) != kept:
            return False
        if _file(descriptor) is None:
            os.dup2(copy, descriptor)
    return True


def _file(descriptor: int) -> object:
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino
