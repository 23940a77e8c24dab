"""Output in which the keys are hidden: what the user's code, and any library, logs, prints or warns of.

Python's own ways out are covered: ``logging`` with any handlers, ``print``, warnings, tracebacks of threads
and hooks. What goes around them is not: bytes, file descriptors, child processes.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Any, Final, TextIO

from .redaction import WITHHELD

Redact = Callable[[str], str]
STREAMS: Final = ("stdout", "stderr", "__stdout__", "__stderr__")
# What these log at DEBUG may hold a whole answer with keys, before their values are known here.
_LIBRARIES: Final = frozenset({"boto3", "botocore", "httpcore", "httpx", "urllib3"})


def guard_logs(redact: Redact) -> None:
    """Hide keys in every log record; the debug text of AWS's and the HTTP client's libraries is left out."""
    make = logging.getLogRecordFactory()
    make = getattr(make, "unguarded", make)

    def guarded(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        if str(record.name).partition(".")[0] in _LIBRARIES and record.levelno <= logging.DEBUG:
            record.msg, record.args, record.exc_info = WITHHELD, (), None
        else:
            _redact_record(record, redact)
        return record

    guarded.unguarded = make  # type: ignore[attr-defined]
    logging.setLogRecordFactory(guarded)


def _redact_record(record: logging.LogRecord, redact: Redact) -> None:
    """Hide keys in a record's message and traceback; a record without any stays as it is."""
    try:
        text = record.getMessage()
        if (shown := redact(text)) != text:
            record.msg, record.args = shown, ()
        if record.exc_info:
            text = "".join(traceback.format_exception(*record.exc_info))
            if (shown := redact(text)) != text:
                record.exc_info, record.exc_text = None, shown.rstrip()
    except Exception:  # noqa: BLE001 - its arguments do not fit, say: logging itself reports that, on stderr
        return


class _GuardedStream:
    """A text stream that hides keys in what is written to it, a call at a time."""

    def __init__(self, unguarded: TextIO, redact: Redact) -> None:
        self.unguarded = unguarded  # json_log.py writes to it
        self._redact = redact

    def write(self, text: str) -> int:
        self.unguarded.write(self._redact(text) if isinstance(text, str) else text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def close(self) -> None:
        """Stay open: a message whose code closes its output must not stop the next one's print."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unguarded, name)


def guard_streams(redact: Redact) -> None:
    """Hide keys in what is written to ``sys.stdout``, ``sys.stderr`` and ``__stderr__`` from now on."""
    for name in STREAMS:
        if (stream := getattr(sys, name)) is not None:
            setattr(sys, name, _GuardedStream(getattr(stream, "unguarded", stream), redact))
