"""All types of authentication at once, on loopback, while secrets rotate and the token endpoint fails."""

from __future__ import annotations

import base64
import hmac
import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import parse_qs

import pytest

from fifo_cli.handlers.api_keys import Keys
from fifo_cli.handlers.breaker import Breaker
from fifo_cli.handlers.delivery import ApiDelivery
from fifo_cli.handlers.runtime import Api
from fifo_cli.handlers.worker_run import Limits, Run
from tests.fakes import FakeSqs, silent_journal
from tests.unit.handlers.certificates import Authority, tls_receiver
from tests.unit.handlers.test_delivery import FakeSsm
from tests.unit.plain_api import API, URLS

CA: Final = Authority()
GROUPS: Final = 40
LIFE: Final = 0.5
LEEWAY: Final = 3.0  # a call may take longer than a token lives, on a busy machine
AUTHS: Final[dict[str, dict[str, str]]] = {
    "basic": {"type": "basic", "username": "shop", "password": "{password}"},
    "hmac": {
        "type": "hmac",
        "secret": "{signing}",
        "header": "X-Signature",
        "algorithm": "sha512",
        "format": "t={timestamp},v1={hex}",
        "content": "{timestamp}.{body}",
    },
    "standard-webhooks": {"type": "standard-webhooks", "secret": "{webhooks}"},
    "mtls": {"type": "mtls", "certificate": "{certificate}", "key": "{private_key}", "ca": "{ca}"},
    "oauth2": {
        "type": "oauth2",
        "token_url": "",
        "client_id": "shop",
        "client_secret": "{client_secret}",
        "client_auth": "post",
    },
}


class Providers:
    """The APIs, their token endpoint, and where the secrets are; each takes only the newest of its secrets.

    After ``every`` messages the next of ``events`` happens, an outage only ends when it was felt.
    """

    def __init__(self, folder: Path, every: int, events: list[str]) -> None:
        self.folder = folder
        self.every, self.due, self.events = every, every, events
        self.version = 0
        self.ssm = FakeSsm(ca=CA.certificate)
        self.lock = threading.Lock()
        self.rotate()
        self.tokens: dict[str, float] = {}
        self.asked: Counter[str] = Counter()
        self.mode = ""
        self.taken: dict[str, list[int]] = defaultdict(list)

    def rotate(self) -> None:
        """Make every secret a new one; the services know it as soon as it is stored."""
        number = self.version + 1
        secret = base64.b64encode(f"a secret of 24 bytes {number:03}".encode()).decode()
        client = CA.issue(f"client {number}")
        self.ssm.values |= {
            "/password": f"password-{number}",
            "/signing": f"signing-{number}",
            "/webhooks": f"whsec_{secret}",
            "/client_secret": f"client-secret-{number}",
            **client.pem("/certificate", "/private_key"),
        }
        self.version = number

    def status(self, kind: str, headers: Any, body: bytes) -> int:
        """Say what the API of a kind answers to a message, and note what it has taken."""
        with self.lock:
            if not getattr(self, kind.replace("-", "_"))(headers, body):
                return 401
            self.taken[kind].append(json.loads(body))
            if kind == "basic" and len(self.taken[kind]) >= self.due and self.events and self.was_felt():
                self.due = len(self.taken[kind]) + self.every
                self.mode = self.events.pop(0)
                if self.mode == "rotate":
                    self.rotate()
            return 200

    def was_felt(self) -> bool:
        """Whether a token was asked for in an outage, as fast as the machine may be."""
        return self.mode not in ("down", "wrong") or bool(self.asked[self.mode])

    def basic(self, headers: Any, body: bytes) -> bool:
        wanted = base64.b64encode(f"shop:password-{self.version}".encode()).decode()
        return bool(headers["authorization"] == f"Basic {wanted}")

    def hmac(self, headers: Any, body: bytes) -> bool:
        timestamp, signature = (part.partition("=")[2] for part in headers["x-signature"].split(","))
        key = self.ssm.values["/signing"].encode()
        digest = hmac.new(key, timestamp.encode() + b"." + body, "sha512").hexdigest()
        return signature == digest and abs(time.time() - int(timestamp)) < 60

    def standard_webhooks(self, headers: Any, body: bytes) -> bool:
        key = base64.b64decode(self.ssm.values["/webhooks"].removeprefix("whsec_"))
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        digest = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
        return bool(headers["webhook-signature"] == f"v1,{digest}")

    def oauth2(self, headers: Any, body: bytes) -> bool:
        return self.tokens.get(headers["authorization"].removeprefix("Bearer "), 0) > time.monotonic()

    def mtls(self, name: str, body: bytes) -> int:
        with self.lock:
            if name != f"client {self.version}":
                return 403
            self.taken["mtls"].append(json.loads(body))
            return 200

    def token(self, form: bytes) -> tuple[int, bytes]:
        """Answer as a token endpoint."""
        mode = self.mode
        if mode == "slow":
            threading.Event().wait(0.3)
        with self.lock:
            fields = parse_qs(form.decode())
            if mode == "down":
                self.asked["down"] += 1
                return 503, b""
            if mode == "wrong":
                self.asked["wrong"] += 1
                return 200, b"<html>We are working on it</html>"
            if fields["client_secret"] != [self.ssm.values["/client_secret"]]:
                self.asked["refused"] += 1
                return 401, b'{"error": "invalid_client"}'
            self.asked["given"] += 1
            token = f"token-{self.asked['given']}-{'x' * 20}"
            self.tokens[token] = time.monotonic() + LIFE + LEEWAY
        return 200, json.dumps({"access_token": token, "token_type": "bearer", "expires_in": LIFE}).encode()

    @contextmanager
    def serve(self) -> Iterator[tuple[Api, ...]]:
        """Serve all of it; yields the APIs."""
        providers = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.path == "/token":
                    status, answer = providers.token(body)
                else:
                    status, answer = providers.status(self.path[1:], self.headers, body), b""
                self.send_response(status)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        with ExitStack() as stack:
            server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            server.daemon_threads = True
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            base = f"http://127.0.0.1:{server.server_address[1]}/"
            tls = stack.enter_context(
                tls_receiver(self.folder, CA.issue("server"), CA.certificate, self.mtls)
            )
            keys = {name.lstrip("/"): name for name in self.ssm.values}
            yield tuple(
                replace(
                    API,
                    name=kind,
                    url=tls if kind == "mtls" else f"{base}{kind}",
                    auth=auth | ({"token_url": f"{base}token"} if kind == "oauth2" else {}),
                    keys=keys,
                )
                for kind, auth in AUTHS.items()
            )


def queue_of(count: int) -> FakeSqs:
    sqs = FakeSqs(time.time, "main", "dlq")
    for number in range(count):
        sqs.send_message(
            QueueUrl="main",
            MessageBody=str(number),
            MessageGroupId=f"g{number % GROUPS}",
            MessageDeduplicationId=f"d{number}",
            MessageAttributes={"event_id": {"DataType": "String", "StringValue": f"e{number}"}},
        )
    return sqs


EVENTS: Final = ("rotate", "down", "rotate", "slow", "wrong", "rotate", "over")


@pytest.mark.parametrize(
    "count", [pytest.param(500, marks=pytest.mark.slow), pytest.param(10_000, marks=pytest.mark.long)]
)
def test_rotations_and_a_token_endpoint_that_fails_cost_no_delivery_and_few_calls(tmp_path, count):
    providers, sqs = Providers(tmp_path, count // 20, list(EVENTS)), queue_of(count)
    failures: list[str | None] = []
    began = time.monotonic()
    with providers.serve() as apis:
        keys = Keys(cast("Any", providers.ssm), dict(apis[0].keys))
        delivery = ApiDelivery(apis, keys)
        breaker = Breaker(5, first=0.05, longest=0.2)
        while sqs.queues["main"].messages:
            limits = Limits(count=count, needs=15, concurrency=8)
            run = Run(cast("Any", sqs), URLS, delivery, limits, journal=silent_journal, breaker=breaker)
            report = run.perform()
            assert report.error is None
            failures += [one.error for one in report.results if one.status == "failed"]
            if providers.mode in ("down", "wrong") and report.breaker:
                providers.mode = "over"
        delivery.close()
    took = time.monotonic() - began
    assert not providers.events
    assert sqs.queues["dlq"].messages == ()
    for kind in AUTHS:
        order = list(dict.fromkeys(providers.taken[kind]))
        assert sorted(order) == list(range(count)), kind
        for group in range(GROUPS):
            ours = [number for number in order if number % GROUPS == group]
            assert ours == sorted(ours), kind
    assert len(providers.taken["oauth2"]) == count  # the last in line: what it took was delivered
    assert [one for one in failures if "no token from 127.0.0.1" not in (one or "")] == []
    # One a life of 0.45 s, and one after each rotation and each outage; a refusal or two for each rotation.
    assert providers.asked["given"] <= took / (0.9 * LIFE) + 3 + 2 + 1
    assert providers.asked["refused"] <= 2 * 3
    assert 0 < providers.asked["down"] + providers.asked["wrong"] <= 2 * (5 + 8)
