"""The user's code in a process of its own: nothing it does reaches the program or another message."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from fifo_cli.handlers import exact_json
from fifo_cli.handlers.code_guard import CodeGuard, Notes
from fifo_cli.handlers.failure import ApiUnavailableError, MessageError
from fifo_cli.handlers.runtime import UserCodeError
from fifo_cli.operations.code_process import CodeProcess, CodeSetup, _Child
from fifo_cli.operations.queues.drain import _request_by

pytestmark = pytest.mark.slow  # each starts processes, and some wait for a limit
MODULE: Final = """
import atexit, ctypes, decimal, gc, json, locale, os, resource, signal, sys, threading, time
import httpx

def code(item, attributes=None, keys=None):
    if item["id"] == 4:
        {deed}
    if attributes is not None:
        return httpx.Request("POST", "http://127.0.0.1:9/", json=item)
    return item
"""
LIMIT: Final = 2.0
_NUMBERS = itertools.count()
STILL: Final = "all of its Python stood still"
ENDED: Final = "the process ended 2 times while {name} handled this one ({how}): the code exits"
# What the code does for the fourth of six, and how the reason begins; None: it is delivered like the others.
DEEDS: Final = {
    "exit": ("os._exit(3)", "exit code 3"),
    "exit 0": ("os._exit(0)", "exit code 0"),
    "kill": ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
    "terminate": ("os.kill(os.getpid(), signal.SIGTERM)", "SIGTERM"),
    "kill the group": ("os.killpg(0, signal.SIGKILL)", "SIGKILL"),
    "abort": ("os.abort()", "SIGABRT"),
    "segfault": ("ctypes.string_at(0)", "SIGSEGV"),
    "exec": ("os.execv(sys.executable, [sys.executable, '-c', 'pass'])", "exit code 0"),
    "close all files": ("os.closerange(0, 4096)", "it closed the files of its process"),
    "exec something that goes on": (
        "os.execv(sys.executable, [sys.executable, '-c', 'import time; time.sleep(60)'])",
        "it closed the files of its process",
    ),
    "a file over another": (
        "[os.dup2(2, n) for n in range(3, 64)]",
        "it closed the files of its process",
    ),
    "loop": ("while True: pass", "TIME"),
    "regular expression": ("import re; re.fullmatch('(a|aa)+', 'a' * 200 + 'b')", STILL),
    # The signal may stop another thread first: the call is still there when this one stops.
    "stop": ("os.kill(os.getpid(), signal.SIGSTOP); time.sleep(60)", STILL),
    "alarm": ("signal.alarm(1); time.sleep(60)", "SIGALRM"),
    "exit function": ("atexit.register(sys.exit, 3)", None),
    "stdout": ("sys.stdout.close(); sys.stdout = None", None),
    "write to stdout": ("os.write(1, b'{}'); print('[]'); os.system('echo out')", None),
    "descriptor 1": ("os.dup2(os.open('/dev/null', os.O_RDWR), 1)", None),
    "fork": ("os.fork()", None),
    "fork that stays": ("os.fork() or time.sleep(60)", None),
    "thread that stays": ("threading.Thread(target=time.sleep, args=(60,)).start()", None),
    "chdir": ("os.chdir('/')", None),
    "no files": ("resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))", None),
    "decimal": ("decimal.getcontext().prec = 1; decimal.DefaultContext.prec = 1", None),
    "json": ("json.JSONEncoder.default = lambda self, o: 'x'", None),
    "gc": ("gc.disable(); gc.freeze()", None),
    "recursion": ("sys.setrecursionlimit(50)", None),
    "locale": ("locale.setlocale(locale.LC_ALL, 'C')", None),
    "environment": ("os.environ.clear()", None),
    "umask": ("os.umask(0o777)", None),
    "session": ("os.nice(5)", None),
}


class Bench:
    """A module of the user's, its process, and the guard that calls it."""

    def __init__(self, folder: Path, text: str, *, calls_network: bool = False, threads: int = 1) -> None:
        name = f"mine_{next(_NUMBERS)}"
        (folder / f"{name}.py").write_text(text)
        self.name = f"{name}:code"
        setup = CodeSetup(self.name, (str(folder),), calls_network, LIMIT, 128, threads)
        self.process = CodeProcess(setup)
        self.guard = CodeGuard(
            self.name, Notes(folder / "notes"), limit=LIMIT, calls_network=calls_network, process=self.process
        )

    def run(self, number: int) -> Any:
        value = {"id": number, "n": Decimal("0.1234567890123456789")}
        call = partial(self.process.call, exact_json.dumps(value))
        return self.guard.run(f"m{number}", call)

    def request(self, number: int) -> httpx.Request:
        call = partial(_request_by, self.process, {"id": number}, {"b": b"\xff", "s": "x"}, {"key": "secret"})
        made = self.guard.run(f"m{number}", call)
        made.read()
        return made


Make = Callable[..., Bench]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    # Only a process that has not answered for all of LIMIT is asked whether it stands still.
    monkeypatch.setattr("fifo_cli.operations.code_process._PONG_SECONDS", 0.5)
    made: list[Bench] = []

    def make(text: str, **options: Any) -> Bench:
        made.append(Bench(tmp_path, text, **options))
        return made[-1]

    yield make
    for each in made:
        each.guard.close()


def expected(name: str, how: str) -> str:
    return f"{name} did not return within {LIMIT:g} s" if how == "TIME" else ENDED.format(name=name, how=how)


@pytest.mark.parametrize(("deed", "how"), DEEDS.values(), ids=DEEDS)
def test_whatever_code_does_for_one_record_is_that_records_failure_alone(bench, capfd, deed, how):
    made: Bench = bench(MODULE.format(deed=deed))
    before = os.getcwd(), sorted(os.listdir("/proc/self/fd"))[:3]
    for number in range(1, 7):
        if number == 4 and how is not None:
            with pytest.raises(MessageError) as caught:
                made.run(number)
            assert str(caught.value).startswith(expected(made.name, how))
        else:
            assert made.run(number) == f'{{"id":{number},"n":0.1234567890123456789}}'
    made.guard.close()
    assert (os.getcwd(), sorted(os.listdir("/proc/self/fd"))[:3]) == before
    out, err = capfd.readouterr()
    assert out == ""
    assert "Traceback" not in err


@pytest.mark.parametrize("name", ["exit", "segfault", "close all files", "fork", "no files", "recursion"])
def test_the_same_for_requests(bench, name):
    deed, how = DEEDS[name]
    made: Bench = bench(MODULE.format(deed=deed), calls_network=True)
    for number in (3, 4, 5):
        if number == 4 and how is not None:
            with pytest.raises(MessageError) as caught:
                made.request(number)
            assert str(caught.value).startswith(expected(made.name, how))
        else:
            assert made.request(number).content == f'{{"id":{number}}}'.encode()


@pytest.mark.parametrize("deed", ["os.closerange(0, 3)", "sys.stdout.close(); os.close(1)", "os.close(2)"])
def test_after_code_closed_standard_files_the_next_one_still_prints(bench, deed):
    text = MODULE.format(deed=deed).replace(
        "def code(", "def code(*given):\n{each}    return made(*given)\n\ndef made("
    )
    made: Bench = bench(text.format(each="    os.fstat(0)\n    print(1)\n    print(2, file=sys.stderr)\n"))
    assert all(made.run(number) for number in range(1, 7))


def test_code_that_closes_many_files_is_to_blame_where_the_connection_is_not_among_them(bench):
    """Its number is that of this process's end, which is high where much is open."""
    kept = [os.open(os.devnull, os.O_RDONLY) for _ in range(60)]
    made: Bench = bench(MODULE.format(deed="os.closerange(0, 50)"))
    for number in (3, 5, 4, 6):
        if number == 4:
            with pytest.raises(MessageError, match="it closed the files of its process"):
                made.run(number)
        else:
            assert made.run(number)
    for descriptor in kept:
        os.close(descriptor)


def fates(made: Bench, count: int) -> list[str]:
    """Return what becomes of ``count`` items at a time."""

    def run(number: int) -> str:
        with suppress(MessageError):
            return made.run(number) and "good"
        return "parked"

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_of_many_at_a_time_only_the_one_that_ends_the_process_is_to_blame(bench):
    slow = (
        "import os, time\ndef code(item):\n    time.sleep(0.1)\n"
        "    if item['id'] == 4: os._exit(1)\n    return item"
    )
    made: Bench = bench(slow, threads=6)

    def run(number: int) -> object:
        try:
            return made.run(number) is not None
        except MessageError as error:
            return str(error)

    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(run, range(6)))
    assert [number for number, result in enumerate(results) if result is not True] == [4]
    assert str(results[4]).startswith(ENDED.format(name=made.name, how="exit code 1"))


def test_of_many_at_a_time_only_the_one_that_takes_all_memory_is_to_blame(bench):
    text = (
        "import time\ndef code(item):\n    kept = [bytes(50_000_000)] if item['id'] else []\n"
        "    while item['id'] == 0: kept.append(bytes(20_000_000))\n"
        "    for _ in range(4): time.sleep(0.05); kept.append(bytes(20_000_000))\n    return item"
    )
    made: Bench = bench(text, threads=4)
    assert fates(made, 4) == ["parked", "good", "good", "good"]


def test_code_that_hangs_stops_nothing_that_runs_beside_it(bench):
    text = (
        "import re\ndef code(item):\n"
        "    if item['id'] == 0: re.fullmatch('(a|aa)+', 'a' * 200 + 'b')\n    return item"
    )
    made: Bench = bench(text, threads=3)
    assert fates(made, 3) == ["parked", "good", "good"]


def test_a_process_that_stood_still_gets_no_call_more(bench):
    made: Bench = bench(MODULE.format(deed="pass"))
    child = made.process.start()
    assert isinstance(child, _Child)
    os.kill(child._process.pid, signal.SIGSTOP)
    assert child.stands_still()
    # Its end may not have been noticed yet. A message that met it would be the next to be blamed for it.
    assert made.process.start() is not child
    assert made.run(1)


REQUESTS: Final = {
    "json": "httpx.Request('POST', 'https://a.test/x', json={'a': 1.5})",
    "bytes": r"httpx.Request('PUT', 'https://a.test/', content=bytes(range(256)))",
    "none": "httpx.Request('GET', 'https://a.test/a%20b?q=%C3%A9&r=ä#f')",
    "iterator": "httpx.Request('POST', 'https://a.test', content=iter([b'ab', b'c']))",
    "form": "httpx.Request('POST', 'https://a.test', data={'a': 'b c'})",
    "files": "httpx.Request('POST', 'https://a.test', files={'f': b'x'})",
    "two headers": "httpx.Request('GET', 'https://a.test', headers=[('A', '1'), ('a', '2')])",
    "header bytes": r"httpx.Request('GET', 'https://a.test', headers=[(b'X', b'\xe4')])",
    "keys": "httpx.Request('GET', 'https://a.test', headers={'A': keys['key']})",
    "attributes": "httpx.Request('PUT', 'https://a.test', content=attributes['b'] + b'x')",
    "user": "httpx.Request('GET', 'https://me:pw@a.test/')",
    "idn": "httpx.Request('GET', 'https://bücher.test:8443/')",
    "extension": "httpx.Request('GET', 'https://a.test', extensions={'sni_hostname': 'b.test'})",
    "subclass": "type('Own', (httpx.Request,), {})('GET', 'https://a.test')",
}


@pytest.mark.parametrize("text", REQUESTS.values(), ids=REQUESTS)
def test_a_request_arrives_as_it_was_made(bench, text):
    made: Bench = bench(
        f"import httpx\ndef code(body, attributes, keys):\n    return {text}", calls_network=True
    )
    names = {"httpx": httpx, "keys": {"key": "secret"}, "attributes": {"b": b"\xff", "s": "x"}}
    wanted: httpx.Request = eval(text, names)
    wanted.read()
    got = made.request(1)
    assert (got.method, got.url, got.headers.raw[0]) == (wanted.method, wanted.url, wanted.headers.raw[0])
    if text != REQUESTS["files"]:  # whose boundary is random
        assert got.headers.raw == wanted.headers.raw
        assert got.content == got.read() == wanted.content
    assert got.extensions == wanted.extensions


@pytest.mark.parametrize(
    ("text", "owner", "reason"),
    [
        ("raise ValueError('no')", MessageError, "raised ValueError: no"),
        ("raise KeyboardInterrupt", MessageError, "raised KeyboardInterrupt"),
        ("raise SystemExit(3)", MessageError, "raised SystemExit: 3"),
        ("raise ConnectionResetError('gone')", ApiUnavailableError, "raised ConnectionResetError: gone"),
        ("raise httpx.ConnectTimeout('slow')", ApiUnavailableError, "raised ConnectTimeout: slow"),
        ("return 3", MessageError, "returned int, not an httpx.Request"),
        ("return None", MessageError, "returned NoneType, not an httpx.Request"),
        ("yield 1", MessageError, "returned generator, not an httpx.Request"),
        ("return httpx.Request('POST', 'http://a', content=broken())", MessageError, "raised OSError: broke"),
        (
            "return httpx.Request('GET', 'http://a', headers={'A': 'ä€'})",
            MessageError,
            "raised UnicodeEncode",
        ),
        ("raise MemoryError", MessageError, "raised MemoryError"),
        ("raise type('Odd', (BaseException,), {'__str__': lambda s: 1 / 0})", MessageError, "raised Odd"),
        ("raise Exception('\\ud800')", MessageError, "raised Exception: \ud800"),
    ],
)
def test_a_failure_of_requests_keeps_its_owner_and_its_reason(bench, text, owner, reason):
    broken = "def broken():\n    yield b'a'\n    raise OSError('broke')\n"
    code = f"import httpx\n{broken}def code(body, attributes, keys):\n    {text}\n"
    with pytest.raises(owner) as caught:
        bench(code, calls_network=True).request(1)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("return None", None),
        ("return {'a': decimal.Decimal('1.50')}", '{"a":1.50}'),
        ("return 'ä\\u2028'", '"ä\u2028"'),
        ("return [1, 1.0, True, None, 10 ** 40]", f"[1,1.0,true,null,{10**40}]"),
        ("return {1: (2, 3)}", '{"1":[2,3]}'),
        ("return '\\ud800'", '"\\ud800"'),
        ("return item['n'] * 2", "0.2469135780246913578"),
        ("return {}", "{}"),
        ("return 0", "0"),
        ("return ''", '""'),
    ],
)
def test_a_body_is_written_as_the_function_on_aws_writes_it(bench, text, made):
    assert bench(f"import decimal\ndef code(item):\n    {text}").run(1) == made


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import os; os._exit(3)", r"the process ended while it was imported \(exit code 3\)"),
        ("import os; os.abort()", r"the process ended while it was imported \(SIGABRT\)"),
        ("import os; os.closerange(0, 4096)", "the process ended while it was imported"),
        ("import not_there", "cannot be loaded: ModuleNotFoundError"),
        ("raise SystemExit(3)", "cannot be loaded: SystemExit: 3"),
        ("raise KeyboardInterrupt", "cannot be loaded: KeyboardInterrupt"),
        ("import sys; sys.exit()", "cannot be loaded: SystemExit"),
        ("def", "cannot be loaded: SyntaxError"),
        ("code = 3", "is int, not a function"),
        ("", "cannot be loaded: AttributeError"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named_at_once(bench, capfd, text, reason):
    with pytest.raises(UserCodeError, match=reason):
        bench(text).process.start()
    assert "Traceback" not in capfd.readouterr().err


def test_an_import_that_hangs_ends_with_the_command(tmp_path: Path) -> None:
    (tmp_path / "hangs.py").write_text("while True: pass\n")
    setup = CodeSetup("hangs:code", (str(tmp_path),), False, LIMIT, 128)
    with pytest.raises(UserCodeError, match="the import was interrupted"):
        CodeProcess(setup, stopped=lambda: True).start()


@pytest.mark.parametrize("deed", ["os._exit(3)", "while True: pass"])
def test_code_that_was_fixed_is_tried_again(bench, deed):
    made: Bench = bench(MODULE.format(deed=deed))
    with pytest.raises(MessageError):
        made.run(4)
    assert bench(MODULE.format(deed="pass")).run(4)


def test_what_the_code_keeps_between_messages_is_kept(bench):
    made: Bench = bench("seen = []\ndef code(item):\n    seen.append(1)\n    return len(seen)")
    assert [made.run(number) for number in range(3)] == ["1", "2", "3"]


@pytest.mark.parametrize(
    "deed", ["pass", "threading.Thread(target=time.sleep, args=(60,)).start()", "os.fork()"]
)
def test_no_process_is_left(bench, deed):
    others = set(threading.enumerate())  # of earlier tests
    made: Bench = bench(MODULE.format(deed=deed))
    made.run(4)
    child = made.process._child
    assert child is not None
    began = time.monotonic()
    made.guard.close()
    assert time.monotonic() - began < 10
    assert child._process.poll() is not None
    deadline = time.monotonic() + 10
    while any(thread.name == "user code" for thread in set(threading.enumerate()) - others):
        assert time.monotonic() < deadline
        time.sleep(0.02)
