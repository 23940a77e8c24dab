from __future__ import annotations

import io
import json
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError

from fifo_cli.aws.session import Aws, Target


class Raw(io.BytesIO):
    """A body as urllib3 gives it."""

    def stream(self) -> Any:
        yield self.read()


class Service:
    """An SQS that answers each request that reaches it with its number, or with a failure."""

    def __init__(self) -> None:
        self.requests = 0
        self.status = 200
        self.client = Aws(Target(local=True, endpoint_url="http://127.0.0.1:9"))
        self.sqs = self.client.client("sqs", attempts=1)
        self.sqs.meta.events.register("before-send", self._answer)

    def _answer(self, request: Any, **_: Any) -> AWSResponse:
        self.requests += 1
        answer = {"Tags": {"number": str(self.requests)}} if self.status == 200 else {"__type": "Refused"}
        return AWSResponse(request.url, self.status, {}, Raw(json.dumps(answer).encode()))

    def tags(self, queue: str = "q") -> dict[str, str]:
        return self.sqs.list_queue_tags(QueueUrl=queue)["Tags"]


def test_while_answers_are_kept_a_read_is_made_once_and_each_has_its_own_copy() -> None:
    service = Service()
    with service.client.answers.kept():
        service.tags().clear()
        assert (service.tags(), service.tags("other")) == ({"number": "1"}, {"number": "2"})
    assert service.tags() == {"number": "3"}


def test_neither_a_failure_nor_a_change_is_kept() -> None:
    service = Service()
    with service.client.answers.kept():
        service.status = 400
        with pytest.raises(ClientError):
            service.tags()
        service.status = 200
        assert service.tags() == {"number": "2"}
        for _ in range(2):
            service.sqs.tag_queue(QueueUrl="q", Tags={"a": "1"})
        assert service.requests == 4
