"""A key that comes back in whatever way leaves the worker by no way: the real run, against real HTTP.

Few examples here, and many in ``pytest -m long``.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import logging
import socket
import sys
import tempfile
import threading
import traceback
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fifo_cli.handlers import worker
from fifo_cli.handlers.api_keys import Keys
from fifo_cli.handlers.code_guard import CodeGuard, Notes
from fifo_cli.handlers.delivery import ApiDelivery, RequestCode
from fifo_cli.handlers.guarded_output import guard_logs
from fifo_cli.handlers.json_log import stdout_journal
from fifo_cli.handlers.run_report import Report
from fifo_cli.handlers.worker_run import Limits, Run
from fifo_cli.model.settings import Settings
from fifo_cli.operations.queues.drain import DrainResult, _explained
from fifo_cli.render.documents import json_document, json_line
from fifo_cli.render.queue_tables import drain_table
from tests.encodings import PART, REVERSIBLE, cut, encoded, leak, parts
from tests.fakes import Clock, FakeSqs
from tests.unit.handlers.guarded_streams import guarded_streams
from tests.unit.handlers.test_api_client import RawApi, said
from tests.unit.handlers.test_delivery import FakeSsm
from tests.unit.plain_api import API, URLS, no_breaker

ALPHABETS = [
    st.characters(min_codepoint=0x21, max_codepoint=0x7E),
    st.sampled_from("0123456789abcdef"),
    st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_"),
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Z"]),
]
SECRETS = st.one_of([st.text(alphabet, min_size=8, max_size=200) for alphabet in ALPHABETS])


def _chunked(body: bytes, *, trailer: bytes = b"", extension: bytes = b"") -> bytes:
    return b"%x%s\r\n%s\r\n0\r\n%s\r\n" % (len(body), extension, body, trailer)


def _raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


CHUNKED = b"Transfer-Encoding: chunked"
# Where in an answer the key may stand: from its bytes to the answer's.
ANSWERS: dict[str, Callable[[bytes], bytes]] = {
    "body": lambda text: said("422 No", body=text),
    "body of a failure": lambda text: said("500 No", body=text),
    "body of a refusal of the key": lambda text: said("401 No", body=b"no such key: " + text),
    "body of a redirect": lambda text: said("302 Found", b"Location: /", body=text),
    "reason phrase": lambda text: b"HTTP/1.1 422 " + text + b"\r\n\r\n",
    "instead of a status": lambda text: b"HTTP/1.1 " + text + b"\r\n\r\n",
    "instead of a status line": lambda text: text + b"\r\n\r\n",
    "header": lambda text: said("422 No", b"X-Echo: " + text),
    "header's name": lambda text: said("422 No", text + b": 1"),
    "header that is none": lambda text: said("422 No", text, body=b"no"),
    "header of an informational answer": lambda text: (
        b"HTTP/1.1 103 Early\r\nLink: " + text + b"\r\n\r\n" + said("422 No", body=b"no")
    ),
    "header that broke off": lambda text: b"HTTP/1.1 422 No\r\nX-Echo: " + text,
    "Location": lambda text: said("301 Moved", b"Location: https://other.test/?key=" + text),
    "Retry-After": lambda text: said("429 Slow", b"Retry-After: " + text),
    "Content-Type": lambda text: said("422 No", b"Content-Type: text/" + text, body=b"no"),
    "Content-Encoding": lambda text: said("422 No", b"Content-Encoding: " + text, body=b"no"),
    "Content-Length": lambda text: said("422 No", b"Content-Length: " + text, body=b"no"),
    "Transfer-Encoding": lambda text: said("422 No", b"Transfer-Encoding: " + text, body=b"no"),
    "cookie": lambda text: said("500 No", b"Set-Cookie: key=" + text),
    "gzip": lambda text: said("422 No", b"Content-Encoding: gzip", body=gzip.compress(text)),
    "gzip that broke off": lambda text: said(
        "422 No", b"Content-Encoding: gzip", body=gzip.compress(text * 3)[:-9]
    ),
    "gzip that is none": lambda text: said("422 No", b"Content-Encoding: gzip", body=text),
    "zlib": lambda text: said("422 No", b"Content-Encoding: deflate", body=zlib.compress(text)),
    "deflate": lambda text: said("422 No", b"Content-Encoding: deflate", body=_raw_deflate(text)),
    "twice": lambda text: said(
        "422 No", b"Content-Encoding: gzip", b"Content-Encoding: deflate", body=zlib.compress(text)
    ),
    "brotli": lambda text: said("422 No", b"Content-Encoding: br", body=b"\x0b\x02\x80" + text + b"\x03"),
    "chunks": lambda text: said("422 No", CHUNKED, body=_chunked(text)),
    "small chunks": lambda text: said(
        "422 No", CHUNKED, body=_chunked(text[:3])[:-5] + _chunked(b"-" if len(text) < 4 else text[3:])
    ),
    "trailer": lambda text: said("422 No", CHUNKED, body=_chunked(b"no", trailer=b"X: " + text + b"\r\n")),
    "chunk extension": lambda text: said("422 No", CHUNKED, body=_chunked(b"no", extension=b";" + text)),
    "chunk that is none": lambda text: said("422 No", CHUNKED, body=text),
    "body that broke off": lambda text: said("422 No", b"Content-Length: 5000", body=text),
    "long page": lambda text: said("503 No", body=b"<p>" * 330 + text + b"</p>" * 900),
    "white space": lambda text: said("422 No", body=b" \r\n\t" * 200 + text),
    "UTF-16": lambda text: said(
        "422 No", b"Content-Type: text/plain; charset=utf-16", body=text.decode().encode("utf-16")
    ),
    "UTF-7": lambda text: said(
        "422 No", b"Content-Type: text/plain; charset=utf-7", body=text.decode().encode("utf-7")
    ),
}


class LateText(Exception):
    """An error whose text is made when asked for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def __str__(self) -> str:
        return f"the call with {self.text} failed"


def _noted(text: str) -> None:
    error = ValueError("refused")
    error.add_note(text)
    error.__cause__ = KeyError(text)
    raise error


def _grouped(text: str) -> None:
    raise ExceptionGroup(f"all failed: {text}", [ValueError(text), ExceptionGroup("in", [OSError(text)])])


def _chained(text: str) -> None:
    try:
        raise KeyError(text)
    except KeyError as error:
        raise RuntimeError(f"no {error}") from error


def _logged(text: str) -> None:
    log = logging.getLogger("orders")
    log.warning("the key is %s", text)
    log.debug(text)
    try:
        _chained(text)
    except RuntimeError:
        log.exception("it failed", stack_info=True)


def _printed(text: str) -> None:
    print(text)  # noqa: T201 - what the user's code may do
    print({"Authorization": text}, file=sys.stderr)  # noqa: T201
    traceback.print_exception(LateText(text))


def _threaded(text: str) -> None:
    thread = threading.Thread(target=_grouped, args=(text,))
    thread.start()
    thread.join()


def _raise(error: BaseException) -> None:
    raise error


def _after(act: Callable[[str], None], url: str, text: str) -> httpx.Request:
    act(text)
    return _request(url)


def _request(url: str, **options: Any) -> httpx.Request:
    return httpx.Request("POST", url, **options)


# What the user's code may do with a key: it gets the API's URL and the key in some encoding.
DEEDS: dict[str, Callable[[str, str], httpx.Request | object]] = {
    "raises": lambda url, text: _raise(ValueError(text)),
    "raises a KeyError": lambda url, text: _raise(KeyError({"key": text})),
    "raises an error with notes": lambda url, text: _noted(text),
    "raises a group": lambda url, text: _grouped(text),
    "raises a chain": lambda url, text: _chained(text),
    "raises what has no text yet": lambda url, text: _raise(LateText(text)),
    "raises a class of that name": lambda url, text: _raise(type(text.replace("\0", ""), (Exception,), {})()),
    "raises a network error": lambda url, text: _raise(httpx.ConnectError(f"cannot reach {text}")),
    "raises SystemExit": lambda url, text: _raise(SystemExit(text)),
    "raises a decode error": lambda url, text: text.encode("ascii", "xmlcharrefreplace").decode("utf-16-be"),
    "raises an error of httpx": lambda url, text: httpx.URL(f"http://{text}:{text}@127.0.0.1:{text}/"),
    "calls a URL with it": lambda url, text: _request(f"{url}{text[:4000]}?key={text[:4000]}"),
    "calls a host of that name": lambda url, text: _request(f"https://{text}.invalid/"),
    "calls a port of that name": lambda url, text: _request(f"https://127.0.0.1:{text}/"),
    "calls a user of that name": lambda url, text: _request(
        "http://127.0.0.1:1/", headers={"Authorization": text}, extensions={"x": text}
    ),
    "has it in a header": lambda url, text: _request(url, headers={"X-Key": f"key\n{text}"}),
    "has it in a header's name": lambda url, text: _request(url, headers={f"X {text}": "1"}),
    "returns it": lambda url, text: {"key": text},
    "logs": lambda url, text: _after(_logged, url, text),
    "prints": lambda url, text: _after(_printed, url, text),
    "starts a thread": lambda url, text: _after(_threaded, url, text),
    "refused by the other side": lambda url, text: _request(f"http://127.0.0.1:1/{text[:4000]}"),
}


@dataclass(frozen=True)
class World:
    """A worker's surroundings: an API, and a folder for notes."""

    api: RawApi
    notes: Path

    def run(self, secret: str, *, answer: bytes, deed: Callable[[str], object] | None = None) -> str:
        """Deliver a message, and return all that can be seen of it afterwards."""
        self.api.answer = answer
        sqs: Any = FakeSqs(Clock(), "main", "dlq")
        sqs.send_message(
            QueueUrl="main", MessageBody='{"id": 1}', MessageGroupId="g", MessageDeduplicationId="d"
        )
        keys = Keys(FakeSsm(key=secret), {"api_key": "/key"})  # type: ignore[arg-type]
        code = self._code(deed)
        guard = CodeGuard("m:f", Notes(self.notes), limit=30, calls_network=True)
        api = replace(API, url=self.api.url, permanent=("422",), timeout=5)
        delivery = ApiDelivery((api,), keys, code=code, guard=guard)
        with _seen(keys) as shown:
            limits = Limits(count=None, needs=15, patience=0)  # Retry-After may be a key of digits
            run = Run(sqs, URLS, delivery, limits, journal=stdout_journal, breaker=no_breaker())
            report = run.perform()
            shown.write(_outputs(report, delivery.redact))
        delivery.close()
        parked = [message.attributes for message in sqs.queues["dlq"].messages]
        return shown.getvalue() + str(parked) + json.dumps(parked, ensure_ascii=False)

    def _code(self, deed: Callable[[str], object] | None) -> RequestCode:
        def code(body: Any, attributes: Any, keys: Mapping[str, str]) -> httpx.Request:
            if deed is not None:
                return deed(keys["api_key"])  # type: ignore[return-value]
            return _request(self.api.url)

        return code


@contextlib.contextmanager
def _seen(keys: Keys) -> Iterator[io.StringIO]:
    """Collect stdout, stderr and the log, as in a function whose code switched debug logs on."""
    shown, root, before = io.StringIO(), logging.getLogger(), logging.getLogRecordFactory()
    handler, level = logging.StreamHandler(shown), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    hook, threading.excepthook = threading.excepthook, threading.__excepthook__
    try:
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
            guard_logs(keys.redact_long)
            with guarded_streams(keys.redact_long):
                yield shown
    finally:
        threading.excepthook = hook
        root.removeHandler(handler)
        root.setLevel(level)
        logging.setLogRecordFactory(before)


def _outputs(report: Report, redact: Callable[[str], str]) -> str:
    """Return what a run reports as a function, to `drain --via lambda` and as `drain` itself."""
    shown = [json.dumps(worker._ended(report, redact, {}))]
    try:
        worker._ended(report, redact, None)
    except Exception as error:  # noqa: BLE001 - Lambda logs it
        shown += traceback.format_exception(error)
    if ended := _explained(report.error, redact, Settings.model_construct(api=())):
        shown += [ended.message, str(ended.hint), *traceback.format_exception(ended)]
    result = DrainResult(tuple(report.results), 0)
    shown += [drain_table(result, width=width, dry_run=False) for width in (None, 80)]
    return "\n".join([*shown, json_document(result.document()), *map(json_line, result.rows())])


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Know no name but this machine's: here the user's code calls hosts whose name is a key."""
    lookup = socket.getaddrinfo

    def local_lookup(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in ("127.0.0.1", b"127.0.0.1"):
            raise socket.gaierror(socket.EAI_NONAME, f"Name or service not known: {host!r}")
        return lookup(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", local_lookup)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    api = RawApi()
    with tempfile.TemporaryDirectory() as folder:
        yield World(api, Path(folder) / "notes")
    api.close()


@dataclass(frozen=True)
class Case:
    """A key in one encoding within another, and a piece of that."""

    secret: str
    inner: str
    outer: str
    start: float
    end: float

    def text(self, secret: str) -> str:
        return cut(encoded(secret, self.inner, self.outer), self.start, self.end)

    def check(self, shown: str) -> None:
        assert leak(shown, self.secret, self.inner, self.outer) is None


CASES = st.builds(
    Case,
    SECRETS,
    st.sampled_from(REVERSIBLE),
    st.sampled_from(REVERSIBLE),
    st.one_of(st.just(0.0), st.floats(0, 0.5)),
    st.one_of(st.just(1.0), st.floats(0.5, 1)),
)


def check_answer(world: World, case: Case, place: str) -> None:
    case.check(world.run(case.secret, answer=ANSWERS[place](case.text(case.secret).encode())))


def check_deed(world: World, case: Case, deed: str) -> None:
    def do(key: str) -> object:
        return DEEDS[deed](world.api.url, case.text(key))

    case.check(world.run(case.secret, answer=said("200 OK", b"Content-Length: 0"), deed=do))


UNUSED = "\u2603" * 9
PLAIN = "s3cr3t-Sesame/9417+8260=abcDEF"
WHOLE = [("plain", "plain"), ("base64", "hexadecimal")]


@pytest.mark.parametrize("place", ANSWERS)
def test_an_answer_shows_no_key_wherever_it_stands(world: World, place: str) -> None:
    for inner, outer in WHOLE:
        check_answer(world, Case(PLAIN, inner, outer, 0, 1), place)


@pytest.mark.parametrize("deed", DEEDS)
def test_code_of_the_users_shows_no_key_whatever_it_does(world: World, deed: str) -> None:
    for inner, outer in WHOLE:
        check_deed(world, Case(PLAIN, inner, outer, 0, 1), deed)


def check_any(world: World, case: Case, way: str) -> None:
    # Hypothesis likes the texts that it finds in the code: "delivered" is shown, and is no key.
    own = own_words(world)
    assume(not any(part.lower() in own for part in parts(case.secret)))
    (check_answer if way in ANSWERS else check_deed)(world, case, way)


@cache
def own_words(world: World) -> str:
    """Return what is shown without any key."""
    answers = (said("200 OK"), said("422 No"), said("500 No"), said("401 No"), b"junk")
    shown = [world.run(UNUSED, answer=answer) for answer in answers]
    shown += [
        world.run(UNUSED, answer=answers[0], deed=partial(deed, world.api.url)) for deed in DEEDS.values()
    ]
    return "\n".join({line.lower() for text in shown for line in text.splitlines()})


@settings(max_examples=40)
@given(CASES, st.sampled_from([*ANSWERS, *DEEDS]))
def test_no_key_is_shown_by_any_way(world: World, case: Case, way: str) -> None:
    check_any(world, case, way)


@pytest.mark.long
@settings(max_examples=10_000, suppress_health_check=[HealthCheck.too_slow])
@given(CASES, st.sampled_from([*ANSWERS, *DEEDS]))
def test_no_key_is_shown_by_any_way_in_many_tries(world: World, case: Case, way: str) -> None:
    check_any(world, case, way)


def test_the_check_finds_what_is_shown(world: World) -> None:
    case = Case(PLAIN, "plain", "plain", 0, 1)
    for text in (PLAIN, PLAIN[3 : 3 + PART], encoded(PLAIN, "plain", "base64"), PLAIN.encode().hex()):
        with pytest.raises(AssertionError):
            case.check(f"HTTP 422: {text}")
