"""Progress of a long move: a live line on a terminal, else a line every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from fifo_cli.cli.console import Console
from fifo_cli.events import Event, Listener, Noted, Progressed

_EVERY_SECONDS: Final = 5.0


def paced(console: Console, *, clock: Callable[[], float] = time.monotonic) -> Listener:
    """Return a listener that, where no live line can be shown, makes every fifth second's one a line."""
    told_at = clock()

    def listen(event: Event) -> None:
        nonlocal told_at
        if not isinstance(event, Progressed) or console.error_color:
            console.listen(event)
        elif clock() - told_at >= _EVERY_SECONDS:
            told_at = clock()
            console.listen(Noted(event.text))

    return listen
