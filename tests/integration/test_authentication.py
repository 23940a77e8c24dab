"""OAuth 2.0 as users run it: the worker, drain and the user's own code, with a token endpoint on loopback."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from fifo_cli.aws.session import Aws
from fifo_cli.aws.sqs import Queue
from fifo_cli.local.receiver import Reply
from tests.cli_harness import Project, wait_until

SECRET: Final = "zq7731-4402-kx-9913"
TOKEN: Final = "an-access-token-5519-8806"
CODE: Final = """
import httpx

def to_request(body, attributes, keys):
    return httpx.Request("PUT", URL + "/own", json=body)
"""


class Site:
    """What the receiver answers: as the token endpoint at /token, as the API elsewhere."""

    def __init__(self) -> None:
        self.token = Reply(200, json.dumps({"access_token": TOKEN, "token_type": "Bearer"}).encode())
        self.asked = 0
        self.called: list[tuple[str, str]] = []

    def __call__(self, received: Any) -> Reply:
        if received.path == "/token":
            self.asked += 1
            return self.token
        self.called.append((received.method, received.headers["authorization"]))
        return Reply(200)


@pytest.fixture
def site(receiver: Any) -> Site:
    receiver.answer = Site()
    return receiver.answer  # type: ignore[no-any-return]


@pytest.fixture
def waiting(project: Callable[..., Project], clients: Aws, receiver: Any, site: Site) -> Project:
    """Four messages wait; the functions and this folder have code of the user's that knows of no token."""
    auth = {
        "type": "oauth2",
        "token_url": f"{receiver.url}/token",
        "client_id": "shop",
        "client_secret": "{secret}",
    }
    made = project(
        handlers={"source": "code/", "request": "mine:to_request"},
        api={"keys": {"secret": "/t/client-secret"}, "auth": auth},
    )
    (made.folder / "code").mkdir()
    (made.folder / "code" / "mine.py").write_text(f"URL = {receiver.url!r}\n{CODE}")
    clients.client("ssm").put_parameter(
        Name="/t/client-secret", Value=SECRET, Type="SecureString", Overwrite=True
    )
    made.local("deploy", "--yes").ok()
    made.local("put", "-", input="\n".join(json.dumps({"id": f"o{n}"}) for n in range(4))).ok()
    wait_until(lambda: Queue(clients, made.names, "main").counts().total == 4)
    return made


def test_one_token_serves_a_drain_and_one_the_functions_life(waiting, site):
    assert waiting.local("drain", "--count", "2", "-o", "json").ok().json()["delivered"] == 2
    assert site.asked == 1
    done = waiting.local("drain", "--count", "2", "--via", "lambda", "-o", "json").ok().json()
    assert done["delivered"] == 2
    assert site.asked == 2
    assert site.called == [("PUT", f"Bearer {TOKEN}")] * 4


def test_a_client_that_is_refused_is_named_and_nothing_is_parked(waiting, site, clients):
    site.token = Reply(401, json.dumps({"error": "invalid_client", "error_description": SECRET}).encode())
    for via in ("local", "lambda"):
        ran = waiting.local("drain", "--all", "--via", via, "-o", "json")
        assert ran.code == 2, ran.err
        assert "[api] auth: client_id, client_secret: 127.0.0.1 refused it: HTTP 401" in ran.err
        assert SECRET not in ran.out + ran.err
        assert ran.json()["parked"] == 0
    assert not site.called
    assert site.asked == 4  # in each once more, with the keys as they are now
    assert Queue(clients, waiting.names, "main").counts().total == 4
    checked = waiting.local("check")
    assert (checked.code, "`fifo-cli keys set secret" in waiting.local("status").out) == (2, True)


def test_a_token_endpoint_that_is_down_keeps_the_messages_waiting(waiting, site, clients):
    site.token = Reply(503)
    ran = waiting.local("drain", "--all", "-o", "json")
    assert ran.code == 1, ran.err
    assert ran.json()["parked"] == 0
    reasons = {row["error"] for row in ran.json()["results"] if row["status"] == "failed"}
    assert reasons == {"no call to 127.0.0.1: no token from 127.0.0.1: HTTP 503"}
    assert not site.called
    for _ in range(2):
        waiting.local("drain", "--all")
    checked = waiting.local("check").out
    assert "the worker's last 3 runs delivered nothing: group " in checked
    assert "no call to 127.0.0.1: no token from 127.0.0.1: HTTP 503" in checked
    site.token = Reply(200, json.dumps({"access_token": TOKEN}).encode())
    assert waiting.local("drain", "--all", "-o", "json").ok().json()["delivered"] == 4


def test_a_secret_that_is_to_be_deleted_is_named_with_the_command_that_restores_it(
    project, clients, receiver, site
):
    clients.client("secretsmanager").create_secret(Name="t/api", SecretString=json.dumps({"secret": SECRET}))
    auth = {
        "type": "oauth2",
        "token_url": f"{receiver.url}/token",
        "client_id": "shop",
        "client_secret": "{secret}",
    }
    first = {"url": f"{receiver.url}/first", "name": "first", "headers": {"Authorization": "Bearer abcd-77"}}
    second = {
        "url": receiver.url,
        "name": "second",
        "keys": {"secret": "secretsmanager:t/api#secret"},
        "auth": auth,
    }
    made = project(api=[first, second])
    deployed = made.local("deploy", "--yes").ok()
    assert "warning: api[0].headers.Authorization is in fifo.toml as it is" in deployed.err
    assert "abcd-77" not in deployed.out + deployed.err
    made.local("put", '{"id": "o1"}').ok()
    wait_until(lambda: Queue(clients, made.names, "main").counts().total == 1)
    site.token = Reply(401)
    for via in ("local", "lambda"):
        refused = made.local("drain", "--all", "--via", via)
        assert "[api] auth of second: client_id, client_secret: 127.0.0.1 refused it: HTTP 401" in refused.err
        assert "next: nothing was parked; `fifo-cli keys set secret" in refused.err
    assert not site.called  # not the first API either
    clients.client("secretsmanager").delete_secret(SecretId="t/api", RecoveryWindowInDays=7)
    for via in ("local", "lambda"):
        deleted = made.local("drain", "--all", "--via", via)
        assert deleted.code == 2
        assert "[api] keys: secretsmanager:t/api: the secret is scheduled for deletion" in deleted.err
        endpoint = clients.client("sqs").meta.endpoint_url
        place = f"--profile default --region us-east-1 --endpoint-url {endpoint}`"
        assert f" aws secretsmanager restore-secret --secret-id t/api {place}" in deleted.err
        assert "`AWS_SHARED_CREDENTIALS_FILE=" in deleted.err
    clients.client("secretsmanager").restore_secret(SecretId="t/api")
    site.token = Reply(200, json.dumps({"access_token": TOKEN}).encode())
    made.local("drain", "--all").ok()
    assert [given for _, given in site.called] == ["Bearer abcd-77", f"Bearer {TOKEN}"]
