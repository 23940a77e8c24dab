"""What plan and deploy warn of, though fifo.toml may say it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fifo_cli.model.setting_warnings import setting_warnings
from fifo_cli.model.settings import load

BEFORE = '[pipeline]\nname = "orders"\n[table]\nname = "orders"\n'
HMAC = 'auth = { type = "hmac", secret = "{k}", header = "X-Signature" }'
MTLS = 'auth = { type = "mtls", certificate = "{k}", key = "{k}" }'


def warnings(tmp_path: Path, *apis: str) -> list[str]:
    file = tmp_path / "fifo.toml"
    tables = (
        f'[[api]]\nurl = "https://{number}.test/"\nkeys = {{ k = "/k" }}\n{text}\n'
        for number, text in enumerate(apis)
    )
    file.write_text(BEFORE + "".join(tables))
    return list(setting_warnings(load(file).settings))


@pytest.mark.parametrize(
    ("text", "place", "name"),
    [
        ('auth = { type = "basic", username = "{k}", password = "p4ss-77" }', "auth.password", "password"),
        (
            'auth = { type = "oauth2", token_url = "https://l", client_id = "c", client_secret = "p4ss-77" }',
            "auth.client_secret",
            "client_secret",
        ),
        (
            'permanent = []\nauth = { type = "hmac", secret = "p4ss-77", header = "X-Signature" }',
            "auth.secret",
            "secret",
        ),
        ('headers = { Authorization = "Bearer p4ss-77" }', "headers.Authorization", "api_key"),
        ('headers = { x-api-key = "p4ss-77" }', "headers.x-api-key", "api_key"),
    ],
)
def test_a_secret_that_is_in_the_file_itself_is_named_and_not_quoted(
    tmp_path: Path, text: str, place: str, name: str
) -> None:
    (said,) = warnings(tmp_path, text)
    assert said.startswith(f"api.{place} is in fifo.toml as it is, and so in the functions' zips")
    assert f"then `fifo-cli keys set {name}`" in said
    assert "p4ss" not in said
    (said,) = warnings(tmp_path, 'headers = { Accept = "text/plain" }', text)
    assert said.startswith(f"api[1].{place} ")


@pytest.mark.parametrize(
    "text",
    [
        'auth = { type = "basic", username = "{k}", password = "" }',
        'auth = { type = "basic", username = "shop", password = "shop-{k}" }',
        'headers = { Authorization = "Bearer {k}", Accept = "text/plain" }',
        'permanent = [404, 422]\nauth = { type = "hmac", secret = "{k}", header = "X-Signature" }',
        f"permanent = [400, 404]\n{HMAC}",
        f'on_permanent = "block"\n{HMAC}',
    ],
)
def test_what_is_meant_is_not_warned_of(tmp_path: Path, text: str) -> None:
    assert warnings(tmp_path, text) == []


@pytest.mark.parametrize(
    ("text", "what"), [(HMAC, "a wrong signature"), (MTLS, "a client certificate that it does not accept")]
)
def test_that_a_400_parks_every_message_is_said_until_permanent_is_set(
    tmp_path: Path, text: str, what: str
) -> None:
    (said,) = warnings(tmp_path, text)
    assert said.startswith(f"some APIs answer 400, not 401, to {what}")
    assert "set permanent = [404, 409, 410, 413, 415, 422], else" in said
