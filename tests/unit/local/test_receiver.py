"""The loopback receiver: what it records, what it answers, and that it never holds anybody up."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from fifo_cli.local import receiver as module
from fifo_cli.local.receiver import Drip, Drop, Received, Receiver, Reply
from tests.cli_harness import clean_environment, wait_until


@pytest.fixture
def api() -> Iterator[Receiver]:
    with Receiver() as started:
        yield started


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=60) as made:
        yield made


def test_a_request_is_recorded_as_it_came_and_answered_with_200(api, client):
    body = bytes(range(256))
    answer = client.post(f"{api.url}/v1/orders?x=1", content=body, headers={"Idempotency-Key": "k-1"})
    assert (answer.status_code, answer.content) == (200, b"")
    (received,) = api.requests
    assert (received.number, received.method, received.path) == (1, "POST", "/v1/orders?x=1")
    assert (received.body, received.idempotency_key) == (body, "k-1")
    assert abs(time.monotonic() - received.at) < 60
    assert api.accepted == [received]


def test_requests_are_numbered_in_the_order_of_arrival(api, client):
    for number in range(5):
        client.post(api.url, content=str(number))
    assert [(each.number, each.body) for each in api.requests] == [(n + 1, b"%d" % n) for n in range(5)]


def test_a_chunked_body_is_put_together(api, client):
    client.post(api.url, content=iter([b"one ", b"two ", b"three"]))
    assert api.requests[0].body == b"one two three"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
def test_every_method_is_answered_and_the_connection_stays_usable(api, client, method):
    api.answer = lambda received: Reply(200, b"hello")
    assert client.request(method, api.url).content == (b"" if method == "HEAD" else b"hello")
    assert client.request(method, api.url).status_code == 200
    assert [each.method for each in api.requests] == [method, method]


def test_an_outage_answers_everything_alike_until_it_ends(api, client):
    api.fail(503, retry_after=7)
    answer = client.post(api.url, content=b"a")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")
    api.recover()
    assert client.post(api.url, content=b"b").status_code == 200
    assert [each.body for each in api.accepted] == [b"b"]
    assert [each.body for each in api.requests] == [b"a", b"b"]


def test_one_poison_request_is_answered_by_its_own_rule(api, client):
    api.answer = lambda received: Reply(422, b"no") if received.body == b"poison" else None
    assert [client.post(api.url, content=body).status_code for body in (b"a", b"poison", b"b")] == [
        200,
        422,
        200,
    ]
    assert [each.body for each in api.accepted] == [b"a", b"b"]


def test_the_key_asked_for_can_be_rotated_while_it_runs(api, client):
    def status(key: str) -> int:
        answer: httpx.Response = client.post(api.url, headers={"Authorization": f"Bearer {key}"})
        return answer.status_code

    api.key = "old"
    assert (status("old"), status("new"), client.post(api.url).status_code) == (200, 401, 401)
    api.key = "new"
    assert (status("old"), status("new")) == (401, 200)
    assert len(api.accepted) == 2


def test_a_request_is_never_shown_with_its_key(api, client):
    client.post(api.url, headers={"Authorization": "Bearer s3cret"})
    assert "s3cret" not in repr(api.requests)


def test_a_dropped_connection_gives_no_answer_and_accepts_nothing(api, client):
    api.answer = lambda received: Drop()
    with pytest.raises(httpx.RemoteProtocolError):
        client.post(api.url, content=b"x")
    assert (len(api.requests), api.accepted) == (1, [])


def test_an_outage_can_drop_all_connections(api, client):
    api.drop()
    with pytest.raises(httpx.RemoteProtocolError):
        client.post(api.url)
    api.recover()
    assert client.post(api.url).status_code == 200


def test_a_dripping_answer_outlasts_the_read_timeout_without_ever_ending(api):
    api.answer = lambda received: Drip()
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=60)
    connection.request("POST", "/", b"x")
    assert connection.sock is not None
    read = b""
    while read.count(b"X-Drip") < 3:  # each byte arrives well within the timeout, the answer never does
        read += connection.sock.recv(1000)
    assert read.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\n\r\n" not in read
    connection.close()
    assert api.accepted == []


def test_a_delayed_answer_comes_late_and_counts_only_then(api, client):
    api.delay = 0.3
    began = time.monotonic()
    done = threading.Thread(target=client.post, args=(api.url,))
    done.start()
    wait_until(lambda: api.requests)
    assert api.accepted == []
    done.join()
    assert time.monotonic() - began >= 0.3
    assert len(api.accepted) == 1


def test_stopping_does_not_wait_for_the_requests_in_hand(api):
    api.answer = lambda received: Reply(delay=60) if received.path == "/slow" else Drip()
    with socket.create_connection(("127.0.0.1", api.port)) as slow:
        slow.sendall(
            f"POST /slow HTTP/1.1\r\nHost: 127.0.0.1:{api.port}\r\n".encode() + b"Content-Length: 0\r\n\r\n"
        )
        with (
            socket.create_connection(("127.0.0.1", api.port)) as drip,
            socket.create_connection(("127.0.0.1", api.port)),
        ):
            drip.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{api.port}\r\n\r\n".encode())
            wait_until(lambda: len(api.requests) == 2)
            began = time.monotonic()
            api.stop()
    assert time.monotonic() - began < 30
    assert api.accepted == []


def test_it_comes_back_on_its_port_with_its_records_after_a_stop(client):
    api = Receiver().start()
    url = api.url
    client.post(url)
    api.stop()
    with pytest.raises(httpx.ConnectError):
        client.post(url)
    with api:
        assert api.url == url
        assert client.post(url).status_code == 200
    assert len(api.accepted) == 2


def test_answers_to_many_clients_at_once_are_all_counted(api):
    def post() -> None:
        with httpx.Client(trust_env=False) as own:
            for _ in range(25):
                own.post(api.url)

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(api.accepted) == 200
    assert sorted(each.number for each in api.requests) == list(range(1, 201))


def test_clear_forgets_the_past(api, client):
    client.post(api.url)
    api.clear()
    assert (api.requests, api.accepted) == ([], [])


def test_the_observer_sees_each_request_with_its_answer(client):
    seen: list[tuple[bytes, object]] = []

    def observe(received: Received, answer: module.Answer) -> None:
        seen.append((received.body, answer))

    with Receiver(observer=observe) as api:
        client.post(api.url, content=b"a")
        api.fail(500)
        client.post(api.url, content=b"b")
    assert seen == [(b"a", Reply(200)), (b"b", Reply(500))]


def _start(*args: str, env: dict[str, str] | None = None) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "fifo_cli.local.receiver", "--port", "0", *args],
        env=clean_environment(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    return process, process.stderr.readline().removeprefix("listening on ").strip()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_as_a_process_it_prints_a_json_line_a_request_and_ends_cleanly(client, number):
    process, url = _start()
    with process:
        client.post(f"{url}/a", content="é\n", headers={"Idempotency-Key": "k"})
        client.post(f"{url}/b", content=b"\xff")
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    lines = [json.loads(line) for line in out.splitlines()]
    for line in lines:
        line.pop("time")
    assert (process.returncode, err) == (0, "")
    assert lines == [
        {"number": 1, "method": "POST", "path": "/a", "idempotency_key": "k", "status": 200, "body": "é\n"},
        {
            "number": 2,
            "method": "POST",
            "path": "/b",
            "idempotency_key": None,
            "status": 200,
            "body": "\\xff",
        },
    ]


def test_as_a_process_it_can_fail_and_ask_for_a_key(client):
    process, url = _start("--key-env", "API_KEY", env={"API_KEY": "k"})
    with process:
        assert client.post(url).status_code == 401
        assert client.post(url, headers={"Authorization": "Bearer k"}).status_code == 200
        process.terminate()
        process.communicate(timeout=60)
    process, url = _start("--fail", "503", "--retry-after", "9")
    with process:
        answer = client.post(url)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "9")
        process.terminate()
        process.communicate(timeout=60)


def test_as_a_process_it_ends_when_nobody_reads_its_lines_any_more(client):
    process, url = _start()
    with process:
        assert process.stdout is not None
        process.stdout.close()
        # It may have ended before its answer is on its way.
        with contextlib.suppress(httpx.RemoteProtocolError, httpx.ReadError):
            client.post(url)
        assert process.wait(timeout=60) == 0


def test_a_taken_port_is_reported_without_a_traceback(api, capsys):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    try:
        assert module.main(["--port", str(api.port)]) == 2
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"cannot listen on port {api.port}: ")
    assert "--port" in err


def test_a_key_variable_that_is_not_set_is_refused_rather_than_letting_everybody_in(capsys):
    assert "NO_SUCH_KEY" not in os.environ
    with pytest.raises(SystemExit, match="2"):
        module.main(["--key-env", "NO_SUCH_KEY"])
    assert "NO_SUCH_KEY is not set" in capsys.readouterr().err
