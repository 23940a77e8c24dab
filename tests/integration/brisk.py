"""Imported before a process forks runs of the program: replay, trace and audit, with short pauses.

The embedded stack answers at once, so that an empty answer need not be waited for as one of AWS's.
"""

from __future__ import annotations

import fifo_cli.cli.streams
import fifo_cli.cli.tracing
import fifo_cli.operations.delivering.drain
import fifo_cli.operations.delivering.put
import fifo_cli.operations.observing.logs
import fifo_cli.operations.provisioning.rollback
import fifo_cli.operations.streams.trace
import fifo_cli.render.streams
import fifo_cli.render.tracing  # noqa: F401
import tests.integration.warm  # noqa: F401
from fifo_cli.operations.streams import looking, reader

vars(reader)["READ_PAUSE"] = 0.01
vars(looking)["_WAIT_SECONDS"] = 0
