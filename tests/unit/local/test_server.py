"""What the stack's process changes of ministack: what outlives a restart, and what functions log."""

from __future__ import annotations

import importlib
import io
import os
import queue
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from fifo_cli.local.server import create_no_log_groups, keep_log_lines, keep_streams, move_queues


def _dynamodb(**state: Any) -> SimpleNamespace:
    """A module with the names of ministack 1.5.33's, which restores its tables but no stream records."""
    module = SimpleNamespace(tables={}, _stream_records={}, _stream_trimmed={}, _closed_streams={})
    module.__dict__.update(state)
    module.get_state = lambda: {"tables": dict(module.tables)}
    module.load_persisted_state = lambda data: module.tables.update(data["tables"])
    return module


def test_stream_records_are_saved_and_restored_with_the_tables():
    before = _dynamodb(
        tables={"t": {}},
        _stream_records={"t": [{"eventID": "1"}]},
        _stream_trimmed={"t": 4},
        _closed_streams={"arn": {"records": []}},
    )
    keep_streams(before)
    saved = before.get_state()
    before._stream_records["t"].append({"eventID": "2"})
    after = _dynamodb()
    keep_streams(after)
    after.load_persisted_state(saved)
    assert after.tables == {"t": {}}
    assert after._stream_records == {"t": [{"eventID": "1"}]}
    assert after._stream_trimmed == {"t": 4}
    assert after._closed_streams == {"arn": {"records": []}}


def test_a_state_saved_without_stream_records_is_still_restored():
    module = _dynamodb()
    keep_streams(module)
    module.load_persisted_state({"tables": {"t": {}}})
    assert (module.tables, module._stream_records) == ({"t": {}}, {})


def test_a_ministack_that_saves_its_stream_records_is_left_alone():
    module = _dynamodb()

    def own() -> dict[str, Any]:
        return {"stream_records": {}}

    module.get_state = own
    keep_streams(module)
    assert module.get_state is own


def test_queues_are_restored_under_the_urls_of_the_port_that_is_listened_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sqs: Any = importlib.import_module("ministack.services.sqs")
    for name in ("_queues", "_queue_name_to_url"):
        monkeypatch.setattr(sqs, name, type(getattr(sqs, name))())
    monkeypatch.setattr(sqs, "load_persisted_state", sqs.load_persisted_state)
    monkeypatch.setattr(sqs, "DEFAULT_PORT", "39547")
    place = ("000000000000", "eu-west-1")
    url = sqs._queue_url_for_account(place[0], "q.fifo")
    arn = f"arn:aws:sqs:{place[1]}:{place[0]}:q.fifo"
    queue = {"name": "q.fifo", "url": url, "attributes": {"QueueArn": arn}, "messages": ["m"]}
    sqs._queues.set_scoped(*place, url, queue)
    saved = sqs.get_state()
    sqs._queues.clear()
    monkeypatch.setattr(sqs, "DEFAULT_PORT", "4566")
    move_queues(sqs)

    sqs.load_persisted_state(saved)

    moved = url.replace("39547", "4566")
    assert sqs._queues.all_items() == [((*place, moved), {**queue, "url": moved})]
    assert sqs._queue_name_to_url.all_items() == [((*place, "q.fifo"), moved)]


class LaggingQueue(queue.Queue[str]):
    """The lines of a reader that the machine lets run only now and then."""

    def put(self, item: str, block: bool = True, timeout: float | None = None) -> None:
        time.sleep(0.02)
        super().put(item, block, timeout)


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, bool], dict[str, Any]]]:
    """Run the body of a handler in one of ministack's function processes, twice; return the first answer."""
    lambda_runtime: Any = importlib.import_module("ministack.core.lambda_runtime")
    monkeypatch.setattr(lambda_runtime, "queue", SimpleNamespace(Queue=LaggingQueue, Empty=queue.Empty))
    made: list[Any] = []
    processes: list[Any] = []

    def spawn(self: Any) -> None:
        lambda_runtime.Worker._spawn(self)
        processes.append(self._proc)

    function: Any = type("Function", (lambda_runtime.Worker,), {"_spawn": spawn})

    def run(body: str, patched: bool) -> dict[str, Any]:
        if patched:
            keep_log_lines(function)
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr(
                "mine.py", f"import os, subprocess, sys, time\ndef handler(event, context):\n    {body}\n"
            )
        config = {
            "FunctionName": "f",
            "FunctionArn": "arn:aws:lambda:us-west-2:123456789012:function:f",
            "Runtime": f"python3.{sys.version_info.minor}",
            "Handler": "mine.handler",
            "Timeout": 1,
        }
        made.append(function("f", config, code.getvalue()))
        return dict(made[-1].invoke({}, "request"))

    yield run
    for one in made:
        one.kill()
        one._stderr_thread.join()
    for process in processes:
        for pipe in (process.stdin, process.stdout, process.stderr):
            with suppress(BrokenPipeError):
                pipe.close()


LINES = "[print(f'line {n}') for n in range(20)]"


@pytest.mark.parametrize("ending", ["", "raise ValueError", "os._exit(3)", "time.sleep(9)"])
def test_all_that_a_function_printed_is_its_log_however_late_it_is_read(invoke, ending: str):
    log = invoke(f"{LINES}; {ending}" if ending else LINES, True)["log"]

    assert [line for line in log.splitlines() if line.startswith("line")] == [f"line {n}" for n in range(20)]


def test_a_line_that_does_not_end_is_a_line_once_the_function_is_gone(invoke):
    assert invoke("sys.stdout.write('half'); sys.stdout.flush(); os._exit(3)", True)["log"] == "half"


def test_a_child_that_prints_on_does_not_hold_up_the_answer(invoke, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fifo_cli.local.server._LOG_SECONDS_MAX", 0.2)
    code = "import time; [(print(1, flush=True), time.sleep(0.01)) for _ in range(60)]"
    child = f"subprocess.Popen([sys.executable, '-c', {code!r}], stdout=2); os._exit(3)"

    log = invoke(f"print('mine'); {child}", True)["log"]

    assert log.splitlines()[0] == "mine"


def test_a_function_that_is_replaced_while_its_log_is_waited_for_still_answers(
    monkeypatch: pytest.MonkeyPatch,
):
    class Function:
        def _drain_stderr(self) -> str:
            return "its log"

        _drain_stderr_bounded = _drain_stderr

    keep_log_lines(Function)
    reading, writing = os.pipe()
    with os.fdopen(reading) as pipe, os.fdopen(writing, "w") as printed:
        printed.write("a line\n")
        printed.flush()
        function: Any = Function()
        function._proc = SimpleNamespace(stderr=pipe)

        def replace(seconds: float) -> None:
            function._proc = None
            os.read(reading, 100)

        clock = SimpleNamespace(monotonic=time.monotonic, sleep=replace)
        monkeypatch.setattr("fifo_cli.local.server.time", clock)
        assert function._drain_stderr_bounded() == "its log"


def test_without_it_lines_are_lost(invoke):
    """The day this fails, ``keep_log_lines`` is not needed any more."""
    assert invoke(LINES, False)["log"].count("line") < 20


@pytest.fixture
def logging_functions(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Any]]:
    """ministack's modules of functions and of logs, without a log group."""
    functions = importlib.import_module("ministack.services.lambda_svc")
    logs = importlib.import_module("ministack.services.cloudwatch_logs")
    monkeypatch.setattr(functions, "_emit_lambda_logs", functions._emit_lambda_logs)
    logs._log_groups.clear()
    yield functions, logs
    logs._log_groups.clear()


@pytest.mark.parametrize("settings", [{}, {"LoggingConfig": {}}, {"LoggingConfig": {"LogGroup": "/shared"}}])
def test_what_a_function_logs_creates_no_log_group_and_is_written_into_one_that_exists(
    logging_functions, settings
):
    functions, logs = logging_functions
    create_no_log_groups(functions, logs)
    function = {"config": {"FunctionName": "f", **settings}}

    functions._emit_lambda_logs(function, "id", "a line", False, 5)
    assert len(logs._log_groups) == 0

    logs._create_log_group({"logGroupName": "/aws/lambda/f"})
    logs._create_log_group({"logGroupName": "/shared"})
    functions._emit_lambda_logs(function, "id", "a line", False, 5)
    written = [name for name in ("/aws/lambda/f", "/shared") if logs._log_groups[name]["streams"]]
    assert written == ["/shared" if "LogGroup" in settings.get("LoggingConfig", {}) else "/aws/lambda/f"]


def test_without_it_a_log_group_is_created(logging_functions):
    """The day this fails, ``create_no_log_groups`` is not needed any more."""
    functions, logs = logging_functions
    functions._emit_lambda_logs({"config": {"FunctionName": "f"}}, "id", "a line", False, 5)
    assert "/aws/lambda/f" in logs._log_groups
