"""Reads that are asked alike: AWS is asked once, also by threads at the same moment."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError, EndpointConnectionError

from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.handlers.signed_calls import NO_HEADERS

THREADS = 8
UNREACHABLE = EndpointConnectionError(endpoint_url="http://sqs")
ROLE = (
    "<GetRoleResponse><GetRoleResult><Role><RoleName>r</RoleName><AssumeRolePolicyDocument>"
    "%7B%22Version%22%3A%221%22%7D</AssumeRolePolicyDocument></Role></GetRoleResult></GetRoleResponse>"
)


class Raw(BytesIO):
    """The body of an answer, as botocore reads it."""

    def stream(self, **_: Any) -> Any:
        yield self.read()


class Service:
    """Answers when ``gate`` is open: SQS with a request's number, IAM with a role; or as ``others`` says.

    ``others`` has, by a request's number, the status or the error that it gets instead.
    """

    def __init__(self, name: Any = "sqs", others: Mapping[int, int | Exception] | None = None) -> None:
        self.gate = threading.Event()
        self.requests = 0
        self.others = others or {}
        self.aws = Aws(AwsEndpoint(local=True, endpoint_url="http://127.0.0.1:9"))
        self.client = self.aws.client(name, attempts=1)
        self.client.meta.events.register("before-send", self._answer)

    def _answer(self, request: Any, **_: Any) -> AWSResponse:
        self.requests += 1
        number = self.requests
        assert self.gate.wait(10)
        result = self.others.get(number, 200)
        if isinstance(result, Exception):
            raise result
        answer = {"Tags": {"number": str(number)}} if result == 200 else {"__type": "Refused"}
        body = ROLE if "iam" in request.headers["Authorization"].decode() else json.dumps(answer)
        return AWSResponse(request.url, result, NO_HEADERS, Raw(body.encode()))

    def tags(self, queue: str = "q") -> dict[str, str]:
        tags: dict[str, str] = self.client.list_queue_tags(QueueUrl=queue)["Tags"]
        return tags

    def ask(self) -> str:
        try:
            return self.tags()["number"]
        except (ClientError, EndpointConnectionError):
            return "failed"


def opened(name: str = "sqs", others: Mapping[int, int | Exception] | None = None) -> Service:
    service = Service(name, others)
    service.gate.set()
    return service


def ask_at_once(service: Service) -> list[str]:
    with service.aws.read_cache.kept(), ThreadPoolExecutor(THREADS) as threads:
        asked = [threads.submit(service.ask) for _ in range(THREADS)]
        service.gate.set()
        return [one.result(10) for one in asked]


def test_while_answers_are_kept_a_read_is_made_once_and_each_has_its_own_copy() -> None:
    service = opened()
    with service.aws.read_cache.kept():
        service.tags().clear()
        assert (service.tags(), service.tags("other")) == ({"number": "1"}, {"number": "2"})
    assert service.tags() == {"number": "3"}


def test_a_shared_answer_is_decoded_as_the_first_one_was() -> None:
    service = opened("iam")
    with service.aws.read_cache.kept():
        first, second = (service.client.get_role(RoleName="r")["Role"] for _ in range(2))
    assert first == second
    assert second["AssumeRolePolicyDocument"] == {"Version": "1"}
    assert service.requests == 1


def test_neither_a_failure_nor_a_change_is_kept() -> None:
    service = opened(others={1: 400})
    with service.aws.read_cache.kept():
        with pytest.raises(ClientError):
            service.tags()
        assert service.tags() == {"number": "2"}
        for _ in range(2):
            service.client.tag_queue(QueueUrl="q", Tags={"a": "1"})
        assert service.requests == 4


@pytest.mark.parametrize("round_", range(5))
def test_of_many_that_ask_at_the_same_moment_one_asks_aws(round_: int) -> None:
    service = Service()
    assert ask_at_once(service) == ["1"] * THREADS
    assert service.requests == 1


@pytest.mark.parametrize("failure", [403, UNREACHABLE], ids=["refused", "unreachable"])
def test_after_a_failure_the_others_ask_at_once(failure: int | Exception) -> None:
    service = Service(others={1: failure})
    began = time.monotonic()
    answers = ask_at_once(service)
    assert answers.count("failed") == 1
    assert service.requests > 1
    assert time.monotonic() - began < 4


def test_nothing_is_shared_where_that_was_not_asked_for() -> None:
    service = opened()
    assert [service.ask(), service.ask()] == ["1", "2"]
