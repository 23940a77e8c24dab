"""The user's code, held to its message: also when it raises, hangs or ends the process.

Before a message (or record) is handed to the user's code, a note of it is written to disk; it is removed
when the code returns or raises. A note that is found when the same message comes again says that the
process ended meanwhile: by ``os._exit``, for lack of memory, at Lambda's time limit. Such a message is
then tried with no other beside it. If the process ends a second time, it was this message.

A time limit ends code that does not return. Code that calls no network is to blame for that itself. For
code that does, a message is to blame only if it reaches the limit twice and no other does in between:
several in a row are an outage, such as a token endpoint that hangs.

Where the notes lie: a function's in /tmp, which Lambda keeps when it starts the runtime again in the same
execution environment after a crash or a timeout (Lambda Developer Guide, "Understanding the Lambda
execution environment lifecycle", failures during the invoke phase). A new environment knows nothing of
them: then the count begins again, and the message is parked a few invocations later.

A command on an operator's machine runs the code in a process of its own (CodeProcess). Its end is seen at
once, and all that it was working on is tried again, one by one, by the same rule.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import resource
import stat
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from . import standard_files
from .call_thread import CallThread, TimeUpError
from .failure import ApiUnavailableError, ConfigurationError, MessageError, OutOfTimeError, user_code_failure
from .runtime import UserCodeError, load_code

T = TypeVar("T")

# A message is no longer in any queue then (SQS's longest retention is 14 days).
_NOTE_AGE_MAX: Final = 15 * 86_400
# A note is tiny; anything longer is not ours.
_NOTE_BYTES_MAX: Final = 4_096
# An end of the process may have had another reason, such as kill -9; two are enough.
_ENDS_MAX: Final = 2
_OVER_LIMIT_MAX: Final = 2
# A command has no end of its time: after so many messages in a row for which the code did not return, the
# next ones have less time, until it returns for one. Code that loops for a few must not stop all the others.
_WAITS_MAX: Final = 3
_SHORT_SECONDS: Final = 1.0
# What a module may take to be imported, at least: a large one takes seconds in a small function.
IMPORT_SECONDS_MIN: Final = 30.0
STOOD_STILL: Final = "all of its Python stood still"
# A process that is asked to stop waits so long for code that may never return.
_STOPPED_SECONDS: Final = 0.5
_MEMORY_HEADROOM: Final = 1 << 30
_THREAD_STACK: Final = 8 << 20
_OURS: Final = (ConfigurationError, MessageError, ApiUnavailableError)


@dataclass(slots=True)
class Note:
    """What is known of a message that did not end well.

    ``ends`` counts the ends of the process while it was handled, ``ends_alone`` those with no other beside
    it, ``over_limit`` the times that the code did not return for it alone. ``waited``: the last time it
    did not return, also in an outage. ``subject`` is the message or record, in words for people; ``how``
    says how the process ended, where that is known. ``key`` is the name of its file.
    """

    subject: str = ""
    running: bool = False
    alone: bool = False
    ends: int = 0
    ends_alone: int = 0
    over_limit: int = 0
    waited: bool = False
    how: str = ""
    key: str = ""


class RunningProcess(Protocol):
    """The process of the user's code, from one start to its end."""

    def end(self) -> None:
        """End it at once."""

    def stands_still(self) -> bool:
        """Say whether nothing runs in it any more, and end it if so: a call of C may stop all of Python."""


class CodeProcess(Protocol):
    """A process of its own that runs the user's code; see operations/code_process.py."""

    def start(self) -> RunningProcess:
        """Start it, unless it runs; raises UserCodeError."""

    def close(self) -> None:
        """Let it end."""


class CodeEndedError(Exception):
    """The process of the user's code ended in a call: ``by_itself``, or because another call was ended."""

    def __init__(self, how: str, *, by_itself: bool) -> None:
        super().__init__(how)
        self.how = how
        self.by_itself = by_itself


class Notes:
    """The notes on disk, a file each, readable by their owner only.

    A folder that cannot be used, or a full disk, costs only the knowledge of what ended the process.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._usable = _private_folder(folder)

    def read(self, key: str) -> Note | None:
        note = _read(f"{self._folder}/{key}") if self._usable else None
        if note is not None:
            note.key = key
        return note

    def write(self, note: Note) -> None:
        if self._usable:
            with contextlib.suppress(OSError):
                _write(f"{self._folder}/{note.key}", note)

    def remove(self, note: Note) -> None:
        if self._usable:
            with contextlib.suppress(OSError):
                os.unlink(f"{self._folder}/{note.key}")

    def end_wait(self, key: str) -> None:
        """Let a message that reached the limit count for no outage any more."""
        if note := self.read(key):
            note.waited = False
            self.write(note)

    def over_limit(self) -> set[str]:
        """Return the keys of the messages that reached the limit, and remove what is too old to matter."""
        found: set[str] = set()
        if not self._usable:
            return found
        with contextlib.suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                if time.time() - entry.stat(follow_symlinks=False).st_mtime > _NOTE_AGE_MAX:
                    os.unlink(entry.path)
                elif (note := _read(entry.path)) and note.waited:
                    found.add(entry.name)
        return found


def key_of(subject: str) -> str:
    """Return the key of the note of a message, record or import."""
    return hashlib.sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _private_folder(folder: Path) -> bool:
    """Make the folder, or check that it is this user's alone: others write into /tmp, too."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022


def _read(path: str) -> Note | None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return Note(**json.loads(os.read(handle, _NOTE_BYTES_MAX)))
        finally:
            os.close(handle)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError):
        # Cut off by a full disk or by the end of the process: that it is there says enough.
        return Note(running=True)


def _write(path: str, note: Note) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    facts = {name: value for name, value in asdict(note).items() if name != "key"}
    handle = os.open(path, flags, 0o600)
    try:
        os.write(handle, json.dumps(facts).encode())
    finally:
        os.close(handle)


def function_notes(*identity: str) -> Path:
    """Return the folder for a function's notes, apart from every other function's and version's.

    On AWS /tmp is the environment's own; the embedded stack's functions share the stack's $TMPDIR, which goes
    with it.
    """
    text = "\n".join([*identity, os.environ.get("AWS_LAMBDA_FUNCTION_VERSION", "")])
    name = f"fifo-cli-{os.getuid()}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return Path(os.environ.get("TMPDIR", "/tmp"), name)


def load_noted(reference: str, notes: Notes, *, limit: float) -> Callable[..., Any]:
    """Import the user's function under a note, so that an end of the process meanwhile is named next time.

    After that it is tried again: what ended the process may have been something else. Raises UserCodeError.
    """
    key, limit = key_of(f"import {reference} {_version(reference)}"), max(limit, IMPORT_SECONDS_MIN)
    if (note := notes.read(key)) and note.running:
        notes.remove(note)
        raise UserCodeError(reference, "the process ended while it was imported; the next run tries again")
    thread = CallThread()
    note = Note(f"the import of {reference}", running=True, key=key)
    notes.write(note)
    try:
        code = thread.call(lambda: load_code(reference), limit, stop=True)
        if not standard_files.put_back():
            os._exit(standard_files.CLOSED)
        return code
    except TimeUpError:
        raise UserCodeError(reference, f"the import did not end within {limit:g} s") from None
    finally:
        notes.remove(note)
        thread.close()


def _version(reference: str) -> str:
    """Return a digest of the user's module: code that was changed since is innocent."""
    with contextlib.suppress(Exception):
        spec = importlib.util.find_spec(reference.partition(":")[0].partition(".")[0])
        if spec is not None and spec.origin is not None:
            return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()
    return ""


class _Turns:
    """Many may run at a time, or one alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = 0
        self._alone = False

    @contextmanager
    def taken(self, *, alone: bool) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            if alone:
                self._alone = True
                self._changed.wait_for(lambda: self._running == 0)
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._alone = self._alone and not alone
                self._changed.notify_all()


@dataclass(eq=False)
class CodeGuard:
    """Runs one function of the user's, for many messages and from many threads.

    ``calls_network``: an error of the network that the code raises is the API's failure. ``stopped``: a
    process that is asked to stop may end at any moment, and that is not a message's fault. ``process``: the
    code runs in another one, which is ended with what does not return.
    """

    name: str
    notes: Notes
    _: KW_ONLY
    limit: float
    calls_network: bool
    stopped: Callable[[], bool] = lambda: False
    process: CodeProcess | None = None
    times_over: int = field(default=0, init=False)  # how often code did not return in time
    # For how many it did not return, or ended the process: the message was to blame.
    lost: int = field(default=0, init=False)
    lost_in_a_row: int = field(default=0, init=False)
    _waits: int = field(default=0, init=False)  # how often it did not return in time, since it last did
    _turns: _Turns = field(default_factory=_Turns, init=False)
    _threads: dict[int, CallThread] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        # The messages that reached the limit since the code last returned; of a group, that is its first.
        self._in_a_row: set[str] = self.notes.over_limit() if self.calls_network else set()

    def run(self, subject: str, work: Callable[[], T], *, seconds: float = float("inf")) -> T:
        """Do ``work``, which calls the user's code for the message or record ``subject``.

        Raises MessageError or ApiUnavailableError if it fails, and lets our own exceptions pass. ``seconds``
        is what is left of the run: what takes longer than that, but not than the limit, is tried again
        (ApiUnavailableError, or OutOfTimeError if the code calls no network).
        """
        if self.process is not None and self.calls_network and self._waits >= _WAITS_MAX:
            seconds = min(seconds, _SHORT_SECONDS)
        key, kind = key_of(subject), "message" if self.calls_network else "record"
        note = self.notes.read(key) or Note(f"{kind} {subject}", key=key)
        while True:
            try:
                self._judge(note)
                return self._run_once(note, work, seconds)
            except CodeEndedError as ended:
                note.running, note.how = ended.by_itself, ended.how
            except MessageError:
                # Its end was seen here. The next command may run code that has been fixed.
                if self.process is not None and not (self.calls_network and note.waited):
                    self.notes.remove(note)
                raise

    def _run_once(self, note: Note, work: Callable[[], T], seconds: float) -> T:
        """Do the work one time; raises CodeEndedError if the process that runs the code ends meanwhile."""
        with self._turns.taken(alone=note.alone):
            process = self.process.start() if self.process else None
            note.running = True
            self.notes.write(note)
            try:
                result, error = self._timed(note, work, min(self.limit, seconds), process)
            except TimeUpError:
                if process is not None and process.stands_still():
                    raise CodeEndedError(STOOD_STILL, by_itself=True) from None
                raise self._over_limit(note, full=seconds >= self.limit) from None
            except BaseException:  # Ctrl-C: no fault of the message's
                self.notes.remove(note)
                raise
            # Within its turn: what runs next may end the process, and that is not this one's fault.
            self.notes.remove(note)
        if isinstance(error, CodeEndedError):
            raise error
        if error is None or isinstance(error, MessageError):
            self._end_row()
        if error is None:
            return result  # type: ignore[return-value]
        if isinstance(error, _OURS):
            raise error
        failure = user_code_failure(self.name, error, calls_network=self.calls_network)
        if isinstance(failure, MessageError):
            self._end_row()
        raise failure from error

    def _end_row(self) -> None:
        """The code returned: what did not return before is not an outage, for the next process either."""
        self.lost_in_a_row = self._waits = 0
        if not self._in_a_row:
            return
        with self._lock:
            keys, self._in_a_row = self._in_a_row, set()
        for key in keys:
            self.notes.end_wait(key)

    def close(self) -> None:
        for thread in self._threads.values():
            thread.close()
        if self.process is not None:
            self.process.close()

    def _judge(self, note: Note) -> None:
        """Prepare the note for this try; raises MessageError if what is known of the message is enough."""
        if note.running:
            note.ends += 1
            note.ends_alone += note.alone
        note.running, note.alone = False, note.ends > 0
        if note.ends >= _ENDS_MAX and note.ends_alone:
            self.notes.write(note)
            how = f" ({note.how})" if note.how else ""
            raise self._lost(
                f"the process ended {note.ends} times while {self.name} handled this one{how}: "
                "the code exits, crashes, hangs in a call of C, or takes more memory than there is"
            )
        if note.over_limit and not self.calls_network:
            raise self._lost(self._too_long())

    def _timed(
        self, note: Note, work: Callable[[], T], seconds: float, process: RunningProcess | None
    ) -> tuple[T | None, BaseException | None]:
        """Return what ``work`` returns, or what it raises; a KeyboardInterrupt of its own is not a Ctrl-C."""

        ends = float("inf")

        def look() -> None:
            nonlocal ends
            if note.running and self.stopped():
                note.running = False
                self.notes.write(note)
                ends = time.monotonic() + _STOPPED_SECONDS
            if time.monotonic() > ends:
                raise self._out_of_time("the command was interrupted")

        thread = self._threads.setdefault(threading.get_ident(), CallThread())
        try:
            return thread.call(lambda: _outcome(work), seconds, stop=process is None, on_look=look)
        except BaseException as error:
            if process is not None and not (isinstance(error, TimeUpError) and process.stands_still()):
                process.end()
            raise
        finally:
            if process is None and not standard_files.put_back():
                # The next message must not meet this. Its note shows whose fault the end was.
                note.how = standard_files.CLOSED_ITS_FILES
                self.notes.write(note)
                os._exit(standard_files.CLOSED)

    def _over_limit(self, note: Note, *, full: bool) -> Exception:
        """Say what it means that the code did not return in time; ``full``: it had all of the limit."""
        note.running, note.waited = False, True
        with self._lock:
            self.times_over += 1
            waits, self._waits = self._waits, self._waits + 1
            self._in_a_row.add(note.key)
            several = self.calls_network and len(self._in_a_row) > 1
        note.over_limit += full and not several
        self.notes.write(note)
        if note.over_limit >= (_OVER_LIMIT_MAX if self.calls_network else 1):
            return self._lost(self._too_long())
        if not full:
            row = f"the time it had after {waits} messages in a row that did not return was over"
            return self._out_of_time(row if waits >= _WAITS_MAX else "the run's time was over")
        others = "; it did not for the message before either, so this counts as an outage" if several else ""
        return ApiUnavailableError(self._too_long() + others)

    def _lost(self, reason: str) -> MessageError:
        with self._lock:
            self.lost += 1
            self.lost_in_a_row += 1
        return MessageError(reason)

    def _out_of_time(self, before: str) -> Exception:
        text = f"{self.name} did not return before {before}"
        return ApiUnavailableError(text) if self.calls_network else OutOfTimeError(text)

    def _too_long(self) -> str:
        return f"{self.name} did not return within {self.limit:g} s"


def _outcome(work: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    try:
        return work(), None
    except BaseException as error:  # noqa: BLE001 - its owner is found in the thread that waits
        # What the code took is free again, however long the error is kept.
        traceback.clear_frames(error.__traceback__)
        return None, error


@contextmanager
def memory_bounded(mebibytes: int, *, threads: int) -> Iterator[None]:
    """Let code that takes memory without end fail by MemoryError, where nothing else would stop it.

    On AWS the function's own limit is lower and ends the process; on an operator's machine, or on the
    embedded stack, there is none. The bound is far above what a function of ``mebibytes`` could ever use.
    """
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            used = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData:"))
        before = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = used + max(_MEMORY_HEADROOM, 2 * mebibytes << 20) + threads * _THREAD_STACK
        if before[0] == resource.RLIM_INFINITY or before[0] > wanted:
            resource.setrlimit(resource.RLIMIT_DATA, (wanted, before[1]))
    except (OSError, ValueError, StopIteration, IndexError):
        yield
        return
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
