"""The enqueuer's rules in this process: which records become messages, and which."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from fifo_cli.errors import UsageError
from fifo_cli.handlers import runtime
from fifo_cli.handlers.records import Rules
from fifo_cli.model.settings import Settings
from fifo_cli.operations.runtime_document import runtime_document


def message_rules(settings: Settings, code_folders: Iterable[str] = ()) -> Rules:
    """Return the rules of fifo.toml; the user's code is imported from ``code_folders``.

    Raises UsageError if that code cannot be loaded.
    """
    facts = runtime.from_document(runtime_document(settings))
    sys.path[:0] = [folder for folder in code_folders if folder not in sys.path]
    try:
        code = runtime.load_code(facts.message_code)
    except runtime.UserCodeError as error:
        raise UsageError(f"[handlers] message: {error}", hint="mend the code, or what it imports") from error
    return Rules(facts, code)
