"""The process that runs the user's code for a command; see operations/code_process.py.

Each call is JSON that comes in and JSON that goes out, and runs in a thread: the code may be called for
several messages at a time, and one that waits stops no other. The first call is the import.
"""

from __future__ import annotations

import base64
import faulthandler
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, Final

from fifo_cli.handlers import exact_json, standard_files
from fifo_cli.handlers.code_guard import memory_bounded
from fifo_cli.handlers.failure import ApiUnavailableError, ConfigurationError, MessageError, user_code_failure
from fifo_cli.handlers.guarded_output import guard_logs, guard_streams
from fifo_cli.handlers.records import written
from fifo_cli.handlers.redaction import Redactor
from fifo_cli.handlers.runtime import UserCodeError, load_code
from fifo_cli.handlers.standard_files import CLOSED

# Where nobody is left to end a process whose Python stands still, it is ended after so long beyond the limit.
_GRACE_SECONDS: Final = 30.0
_BEAT_SECONDS: Final = 5.0
# What the user's own threads and exit functions may take at the end.
_END_SECONDS: Final = 2.0
_STACKS: Final = 3
_PLAIN: Final = (str, int, float, bool, type(None))


def main(descriptor: int) -> None:
    """Answer calls until the other side hangs up."""
    os.set_inheritable(descriptor, False)
    standard_files.keep()
    connection = Connection(descriptor)
    setup = json.loads(connection.recv_bytes())
    nowhere = os.open(os.devnull, os.O_WRONLY)
    server = _Server(connection, setup)
    heartbeat = threading.Thread(target=_beat, args=(setup["limit"] + _GRACE_SECONDS, nowhere), daemon=True)
    heartbeat.start()
    with memory_bounded(setup["memory"], threads=_STACKS * setup["threads"]):
        server.serve()
    faulthandler.dump_traceback_later(_END_SECONDS, exit=True, file=nowhere)


def _beat(limit: float, nowhere: int) -> None:
    """Have the process ended, by a thread that needs no lock of Python's, if this one stands still."""
    parent = os.getppid()
    while os.getppid() == parent:
        faulthandler.dump_traceback_later(limit, exit=True, file=nowhere)
        time.sleep(_BEAT_SECONDS)
    faulthandler.dump_traceback_later(_END_SECONDS, exit=True, file=nowhere)


class _Server:
    """The user's function, and the threads that call it."""

    def __init__(self, connection: Connection, setup: dict[str, Any]) -> None:
        self._connection = connection
        self._setup = setup
        self._name: str = setup["reference"]
        self._calls: SimpleQueue[tuple[int, Any]] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._sending = threading.Lock()
        self._pid = os.getpid()
        self._inode = os.fstat(connection.fileno()).st_ino
        self._redact = Redactor()
        self._busy: set[int] = set()
        self._code: Callable[..., Any] | None = None
        # A process that the code forks has none of this: that ours ends must be seen.
        os.register_at_fork(after_in_child=connection.close)

    def serve(self) -> None:
        while True:
            try:
                number, arguments = json.loads(self._connection.recv_bytes())
            except EOFError:
                return
            except (OSError, ValueError):
                os._exit(CLOSED)
            if number < 0:  # a ping: Python runs
                self._send([number, {"value": None}])
                continue
            if not self._idle.acquire(blocking=False):
                threading.Thread(target=self._work, name="call", daemon=True).start()
            self._calls.put((number, arguments))

    def _work(self) -> None:
        while True:
            number, arguments = self._calls.get()
            self._busy.add(number)
            answer = self._answer(arguments)
            if os.getpid() != self._pid:  # the code has forked, and returned twice
                os._exit(0)
            if not standard_files.put_back():
                os._exit(CLOSED)
            self._busy.discard(number)
            self._idle.release()
            self._send([number, answer])

    def _send(self, answer: list[Any]) -> None:
        data = json.dumps(answer).encode()
        try:
            with self._sending:
                if os.fstat(self._connection.fileno()).st_ino != self._inode:
                    os._exit(CLOSED)  # the code has put another file there
                self._connection.send_bytes(data)
        except OSError:
            os._exit(CLOSED)

    def _answer(self, arguments: Any) -> dict[str, Any]:
        """Return what the code makes of a call, or whose failure it is."""
        depth = sys.getrecursionlimit()
        try:
            if arguments is None:
                self._load()
            return {"value": arguments and self._perform(arguments)}
        except UserCodeError as error:
            return {"module": error.reason()}
        except ConfigurationError as error:
            return {"configuration": [error.what, error.reason()]}
        except UnicodeEncodeError as error:
            return {"not encodable": [error.encoding, error.object, error.start, error.end, error.reason]}
        except BaseException as error:  # noqa: BLE001 - its owner is found here
            if isinstance(error, MemoryError) and len(self._busy) > 1:
                os._exit(1)  # which one took all of it shows when each is tried alone
            traceback.clear_frames(error.__traceback__)  # what the code took is free again
            failure = error
            if not isinstance(error, MessageError | ApiUnavailableError):
                failure = user_code_failure(self._name, error, calls_network=self._setup["calls_network"])
            return {"api" if isinstance(failure, ApiUnavailableError) else "message": str(failure)}
        finally:
            sys.setrecursionlimit(depth)

    def _load(self) -> None:
        guard_logs(self._redact.long)  # before the user's code, which may switch debug logs on
        guard_streams(self._redact.long)
        if self._setup["calls_network"]:
            import httpx  # noqa: F401, PLC0415 - ours, before one that the code brings along
        folders = self._setup["folders"]
        sys.path[:0] = [folder for folder in folders if folder not in sys.path]
        self._code = load_code(self._name)

    def _perform(self, arguments: list[Any]) -> Any:
        assert self._code is not None, "the first call is the import"
        value = exact_json.loads(arguments[0])
        if not self._setup["calls_network"]:
            made = self._code(value)
            return None if made is None else written(made)
        _, attributes, keys = arguments
        for secret in keys.values():
            self._redact.add(secret)
        return _parts(self._name, self._code(value, _attributes(attributes), keys))


def _attributes(encoded: dict[str, Any]) -> dict[str, Any]:
    return {
        name: base64.b64decode(value["binary"]) if isinstance(value, dict) else value
        for name, value in encoded.items()
    }


def _parts(name: str, request: object) -> dict[str, Any]:
    """Return what a request is made of; of its extensions, those that are plain values."""
    from fifo_cli.handlers.delivery import checked_request  # noqa: PLC0415 - only requests need httpx

    made = checked_request(name, request)
    return {
        "method": made.method,
        "url": str(made.url),
        "headers": [[_text(header), _text(value)] for header, value in made.headers.raw],
        "body": base64.b64encode(made.content).decode(),
        "extensions": {
            key: value
            for key, value in made.extensions.items()
            if isinstance(key, str) and isinstance(value, _PLAIN)
        },
    }


def _text(data: bytes) -> str:
    return data.decode("latin-1")
