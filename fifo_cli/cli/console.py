"""stdout and stderr: the result on one, everything else on the other, and neither ever raises a surprise."""

from __future__ import annotations

import os
import select
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, TextIO

from fifo_cli.errors import DeclinedError, NeedsAttention, UsageError
from fifo_cli.render.text import fields, fit, fold, printable

if TYPE_CHECKING:
    from fifo_cli.events import Event, Listener

_ERASE_LINE: Final = "\r\x1b[K"
_LINE_EVERY_SECONDS: Final = 5.0


class Console:
    """Where a command writes; safe to share between threads."""

    def __init__(self, *, quiet: bool = False, no_color: bool = False) -> None:
        self._quiet = quiet
        self._plain = no_color or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        self._lock = threading.RLock()
        self._transient = False
        self._unread = False

    @property
    def color(self) -> bool:
        """Whether stdout shows colours."""
        return _is_terminal(sys.stdout) and not self._plain

    @property
    def error_color(self) -> bool:
        """Whether stderr shows colours."""
        return _is_terminal(sys.stderr) and not self._plain

    @property
    def width(self) -> int | None:
        """The columns of the terminal; None, so nothing is cut off, if stdout goes elsewhere."""
        return _terminal_size().columns if _is_terminal(sys.stdout) else None

    @property
    def height(self) -> int | None:
        """The lines of the terminal; None if stdout goes elsewhere."""
        return _terminal_size().lines if _is_terminal(sys.stdout) else None

    @property
    def unread(self) -> bool:
        """Whether the reader of stdout has gone: what is written for it alone may stop."""
        return self._unread or _is_hung_up(sys.stdout)

    def result(self, pieces: Iterable[str], *, data: bool) -> None:
        """Write the result; ``data`` is UTF-8 in every locale, text is in the terminal's encoding.

        A reader that has gone (``| head``) has what it wanted. Raises NeedsAttention if the disk is full.
        """
        stream = sys.stdout
        if stream is None:
            raise NeedsAttention(
                "stdout is closed, so the result is not written; what was asked for is done",
                hint="give the command a stdout, /dev/null if nobody reads it",
            )
        try:
            for piece in pieces:
                with self._lock:
                    self._clear()
                    _write(stream, piece, data=data)
        except BrokenPipeError:
            self._unread = True
            _silence(stream)
        except OSError as error:
            _silence(stream)
            raise NeedsAttention(
                f"stdout cannot be written: {error.strerror}; what was asked for is done",
                hint="make room and look at the result with a command that only reads",
            ) from None

    def message(self, text: str) -> None:
        """Write a line to stderr, also with --quiet; a reader that has gone stops no work."""
        stream = sys.stderr
        if stream is None:
            return
        if _is_terminal(stream):
            text = fold(text, _terminal_size().columns)
        try:
            with self._lock:
                self._clear()
                _write(stream, text + "\n")
        except (OSError, ValueError):
            return

    def error(self, text: str, *, hint: str = "", trace: str = "") -> None:
        """Write what went wrong, the next step, and the traceback, if there is one."""
        lines = [text, f"next: {hint}" if hint else "", trace]
        self.message("\n".join(printable(line, keep="\n") for line in lines if line))

    def prompt(self, text: str) -> str:
        """Ask on stderr and return the answer's line; "" at the end of the input."""
        with self._lock:
            self._clear()
            if sys.stderr is not None:
                _write(sys.stderr, text)
        return sys.stdin.readline() if sys.stdin is not None else ""

    def listen(self, event: Event) -> None:
        """Show an event; on a terminal what began gives way to the next line; --quiet keeps warnings."""
        from fifo_cli.events import Progressed, Started, Waiting, Warned
        from fifo_cli.render import progress

        if self._quiet and not isinstance(event, Warned):
            return
        text = progress.line(event, color=self.error_color)
        if isinstance(event, Progressed):
            self.live(text)
            return
        if isinstance(event, Started | Waiting) and self.error_color:
            self._show_transient(text)
        else:
            self.message(text)

    def live(self, text: str) -> None:
        """Show a line without colours that the next one overwrites; on a terminal only."""
        if self.error_color and not self._quiet:
            self._show_transient(text)

    def close(self) -> None:
        """Leave no half line behind."""
        with self._lock:
            self._clear()

    def _show_transient(self, text: str) -> None:
        try:
            with self._lock:
                _write(sys.stderr, _ERASE_LINE + fit(text, _terminal_size().columns - 1))
                self._transient = True
        except (OSError, ValueError):
            return

    def _clear(self) -> None:
        if self._transient:
            self._transient = False
            _write(sys.stderr, _ERASE_LINE)


def ask(
    console: Console,
    what: str,
    *,
    where: Callable[[], Iterable[tuple[str, str]]],
    hint: str = "look at it with --dry-run, and go ahead with --yes",
) -> None:
    """Ask on stderr whether to do ``what``. ``where`` shows account, region and pipeline.

    The default is not to do it. Raises DeclinedError if the answer is not yes, UsageError if stdin is not a
    terminal.
    """
    if not stdin_is_terminal():
        raise UsageError(
            f"fifo-cli has no terminal to ask on, so nothing was touched; to do: {what}",
            hint=hint,
        )
    console.message(f"About to {printable(what, keep=chr(10))}\n{fields(where()).rstrip()}")
    answer = console.prompt("Go ahead? [y/N] ")
    if answer.strip().lower() not in ("y", "yes"):
        raise DeclinedError("Nothing was changed.")


def paced(console: Console, *, clock: Callable[[], float] = time.monotonic) -> Listener:
    """Return a listener that, where no live line can be shown, makes every fifth second's one a line."""
    from fifo_cli.events import Noted, Progressed

    shown_at = clock()

    def listen(event: Event) -> None:
        nonlocal shown_at
        if not isinstance(event, Progressed) or console.error_color:
            console.listen(event)
        elif clock() - shown_at >= _LINE_EVERY_SECONDS:
            shown_at = clock()
            console.listen(Noted(event.text))

    return listen


def announce(text: str) -> None:
    """Write a line to stderr from a signal handler: no lock, no buffer that the interrupted code may hold."""
    try:
        asked = select.poll()
        asked.register(2, select.POLLOUT)
        if asked.poll(0):  # a reader that does not read must not keep the signal from being heard
            os.write(2, f"\n{text}\n".encode())
    except OSError:
        return


def stdin_is_terminal() -> bool:
    """Say whether a person is there to answer."""
    return _is_terminal(sys.stdin)


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def _is_hung_up(stream: TextIO | None) -> bool:
    """Say whether the other end of a pipe or a socket is closed, without writing to it (poll(2): POLLERR)."""
    try:
        if stream is None:
            return False
        asked = select.poll()
        asked.register(stream.fileno(), 0)
        return any(message & (select.POLLERR | select.POLLHUP) for _, message in asked.poll(0))
    except (OSError, ValueError):
        return False


def _terminal_size() -> os.terminal_size:
    return shutil.get_terminal_size((80, 24))


def _write(stream: TextIO, text: str, *, data: bool = False) -> None:
    """Write bytes, so that no locale can refuse a character: ``data`` in UTF-8, text as the stream has it.

    Inside JSON the escape that replaces what UTF-8 cannot hold, a lone surrogate, is JSON's own: \\udXXX.
    """
    encoding = "utf-8" if data else stream.encoding or "utf-8"
    encoded = text.encode(encoding, "backslashreplace")
    buffer = getattr(stream, "buffer", None)
    if buffer is None:
        stream.write(encoded.decode(encoding))
        stream.flush()
        return
    stream.flush()
    buffer.write(encoded)
    buffer.flush()


def _silence(stream: TextIO) -> None:
    """Point a broken stdout at nothing, so that the interpreter's last flush cannot complain."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError):
        return
