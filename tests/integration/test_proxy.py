"""The fault-injecting proxy: each rule does to a real client and the real stack what its name says."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.local.ports import HOST
from tests.cli_harness import clean_environment, new_name, wait_until
from tests.faults import (
    Action,
    AnswerWithError,
    Delay,
    Drop,
    DropAnswer,
    Kill,
    Pass,
    RefuseEntries,
    on,
    position,
)
from tests.integration.proxy import Proxy, Request, pid_of_connection

SENDER = """
import sys
import boto3

sqs = boto3.client("sqs", endpoint_url=sys.argv[1], region_name="us-east-1",
                   aws_access_key_id="test", aws_secret_access_key="test")
for number in range(5):
    sqs.send_message(QueueUrl=sys.argv[2], MessageBody=str(number), MessageGroupId="g",
                     MessageDeduplicationId=str(number))
print("survived")
"""


@pytest.fixture
def through(proxy: Proxy) -> Aws:
    """Clients that talk to the stack through the proxy."""
    return Aws(AwsEndpoint(endpoint_url=proxy.endpoint, local=True))


@pytest.fixture
def once(proxy: Proxy) -> Any:
    """An SQS client through the proxy that never repeats a call."""
    aws = Aws(AwsEndpoint(endpoint_url=proxy.endpoint, local=True))
    return aws._session.create_client(
        "sqs", endpoint_url=proxy.endpoint, config=_config(retries={"total_max_attempts": 1})
    )


def _config(**options: Any) -> Any:
    from botocore.config import Config

    return Config(**options)


@pytest.fixture
def queue(through: Aws, proxy: Proxy) -> str:
    name = f"{new_name()}.fifo"
    url = through.client("sqs").create_queue(QueueName=name, Attributes={"FifoQueue": "true"})["QueueUrl"]
    proxy.clear()
    return url


@pytest.fixture
def bodies(clients: Aws, queue: str) -> Callable[[], list[str]]:
    """What is in the queue, asked of the stack itself."""

    def read() -> list[str]:
        sqs, found = clients.client("sqs"), []
        while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                found.append(message["Body"])
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return found

    return read


def _send(sqs: Any, queue: str, body: str = "x") -> Any:
    return sqs.send_message(QueueUrl=queue, MessageBody=body, MessageGroupId="g", MessageDeduplicationId=body)


def _batch(sqs: Any, queue: str, *bodies: str) -> Any:
    return sqs.send_message_batch(
        QueueUrl=queue,
        Entries=[
            {"Id": f"e{body}", "MessageBody": body, "MessageGroupId": body, "MessageDeduplicationId": body}
            for body in bodies
        ],
    )


def test_requests_pass_and_are_counted_by_action(proxy, through, queue, bodies):
    sqs = through.client("sqs")
    _send(sqs, queue, "a")
    _send(sqs, queue, "b")
    sqs.list_queues()
    assert proxy.counts == {"SendMessage": 2, "ListQueues": 1}
    assert [(each.number, each.nth, each.service, each.action) for each in proxy.requests] == [
        (1, 1, "AmazonSQS", "SendMessage"),
        (2, 2, "AmazonSQS", "SendMessage"),
        (3, 1, "AmazonSQS", "ListQueues"),
    ]
    assert proxy.requests[0].json()["MessageBody"] == "a"
    assert bodies() == ["a", "b"]


def test_queue_urls_lead_to_the_proxy_and_clients_keep_talking_to_it(proxy, through, queue):
    sqs = through.client("sqs")
    found = sqs.get_queue_url(QueueName=queue.rpartition("/")[2])["QueueUrl"]
    assert found == queue
    assert found.startswith(proxy.endpoint)
    _send(sqs, found)
    assert proxy.counts["SendMessage"] == 1


def test_clients_keep_talking_to_the_proxy_whatever_host_the_queue_url_names(proxy, through, queue, stack):
    direct = queue.replace(proxy.endpoint, stack.endpoint)
    _send(through.client("sqs"), direct)
    assert proxy.counts["SendMessage"] == 1


@pytest.mark.parametrize(
    ("service", "call", "action"),
    [
        ("sts", lambda client: client.get_caller_identity(), "GetCallerIdentity"),
        ("iam", lambda client: client.list_roles(), "ListRoles"),
        ("lambda", lambda client: client.list_functions(), "GET /2015-03-31/functions"),
        ("scheduler", lambda client: client.list_schedules(), "GET /schedules"),
        ("dynamodb", lambda client: client.list_tables(), "ListTables"),
        ("dynamodbstreams", lambda client: client.list_streams(), "ListStreams"),
        ("events", lambda client: client.list_rules(), "ListRules"),
        ("ssm", lambda client: client.describe_parameters(), "DescribeParameters"),
        ("logs", lambda client: client.describe_log_groups(), "DescribeLogGroups"),
        ("cloudwatch", lambda client: client.describe_alarms(), "DescribeAlarms"),
    ],
)
def test_the_action_is_known_in_every_protocol_we_speak(proxy, through, service, call, action):
    call(through.client(service))
    assert proxy.counts == {action: 1}


def test_a_body_of_two_megabytes_passes_unchanged(proxy, receiver):
    body = bytes(range(256)) * 8192
    with Proxy(receiver.url) as before:
        request = urllib.request.Request(f"{before.endpoint}/big", data=body, method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200
    assert receiver.requests[0].body == body


def test_a_delay_holds_the_request_up_and_then_does_the_rest(proxy, once, queue, bodies):
    proxy.rule = on("SendMessage", do=Delay(0.3, then=DropAnswer()))
    began = time.monotonic()
    with pytest.raises(ConnectionClosedError):
        _send(once, queue)
    assert time.monotonic() - began >= 0.3
    assert bodies() == ["x"]


def test_a_late_answer_comes_after_the_effect(proxy, once, queue, bodies):
    proxy.rule = on("SendMessage", do=Delay(0.3, after=True))
    began = time.monotonic()
    _send(once, queue)
    assert time.monotonic() - began >= 0.3
    assert bodies() == ["x"]


@pytest.mark.parametrize(
    ("error", "code", "modelled"),
    [
        (AnswerWithError("RequestThrottled", status=403), "RequestThrottled", "RequestThrottled"),
        (
            AnswerWithError("QueueDoesNotExist", legacy="AWS.SimpleQueueService.NonExistentQueue"),
            "AWS.SimpleQueueService.NonExistentQueue",
            "QueueDoesNotExist",
        ),
        (AnswerWithError("InternalError", status=500), "InternalError", "InternalError"),
    ],
)
def test_an_aws_error_is_what_sqs_would_say_and_nothing_happens(
    proxy, once, queue, bodies, error, code, modelled
):
    proxy.rule = on("SendMessage", do=error)
    with pytest.raises(ClientError) as caught:
        _send(once, queue)
    text = caught.value.response["Error"]
    assert (text["Code"], text.get("QueryErrorCode", code)) == (code, modelled)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == error.status
    assert text["Message"] == "refused by the test"
    proxy.rule = on(do=Pass())
    assert bodies() == []


@pytest.mark.parametrize(
    ("service", "call"),
    [
        ("dynamodb", lambda client: client.list_tables()),
        ("iam", lambda client: client.list_roles()),
        ("lambda", lambda client: client.list_functions()),
        ("logs", lambda client: client.describe_log_groups()),
        ("ssm", lambda client: client.describe_parameters()),
        ("events", lambda client: client.list_rules()),
    ],
)
def test_an_aws_error_is_understood_in_every_protocol(proxy, through, service, call):
    proxy.rule = on(do=AnswerWithError("AccessDeniedException", "not you"))
    with pytest.raises(ClientError) as caught:
        call(through.client(service))
    text = caught.value.response["Error"]
    assert (text["Code"], text["Message"]) == ("AccessDeniedException", "not you")


def test_a_throttled_client_tries_again_by_itself_and_that_is_counted(proxy, through, queue, bodies):
    proxy.rule = on("SendMessage", nth=1, do=AnswerWithError("RequestThrottled", status=403))
    before = through.throttles
    _send(through.client("sqs"), queue)
    assert proxy.counts["SendMessage"] == 2
    assert bodies() == ["x"]
    assert through.throttles == before + 1


def test_a_dropped_request_has_no_effect(proxy, once, queue, bodies):
    proxy.rule = on("SendMessage", nth=1, do=Drop())
    with pytest.raises(ConnectionClosedError):
        _send(once, queue, "lost")
    _send(once, queue, "sent")
    assert bodies() == ["sent"]


def test_a_dropped_answer_leaves_the_effect(proxy, once, queue, bodies):
    proxy.rule = on("SendMessage", nth=1, do=DropAnswer())
    with pytest.raises(ConnectionClosedError):
        _send(once, queue)
    assert bodies() == ["x"]


@pytest.mark.parametrize("sender_fault", [True, False])
def test_refused_entries_fail_alone_and_the_others_are_sent(proxy, through, queue, bodies, sender_fault):
    refuse = RefuseEntries(position(0, 2), sender_fault=sender_fault)
    proxy.rule = on("SendMessageBatch", do=refuse)
    answer = _batch(through.client("sqs"), queue, "1", "2", "3")
    assert [entry["Id"] for entry in answer["Successful"]] == ["e2"]
    assert answer["Failed"] == [
        {"Id": each, "Code": "InternalError", "SenderFault": sender_fault, "Message": "refused by the test"}
        for each in ("e1", "e3")
    ]
    assert bodies() == ["2"]


def test_a_batch_refused_whole_is_not_forwarded(proxy, through, queue, bodies):
    proxy.rule = on("SendMessageBatch", do=RefuseEntries(lambda place, entry: True, code="Other"))
    answer = _batch(through.client("sqs"), queue, "1", "2")
    assert answer.get("Successful", []) == []
    assert [(entry["Id"], entry["Code"]) for entry in answer["Failed"]] == [("e1", "Other"), ("e2", "Other")]
    assert bodies() == []


def test_entries_can_be_refused_by_what_is_in_them(proxy, through, queue, bodies):
    proxy.rule = on("SendMessageBatch", do=RefuseEntries(lambda place, entry: entry["MessageBody"] == "2"))
    _batch(through.client("sqs"), queue, "1", "2", "3")
    assert sorted(bodies()) == ["1", "3"]


@pytest.mark.parametrize(("after", "sent"), [(False, ["0", "1"]), (True, ["0", "1", "2"])])
def test_the_client_is_killed_at_its_third_call_before_or_after_the_effect(proxy, queue, bodies, after, sent):
    proxy.rule = on("SendMessage", nth=3, do=Kill(after=after))
    run = subprocess.run(
        [sys.executable, "-c", SENDER, proxy.endpoint, queue],
        env=clean_environment(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stdout) == (-signal.SIGKILL, b"")
    assert len(proxy.killed) == 1
    assert bodies() == sent


def test_a_given_process_is_killed_instead_of_the_client(proxy, through, queue, bodies):
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as victim:
        proxy.rule = on("SendMessage", nth=1, do=Kill(pid=victim.pid, number=signal.SIGTERM))
        _send(through.client("sqs"), queue)  # the first try is cut, the second passes
        assert victim.wait(timeout=60) == -signal.SIGTERM
    assert bodies() == ["x"]


def test_the_tests_own_process_is_not_killed_and_the_test_fails(stack):
    broken = Proxy(stack.endpoint, on(do=Kill())).start()
    with pytest.raises(OSError, match=r".*"), urllib.request.urlopen(broken.endpoint, timeout=5):
        pass
    with pytest.raises(AssertionError, match="must not be killed"):
        broken.stop()


def test_a_rule_that_raises_fails_the_test(stack):
    def rule(request: Request) -> Action:
        raise LookupError("a bug in the rule")

    broken = Proxy(stack.endpoint, rule).start()
    with pytest.raises(OSError, match=r".*"), urllib.request.urlopen(broken.endpoint, timeout=5):
        pass
    with pytest.raises(LookupError, match="a bug in the rule"):
        broken.stop()


def test_a_rule_counts_only_the_requests_it_is_for(proxy, once, queue):
    other = once.create_queue(QueueName=f"{new_name()}.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    proxy.rule = on("SendMessage", nth=2, do=Drop(), queue=queue.rpartition("/")[2])
    _send(once, queue, "1")
    _send(once, other, "1")
    _send(once, other, "2")
    with pytest.raises(ConnectionClosedError):
        _send(once, queue, "2")
    _send(once, queue, "3")


def test_any_call_can_be_the_nth(proxy, once, queue):
    proxy.rule = on(nth=2, do=Drop())
    once.list_queues()
    with pytest.raises(ConnectionClosedError):
        _send(once, queue)
    once.list_queues()


def test_what_a_dead_client_had_on_its_way_does_not_count_for_the_next_one(proxy):
    begun, gone = threading.Event(), threading.Event()
    orphans = []

    def held(request: Request) -> Action:
        begun.set()
        assert gone.wait(60)
        orphans.append(request.is_orphan)
        return first(request)

    first = on("GET /", nth=1, do=Drop())
    proxy.rule = held
    address = urlsplit(proxy.endpoint)
    with socket.create_connection((address.hostname, address.port)) as dying:
        dying.sendall(f"GET / HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
        assert begun.wait(60)
    gone.set()
    wait_until(lambda: orphans == [True])
    with pytest.raises(http.client.RemoteDisconnected):
        urllib.request.urlopen(proxy.endpoint, timeout=5)
    assert orphans == [True, False]


def test_the_connection_is_kept_for_the_next_request(proxy, through, queue):
    sqs = through.client("sqs")
    for _ in range(5):
        sqs.list_queues()
    assert len({each.client_port for each in proxy.requests}) == 1
    assert proxy.endpoint.startswith(f"http://{HOST}:")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux's /proc shows")
def test_the_process_at_the_end_of_a_connection_is_found():
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection((HOST, port)) as client:
            assert pid_of_connection(client.getsockname()[1], port) == os.getpid()
            assert pid_of_connection(client.getsockname()[1], port + 1) is None
