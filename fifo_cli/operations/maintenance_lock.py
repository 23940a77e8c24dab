"""The maintenance lock: one moving command at a time for a pipeline, held by a tag of its main queue.

SQS has no lock, so we use a tag: write it, wait 0.3 s, read it back. If two processes write at once, both
read the last value, and only its writer continues.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fifo_cli.aws.sqs import QueueTags
from fifo_cli.errors import BusyError, FifoError
from fifo_cli.events import Listener, Warned, silent
from fifo_cli.invocation import command_line
from fifo_cli.model.times import iso, parse_instant
from fifo_cli.model.unfinished_operations import LOCK_LIFETIME

MAINTENANCE_TAG: Final = "fifo-cli:maintenance"
# Set while an in-order redrive is unfinished; it has no expiry (queues/restore_order.py).
RESTORE_TAG: Final = "fifo-cli:rebuild"
REFRESH_SECONDS: Final = 20.0
_WHO_MAX: Final = 60
# Tags hold letters, digits, spaces and these (SQS API Reference, TagQueue).
_ILLEGAL: Final = re.compile(r"[^A-Za-z0-9_.:/=+@-]")
_LEASE: Final = re.compile(
    r"(?P<what>\S+) by (?P<who>\S+) since (?P<since>\S+) until (?P<until>\S+)"
    r" as (?P<machine>[0-9a-f]+)\.(?P<pid>[0-9]+)\.(?P<token>[0-9a-f]+)"
)


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds the pipeline for what; written in characters that a tag takes."""

    what: str
    who: str
    since: datetime
    until: datetime
    machine: str
    pid: int
    token: str

    def text(self) -> str:
        """Return the tag's value."""
        return (
            f"{self.what} by {self.who} since {iso(self.since)} until {iso(self.until)}"
            f" as {self.machine}.{self.pid}.{self.token}"
        )

    @classmethod
    def parse(cls, text: str) -> Lease | None:
        """Read a tag's value; None if it is none of ours."""
        match = _LEASE.fullmatch(text)
        if match is None:
            return None
        try:
            since, until = (parse_instant(match[name], now=datetime.now(UTC)) for name in ("since", "until"))
        except ValueError:
            return None
        return cls(
            match["what"], match["who"], since, until, match["machine"], int(match["pid"]), match["token"]
        )

    def has_ended(self, now: datetime) -> bool:
        """Whether it holds nobody up: it has expired, or its process was one of this machine, and is gone."""
        if self.until < now:
            return True
        if self.machine != _machine():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except (PermissionError, OverflowError):
            pass  # another user's, or a number that no process has here
        return False


@contextmanager
def maintenance(
    tags: QueueTags,
    what: str,
    *,
    confirm: bool = True,
    force: bool | None = False,
    finishes_restore: bool = False,
    listener: Listener = silent,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[MaintenanceLock]:
    """Hold the pipeline for ``what`` while the block runs, renewing the lease from a thread of its own.

    Raises BusyError if another holds it, or if an in-order redrive is unfinished (except for
    ``finishes_restore``); ``force`` goes on all the same, and is None for what has no
    such option. A lease of a process of this machine that has
    died, or that was not renewed for a minute, holds nobody up. Without ``confirm`` it does not wait for
    another that takes the lock at the same moment: the block has to, before it changes anything for good.
    """
    lock = MaintenanceLock(tags, what, force=force, listener=listener, sleep=sleep)
    lock.acquire(finishes_restore=finishes_restore)
    done = threading.Event()
    thread = threading.Thread(target=_keep_renewed, args=(lock, done), name="lock", daemon=True)
    thread.start()
    try:
        if confirm:
            lock.confirm()
        yield lock
    finally:
        done.set()
        thread.join()
        lock.release()


def refuse_while_unfinished(tags: QueueTags) -> None:
    """Raise BusyError if an in-order redrive is unfinished: main does not hold the heads of its groups then.

    For what delivers: it goes on beside another's move, but not beside this.
    """
    text = tags.read().tags.get(RESTORE_TAG)
    if text is not None:
        raise BusyError(unfinished(tags.queue.name, text), hint=finishes())


def refuse_beside(tags: QueueTags, what: str) -> None:
    """Raise BusyError while another does ``what``: for what goes on beside everything else."""
    seen = tags.read()
    text = seen.tags.get(MAINTENANCE_TAG, "")
    lease = Lease.parse(text)
    if lease is not None and lease.what == what and not lease.has_ended(seen.at):
        raise BusyError(_held(tags.queue.name, text), hint=_LATER)


class MaintenanceLock:
    """This process's lock on one pipeline; ``force`` takes it although another has it."""

    def __init__(
        self,
        tags: QueueTags,
        what: str,
        *,
        force: bool | None = False,
        listener: Listener = silent,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._tags = tags
        self._force = force
        self._listener = listener
        self._sleep = sleep
        self._lost = self._confirmed = False
        never = datetime.fromtimestamp(0, UTC)
        who = _ILLEGAL.sub("-", f"{local_user()}@{socket.gethostname()}")[:_WHO_MAX]
        self._lease = Lease(
            _ILLEGAL.sub("-", what), who, never, never, _machine(), os.getpid(), secrets.token_hex(8)
        )

    @property
    def since(self) -> datetime:
        """When it was acquired, by the service's clock."""
        return self._lease.since

    def acquire(self, *, finishes_restore: bool = False) -> None:
        """Write the tag; raises BusyError if another has it."""
        seen = self._tags.read()
        if RESTORE_TAG in seen.tags and not finishes_restore:
            self._refuse(unfinished(self._tags.queue.name, seen.tags[RESTORE_TAG]), hint=finishes())
        text = seen.tags.get(MAINTENANCE_TAG, "")
        lease = Lease.parse(text)
        if MAINTENANCE_TAG in seen.tags and not (lease and lease.has_ended(seen.at)):
            self._refuse(_held(self._tags.queue.name, text), hint=_LATER)
        self._write(seen.at, since=seen.at)

    def confirm(self) -> None:
        """Wait until another that wrote at the same moment would show; raises BusyError if it does."""
        if self._confirmed:
            return
        self._sleep(self._tags.settles)
        text = self._tags.read().tags.get(MAINTENANCE_TAG, "")
        if not self._is_ours(text):
            self._refuse(_held(self._tags.queue.name, text), hint=_LATER)
        self._confirmed = True

    def renew(self) -> None:
        """Move the expiry on; another's lease, taken by force, is left as it is."""
        try:
            seen = self._tags.read()
            if self._is_ours(seen.tags.get(MAINTENANCE_TAG, "")):
                self._write(seen.at, since=self._lease.since)
            elif not self._lost:
                self._lost = True
                self._listener(Warned(f"the maintenance marker of {self._tags.queue.name} is another's now"))
        except FifoError as error:
            self._listener(Warned(f"the maintenance marker could not be refreshed: {error.message}"))

    def release(self) -> None:
        """Remove the tag if it is still ours."""
        try:
            if self._is_ours(self._tags.read().tags.get(MAINTENANCE_TAG, "")):
                self._tags.remove(MAINTENANCE_TAG)
        except FifoError as error:
            self._listener(
                Warned(f"the maintenance marker stays for {LOCK_LIFETIME.seconds} s at most: {error.message}")
            )

    def _refuse(self, message: str, *, hint: str) -> None:
        if self._force is None:
            raise BusyError(message, hint=hint)
        if not self._force:
            raise BusyError(message, hint=f"{hint}; --force goes on all the same")
        self._listener(Warned(f"{message}; going on because of --force"))

    def _write(self, now: datetime, *, since: datetime) -> None:
        self._lease = replace(self._lease, since=since, until=now + LOCK_LIFETIME)
        self._tags.write(MAINTENANCE_TAG, self._lease.text())

    def _is_ours(self, text: str) -> bool:
        lease = Lease.parse(text)
        return lease is not None and lease.token == self._lease.token


_LATER: Final = "wait until it is done; if it was killed on another machine, its lock expires within a minute"


def finishes() -> str:
    """Say what finishes an in-order redrive."""
    return f"{command_line('redrive --in-order')} finishes it"


def unfinished(name: str, text: str) -> str:
    """Say that an in-order redrive is unfinished; ``text`` is its tag's value."""
    return f"{name}: an in-order redrive is unfinished ({text})"


def _held(name: str, text: str) -> str:
    lease = Lease.parse(text)
    words = f"{lease.what} by {lease.who} since {iso(lease.since)}" if lease else text or "another command"
    return f"another maintenance operation holds {name}: {words}"


def _keep_renewed(lock: MaintenanceLock, done: threading.Event) -> None:
    while not done.wait(REFRESH_SECONDS):
        lock.renew()


def local_user() -> str:
    """Return the user's name on this machine."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no such user in the password database, as in some containers
        return str(os.getuid())


def _machine() -> str:
    """Return what distinguishes the machines, boots and containers within which process ids are unique."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
