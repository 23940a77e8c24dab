"""Code of the user's that exits, hangs or takes all memory costs its own message, and no other one."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from typing import Any, Final

import pytest

from fifo_cli.aws.session import Aws
from fifo_cli.aws.sqs import Queue
from tests.cli_harness import Project, wait_until
from tests.integration.proxy import Proxy, hidden
from tests.integration.queue_pipeline import crashes

CODE: Final = """
import os, time
import httpx

def to_request(body, attributes, keys):
    if body["id"] == "o04":
        {deed}
    return httpx.Request("POST", URL, json=body)
"""
DEEDS: Final = {
    "exits": "os._exit(3)",
    "loops": "while True: pass",
    "sleeps": "time.sleep(3600)",
    "never returns from C": "import re; re.fullmatch('(a|aa)+', 'a' * 200 + 'b')",
    # Memory that is not written to: how fast this machine fills it does not matter.
    "takes memory": "kept = []\n        while True: kept.append(bytes(20_000_000))",
    "raises SystemExit": "raise SystemExit(3)",
    "is cancelled": "import asyncio; raise asyncio.CancelledError",
}
REASONS: Final = {
    "exits": "the process ended 2 times while mine:to_request handled this one",
    "loops": "mine:to_request did not return within 5 s",
    "sleeps": "mine:to_request did not return within 5 s",
    "never returns from C": "the process ended 2 times while mine:to_request handled this one",
    "takes memory": "mine:to_request raised MemoryError",
    "raises SystemExit": "mine:to_request raised SystemExit: 3",
    "is cancelled": "mine:to_request raised CancelledError",
}


class CodePipeline:
    """A pipeline with code of the user's, ten items in it, and its API."""

    def __init__(self, project: Project, aws: Aws, api: Any) -> None:
        self.project, self.api = project, api
        self.main, self.dlq = Queue(aws, project.names, "main"), Queue(aws, project.names, "dlq")

    def put(self, count: int) -> None:
        items = [{"id": f"o{n:02}", "grp": f"g{n % 5}"} for n in range(count)]
        self.project.local("put", "-", input="\n".join(json.dumps(item) for item in items)).ok()
        wait_until(lambda: self.main.counts().total == count)

    def ids(self) -> list[str]:
        return [json.loads(one.body)["id"] for one in self.api.accepted]

    def reasons(self) -> dict[str, str]:
        parked = self.project.local("peek", "--queue", "dlq", "-o", "json").ok().json()["messages"]
        return {json.loads(one["body"])["id"]: one["attributes"]["park_reason"]["value"] for one in parked}


@pytest.fixture
def flow(project: Callable[..., Project], clients: Aws, receiver: Any) -> Callable[..., CodePipeline]:
    def deploy(deed: str, **tables: Any) -> CodePipeline:
        made = project(
            handlers={"source": "code/", "request": "mine:to_request"},
            message={"group": "grp"},
            **{"functions": {"timeout": "10s"}, "api": {"timeout": "1s"}, **tables},
        )
        (made.folder / "code").mkdir()
        (made.folder / "code" / "mine.py").write_text(f"URL = {receiver.url!r}\n{CODE.format(deed=deed)}")
        made.local("deploy", "--yes").ok()
        return CodePipeline(made, clients, receiver)

    return deploy


def invocations_until_done(flow: CodePipeline, run: Callable[[], Any], most: int) -> int:
    for number in range(1, most + 1):
        wait_until(lambda: flow.main.counts().in_flight == 0, timeout=90, interval=0.2)
        done = run()
        if flow.main.counts().total == 0:
            return number
    notes = [
        path.read_text() for path in (flow.project.folder / ".fifo" / "notes" / flow.project.name).glob("*")
    ]
    raise AssertionError(f"{done} {notes} after {most} runs {flow.main.counts()} {flow.reasons()}")


def check_one_parked(flow: CodePipeline, kind: str) -> None:
    (parked,) = flow.reasons().items()
    assert parked[0] == "o04"
    assert parked[1].startswith(REASONS[kind])
    ids = flow.ids()
    assert sorted(set(ids)) == [f"o{n:02}" for n in range(10) if n != 4]
    for group in range(5):
        mine = [one for one in dict.fromkeys(ids) if int(one[1:]) % 5 == group]
        assert mine == sorted(mine)


@pytest.mark.parametrize(
    ("kind", "concurrency"), [*((kind, 1) for kind in DEEDS), ("exits", 4), ("loops", 4)]
)
def test_one_of_ten_is_parked_by_drain_and_the_others_are_delivered(flow, proxy: Proxy, kind, concurrency):
    made = flow(DEEDS[kind])
    made.put(10)
    proxy.edit = hidden(8)
    words = ("drain", "--all", "--concurrency", str(concurrency))
    invocations_until_done(made, lambda: made.project.at(proxy.endpoint, *words), 6)
    check_one_parked(made, kind)
    notes = made.project.folder / ".fifo" / "notes" / made.project.name
    assert stat.S_IMODE(notes.stat().st_mode) == 0o700


@pytest.mark.parametrize("kind", ["loops", "sleeps", "takes memory", "raises SystemExit"])
def test_one_of_ten_is_parked_by_the_function_and_the_others_are_delivered(flow, kind):
    made = flow(DEEDS[kind])
    made.put(10)
    drain = ("drain", "--all", "--via", "lambda")
    invocations_until_done(made, lambda: made.project.local(*drain), 6)
    check_one_parked(made, kind)


RECORD_CODE: Final = """
import os, time

def to_message(item):
    if item["id"] == "o04":
        {deed}
    return item
"""


@pytest.mark.parametrize("kind", ["exits", "loops", "takes memory", "is cancelled"])
def test_one_record_of_ten_is_parked_by_the_enqueuer_and_the_others_are_sent(
    project, clients, receiver, kind
):
    made = project(
        handlers={"source": "code/", "message": "mine:to_message"},
        functions={"timeout": "10s"},
        message={"group": "grp"},
        api={"timeout": "1s"},
    )
    (made.folder / "code").mkdir()
    (made.folder / "code" / "mine.py").write_text(RECORD_CODE.format(deed=DEEDS[kind]))
    made.local("deploy", "--yes").ok()
    flow = CodePipeline(made, clients, receiver)
    items = [{"id": f"o{n:02}", "grp": f"g{n % 5}"} for n in range(10)]
    made.local("put", "-", input="\n".join(json.dumps(item) for item in items)).ok()
    wait_until(lambda: (flow.main.counts().total, flow.dlq.counts().total) == (9, 1), timeout=90)
    (parked,) = made.local("peek", "--queue", "dlq", "-o", "json").ok().json()["messages"]
    assert json.loads(parked["attributes"]["item_key"]["value"]) == {"id": "o04"}
    assert parked["attributes"]["park_reason"]["value"].startswith(
        REASONS[kind].replace("to_request", "to_message")
    )
    made.local("drain", "--all").ok()
    ids = flow.ids()
    assert sorted(ids) == [f"o{n:02}" for n in range(10) if n != 4]
    assert ids.index("o00") < ids.index("o05")


@pytest.mark.parametrize("deed", ["os.closerange(0, 3)", "os.closerange(0, 50)"])
def test_a_record_whose_code_closes_files_costs_no_other_record(project, clients, receiver, deed):
    made = project(
        handlers={"source": "code/", "message": "mine:to_message"},
        functions={"timeout": "10s"},
        message={"group": "grp"},
        api={"timeout": "1s"},
    )
    (made.folder / "code").mkdir()
    text = RECORD_CODE.format(deed=deed).replace("    if", "    print(1, flush=True)\n    if")
    (made.folder / "code" / "mine.py").write_text(text)
    made.local("deploy", "--yes").ok()
    flow = CodePipeline(made, clients, receiver)
    items = [{"id": f"o{n:02}", "grp": f"g{n % 5}"} for n in range(10)]
    made.local("put", "-", input="\n".join(json.dumps(item) for item in items)).ok()
    parked = int(deed.endswith("50)"))
    wait_until(
        lambda: (flow.main.counts().total, flow.dlq.counts().total) == (10 - parked, parked), timeout=90
    )
    made.local("drain", "--all").ok()
    assert sorted(flow.ids()) == [f"o{n:02}" for n in range(10) if n != 4 or not parked]


def test_a_module_that_cannot_be_loaded_parks_nothing_and_is_named(flow):
    made = flow("raise SystemExit(3)")
    made.put(2)
    code = made.project.folder / "code" / "mine.py"
    code.write_text(
        code.read_text() + "\nif 'AWS_LAMBDA_FUNCTION_NAME' in os.environ:\n    import not_there\n"
    )
    made.project.local("deploy", "--yes").ok()
    refused = made.project.local("drain", "--all", "--via", "lambda")
    assert refused.code == 2
    assert "mine:to_request: cannot be loaded: ModuleNotFoundError" in refused.err
    assert (made.main.counts().visible, made.dlq.counts().total) == (2, 0)
    logs = made.project.local("logs", "worker", "--since", "5m", "-o", "jsonl").ok().jsonl()
    (failed,) = [line for line in logs if line["message"] == "run failed"]
    assert (failed["owner"], failed["what"]) == ("configuration", "mine:to_request")


@pytest.mark.long
def test_code_that_ends_the_functions_process_is_parked_when_the_environment_starts_again(flow):
    """Waits twice for the visibility timeout of what the dead process held."""
    made = flow(DEEDS["exits"])
    made.put(10)
    drain = ("drain", "--all", "--via", "lambda")
    assert invocations_until_done(made, lambda: made.project.local(*drain), 6) <= 4
    check_one_parked(made, "exits")


HOLDS_PYTHON: Final = {
    "a regular expression": "import re; re.fullmatch('(a|aa)+', 'a' * 200 + 'b')",
    "ctypes": "import ctypes; ctypes.PyDLL(None).sleep(3600)",
    "a number": "10 ** 10 ** 10",
}


@pytest.mark.parametrize("deed", HOLDS_PYTHON.values(), ids=HOLDS_PYTHON)
def test_code_that_stops_all_of_python_is_parked_by_one_drain_and_the_others_are_delivered(flow, deed):
    made = flow(deed)
    made.put(10)
    ran = made.project.local("drain", "--all", "-o", "json")
    assert ran.code == 1
    result = ran.json()
    assert (result["received"], result["delivered"], result["parked"], result["remaining"]) == (10, 9, 1, 0)
    (parked,) = made.reasons().items()
    assert parked[0] == "o04"
    assert "(all of its Python stood still)" in parked[1]
    assert "Traceback" not in ran.err
    assert "most recent call first" not in ran.err


# What the code does for one of three items, and what is in the reason; None: it is delivered.
IN_DRAIN: Final = {
    "os._exit(3)": "(exit code 3)",
    "os._exit(0)": "(exit code 0)",
    "os.kill(os.getpid(), 9)": "(SIGKILL)",
    "os.abort()": "(SIGABRT)",
    "import ctypes; ctypes.string_at(0)": "(SIGSEGV)",
    "os.closerange(0, 4096)": "(it closed the files of its process)",
    "os.execv('/bin/true', ['true'])": "(exit code 0)",
    "import sys; sys.exit(3)": "raised SystemExit: 3",
    "os.fork()": None,
    "import sys; sys.stdout.close(); os.close(1)": None,
    "os.write(1, b'{}'); print('{}'); os.system('echo {}')": None,
    "import sys; os.dup2(os.open('/dev/null', os.O_RDWR), 2)": None,
    "import threading; threading.Thread(target=time.sleep, args=(99,)).start()": None,
    "import atexit; atexit.register(os._exit, 7)": None,
    "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))": None,
    "os.chdir('/'); os.environ.clear(); os.umask(0o777)": None,
    "import sys; sys.setrecursionlimit(50)": None,
}


@crashes
def test_whatever_code_does_in_drain_there_is_one_document_and_it_goes_on(flow, every):
    made = flow("pass")
    code = made.project.folder / "code" / "mine.py"
    failed = {}
    for number, (deed, reason) in enumerate(list(IN_DRAIN.items())[:: 1 if every else 3]):
        code.write_text(f"URL = {made.api.url!r}\n{CODE.format(deed=deed)}".replace("o04", f"{number}-b"))
        items = [{"id": f"{number}-{letter}", "grp": letter} for letter in "abc"]
        made.project.local("put", "-", input="\n".join(json.dumps(item) for item in items)).ok()
        wait_until(lambda: made.main.counts().total == 3)
        ran = made.project.local("drain", "--all", "-o", "json")
        result = json.loads(ran.out or "{}")
        parked = [one["error"] for one in result.get("results", ()) if one["status"] == "parked"]
        wanted = (0, 3, 0) if reason is None else (1, 2, 1)
        if (
            (ran.code, result.get("delivered"), result.get("parked")) != wanted
            or "Traceback" in ran.err
            or (reason and reason not in parked[0])
        ):
            failed[deed] = (ran.code, ran.out, ran.err)
    assert failed == {}
    assert len(set(made.ids())) == len(made.ids())


IN_MESSAGE: Final = (
    "os._exit(3)",
    "os.closerange(0, 4096)",
    "os.fork(); os.system('echo {}'); print('{}')",
    "import sys; sys.stdout.close(); os.chdir('/')",
)


@crashes
def test_whatever_code_does_in_the_commands_about_records_there_is_one_document(project, clients, every):
    made = project(handlers={"source": "code/", "message": "mine:to_message"}, functions={"timeout": "10s"})
    (made.folder / "code").mkdir()
    code = made.folder / "code" / "mine.py"
    code.write_text("def to_message(item):\n    raise ValueError('no')\n")
    made.local("deploy", "--yes").ok()
    made.local("put", "-", input='{"id": "o04"}\n{"id": "o05"}\n').ok()
    dlq = Queue(clients, made.names, "dlq")
    wait_until(lambda: dlq.counts().total == 2, timeout=30)
    commands = {
        "audit": {"records"},
        "trace o04": {"stage"},
        "replay --since 1h --dry-run": {"matched", "records"},
        "redrive --yes": {"moved", "failed"},
    }
    failed = {}
    for deed in IN_MESSAGE[:: 1 if every else 3]:
        code.write_text(RECORD_CODE.format(deed=deed))
        for line, fields in commands.items():
            ran = made.local(*line.split(), "-o", "json")
            if ran.code not in (0, 1) or not fields <= set(json.loads(ran.out or "{}")):
                failed[deed, line] = (ran.code, ran.out, ran.err)
    assert failed == {}
    # The last one returns: nothing is held against the record.
    assert (dlq.counts().total, Queue(clients, made.names, "main").counts().total) == (0, 2)


def test_a_module_that_ends_its_process_is_named_at_once_and_nothing_is_parked(flow):
    made = flow("pass")
    made.put(5)
    code = made.project.folder / "code" / "mine.py"
    code.write_text(code.read_text() + "\nos._exit(3)\n")
    ran = made.project.local("drain", "--all")
    assert ran.code == 2
    assert "mine:to_request: the process ended while it was imported (exit code 3)" in ran.err
    code.write_text(code.read_text().replace("\nos._exit(3)\n", ""))
    assert made.project.local("drain", "--count", "1").ok()
    assert made.dlq.counts().total == 0


def test_a_module_that_ends_the_functions_process_is_named_by_its_next_run(flow):
    made = flow("raise SystemExit(3)")
    made.put(2)
    code = made.project.folder / "code" / "mine.py"
    code.write_text(code.read_text() + "\nif 'AWS_LAMBDA_FUNCTION_NAME' in os.environ:\n    os._exit(3)\n")
    made.project.local("deploy", "--yes").ok()
    drain = ("drain", "--all", "--via", "lambda")
    assert made.project.local(*drain).code == 3
    named = made.project.local(*drain)
    assert named.code == 2
    assert "mine:to_request: the process ended while it was imported" in named.err
    status = made.project.local("status", "-o", "json")
    assert status.code == 1
    assert "the process ended while it was imported" in status.out
    assert (made.main.counts().visible, made.dlq.counts().total) == (2, 0)


@pytest.mark.parametrize("kind", ["loops", "sleeps", "never returns from C", "never is imported"])
def test_an_interrupt_ends_code_that_never_returns_long_before_its_limit_and_releases_its_message(flow, kind):
    imports = kind == "never is imported"
    mark = "open('called', 'w').close()"
    made = flow(f"{mark}\n        {DEEDS.get(kind, '')}".rstrip(), functions={"timeout": "240s"})
    if imports:
        path = made.project.folder / "code" / "mine.py"
        path.write_text(f"{path.read_text()}\n{mark}\ntime.sleep(3600)\n")
    items = "\n".join(json.dumps({"id": f"o{n:02}", "grp": "a"}) for n in (1, 4, 5))
    made.project.local("put", "-", input=items).ok()
    wait_until(lambda: made.main.counts().total == 3)
    running = made.project.start("drain", "--all", "-o", "json")
    wait_until((made.project.folder / "called").exists)

    running.interrupt()
    ran = running.wait(timeout=30)  # it takes a second on a free machine, and the code has two minutes

    assert ran.code == 130
    counts = made.main.counts()
    assert (counts.visible, counts.in_flight) == (3 if imports else 2, 0)
    assert made.reasons() == {}
