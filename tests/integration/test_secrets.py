"""A key stays out of outputs, logs and the DLQ, whatever the API answers and user code switches on."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from fifo_cli.aws.session import Aws
from fifo_cli.aws.sqs import Queue
from fifo_cli.local.receiver import Reply
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
        assert result["error"] == "HTTP 422: (text withheld: it may hold a key)"
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
