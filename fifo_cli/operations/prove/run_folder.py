"""The folder in which a run keeps its files; one that was left by a run that was killed is removed.

It is known by its name and by a file with the tag of the run that made it (``run_resources.py``).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fifo_cli.model.names import PROVE_PREFIX
from fifo_cli.operations.prove.check_context import IDLE_SECONDS
from fifo_cli.operations.prove.run_resources import OWNER_TAG, may_run, owner_tags

OWNER_FILE: Final = ".prove-run"


@contextmanager
def run_folder() -> Iterator[Path]:
    """Make a folder, and remove it at the end."""
    with tempfile.TemporaryDirectory(prefix=PROVE_PREFIX) as folder:
        # No run takes longer, not with --long either.
        owner = owner_tags(datetime.now(UTC), idle_seconds=IDLE_SECONDS)[OWNER_TAG]
        (Path(folder) / OWNER_FILE).write_text(owner, encoding="utf-8")
        yield Path(folder)


def remove_left_folders() -> None:
    """Remove the folders of this user's runs that are not at work."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PROVE_PREFIX}*"):
        with suppress(OSError, UnicodeDecodeError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            owner = (folder / OWNER_FILE).read_text(encoding="utf-8")
            if owner and not may_run(owner, datetime.now(UTC)):
                shutil.rmtree(folder, ignore_errors=True)
