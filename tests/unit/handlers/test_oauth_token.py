"""The token of OAuth 2.0: fetched once, renewed in time, and whose fault it is where there is none."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from fifo_cli.handlers.api_client import Answer
from fifo_cli.handlers.delivery import ApiDelivery, Verdict
from fifo_cli.handlers.failure import ApiUnavailableError, ConfigurationError
from fifo_cli.handlers.oauth_token import Grant, Tokens, lifetime
from tests.unit.handlers.test_api_auth import with_auth
from tests.unit.handlers.test_delivery import FakeSsm, delivery, held, keys
from tests.unit.plain_api import API

AUTH = {
    "type": "oauth2",
    "token_url": "https://login.test/token",
    "client_id": "{id}",
    "client_secret": "{secret}",
    "client_auth": "basic",
}
GRANT = Grant("https://login.test/token", "id", "secret", "basic")
HOUR = 3600


class Site:
    """An API and its token endpoint: it takes the tokens that it gave out and did not revoke."""

    def __init__(self, **token: Any) -> None:
        self.secret = "secret-one"
        self.token = {"token_type": "Bearer", "expires_in": HOUR} | token
        self.asked: list[httpx.Request] = []
        self.given: list[str] = []
        self.valid: set[str] = set()
        self.calls: list[str] = []
        self.answer: Callable[[], httpx.Response] | None = None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "login.test":
            return self._token(request)
        if request.url.host == "first.test":
            return httpx.Response(200)
        token = request.headers["authorization"].removeprefix("Bearer ")
        self.calls.append(token)
        return httpx.Response(200 if token in self.valid else 401)

    def _token(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.asked.append(request)
        if self.answer is not None:
            return self.answer()
        if base64.b64decode(request.headers["authorization"][6:]).decode().partition(":")[2] != self.secret:
            return httpx.Response(401, json={"error": "invalid_client"})
        self.given.append(f"token-number-{len(self.given)}-{'x' * 20}")
        self.valid.add(self.given[-1])
        return httpx.Response(200, json={"access_token": self.given[-1], **self.token})


def site_of(**token: Any) -> tuple[Site, FakeSsm, ApiDelivery]:
    site, ssm = Site(**token), FakeSsm(id="shop-1", secret="secret-one")
    return site, ssm, with_auth(site, AUTH, ssm)


def answers(*given: Answer | Exception) -> Callable[[httpx.Request, float], Answer]:
    """Return what sends a request: each call gets the next of these."""
    left = list(given)

    def send(request: httpx.Request, seconds: float) -> Answer:
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return send


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def given(token: str, **fields: Any) -> Answer:
    return Answer(200, httpx.Response(200, json={"access_token": token, **fields}).text, None)


def tokens(*answer: Answer | Exception) -> tuple[Tokens, Clock]:
    clock = Clock()
    return Tokens(
        answers(*answer), lambda made, readable=False: None, str, clock, endpoint="login.test"
    ), clock


# What is asked


def test_one_token_serves_all_calls_and_is_sent_as_bearer():
    site, _, made = site_of()
    assert [made.attempt(held()).verdict for _ in range(3)] == [Verdict.SUCCESS] * 3
    assert site.calls == site.given * 3
    (asked,) = site.asked
    assert asked.headers["authorization"] == "Basic " + base64.b64encode(b"shop-1:secret-one").decode()
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(asked.content.decode()) == {"grant_type": ["client_credentials"]}


def test_id_and_secret_are_encoded_before_they_are_joined_or_stand_in_the_form():
    asked: list[httpx.Request] = []

    def send(request: httpx.Request, seconds: float) -> Answer:
        asked.append(request)
        return given("t")

    kept = Tokens(send, lambda made, readable=False: None, str, endpoint="login.test")
    kept.token(Grant("https://login.test/", "a:b", "s +%\u00e9", "basic"), 5)
    sent = base64.b64decode(asked[0].headers["authorization"][6:]).decode()
    assert sent == "a%3Ab:s+%2B%25%C3%A9"
    kept.token(Grant("https://login.test/", "a:b", "s +%\u00e9", "post", "read write", "https://api"), 5)
    assert "authorization" not in asked[1].headers
    assert parse_qs(asked[1].content.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["a:b"],
        "client_secret": ["s +%\u00e9"],
        "scope": ["read write"],
        "audience": ["https://api"],
    }


# How long a token is kept


@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [
        (3600, 3600),
        ("3600", 3600),
        (12.5, 12.5),
        (None, 300),
        (0, 300),
        (-1, 300),
        (True, 300),
        ("soon", 300),
        ([3600], 300),
        (float("nan"), 300),
        (10**400, 300),
        (10**12, 86_400),
        (float("inf"), 86_400),
    ],
)
def test_the_life_of_a_token_is_read_from_anything(expires_in, seconds):
    assert lifetime(expires_in) == seconds


@pytest.mark.parametrize(("life", "kept"), [(3600, 3540), (100, 90), (1, 0.9)])
def test_a_token_is_renewed_shortly_before_it_expires(life, kept):
    made, clock = tokens(given("one", expires_in=life), given("two", expires_in=life))
    assert made.token(GRANT, 5) == "one"
    clock.now += kept - 0.01
    assert made.token(GRANT, 5) == "one"
    clock.now += 0.02
    assert made.token(GRANT, 5) == "two"


def test_where_a_renewal_fails_the_old_token_serves_until_it_expires():
    down = Answer(503, "", None)
    made, clock = tokens(given("one", expires_in=100), down, down, down, given("two"))
    made.token(GRANT, 5)
    clock.now += 91
    assert made.token(GRANT, 5) == "one"
    assert made.token(GRANT, 5) == "one"  # and is not asked at each call
    clock.now += 6
    assert made.token(GRANT, 5) == "one"
    clock.now += 4
    with pytest.raises(ApiUnavailableError, match="HTTP 503"):
        made.token(GRANT, 5)
    assert made.token(GRANT, 5) == "two"


def test_where_a_renewal_fails_an_old_token_that_the_api_refused_meanwhile_serves_nobody():
    def send(request: httpx.Request, seconds: float) -> Answer:
        if not clock.now:
            return given("one", expires_in=100)
        made.refused("one")  # by a call of another thread, while this one waits for the endpoint
        return Answer(503, "", None)

    clock = Clock()
    clock.now = 0
    made = Tokens(send, lambda made, readable=False: None, str, clock, endpoint="login.test")
    assert made.token(GRANT, 5) == "one"
    clock.now = 91
    with pytest.raises(ApiUnavailableError, match="HTTP 503"):
        made.token(GRANT, 5)


def test_a_token_that_is_refused_is_renewed_once_within_the_attempt():
    site, _, made = site_of()
    made.attempt(held())
    site.valid.clear()
    assert made.attempt(held()).verdict is Verdict.SUCCESS
    assert site.calls == [site.given[0], site.given[0], site.given[1]]
    site.valid = set()
    site.answer = lambda: httpx.Response(200, json={"access_token": "not-known-there"})
    before = len(site.asked)
    assert made.attempt(held()).http_status == 401
    assert len(site.asked) == before + 1


def test_a_token_that_another_thread_has_renewed_is_not_forgotten():
    made, _ = tokens(given("one"), given("two"))
    assert made.token(GRANT, 5) == "one"
    made.refused("one")
    assert made.token(GRANT, 5) == "two"
    made.refused("one")
    assert made.token(GRANT, 5) == "two"


def test_a_rotated_secret_is_read_again_when_the_endpoint_refuses_the_old_one():
    site, ssm, made = site_of(expires_in=0.05)
    made.attempt(held())
    site.secret = ssm.values["/secret"] = "secret-two"
    site.valid.clear()
    assert made.attempt(held()).verdict is Verdict.SUCCESS
    assert ssm.calls == 2


# Threads


def test_however_many_wait_for_a_token_it_is_fetched_once():
    asked, go = [], threading.Event()

    def send(request: httpx.Request, seconds: float) -> Answer:
        asked.append(request)
        go.wait(10)
        return given(f"token {len(asked)}".replace(" ", "-"))

    made = Tokens(send, lambda made, readable=False: None, str, endpoint="login.test")
    with ThreadPoolExecutor(64) as pool:
        futures = [pool.submit(made.token, GRANT, 10) for _ in range(64)]
        go.set()
        assert {future.result() for future in futures} == {"token-1"}
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("answer", "raised"),
    [(Answer(503, "", None), ApiUnavailableError), (Answer(401, "", None), ConfigurationError)],
)
def test_all_that_wait_share_a_failure(answer, raised):
    asked, waiting, go = [], threading.Semaphore(0), threading.Event()

    def send(request: httpx.Request, seconds: float) -> Answer:
        asked.append(request)
        go.wait(10)
        return answer  # type: ignore[no-any-return]

    def ask() -> BaseException | None:
        waiting.release()
        try:
            made.token(GRANT, 10)
        except (ApiUnavailableError, ConfigurationError) as error:
            return error
        return None

    made = Tokens(send, lambda made, readable=False: None, str, endpoint="login.test")
    with ThreadPoolExecutor(16) as pool:
        futures = [pool.submit(ask) for _ in range(16)]
        for _ in range(16):
            waiting.acquire()
        threading.Event().wait(0.1)  # all of them are at the lock, or wait
        go.set()
        assert all(isinstance(future.result(), raised) for future in futures)
    assert len(asked) == 1


def test_who_waits_for_another_threads_fetch_waits_no_longer_than_its_own_call_may():
    go = threading.Event()

    def send(request: httpx.Request, seconds: float) -> Answer:
        go.wait(10)
        return given("late")

    made = Tokens(send, lambda made, readable=False: None, str, endpoint="login.test")
    first = threading.Thread(target=made.token, args=(GRANT, 10))
    first.start()
    while made._fetch is None:
        threading.Event().wait(0.001)
    with pytest.raises(ApiUnavailableError, match=r"no token from login.test within 0.05 s"):
        made.token(GRANT, 0.05)
    go.set()
    first.join()
    assert made.token(GRANT, 0) == "late"


# Whose fault it is


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (httpx.Response(401, json={"error": "invalid_client"}), "auth: client_id, client_secret"),
        (httpx.Response(400, json={"error": "invalid_client"}), "auth: client_id, client_secret"),
        (httpx.Response(400, json={"error": "unauthorized_client"}), "auth: client_id, client_secret"),
        (httpx.Response(400, json={"error": "invalid_scope"}), "auth: scope"),
        (httpx.Response(400, json={"error": "invalid_target"}), "auth: audience"),
        (httpx.Response(403, json={"error": "access_denied"}), "auth: token_url"),
        (httpx.Response(400, json={"error": "unsupported_grant_type"}), "auth: token_url"),
        (httpx.Response(401, text="<html>no</html>"), "auth: client_id, client_secret"),
        (httpx.Response(401), "auth: client_id, client_secret"),
        (httpx.Response(200, json={"access_token": "x" * 9, "token_type": "mac"}), "token_type mac"),
        (httpx.Response(200, json={"access_token": "x" * 9, "token_type": 7}), "token_type 7"),
        (httpx.Response(200, json={"error": "invalid_client"}), "auth: client_id, client_secret"),
        (httpx.Response(200, json={"error": "invalid_scope"}), "auth: scope"),
    ],
)
def test_what_only_the_owner_can_correct_is_a_fault_of_configuration(answer, named):
    site, _, made = site_of()
    site.answer = lambda: answer
    with pytest.raises(ConfigurationError, match=named):
        made.attempt(held())
    assert not site.calls
    assert len(site.asked) == 2  # once more with the keys as they are now
    site.answer = None
    assert made.attempt(held()).verdict is Verdict.SUCCESS


def raising(error: Exception) -> Callable[[], httpx.Response]:
    def answer() -> httpx.Response:
        raise error

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        *(lambda status=status: httpx.Response(status) for status in (302, 404, 408, 429, 500, 503, 204)),
        lambda: httpx.Response(500, json={"error": "invalid_client"}),
        lambda: httpx.Response(400, json={"error": "temporarily_unavailable"}),
        lambda: httpx.Response(400, text="<html>Bad Request</html>"),
        lambda: httpx.Response(403, text="<html>Forbidden</html>"),
        lambda: httpx.Response(200, text="<html>login</html>"),
        lambda: httpx.Response(200, json=["access_token"]),
        lambda: httpx.Response(200, json={"token_type": "Bearer"}),
        lambda: httpx.Response(200, json={"access_token": None}),
        lambda: httpx.Response(200, json={"access_token": "a\nb"}),
        lambda: httpx.Response(200, json={"error": "busy"}),
        lambda: httpx.Response(200, json={"error": ["invalid_client"]}),
        lambda: httpx.Response(200, text="[" * 100_000),
        raising(httpx.ConnectError("refused")),
        raising(httpx.ReadTimeout("slow")),
        raising(httpx.RemoteProtocolError("broken")),
    ],
)
def test_all_else_is_an_outage_in_which_nothing_is_sent_or_parked(answer):
    site, _, made = site_of()
    site.answer = answer
    done = made.attempt(held())
    assert (done.verdict, done.owner, done.error_type) == (Verdict.TRANSIENT, "api", None)
    assert (done.error or "").startswith("no call to api.test: no token from login.test: ")
    assert not site.calls
    site.answer = None
    assert made.attempt(held()).verdict is Verdict.SUCCESS


NOT_JSON = "with no access_token, as its body is not a JSON object"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            {"json": {"error": "busy", "error_description": "try\nlater"}},
            "with no access_token: busy try later",
        ),
        ({"json": {"error_description": "w" * 9_000}}, f"with no access_token: {'w' * 200}"),
        ({"json": {"error": 7, "token": "a-token-in-another-place"}}, "with no access_token"),
        ({"json": {"access_token": "a\nb"}}, "with an access_token that no header can hold"),
        ({"text": '{"access_token": "a-token-that-is-cut-off'}, NOT_JSON),
        ({"text": "access_token=a-token-in-a-form"}, NOT_JSON),
        ({"text": "<html>a-token</html>" * 9_000}, NOT_JSON),
        ({"text": ""}, NOT_JSON),
        ({"json": {"error": "no secret-one"}}, "with no access_token: no ***"),
    ],
)
def test_a_success_without_a_token_says_why_and_never_what_may_be_one(answer, said):
    site, _, made = site_of()
    site.answer = lambda: httpx.Response(200, **answer)
    assert made.attempt(held()).error == f"no call to api.test: no token from login.test: HTTP 200 {said}"


def test_the_endpoint_is_named_as_in_the_file_with_its_placeholders():
    site, ssm = Site(), FakeSsm(id="tenant-4711", secret="secret-one")
    made = with_auth(site, AUTH | {"token_url": "https://{id}.test/token"}, ssm)
    site.valid = set()
    made._auths[next(iter(made._auths))]._tools.tokens.send = lambda request, seconds: Answer(503, "", None)
    reason = made.attempt(held()).error
    assert reason == "no call to api.test: no token from {id}.test: HTTP 503"


def test_what_holds_the_token_shows_neither_it_nor_the_secret_it_was_asked_for_with():
    made, _ = tokens(given("token-one"))
    assert made.token(replace(GRANT, client_secret="secret-one"), 1) == "token-one"
    assert "-one" not in repr(made)


@pytest.mark.parametrize("kind", ["bearer", "BEARER", None])
def test_any_spelling_of_bearer_is_taken(kind):
    site, _, made = site_of(**({"token_type": kind} if kind else {}))
    if kind is None:
        del site.token["token_type"]
    assert made.attempt(held()).verdict is Verdict.SUCCESS


def test_an_endpoint_that_asks_for_time_is_left_alone_for_it():
    made, clock = tokens(Answer(429, "", 30.0), given("one"))
    with pytest.raises(ApiUnavailableError) as caught:
        made.token(GRANT, 5)
    assert caught.value.retry_after == 30
    reason = str(caught.value)
    assert re.search(r": HTTP 429; it is not asked again before \d\d:\d\d:\d\d UTC$", reason)
    clock.now += 10
    with pytest.raises(ApiUnavailableError) as caught:
        made.token(GRANT, 5)
    assert (caught.value.retry_after, str(caught.value)) == (20, reason)
    clock.now += 20
    assert made.token(GRANT, 5) == "one"


def test_the_wait_that_an_endpoint_asks_for_is_the_runs():
    site, _, made = site_of()
    site.answer = lambda: httpx.Response(503, headers={"Retry-After": "7"})
    assert made.attempt(held()).retry_after == 7


def test_an_endpoint_that_asks_for_a_year_is_asked_again_after_minutes():
    made, clock = tokens(Answer(503, "", 31_000_000.0), given("one"))
    with pytest.raises(ApiUnavailableError):
        made.token(GRANT, 5)
    clock.now += 301
    assert made.token(GRANT, 5) == "one"


@pytest.fixture
def slow() -> Site:
    """A token endpoint that takes nine tenths of a call's half second."""
    site = Site()

    def answer() -> httpx.Response:
        threading.Event().wait(0.45)
        return httpx.Response(200, json={"access_token": "slow-token"})

    site.answer, site.valid = answer, {"slow-token"}
    return site


def slowly(site: Site, number: int) -> ApiDelivery:
    """Return what delivers to so many APIs of a site, of which the last wants a token."""
    ssm = FakeSsm(id="shop-1", secret="secret-one")
    names = {name.lstrip("/"): name for name in ssm.values}
    last = replace(API, auth=AUTH, keys=names, timeout=0.5)
    first = replace(API, name="first", url="https://first.test/", keys=names)
    return delivery(site, *[first, last][-number:], keys=keys(ssm))


@pytest.mark.parametrize("number", [1, 2])
def test_a_call_for_which_the_token_left_no_time_is_made_by_the_next_run(slow, number):
    made = slowly(slow, number)
    done = made.attempt(held(), time_left=lambda: 1.0)
    said = re.escape("no call to api.test: no token from login.test in time: the wait for it left 0.")
    assert re.fullmatch(said + r"\d s of 0\.5 s", done.error or "")
    assert not slow.calls
    assert made.attempt(held(), time_left=lambda: 1.0).verdict is Verdict.SUCCESS
    assert len(slow.asked) == 1


@pytest.mark.parametrize("number", [1, 2])
def test_where_the_run_has_time_the_call_is_made_with_a_token_that_came_late(slow, number):
    assert slowly(slow, number).attempt(held()).verdict is Verdict.SUCCESS
    assert len(slow.asked) == 1


@pytest.mark.parametrize("url", ["http://login.test/", "http://{id}/", "ftp://login.test/", "https://"])
def test_a_token_url_that_the_keys_make_unusable_is_named(url):
    made = with_auth(Site(), AUTH | {"token_url": url}, FakeSsm(id="shop-1", secret="secret-one"))
    with pytest.raises(ConfigurationError, match="auth: token_url"):
        made.attempt(held())


def test_a_secret_goes_to_no_http_url_of_the_users_code():
    def code(body: Any, attributes: Any, keys: Any) -> httpx.Request:
        return httpx.Request("POST", "http://elsewhere.test/")

    site, ssm = Site(), FakeSsm(id="shop-1", secret="secret-one")
    with pytest.raises(ConfigurationError, match="http://"):
        with_auth(site, AUTH, ssm, code=code).attempt(held())
    assert not site.asked


# Secrets stay secret

JWT = ".".join(
    base64.urlsafe_b64encode(part).decode().rstrip("=")
    for part in (b'{"alg":"RS256","typ":"JWT"}', b'{"iss":"https://login.test/"}', bytes(range(60)))
)


@pytest.mark.parametrize("token", [JWT, "opaque-token-6f8a9b", "c2VjcmV0IHRva2VuIGluIGJhc2U2NA=="])
@pytest.mark.parametrize(
    "encode",
    [str, str.upper, lambda text: text.encode().hex(), " ".join, lambda t: t[-12:]],
)
def test_a_token_that_comes_back_is_hidden(token, encode):
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "login.test":
            return httpx.Response(200, json={"access_token": token})
        return httpx.Response(500, text=encode(request.headers["authorization"][7:]))

    ssm = FakeSsm(id="shop-1", secret="secret-one")
    shown = with_auth(answer, AUTH, ssm).attempt(held()).error or ""
    assert encode(token)[-8:] not in shown
    assert token[-8:] not in shown


def test_the_readable_part_of_a_token_does_not_hide_other_texts():
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "login.test":
            return httpx.Response(200, json={"access_token": JWT})
        return httpx.Response(500, text="ask https://login.test/ for another")

    made = with_auth(answer, AUTH, FakeSsm(id="shop-1", secret="secret-one"))
    assert made.attempt(held()).error == "HTTP 500 from api.test: ask https://login.test/ for another"


@pytest.mark.parametrize("encode", [str, lambda text: base64.b64encode(text.encode()).decode()])
def test_what_the_endpoint_says_of_a_refusal_is_shown_without_the_secret(encode):
    def answer(request: httpx.Request) -> httpx.Response:
        said = f"no client with {encode(request.headers['authorization'])} or {encode('secret-one')}"
        return httpx.Response(401, json={"error": "invalid_client", "error_description": said})

    made = with_auth(answer, AUTH, FakeSsm(id="shop-1", secret="secret-one"))
    with pytest.raises(ConfigurationError) as caught:
        made.attempt(held())
    shown = made.redact(str(caught.value))
    assert "login.test refused it: HTTP 401 invalid_client" in shown
    assert encode("secret-one")[:10] not in shown
    assert base64.b64encode(b"shop-1:secret-one").decode()[4:16] not in shown
