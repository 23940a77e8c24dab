"""Looks that an interrupt does not break: what was received is given back, the answer on its way included.

A KeyboardInterrupt in the middle of a receive would lose the answer, and with it the handles of what SQS has
hidden: it would stay so until its visibility timeout ends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, TypeVar

T = TypeVar("T")
# A receive waits a second for messages; giving back takes less. After that it is better to end.
_ENDS_WITHIN: Final = 10.0


def run_uninterrupted(look: Callable[[Callable[[], bool]], T]) -> T:
    """Return what ``look`` returns; interrupted, let it end first, as its ``stopped`` asks it to soon.

    It runs in a thread of its own, where no signal is handled. Raises what it raises.
    """
    stop = threading.Event()
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(look(stop.is_set))
        except BaseException as error:  # noqa: BLE001 - it is raised where the caller waits
            done.set_exception(error)

    thread = threading.Thread(target=run, name="look", daemon=True)
    try:
        thread.start()
        return done.result()
    except KeyboardInterrupt:
        stop.set()
        if thread.is_alive():
            thread.join(_ENDS_WITHIN)
        raise
