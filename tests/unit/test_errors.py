"""No error of ours shows the user and password of a URL."""

from __future__ import annotations

import pytest

from fifo_cli.errors import AwsError, ConfigError, UsageError, without_login

URLS = {
    "http://user:hunter2@aws.example:4566/x": "http://***@aws.example:4566/x",
    "http://hunter2@aws.example": "http://***@aws.example",
    "http://:hunter2@aws.example": "http://***@aws.example",
    "https://user:hun@hunter2@aws.example/?a=b": "https://***@aws.example/?a=b",
    "https://user:/hunter2@aws.example": "https://***@aws.example",
    "https://user:x/hunter2?#@aws.example": "https://***@aws.example",
    "https://user:8hunter2@aws.example": "https://***@aws.example",
    "https://user:80hunter2/@aws.example": "https://***@aws.example",
    "socks5://user:hunter2@aws.example:1080": "socks5://***@aws.example:1080",
    "Invalid endpoint: user:hunter2@aws.example": "Invalid endpoint: ***@aws.example",
    "'http://a:hunter2@aws.example' and http://b:hunter2@aws.example,": (
        "'http://***@aws.example' and http://***@aws.example,"
    ),
}
KEPT = [
    "https://aws.example/@scope/name",
    "https://aws.example:8443/@scope/name",
    "http://[::1]:4566/a@b",
    "http://127.0.0.1:4566",
    "http://127.0.0.1:4566 and me@aws.example",
    "me@aws.example",
    "arn:aws:sqs:us-east-1:1:a@b",
    "",
]


@pytest.mark.parametrize(("text", "shown"), [*URLS.items(), *((text, text) for text in KEPT)])
def test_the_user_and_password_of_a_url_are_left_out_and_nothing_else(text: str, shown: str) -> None:
    assert without_login(text) == shown
    for kind in (AwsError, UsageError, ConfigError):
        error = kind(f"no answer from {text}", hint=f"look at {text}")
        assert (error.message, error.hint) == (f"no answer from {shown}", f"look at {shown}")
        assert str(error) == error.message
