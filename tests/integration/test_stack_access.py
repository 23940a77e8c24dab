"""The embedded stack is its user's alone: not a page's, not another user's."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.errors import StackError
from fifo_cli.local import process, stack
from fifo_cli.local.process import Files
from fifo_cli.local.receiver import Receiver
from tests.cli_harness import clean_environment

QUEUE = {"QueueName": "made-by-a-stranger"}
TARGET = "AmazonSQS.CreateQueue"


class Own:
    """A stack with a key of its own, as users have it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = Files(folder)
        status = stack.up(folder, port=0)
        assert status.endpoint is not None
        self.endpoint = status.endpoint
        self.port = int(self.endpoint.rpartition(":")[2])
        self.key = stack.key_of(folder)

    def queues(self) -> list[str]:
        aws = Aws(AwsEndpoint(endpoint_url=self.endpoint, local=True, key=self.key))
        found = aws.client("sqs").list_queues().get("QueueUrls", [])
        return [url.rpartition("/")[2] for url in found]

    def request(self, method: str = "POST", path: str = "/", **headers: str) -> tuple[int, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.putrequest(method, path, skip_host="Host" in headers)
        body = json.dumps(QUEUE).encode()
        given = {"X-Amz-Target": TARGET, "Content-Type": "application/x-amz-json-1.0"}
        for name, value in {**given, **headers, "Content-Length": str(len(body))}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    folder = tmp_path_factory.mktemp("own")
    made = Own(folder)
    yield made
    running = process.find(made.files)
    if running is not None:
        process.kill(made.files, running)


def test_two_stacks_have_two_keys_and_a_restart_keeps_it(own: Own, tmp_path: Path) -> None:
    Files(tmp_path).prepare()
    other = stack.key_of(tmp_path)
    assert other[0] != own.key[0]
    assert len(other[0]) == 40
    Files(tmp_path).prepare()
    assert stack.key_of(tmp_path) == other


def test_what_the_stack_keeps_is_the_users_alone(own: Own) -> None:
    own.queues()
    found = [path for path in own.files.root.rglob("*") if path.name != ".gitignore"]
    for path in [own.files.root, *found]:
        assert not stat.S_IMODE(path.lstat().st_mode) & 0o077 or path.is_symlink(), path


def test_nobody_is_let_in_without_the_key(own: Own) -> None:
    signed = (
        "AWS4-HMAC-SHA256 Credential={}/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0"
    )
    for headers in (
        {},
        {"Authorization": signed.format("test")},
        {"Authorization": signed.format("000000000000")},
        {"Authorization": signed.format(own.key[0][:-1])},
        {"X-Amz-Security-Token": "guess"},
        {"Authorization": signed.format(own.key[0]), "Host": f"evil.example:{own.port}"},
        {"Authorization": signed.format(own.key[0]), "Host": "127.0.0.1"},
        {"Authorization": signed.format(own.key[0]), "Origin": "http://127.0.0.1:1"},
        {"Authorization": signed.format(own.key[0]), "Origin": "null"},
    ):
        status, answered = own.request(**headers)
        assert status == 403, headers
        assert not any(name.startswith("access-control") for name in answered)
    assert "made-by-a-stranger" not in own.queues()


@pytest.mark.parametrize(
    "path", ["/_ministack/health", "/_ministack/reset", "/_localstack/health", "/health"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_the_stacks_own_pages_are_closed_too(own: Own, method: str, path: str) -> None:
    assert own.request(method, path)[0] == 403


def test_boto3_is_reported_that_the_key_is_not_the_stacks(own: Own) -> None:
    make: Any = boto3.client
    sqs = make(
        "sqs", endpoint_url=own.endpoint, region_name="us-east-1",
        aws_access_key_id="test", aws_secret_access_key="test",
    )  # fmt: skip
    with pytest.raises(sqs.exceptions.ClientError, match="InvalidClientTokenId"):
        sqs.list_queues()


def test_other_tools_get_the_key_as_local_status_says(own: Own) -> None:
    """What `local status` says to set, with boto3 in the place of the aws CLI."""
    env = clean_environment()
    shown = subprocess.run(
        [sys.executable, "-m", "fifo_cli", "local", "status"],
        cwd=own.folder, env=env, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert own.key[0] not in shown
    key_file = shown.partition("key file:")[2].splitlines()[0].strip()
    assert "set AWS_SHARED_CREDENTIALS_FILE to the key file" in shown
    given = {"AWS_SHARED_CREDENTIALS_FILE": key_file, **dict(re.findall(r"(AWS_\w+)=([^\s,]+)", shown))}
    assert set(given) >= {"AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"}
    code = "import boto3; print(boto3.client('sqs').list_queues()['ResponseMetadata']['HTTPStatusCode'])"
    ran = subprocess.run(
        [sys.executable, "-c", code], env={**env, **given}, capture_output=True, text=True, check=False
    )
    assert ran.stdout == "200\n", ran.stderr


def test_a_key_that_others_could_have_written_is_refused(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.prepare()
    files.credentials.chmod(0o644)
    with pytest.raises(StackError, match="open to others"):
        files.key()
    files.credentials.rename(tmp_path / "elsewhere")
    files.credentials.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StackError):
        files.key()


# {key} is "", or the stack's own key as a query: a page that had it would still get nothing done.
PAGE = """<!doctype html><title>x</title>
<link rel="stylesheet" href="{url}/?Action=CreateQueue&QueueName=style{key}">
<link rel="preload" as="image" href="{url}/?Action=CreateQueue&QueueName=preload{key}">
<img src="{url}/?Action=CreateQueue&QueueName=image{key}">
<script src="{url}/?Action=CreateQueue&QueueName=script{key}"></script>
<object data="{url}/?Action=CreateQueue&QueueName=object{key}"></object>
<video src="{url}/?Action=CreateQueue&QueueName=video{key}"></video>
<iframe src="{url}/?Action=CreateQueue&QueueName=frame{key}"></iframe>
<iframe src="{rebound}/?Action=CreateQueue&QueueName=rebound{key}"></iframe>
<form id="f" method="post" action="{url}/?{key}" enctype="text/plain" target="i">
<input name='{{"QueueName":"form","x":"' value='"}}'></form>
<form id="g" method="get" action="{url}/" target="j">
<input name="Action" value="CreateQueue"><input name="QueueName" value="get"></form>
<iframe name="i"></iframe><iframe name="j"></iframe>
<script>
const url = "{url}/?Action=CreateQueue&QueueName=fetched{key}";
const form = {{"Content-Type": "application/x-www-form-urlencoded"}};
const json = {{"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS.CreateQueue"}};
const tries = [
  ["text", {{method: "POST", body: '{{"QueueName": "text"}}', headers: {{"Content-Type": "text/plain"}}}}],
  ["nocors", {{method: "POST", mode: "no-cors", body: "Action=CreateQueue&QueueName=nocors", headers: form}}],
  ["json", {{method: "POST", body: '{{"QueueName": "json"}}', headers: json}}],
  ["put", {{method: "PUT", body: "x"}}],
  ["get", {{}}],
];
const ended = (source, good, bad) => new Promise(done => {{
  source.addEventListener(good, () => done("open"));
  source.addEventListener(bad, () => done("refused"));
}});
(async () => {{
  const seen = [];
  for (const [name, options] of tries) {{
    try {{ const got = await fetch(url, options); seen.push(name + ":" + got.type + got.status); }}
    catch (error) {{ seen.push(name + ":refused"); }}
  }}
  const asked = new XMLHttpRequest();
  asked.open("POST", url);
  asked.send("Action=CreateQueue&QueueName=xhr");
  seen.push("xhr:" + await ended(asked, "load", "error"));
  seen.push("events:" + await ended(new EventSource(url), "open", "error"));
  seen.push("socket:" + await ended(new WebSocket(url.replace("http", "ws")), "open", "error"));
  navigator.sendBeacon(url, new URLSearchParams("Action=CreateQueue&QueueName=beacon"));
  document.getElementById("f").submit();
  document.getElementById("g").submit();
  await new Promise(done => setTimeout(done, 500));
  await fetch("/done", {{method: "POST", body: seen.join(" ")}});
}})();
</script>"""
REFUSED = (
    "text:refused nocors:opaque0 json:refused put:refused get:refused xhr:refused events:refused"
    " socket:refused"
)


class Site:
    """A page of another origin; ``text`` is what its script says of its tries."""

    def __init__(self, target: str, key: str = "") -> None:
        self.text = ""
        self.done = threading.Event()
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                rebound = target.replace("127.0.0.1", "rebound.example")
                self.wfile.write(PAGE.format(url=target, rebound=rebound, key=key).encode())

            def do_POST(self) -> None:
                site.text = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self.send_response(200)
                self.end_headers()
                site.done.set()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/"


def visit(site: Site, folder: Path) -> None:
    """Let a headless Chromium open a page and wait until its script is done."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium is installed")
    # Chromium makes a socket there, whose path may have 107 bytes.
    temporary = tempfile.mkdtemp(prefix="b-")
    ran = subprocess.Popen(
        [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-dev-shm-usage", f"--user-data-dir={folder}", "--remote-debugging-port=0",
            # A name that its owner has made to lead to this machine.
            "--host-resolver-rules=MAP rebound.example 127.0.0.1", site.url,
        ],
        env={**os.environ, "HOME": str(folder), "TMPDIR": temporary},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        assert site.done.wait(60), "the page's script did not end"
    finally:
        os.killpg(ran.pid, 9)
        ran.wait()
        shutil.rmtree(temporary, ignore_errors=True)
        site.server.shutdown()
        site.server.server_close()


@pytest.mark.parametrize("knows_the_key", [False, True])
def test_a_page_in_a_real_browser_gets_nothing_done(own: Own, tmp_path: Path, knows_the_key: bool) -> None:
    key = f"&X-Amz-Credential={own.key[0]}/20260101/us-east-1/sqs/aws4_request" if knows_the_key else ""
    site = Site(own.endpoint, key)
    before = own.queues()

    visit(site, tmp_path)

    assert site.text == REFUSED
    assert own.queues() == before
    # Nothing but what a browser says of itself was in the way of a page that knows the key.
    connection = http.client.HTTPConnection("127.0.0.1", own.port, timeout=5)
    connection.request("GET", f"/?Action=CreateQueue&QueueName=plain{key}")
    assert connection.getresponse().status == (200 if knows_the_key else 403)
    connection.close()


def test_a_page_in_a_real_browser_cannot_call_the_receiver(tmp_path: Path) -> None:
    with Receiver() as api:
        site = Site(api.url)
        visit(site, tmp_path)
        assert site.text == REFUSED
        assert api.requests == []


def test_the_receiver_refuses_what_a_page_sends() -> None:
    with Receiver() as api:
        for headers in (
            {"Origin": "http://evil.example"},
            {"Host": "evil.example"},
            {"Sec-Fetch-Site": "cross-site"},
        ):
            connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=5)
            connection.request("POST", "/orders", body=b"{}", headers=headers)
            answer = connection.getresponse()
            assert answer.status == 403
            assert answer.getheader("Access-Control-Allow-Origin") is None
            connection.close()
        assert api.requests == []
