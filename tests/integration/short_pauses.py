"""Imported before a process forks runs of the program: moves that do not wait for their lock to settle.

A test that kills a command at each of its requests runs it a hundred times, and nobody else takes the
lock at the same moment.
"""

from __future__ import annotations

from fifo_cli.operations import maintenance_lock

vars(maintenance_lock)["SETTLE_SECONDS"] = 0.01
