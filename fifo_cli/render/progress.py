"""One line of text for each event."""

from __future__ import annotations

from typing import Final, assert_never

from fifo_cli.events import Event, Finished, Noted, Progressed, Started, Waiting, Warned
from fifo_cli.render.text import paint, printable

_BAR: Final = 16


def bar(share: float | None, width: int = _BAR) -> str:
    """Return a bar of what is done, and a space; "" if that is not known."""
    if share is None:
        return ""
    full = int(width * max(0.0, min(1.0, share)))
    return f"[{'#' * full}{'.' * (width - full)}] "


def line(event: Event, *, color: bool) -> str:
    """Turn an event into a line without its newline."""
    match event:
        case Started(action, kind, name):
            return f"{action} {kind} {printable(name)} …"
        case Finished(action, kind, name, detail):
            message = f" ({printable(detail)})" if detail else ""
            return f"{action} {kind} {printable(name)}: {paint('done', 'green', color=color)}{message}"
        case Waiting(name, reason):
            return f"waiting for {printable(name)}: {printable(reason)}"
        case Warned(text):
            return f"{paint('warning:', 'yellow', color=color)} {printable(text, keep=chr(10))}"
        case Progressed(text, share):
            return f"{bar(share)}{printable(text)}"
        case Noted(text):
            return printable(text, keep="\n")
        case _:
            assert_never(event)
