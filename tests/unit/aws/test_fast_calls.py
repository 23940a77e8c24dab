"""The first try of SQS's batch calls: what a client gets, and how often it asks, is as with botocore."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import ClientError, ConnectionClosedError

import fifo_cli.aws.interruptible_calls as interruptible
from fifo_cli.aws.call_counts import counted, read_counts
from fifo_cli.aws.errors import calling
from fifo_cli.aws.interruptible_calls import GivenUpError
from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.errors import AwsError
from fifo_cli.handlers.signed_calls import authorization
from fifo_cli.interrupts import AWS_CALLS

EMPTY = (200, "{}")
CUT = (0, "")
THROTTLED = (400, '{"__type": "com.amazonaws.sqs#ThrottlingException", "message": "slow down"}')
REFUSED = (400, '{"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "no such queue"}')
FAULT = (500, "{}")
PAGE = (200, "<!DOCTYPE html><html>please sign in</html>")


class Service:
    """Answers requests over HTTP as it is shown to; the last answer again and again."""

    def __init__(self) -> None:
        self.answers = [EMPTY]
        self.headers: dict[str, str] = {}
        self.heard: list[dict[str, str]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                service.heard.append({name.lower(): value for name, value in self.headers.items()})
                status, body = service.answers[0]
                del service.answers[: len(service.answers) > 1]
                if not status:
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in service.headers.items():
                    self.send_header(name, value)
                data = body.encode()
                if "Transfer-Encoding" in service.headers:
                    data = b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)
                else:
                    self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                """Print nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    @property
    def fast(self) -> list[bool]:
        """Which of the requests were made without botocore, whose own have an id of the invocation."""
        return ["amz-sdk-invocation-id" not in headers for headers in self.heard]


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    thread = threading.Thread(target=service.server.serve_forever, args=(0.01,))
    thread.start()
    yield service
    service.server.shutdown()
    thread.join()
    service.server.server_close()


@pytest.fixture
def sqs(service: Service, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client with an open connection, whose pauses are short."""
    monkeypatch.setattr(interruptible._Time, "sleep", lambda self, seconds: AWS_CALLS.pause(seconds / 100))
    client: Any = Aws(AwsEndpoint(endpoint_url=service.endpoint, local=True)).client("sqs")
    receive(client)
    service.heard.clear()
    return client


def receive(sqs: Any) -> Any:
    return sqs.receive_message(QueueUrl="http://q/1/q.fifo", MaxNumberOfMessages=10)


def test_the_first_try_of_a_batch_call_is_made_here_and_of_others_by_botocore(service, sqs):
    receive(sqs)
    sqs.get_queue_attributes(QueueUrl="http://q/1/q.fifo")
    sqs.delete_message_batch(QueueUrl="http://q/1/q.fifo", Entries=[])

    assert service.fast == [True, False, True]
    assert service.heard[0].keys() == service.heard[1].keys() - {"amz-sdk-invocation-id", "amz-sdk-request"}


def test_what_is_due_before_a_change_is_done_before_its_first_try(service):
    """Else a command would change something that its history does not show to have begun."""
    aws = Aws(AwsEndpoint(endpoint_url=service.endpoint, local=True))
    sqs: Any = aws.client("sqs")
    receive(sqs)
    heard_before: list[int] = []
    aws.before_changes(lambda: heard_before.append(len(service.heard)))
    receive(sqs)
    sqs.get_queue_attributes(QueueUrl="http://q/1/q.fifo")
    sqs.delete_message_batch(QueueUrl="http://q/1/q.fifo", Entries=[])
    assert service.fast == [False, True, False, True]
    assert heard_before == [1, 3]


def test_a_call_is_counted_once_however_its_first_try_was_made(service, tmp_path):
    with counted(tmp_path):
        sqs: Any = Aws(AwsEndpoint(endpoint_url=service.endpoint, local=True)).client("sqs")
        for answer in (EMPTY, EMPTY, REFUSED):
            service.answers = [answer]
            with suppress(ClientError):
                receive(sqs)
    assert service.fast == [False, True, True]
    assert read_counts(tmp_path) == {"sqs ReceiveMessage": 3}


def test_messages_are_as_botocore_gives_them(service, sqs):
    message = {
        "MessageId": "m1",
        "Body": "é",
        "MessageAttributes": {"blob": {"DataType": "Binary", "BinaryValue": "AP8="}},
    }
    service.answers = [(200, json.dumps({"Messages": [message]})), (200, '{"Messages": null}')]
    blob = {"DataType": "Binary", "BinaryValue": b"\x00\xff"}

    assert receive(sqs) == {"Messages": [{**message, "MessageAttributes": {"blob": blob}}]}
    assert receive(sqs) == {}
    assert service.fast == [True, True]


@pytest.mark.parametrize("headers", [{"Transfer-Encoding": "chunked"}, {"Connection": "close"}])
def test_an_answer_of_another_form_is_read_as_well(service, sqs, headers):
    service.headers = headers
    service.answers = [(200, '{"Messages": []}')]

    assert receive(sqs) == {"Messages": []}
    assert receive(sqs)["Messages"] == []
    # A connection that was closed is opened by botocore again.
    assert service.fast == [True, "Connection" not in headers]


def test_the_history_is_written_so_too(service, sqs):
    logs: Any = Aws(AwsEndpoint(endpoint_url=service.endpoint, local=True)).client("logs")
    events = [{"timestamp": 1, "message": "m"}]
    for _ in range(2):
        logs.put_log_events(logGroupName="g", logStreamName="s", logEvents=events)

    assert service.fast == [False, True]


@pytest.mark.parametrize("first", [THROTTLED, FAULT, CUT])
def test_a_first_try_without_success_counts_as_botocore_s_first(service, sqs, first):
    service.answers = [first, EMPTY]

    assert receive(sqs)["ResponseMetadata"]["RetryAttempts"] == 1
    assert service.fast == [True, False]


@pytest.mark.parametrize(("answer", "error"), [(FAULT, ClientError), (CUT, ConnectionClosedError)])
def test_a_call_is_tried_as_often_as_any_other(service, sqs, answer, error):
    service.answers = [answer]

    with pytest.raises(error):
        receive(sqs)

    assert len(service.heard) == 4


def test_what_sqs_refuses_is_asked_once_and_has_its_words(service, sqs):
    service.answers = [REFUSED]

    with pytest.raises(sqs.exceptions.QueueDoesNotExist, match="no such queue"):
        receive(sqs)

    assert service.fast == [True]


def test_an_answer_that_is_none_of_aws_s_is_reported_as_for_any_other_call(service, sqs):
    service.answers = [PAGE]

    with pytest.raises(AwsError, match="could not be reached"), calling("q"):
        receive(sqs)

    assert service.fast == [True]


def test_a_throttle_is_counted_once(service):
    aws = Aws(AwsEndpoint(endpoint_url=service.endpoint, local=True))
    receive(aws.client("sqs"))
    service.answers = [THROTTLED, EMPTY]

    receive(aws.client("sqs"))

    assert aws.throttles == 1


def test_once_aws_is_given_up_nothing_is_sent(service, sqs, monkeypatch):
    monkeypatch.setattr(AWS_CALLS, "_given_up", threading.Event())
    AWS_CALLS._given_up.set()

    with pytest.raises(GivenUpError):
        receive(sqs)

    assert service.heard == []


def test_the_result_of_a_try_is_no_other_call_s(service, sqs):
    service.answers = [FAULT, (200, '{"Attributes": {"a": "b"}}')]
    broken = lambda **_: (_ for _ in ()).throw(RuntimeError("defect"))  # noqa: E731
    sqs.meta.events.register("request-created.sqs", broken)
    with pytest.raises(RuntimeError):
        receive(sqs)
    sqs.meta.events.unregister("request-created.sqs", broken)

    assert sqs.get_queue_attributes(QueueUrl="http://q/1/q.fifo")["Attributes"] == {"a": "b"}


@pytest.mark.parametrize("token", [None, "session/token=="])
def test_a_request_is_signed_as_botocore_signs_it(token):
    credentials = ReadOnlyCredentials("AKIDEXAMPLE", "secret", token)
    body = '{"QueueUrl": "é"}'.encode()
    given = {
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": "AmazonSQS.ReceiveMessage",
        "User-Agent": "fifo-cli",
        "X-Spaces": " a   b ",
    }
    request = AWSRequest("POST", "https://sqs.eu-central-1.amazonaws.com/", headers=given, data=body)
    SigV4Auth(credentials, "sqs", "eu-central-1").add_auth(request)
    time = request.headers["X-Amz-Date"]
    assert abs(datetime.now(UTC) - datetime.strptime(f"{time}+0000", "%Y%m%dT%H%M%SZ%z")).seconds < 60

    headers = {**given, "Host": "sqs.eu-central-1.amazonaws.com", "X-Amz-Date": time}
    headers |= {"X-Amz-Security-Token": token} if token else {}
    expected = request.headers["Authorization"]
    assert authorization(headers, body, credentials, "eu-central-1", "sqs") == expected


def test_a_value_that_would_end_its_header_is_left_to_botocore(service, sqs):
    def spoil(params: Any, **_: Any) -> None:
        params["headers"]["X-Other"] = "a\r\nX-Evil: 1"

    sqs.meta.events.register_first("before-call.sqs", spoil)
    with pytest.raises(Exception, match="Invalid header value"):
        receive(sqs)

    assert service.heard == []
