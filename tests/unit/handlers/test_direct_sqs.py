"""The worker's SQS client: what boto3's does, for less; what is not a plain success is boto3's."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import botocore.endpoint
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import ClientError, ConnectionClosedError, ParamValidationError, SSLError

from fifo_cli.handlers import clients
from fifo_cli.handlers.direct_sqs import DirectSqs
from fifo_cli.handlers.failure import owner_of
from fifo_cli.model.limits import CONCURRENCY_MAX
from tests.unit.handlers.keeping_server import KeepingServer, own_certificate

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def said(document: Any, status: str = "200 OK") -> bytes:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def refused(code: str, status: str = "400 Bad Request") -> bytes:
    return said({"__type": f"com.amazonaws.sqs#{code}", "message": f"{code}!"}, status)


class Service(KeepingServer):
    """An HTTP server that gives the answers in ``answers``, then OK; None ends the connection instead."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.answers: list[bytes | None] = []
        self.requests: list[tuple[dict[str, str], bytes]] = []
        super().__init__(certificate)

    def bodies(self) -> list[Any]:
        return [json.loads(body) for _, body in self.requests]

    def serve(self, connection: socket.socket) -> None:
        read = connection.makefile("rb")
        while (line := read.readline()) not in (b"", b"\r\n"):
            headers = {":line": line.decode()}
            while (line := read.readline()) not in (b"", b"\r\n"):
                name, _, value = line.decode().partition(":")
                headers[name.lower()] = value.strip()
            self.requests.append((headers, read.read(int(headers["content-length"]))))
            answer = self.answers.pop(0) if self.answers else OK
            if answer is None:
                connection.shutdown(socket.SHUT_RDWR)
                return
            connection.sendall(answer)


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "AWS_PROFILE", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long botocore waited before it repeated a call; in fact it does not wait."""
    waits: list[float] = []
    monkeypatch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=waits.append))
    return waits


def direct(
    service: Service, credentials: Any = None, *, known: bool = True, read_timeout: int = 60
) -> DirectSqs:
    """Make a client; with ``known`` its way is known already, and no request is counted."""
    session = boto3.session.Session("id", "secret", region_name="eu-west-1")
    config = Config(retries={"mode": "standard", "total_max_attempts": 2}, read_timeout=read_timeout)
    boto = session.client("sqs", endpoint_url=service.url, config=config)
    made = DirectSqs(boto, credentials or session.get_credentials())
    if known:
        made.delete_message(QueueUrl="q", ReceiptHandle="first")
        service.requests.clear()
    return made


def receive(sqs: DirectSqs) -> Any:
    return sqs.receive_message(QueueUrl="q", MaxNumberOfMessages=10, ReceiveRequestAttemptId="attempt-1")


def agents(service: Service) -> list[bool]:
    """Say of each request whether it was boto3's: those have a name of their own."""
    return ["amz-sdk-invocation-id" in headers for headers, _ in service.requests]


def test_the_first_call_is_boto3s_and_shows_the_way_to_all_others(service):
    sqs = direct(service, known=False)
    for handle in ("a", "b", "c"):
        sqs.delete_message(QueueUrl="q", ReceiptHandle=handle)
    assert [body["ReceiptHandle"] for body in service.bodies()] == ["a", "b", "c"]
    assert agents(service) == [True, False, False]
    assert len(service.connections) == 1


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("receive_message", {"QueueUrl": "q", "MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"]}),
        ("delete_message", {"QueueUrl": "q", "ReceiptHandle": "h\u00e9"}),
        (
            "change_message_visibility_batch",
            {"QueueUrl": "q", "Entries": [{"Id": "0", "ReceiptHandle": "h", "VisibilityTimeout": 0}]},
        ),
    ],
)
@pytest.mark.parametrize("token", [None, "a-token"])
def test_a_call_says_what_boto3s_says_and_is_signed_as_botocore_signs(service, method, request_, token):
    sqs = direct(service, credentials=Credentials("id", "secret", token))
    getattr(sqs, method)(**request_)
    getattr(sqs._client, method)(**request_)
    (ours, body), (theirs, their_body) = service.requests
    assert json.loads(body) == json.loads(their_body) == request_
    for name in (":line", "content-type", "x-amz-target", "host", "user-agent"):
        assert ours[name].partition(" md/")[0] == theirs[name].partition(" md/")[0]
    names = ("content-type", "x-amz-target", "x-amz-date")
    again = AWSRequest("POST", service.url + "/", {name: ours[name] for name in names}, body)
    auth: Any = SigV4Auth(ReadOnlyCredentials("id", "secret", token), "sqs", "eu-west-1")
    again.context["timestamp"] = ours["x-amz-date"]
    if token:
        again.headers["X-Amz-Security-Token"] = token
        assert ours["x-amz-security-token"] == token
    canonical = auth.canonical_request(again)
    auth._inject_signature_to_request(again, auth.signature(auth.string_to_sign(again, canonical), again))
    assert ours["authorization"] == again.headers["Authorization"]


def test_each_call_has_the_credentials_of_now(service):
    class Rotating(Credentials):
        def get_frozen_credentials(self) -> ReadOnlyCredentials:
            return ReadOnlyCredentials(f"id{len(service.requests)}", "secret", None)

    sqs = direct(service, credentials=Rotating("id", "secret"))
    for _ in range(2):
        sqs.delete_message(QueueUrl="q", ReceiptHandle="h")
    signers = [headers["authorization"].split("=")[1].split("/")[0] for headers, _ in service.requests]
    assert signers == ["id0", "id1"]


def test_attributes_of_bytes_are_bytes(service):
    sqs = direct(service)
    text = {"DataType": "String", "StringValue": "x"}
    attributes = {"b": {"DataType": "Binary", "BinaryValue": "AAH/"}, "t": text}
    message = {"MessageId": "m", "Body": "{}", "ReceiptHandle": "h", "MessageAttributes": attributes}
    service.answers = 2 * [said({"Messages": [message]})]
    ours, theirs = receive(sqs), receive(sqs._client)  # type: ignore[arg-type]
    assert ours["Messages"] == theirs["Messages"]
    assert ours["Messages"][0]["MessageAttributes"]["b"]["BinaryValue"] == b"\0\1\xff"


@pytest.mark.parametrize(
    "code", ["ReceiptHandleIsInvalid", "QueueDoesNotExist", "AccessDeniedException", "InvalidParameterValue"]
)
def test_an_error_is_boto3s(service, slept, code):
    sqs = direct(service)
    service.answers = [refused(code)]
    with pytest.raises(ClientError) as caught:
        sqs.delete_message(QueueUrl="q", ReceiptHandle="h")
    assert caught.value.response["Error"]["Code"].endswith(code)
    assert caught.value.response["Error"]["Message"] == f"{code}!"
    assert owner_of(caught.value) == "aws"
    assert (agents(service), slept) == ([False], [])


@pytest.mark.parametrize(
    "answer",
    [
        refused("RequestThrottled"),
        refused("ThrottlingException"),
        refused("ServiceUnavailable", "503 Service Unavailable"),
        said(b"<html>", "500 Internal Server Error"),
        b"SSH-2.0-x\r\n",
        None,
    ],
)
def test_what_may_be_better_next_time_is_repeated_after_a_while_under_the_same_name(service, slept, answer):
    sqs = direct(service)
    service.answers = [answer]
    assert receive(sqs).get("Messages") is None
    assert agents(service) == [False, True]
    assert {body["ReceiveRequestAttemptId"] for body in service.bodies()} == {"attempt-1"}
    assert len(slept) == 1
    assert 0 <= slept[0] <= 1


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>"])
def test_an_odd_success_is_what_boto3_makes_of_it(service, body):
    sqs = direct(service)
    service.answers = 2 * [said(body)]
    assert receive(sqs).get("Messages") is receive(sqs._client).get("Messages") is None  # type: ignore[arg-type]
    assert agents(service) == [False, True]


def test_an_error_is_that_of_its_own_call(service):
    """What one call left behind is not the next one's."""
    sqs = direct(service)
    service.answers = [refused("AccessDeniedException"), said({"QueueUrl": "q"})]
    with pytest.raises(ParamValidationError):
        sqs.delete_message(QueueUrl="q", ReceiptHandle=7)
    assert sqs.get_queue_url(QueueName="q")["QueueUrl"] == "q"


def test_calls_end_when_boto3s_attempts_do(service):
    sqs = direct(service)
    service.answers = 2 * [None]
    with pytest.raises(ConnectionClosedError):
        receive(sqs)
    assert agents(service) == [False, True]


def test_a_connection_that_sqs_closed_is_opened_again_by_botocore(service, slept):
    sqs = direct(service)
    service.hang_up()
    for _ in range(2):
        sqs.delete_message(QueueUrl="q", ReceiptHandle="h")
    assert (agents(service), slept, len(service.connections)) == ([True, False], [], 2)


def test_the_rest_of_an_answer_is_never_the_next_calls(service):
    sqs = direct(service, read_timeout=3)  # in which all other answers have to come
    late = said({"Messages": [{"MessageId": "m", "Body": "of another call", "ReceiptHandle": "h"}]})
    service.answers = [late[:60]]  # its time is over before the rest of it comes
    assert receive(sqs).get("Messages") is None
    service.connections[0].sendall(late[60:])
    assert receive(sqs).get("Messages") is None
    assert len(service.connections) == 2


def test_threads_share_the_connections_and_leave_them_to_the_next(service):
    sqs = direct(service)
    for _ in range(5):
        with ThreadPoolExecutor(4) as pool:
            made = [pool.submit(sqs.delete_message, QueueUrl="q", ReceiptHandle=str(n)) for n in range(40)]
            for one in made:
                one.result()
    assert len(service.requests) == 200
    assert len(service.connections) <= 4


def test_the_certificate_is_botocores_business(tmp_path, monkeypatch):
    certificate = own_certificate(tmp_path)
    trusted = Service(certificate)
    try:
        with pytest.raises(SSLError):
            direct(trusted)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        sqs = direct(trusted)
        for _ in range(2):
            sqs.delete_message(QueueUrl="q", ReceiptHandle="h")
        trusted.hang_up()
        sqs.delete_message(QueueUrl="q", ReceiptHandle="h")
    finally:
        trusted.close()
    assert agents(trusted) == [False, False, True]


def test_by_a_proxy_all_calls_are_boto3s(service, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", service.url)
    elsewhere = Service()
    try:
        real, elsewhere.url = elsewhere.url, "http://sqs.test"
        sqs = direct(elsewhere)
        sqs.delete_message(QueueUrl="q", ReceiptHandle="h")
    finally:
        elsewhere.url = real
        elsewhere.close()
    assert agents(service) == [True, True]
    assert service.requests[0][0][":line"].startswith("POST http://sqs.test/ ")


def test_an_endpoint_below_a_path_is_boto3s(service):
    service.url += "/below"
    sqs = direct(service)
    sqs.delete_message(QueueUrl="q", ReceiptHandle="h")
    assert agents(service) == [True]


def test_another_botocore_whose_parts_have_other_names_makes_all_calls_itself(service, monkeypatch):
    sqs = direct(service, known=False)
    session = sqs._client._endpoint.http_session  # type: ignore[attr-defined]
    monkeypatch.setattr(sqs._client._endpoint, "http_session", SimpleNamespace(send=session.send))  # type: ignore[attr-defined]
    for _ in range(2):
        sqs.delete_message(QueueUrl="q", ReceiptHandle="h")
    assert agents(service) == [True, True]


def test_a_botocore_that_speaks_no_json_to_sqs_makes_all_calls_itself(service):
    sqs = direct(service, known=False)

    def older(request: AWSRequest, **_: Any) -> None:
        del request.headers["X-Amz-Target"]

    sqs.meta.events.register_first("before-send.sqs", older)
    for _ in range(2):
        sqs.delete_message(QueueUrl="q", ReceiptHandle="h")
    assert agents(service) == [True, True]


def test_a_worker_has_a_connection_for_each_of_the_most_groups_and_one_to_receive(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert clients.sqs().meta.config.max_pool_connections == CONCURRENCY_MAX + 1  # type: ignore[attr-defined]


def test_what_is_not_called_for_every_message_is_boto3s(service):
    sqs = direct(service)
    service.answers = [said({"QueueUrl": "q"})]
    assert sqs.get_queue_url(QueueName="q")["QueueUrl"] == "q"
    assert sqs.meta.region_name == "eu-west-1"
    assert agents(service) == [True]
