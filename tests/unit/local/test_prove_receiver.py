"""The API that prove delivers to, on loopback, alone and as a process."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from fifo_cli.local import receiver as module
from fifo_cli.local.prove_receiver import ProveReceiver
from fifo_cli.model.receiver_protocol import AnswerRules, Mode
from fifo_cli.operations.prove.receiver import HttpReceiver
from tests.cli_harness import clean_environment

SECRET = "a-secret-of-thirty-characters-x"


@pytest.fixture
def api() -> Iterator[ProveReceiver]:
    with ProveReceiver(SECRET) as started:
        yield started


def deliver(url: str, item: str, *, secret: str = SECRET) -> httpx.Response:
    group, _, number = item.partition("-")
    return httpx.post(
        f"{url}/deliver",
        json={"id": item, "group": group, "number": int(number)},
        headers={"x-prove-secret": secret, "Idempotency-Key": f"k-{item}"},
        trust_env=False,
    )


def test_prove_talks_to_it_as_to_the_function(api: ProveReceiver) -> None:
    receiver = HttpReceiver(api.url, SECRET)
    receiver.wait_ready()
    deliver(api.url, "a-1")
    receiver.set_rules(AnswerRules(mode=Mode.THROTTLED, retry_after=9))
    assert deliver(api.url, "a-2").headers["Retry-After"] == "9"
    assert [(one.n, one.id, one.status) for one in receiver.received()] == [(1, "a-1", 200), (2, "a-2", 429)]
    assert [one.id for one in receiver.received(after=1)] == ["a-2"]
    receiver.forget()
    assert receiver.received() == []


def test_deliveries_side_by_side_are_each_recorded_once(api: ProveReceiver) -> None:
    def send(group: str) -> None:
        for number in range(20):
            deliver(api.url, f"{group}-{number}")

    threads = [threading.Thread(target=send, args=(group,)) for group in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = HttpReceiver(api.url, SECRET).received()
    assert [one.n for one in found] == list(range(1, 81))
    for group in "abcd":
        assert [one.number for one in found if one.group == group] == list(range(20))


def test_of_a_stranger_not_even_the_body_is_read(api: ProveReceiver) -> None:
    with socket.create_connection(("127.0.0.1", int(api.url.rpartition(":")[2]))) as connection:
        # Nothing of the gigabyte that it announces is sent.
        connection.sendall(
            f"POST /deliver HTTP/1.1\r\nHost: {api.url[7:]}\r\nContent-Length: 1000000000\r\n\r\n".encode()
        )
        connection.settimeout(5)
        assert connection.recv(100).startswith(b"HTTP/1.1 403 ")
    assert HttpReceiver(api.url, SECRET).received() == []


@pytest.mark.parametrize(
    ("header", "status"),
    [("Content-Length: 300001", 413), ("Transfer-Encoding: chunked", 411), ("Content-Length: -1", 411)],
)
def test_a_body_of_no_known_or_of_too_great_a_length_is_not_read(
    api: ProveReceiver, header: str, status: int
) -> None:
    with socket.create_connection(("127.0.0.1", int(api.url.rpartition(":")[2]))) as connection:
        start = f"POST /deliver HTTP/1.1\r\nHost: {api.url[7:]}\r\nx-prove-secret: {SECRET}\r\n"
        connection.sendall(f"{start}{header}\r\n\r\n".encode())
        connection.settimeout(5)
        assert connection.recv(100).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_page_in_a_browser_is_refused_though_it_knew_the_secret(api: ProveReceiver) -> None:
    headers = {"x-prove-secret": SECRET, "Origin": "https://evil.example"}
    assert httpx.get(f"{api.url}/received", headers=headers, trust_env=False).status_code == 403


def test_stopped_it_does_not_wait_for_a_slow_answer(api: ProveReceiver) -> None:
    HttpReceiver(api.url, SECRET).set_rules(AnswerRules(mode=Mode.SLOW, slow_seconds=20))

    def send() -> None:
        with pytest.raises(httpx.HTTPError):
            deliver(api.url, "a-1")

    thread = threading.Thread(target=send)
    thread.start()
    while not HttpReceiver(api.url, SECRET).received():
        time.sleep(0.01)
    began = time.monotonic()
    api.stop()
    thread.join()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("by", ["stdin", "environment"])
def test_as_a_process_it_takes_its_secret_from_stdin_or_the_environment_and_shows_it_nowhere(by: str) -> None:
    option = ["--secret-stdin"] if by == "stdin" else ["--secret-env", "PROVE"]
    command = [sys.executable, "-m", "fifo_cli.local.receiver", "--port", "0", *option]
    with subprocess.Popen(
        command,
        env=clean_environment({"PROVE": SECRET} if by == "environment" else None),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(f"{SECRET}\n" if by == "stdin" else "")
        process.stdin.flush()
        url = process.stderr.readline().removeprefix("listening on ").strip()
        assert deliver(url, "a-1").status_code == 200
        assert deliver(url, "a-1", secret="x" * 31).status_code == 403
        process.terminate()
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize(
    ("options", "given", "named"),
    [
        (["--secret-env", "NO_SUCH"], None, "NO_SUCH is not set"),
        (["--secret-env", "PROVE"], "short", "24 printable ASCII"),
        (["--secret-env", "PROVE"], "é" * 30, "24 printable ASCII"),
        (["--secret-env", "PROVE", "--fail", "503"], SECRET, "only --port"),
        (["--secret-env", "PROVE", "--secret-stdin"], SECRET, "not allowed with"),
    ],
)
def test_a_secret_of_no_use_is_refused_and_not_shown(
    options: list[str],
    given: str | None,
    named: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if given:
        monkeypatch.setenv("PROVE", given)
    with pytest.raises(SystemExit, match="2"):
        module.main(options)
    err = capsys.readouterr().err
    assert named in err
    assert not given or json.dumps(given) not in err
    assert SECRET not in err
