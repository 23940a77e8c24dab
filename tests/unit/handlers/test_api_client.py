"""The status of an answer decides, whatever bytes come with it; what cannot be sent has an owner."""

from __future__ import annotations

import base64
import contextlib
import gzip
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fifo_cli.handlers import api_client, call_thread
from fifo_cli.handlers.api_client import retry_after
from fifo_cli.handlers.api_keys import Keys, header_fault
from fifo_cli.handlers.code_guard import CodeGuard, Notes
from fifo_cli.handlers.delivery import ApiDelivery, Attempt, Verdict
from fifo_cli.handlers.failure import ConfigurationError
from fifo_cli.handlers.runtime import Api
from fifo_cli.handlers.visibility import QueueMessage
from tests.cli_harness import wait_until
from tests.unit import plain_api
from tests.unit.handlers.keeping_server import KeepingServer, own_certificate

API = replace(plain_api.API, success=("2xx", "303"), permanent=("301", "404", "422"), timeout=60)


class RawApi:
    """An HTTP server that reads a request to its end and answers with bytes of one's own."""

    def __init__(self) -> None:
        self.answer = b""
        self.requests: list[bytes] = []
        self.is_closed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self.delivery = ApiDelivery((replace(API, url=self.url),), Keys(None, {}))
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self.delivery.close()
        self._listener.shutdown(socket.SHUT_RDWR)  # which ends the thread's waiting
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                try:
                    self.requests.append(_request(connection))
                    connection.sendall(self.answer)
                except OSError:
                    pass
            self.is_closed.set()


def _request(connection: socket.socket) -> bytes:
    got = b""
    while b"\r\n\r\n" not in got:
        got += connection.recv(65536) or b"\r\n\r\n"
    head, _, body = got.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    missing = int(lengths[0].split(b":")[1]) - len(body) if lengths else 0
    while missing > 0 and (data := connection.recv(missing)):
        body, missing = body + data, missing - len(data)
    return head + b"\r\n\r\n" + body


@pytest.fixture(scope="module")
def raw() -> Iterator[RawApi]:
    made = RawApi()
    yield made
    made.close()


@contextmanager
def delivery(api: Api = API, **options: Any) -> Iterator[ApiDelivery]:
    made = ApiDelivery((api,), options.pop("keys", Keys(None, {})), **options)
    try:
        yield made
    finally:
        made.close()


def held(body: str = '{"id": 1}') -> QueueMessage:
    return QueueMessage("m1", "h1", body, "g", {}, {})


def attempt(raw: RawApi, answer: bytes) -> Attempt:
    raw.answer = answer
    raw.is_closed.clear()
    made = raw.delivery.attempt(held())
    # A connection that is about to close would be taken for the next request.
    assert raw.is_closed.wait(60)
    return made


def said(status: str, *lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([f"HTTP/1.1 {status}".encode(), *lines, b"", body])


ODD = {
    "retry-after with a superscript": (b"Retry-After: \xc2\xb2",),
    "retry-after in latin-1": (b"Retry-After: \xb2",),
    "retry-after in a far year": (b"Retry-After: Mon, 01 Jan 99999999999999999999 00:00:00 GMT",),
    "retry-after with many digits": (b"Retry-After: " + b"9" * 5000,),
    "retry-after with nothing": (b"Retry-After:",),
    "retry-after in arabic digits": ("Retry-After: \u0665".encode(),),
    "retry-after with an odd zone": (b"Retry-After: Mon, 01 Jan 2001 00:00:00 +9999999",),
    "retry-after twice": (b"Retry-After: x", b"Retry-After: 7"),
    "location of a name": (b"Location: urn:order:1",),
    "location that is not an URL": (b"Location: http://[::1/x",),
    "location with a port of letters": (b"Location: http://x:port/",),
    "location with raw bytes": (b"Location: \xff\xfe",),
    "location empty": (b"Location:",),
    "location to nowhere": (b"Location: //",),
    "gzip that is not": (b"Content-Encoding: gzip",),
    "an unknown encoding": (b"Content-Encoding: \xff, gzip",),
    "a charset that nobody knows": (b"Content-Type: text/plain; charset=\xff",),
    "a cookie of odd form": (b"Set-Cookie: \xff=;;; expires=never; max-age=x",),
    "a line without a colon": (b"this is not a header",),
    "a space in a name": (b"Bad Name: 1",),
    "a NUL": (b"X-Nul: a\x00b",),
    "no name": (b": value",),
    "lengths that differ": (b"Content-Length: 3", b"Content-Length: 4"),
    "a length of letters": (b"Content-Length: many",),
    "a negative length": (b"Content-Length: -1",),
    "an unknown transfer encoding": (b"Transfer-Encoding: morse",),
    "chunks that are none": (b"Transfer-Encoding: chunked",),
    "more header than fits": (b"X-Long: " + b"x" * 150_000,),
    "a folded first line": (b" folded",),
    "a body that breaks off": (b"Content-Length: 500",),
}


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ("200 OK", Verdict.SUCCESS),
        ("204 No Content", Verdict.SUCCESS),
        ("303 See Other", Verdict.SUCCESS),
        ("301 Moved Permanently", Verdict.PERMANENT),
        ("404 Not Found", Verdict.PERMANENT),
        ("422 \xff\xfe", Verdict.PERMANENT),
        ("503 Busy", Verdict.TRANSIENT),
    ],
)
@pytest.mark.parametrize("lines", ODD.values(), ids=ODD)
def test_no_header_changes_what_a_status_means(raw, status, verdict, lines):
    made = attempt(raw, said(status, *lines, body=b"zz"))
    assert (made.verdict, made.http_status) == (verdict, int(status[:3]))


@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 ",
        b"HTTP/1.1 200 \xff\x01",
        b"HTTP/1.0 200 OK",
        b"HTTP/2 200",
        b"HTTP/1.1  200 O",
    ],
)
def test_no_reason_phrase_and_no_version_changes_what_a_status_means(raw, line):
    assert attempt(raw, line + b"\r\n\r\n").verdict is Verdict.SUCCESS


def test_what_was_said_before_the_answer_is_not_the_answer(raw):
    early = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    assert attempt(raw, early + said("422 No", b"bad line")).http_status == 422
    assert attempt(raw, early).verdict is Verdict.TRANSIENT


@pytest.mark.parametrize(
    "broken", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nX: 1\r\n"]
)
def test_a_header_that_broke_off_is_no_answer(raw, broken):
    assert attempt(raw, broken).verdict is Verdict.TRANSIENT


@settings(deadline=None)  # threads and sockets of a busy machine
@given(
    header=st.binary(max_size=200),
    body=st.binary(max_size=50),
    status=st.sampled_from([200, 201, 303, 404, 422, 500]),
)
@example(header=b"Content-Encoding: gzip\r\n", body=gzip.compress(b"x")[:-4], status=422)
def test_any_bytes_after_the_status_line_leave_its_meaning(raw, header, body, status):
    made = attempt(raw, f"HTTP/1.1 {status} x\r\n".encode() + header + b"\r\n\r\n" + body)
    expected = {2: Verdict.SUCCESS, 3: Verdict.SUCCESS, 4: Verdict.PERMANENT, 5: Verdict.TRANSIENT}[
        status // 100
    ]
    assert (made.http_status, made.verdict) == (status, expected)


# Connections that are kept


class KeptApi(KeepingServer):
    """An HTTP server; ``talk`` gets a request and its connection, and answers."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.talk: Callable[[bytes, socket.socket], None] = lambda request, connection: connection.sendall(OK)
        self.requests: list[bytes] = []
        super().__init__(certificate)
        self.url += "/"

    def serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while b":" in (request := _request(connection)):
                self.requests.append(request)
                self.talk(request, connection)


OK = said("200 OK", b"Content-Length: 2", body=b"{}")


@pytest.fixture
def kept() -> Iterator[KeptApi]:
    made = KeptApi()
    yield made
    made.close()


def opened(kept: KeptApi, timeout: float = 60) -> contextlib.AbstractContextManager[ApiDelivery]:
    return delivery(replace(API, url=kept.url, timeout=timeout))


# Seconds of the clock below. Each step of a call looks at it, and a whole call has fewer than ten.
STEPS = 20


@pytest.fixture
def stepping(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by a second each time a call looks at it: no machine is too slow for it."""
    seconds = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: float(next(seconds)), time=time.time)
    monkeypatch.setattr(api_client, "time", clock)


def test_calls_share_a_connection_and_need_no_thread_of_their_own(kept):
    before = calling()
    with opened(kept) as made:
        for _ in range(3):
            assert made.attempt(held()).verdict is Verdict.SUCCESS
        assert len(kept.connections) == 1
        wait_until(lambda: calling() <= before)  # the one that made the connection has ended


def calling() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "call"}


def test_a_run_goes_on_with_the_connections_of_the_last_ones_threads(kept):
    with opened(kept) as made:
        for _ in range(4):
            with ThreadPoolExecutor(3) as pool:
                attempts = [pool.submit(made.attempt, held()) for _ in range(9)]
                assert all(one.result().verdict is Verdict.SUCCESS for one in attempts)
        assert len(kept.connections) <= 3


def test_a_kept_connection_that_the_api_closed_is_made_again(kept):
    with opened(kept) as made:
        for number in range(1, 4):
            assert made.attempt(held()).verdict is Verdict.SUCCESS
            assert len(kept.connections) == number
            kept.connections[-1].shutdown(socket.SHUT_RDWR)


class Trickle:
    """An answer that comes for a minute, line by line; ``cut_off`` once nobody reads it."""

    def __init__(self, head: bytes) -> None:
        self._head = head
        self.cut_off = threading.Event()

    def __call__(self, request: bytes, connection: socket.socket) -> None:
        try:
            connection.sendall(self._head)
            for number in range(6000):
                time.sleep(0.01)
                connection.sendall(f"X-{number}: y\r\n".encode())
        except OSError:
            self.cut_off.set()


NO_ANSWER = f"no answer from api.test: ReadTimeout: no complete answer within {STEPS} s"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"", None),
        (b"HTTP/1.1 200 OK\r\n", None),
        (b"HTTP/1.1 422 No\r\nContent-Length: 9999\r\n\r\n", 422),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n", 200),
    ],
)
@pytest.mark.usefixtures("stepping")
def test_an_answer_that_trickles_over_a_kept_connection_ends_with_the_time_in_all(kept, head, status):
    with opened(kept, timeout=STEPS) as made:
        assert made.attempt(held()).verdict is Verdict.SUCCESS
        kept.talk = answer = Trickle(head)
        attempt = made.attempt(held())
        assert answer.cut_off.wait(60)
        assert attempt.http_status == status
        if status is None:
            assert attempt.error == NO_ANSWER
        # What comes of it later is not the next call's.
        kept.talk = lambda request, connection: connection.sendall(OK)
        assert made.attempt(held()).verdict is Verdict.SUCCESS
        assert len(kept.connections) == 2


@pytest.mark.usefixtures("stepping")
def test_so_does_one_over_tls(tmp_path, monkeypatch):
    certificate = own_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    secure = KeptApi(certificate)
    try:
        with opened(secure, timeout=STEPS) as made:
            for _ in range(2):
                assert made.attempt(held()).verdict is Verdict.SUCCESS
            assert len(secure.connections) == 1
            secure.talk = Trickle(b"HTTP/1.1 200 OK\r\n")
            attempt = made.attempt(held())
    finally:
        secure.close()
    assert attempt.error == NO_ANSWER


@pytest.mark.usefixtures("stepping")
def test_a_first_answer_whose_body_never_ends_does_so_too(kept):
    kept.talk = answer = Trickle(b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n")
    with opened(kept, timeout=STEPS) as made:
        assert made.attempt(held()).verdict is Verdict.SUCCESS
    assert answer.cut_off.wait(60)


@pytest.mark.usefixtures("stepping")
def test_a_request_that_is_read_slowly_ends_with_the_time_in_all(kept):
    def slowly(request: bytes, connection: socket.socket) -> None:
        connection.sendall(OK)
        while connection.recv(10_000):  # as long as the request is being sent
            time.sleep(0.02)

    with opened(kept, timeout=STEPS) as made:
        assert made.attempt(held()).verdict is Verdict.SUCCESS
        kept.talk = slowly
        assert made.attempt(held()).verdict is Verdict.SUCCESS
        assert made.attempt(held(json.dumps("x" * 3_000_000))).error == NO_ANSWER


def test_a_name_whose_look_up_hangs_ends_with_the_time_in_all(kept, monkeypatch):
    asked, free = threading.Event(), threading.Event()

    def look_up(*args: Any, **options: Any) -> None:
        asked.set()
        free.wait(60)

    with opened(kept) as made:
        assert made.attempt(held()).verdict is Verdict.SUCCESS
        kept.connections[0].shutdown(socket.SHUT_RDWR)
        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        # The time is over as soon as it hangs.
        monkeypatch.setattr(call_thread, "_wait", lambda job, limit, on_look: not asked.wait(60))
        attempt = made.attempt(held())
        free.set()
    assert attempt.error == "no answer from api.test: ConnectTimeout: no connection within 60 s"
    assert len(kept.requests) == 1


def test_a_redirect_is_not_followed_and_a_cookie_not_kept(kept):
    kept.talk = lambda request, connection: connection.sendall(
        said("307 Elsewhere", b"Location: /other", b"Set-Cookie: a=b", b"Content-Length: 0")
    )
    with opened(kept) as made:
        for _ in range(2):
            assert made.attempt(held()).http_status == 307
    assert len(kept.requests) == 2
    assert not any(b"Cookie" in request or b"/other" in request for request in kept.requests)


def test_a_user_name_in_the_url_is_sent_as_a_header(kept):
    with delivery(replace(API, url=kept.url.replace("//", "//me:p%20w@"))) as made:
        assert made.attempt(held()).verdict is Verdict.SUCCESS
    assert b"\r\nAuthorization: Basic " + base64.b64encode(b"me:p w") in kept.requests[0]


def test_the_environments_proxy_is_used_and_its_exceptions(kept, monkeypatch):
    for name in ("NO_PROXY", "no_proxy", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", kept.url)
    with delivery(replace(API, url="http://orders.test/x", timeout=60)) as made:
        for _ in range(2):
            assert made.attempt(held()).verdict is Verdict.SUCCESS
    assert [request.split(b" ")[1] for request in kept.requests] == 2 * [b"http://orders.test/x"]
    assert len(kept.connections) == 1
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with delivery(replace(API, url=f"{kept.url}here", timeout=60)) as made:
        assert made.attempt(held()).verdict is Verdict.SUCCESS
    assert kept.requests[-1].startswith(b"POST /here ")


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        (["5", "120"], 120.0),
        (["120", "5"], 120.0),
        (["soon", "5"], 5.0),
        (["5, 120"], 120.0),
        (["\xb2"], None),
        (["\u0665"], None),
        ([""], None),
        (["1.5"], None),
        (["-3"], None),
        (["9" * 400], 10_000_000.0),
        (["Mon, 01 Jan 99999999999999999999 00:00:00 GMT"], None),
        (["Fri, 31 Dec 9999 23:59:59 GMT"], 10_000_000.0),
    ],
)
def test_the_longest_retry_after_counts_and_an_unreadable_one_says_nothing(values, seconds):
    headers = [("Retry-After", value.encode()) for value in values]
    transport = httpx.MockTransport(lambda request: httpx.Response(503, headers=headers))
    with delivery(transport=transport) as made:
        assert made.attempt(held()).retry_after == seconds


@settings(deadline=None)  # threads and sockets of a busy machine
@given(st.text(max_size=60))
def test_any_retry_after_is_read_without_an_error(text):
    seconds = retry_after(text)
    assert seconds is None or 0 <= seconds <= 10_000_000


# Keys


class OneKey:
    def __init__(self, value: str) -> None:
        self.value = value

    def get_parameters(self, *, Names: list[str], WithDecryption: bool) -> dict[str, Any]:
        return {"Parameters": [{"Name": "/k", "Value": self.value}]}


BAD_KEYS = {
    "a byte order mark": "\ufeffsecret-value",
    "an en dash": "secret\u2013value",
    "a line break at the end": "secret-value\n",
    "a carriage return": "secret-value\r\n",
    "a line break within": "secret\nvalue",
    "a space at the end": "secret-value ",
    "a tab at the start": "\tsecret-value",
    "latin-1": "sécret-value",
    "a NUL": "secret\x00value",
    "an escape": "secret\x1b[0mvalue",
    "an emoji": "secret-🔑",
    "a no-break space": "secret\xa0value",
    "only white space": "   ",
}


def one_key(value: str) -> Keys:
    return Keys(OneKey(value), {"api_key": "/k"})  # type: ignore[arg-type]


def answering(status: int = 200) -> httpx.MockTransport:
    return httpx.MockTransport(lambda request: httpx.Response(status))


@pytest.mark.parametrize("value", BAD_KEYS.values(), ids=BAD_KEYS)
def test_a_key_that_no_header_can_hold_is_named_and_parks_nothing(value):
    api = replace(API, headers={"Authorization": "Bearer {api_key}"}, keys={"api_key": "/k"})
    made_courier = delivery(api, keys=one_key(value), transport=answering())
    with made_courier as made, pytest.raises(ConfigurationError) as caught:
        made.attempt(held())
    assert caught.value.what == "key api_key (SSM parameter /k)"
    assert value.strip() == "" or value.strip()[:6] not in str(caught.value)


@pytest.mark.parametrize(
    "value", ["k\ufeff", "secret\u2013value", "secret-value\n", "secret\nvalue", "sécret", "se\x00cret"]
)
def test_so_is_one_that_the_users_request_puts_into_a_header(tmp_path, value):
    def code(body: Any, attributes: Any, keys: dict[str, str]) -> httpx.Request:
        return httpx.Request("POST", "https://api.test/", headers={"X-Key": f"key {keys['api_key']}"})

    made_courier = user_code(tmp_path, code, keys=one_key(value))
    with made_courier as made, pytest.raises(ConfigurationError) as caught:
        made.attempt(held())
    assert caught.value.what == "key api_key (SSM parameter /k)"


@settings(deadline=None)  # threads and sockets of a busy machine
@given(st.text(min_size=1, max_size=30))
def test_any_key_is_either_sent_as_it_is_or_named(value):
    got: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        got.append(request.headers["authorization"])
        return httpx.Response(200)

    api = replace(API, headers={"Authorization": "Bearer {api_key}"}, keys={"api_key": "/k"})
    with delivery(api, keys=one_key(value), transport=httpx.MockTransport(answer)) as made:
        try:
            made.attempt(held())
        except ConfigurationError:
            assert header_fault(value)
            assert got == []
        else:
            assert got == [f"Bearer {value}"]


def test_a_key_that_stands_in_no_header_may_hold_anything(tmp_path):
    def code(body: Any, attributes: Any, keys: dict[str, str]) -> httpx.Request:
        return httpx.Request("POST", "https://api.test/", content=keys["api_key"].encode())

    with user_code(tmp_path, code, keys=one_key("-----BEGIN\nKEY\u2013\n")) as made:
        assert made.attempt(held()).verdict is Verdict.SUCCESS


# URLs and the environment


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:port/",
        "http://[::1/x",
        "http://xn--/",
        "http://a..b/",
        f"http://{'a' * 70}.test/",
        "gopher://x/",
        "http://",
        "http://x:99999/",
    ],
)
def test_a_url_that_cannot_be_called_is_named_and_parks_nothing(url):
    with delivery(replace(API, url=url)) as made, pytest.raises(ConfigurationError, match=r"\[api\] url"):
        made.attempt(held())


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("NO_PROXY", "localhost,[::1]"),
        ("no_proxy", "[::1]"),
        ("ALL_PROXY", "socks5://127.0.0.1:1080"),
        ("all_proxy", "socks5h://127.0.0.1:1080"),
        ("HTTPS_PROXY", "ftp://proxy:21"),
        ("HTTP_PROXY", "http://user:hunter22@proxy:port"),
        ("https_proxy", "http://[::1"),
        ("SSL_CERT_FILE", "/dev/null/ca.pem"),
        ("SSL_CERT_FILE", "/dev/null"),
        ("SSL_CERT_DIR", "/dev/null/certs"),
        ("SSLKEYLOGFILE", "/dev/null/keys"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named_and_parks_nothing(monkeypatch, variable, value):
    for name in ("NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    with delivery() as made, pytest.raises(ConfigurationError) as caught:
        made.attempt(held())
    assert variable in caught.value.what
    assert "hunter22" not in str(caught.value)


# What the user's request makes


@contextmanager
def user_code(folder: Path, code: Callable[..., Any], **options: Any) -> Iterator[ApiDelivery]:
    guard = CodeGuard("m:f", Notes(folder), limit=60, calls_network=True)
    options.setdefault("transport", answering())
    with delivery(options.pop("api", API), code=code, guard=guard, **options) as made:
        yield made


def request(
    url: str = "https://api.test/", method: str = "POST", **options: Any
) -> Callable[..., httpx.Request]:
    return lambda body, attributes, keys: httpx.Request(method, url, **options)


def failing(error: BaseException) -> Iterator[bytes]:
    yield b"some"
    raise error


async def _later() -> Any:
    yield b"x"


MESSAGES: dict[str, Callable[..., Any]] = {
    "a line break in a header": request(headers={"X-Id": "a\nb"}),
    "a carriage return in a header": request(headers={"X-Id": "a\r\nEvil: 1"}),
    "a header that is not ASCII": request(headers={"X-Id": "naïve"}),
    "a header that ends in a space": request(headers={"X-Id": "a "}),
    "a header without a name": request(headers={"": "a"}),
    "a name with a space": request(headers={"X Id": "a"}),
    "a NUL": request(headers={"X-Id": "a\x00b"}),
    "a body generator that raises": lambda b, a, k: httpx.Request(
        "POST", "https://x/", content=failing(KeyError("x"))
    ),
    "a body generator that exits": lambda b, a, k: httpx.Request(
        "POST", "https://x/", content=failing(SystemExit())
    ),
    "a body of texts": lambda b, a, k: httpx.Request("POST", "https://x/", content=iter(["a"])),  # type: ignore[arg-type]
    "an asynchronous body": lambda b, a, k: httpx.Request("POST", "https://x/", content=_later()),
    "another scheme": request("ftp://x/"),
    "no host": request("/path"),
    "a port of letters": request("http://x:port/"),
    "a user name and a header": request("https://me:pw@x/", headers={"Authorization": "Bearer x"}),
    "not a request": lambda b, a, k: httpx.Response(200),
    "a class": lambda b, a, k: httpx.Request,
    "a coroutine": _later,
    "nothing": lambda b, a, k: None,
}


@pytest.mark.parametrize("code", MESSAGES.values(), ids=MESSAGES)
def test_a_request_that_cannot_be_sent_is_its_messages_fault(tmp_path, code):
    with user_code(tmp_path, code) as made:
        done = made.attempt(held())
    assert (done.verdict, done.owner) == (Verdict.PERMANENT, "message")


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"Content-Length": "5"}, "content": b"abc"},
        {"headers": {"Content-Length": "2"}, "content": b"abc"},
        {"headers": {"Content-Length": "x"}, "content": b"abc"},
        {"headers": [("Host", "a"), ("Host", "b")]},
        {"method": "GE T"},
        {"url": "http://a..b/"},
    ],
)
def test_so_is_one_that_breaks_while_it_is_sent(tmp_path, raw, options):
    raw.answer = said("200 OK", b"Content-Length: 0")
    made_request = request(**{"url": raw.url, **options})
    with user_code(tmp_path, made_request, transport=None) as made:
        done = made.attempt(held())
    assert (done.verdict, done.owner) == (Verdict.PERMANENT, "message")


@pytest.mark.parametrize(
    "code",
    [
        lambda b, a, k: httpx.Request("POST", "https://x/", content=failing(ConnectionResetError())),
        lambda b, a, k: httpx.Request("POST", "https://x/", content=failing(httpx.ReadTimeout("slow"))),
        lambda b, a, k: list(failing(TimeoutError())),
    ],
)
def test_code_that_lacks_the_network_waits(tmp_path, code):
    with user_code(tmp_path, code) as made:
        done = made.attempt(held())
    assert (done.verdict, done.owner) == (Verdict.TRANSIENT, "api")


def test_a_body_that_a_generator_makes_is_sent(tmp_path, raw):
    raw.answer = said("200 OK", b"Content-Length: 0")
    with user_code(tmp_path, request(raw.url, content=b"abc"), transport=None) as made:
        assert made.attempt(held()).verdict is Verdict.SUCCESS
    with user_code(
        tmp_path, lambda b, a, k: httpx.Request("POST", raw.url, content=iter([b"ab", b"c"])), transport=None
    ) as made:
        assert made.attempt(held()).verdict is Verdict.SUCCESS
    assert raw.requests[-2].endswith(b"\r\n\r\nabc")


@pytest.mark.parametrize(
    ("url", "goes"),
    [
        ("https://x.test/", True),
        ("http://127.0.0.1/", True),
        ("http://localhost/", True),
        ("http://[::1]/", True),
        ("http://x.test/", False),
        ("http://127.0.0.1.x.test/", False),
    ],
)
def test_a_key_goes_to_no_http_url_beyond_this_machine(tmp_path, url, goes):
    def code(body: Any, attributes: Any, keys: dict[str, str]) -> httpx.Request:
        return httpx.Request("POST", url, headers={"Authorization": f"Bearer {keys['api_key']}"})

    with user_code(tmp_path, code, keys=one_key("secret-value")) as made:
        if goes:
            assert made.attempt(held()).verdict is Verdict.SUCCESS
        else:
            with pytest.raises(ConfigurationError, match="http://"):
                made.attempt(held())
    with user_code(tmp_path, code, keys=one_key("secret-value"), api=replace(API, insecure=True)) as made:
        assert made.attempt(held()).verdict is Verdict.SUCCESS


# Bodies


@pytest.mark.parametrize(
    "body",
    [
        '{"a":1e9999999999999999999}',
        "1" * 5000,
        "[" * 100_000 + "]" * 100_000,
        '{"a":1,"a":2}',
        "1e-99999999999",
        '"\\ud800"',
        " 7 ",
    ],
    ids=lambda body: body[:20],
)
def test_a_body_that_is_json_goes_out_as_it_came(body):
    got: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        got.append(request.content)
        return httpx.Response(200)

    with delivery(transport=httpx.MockTransport(answer)) as made:
        assert made.attempt(held(body)).verdict is Verdict.SUCCESS
    assert got == [body.encode()]


@pytest.mark.parametrize("body", ["", "{", "NaN", "[Infinity]", "-Infinity", "{'a': 1}", "nul", "\ufeff{}"])
def test_a_body_that_is_not_json_is_parked(body):
    with delivery(transport=answering()) as made:
        done = made.attempt(held(body))
    assert (done.verdict, done.owner) == (Verdict.PERMANENT, "message")


@settings(deadline=None)  # threads and sockets of a busy machine
@given(st.text(max_size=60))
def test_any_body_ends_in_a_verdict(tmp_path_factory, body):
    folder = tmp_path_factory.getbasetemp() / "notes"
    with delivery(transport=answering()) as made:
        assert made.attempt(held(body)).verdict in (Verdict.SUCCESS, Verdict.PERMANENT)
    with user_code(folder, request()) as made:
        assert made.attempt(held(body)).verdict in (Verdict.SUCCESS, Verdict.PERMANENT)
