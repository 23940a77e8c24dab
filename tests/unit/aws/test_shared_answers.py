"""Reads that are asked alike: AWS is asked once, also by threads at the same moment."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import botocore.session
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.exceptions import ClientError

from fifo_cli.aws.shared_answers import SharedAnswers

THREADS = 8


class Raw(BytesIO):
    """The body of an answer, as botocore reads it."""

    def stream(self, **_: Any) -> Any:
        yield self.read()


class Service:
    """SQS, which answers when ``gate`` is open, and refuses its first ``refused`` calls."""

    def __init__(self, *, refused: int = 0) -> None:
        self.gate = threading.Event()
        self.asked = 0
        self.refused = refused
        self.shared = SharedAnswers()
        self.client: Any = botocore.session.Session().create_client(
            "sqs",
            "us-east-1",
            aws_access_key_id="a",
            aws_secret_access_key="b",
            config=Config(retries={"total_max_attempts": 1}),
        )
        self.client.meta.events.register("before-send.sqs", self._answer)
        self.shared.watch(self.client)

    def _answer(self, **_: Any) -> Any:
        self.asked += 1
        code = 403 if self.asked <= self.refused else 200
        assert self.gate.wait(10)
        return AWSResponse("http://sqs", code, HTTPHeaders(), Raw(b'{"QueueUrl": "http://sqs/q"}'))

    def ask(self) -> str:
        try:
            return str(self.client.get_queue_url(QueueName="q")["QueueUrl"])
        except ClientError:
            return "refused"


def ask_at_once(service: Service) -> list[str]:
    with service.shared.kept(), ThreadPoolExecutor(THREADS) as threads:
        asked = [threads.submit(service.ask) for _ in range(THREADS)]
        service.gate.set()
        return [one.result(10) for one in asked]


@pytest.mark.parametrize("round_", range(5))
def test_of_many_that_ask_at_the_same_moment_one_asks_aws(round_: int) -> None:
    service = Service()
    assert ask_at_once(service) == ["http://sqs/q"] * THREADS
    assert service.asked == 1


def test_after_a_failure_the_others_ask() -> None:
    service = Service(refused=1)
    assert sorted(ask_at_once(service)) == ["http://sqs/q"] * (THREADS - 1) + ["refused"]
    assert service.asked > 1


def test_nothing_is_shared_where_that_was_not_asked_for() -> None:
    service = Service()
    service.gate.set()
    assert [service.ask(), service.ask()] == ["http://sqs/q"] * 2
    assert service.asked == 2
