"""The embedded AWS (ministack) of a project folder: start, stop, inspect, reset, and where it listens.

It listens on loopback only and keeps everything in ``.fifo/``. It saves its state when it is stopped;
killed or crashed, it comes back as it was at its last start.
"""

from __future__ import annotations

import importlib.util
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from fifo_cli.errors import StackError, UsageError
from fifo_cli.events import Finished, Listener, Started, Warned, silent
from fifo_cli.invocation import command_line
from fifo_cli.local import process
from fifo_cli.local.ports import HOST, free_port, holder_of, is_free
from fifo_cli.local.process import Clock, Files, Running, Sleep
from fifo_cli.model.results import Result

DEFAULT_PORT: Final = 4566
# Longer than another command needs to start the stack (READY_TIMEOUT) or to stop it.
_TURN_TIMEOUT: Final = process.READY_TIMEOUT + 10
# Between being picked and listened on, a free port may be taken; five times in a row is not an accident.
_PICKS: Final = 5


@dataclass(frozen=True, slots=True)
class StackStatus(Result):
    """Whether the embedded stack runs, and where."""

    endpoint: str | None = None
    pid: int | None = None
    running: bool = False
    credentials: str | None = None  # the file with the key that other tools need


def up(
    folder: Path,
    *,
    port: int | None = None,
    listener: Listener = silent,
    sleep: Sleep = time.sleep,
) -> StackStatus:
    """Start the folder's stack unless it runs, and wait until it answers.

    ``port`` is 4566 if None, any free one if 0. Raises StackError if the port is taken, if the stack runs
    on another port than asked for, if ministack is not installed, or if it does not start.
    """
    if port is not None and not 0 <= port <= 65_535:
        raise UsageError(
            f"{port} is not a TCP port", hint="give --port a number from 1 to 65535, or 0 for any free one"
        )
    files = Files(folder)
    files.prepare()
    with _turn(files):
        running = process.find(files)
        if running is not None and running.stopping:  # `down` was interrupted
            _stop(files, running, listener, sleep)
            running = None
        if running is not None and port not in (None, 0, running.port):
            raise StackError(
                f"the embedded stack of {folder} runs already, on port {running.port}, not {port}",
                hint=f"use it there, or stop it first with {command_line('local down')}",
            )
        if running is not None:
            process.require_guarded(running)
        # Found running, it may still be starting: another `up` was interrupted before the stack answered.
        if running is None:
            return _status(files, _start(files, port, listener, sleep))
        return _status(files, _await_ready(files, running, sleep))


def down(
    folder: Path, *, listener: Listener = silent, sleep: Sleep = time.sleep, clock: Clock = time.monotonic
) -> StackStatus:
    """Stop the folder's stack, after it saved its state; nothing happens when it does not run."""
    files = Files(folder)
    if process.find(files) is None:
        return StackStatus()
    with _turn(files):
        running = process.find(files)
        if running is not None:
            try:
                _stop(files, running, listener, sleep, clock)
            except KeyboardInterrupt:
                listener(Warned("the embedded stack goes on to stop by itself; what it holds stays"))
                raise
    return StackStatus()


def _stop(
    files: Files, running: Running, listener: Listener, sleep: Sleep, clock: Clock = time.monotonic
) -> None:
    listener(Started("stop", "stack", running.endpoint))
    if not process.stop(files, running, sleep=sleep, clock=clock):
        listener(Warned("the embedded stack had to be killed; what it did since its start may be lost"))
    listener(Finished("stop", "stack", running.endpoint))


def status(folder: Path) -> StackStatus:
    """Say whether the folder's stack runs, and where; writes nothing."""
    files = Files(folder)
    return _status(files, process.find(files))


def reset(folder: Path, *, listener: Listener = silent) -> StackStatus:
    """Forget everything the folder's stack holds; if it runs it starts again, on the same port."""
    files = Files(folder)
    if not files.root.exists():
        return StackStatus()
    with _turn(files):
        running = process.find(files)
        try:
            if running is not None:
                process.kill(files, running)
            _forget(files)
            if running is None or running.stopping:
                return StackStatus()
            return _status(files, _start(files, running.port, listener, time.sleep))
        except KeyboardInterrupt:
            if running is not None:
                listener(Warned(f"the embedded stack is stopped now; {command_line('local up')} starts it"))
            raise


def _forget(files: Files) -> None:
    """Delete the state at one moment; what an interrupt leaves of it is where the next stop deletes all."""
    files.prepare()
    try:
        old = tempfile.mkdtemp(dir=files.tmp)
        files.state.rename(Path(old, "state"))
        shutil.rmtree(old)
    except OSError as error:
        raise process.unusable(files.state, error) from error
    files.prepare()


def endpoint_of(folder: Path) -> str:
    """Return the URL of the folder's running stack; raises StackError when it does not run."""
    running = process.find(Files(folder))
    if running is None or running.stopping:
        raise StackError(
            f"the embedded stack of {folder.absolute()} is not running",
            hint=f"start it with {command_line('local up')}",
        )
    process.require_guarded(running)
    return running.endpoint


def key_of(folder: Path) -> tuple[str, str]:
    """Return the access key of the folder's stack, id and secret; raises StackError if it cannot be read."""
    key = Files(folder).key()
    return key.id, key.secret


def key_file_of(folder: Path) -> str:
    """Return the file that has the key of the folder's stack, for other tools."""
    return str(Files(folder).credentials.absolute())


def _status(files: Files, running: Running | None) -> StackStatus:
    if running is None:
        return StackStatus()
    return StackStatus(running.endpoint, running.pid, running=True, credentials=str(files.credentials))


@contextmanager
def _turn(files: Files) -> Iterator[None]:
    """Let one command at a time start or stop a folder's stack."""
    lock = FileLock(files.lock, timeout=_TURN_TIMEOUT, mode=0o600)
    try:
        lock.acquire()
    except Timeout as error:
        raise StackError(
            f"another command has been starting or stopping the embedded stack for {_TURN_TIMEOUT:.0f} s",
            hint="look for it with `ps ax | grep fifo-cli`, and try again",
        ) from error
    except OSError as error:
        raise process.unusable(files.lock, error) from error
    try:
        yield
    finally:
        lock.release()


def _start(files: Files, port: int | None, listener: Listener, sleep: Sleep) -> Running:
    if importlib.util.find_spec("ministack") is None:
        raise StackError(
            "the embedded stack (ministack) is not installed", hint="pip install 'fifo-cli[local]'"
        )
    for _ in range(_PICKS if port == 0 else 1):
        chosen = port or (free_port() if port == 0 else DEFAULT_PORT)
        _require_free(chosen)
        listener(Started("start", "stack", f"http://{HOST}:{chosen}"))
        running = _start_on(files, chosen, sleep)
        if running is not None:
            listener(Finished("start", "stack", running.endpoint))
            return running
        if is_free(chosen):
            break
    _require_free(chosen)
    raise StackError(
        f"the embedded stack ended while it was starting{files.log_tail()}", hint=process.look_into(files)
    )


def _start_on(files: Files, port: int, sleep: Sleep) -> Running | None:
    """Start the stack and wait until it answers; None if it ended; interrupted, it leaves no process."""
    try:
        process.spawn(files, port, secrets.token_hex(8), sleep=sleep)
        return process.wait_until_ready(files, sleep=sleep)
    except BaseException:
        running = process.find(files)
        if running is not None:
            process.kill(files, running, sleep=sleep)
        raise


def _await_ready(files: Files, running: Running, sleep: Sleep) -> Running:
    ready = process.wait_until_ready(files, sleep=sleep)
    if ready is None:
        raise StackError(
            f"the embedded stack on port {running.port} has just ended{files.log_tail()}",
            hint=process.look_into(files),
        )
    return ready


def _require_free(port: int) -> None:
    if is_free(port):
        return
    holder = holder_of(port)
    raise StackError(
        f"port {port} is taken{f' by {holder}' if holder else ''}",
        hint="choose another with --port P, or any free one with --port 0",
    )
