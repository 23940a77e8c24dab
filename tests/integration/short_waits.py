"""Imported before a process forks runs of the program: replay, trace and audit, with short pauses.

The embedded stack answers at once, so that an empty answer need not be waited for as one of AWS's.
"""

from __future__ import annotations

from fifo_cli.operations.queues import browse
from fifo_cli.operations.stream import reader

vars(reader)["READ_PAUSE"] = 0.01
vars(browse)["LONG_POLL_SECONDS"] = 0
