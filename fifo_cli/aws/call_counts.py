"""How many calls to AWS a run makes, by service and call: `prove` reports what it needed.

The commands that `prove` runs are processes of their own. They and `prove` itself append a line a call to
one file, so that what a killed one called is counted, too.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

VARIABLE: Final = "FIFO_CLI_CALL_COUNTS"


@contextmanager
def counted() -> Iterator[Path]:
    """Count, in the file that is yielded, the calls of clients made inside, here and in child processes."""
    with tempfile.NamedTemporaryFile(prefix="fifo-cli-calls-") as file:
        os.environ[VARIABLE] = file.name
        try:
            yield Path(file.name)
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
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, f"{service} {model.name}\n".encode())
        finally:
            os.close(file)

    client.meta.events.register_first("before-call", note)


def read_counts(path: Path) -> dict[str, int]:
    """Return the calls noted in a file, the most frequent first."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    return dict(Counter(lines).most_common())
