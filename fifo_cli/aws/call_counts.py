"""How many calls to AWS a run makes, by service and call: `prove` reports what it needed.

The commands that `prove` runs are processes of their own. They and `prove` itself append a line a call to
one file, so that what a killed one called is counted, too.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

VARIABLE: Final = "FIFO_CLI_CALL_COUNTS"
_FILE: Final = "calls"


@contextmanager
def counted(folder: Path) -> Iterator[None]:
    """Count, in a file of this folder, the calls of clients made inside, here and in child processes."""
    (folder / _FILE).touch(mode=0o600)
    os.environ[VARIABLE] = str(folder / _FILE)
    try:
        yield
    finally:
        del os.environ[VARIABLE]


def count_calls(client: Any) -> None:
    """Let a client's calls be counted, if the environment names a file for it."""
    path = os.environ.get(VARIABLE)
    if not path:
        return
    service = client.meta.service_model.service_name

    def note(model: Any, **_: Any) -> None:
        # A line is short enough for one write, and O_APPEND keeps writes of several processes apart.
        try:
            file = os.open(path, os.O_WRONLY | os.O_APPEND)
        except FileNotFoundError:  # the folder is being removed, or the next run has removed it
            return
        try:
            os.write(file, f"{service} {model.name}\n".encode())
        finally:
            os.close(file)

    client.meta.events.register_first("before-call", note)


def read_counts(folder: Path) -> dict[str, int]:
    """Return the calls noted in a folder, the most frequent first."""
    try:
        lines = (folder / _FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    return dict(Counter(lines).most_common())
