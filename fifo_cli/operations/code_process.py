"""The user's code in a process of its own, so that nothing it does reaches this one.

It may end its process, stop all of Python, close every file or change what the whole process shares: the
command goes on, prints its one document, and ends when it means to. The process is started when it is first
needed, and again after it has ended; a call that it was working on then raises CodeEndedError, and
handlers/code_guard.py finds out whose fault that was. The other side is operations/code_server.py.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from fifo_cli.errors import UsageError
from fifo_cli.handlers.code_guard import IMPORT_SECONDS_MIN, STOOD_STILL, CodeEndedError, RunningProcess
from fifo_cli.handlers.failure import ApiUnavailableError, ConfigurationError, MessageError
from fifo_cli.handlers.runtime import Runtime, UserCodeError
from fifo_cli.handlers.standard_files import CLOSED, CLOSED_ITS_FILES
from fifo_cli.model.user_code import file_of

_MAIN: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]);"
    " from fifo_cli.operations.code_server import main; main(int(sys.argv[1]))"
)
_LOOK_SECONDS: Final = 0.2
# What a process may take to end by itself: once it was asked to, and once it has hung up.
_END_SECONDS: Final = 1.0
_HUNG_UP_SECONDS: Final = 0.5
# A process whose Python runs answers a ping at once, on a busy machine within this.
_PONG_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class CodeSetup:
    """What the process is to run: ``folders`` hold the code, the limits are in seconds and MiB."""

    reference: str
    folders: tuple[str, ...]
    calls_network: bool
    limit: float
    memory: int
    threads: int = 1

    @property
    def file(self) -> Path | None:
        """The file that is imported, if it is in one of the folders."""
        module = self.reference.partition(":")[0]
        return next((file for one in self.folders if (file := file_of(Path(one), module))), None)

    @classmethod
    def of_request(cls, facts: Runtime, folders: Iterable[str], threads: int) -> CodeSetup:
        return cls(str(facts.request_code), tuple(folders), True, facts.code_limit, facts.memory, threads)

    @classmethod
    def of_message(cls, facts: Runtime, folders: Iterable[str]) -> CodeSetup:
        return cls(str(facts.message_code), tuple(folders), False, facts.code_limit, facts.memory)


@contextlib.contextmanager
def usable_message_code() -> Iterator[None]:
    """Have UserCodeError of the ``message`` function raised as UsageError."""
    try:
        yield
    except UserCodeError as error:
        raise UsageError(f"[handlers] message: {error}", hint="fix the code, or what it imports") from error


class CodeProcess:
    """Runs the user's function in a child process; safe to share between threads.

    ``stopped`` is asked while the code is imported; what it raises ends that.
    """

    def __init__(self, setup: CodeSetup, *, stopped: Callable[[], bool] = lambda: False) -> None:
        self._setup = setup
        self._stopped = stopped
        self._lock = threading.Lock()
        self._child: _Child | None = None

    def start(self) -> RunningProcess:
        """Start the process and import the code, unless it runs. Raises UserCodeError."""
        with self._lock:
            if self._child is None or self._child.is_over:
                self._child = None
                self._child = self._started()
            return self._child

    def call(self, *arguments: Any) -> Any:
        """Return what the code makes of ``arguments``, both JSON; raises what its failure's owner gets."""
        child = self._child
        if child is None:
            raise CodeEndedError("it was ended", by_itself=False)
        return _value(self._setup.reference, child.call(arguments).result())

    def close(self) -> None:
        """Let the process end; what it does not finish soon is cut off."""
        with self._lock:
            if child := self._child:
                child.close()
                atexit.unregister(child.close)
            self._child = None

    def _started(self) -> _Child:
        where = f" ({file})" if (file := self._setup.file) else ""
        reference, limit = self._setup.reference, max(self._setup.limit, IMPORT_SECONDS_MIN)
        try:
            child = _Child(self._setup)
        except OSError as error:
            raise UserCodeError(reference, f"no process can be started for it: {error.strerror}") from None
        try:
            imported = child.call(None)
            until = time.monotonic() + limit
            while not wait([imported], _LOOK_SECONDS).done:
                if self._stopped():
                    raise UserCodeError(reference, "the import was interrupted")
                if time.monotonic() > until:
                    raise UserCodeError(reference, f"the import did not end within {limit:g} s{where}")
            _value(reference, imported.result())
        except CodeEndedError as error:
            how = f"the process ended while it was imported ({error.how}){where}"
            raise UserCodeError(reference, how) from None
        except BaseException:
            child.end()
            raise
        atexit.register(child.close)
        return child


class _Child:
    """One process, from its start to its end, and the thread that hears from it."""

    def __init__(self, setup: CodeSetup) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = _popen(theirs.fileno())
        self._connection = Connection(ours.detach())
        self._calls: dict[int, Future[dict[str, Any]]] = {}
        self._numbers = itertools.count(1)
        self._state = threading.Lock()
        self._sending = threading.Lock()
        self._was_killed = self._stood_still = False
        self.ended = False
        with contextlib.suppress(OSError):  # that it has ended is found out by the first call
            self._connection.send_bytes(json.dumps(asdict(setup)).encode())
        threading.Thread(target=self._listen, name="user code", daemon=True).start()

    @property
    def is_over(self) -> bool:
        """Whether it has ended or is about to: it was killed, and its end has not been noticed yet."""
        return self.ended or self._was_killed or self._stood_still

    def call(self, arguments: Any) -> Future[dict[str, Any]]:
        """Begin a call; no arguments mean the import. It fails with CodeEndedError if the process ends."""
        data = json.dumps(arguments)
        call: Future[dict[str, Any]] = Future()
        with self._state:
            if self.ended:
                raise CodeEndedError("it had ended", by_itself=False)
            number = next(self._numbers)
            self._calls[number] = call
        with self._sending, contextlib.suppress(OSError):  # who listens hears of the end as well
            self._connection.send_bytes(f"[{number},{data}]".encode())
        return call

    def end(self) -> None:
        """End the process and what it has started; what it works on is not the fault of a call."""
        with self._state:
            self._was_killed = True
            if not self.ended:
                self._kill_group()

    def stands_still(self) -> bool:
        """Say whether its Python stands still; the process is then ended, as if by itself."""
        if not (self.ended or self._stood_still):
            ping: Future[dict[str, Any]] = Future()
            with self._state:
                number = -next(self._numbers)
                self._calls[number] = ping
            is_sent = self._sending.acquire(timeout=_PONG_SECONDS)
            if is_sent:
                with contextlib.suppress(OSError):
                    self._connection.send_bytes(f"[{number},null]".encode())
                self._sending.release()
            if not (is_sent and wait([ping], _PONG_SECONDS).done):
                self._stood_still = True
                self._kill_group()
        return self._stood_still

    def close(self) -> None:
        """Ask the process to end, and see to it that it does."""
        self._was_killed = True
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._connection.fileno())) as ours:
            ours.shutdown(socket.SHUT_WR)
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.end()

    def _listen(self) -> None:
        try:
            while True:
                number, answer = json.loads(self._connection.recv_bytes())
                self._calls.pop(number).set_result(answer)
        except (EOFError, OSError, ValueError, TypeError, KeyError):
            how = self._collect()
            if self._stood_still:
                how = STOOD_STILL
        with self._state:
            self.ended = True
            calls = list(self._calls.values())
        for call in calls:
            call.set_exception(CodeEndedError(how, by_itself=not self._was_killed))
        with self._sending:
            self._connection.close()

    def _collect(self) -> str:
        """Wait for the end of a process that does not answer any more, and say how it ended."""
        try:
            self._process.wait(_HUNG_UP_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill_group()
            self._process.wait()
            return CLOSED_ITS_FILES
        self._kill_group()  # what it has started
        code = self._process.returncode
        if code == CLOSED:
            return CLOSED_ITS_FILES
        if code >= 0:
            return f"exit code {code}"
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
        return f"signal {-code}"

    def _kill_group(self) -> None:
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _popen(descriptor: int) -> subprocess.Popen[bytes]:
    """Start the process in a session of its own: Ctrl-C in the terminal is this process's."""
    try:
        os.fstat(2)
        output: int = 2
    except OSError:
        output = subprocess.DEVNULL
    return subprocess.Popen(
        [sys.executable, "-u", "-c", _MAIN, str(descriptor), json.dumps(sys.path)],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=[descriptor],
        start_new_session=True,
    )


def _value(reference: str, answer: dict[str, Any]) -> Any:
    """Return the value of an answer, or raise what its owner has to hear."""
    match answer:
        case {"value": value}:
            return value
        case {"message": str(text)}:
            raise MessageError(text)
        case {"api": str(text)}:
            raise ApiUnavailableError(text)
        case {"module": str(text)}:
            raise UserCodeError(reference, *text.split(": ", 1))
        case {"configuration": [str(what), str(reason)]}:
            raise ConfigurationError(reference, "your code raised", f"{what}: {reason}")
        case {"not encodable": [str(encoding), str(text), int(start), int(end), str(reason)]}:
            raise UnicodeEncodeError(encoding, text, start, end, reason)
        case _:
            raise CodeEndedError("it wrote into the connection to this program", by_itself=True)
