"""Journal lines of work done in this process, shipped to the log group of the function whose code it is.

So `logs`, `status`, `trace` and `audit` see what `drain --via local` delivers. Best effort: a thread of its
own sends the lines in batches, what CloudWatch refuses is reported once, and the work never waits for it.
"""

from __future__ import annotations

import contextlib
import math
import os
import queue
import re
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from fifo_cli.aws.log_streams import LOG_EVENT_BYTES_MAX, LogStream, Stamped
from fifo_cli.aws.session import Aws
from fifo_cli.errors import FifoError
from fifo_cli.events import Listener, Warned, silent
from fifo_cli.handlers.json_log import Journal, Level, line
from fifo_cli.model.names import FunctionRole, Names

# CloudWatch Logs, PutLogEvents: no colon and no asterisk in a stream's name.
_ILLEGAL: Final = re.compile(r"[^A-Za-z0-9._-]")
# So much of the log is lost if the process is killed.
_EVERY_SECONDS: Final = 0.3
# At the end, what is still unsent gets so long, and then the program goes without it.
_LAST_SECONDS: Final = 4.0
# More than that waits only if CloudWatch does not take it; then the lines are dropped, and counted.
_WAITING_MAX: Final = 20_000
T = TypeVar("T")


@contextlib.contextmanager
def shipped_journal(
    aws: Aws, names: Names, function: FunctionRole, source: str, *, listener: Listener = silent
) -> Iterator[Journal]:
    """Give a journal whose lines go to a log stream ``SOURCE/HOST/PID-TIME`` of the function's log group.

    The stream is made with the first line. On leaving, what is unsent is sent, for some seconds at most.
    """
    shipper = LogShipper(LogStream(aws, names.log_group(function), stream_name(source)), listener=listener)
    try:
        yield shipper.journal
    finally:
        shipper.close()


def stream_name(source: str) -> str:
    """Return a name that no other process's stream has."""
    host = _ILLEGAL.sub("-", socket.gethostname())[:100] or "host"
    return f"{source}/{host}/{os.getpid()}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"


def batches(
    waiting: queue.SimpleQueue[T | None],
    closing: threading.Event,
    *,
    every: float = 0.0,
    most: int | None = None,
) -> Iterator[list[T]]:
    """Yield what waits, ``most`` at a time and ``every`` so many seconds, until None comes.

    Once it is ``closing``, it does not pause. The first one goes at once: from then on the log shows a
    run without an end if this one is killed.
    """
    due = -math.inf
    while (found := waiting.get()) is not None:
        closing.wait(max(0.0, due - time.monotonic()))
        batch = [found]
        with contextlib.suppress(queue.Empty):
            while len(batch) != most:
                if (found := waiting.get_nowait()) is None:
                    break
                batch.append(found)
        due = time.monotonic() + every
        yield batch
        if found is None:
            return


class LogShipper:
    """Takes lines from any thread at once, and sends them from its own."""

    def __init__(
        self,
        stream: LogStream,
        *,
        listener: Listener = silent,
        every: float = _EVERY_SECONDS,
    ) -> None:
        self._stream = stream
        self._listener = listener
        self._every = every
        self._waiting: queue.SimpleQueue[Stamped | None] = queue.SimpleQueue()
        self._lost = 0
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def journal(self, level: Level, message: str, **facts: Any) -> None:
        """Take a line; never waits, never raises."""
        at = datetime.now(UTC)
        text = line(level, message, at=at, **facts)
        if len(text.encode("utf-8", "replace")) > LOG_EVENT_BYTES_MAX:
            text = line(level, message, at=at, reason="this line was too long for CloudWatch Logs")
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="log-shipper", daemon=True)
                self._thread.start()
            if self._waiting.qsize() >= _WAITING_MAX:
                self._lost += 1
                return
        self._waiting.put(Stamped(int(at.timestamp() * 1000), text))

    def close(self) -> None:
        """Send what waits, for a few seconds at most, and say what could not be sent."""
        if self._thread is None:
            return
        self._closing.set()
        self._waiting.put(None)
        self._thread.join(_LAST_SECONDS)
        if self._thread.is_alive():
            self._say("CloudWatch Logs did not answer in time")

    def _work(self) -> None:
        refusal = ""
        lines_max = self._stream.lines_max
        for batch in batches(self._waiting, self._closing, every=self._every, most=lines_max):
            try:
                if not refusal:
                    self._stream.put(batch)
                    continue
            except Exception as error:  # noqa: BLE001 - no error may end the work that is logged
                refusal = (
                    error.message if isinstance(error, FifoError) else f"{type(error).__name__}: {error}"
                )
            self._lost += len(batch)
        if self._lost:
            self._say(refusal or f"more than {_WAITING_MAX:,} waited")

    def _say(self, reason: str) -> None:
        group = self._stream.group
        self._listener(
            Warned(
                f"the log of this run did not reach {group} in full, so logs, trace and audit may not know of"
                f" all that was done: {reason}"
            )
        )
