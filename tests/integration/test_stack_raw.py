"""The embedded stack against requests written by hand: none that is not its owner's creates a function."""

from __future__ import annotations

import base64
import io
import json
import secrets
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.local import stack as embedded

FUNCTIONS = "/2015-03-31/functions"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """Clients of a stack as users have it, with a random key."""
    folder: Path = tmp_path_factory.mktemp("own")
    try:
        endpoint = embedded.up(folder, port=0).endpoint
        yield Aws(AwsEndpoint(endpoint_url=endpoint, local=True, key=embedded.key_of(folder)))
    finally:
        embedded.down(folder)


def _function(name: str) -> bytes:
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as file:
        file.writestr("f.py", "def handler(event, context): pass")
    return json.dumps(
        {
            "FunctionName": name,
            "Runtime": "python3.13",
            "Handler": "f.handler",
            "Role": "arn:aws:iam::000000000000:role/r",
            "Code": {"ZipFile": base64.b64encode(code.getvalue()).decode()},
        }
    ).encode()


def _raw(port: int, first: str, *headers: str, body: bytes) -> bytes:
    lines = [first, *headers, f"Content-Length: {len(body)}"]
    if not any(line.startswith("Connection:") for line in headers):
        lines.append("Connection: close")
    lines += ["", ""]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall("\r\n".join(lines).encode() + body)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
            if "Upgrade: websocket" in headers and b"\r\n\r\n" in answer:
                break
    return answer


POST = f"POST {FUNCTIONS} HTTP/1.1"
HOST = "Host: 127.0.0.1:{port}"
KEY = "Authorization: AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/lambda/aws4_request"
REFUSED = {
    "no key": (POST, HOST),
    "an empty key": (POST, HOST, KEY.replace("{key}", "")),
    "a wrong key": (POST, HOST, KEY.replace("{key}", "test")),
    "an account for a key": (POST, HOST, KEY.replace("{key}", "000000000000")),
    "another stack's key": (POST, HOST, KEY.replace("{key}", secrets.token_hex(20).upper())),
    "the beginning of the key": (POST, HOST, KEY.replace("{key}", "{key:.30}")),
    "the key and more": (POST, HOST, KEY.replace("{key}", "{key}x")),
    "two keys": (POST, HOST, KEY, KEY.replace("{key}", "test")),
    "a key of another scheme": (POST, HOST, "Authorization: Bearer {key}"),
    "a wrong key in the query": (POST.replace(" HTTP", "?X-Amz-Credential=test/x HTTP"), HOST),
    "a name that was made to mean 127.0.0.1": (POST, "Host: evil.example:{port}", KEY),
    "a name that ends as ours": (POST, "Host: 127.0.0.1.evil.example:{port}", KEY),
    "a function's name": (POST, "Host: x.lambda-url.us-east-1.localhost:{port}", KEY),
    "no port": (POST, "Host: 127.0.0.1", KEY),
    "another port": (POST, "Host: 127.0.0.1:1", KEY),
    "two hosts": (POST, HOST, "Host: evil.example", KEY),
    "no host": (POST, KEY),
    "HTTP/1.0 without a host": (POST.replace("1.1", "1.0"), KEY),
    "an absolute form": (f"POST http://127.0.0.1:{{port}}{FUNCTIONS} HTTP/1.1", HOST, KEY),
    "an absolute form of another": (f"POST http://evil.example{FUNCTIONS} HTTP/1.1", HOST, KEY),
    "an origin": (POST, HOST, KEY, "Origin: http://127.0.0.1:8000"),
    "the stack's own origin": (POST, HOST, KEY, "Origin: http://127.0.0.1:{port}"),
    "the origin of a file": (POST, HOST, KEY, "Origin: null"),
    "a page without an origin": (POST, HOST, KEY, "Sec-Fetch-Site: cross-site"),
    "a preflight": (
        POST.replace("POST", "OPTIONS"), HOST, "Access-Control-Request-Method: POST", KEY,
    ),
    "text": (POST, HOST, "Content-Type: text/plain"),
    "behind the path of a function's URL": (
        POST.replace(FUNCTIONS, "/_aws/lambda-url/../.." + FUNCTIONS), HOST,
    ),
    "a function's URL without an id": (POST.replace(FUNCTIONS, "/_aws/lambda-url/"), HOST),
    "a function's URL and an origin": (POST.replace(FUNCTIONS, "/_aws/lambda-url/x/"), HOST, "Origin: null"),
    "the health page": ("GET /_ministack/health HTTP/1.1", HOST),
    "the reset": ("POST /_ministack/reset HTTP/1.1", HOST),
    "another admin page": ("POST /_localstack/config HTTP/1.1", HOST),
    "a web socket": (
        "GET / HTTP/1.1", HOST, KEY, "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version: 13",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_come_from_the_owner_changes_nothing(own: Aws, case: str) -> None:
    port, key = int(str(own.endpoint.endpoint_url).rpartition(":")[2]), own.endpoint.key[0]
    answer = _raw(port, *(line.format(port=port, key=key) for line in REFUSED[case]), body=_function("evil"))
    assert answer.split(b" ", 2)[1] in (b"400", b"403", b"404"), answer
    assert b"access-control" not in answer.lower()
    assert key.encode() not in answer
    assert own.client("lambda").list_functions()["Functions"] == []


@pytest.mark.parametrize("host", [HOST, "Host: localhost:{port}"])
def test_whoever_shows_the_key_is_served_without_a_header_for_pages(own: Aws, host: str) -> None:
    port, key = int(str(own.endpoint.endpoint_url).rpartition(":")[2]), own.endpoint.key[0]
    lines = (line.format(port=port, key=key) for line in (POST, host, KEY))
    answer = _raw(port, *lines, body=_function("good"))
    assert answer.startswith(b"HTTP/1.1 201"), answer
    assert b"access-control" not in answer.lower()
    own.client("lambda").delete_function(FunctionName="good")
