"""The commands of the program by their names, such as ``depth`` and ``keys list``."""

from __future__ import annotations

from collections.abc import Iterator

from fifo_cli.cli.app import app
from fifo_cli.cli.framework import Command, Commands


def _commands(group: Commands, before: str = "") -> Iterator[tuple[str, Command]]:
    for name, entry in group.commands.items():
        if isinstance(entry, Commands):
            yield from _commands(entry, f"{before}{name} ")
        else:
            assert isinstance(entry, Command)
            yield f"{before}{name}", entry


EVERY_COMMAND = dict(_commands(app))
