"""Client certificates: at a server on loopback that asks for them; and what is said of one that is no use."""

from __future__ import annotations

import os
import ssl
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from fifo_cli.handlers import client_certificate
from fifo_cli.handlers.api_keys import Keys
from fifo_cli.handlers.client_certificate import check_time, tls_context
from fifo_cli.handlers.delivery import ApiDelivery, Verdict
from fifo_cli.handlers.failure import ConfigurationError
from tests.unit.handlers.certificates import Authority, Issued, encrypted, rsa_key, tls_receiver
from tests.unit.handlers.test_delivery import FakeSsm, held, keys
from tests.unit.plain_api import API

AUTH = {"type": "mtls", "certificate": "{certificate}", "key": "{private_key}", "ca": "{ca}"}
CA = Authority()
CLIENT, OTHER = CA.issue("client one"), CA.issue("client two")


class Receiver:
    def __init__(self) -> None:
        self.url = ""
        self.seen: list[tuple[str, bytes]] = []
        self.status = 200

    def answer(self, name: str, body: bytes) -> int:
        self.seen.append((name, body))
        return self.status


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    made = Receiver()
    with tls_receiver(tmp_path, CA.issue("server"), CA.certificate, made.answer) as made.url:
        yield made


def ssm_with(client: Issued, ca: str = CA.certificate) -> FakeSsm:
    ssm = FakeSsm(ca=ca)
    put(ssm, client)
    return ssm


def put(ssm: FakeSsm, client: Issued) -> None:
    ssm.values |= {"/certificate": client.certificate, "/private_key": client.key}


OPEN: list[ApiDelivery] = []


@pytest.fixture(autouse=True)
def connections_are_closed() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


def delivery_to(url: str, ssm: FakeSsm, auth: dict[str, str] = AUTH, **more: Any) -> ApiDelivery:
    api = replace(API, url=url, auth=auth, keys={name.lstrip("/"): name for name in ssm.values}, timeout=5)
    OPEN.append(ApiDelivery((api,), keys(ssm), **more))
    return OPEN[-1]


def test_the_api_sees_the_certificate_and_connections_are_kept(receiver):
    made = delivery_to(receiver.url, ssm_with(CLIENT))
    assert [made.attempt(held()).verdict for _ in range(3)] == [Verdict.SUCCESS] * 3
    assert receiver.seen == [("client one", b'{"id": 1}')] * 3
    (auth,) = made._auths.values()
    assert auth.clients is not None
    assert len(auth.clients._idle) == 1


def test_without_its_own_ca_the_server_of_one_is_not_trusted_and_the_message_waits(receiver):
    auth = {name: text for name, text in AUTH.items() if name != "ca"}
    done = delivery_to(receiver.url, ssm_with(CLIENT), auth).attempt(held())
    assert (done.verdict, done.owner) == (Verdict.TRANSIENT, "api")
    assert "certificate verify failed" in (done.error or "")
    assert "not the system's and not in [api] auth ca: ConnectError" in (done.error or "")


@pytest.mark.parametrize("status", [401, 403])
def test_a_rotated_certificate_is_shown_on_new_connections_when_the_old_is_refused(receiver, status):
    ssm = ssm_with(CLIENT)
    made = delivery_to(receiver.url, ssm)
    made.attempt(held())
    (auth,) = made._auths.values()
    before = auth.clients
    receiver.status = status
    made.attempt(held())  # the same is read again, so the connections stay
    assert auth.clients is before
    put(ssm, OTHER)
    made.attempt(held())
    assert [name for name, _ in receiver.seen[-2:]] == ["client one", "client two"]
    assert before is not None
    assert not before._idle


def test_a_certificate_that_the_api_does_not_know_is_told_as_that(receiver):
    ssm = ssm_with(Authority("another").issue("stranger"))
    made = delivery_to(receiver.url, ssm)

    def refused() -> None:
        """Try until the alert arrives: a server that closes at once may cut it off; the message waits."""
        for _ in range(20):
            assert made.attempt(held()).verdict is Verdict.TRANSIENT

    with pytest.raises(ConfigurationError, match="the API refused it in the TLS handshake: unknown ca"):
        refused()
    assert not receiver.seen
    put(ssm, CLIENT)
    assert made.attempt(held()).verdict is Verdict.SUCCESS


BROKEN = CLIENT.certificate.replace("A", "B")


def damaged(pem: str) -> str:
    """Change what is near the end of a PEM text: a certificate's dates can still be read."""
    lines = pem.splitlines()
    lines[-2] = lines[-2][:4]
    return "\n".join(lines)


UNUSABLE = {
    "a certificate that is none": (Issued("hello", CLIENT.key), "", "certificate: it is not a certificate"),
    "a certificate that is broken": (Issued(BROKEN, CLIENT.key), "", "certificate"),
    "one that is broken behind its dates": (
        Issued(damaged(CLIENT.certificate), CLIENT.key),
        "",
        "certificate: OpenSSL cannot read it",
    ),
    "a key that is broken": (
        Issued(CLIENT.certificate, damaged(CLIENT.key)),
        "",
        "key: OpenSSL cannot read it",
    ),
    "a key that is none": (Issued(CLIENT.certificate, "hello"), "", "key: it is not a private key"),
    "the key of another": (Issued(CLIENT.certificate, OTHER.key), "", "key: it is not the key of the certif"),
    "a certificate behind the one that signed it": (
        Issued(CA.certificate + CLIENT.certificate, CLIENT.key),
        "",
        "certificate: the one of the key must be the first, before those that signed it",
    ),
    "a key of another type": (
        Issued(CLIENT.certificate, rsa_key()),
        "",
        "key: it is not the key of the cert",
    ),
    "a key with line breaks as text": (
        Issued(CLIENT.certificate, CLIENT.key.replace("\n", "\\n")),
        "",
        'key: it has "\\n" where',
    ),
    "the certificate as key": (
        Issued(CLIENT.certificate, CLIENT.certificate),
        "",
        "key: it is not a private",
    ),
    "a key with a password": (Issued(CLIENT.certificate, encrypted(CLIENT.key)), "", "key: it is encrypted"),
    "an expired certificate": (CA.issue("old", begins=-9, days=1), "", "certificate: it expired on 20"),
    "one of next week": (CA.issue("new", begins=2), "", "certificate: it is not valid before 20"),
    "a CA that is none": (CLIENT, "hello", "ca: it is not one or more certificates in PEM"),
}


@pytest.mark.parametrize(("client", "ca", "named"), UNUSABLE.values(), ids=UNUSABLE)
def test_what_cannot_be_used_is_named_and_what_corrects_it_is_used_at_once(receiver, client, ca, named):
    ssm = ssm_with(client, ca or CA.certificate)
    made = delivery_to(receiver.url, ssm)
    with pytest.raises(ConfigurationError) as caught:
        made.attempt(held())
    assert f"[api] auth: {named}" in str(caught.value)
    assert "-----" not in str(caught.value).replace("(-----BEGIN", "").replace("-----)", "")
    assert not receiver.seen
    put(ssm, CLIENT)
    ssm.values["/ca"] = CA.certificate
    assert made.attempt(held()).verdict is Verdict.SUCCESS


def test_a_certificate_that_expires_while_the_function_lives_is_read_again(receiver):
    now = time.time()
    ssm = ssm_with(CLIENT)
    made = delivery_to(receiver.url, ssm, now=lambda: now)
    made.attempt(held())
    now += 30 * 86_400
    with pytest.raises(ConfigurationError, match="certificate: it expired"):
        made.attempt(held())
    put(ssm, CA.issue("renewed", days=60))
    assert made.attempt(held()).verdict is Verdict.SUCCESS


def test_the_users_code_cannot_send_it_where_there_is_no_handshake(tmp_path):
    from tests.unit.handlers.test_api_client import user_code

    def code(body: Any, attributes: Any, keys: Any) -> httpx.Request:
        return httpx.Request("POST", "http://127.0.0.1/")

    ssm = ssm_with(CLIENT)
    api = replace(API, auth=AUTH, keys={name.lstrip("/"): name for name in ssm.values})
    with (
        user_code(tmp_path, code, keys=keys(ssm), api=api) as made,
        pytest.raises(ConfigurationError, match="http://, where no certificate is shown"),
    ):
        made.attempt(held())


def test_certificate_and_key_are_in_no_file_that_others_can_read(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    modes: list[int] = []
    load = ssl.SSLContext.load_cert_chain

    class Watching(ssl.SSLContext):
        def load_cert_chain(self, certfile: Any, keyfile: Any = None, password: Any = None) -> None:
            modes.extend(
                stat.S_IMODE(Path(path).stat().st_mode) for path in map(os.path.realpath, tmp_path.iterdir())
            )
            load(self, certfile, keyfile, password)

    tls_context(Watching(ssl.PROTOCOL_TLS_CLIENT), CLIENT.certificate, CLIENT.key, None)
    assert modes == []
    monkeypatch.delattr(os, "memfd_create", raising=False)
    tls_context(Watching(ssl.PROTOCOL_TLS_CLIENT), CLIENT.certificate, CLIENT.key, None)
    assert modes == [0o600, 0o600]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("year", [1951, 2049, 2050, 2120])
def test_the_years_of_a_certificate_are_read_as_the_rfc_has_them(year):
    days = (year - time.gmtime().tm_year) * 365.25
    begins = min(-1.0, days - 1)
    made = CA.issue("long", begins=begins, days=days - begins)
    _, ends = client_certificate._validity(made.certificate)
    assert abs(time.gmtime(ends).tm_year - year) <= 1
    if year > time.gmtime().tm_year:
        assert check_time(made.certificate, time.time()) == ends


def test_a_key_in_pem_is_hidden_and_the_words_around_it_are_not():
    made = Keys(None, {})
    made.hide_value(CLIENT.key)
    lines = CLIENT.key.splitlines()
    assert made.redact("no private key for this certificate") == "no private key for this certificate"
    for text in (lines[1], lines[1][10:30], CLIENT.key, CLIENT.key.replace("\n", "\\n"), lines[2][-20:]):
        assert lines[1][12:28] not in made.redact(f"{text} was refused")
        assert lines[2][-16:] not in made.redact(f"{text} was refused")
