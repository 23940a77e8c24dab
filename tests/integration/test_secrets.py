"""A key stays out of outputs, logs and the DLQ, whatever the API answers and user code switches on."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from fifo_cli.aws.session import Aws
from fifo_cli.aws.sqs import Queue
from fifo_cli.local.receiver import Reply
from tests import encodings
from tests.cli_harness import Project, wait_until

KEY: Final = "s3cr3t-Sesame-9417-8260"
CODE: Final = """
import logging
import httpx

logging.basicConfig(level=logging.DEBUG)
for name in ("botocore", "botocore.parsers", "httpx", "httpcore"):
    logging.getLogger(name).setLevel(logging.DEBUG)

def to_request(body, attributes, keys):
    logging.getLogger("mine").info("my own line")
    return httpx.Request("POST", URL, json=body, headers={"Authorization": "Bearer " + keys["api_key"]})
"""


@pytest.fixture
def flow(project: Callable[..., Project], clients: Aws, receiver: Any) -> Callable[..., Project]:
    def deploy(value: str) -> Project:
        made = project(
            handlers={"source": "code/", "request": "mine:to_request"},
            api={"keys": {"api_key": "/t/debug-key"}},
        )
        (made.folder / "code").mkdir()
        (made.folder / "code" / "mine.py").write_text(f"URL = {receiver.url!r}\n{CODE}")
        clients.client("ssm").put_parameter(
            Name="/t/debug-key", Value=value, Type="SecureString", Overwrite=True
        )
        made.local("deploy", "--yes").ok()
        made.local("put", "-", input="\n".join(json.dumps({"id": f"o{n}"}) for n in range(2))).ok()
        wait_until(lambda: Queue(clients, made.names, "main").counts().total == 2)
        return made

    return deploy


def test_debug_logs_and_echoes_of_the_api_show_no_key(flow, clients, receiver):
    receiver.answer = lambda received: Reply(
        422, base64.b64encode(b"user:" + received.headers["authorization"].removeprefix("Bearer ").encode())
    )
    made = flow(KEY)
    here = made.local("drain", "--count", "1", "-vv", "-o", "json")
    by_function = made.local("drain", "--count", "1", "--via", "lambda", "-vv", "-o", "json")
    shown = "".join(
        [
            *(here.out, here.err, by_function.out, by_function.err),
            made.local("logs", "--since", "1h", "-o", "jsonl").ok().out,
            made.local("peek", "--queue", "dlq", "-o", "json").ok().out,
        ]
    )
    for ran in (here, by_function):
        [result] = ran.json()["results"]
        assert (result["status"], result["http_status"]) == ("parked", 422)
        assert result["error"] == "HTTP 422 from 127.0.0.1: (text withheld: it may hold a key)"
    assert "my own line" in here.err
    for form in (
        KEY,
        base64.b64encode(KEY.encode()).decode(),
        base64.b64encode(f"user:{KEY}".encode()).decode(),
    ):
        assert form[:-3] not in shown


def test_a_key_that_is_too_short_to_hide_is_warned_of(flow, receiver):
    made = flow("abc")
    here = made.local("drain", "--count", "1").ok()
    assert "key api_key (SSM parameter /t/debug-key) has fewer than 4 characters" in here.err
    made.local("drain", "--count", "1", "--via", "lambda").ok()
    assert "key too short to hide in logs" in made.local("logs", "worker", "--since", "1h").ok().out


SHOUTS: Final = """
import os, subprocess
import httpx

def to_request(body, attributes, keys):
    print("printed")
    os.write(1, b"by descriptor\\n")
    subprocess.run(["echo", "by a child"], check=True)
    return httpx.Request("POST", URL, json=body, headers={"Authorization": "Bearer " + keys["api_key"]})
"""


def test_what_user_code_writes_to_stdout_is_not_in_the_result(flow, receiver):
    made = flow(KEY)
    (made.folder / "code" / "mine.py").write_text(f"URL = {receiver.url!r}\n{SHOUTS}")
    ran = made.local("drain", "--all", "-o", "json").ok()
    assert ran.json()["delivered"] == 2
    for text in ("printed", "by descriptor", "by a child"):
        assert text in ran.err


# Each message says by which way, and in which encodings, the user's code lets the key out.
LEAKY: Final = """
import logging, os, sys, threading, traceback, warnings
import httpx
import key_encodings

logging.basicConfig(level=logging.DEBUG, force=True)
logging.getLogger("httpx").setLevel(logging.INFO)

def to_request(body, attributes, keys):
    text = key_encodings.encoded(keys["api_key"], body["inner"], body["outer"])
    return globals()[body["way"]](body, text) or call(URL, body, keys["api_key"])

def call(url, body, key):
    return httpx.Request("POST", url, json=body, headers={"Authorization": "Bearer " + key})

def answer(body, text):
    pass

def printed(body, text):
    print("printed", text)
    print(text, file=sys.stderr)

def warned(body, text):
    warnings.warn(f"warned of {text}")

def logged(body, text):
    try:
        chained(body, text)
    except RuntimeError:
        logging.getLogger("mine").exception("logged %s", text, stack_info=True)

def threaded(body, text):
    thread = threading.Thread(target=chained, args=(body, text))
    thread.start()
    thread.join()

def chained(body, text):
    try:
        raise KeyError(text)
    except KeyError as error:
        error.add_note(text)
        raise RuntimeError(f"chained {text}") from error

def grouped(body, text):
    raise ExceptionGroup(f"grouped {text}", [ValueError(text)])

def in_path(body, text):
    return call(URL + "/" + text[:1000] + "?key=" + text[:1000], body, text[:8])

def unreachable(body, text):
    return httpx.Request("POST", "http://127.0.0.1:1/" + text[:1000])

def bad_port(body, text):
    return httpx.Request("POST", "http://127.0.0.1:" + text + "/")
"""
WAYS: Final = [
    *("answer", "printed", "warned", "logged", "threaded"),
    *("chained", "grouped", "in_path", "unreachable", "bad_port"),
]
PAIRS: Final = [("plain", "plain"), ("base64", "JSON"), ("base64 of user:KEY", "percent, every character")]


def test_a_key_is_in_no_output_log_or_queue_whatever_code_and_api_do(project, clients, receiver):
    made = project(
        handlers={"source": "code/", "request": "mine:to_request"},
        api={"keys": {"api_key": "/t/leaky-key"}},
        message={"group": "customer_id"},
    )
    (made.folder / "code").mkdir()
    (made.folder / "code" / "mine.py").write_text(f"URL = {receiver.url!r}\n{LEAKY}")
    (made.folder / "code" / "key_encodings.py").write_text(Path(encodings.__file__).read_text())
    clients.client("ssm").put_parameter(Name="/t/leaky-key", Value=KEY, Type="SecureString", Overwrite=True)

    def answer(received: Any) -> Reply:
        body = json.loads(received.body)
        text = encodings.encoded(KEY, body["inner"], body["outer"])
        return Reply(422, f"no: {text}".encode(), {"X-Echo": text.replace("\n", "")})

    receiver.answer = answer
    made.local("deploy", "--yes").ok()
    queue = Queue(clients, made.names, "main")
    cases = [(way, *pair) for way, pair in itertools.product(WAYS, PAIRS)]

    def put(attempt: str) -> None:
        items = [
            {
                "id": f"{attempt}-{way}-{n}",
                "way": way,
                "inner": inner,
                "outer": outer,
                "customer_id": f"{attempt}-{n}",
            }
            for n, (way, inner, outer) in enumerate(cases)
        ]
        made.local("put", "-", input="\n".join(map(json.dumps, items))).ok()
        wait_until(lambda: queue.counts().total >= len(items))

    shown = []

    def run(*args: str) -> Any:
        ran = made.local(*args)
        shown.append(ran.out + ran.err)
        return ran

    put("here")
    run("drain", "--all", "-vv")
    put("json")
    statuses = [row["status"] for row in run("drain", "--all", "-vv", "-o", "json").json()["results"]]
    assert {"parked", "failed"} == set(statuses)
    assert statuses.count("parked") >= len(PAIRS) * (len(WAYS) - 1)
    run("drain", "--all", "-vv", "-o", "jsonl", "--concurrency", "4")
    put("function")
    run("drain", "--all", "-vv", "--via", "lambda", "-o", "json")
    put("schedule")
    payload = clients.client("lambda").invoke(FunctionName=made.names.function("worker"), Payload=b"{}")
    shown.append(payload["Payload"].read().decode())
    log = run("logs", "--since", "1h", "-o", "jsonl").out
    for words in ("printed", "warned of", "logged", "Exception in thread"):
        assert words in log
    for args in (
        ("logs", "worker", "--since", "1h"),
        ("status", "-v"),
        ("status", "-o", "json"),
        ("check", "--format", "json"),
        ("history", "-o", "json"),
        ("trace", json.dumps({"id": "here-chained-15"})),
        ("trace", json.dumps({"id": "function-answer-0"}), "-o", "json"),
        ("audit", "--since", "1h", "-o", "json"),
        ("peek", "--queue", "dlq", "--count", "500", "-o", "json"),
        ("peek", "--queue", "main", "--count", "500"),
        ("dump", "-", "--queue", "dlq"),
    ):
        run(*args)
    files = [path.read_text(errors="replace") for path in made.folder.glob("*") if path.is_file()]
    for inner, outer in PAIRS:
        assert encodings.leak("\n".join(shown + files), KEY, inner, outer) is None
