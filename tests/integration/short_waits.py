"""Imported before a process forks runs of the program: replay, trace and audit, with short pauses.

The embedded stack answers at once, so that an empty answer need not be waited for as one of AWS's.
"""

from __future__ import annotations

import fifo_cli.cli.commands.replay
import fifo_cli.cli.commands.trace
import fifo_cli.operations.deploy.rollback
import fifo_cli.operations.monitor.logs
import fifo_cli.operations.queues.drain
import fifo_cli.operations.stream.trace
import fifo_cli.operations.table.put
import fifo_cli.render.replay_text
import fifo_cli.render.timeline  # noqa: F401
import tests.integration.warm  # noqa: F401
from fifo_cli.operations.queues import browse as looking
from fifo_cli.operations.stream import reader

vars(reader)["READ_PAUSE"] = 0.01
vars(looking)["LONG_POLL_SECONDS"] = 0
