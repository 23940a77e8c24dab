"""The folder in which a run keeps its fifo.toml; one that was left by a run that was killed is removed.

It is known by its name and by its fifo.toml, which holds the tag of the run that made it (``remains.py``).
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fifo_cli.model.names import PROVE_PREFIX
from fifo_cli.model.settings import CONFIG_FILE
from fifo_cli.operations.prove.remains import OWNER_TAG, may_run

_OWNER: Final = re.compile(f'^{OWNER_TAG} = "([^"]*)"$', re.MULTILINE)


@contextmanager
def run_folder() -> Iterator[Path]:
    """Make a folder, and remove it at the end."""
    with tempfile.TemporaryDirectory(prefix=PROVE_PREFIX) as folder:
        yield Path(folder)


def remove_left_folders() -> None:
    """Remove the folders of this user's runs that are not at work."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PROVE_PREFIX}*"):
        with suppress(OSError, UnicodeDecodeError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            owner = _OWNER.search((folder / CONFIG_FILE).read_text(encoding="utf-8"))
            if owner and not may_run(owner[1], datetime.now(UTC)):
                shutil.rmtree(folder, ignore_errors=True)
