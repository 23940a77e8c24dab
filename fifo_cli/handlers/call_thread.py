"""Calls with a time limit: a thread that does one piece of work after another.

Python cannot end a thread. So a thread whose work is over its limit is left alone: it is a daemon, it does
nothing more when its work ends, and the next call gets another one. ``stop=True`` raises an exception
in it as well, which ends a loop of Python code within milliseconds, but no call of a C function.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

# How often a waiting call looks up: for an interruption, and for a stop that was asked for.
_LOOK_SECONDS: Final = 0.2
# How often a thread is stopped, and how long it may take to end each time, before it is left alone.
_STOPS_MAX: Final = 4
_STOP_SECONDS: Final = 0.1


class TimeUpError(Exception):
    """The work was not done within its limit."""


class _Stop(BaseException):
    """Raised inside work that is over its limit."""


class _Job(Generic[T]):
    """One piece of work; ``done`` is released when it has ended."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._value: T | None = None
        self._error: BaseException | None = None
        self.abandoned = False
        self.done = threading.Lock()
        self.done.acquire()

    def perform(self) -> None:
        try:
            self._value = self._work()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            self._error = error
        finally:
            self.done.release()

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]


class CallThread:
    """Does work within a time limit, for one caller at a time."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def call(
        self,
        work: Callable[[], T],
        limit: float,
        *,
        stop: bool = False,
        on_look: Callable[[], None] | None = None,
    ) -> T:
        """Return what ``work`` returns, or raise what it raises; raise TimeUpError after ``limit`` seconds.

        ``on_look`` is called now and then while this waits.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=_serve, args=(self._jobs,), name="call", daemon=True)
            self._thread.start()
        job = _Job(work)
        try:
            self._jobs.put(job)
            ended = _wait(job, limit, on_look)
        except BaseException:
            self._abandon(job, stop=stop)
            raise
        if not ended:
            self._abandon(job, stop=stop)
            raise TimeUpError
        return job.result()

    def close(self) -> None:
        """Let the thread end."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread = None

    def _abandon(self, job: _Job[Any], *, stop: bool) -> None:
        job.abandoned = True
        thread, self._thread = self._thread, None
        self._jobs = SimpleQueue()
        if stop and thread is not None and thread.ident is not None:
            for _ in range(_STOPS_MAX):  # the exception is lost if it arrives in a __del__, or is caught
                if job.done.acquire(blocking=False):
                    return
                _raise_in(thread.ident)
                if job.done.acquire(timeout=_STOP_SECONDS):
                    return


def _wait(job: _Job[Any], limit: float, on_look: Callable[[], None] | None) -> bool:
    if on_look is None or limit <= _LOOK_SECONDS:
        return job.done.acquire(timeout=min(limit, threading.TIMEOUT_MAX))
    until = time.monotonic() + limit
    while (left := until - time.monotonic()) > 0:
        if job.done.acquire(timeout=min(left, _LOOK_SECONDS)):
            return True
        on_look()
    return False


def _serve(jobs: SimpleQueue[_Job[Any] | None]) -> None:
    try:
        while (job := jobs.get()) is not None:
            job.perform()
            if job.abandoned:
                return
            del job
    except _Stop:  # it came late, after the work had ended
        return


def _raise_in(thread_id: int) -> None:
    import ctypes  # noqa: PLC0415 - not needed by a run in which nothing hangs

    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), ctypes.py_object(_Stop))
