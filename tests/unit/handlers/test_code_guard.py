"""The user's code is held to its message: it may raise, hang, exit or take all memory there is."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import itertools
import json
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from botocore.exceptions import ClientError

from fifo_cli.handlers.call_thread import CallThread, TimeUpError
from fifo_cli.handlers.code_guard import CodeGuard, Notes, function_notes, load_noted, memory_bounded
from fifo_cli.handlers.failure import ApiUnavailableError, ConfigurationError, MessageError
from fifo_cli.handlers.runtime import UserCodeError

# Seconds for code that returns, on a busy machine too; and for code that does not.
LIMIT: Final = 60
SHORT: Final = 0.05


def guard(folder: Path, *, calls_network: bool = True, **options: Any) -> CodeGuard:
    return CodeGuard("mine:code", Notes(folder), limit=LIMIT, calls_network=calls_network, **options)


def loop() -> None:
    while True:
        pass


def run_over(made: CodeGuard, subject: str, work: Callable[[], object] = loop) -> None:
    """Run code that does not return, for a short time."""
    made.limit, limit = SHORT, made.limit
    try:
        made.run(subject, work)
    finally:
        made.limit = limit


def test_what_the_code_returns_is_returned_and_no_note_stays(tmp_path):
    assert guard(tmp_path).run("m1", lambda: 7) == 7
    assert list(tmp_path.iterdir()) == []


def test_a_note_is_there_while_the_code_runs_and_only_its_owner_may_read_it(tmp_path):
    seen: list[int] = []

    def look() -> None:
        seen.extend(stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "notes").iterdir())

    guard(tmp_path / "notes").run("m1", look)
    assert seen == [0o600]
    assert stat.S_IMODE((tmp_path / "notes").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("error", "owner"),
    [
        (ValueError("no"), MessageError),
        (SystemExit(3), MessageError),
        (GeneratorExit(), MessageError),
        (KeyboardInterrupt(), MessageError),
        (asyncio.CancelledError(), MessageError),
        (MemoryError(), MessageError),
        (ClientError({"Error": {"Code": "Denied"}}, "GetItem"), MessageError),
        (type("Own", (BaseException,), {})(), MessageError),
        (httpx.ConnectError("refused"), ApiUnavailableError),
        (ConnectionResetError(), ApiUnavailableError),
        (TimeoutError(), ApiUnavailableError),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_whatever_the_code_raises_has_an_owner(tmp_path, error, owner):
    def fail() -> None:
        raise error

    made = guard(tmp_path)
    with pytest.raises(owner, match=f"mine:code raised {type(error).__name__}"):
        made.run("m1", fail)
    assert made.run("m2", lambda: 1) == 1
    assert list(tmp_path.iterdir()) == []


def test_our_own_exceptions_pass(tmp_path):
    def fail() -> None:
        raise ConfigurationError("key a", "unusable")

    with pytest.raises(ConfigurationError):
        guard(tmp_path).run("m1", fail)


def test_a_loop_in_code_without_network_is_its_records_fault_and_stays_so(tmp_path):
    made = guard(tmp_path, calls_network=False)
    with pytest.raises(MessageError, match=r"mine:code did not return within 0\.05 s"):
        run_over(made, "e1")
    assert made.run("e2", lambda: 2) == 2
    # A process that starts again does not run it again.
    with pytest.raises(MessageError, match="did not return"):
        guard(tmp_path, calls_network=False).run("e1", lambda: 1)


def test_a_loop_of_one_message_parks_it_the_second_time(tmp_path):
    made = guard(tmp_path)
    with pytest.raises(ApiUnavailableError, match="did not return within"):
        run_over(made, "m1")
    assert made.run("m2", lambda: 2) == 2
    with pytest.raises(MessageError, match="did not return within"):
        run_over(guard(tmp_path), "m1")


def test_an_outage_that_is_over_excuses_no_later_loop(tmp_path):
    for number in range(2):
        with pytest.raises(ApiUnavailableError):
            run_over(guard(tmp_path), f"m{number}")
    assert guard(tmp_path).run("m2", lambda: 2) == 2
    # Each in a process of its own, and nothing else is there that could return.
    with pytest.raises(ApiUnavailableError):
        run_over(guard(tmp_path), "m3")
    with pytest.raises(MessageError):
        run_over(guard(tmp_path), "m3")


def test_several_groups_in_a_row_over_the_limit_are_an_outage_however_often(tmp_path):
    for _ in range(3):
        made = guard(tmp_path)
        for number in range(2):
            with pytest.raises(ApiUnavailableError):
                run_over(made, f"m{number}")
    for number in range(2):
        assert made.run(f"m{number}", lambda: 1) == 1
    assert list(tmp_path.iterdir()) == []


class RunningCode:
    """A process of the user's code that goes on however long."""

    def start(self) -> RunningCode:
        return self

    def end(self) -> None:
        pass

    def close(self) -> None:
        pass

    def stands_still(self) -> bool:
        return False


def refusals(made: CodeGuard, work: Callable[[], object], group: str = "m") -> list[str]:
    said = []
    for number in range(6):
        with pytest.raises(ApiUnavailableError) as caught:
            run_over(made, f"{group}{number}", work)
        said.append(str(caught.value))
    return said


def test_a_command_gives_code_that_never_returns_less_time_until_it_returns(tmp_path, monkeypatch):
    """A drain of many groups would take the limit for each; a function's run ends with its time."""
    monkeypatch.setattr("fifo_cli.handlers.code_guard._SHORT_SECONDS", SHORT / 2)
    notes, short = Notes(tmp_path), "did not return before the time it had after"
    over = threading.Event()
    own = CodeGuard("mine:code", notes, limit=LIMIT, calls_network=True, process=RunningCode())
    assert [short in one for one in refusals(own, over.wait)] == [False] * 3 + [True] * 3
    with monkeypatch.context() as patient:
        patient.setattr("fifo_cli.handlers.code_guard._SHORT_SECONDS", LIMIT)
        assert own.run("good", lambda: "delivered all the same") == "delivered all the same"
    assert [short in one for one in refusals(own, over.wait, "n")] == [False] * 3 + [True] * 3
    over.set()
    function = guard(tmp_path / "function")
    assert not any(short in one for one in refusals(function, loop))


def test_in_one_group_at_most_one_message_is_taken_for_the_cause_of_an_outage(tmp_path):
    made = guard(tmp_path)
    parked = []
    for number in range(3):
        for _ in range(3):
            try:
                run_over(made, f"m{number}")
            except MessageError:
                parked.append(number)
                break
            except ApiUnavailableError:
                continue
    assert len(parked) == 1


def test_what_is_left_of_the_run_limits_the_code_too_and_blames_nobody(tmp_path):
    made = guard(tmp_path)
    for _ in range(3):
        with pytest.raises(ApiUnavailableError, match="before the run's time was over"):
            made.run("m1", loop, seconds=0.01)


def test_a_stopped_thread_ends_and_one_that_cannot_be_stopped_is_left_alone():
    thread = CallThread()
    working = thread.call(threading.current_thread, 60)
    with pytest.raises(TimeUpError):
        thread.call(loop, 0.05, stop=True)
    working.join(60)
    assert not working.is_alive()
    gate = threading.Event()
    with pytest.raises(TimeUpError):
        thread.call(gate.wait, 0.05, stop=True)
    assert thread.call(lambda: 3, 60) == 3
    gate.set()
    thread.close()


DYING: Final = """
import os, signal, sys, time
from pathlib import Path
from fifo_cli.handlers import standard_files
from fifo_cli.handlers.code_guard import CodeGuard, Notes
from fifo_cli.handlers.failure import MessageError
import threading
standard_files.keep()
class Guard(CodeGuard):  # with a short limit for the one that hangs
    limit = property(lambda self: 1 if threading.current_thread().name == "bad" else 60, lambda *_: None)
made = Guard("mine:code", Notes(Path(sys.argv[1])), limit=60, calls_network=True)
def handle(name):
    threading.current_thread().name = name
    try:
        made.run(name, {code})
    except MessageError as error:
        os.write(1, f"parked {{name}} {{error}}\\n".encode())
    else:
        os.write(1, f"delivered {{name}}\\n".encode())
{run}
"""
DEATHS: Final = {
    "exit": "lambda: name == 'bad' and os._exit(3)",
    "killed": "lambda: name == 'bad' and os.kill(os.getpid(), signal.SIGKILL)",
    "segfault": "lambda: name == 'bad' and __import__('ctypes').string_at(0)",
    "abort": "lambda: name == 'bad' and os.abort()",
    "closes all files": "lambda: name == 'bad' and os.closerange(0, 50)",
    "closes all files, and raises": "lambda: name == 'bad' and (os.closerange(0, 50), 1 / 0)",
    "closes all files, and hangs": "lambda: name == 'bad' and (os.closerange(0, 50), time.sleep(600))",
    "closes what is not standard": "lambda: name == 'bad' and os.closerange(3, 50)",
    "puts others there": "lambda: name == 'bad' and [os.dup2(os.pipe()[0], n) for n in range(3, 50)]",
}
ONE_BY_ONE: Final = "for name in sys.argv[2:]: handle(name)"
AT_ONCE: Final = """
gate = threading.Barrier(len(sys.argv[2:]))
def start(name):
    gate.wait()
    handle(name)
threads = [threading.Thread(target=start, args=(name,)) for name in sys.argv[2:]]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


def died(folder: Path, code: str, run: str, names: list[str]) -> list[str]:
    program = DYING.format(code=code, run=run)
    words = [sys.executable, "-c", program, str(folder), *names]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False).stdout.splitlines()


@pytest.mark.parametrize("run", [ONE_BY_ONE, AT_ONCE], ids=["one by one", "at once"])
@pytest.mark.parametrize("kind", DEATHS)
def test_code_that_ends_the_process_parks_its_message_and_no_other(tmp_path, kind, run):
    waiting = ["a", "b", "bad", "c", "d"]
    fates: dict[str, str] = {}
    for _ in range(5):
        for line in died(tmp_path, DEATHS[kind], run, waiting):
            fate, name, *reason = line.split(" ", 2)
            fates[name] = fate
            if fate == "parked":
                assert "the process ended 2 times while mine:code handled this one" in reason[0]
        waiting = [name for name in waiting if name not in fates]
    assert fates == {"a": "delivered", "b": "delivered", "bad": "parked", "c": "delivered", "d": "delivered"}


@pytest.mark.parametrize("deed", ["os.closerange(0, 3)", "sys.stderr.close(); os.close(2)", "os.close(0)"])
def test_code_that_closes_standard_files_costs_no_message(tmp_path, deed):
    code = f"lambda: (os.fstat(0), os.fstat(1), os.write(2, b'x'), name == 'bad' and exec({deed!r}))"
    assert died(tmp_path, code, ONE_BY_ONE, ["a", "bad", "b"]) == [
        f"delivered {name}" for name in ("a", "bad", "b")
    ]


def test_a_process_that_was_asked_to_stop_blames_no_message(tmp_path):
    asked = threading.Event()
    made = CodeGuard("mine:code", Notes(tmp_path), limit=LIMIT, calls_network=True, stopped=asked.is_set)
    seen: list[bool] = []

    def slow() -> None:
        asked.set()
        until = time.monotonic() + 30
        while time.monotonic() < until and not seen:
            (path,) = tmp_path.iterdir()
            # While it is written it is not JSON.
            with contextlib.suppress(json.JSONDecodeError):
                if not json.loads(path.read_text())["running"]:
                    seen.append(True)

    made.run("m1", slow)
    assert seen == [True]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"x": 1}', b"\xff", b"null"])
def test_a_note_that_cannot_be_read_does_no_harm(tmp_path, content):
    made = guard(tmp_path)
    made.run("m1", lambda: [path.write_bytes(content) for path in tmp_path.iterdir()])
    (tmp_path / "x").write_bytes(content)
    assert guard(tmp_path).run("m1", lambda: 1) == 1


def writable(folder: Path, mode: int) -> None:
    folder.mkdir()
    folder.chmod(mode)


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: folder.write_text("a file"),
        lambda folder: folder.symlink_to(folder.parent),
        lambda folder: writable(folder, 0o777),
        lambda folder: writable(folder, 0o720),
    ],
    ids=["a file", "a link", "writable by all", "writable by its group"],
)
def test_a_folder_that_others_may_write_is_not_used(tmp_path, make):
    folder = tmp_path / "notes"
    make(folder)
    seen: list[Path] = []
    guard(folder).run("m1", lambda: seen.extend(folder.glob("*")))
    assert [path for path in seen if path != folder / "notes"] == []


def test_notes_lie_where_the_functions_temporary_files_go(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert function_notes("worker").parent == tmp_path
    monkeypatch.delenv("TMPDIR")
    assert function_notes("worker").parent == Path("/tmp")


def test_functions_and_versions_have_their_own_notes(monkeypatch):
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_VERSION", "1")
    first = function_notes("worker", "http://127.0.0.1:1/q")
    assert first == function_notes("worker", "http://127.0.0.1:1/q")
    assert first != function_notes("worker", "http://127.0.0.1:2/q")
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_VERSION", "2")
    assert first != function_notes("worker", "http://127.0.0.1:1/q")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the bound needs Linux")
def test_memory_without_end_fails_where_the_machine_has_more(tmp_path):
    program = """
import sys
from pathlib import Path
from fifo_cli.handlers.code_guard import CodeGuard, Notes, memory_bounded
from fifo_cli.handlers.failure import MessageError
made = CodeGuard("mine:code", Notes(Path(sys.argv[1])), limit=60, calls_network=True)
def take():
    kept = []
    while True:
        kept.append(bytearray(50_000_000))
with memory_bounded(256, threads=4):
    try:
        made.run("bad", take)
    except MessageError as error:
        print(error)
    print(made.run("good", lambda: len(bytearray(200_000_000))))
"""
    words = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == ["mine:code raised MemoryError", "200000000"], done.stderr


def test_the_bound_on_memory_ends_with_its_block():
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    with memory_bounded(128, threads=1):
        pass
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    (tmp_path / "code").mkdir()

    def write(text: str) -> str:
        name = f"mine_{next(_MODULES)}"
        (tmp_path / "code" / f"{name}.py").write_text(text)
        return f"{name}:run"

    return write


_MODULES = itertools.count()


def test_an_end_of_the_process_at_import_is_named_once_and_only_of_the_same_code(tmp_path, module):
    notes, reference = Notes(tmp_path / "notes"), module("import os\ndef run(): ...\nos._exit(3)\n")
    folders = [str(tmp_path / "notes"), str(tmp_path / "code"), str(Path(__file__).parents[3])]
    script = (
        "import sys; sys.path[:0] = sys.argv[2:]\nfrom pathlib import Path\n"
        "from fifo_cli.handlers.code_guard import Notes, load_noted\n"
        f"load_noted({reference!r}, Notes(Path(sys.argv[1])), limit=30)\n"
    )
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", script, *folders], check=False).returncode == 3
        with pytest.raises(UserCodeError, match=r"the process ended while it was imported"):
            load_noted(reference, notes, limit=30)
    assert subprocess.run([sys.executable, "-c", script, *folders], check=False).returncode == 3
    path = tmp_path / "code" / f"{reference.partition(':')[0]}.py"
    path.write_text("def run(): ...\n")
    importlib.invalidate_caches()
    assert callable(load_noted(reference, notes, limit=30))


@pytest.mark.parametrize(
    "text", ["raise SystemExit(3)", "raise KeyboardInterrupt", "def other(): ...", "run = 3"]
)
def test_a_module_that_cannot_be_loaded_is_a_fault_of_configuration(tmp_path, module, text):
    with pytest.raises(UserCodeError):
        load_noted(module(text), Notes(tmp_path / "notes"), limit=30)
    assert not list((tmp_path / "notes").iterdir())
