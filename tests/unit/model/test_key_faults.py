"""Which keys a fault of configuration is about, and what is said to be done."""

from __future__ import annotations

from pathlib import Path

import pytest

from fifo_cli.model.key_faults import ANOTHER_SECRET, key_commands
from fifo_cli.model.settings import Settings, load

FILE = """
[pipeline]
name = "orders"
[table]
name = "orders"
[[api]]
name = "the shop"
url = "https://shop.test/"
keys = { user = "/shop/user", password = "secretsmanager:shop#password" }
auth = { type = "basic", username = "{user}", password = "{password}" }
[[api]]
url = "https://bills.test/"
keys = { client = "/bills/client", secret = "secretsmanager:bills/api" }
[api.auth]
type = "oauth2"
token_url = "https://login.test/{client}"
client_id = "{client}"
client_secret = "{secret}"
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    file = tmp_path / "fifo.toml"
    file.write_text(FILE)
    return load(file).settings


def sets(*names: str) -> str:
    return " and ".join(f"`fifo-cli keys set {name}`" for name in names)


@pytest.mark.parametrize(
    ("what", "commands"),
    [
        ("key user (SSM parameter /shop/user)", sets("user")),
        ("[api] auth of the shop: username", sets("user")),
        ("[api] auth of bills.test: client_id, client_secret", sets("client", "secret")),
        ("[api] auth of bills.test: token_url", sets("client")),
        ("[api] auth of bills.test: scope", ""),
        ("[api] auth: client_secret", sets("secret")),
        ("[api] auth of nobody: client_secret", ""),
        ("[api] keys: /shop/user, secretsmanager:shop", sets("user", "password")),
        ("[api] keys: /gone", "`fifo-cli keys list`, then `fifo-cli keys set NAME`"),
        ("key gone (SSM parameter /gone)", sets("gone")),
        (
            "[api] keys: /shop/user, /bills/client, secretsmanager:shop, secretsmanager:bills/api",
            "`fifo-cli keys list`, then `fifo-cli keys set NAME`",
        ),
        ("orders:to_request", ""),
        ("[api] url http://x", ""),
        ("", ""),
    ],
)
def test_the_keys_that_a_fault_may_be_about_are_named(settings: Settings, what: str, commands: str) -> None:
    assert key_commands(what, "it is unusable", settings) == commands


def test_a_secret_that_is_scheduled_for_deletion_is_to_be_restored(settings: Settings) -> None:
    restore = "`aws secretsmanager restore-secret --secret-id bills/api`"
    said = "the secret is scheduled for deletion"
    assert key_commands("[api] keys: secretsmanager:bills/api", said, settings) == restore
    assert key_commands("key secret", "secret bills/api is scheduled for deletion", settings) == restore


@pytest.mark.parametrize(
    "said", ["the secret is not a JSON object, so it has no fields", "the secret is binary"]
)
def test_a_field_of_what_has_none_is_not_to_be_set(settings: Settings, said: str) -> None:
    found = key_commands("key password (secret shop, field password)", said, settings)
    assert found == f"{ANOTHER_SECRET}, then `fifo-cli deploy`"
    assert key_commands("key secret (secret bills/api)", said, settings) == sets("secret")
