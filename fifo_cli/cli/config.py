"""Which fifo.toml a command means; light enough for completion, which may not load the settings' models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from fifo_cli.errors import UsageError
from fifo_cli.invocation import command_line

CONFIG_FILE: Final = "fifo.toml"


def find_config(given: Path | None) -> Path | None:
    """Return what ``--config`` gave, else ``$FIFO_CONFIG``, else fifo.toml here or in the nearest parent."""
    if given is not None:
        return given
    if os.environ.get("FIFO_CONFIG"):
        return Path(os.environ["FIFO_CONFIG"])
    try:
        here = Path.cwd()
    except FileNotFoundError:
        raise UsageError("the current folder does not exist any more", hint="cd to another one") from None
    return next((path for folder in (here, *here.parents) if (path := folder / CONFIG_FILE).is_file()), None)


def config_path(given: Path | None) -> Path:
    """Return the fifo.toml to read; raise UsageError if there is none to be found."""
    path = find_config(given)
    if path is None:
        raise UsageError(
            f"{CONFIG_FILE} was not found in this folder or above it",
            hint=f"write one with {command_line('init')}, or name one with --config or $FIFO_CONFIG",
        )
    return path.absolute()


def raw_config(given: Path | None) -> dict[str, Any]:
    """Return fifo.toml as parsed and not checked; empty if it cannot be read: completion must never fail."""
    import tomllib

    try:
        path = find_config(given)
        return tomllib.loads(path.read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError, UsageError, RecursionError):
        return {}
