"""Carrying out changes: level after level, what is in one level side by side, and saying how far it came."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Final, TypeVar

from fifo_cli.aws.errors import calling
from fifo_cli.errors import AwsError, FifoError, Interrupted
from fifo_cli.events import Event, Finished, Listener, Noted, Started
from fifo_cli.invocation import command_line
from fifo_cli.model.planning import Change
from fifo_cli.model.resources import Key, Resource
from fifo_cli.operations.parallel import THREADS

# A sleep looks this often, in seconds, whether it was interrupted.
_NAP: Final = 0.25
Failures = list[tuple[Change, FifoError]]
T = TypeVar("T")


def depths(wanted: Iterable[Resource]) -> dict[Key, int]:
    """Return how many steps each resource comes after those that need nothing, counted from 1."""
    needs = {one.key: one.needs for one in wanted}
    sorter = TopologicalSorter({key: [need for need in keys if need in needs] for key, keys in needs.items()})
    sorter.prepare()
    depth: dict[Key, int] = {}
    step = 1
    while ready := sorter.get_ready():
        depth |= dict.fromkeys(ready, step)
        sorter.done(*ready)
        step += 1
    return depth


def in_levels(changes: Iterable[Change], level: Callable[[Change], int]) -> list[list[Change]]:
    """Order changes by a number; those with the same one do not depend on one another."""
    ordered: dict[int, list[Change]] = {}
    for change in changes:
        ordered.setdefault(level(change), []).append(change)
    return [ordered[number] for number in sorted(ordered)]


@dataclass(frozen=True, slots=True)
class Work:
    """Changes being made by ``command``; ``halt`` is set on an interrupt.

    What only waits then gives up, any other call is finished, and nothing new is begun.
    """

    command: str
    listener: Listener
    halt: threading.Event = field(default_factory=threading.Event)
    done: list[Change] = field(default_factory=list)

    def carry_out(self, levels: Sequence[Sequence[Change]], make: Callable[[Change], None]) -> None:
        """Make the changes; after a failure finish what is in the same level, then raise AwsError."""
        planned = sum(map(len, levels))
        try:
            for level in levels:
                failures = self._level(level, make)
                if failures:
                    raise self._failed(failures, planned)
        except (Interrupted, KeyboardInterrupt):
            self.listener(Noted(f"interrupted: {self._made(planned)}"))
            raise
        except Exception as error:
            # Not AWS's failure, and not the connection's: a defect. What was made is reported all the same.
            if not isinstance(error, FifoError):
                self.listener(Noted(f"stopped: {self._made(planned)}"))
            raise

    def beforehand(self, step: Callable[[], T], planned: int) -> T:
        """Do what precedes the changes; if it fails, say that none of them was made."""
        return self._beside(step, planned, "what was deployed")

    def afterwards(self, step: Callable[[], T]) -> T:
        """Do what follows the changes; if it fails, say that all of them were made."""
        return self._beside(step, len(self.done), "what was made")

    def _beside(self, step: Callable[[], T], planned: int, what: str) -> T:
        try:
            with calling(what):
                return step()
        except (Interrupted, KeyboardInterrupt):
            self.listener(Noted(f"interrupted: {self._made(planned)}"))
            raise
        except FifoError as error:
            raise AwsError(
                f"{error.message}\n{self._made(planned)}", hint="; ".join(self._hints([error]))
            ) from error

    def _level(self, level: Sequence[Change], make: Callable[[Change], None]) -> Failures:
        pool = ThreadPoolExecutor(THREADS)
        failures: Failures = []
        futures: list[tuple[Change, Future[None]]] = []
        try:
            futures = [(change, pool.submit(self._make, change, make)) for change in level]
            for change, future in futures:
                try:
                    future.result()
                except Interrupted:
                    raise
                except FifoError as error:
                    failures.append((change, error))
        except BaseException:
            self.halt.set()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            self.done.extend(change for change, future in futures if _succeeded(future))
        return failures

    def _make(self, change: Change, make: Callable[[Change], None]) -> None:
        self.listener(Started(change.action, change.kind, change.name))
        # A gateway names what AWS refuses; a connection that breaks may come out of it as botocore's error.
        with calling(f"{change.kind} {change.name}"):
            make(change)
        self.listener(Finished(change.action, change.kind, change.name))

    def _failed(self, failures: Failures, planned: int) -> AwsError:
        lines = [
            f"{change.action} {change.kind} {change.name}: {error.message}" for change, error in failures
        ]
        hints = self._hints([error for _, error in failures])
        return AwsError("\n".join([*lines, self._made(planned)]), hint="; ".join(hints))

    def _hints(self, errors: Sequence[FifoError]) -> list[str]:
        again = f"run {command_line(self.command)} again; it continues where this one stopped"
        return list(dict.fromkeys([*(error.hint for error in errors if error.hint), again]))

    def _made(self, planned: int) -> str:
        made = f"{len(self.done)} of {planned} changes were made"
        if self.done:
            made += ": " + ", ".join(f"{change.action} {change.kind} {change.name}" for change in self.done)
        return made


def one_at_a_time(listener: Listener) -> Listener:
    """Report one thing after the other to a listener, though the work is done side by side."""
    lock = threading.Lock()

    def locked(event: Event) -> None:
        with lock:
            listener(event)

    return locked


def sleep_unless(stopped: Callable[[], bool], sleep: Callable[[float], None]) -> Callable[[float], None]:
    """Return a sleep that ends soon after an interrupt, which only the main thread sees, by Interrupted."""

    def sleeping(seconds: float) -> None:
        while True:
            if stopped():
                raise Interrupted
            if seconds <= 0:
                return
            sleep(min(seconds, _NAP))
            seconds -= _NAP

    return sleeping


def _succeeded(future: Future[None]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None
