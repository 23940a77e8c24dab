"""stdout and stderr as they really are: closed, full, gone, of another encoding, or a terminal."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from fifo_cli.cli.console import Console
from fifo_cli.errors import NeedsAttention
from fifo_cli.events import Event, Finished, Noted, Started, Waiting, Warned
from fifo_cli.render.text import display_width

EVENTS: list[Event] = [
    Started("create", "queue", "q"),
    Waiting("q", "soon"),
    Noted("note"),
    Warned("careful"),
    Finished("create", "queue", "q"),
]


class Stream(io.TextIOWrapper):
    """A text stream over bytes in memory, a terminal if so reported."""

    def __init__(self, encoding: str = "utf-8", *, terminal: bool = False) -> None:
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding=encoding)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    @property
    def written(self) -> str:
        return self.bytes.getvalue().decode("utf-8", "backslashreplace")


class Broken(io.RawIOBase):
    """A stream whose reader has gone, or whose disk is full."""

    encoding = "utf-8"

    def __init__(self, error: OSError) -> None:
        self.error = error

    @property
    def buffer(self) -> Any:
        return self

    def write(self, data: Any) -> int:
        raise self.error


def sockets() -> tuple[int, int]:
    """Return the two ends of a connection, as os.pipe does."""
    reader, writer = socket.socketpair()
    return reader.detach(), writer.detach()


def redirected(monkeypatch: pytest.MonkeyPatch) -> tuple[Stream, Stream]:
    """Replace stdout and stderr; in the test itself, as pytest sets them again after the fixtures."""
    out, err = Stream(), Stream()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setenv("TERM", "xterm")
    return out, err


def test_data_is_utf8_whatever_the_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Stream("ascii")
    monkeypatch.setattr(sys, "stdout", out)

    Console().result(['{"a": "é🎉\ud800"}\n'], data=True)

    assert out.bytes.getvalue() == '{"a": "é🎉\\ud800"}\n'.encode()


def test_text_is_in_the_terminal_s_encoding_and_never_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Stream("latin-1")
    monkeypatch.setattr(sys, "stdout", out)

    Console().result(["é€\n"], data=False)

    assert out.bytes.getvalue() == b"\xe9\\u20ac\n"


def test_what_was_printed_before_comes_before(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = redirected(monkeypatch)
    sys.stdout.write("first ")

    Console().result(["second"], data=True)

    assert streams[0].written == "first second"


def test_a_reader_that_has_gone_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Broken(BrokenPipeError()))

    console = Console()
    assert not console.unread

    console.result(["a", "b"], data=True)

    assert console.unread


@pytest.mark.parametrize("make", [os.pipe, sockets])
def test_a_reader_that_has_gone_is_noticed_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[], tuple[int, int]]
) -> None:
    reader, writer = make()
    with os.fdopen(writer, "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        console = Console()
        assert not console.unread

        os.close(reader)

        assert console.unread


def test_a_full_disk_is_reported_and_not_as_if_nothing_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Broken(OSError(28, "No space left on device")))

    with pytest.raises(NeedsAttention, match="No space left on device; what was asked for is done"):
        Console().result(["a"], data=True)


def test_a_closed_stdout_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)

    with pytest.raises(NeedsAttention, match="stdout is closed"):
        Console().result(["a"], data=True)


@pytest.mark.parametrize("stream", [None, Broken(BrokenPipeError()), Broken(OSError(28, "full"))])
def test_a_broken_stderr_stops_no_work(monkeypatch: pytest.MonkeyPatch, stream: object) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    console = Console()

    console.message("a")
    for event in EVENTS:
        console.listen(event)
    console.close()


def test_events_are_plain_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = redirected(monkeypatch)
    console = Console()

    for event in EVENTS:
        console.listen(event)

    assert streams[1].written.splitlines() == [
        "create queue q …",
        "waiting for q: soon",
        "note",
        "warning: careful",
        "create queue q: done",
    ]
    assert streams[0].written == ""


def test_quiet_keeps_warnings_only(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = redirected(monkeypatch)
    console = Console(quiet=True)

    for event in EVENTS:
        console.listen(event)

    assert streams[1].written == "warning: careful\n"


def test_on_a_terminal_what_began_gives_way_to_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    err = Stream(terminal=True)
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setenv("TERM", "xterm")
    console = Console()

    console.listen(EVENTS[0])
    console.listen(EVENTS[-1])
    console.listen(EVENTS[0])
    console.close()

    begun, erased = "\r\x1b[Kcreate queue q …", "\r\x1b[K"
    assert err.written == f"{begun}{erased}create queue q: \x1b[32mdone\x1b[0m\n{begun}{erased}"


def test_a_live_line_never_takes_two(monkeypatch: pytest.MonkeyPatch) -> None:
    err = Stream(terminal=True)
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "20")
    Console().live("group " + "漢字" * 10)

    assert display_width(err.written.removeprefix("\r\x1b[K")) < 20


@pytest.mark.parametrize(
    ("terminal", "no_color", "environment", "color"),
    [
        (True, False, {}, True),
        (True, True, {}, False),
        (True, False, {"NO_COLOR": "1"}, False),
        (True, False, {"NO_COLOR": ""}, True),
        (True, False, {"TERM": "dumb"}, False),
        (False, False, {}, False),
    ],
)
def test_colours_are_for_terminals_that_want_them(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, no_color: bool, environment: dict[str, str], color: bool
) -> None:
    monkeypatch.setattr(sys, "stdout", Stream(terminal=terminal))
    monkeypatch.setattr(sys, "stderr", Stream(terminal=terminal))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    console = Console(no_color=no_color)

    assert (console.color, console.error_color) == (color, color)


def test_only_a_terminal_has_a_width_and_a_height(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "123")
    monkeypatch.setenv("LINES", "45")
    monkeypatch.setattr(sys, "stdout", Stream(terminal=True))
    assert (Console().width, Console().height) == (123, 45)
    monkeypatch.setattr(sys, "stdout", Stream())
    assert (Console().width, Console().height) == (None, None)


def test_lines_of_several_threads_are_not_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = redirected(monkeypatch)
    console = Console()

    def tell(text: str) -> None:
        for _ in range(50):
            console.message(text)

    threads = [threading.Thread(target=tell, args=(letter * 100,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    lines = streams[1].written.splitlines()
    assert len(lines) == 200
    assert all(len(set(line)) == 1 and len(line) == 100 for line in lines)


def test_a_pipe_that_breaks_under_a_real_stdout_leaves_nothing_to_complain_at_exit() -> None:

    code = (
        "import sys; from fifo_cli.cli.console import Console; from fifo_cli.cli import console\n"
        "Console().result(('x' * 100000 for _ in range(100)), data=True)\n"
        "print('after')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert (process.wait(60), process.stderr.read()) == (0, b"")
