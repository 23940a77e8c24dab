"""No key leaves by a log, a print, a warning or a traceback, whatever the user's code switches on."""

# ruff: noqa: T201 - what is printed is what is tested

from __future__ import annotations

import io
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from fifo_cli.handlers.guarded_output import guard_logs, guard_streams
from fifo_cli.handlers.json_log import stdout_journal
from fifo_cli.handlers.redaction import WITHHELD, Redactor
from tests.unit.handlers.guarded_streams import guarded_streams

SECRET = 's3cr3t/Key+with=Some&Odd "Parts"-9f8e7d'
ENDING = "9f8e7d"


def redact(text: str) -> str:
    redactor = Redactor()
    redactor.add(SECRET)
    return redactor.long(text)


LOGGERS = ("botocore", "botocore.parsers", "urllib3.connectionpool", "httpx", "httpcore.http11", "boto3")


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream, before = io.StringIO(), logging.getLogRecordFactory()
    root = logging.getLogger()
    handler, level = logging.StreamHandler(stream), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)
    logging.setLogRecordFactory(before)


def test_what_a_library_logs_holds_no_secret_whatever_user_code_switches_on(log: io.StringIO) -> None:
    guard_logs(redact)
    guard_logs(redact)
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.DEBUG)
        logging.getLogger(name).debug("Response body: %s", {"Value": SECRET})
        logging.getLogger(name).info("HTTP Request: GET https://example.com/?key=%s", SECRET)
    logging.getLogger("orders").debug("my own: %s", "fine")
    lines = log.getvalue().splitlines()
    assert lines[0] == WITHHELD
    assert ENDING not in log.getvalue()
    assert lines[-1] == "my own: fine"
    assert sum(line.startswith("HTTP Request: GET https://example.com/?key=") for line in lines) == len(
        LOGGERS
    )
    assert all(first != second for first, second in pairwise(lines))


def test_a_record_of_any_logger_shows_no_key(log: io.StringIO) -> None:
    guard_logs(redact)
    mine = logging.getLogger("orders.api")
    mine.info("calling with %r", {"Authorization": f"Bearer {SECRET}"})
    mine.info(SECRET.encode().hex())
    mine.info("as it is: %d", 7)
    try:
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            error.add_note(f"it was {SECRET}")
            raise ExceptionGroup("all failed", [ValueError(SECRET), OSError(f"/{SECRET}")]) from error
    except ExceptionGroup:
        mine.exception("failed")
    assert ENDING not in log.getvalue()
    assert WITHHELD in log.getvalue()
    assert "as it is: 7" in log.getvalue()
    assert "ExceptionGroup: all failed (2 sub-exceptions)" in log.getvalue()


def test_what_holds_no_key_is_logged_as_python_would(log: io.StringIO) -> None:
    guard_logs(redact)
    try:
        1 / 0  # noqa: B018 - it raises
    except ZeroDivisionError:
        logging.getLogger("mine").exception("%s failed", "it")
    assert log.getvalue() == "it failed\n" + traceback_of(
        ZeroDivisionError("division by zero"), log.getvalue()
    )


def traceback_of(error: Exception, text: str) -> str:
    assert text.rstrip().endswith(f"{type(error).__name__}: {error}")
    return text.partition("\n")[2]


def test_a_record_whose_arguments_do_not_fit_is_reported_by_logging_itself(
    log: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    guard_logs(redact)
    with guarded_streams(redact):
        record = logging.makeLogRecord({"msg": "%s and %s", "args": (SECRET,)})
        logging.StreamHandler().emit(record)
    assert "not enough arguments" in (err := capsys.readouterr().err)
    assert ENDING not in err


def _thread_that_raises() -> None:
    def work() -> None:
        raise RuntimeError(f"no answer to {SECRET}")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def _raised() -> RuntimeError:
    error = RuntimeError(SECRET)
    error.add_note(SECRET)
    return error


class _Unraisable:
    def __del__(self) -> None:
        raise ValueError(SECRET)


WAYS: dict[str, Callable[[], Any]] = {
    "print": lambda: print("the key is", SECRET),
    "print of bytes": lambda: print(SECRET.encode()),
    "print to stderr": lambda: print({"key": SECRET}, file=sys.stderr),
    "write": lambda: sys.stdout.write(f"{SECRET}\n"),
    "writelines": lambda: sys.stderr.writelines([f"{SECRET}\n", "more\n"]),
    "a thread's traceback": _thread_that_raises,
    "sys.excepthook": lambda: sys.excepthook(RuntimeError, _raised(), None),
    "traceback.print_exception": lambda: traceback.print_exception(_raised()),
    "an exception in __del__": _Unraisable,
    "a long line": lambda: print("x" * 3_990 + SECRET + "y" * 9_000),
    "a long line, encoded": lambda: print("x" * 3_950 + SECRET.encode().hex() + " y" * 9_000),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_no_way_out_of_python_shows_a_key(
    way: Callable[[], Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    with guarded_streams(redact):
        way()
    out, err = capsys.readouterr()
    assert out or err
    for text in (SECRET, SECRET.encode().hex()):
        assert not any(text[at : at + 7] in out + err for at in range(len(text) - 6))


def test_the_streams_that_python_began_with_show_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "__stdout__", out)
    monkeypatch.setattr(sys, "__stderr__", err)
    with guarded_streams(redact):
        for stream in (sys.__stdout__, sys.__stderr__):
            assert stream is not None
            stream.write(f"the key is {SECRET}\n")
            print(SECRET.encode().hex(), file=stream)
            logging.StreamHandler(stream).stream.write(SECRET)
    after: list[object] = [sys.__stdout__, sys.__stderr__]
    assert after == [out, err]
    for text in (out.getvalue(), err.getvalue()):
        assert "the key is ***" in text
        assert SECRET not in text
        assert ENDING.encode().hex() not in text


def test_what_holds_no_key_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    text = "".join(f"line {n}: nothing to hide\n" for n in range(1_000))
    with guarded_streams(redact):
        print(text, end="")
        assert sys.stdout.isatty() is False
        stdout_journal("info", "delivered", group="g")
    out, _ = capsys.readouterr()
    assert out.startswith(text)
    assert '"message": "delivered"' in out


def test_streams_are_guarded_once_and_only_inside(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    with guarded_streams(str.upper):
        guard_streams(lambda text: text.replace("a", "b"))
        print("a")
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr().out == "b\n"
