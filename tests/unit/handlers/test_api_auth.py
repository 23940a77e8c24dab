"""Authentication: what goes out for each type of ``[api] auth``, and whose fault a bad value is."""

from __future__ import annotations

import base64
import hmac
import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from fifo_cli.handlers.api_auth import AuthScheme, Hmac, StandardWebhooks, Tools
from fifo_cli.handlers.api_client import MESSAGE_ID, Answer
from fifo_cli.handlers.api_keys import Keys
from fifo_cli.handlers.delivery import ApiDelivery, Verdict
from fifo_cli.handlers.failure import ConfigurationError
from fifo_cli.handlers.oauth_token import Tokens
from fifo_cli.handlers.redaction import WITHHELD
from fifo_cli.handlers.runtime import from_document
from fifo_cli.model.auth_settings import AUTH_TABLES
from fifo_cli.model.settings import load
from fifo_cli.operations.runtime_settings import runtime_settings
from tests.cli_harness import ROOT
from tests.unit.handlers.certificates import Authority
from tests.unit.handlers.test_delivery import FakeSsm, delivery, held, keys
from tests.unit.plain_api import API

BASIC = {"type": "basic", "username": "{user}", "password": "{password}"}
WEBHOOKS = {"type": "standard-webhooks", "secret": "{secret}"}
HMAC = {
    "type": "hmac",
    "secret": "{secret}",
    "header": "X-Signature",
    "algorithm": "sha256",
    "format": "sha256={hex}",
    "content": "{body}",
}


class Recorder:
    """An API that keeps what it was sent, and answers as it is told."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.requests: list[httpx.Request] = []
        self.answers = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        return self.answers.pop(0) if self.answers else httpx.Response(200)


def with_auth(
    answer: Callable[[httpx.Request], httpx.Response],
    auth: dict[str, str],
    ssm: FakeSsm | None = None,
    **more: Any,
) -> ApiDelivery:
    ssm = ssm or FakeSsm()
    api = replace(API, auth=auth, keys={name.lstrip("/"): name for name in ssm.values}, **more.pop("api", {}))
    return delivery(answer, api, keys=keys(ssm), **more)


def request(body: bytes, message_id: str = "m") -> httpx.Request:
    return httpx.Request("POST", "https://api.test/", content=body, extensions={MESSAGE_ID: message_id})


def signed(scheme: AuthScheme, made: httpx.Request) -> httpx.Request:
    scheme.sign(made)
    return made


def tools(now: Callable[[], float] = time.time) -> Tools:
    """Return tools that hide nothing and have no token."""

    def hide(made: str, *, readable: bool = False) -> None: ...

    def send(request: httpx.Request, seconds: float) -> Answer:
        raise AssertionError("no token is asked for")

    return Tools(hide, Tokens(send, hide, str, endpoint="login.test"), insecure=False, now=now)


# Basic


@pytest.mark.parametrize(
    ("user", "password", "sent"),
    [
        ("Aladdin", "open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),  # RFC 7617, section 2
        ("test", "123\u00a3", "Basic dGVzdDoxMjPCow=="),  # section 2.1
        ("key", "a:b", f"Basic {base64.b64encode(b'key:a:b').decode()}"),
    ],
)
def test_basic_sends_user_and_password_as_the_rfc_has_it(user, password, sent):
    api = Recorder()
    made = with_auth(api, BASIC, FakeSsm(user=user, password=password))
    assert made.attempt(held()).verdict is Verdict.SUCCESS
    assert api.requests[0].headers["authorization"] == sent


def test_texts_in_the_file_may_be_whole_mixed_or_empty():
    api = Recorder()
    auth = {"type": "basic", "username": "shop-{region}", "password": ""}
    with_auth(api, auth, FakeSsm(region="eu-1")).attempt(held())
    assert base64.b64decode(api.requests[0].headers["authorization"].split()[1]) == b"shop-eu-1:"


@pytest.mark.parametrize("status", [401, 403])
def test_a_rotated_password_is_read_again_and_sent_within_the_same_attempt(status):
    ssm = FakeSsm(user="shop", password="old-password")
    api = Recorder(httpx.Response(status))
    made = with_auth(api, BASIC, ssm)
    made.attempt(held())  # reads it
    ssm.values["/password"] = "new-password"
    api.answers = [httpx.Response(status)]
    assert made.attempt(held()).verdict is Verdict.SUCCESS
    last = api.requests[-1].headers["authorization"].split()[1]
    assert base64.b64decode(last) == b"shop:new-password"


def test_a_password_does_not_leave_over_http_from_the_users_own_code():
    def code(body: Any, attributes: Any, keys: Any) -> httpx.Request:
        return httpx.Request("POST", "http://elsewhere.test/")

    ssm = FakeSsm(user="shop", password="password-1")
    api = Recorder()
    with pytest.raises(ConfigurationError, match="http:// URL"):
        with_auth(api, BASIC, ssm, code=code).attempt(held())
    assert not api.requests
    with_auth(api, BASIC, ssm, code=code, api={"insecure": True}).attempt(held())
    assert len(api.requests) == 1


# Signatures


@pytest.mark.parametrize(
    ("secret", "message_id", "timestamp", "body", "signature"),
    [
        (  # that of Svix's documents, from which the specification comes
            "whsec_plJ3nmyCDGBKInavdOK15jsl",
            "msg_loFOjxBNrRLzqYUf",
            1731705121,
            b'{"event_type":"ping","data":{"success":true}}',
            "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
        ),
        (  # its libraries' tests
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1614265330,
            b'{"test": 2432232314}',
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
    ],
)
def test_standard_webhooks_signs_as_the_specifications_vectors(
    secret, message_id, timestamp, body, signature
):
    scheme = StandardWebhooks({"secret": secret}, tools(lambda: timestamp + 0.9))
    sent = signed(scheme, request(body, message_id))
    assert sent.headers["webhook-id"] == message_id
    assert sent.headers["webhook-timestamp"] == str(timestamp)
    assert sent.headers["webhook-signature"] == signature


def test_several_secrets_sign_side_by_side():
    secrets = [f"whsec_{base64.b64encode(bytes([number]) * 24).decode()}" for number in (1, 2)]
    scheme = StandardWebhooks({"secret": " ".join(secrets)}, tools())
    both = signed(scheme, request(b"{}")).headers["webhook-signature"].split(" ")
    assert len(both) == 2
    assert both[0] != both[1]


# What the providers' documents say of a secret, the signed text and the header.
def github(secret: str, request: httpx.Request) -> bool:
    digest = hmac.new(secret.encode(), request.content, "sha256").hexdigest()
    return bool(request.headers["x-hub-signature-256"] == f"sha256={digest}")


def stripe(secret: str, request: httpx.Request) -> bool:
    parts = dict(part.split("=", 1) for part in request.headers["stripe-signature"].split(","))
    signed = parts["t"].encode() + b"." + request.content
    return parts["v1"] == hmac.new(secret.encode(), signed, "sha256").hexdigest()


def shopify(secret: str, request: httpx.Request) -> bool:
    digest = hmac.new(secret.encode(), request.content, "sha256").digest()
    return bool(request.headers["x-shopify-hmac-sha256"] == base64.b64encode(digest).decode())


PROVIDERS = {
    "github": ({"header": "X-Hub-Signature-256"}, github),
    "stripe": (
        {
            "header": "Stripe-Signature",
            "format": "t={timestamp},v1={hex}",
            "content": "{timestamp}.{body}",
        },
        stripe,
    ),
    "shopify": ({"header": "X-Shopify-Hmac-SHA256", "format": "{base64}"}, shopify),
}


@pytest.mark.parametrize(("settings", "verifies"), PROVIDERS.values(), ids=PROVIDERS)
@pytest.mark.parametrize("own", [False, True], ids=["as it came", "from the user's code"])
def test_a_receiver_that_verifies_as_a_provider_documents_accepts_the_bytes_sent(settings, verifies, own):
    def code(body: Any, attributes: Any, keys: Any) -> httpx.Request:
        return httpx.Request("PUT", API.url, content=iter([b"two ", "p\u00e4rts".encode()]))

    api, secret = Recorder(), "p\u00e4ss"
    more = {"code": code} if own else {}
    made = with_auth(api, HMAC | settings, FakeSsm(secret=secret), **more)
    assert made.attempt(held('{"n": 1.0, "a":"\u00e9"}')).verdict is Verdict.SUCCESS
    assert api.requests[0].content == ("two p\u00e4rts" if own else '{"n": 1.0, "a":"\u00e9"}').encode()
    assert verifies(secret, api.requests[0])


def test_githubs_own_example_has_the_signature_that_github_shows():
    scheme = Hmac(HMAC | {"secret": "It's a Secret to Everybody"}, tools())
    sent = signed(scheme, request(b"Hello, World!"))
    assert (
        sent.headers["x-signature"]
        == "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    )


def test_sha512_and_a_key_in_the_format():
    api = Recorder()
    auth = HMAC | {"algorithm": "sha512", "format": 'keyId="{id}",signature="{base64}"'}
    with_auth(api, auth, FakeSsm(secret="s" * 9, id="client-7")).attempt(held("{}"))
    digest = base64.b64encode(hmac.digest(b"s" * 9, b"{}", "sha512")).decode()
    assert api.requests[0].headers["x-signature"] == f'keyId="client-7",signature="{digest}"'


@pytest.mark.parametrize(
    "auth", [WEBHOOKS, HMAC | {"format": "{timestamp} {hex}", "content": "{timestamp}.{body}"}]
)
def test_each_attempt_has_a_fresh_timestamp_and_the_same_id(auth):
    now = 1_000_000.0
    api = Recorder(httpx.Response(500))
    secret = f"whsec_{base64.b64encode(b'x' * 24).decode()}"
    made = with_auth(api, auth, FakeSsm(secret=secret), now=lambda: now)
    made.attempt(held(event_id="e1"))
    now += 60
    made.attempt(held(event_id="e1"))
    first, second = (
        {name: text for name, text in one.headers.items() if name.startswith(("webhook", "x-sig"))}
        for one in api.requests
    )
    assert first != second
    assert first.get("webhook-id") == second.get("webhook-id")
    assert "1000060" in "".join(second.values())


# The document's examples

VALUES = {
    "user": "shop",
    "password": "p\u00e4ssword",
    "signing": "the-signing-secret",
    "client": "shop-1",
    "client_secret": "the-client-secret",
    "webhook_secrets": "whsec_plJ3nmyCDGBKInavdOK15jsl whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}
CHECKS: dict[str, Callable[[httpx.Request], bool]] = {
    "v1/orders": lambda request: basic("shop", "p\u00e4ssword", request),
    "v2/orders": lambda request: request.headers["authorization"] == "Bearer the-token",
    "mtls/orders": lambda request: "authorization" not in request.headers,
    "webhooks/orders": lambda request: request.headers["webhook-signature"].count("v1,") == 2,
    "github": lambda request: github("the-signing-secret", request),
    "stripe": lambda request: stripe("the-signing-secret", request),
    "shopify": lambda request: shopify("the-signing-secret", request),
}


def basic(user: str, password: str, request: httpx.Request) -> bool:
    return base64.b64decode(request.headers["authorization"][6:]) == f"{user}:{password}".encode()


def examples() -> dict[str, str]:
    """Return the document's fifo.toml blocks by the path of their URL."""
    text = (ROOT / "docs" / "apis.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    return {re.findall(r"\nurl = .https://[^/]+/(.*?)\"", block)[0]: block for block in blocks}


def test_the_document_has_an_example_of_each_type():
    assert set(examples()) == set(CHECKS)
    assert {kind for block in examples().values() for kind in re.findall(r'type = "(.+?)"', block)} == set(
        AUTH_TABLES
    )


@pytest.mark.parametrize("path", CHECKS)
def test_an_example_of_the_document_authenticates(tmp_path, path):
    authority = Authority()
    client = authority.issue("client")
    file = tmp_path / "fifo.toml"
    file.write_text('[pipeline]\nname = "orders"\n[table]\nname = "orders"\n' + examples()[path])
    settings = from_document(runtime_settings(load(file).settings))
    ssm = FakeSsm()
    values = VALUES | authority.pem("ca") | client.pem("certificate", "private_key")
    ssm.values = {parameter: values[name] for name, parameter in settings.parameters.items()}
    api = Recorder()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url == "https://login.example.com/token":
            return httpx.Response(200, json={"access_token": "the-token", "token_type": "Bearer"})
        return api(request)

    made = delivery(answer, *settings.apis, keys=Keys(ssm, settings.parameters))  # type: ignore[arg-type]
    assert made.attempt(held()).verdict is Verdict.SUCCESS
    assert CHECKS[path](api.requests[-1])


# Values that cannot be used


@pytest.mark.parametrize(
    ("auth", "values", "named"),
    [
        (BASIC, {"user": "a:b", "password": "password"}, "auth: username"),
        (BASIC, {"user": "ab\tc", "password": "password"}, "auth: username: character 3 is a control"),
        (BASIC, {"user": "ab\x7f", "password": "password"}, "auth: username: character 3 is a control"),
        (BASIC, {"user": "ab", "password": "pass\tword"}, "auth: password: character 5 is a control"),
        (BASIC, {"user": "ab", "password": "password\n"}, "key password .*line break"),
        (HMAC, {"secret": "half \ud83d of one"}, "key secret .*surrogate"),
        (WEBHOOKS, {"secret": "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, "auth: secret.*whsec_"),
        (WEBHOOKS, {"secret": "whsec_!!!"}, "auth: secret"),
        (WEBHOOKS, {"secret": "whsec_"}, "auth: secret"),
        (WEBHOOKS, {"secret": "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, "auth: secret"),
        (WEBHOOKS, {"secret": "   "}, "auth: secret"),
        (HMAC, {"secret": ""}, "auth: secret.*empty"),
        (HMAC | {"format": "{id} {hex}"}, {"secret": "secret", "id": "\u00e4"}, "key id .*not ASCII"),
    ],
)
def test_a_value_that_cannot_be_used_is_a_fault_of_configuration_that_names_it(auth, values, named):
    ssm = FakeSsm(**values)
    api = Recorder()
    made = with_auth(api, auth, ssm)
    with pytest.raises(ConfigurationError, match=named) as caught:
        made.attempt(held())
    assert not api.requests
    assert not any(len(value) > 6 and value in str(caught.value) for value in values.values())
    ssm.values = {f"/{name}": f"whsec_{base64.b64encode(b'x' * 24).decode()}" for name in values}  # corrected
    assert made.attempt(held()).verdict is Verdict.SUCCESS


# Secrets stay secret


def echoed(auth: dict[str, str], ssm: FakeSsm, encode: Callable[[str], str], header: str) -> str:
    """Return the reason for a failure where the API sends back what authenticated the call."""
    made = with_auth(lambda request: httpx.Response(500, text=encode(request.headers[header])), auth, ssm)
    return str(made.attempt(held()).error)


ENCODE: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in base64": lambda text: base64.b64encode(text.encode()).decode(),
    "in hexadecimal": lambda text: text.encode().hex(),
    "in JSON": lambda text: "".join(f"\\u{ord(char):04x}" for char in text),
    "its digits spread": " ".join,
    "in upper case": str.upper,
    "its end": lambda text: text[-12:],
}


@pytest.mark.parametrize("encode", ENCODE.values(), ids=ENCODE)
@pytest.mark.parametrize(
    ("auth", "header"),
    [
        (BASIC, "authorization"),
        (BASIC | {"username": "shop", "password": "in-the-file-itself"}, "authorization"),
        (WEBHOOKS, "webhook-signature"),
        (HMAC, "x-signature"),
        (HMAC | {"format": "{base64}"}, "x-signature"),
    ],
)
def test_what_was_made_of_a_secret_is_hidden_in_every_form(auth, header, encode):
    secret = f"whsec_{base64.b64encode(bytes(range(24))).decode()}"
    ssm = FakeSsm(user="shop", password="password-one", secret=secret)
    sent: list[str] = []

    def encoded(text: str) -> str:
        sent.append(text.rpartition(" ")[2].rpartition("v1,")[2].removeprefix("sha256="))
        return str(encode(text))

    shown = echoed(auth, ssm, encoded, header)
    assert shown.startswith("HTTP 500 from api.test")
    if auth["type"] == "basic" and encode is str.upper:
        sent.append("")  # base64 in upper case is another text, and hidden all the same
    assert "***" in shown or WITHHELD in shown
    assert sent[0][:12] not in shown
    assert sent[0][-10:] not in shown
    assert encode(sent[0])[-10:] not in shown


def test_ten_thousand_signatures_are_not_kept():
    redact = Keys(None, {})
    for number in range(10_000):
        redact.hide(base64.b64encode(hmac.digest(b"k", str(number).encode(), "sha256")).decode())
        if number % 100 == 0:
            redact.redact("some text")
    traces = redact._redactor._traces
    assert sum(len(one.values) for one in traces) + len(redact._redactor._waiting) < 2_000


def test_the_frame_of_a_pem_file_and_what_a_certificate_says_are_not_secret():
    body = base64.b64encode(b"0\x82 some issuer: Example Corp, api.example.com " + bytes(range(60))).decode()
    certificate = f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"
    key = certificate.replace("CERTIFICATE", "PRIVATE KEY").replace(body, body[::-1].replace("=", ""))
    made = Keys(None, {})
    made.hide_value(certificate + key)
    text = "certificate verify failed for api.example.com (private area)"
    assert made.redact(text) == text
    for secret in (body, body[::-1].strip("=")):
        assert secret[4:24] not in made.redact(f"it said {secret[4:50]}!")
