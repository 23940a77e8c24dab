"""The embedded stack as a process: its files in ``.fifo/``, whether it lives, how it starts and stops."""

from __future__ import annotations

import configparser
import contextlib
import errno
import fcntl
import http.client
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

from fifo_cli.errors import StackError
from fifo_cli.invocation import command_line
from fifo_cli.local.ports import HOST
from fifo_cli.own_files import check_own_folder

Sleep = Callable[[float], None]
Clock = Callable[[], float]

FOLDER: Final = ".fifo"
READY_TIMEOUT: Final = 60.0
# ministack gives open requests 3 s, then saves; a function in the middle of an invocation holds it up longer.
STOP_TIMEOUT: Final = 20.0
_KILL_TIMEOUT: Final = 5.0
_POLL: Final = 0.05
_LOG_TAIL: Final = 15
_MIB: Final = 1024 * 1024
_HEALTH_TIMEOUT: Final = 5.0
# What a process needs to find its programs, libraries and certificates; nothing that leads to the user's AWS.
_INHERITED: Final = (
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "VIRTUAL_ENV", "PYTHONHOME",
    "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH",
    "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip


class Files:
    """Where the embedded stack of a project folder keeps what it needs; absolute paths."""

    def __init__(self, folder: Path) -> None:
        self.root = root = folder.absolute() / FOLDER
        # Who runs: process id, port and token; locked by the stack's process for as long as it lives.
        self.record = root / "stack.json"
        self.lock = root / "lock"  # held while a command starts or stops the stack
        self.log = root / "stack.log"
        self.state = root / "state"  # what the stack saves when it stops
        self.tmp = root / "tmp"  # its own temporary files, unpacked functions among them
        # Its key, as the aws CLI and the SDKs read it ($AWS_SHARED_CREDENTIALS_FILE).
        self.credentials = root / "credentials"

    def prepare(self) -> None:
        """Make the folders, private to the user and ignored by git; raises StackError if it cannot."""
        try:
            for folder in (self.root, self.state, self.tmp):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                check_own_folder(folder)
            ignore = self.root / ".gitignore"
            with contextlib.suppress(FileExistsError), ignore.open("x", encoding="utf-8") as file:
                file.write("*\n")
            self._make_key()
        except OSError as error:
            raise unusable(self.root, error) from error

    def _make_key(self) -> None:
        """Write a new key, whole or not at all, unless there is one."""
        key = secrets.token_hex(20).upper()
        text = f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secrets.token_hex(20)}\n"
        descriptor, name = tempfile.mkstemp(dir=self.root, prefix=".credentials.")  # mode 0600
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            with contextlib.suppress(FileExistsError):
                os.link(name, self.credentials)
        finally:
            os.unlink(name)

    def key(self) -> Key:
        """Read the stack's key; raises StackError if it is missing, or others could have written it."""
        try:
            with os.fdopen(os.open(self.credentials, os.O_RDONLY | os.O_NOFOLLOW), encoding="utf-8") as file:
                found = os.fstat(file.fileno())
                if found.st_uid != os.geteuid() or found.st_mode & 0o077:
                    raise StackError(
                        f"{self.credentials} is another user's, or open to others", hint=_new_key()
                    )
                parser = configparser.RawConfigParser()
                parser.read_file(file)
                values = parser["default"]
                return Key(values["aws_access_key_id"], values["aws_secret_access_key"])
        except (OSError, KeyError, ValueError, configparser.Error) as error:
            raise StackError(f"{self.credentials} does not hold the stack's key", hint=_new_key()) from error

    def log_tail(self) -> str:
        """Return the last lines of the log, indented; "" when there are none."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return "".join(f"\n  {line}" for line in lines[-_LOG_TAIL:])


@dataclass(frozen=True, slots=True)
class Key:
    """The access key without which a stack answers nobody."""

    id: str = field(repr=False)
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Running:
    """A living stack; ``token`` is its own among all that might answer on ``port``."""

    pid: int
    port: int
    token: str
    guarded: bool = True  # False for the stack of an older version, which asks for no key
    stopping: bool = False  # it was asked to stop, and may not have heard of it yet

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self.port}"


def unusable(path: Path, error: OSError) -> StackError:
    """Say that the embedded stack cannot keep its files here."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return StackError(
        f"the embedded stack cannot keep its state in {path}: {error.strerror or error}",
        hint="make room on that disk" if full else "run it in a folder that you may write to",
    )


def check_room(folder: Path, needed: int, what: str) -> None:
    """Raise StackError if the disk of ``folder`` has fewer than ``needed`` bytes for what ``what`` names.

    A stack on a full disk does not end: its functions fail one by one, and nothing says why.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StackError(
            f"the disk of {folder} has {free / _MIB:.1f} MiB free, and {what} needs {needed / _MIB:.0f}",
            hint="make room there, or use a folder on another disk ($TMPDIR is where temporary files go)",
        )


def _new_key() -> str:
    return f"stop the stack, delete that file, and start again: {command_line('local up')} makes a new key"


def look_into(files: Files) -> str:
    """Say where a stack that would not run shows why."""
    return f"its log is {files.log}; {command_line('local reset')} begins with an empty state"


def require_guarded(running: Running) -> None:
    """Raise StackError if a stack is an older version's: every page and every user can use it."""
    if not running.guarded:
        raise StackError(
            f"the embedded stack on port {running.port} was started by an older version: it asks for no key",
            hint=f"restart it: {command_line('local down')}, then {command_line('local up')};"
            " it keeps what it holds",
        )


def find(files: Files) -> Running | None:
    """Return the stack that lives in a folder, or None; raises StackError if it does not say who it is."""
    for _ in range(20):
        held, text = _read(files.record)
        if not held:
            return None
        # A stack that just starts holds the lock some milliseconds before it is written who it is.
        with contextlib.suppress(ValueError, KeyError, TypeError):
            record = json.loads(text)
            return Running(
                pid=int(record["pid"]),
                port=int(record["port"]),
                token=str(record["token"]),
                guarded=record.get("guarded") is True,
                stopping=record.get("stopping") is True,
            )
        time.sleep(_POLL)
    raise StackError(
        f"an embedded stack runs, but {files.record} does not say which process it is",
        hint="end it by hand (`ps ax | grep fifo_cli/local/server.py`), then start again",
    )


def _read(record: Path) -> tuple[bool, str]:
    """Return whether a process holds the record's lock, and the record's text."""
    try:
        with record.open(encoding="utf-8", errors="replace") as file:
            try:
                # Shared, so that two who look do not take each other for the stack.
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True, file.read()
            return False, ""
    except (FileNotFoundError, NotADirectoryError):
        return False, ""
    except OSError as error:
        raise unusable(record, error) from error


@contextlib.contextmanager
def _locked(record: Path, sleep: Sleep) -> Iterator[int]:
    """Open and lock the record for the process to come."""
    descriptor = os.open(record, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # Whoever only looks (``_read``) holds the lock for a moment.
        for attempt in range(20):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if attempt == 19:
                    raise
                sleep(_POLL)
        os.ftruncate(descriptor, 0)
        yield descriptor
    finally:
        os.close(descriptor)


def spawn(files: Files, port: int, token: str, *, sleep: Sleep = time.sleep) -> None:
    """Start the stack's process in the background; whether it gets ready is for the caller to watch."""
    server = Path(__file__).with_name("server.py")
    try:
        with _locked(files.record, sleep) as descriptor, files.log.open("wb") as log:
            files.log.chmod(0o600)
            subprocess.run(
                # -P: the script's folder must not shadow other modules.
                [
                    sys.executable,
                    "-P",
                    str(server),
                    str(descriptor),
                    json.dumps({"port": port, "token": token, "guarded": True}),
                ],
                env=environment(files, port, token, dict(os.environ)) | {"AWS_SESSION_TOKEN": files.key().id},
                cwd=files.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[descriptor],
                check=True,
            )
    except OSError as error:
        raise unusable(files.root, error) from error
    except subprocess.CalledProcessError as error:
        raise StackError(
            f"the embedded stack could not be started{files.log_tail()}", hint=look_into(files)
        ) from error


def environment(files: Files, port: int, token: str, base: dict[str, str]) -> dict[str, str]:
    """Build the stack's environment from scratch: its functions inherit it, so no key of the user's."""
    kept = {name: base[name] for name in _INHERITED if base.get(name)}
    # Relative entries would mean other folders in the stack's working directory.
    paths = [os.path.abspath(path) for path in base.get("PYTHONPATH", "").split(os.pathsep) if path]
    return kept | {
        **({"PYTHONPATH": os.pathsep.join(paths)} if paths else {}),
        "PYTHONUTF8": "1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "BIND_HOST": HOST,
        "GATEWAY_PORT": str(port),
        "LAMBDA_EXECUTOR": "local",
        "PERSIST_STATE": "1",
        "STATE_DIR": str(files.state),
        "S3_DATA_DIR": str(files.state / "s3"),
        "TMPDIR": str(files.tmp),
        # Both would open ports on all addresses.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        # At start and stop ministack removes every container that looks like its own: keep it off Docker.
        "DOCKER_HOST": f"unix://{files.root / 'no-docker'}",
        # Given back by the health page: so no other server on the port is taken for this one.
        "MINISTACK_EDITION": token,
    }


def answers(files: Files, running: Running) -> bool:
    """Say whether the stack itself, and no other server, answers on its port."""
    connection = http.client.HTTPConnection(HOST, running.port, timeout=_HEALTH_TIMEOUT)
    try:
        key = files.key().id
        connection.request("GET", "/_ministack/health", headers={"X-Amz-Security-Token": key})
        document = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()
    return isinstance(document, dict) and document.get("edition") == running.token


def wait_until_ready(
    files: Files, *, sleep: Sleep = time.sleep, clock: Clock = time.monotonic
) -> Running | None:
    """Return the stack once it answers, None if it ended; raises StackError after READY_TIMEOUT seconds."""
    deadline = clock() + READY_TIMEOUT
    while clock() < deadline:
        running = find(files)
        if running is None:
            return None
        if answers(files, running):
            return running
        sleep(_POLL)
    raise StackError(
        f"the embedded stack did not answer within {READY_TIMEOUT:.0f} s{files.log_tail()}",
        hint=f"{command_line('local down')} ends it; {look_into(files)}",
    )


def stop(files: Files, running: Running, *, sleep: Sleep, clock: Clock) -> bool:
    """Let the stack save its state and end, with all functions it runs; False if it had to be killed.

    Interrupted, it goes on to stop by itself; it is marked, so that nobody takes it for one that stays.
    """
    _mark_stopping(files, running)
    with contextlib.suppress(ProcessLookupError):
        os.kill(running.pid, signal.SIGTERM)
    graceful = _wait_until_gone(files, STOP_TIMEOUT, sleep, clock)
    kill(files, running, sleep=sleep, clock=clock)
    return graceful


def _mark_stopping(files: Files, running: Running) -> None:
    record = asdict(replace(running, stopping=True))
    # In place, as the stack holds the lock of this very file; who reads half of it looks again.
    with contextlib.suppress(OSError), files.record.open("r+b", buffering=0) as file:
        file.write(json.dumps(record).encode())


def kill(files: Files, running: Running, *, sleep: Sleep = time.sleep, clock: Clock = time.monotonic) -> None:
    """End the stack and all functions it runs at once; what it has not saved is lost."""
    # PermissionError: macOS's answer when only zombies are left of the group.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        try:
            os.killpg(running.pid, signal.SIGKILL)
        except ProcessLookupError:  # it has just begun, and no group of its own yet
            os.kill(running.pid, signal.SIGKILL)
    if not _wait_until_gone(files, _KILL_TIMEOUT, sleep, clock):
        raise StackError(
            f"the embedded stack (process {running.pid}) does not end", hint=f"try `kill -9 {running.pid}`"
        )
    shutil.rmtree(files.tmp, ignore_errors=True)


def _wait_until_gone(files: Files, timeout: float, sleep: Sleep, clock: Clock) -> bool:
    deadline = clock() + timeout
    while _read(files.record)[0]:
        if clock() >= deadline:
            return False
        sleep(_POLL)
    return True
