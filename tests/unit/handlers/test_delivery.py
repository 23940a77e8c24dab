from __future__ import annotations

import base64
import contextlib
import gzip
import html
import socket
import sys
import tempfile
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from fifo_cli.handlers import api_client, call_thread
from fifo_cli.handlers.api_client import retry_after
from fifo_cli.handlers.api_keys import Keys
from fifo_cli.handlers.code_guard import CodeGuard, Notes
from fifo_cli.handlers.delivery import ApiDelivery, Attempt, Verdict, classify
from fifo_cli.handlers.failure import ConfigurationError
from fifo_cli.handlers.redaction import WITHHELD
from fifo_cli.handlers.runtime import Api
from fifo_cli.handlers.visibility import QueueMessage
from tests.unit import plain_api

API = replace(plain_api.API, permanent=("400", "422"))
SECRET = 's3cr3t-välue/+"'


class FakeSsm:
    """Parameter Store with values that can be changed; counts its calls."""

    def __init__(self, **values: str) -> None:
        self.values = {f"/{name}": value for name, value in values.items()}
        self.calls = 0

    def get_parameters(self, *, Names: list[str], WithDecryption: bool) -> dict[str, Any]:
        assert WithDecryption
        assert len(Names) <= 10
        self.calls += 1
        found = [{"Name": name, "Value": self.values[name]} for name in Names if name in self.values]
        return {"Parameters": found, "InvalidParameters": [name for name in Names if name not in self.values]}


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the notes of ``delivery`` in a folder that goes away."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def held(body: str = '{"id": 1}', **attributes: str) -> QueueMessage:
    typed = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
    return QueueMessage("m1", "h1", body, "g", typed, {})


def keys(ssm: FakeSsm) -> Keys:
    return Keys(ssm, {name.lstrip("/"): name for name in ssm.values})  # type: ignore[arg-type]


def delivery(answer: Callable[[httpx.Request], httpx.Response], *apis: Api, **options: Any) -> ApiDelivery:
    options.setdefault("keys", Keys(None, {}))
    if "code" in options:
        name = options.pop("code_name", "m:f")
        notes = Notes(Path(tempfile.mkdtemp(prefix="fifo-cli-notes-")))
        options["guard"] = CodeGuard(name, notes, limit=options.pop("limit", 5), calls_network=True)
    return ApiDelivery(apis or (API,), options.pop("keys"), transport=httpx.MockTransport(answer), **options)


def answering(status: int, text: str = "") -> Callable[[httpx.Request], httpx.Response]:
    return lambda request: httpx.Response(status, text=text)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        *((status, Verdict.SUCCESS) for status in (200, 201, 204, 299)),
        *((status, Verdict.PERMANENT) for status in (400, 422)),
        *(
            (status, Verdict.TRANSIENT)
            for status in (100, 301, 401, 402, 403, 404, 408, 425, 429, 500, 503, 599)
        ),
    ],
)
def test_every_status_has_its_class(status, verdict):
    assert classify(status, API) is verdict


def test_success_can_be_narrowed_to_single_statuses():
    assert classify(202, replace(API, success=("200",))) is Verdict.TRANSIENT


def test_the_body_goes_out_as_it_came_with_the_event_id_as_idempotency_key():
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200)

    body = '{"n":0.1234567890123456789,"b":1,"a":"é"}'
    assert delivery(answer).attempt(held(body, event_id="e7")) == Attempt(
        Verdict.SUCCESS, 200, None, None, API
    )
    (request,) = seen
    assert request.content == body.encode()
    assert (request.method, str(request.url)) == ("POST", "https://api.test/orders")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["idempotency-key"] == "e7"


def test_a_foreign_message_is_identified_by_its_message_id():
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["idempotency-key"])
        return httpx.Response(200)

    delivery(answer).attempt(held())
    delivery(answer).attempt(held(event_id="naïve\nid"))
    assert seen == ["m1", "na\\xefve\\nid"]


def test_placeholders_in_headers_become_keys_and_a_header_of_ones_own_replaces_ours():
    seen: list[httpx.Headers] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers)
        return httpx.Response(200)

    api = replace(
        API,
        headers={
            "Authorization": "Bearer {one}-{two}",
            "content-type": "application/x",
            "X-Json": '{"a": 1}',
        },
        keys={"one": "/one", "two": "/two"},
    )
    delivery(answer, api, keys=keys(FakeSsm(one="1111", two="2222"))).attempt(held())
    assert seen[0]["authorization"] == "Bearer 1111-2222"
    assert seen[0].get_list("content-type") == ["application/x"]
    assert seen[0]["x-json"] == '{"a": 1}'


def test_keys_are_read_when_first_needed_and_once():
    ssm = FakeSsm(key="k" * 8)
    made = delivery(answering(200), keys=keys(ssm))
    assert ssm.calls == 0
    made.attempt(held())
    made.attempt(held())
    assert ssm.calls == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_rotated_key_heals_itself(status):
    ssm = FakeSsm(key="old-key")
    api = replace(API, headers={"Authorization": "{key}"}, keys={"key": "/key"})
    valid = "old-key"

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200 if request.headers["authorization"] == valid else status)

    made = delivery(answer, api, keys=keys(ssm))
    assert made.attempt(held()).verdict is Verdict.SUCCESS
    valid = ssm.values["/key"] = "new-key"
    assert made.attempt(held()).verdict is Verdict.SUCCESS
    assert ssm.calls == 2


@pytest.mark.parametrize(
    "unusable",
    [
        "\ufeffsesame",
        "ses\u2013ame",
        "sesame\n",
        " sesame",
        "a\rb",
        "a\0b",
        "\xa0x",
        "x\x1f",
        "x\x7f",
        "é",
        "",
    ],
)
@pytest.mark.parametrize("own", [False, True], ids=["headers", "code"])
def test_a_corrected_key_is_used_at_once(unusable, own):
    ssm = FakeSsm(key=unusable)
    api = replace(API, headers={} if own else {"Authorization": "{key}"}, keys={"key": "/key"})

    def code(body: Any, attributes: Any, keys: Any) -> httpx.Request:
        return httpx.Request("POST", API.url, headers={"Authorization": keys["key"]})

    made = delivery(answering(200), api, keys=keys(ssm), **({"code": code} if own else {}))
    if not (own and not unusable):  # an empty header of the user's own is legal
        with pytest.raises(ConfigurationError, match=r"/key"):
            made.attempt(held())
    ssm.values["/key"] = "sesame"
    assert made.attempt(held()).verdict is Verdict.SUCCESS


def test_a_fault_of_configuration_without_keys_is_raised_once():
    made = delivery(answering(200), replace(API, url="http://[::1/x"))
    with pytest.raises(ConfigurationError, match="url"):
        made.attempt(held())


def test_a_key_still_refused_after_it_was_read_again_is_our_fault_and_transient():
    ssm = FakeSsm(key="wrong")
    calls = 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal calls
        calls += 1
        return httpx.Response(401)

    attempt = delivery(answer, keys=keys(ssm)).attempt(held())
    assert (attempt.verdict, attempt.http_status, calls, ssm.calls) == (Verdict.TRANSIENT, 401, 2, 2)


def test_missing_parameters_are_named_and_are_nobody_elses_fault():
    ssm = FakeSsm(there="value")
    made = delivery(answering(200), keys=Keys(ssm, {"a": "/there", "b": "/gone", "c": "/lost"}))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="/gone, /lost: no such SSM parameter"):
        made.attempt(held())


def test_more_than_ten_parameters_take_several_calls():
    ssm = FakeSsm(**{f"key{n}": f"value{n}" for n in range(23)})
    _, values = keys(ssm).current()
    assert (ssm.calls, values["key22"]) == (3, "value22")


@pytest.mark.parametrize(
    "echo",
    [
        SECRET,
        's3cr3t-v\\u00e4lue/+\\"',
        's3cr3t-välue/+\\"',
        "s3cr3t-v%C3%A4lue/%2B%22",
        "s3cr3t-v%C3%A4lue%2F%2B%22",
    ],
)
def test_a_key_that_the_api_echoes_in_any_spelling_is_blotted_out(echo):
    attempt = delivery(answering(422, f"bad token {echo}!"), keys=keys(FakeSsm(key=SECRET))).attempt(held())
    assert attempt.error == "HTTP 422 from api.test: bad token ***!"


@pytest.mark.parametrize("padding", range(240, 320, 7))
def test_a_key_that_stands_where_the_text_is_cut_off_is_blotted_out_whole(padding):
    answer = answering(422, "e" * padding + f"Bearer {SECRET}")
    error = delivery(answer, keys=keys(FakeSsm(key=SECRET))).attempt(held()).error
    assert error is not None
    assert SECRET[:4] not in error


@pytest.mark.parametrize(
    "spelling", [html.escape, repr, str.upper, lambda text: base64.b64encode(text.encode()).decode()]
)
def test_a_key_is_blotted_out_as_html_python_and_base64_would_spell_it(spelling):
    error = (
        delivery(answering(422, f"[{spelling(SECRET)}]"), keys=keys(FakeSsm(key=SECRET)))
        .attempt(held())
        .error
    )
    assert error is not None
    assert "***" in error
    assert "3cr3t" not in error.lower()


def test_a_compressed_answer_is_read_without_unpacking_all_of_it():
    bomb = gzip.compress(b"no" + b"\0" * 50_000_000)
    headers = {"Content-Encoding": "gzip"}
    made = delivery(lambda request: httpx.Response(422, headers=headers, stream=httpx.ByteStream(bomb)))
    tracemalloc.start()
    error = made.attempt(held()).error
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error is not None
    assert error.startswith("HTTP 422 from api.test: no")
    assert peak < 5_000_000


def packed(encoding: str, body: bytes) -> str | None:
    headers = {"Content-Encoding": encoding}
    made = delivery(
        lambda request: httpx.Response(422, headers=headers, stream=httpx.ByteStream(body)),
        keys=keys(FakeSsm(key=SECRET)),
    )
    return made.attempt(held()).error


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


def gzipped(body: bytes, level: int = 9) -> bytes:
    # Without the time of packing, or the tests' names would differ from worker to worker.
    return gzip.compress(body, level, mtime=0)


COMPRESSED = "HTTP 422 from api.test: (text withheld: it is compressed in a way that is not read here)"


@pytest.mark.parametrize(
    ("encoding", "body", "said"),
    [
        ("gzip", gzipped(b"no such order"), "HTTP 422 from api.test: no such order"),
        ("X-GZIP", gzipped(b"no such order"), "HTTP 422 from api.test: no such order"),
        ("deflate", zlib.compress(b"no such order"), "HTTP 422 from api.test: no such order"),
        ("deflate", raw_deflate(b"no such order"), "HTTP 422 from api.test: no such order"),
        ("identity", b"no such order", "HTTP 422 from api.test: no such order"),
        ("gzip", gzipped(SECRET.encode()), "HTTP 422 from api.test: ***"),
        (
            "deflate",
            raw_deflate(base64.b64encode(b"u:" + SECRET.encode())),
            f"HTTP 422 from api.test: {WITHHELD}",
        ),
        ("gzip", gzipped(SECRET.encode() * 9)[:-9], "HTTP 422 from api.test; the answer broke off"),
        ("gzip", gzipped(b"no such order" * 99, 0)[:200], "HTTP 422 from api.test; the answer broke off"),
        ("gzip", b"no such order", COMPRESSED),
        ("deflate", b"\x78\x9cno such order", COMPRESSED),
        ("br", b"\x8b\x02\x80hello\x03", COMPRESSED),
        ("zstd", b"(\xb5/\xfd no such order", COMPRESSED),
        ("gzip, gzip", gzipped(gzipped(b"no")), COMPRESSED),
        (SECRET.encode("ascii", "replace").decode(), b"no such order", COMPRESSED),
        ("br", b"", "HTTP 422 from api.test"),
        ("gzip", b"", "HTTP 422 from api.test"),
    ],
)
def test_an_answer_is_unpacked_before_it_is_quoted_or_not_quoted(encoding, body, said):
    assert packed(encoding, body) == said


def test_of_an_answer_that_cannot_be_read_nothing_is_quoted():
    junk = b"HTTP/1.1 what is this: s3cr3t\r\n\r\n"
    with raw_server(lambda connection: connection.sendall(junk)) as url:
        error = real(url).error
    assert error == "no answer from api.test: RemoteProtocolError: illegal status line"


def test_a_success_is_one_though_its_body_broke_off():
    # The status decides: the API has said that it took the message. Sent again, it would come twice.
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nok"
    with raw_server(lambda connection: connection.sendall(cut)) as url:
        attempt = real(url)
    assert (attempt.verdict, attempt.http_status, attempt.error) == (Verdict.SUCCESS, 200, None)


def test_a_key_in_the_error_of_the_users_code_is_blotted_out_too():
    def leak(body: Any, attributes: Any, secrets: dict[str, str]) -> httpx.Request:
        raise ValueError(secrets["key"])

    made = delivery(answering(200), keys=keys(FakeSsm(key=SECRET)), code=leak, code_name="mine:leak")
    assert made.attempt(held()).error == "mine:leak raised ValueError: ***"


def test_a_refused_key_is_read_again_only_if_there_is_time_for_another_call():
    ssm, calls = FakeSsm(key=SECRET), []

    def refuse(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        return httpx.Response(401)

    made = delivery(refuse, keys=keys(ssm))
    assert made.attempt(held(), time_left=lambda: API.timeout + 1).http_status == 401
    assert (len(calls), ssm.calls) == (1, 1)
    made.attempt(held(), time_left=lambda: API.timeout + 3)
    assert (len(calls), ssm.calls) == (3, 2)


def test_what_is_prepared_for_an_api_is_kept_once_however_often_its_keys_are_read():
    made = delivery(answering(403), keys=keys(FakeSsm(key=SECRET)))
    for _ in range(3):
        made.attempt(held())
    assert len(made._prepared) == 1


def test_an_old_key_is_blotted_out_after_its_rotation():
    ssm = FakeSsm(key="old-value")
    made = keys(ssm)
    generation, _ = made.current()
    ssm.values["/key"] = "new-value"
    made.renew(generation)
    assert made.redact("old-value new-value") == "*** ***"


def test_the_reason_is_one_short_printable_line():
    attempt = delivery(answering(422, "a\n\tb\x1b[31m" + "x" * 1000)).attempt(held())
    assert attempt.error is not None
    assert attempt.error.startswith("HTTP 422 from api.test: a b?[31mxxx")
    assert len(attempt.error) < 350


def test_a_network_error_is_transient():
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    assert delivery(answer).attempt(held()) == Attempt(
        Verdict.TRANSIENT,
        None,
        "no answer from api.test: ConnectError: refused",
        None,
        API,
        "api",
        "ConnectError",
    )


def test_redirects_are_not_followed():
    made = delivery(lambda request: httpx.Response(307, headers={"Location": "https://elsewhere.test/"}))
    assert made.attempt(held()).http_status == 307


def test_several_apis_are_called_in_order_and_the_first_failure_decides():
    called: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        called.append(request.url.host)
        return httpx.Response(503 if request.url.host == "two" else 200)

    apis = [replace(API, url=f"https://{name}/") for name in ("one", "two", "three")]
    attempt = delivery(answer, *apis).attempt(held())
    assert (called, attempt.http_status, attempt.api) == (["one", "two"], 503, apis[1])


REFUSED = httpx.Response(401, json={"error": "invalid_client"})
LATER: dict[str, tuple[dict[str, Any], dict[str, str], str]] = {
    "a user name": (
        {"auth": {"type": "basic", "username": "{user}", "password": "x"}},
        {"user": "a:b"},
        "[api] auth of two: username",
    ),
    "a signature's secret": (
        {"auth": {"type": "standard-webhooks", "secret": "{user}"}},
        {"user": "no secret"},
        "[api] auth of two: secret",
    ),
    "a header": ({"headers": {"X-Key": "{user}"}}, {"user": "line\nbreak"}, "key user"),
    "a client that is refused": (
        {
            "auth": {
                "type": "oauth2",
                "token_url": "https://login/",
                "client_id": "{user}",
                "client_secret": "x",
                "client_auth": "basic",
            }
        },
        {"user": "shop-1"},
        "[api] auth of two: client_id, client_secret: login refused it",
    ),
}


@pytest.mark.parametrize(("settings", "values", "named"), LATER.values(), ids=LATER)
def test_what_a_later_api_cannot_be_called_for_is_found_before_the_first_is_called(settings, values, named):
    called: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        called.append(request.url.host)
        return REFUSED if request.url.host == "login" else httpx.Response(200)

    ssm = FakeSsm(**values)
    names = {name.lstrip("/"): name for name in ssm.values}
    one, two = (replace(API, url=f"https://{name}/", name=name, keys=names) for name in ("one", "two"))
    made = delivery(answer, one, replace(two, **settings), keys=keys(ssm))
    for _ in range(3):
        with pytest.raises(ConfigurationError) as caught:
            made.attempt(held())
        assert str(caught.value).startswith(named)
    assert "one" not in called
    alone = delivery(answer, replace(two, **settings), keys=keys(ssm))
    with pytest.raises(ConfigurationError) as caught:
        alone.attempt(held())
    assert str(caught.value).startswith(named.replace(" of two", ""))


def test_while_a_later_apis_token_endpoint_is_down_the_first_api_is_not_called():
    called: list[str] = []
    down = True

    def answer(request: httpx.Request) -> httpx.Response:
        called.append(request.url.host)
        if request.url.host == "login":
            return httpx.Response(503) if down else httpx.Response(200, json={"access_token": "t-1"})
        return httpx.Response(200)

    settings = LATER["a client that is refused"][0]
    one, two = (replace(API, url=f"https://{name}/", name=name) for name in ("one", "two"))
    made = delivery(answer, one, replace(two, **settings), keys=keys(FakeSsm(user="shop-1")))
    doubts: list[str] = []
    attempt = made.attempt(held(), on_doubt=doubts.extend)
    assert (attempt.verdict, attempt.error) == (
        Verdict.TRANSIENT,
        "no call to two: no token from login: HTTP 503",
    )
    assert (called, doubts) == (["login"], [])
    down = False
    assert made.attempt(held()).verdict is Verdict.SUCCESS
    assert made.attempt(held()).verdict is Verdict.SUCCESS
    assert called[1:] == ["login", "one", "two", "one", "two"]


def test_the_wait_for_a_later_apis_token_is_part_of_its_own_call():
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "login":
            threading.Event().wait(0.3)
            return httpx.Response(200, json={"access_token": "t-1"})
        given[request.url.host] = request.extensions["timeout"]["read"]
        return httpx.Response(200)

    given: dict[str, float] = {}
    settings = LATER["a client that is refused"][0]
    one, two = (replace(API, url=f"https://{name}/", name=name, timeout=5) for name in ("one", "two"))
    made = delivery(answer, one, replace(two, **settings), keys=keys(FakeSsm(user="shop-1")))
    assert made.attempt(held()).verdict is Verdict.SUCCESS
    assert given["one"] == 5
    assert given["two"] < 4.8


@pytest.mark.parametrize("error", [None, httpx.ConnectError("refused")])
def test_a_call_of_the_users_code_to_another_host_is_named_by_that_host(error):
    def code(body: Any, attributes: Any, keys: Any) -> httpx.Request:
        return httpx.Request("POST", f"https://{body['to']}/")

    def answer(request: httpx.Request) -> httpx.Response:
        if error is not None:
            raise error
        return httpx.Response(500, text="down")

    made = delivery(answer, code=code)
    for host, named in (("elsewhere.test", "elsewhere.test"), ("api.test", "api.test")):
        attempt = made.attempt(held(f'{{"to": "{host}"}}'))
        text = f"HTTP 500 from {named}: down" if error is None else f"no answer from {named}: "
        assert (attempt.error or "").startswith(text)
        assert attempt.failed_at == "api.test"


def test_a_host_that_the_users_code_made_of_a_key_is_hidden():
    def code(body: Any, attributes: Any, keys: Any) -> httpx.Request:
        return httpx.Request("POST", f"https://{keys['key']}.test/")

    api, ssm = replace(API, keys={"key": "/key"}), FakeSsm(key="a-secret-name")
    made = delivery(answering(500), api, code=code, keys=keys(ssm))
    assert made.attempt(held()).error == "HTTP 500 from ***.test"


@pytest.mark.parametrize(
    ("answers", "taken_by"),
    [
        ({}, []),  # delivered
        ({"two": 503}, ["one"]),
        ({"two": 429}, ["one"]),
        ({"two": 504}, ["one", "two"]),
        ({"two": httpx.ReadTimeout("slow")}, ["one", "two"]),
        ({"two": httpx.ConnectTimeout("slow")}, ["one"]),
        ({"three": 422}, ["one", "two"]),
        ({"three": httpx.ReadError("cut")}, ["one", "two", "three"]),
        ({"one": 503}, []),
        ({"one": 401}, []),
        ({"one": httpx.ConnectError("refused")}, []),
        ({"one": 500}, ["one"]),
    ],
)
def test_of_an_undelivered_message_those_are_named_that_have_it_or_may_have(answers, taken_by):
    def answer(request: httpx.Request) -> httpx.Response:
        found = answers.get(request.url.host, 200)
        if isinstance(found, Exception):
            raise found
        return httpx.Response(found)

    doubts: list[str] = []
    apis = [replace(API, url=f"https://{name}/", name=name) for name in ("one", "two", "three")]
    delivery(answer, *apis).attempt(held(), on_doubt=doubts.extend)
    assert doubts == taken_by


@pytest.mark.parametrize(
    ("answers", "calls", "repeated"),
    [({}, 3, []), ({"two": 503}, 2, []), ({"one": 401}, 2, [1]), ({"three": 401}, 4, [3])],
)
def test_each_call_that_is_made_again_is_counted(answers, calls, repeated):
    made: list[str] = []
    counted: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        made.append(request.url.host)
        return httpx.Response(answers.get(request.url.host, 200))

    apis = [replace(API, url=f"https://{name}/", name=name) for name in ("one", "two", "three")]
    by_key = delivery(answer, *apis, keys=keys(FakeSsm(key=SECRET)))
    by_key.attempt(held(), on_repeat=lambda: counted.append(len(made)))
    assert (by_key.calls, len(made), counted) == (3, calls, repeated)


class TestUserCode:
    def test_builds_the_request_from_body_attributes_and_keys(self):
        seen: list[httpx.Request] = []

        def code(body: Any, attributes: Any, secrets: Any) -> httpx.Request:
            return httpx.Request(
                "PUT", f"https://x/{body['id']}", headers={"K": secrets["key"], "E": attributes["event_id"]}
            )

        def answer(request: httpx.Request) -> httpx.Response:
            seen.append(request)
            return httpx.Response(204)

        made = delivery(answer, keys=keys(FakeSsm(key="kkkk")), code=code, code_name="m:f")
        assert made.attempt(held(event_id="e1")).verdict is Verdict.SUCCESS
        assert (seen[0].method, str(seen[0].url), seen[0].headers["k"]) == ("PUT", "https://x/1", "kkkk")
        assert seen[0].headers["idempotency-key"] == "e1"

    @pytest.mark.parametrize(
        ("code", "reason"),
        [
            (lambda body, attributes, secrets: 1 / 0, "m:f raised ZeroDivisionError: division by zero"),
            (lambda body, attributes, secrets: sys.exit(3), "m:f raised SystemExit: 3"),
            (lambda body, attributes, secrets: None, "m:f returned NoneType, not an httpx.Request"),
        ],
    )
    def test_that_fails_makes_the_message_permanent(self, code, reason):
        attempt = delivery(answering(200), code=code, code_name="m:f").attempt(held())
        assert (attempt.verdict, attempt.error) == (Verdict.PERMANENT, reason)

    def test_gets_numbers_that_a_double_cannot_hold_exactly(self):
        seen: list[str] = []

        def code(body: Any, attributes: Any, secrets: Any) -> httpx.Request:
            seen.append(str(body["n"]))
            return httpx.Request("POST", "https://x/")

        delivery(answering(200), code=code).attempt(held('{"n": 0.1234567890123456789}'))
        assert seen == ["0.1234567890123456789"]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("soon", None),
        ("-1", None),
        ("Mon, 01 Jan 1990 00:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(value, seconds):
    assert retry_after(value) == seconds


def test_retry_after_as_a_date_counts_from_now():
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert retry_after(later) == pytest.approx(90, abs=60)


@contextmanager
def raw_server(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve one connection after another with bytes of one's own."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                try:
                    talk(connection)
                except OSError:
                    continue

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def real(url: str, timeout: float = 60, doubts: list[str] | None = None) -> Attempt:
    doubts = [] if doubts is None else doubts
    made = ApiDelivery((replace(API, url=url, timeout=timeout),), Keys(None, {}))
    try:
        return made.attempt(held(), on_doubt=doubts.extend)
    finally:
        made.close()


def test_an_api_that_trickles_its_headers_is_given_up_on_after_the_timeout_in_all():
    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for number in range(300):
            time.sleep(0.2)
            connection.sendall(f"X-{number}: y\r\n".encode())

    with raw_server(drip) as url:
        started = time.monotonic()
        attempt = real(url, timeout=0.5)
        assert time.monotonic() - started < 30  # it trickles for a minute
    assert (attempt.verdict, attempt.http_status) == (Verdict.TRANSIENT, None)
    assert "within 0.5 s" in str(attempt.error)


@pytest.mark.parametrize("in_all", [False, True])
def test_the_time_of_a_read_and_that_in_all_end_with_the_same_words(monkeypatch, in_all):
    asked, over = threading.Event(), threading.Event()

    def silent(connection: socket.socket) -> None:
        asked.set()
        over.wait(60)

    def no_longer_than_this(job: Any, limit: float, on_look: object) -> bool:
        return not asked.wait(60) if in_all else job.done.acquire(timeout=60)

    monkeypatch.setattr(call_thread, "_wait", no_longer_than_this)
    if not in_all:  # a tenth of a second is left once the call has begun
        begun = iter([0.0])
        clock = SimpleNamespace(monotonic=lambda: next(begun, 59.9), time=time.time)
        monkeypatch.setattr(api_client, "time", clock)
    with raw_server(silent) as url:
        attempt = real(url)
        over.set()
    assert attempt.error == "no answer from api.test: ReadTimeout: no complete answer within 60 s"


@pytest.mark.parametrize(("timeout", "shown"), [(2.99998, "3 s"), (0.5, "0.5 s"), (600, "600 s")])
def test_a_time_limit_is_shown_rounded(timeout, shown):
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("slow")

    attempt = delivery(answer, replace(API, timeout=timeout)).attempt(held())
    assert attempt.error == f"no answer from api.test: ReadTimeout: no complete answer within {shown}"
    assert attempt.error_type == "ReadTimeout"


def test_an_api_that_takes_no_connection_in_time_was_not_called(monkeypatch):
    """Here the time of connecting is over first; for that in all, see a look-up that hangs."""
    monkeypatch.setattr(call_thread, "_wait", lambda job, limit, on_look: job.done.acquire(timeout=60))
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # they wait to be accepted: the next one gets no answer at all
            waiting = opened.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        doubts: list[str] = []
        attempt = real(f"http://127.0.0.1:{listener.getsockname()[1]}/", 0.1, doubts)
        assert attempt.error == "no answer from api.test: ConnectTimeout: no connection within 0.1 s"
        assert doubts == []


@pytest.mark.parametrize(
    "said", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5", b"HTTP/1.1 9999 x\r\n\r\n"]
)
def test_an_answer_that_is_no_http_is_transient(said):
    with raw_server(lambda connection: connection.sendall(said)) as url:
        assert real(url).verdict is Verdict.TRANSIENT


def test_an_answer_cut_off_after_its_status_counts_as_that_status():
    cut = b"HTTP/1.1 422 No\r\nContent-Length: 500\r\n\r\nbecause"
    with raw_server(lambda connection: connection.sendall(cut)) as url:
        attempt = real(url)
    said = "HTTP 422 from api.test; the answer broke off"
    assert attempt == Attempt(Verdict.PERMANENT, 422, said, None, attempt.api, "message")


def test_an_endless_answer_is_cut_off():
    def pour(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    with raw_server(pour) as url:
        assert real(url).verdict is Verdict.SUCCESS


def test_a_record_that_the_enqueuer_parked_is_never_sent():
    def answer(request: httpx.Request) -> httpx.Response:
        raise AssertionError("nothing is to be sent")

    attempt = delivery(answer).attempt(held(park_from="enqueuer"))
    assert (attempt.verdict, attempt.owner, attempt.api) == (Verdict.PERMANENT, "message", None)
    assert "redrive" in str(attempt.error)
