from __future__ import annotations

import io
import json
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError

from fifo_cli.aws.session import Aws, Target
from fifo_cli.handlers.signed_calls import NO_HEADERS

ROLE = (
    "<GetRoleResponse><GetRoleResult><Role><RoleName>r</RoleName><AssumeRolePolicyDocument>"
    "%7B%22Version%22%3A%221%22%7D</AssumeRolePolicyDocument></Role></GetRoleResult></GetRoleResponse>"
)


class Raw(io.BytesIO):
    """A body as urllib3 gives it."""

    def stream(self) -> Any:
        yield self.read()


class Service:
    """Answers each request that reaches it: SQS with its number, or a failure; IAM with a role."""

    def __init__(self, name: Any = "sqs") -> None:
        self.requests = 0
        self.status = 200
        self.client = Aws(Target(local=True, endpoint_url="http://127.0.0.1:9"))
        self.aws = self.client.client(name)
        self.aws.meta.events.register("before-send", self._answer)

    def _answer(self, request: Any, **_: Any) -> AWSResponse:
        self.requests += 1
        answer = {"Tags": {"number": str(self.requests)}} if self.status == 200 else {"__type": "Refused"}
        body = ROLE if "iam" in request.headers["Authorization"].decode() else json.dumps(answer)
        return AWSResponse(request.url, self.status, NO_HEADERS, Raw(body.encode()))

    def tags(self, queue: str = "q") -> dict[str, str]:
        tags: dict[str, str] = self.aws.list_queue_tags(QueueUrl=queue)["Tags"]
        return tags


def test_while_answers_are_kept_a_read_is_made_once_and_each_has_its_own_copy() -> None:
    service = Service()
    with service.client.answers.kept():
        service.tags().clear()
        assert (service.tags(), service.tags("other")) == ({"number": "1"}, {"number": "2"})
    assert service.tags() == {"number": "3"}


def test_a_shared_answer_is_decoded_as_the_first_one_was() -> None:
    service = Service("iam")
    with service.client.answers.kept():
        first, second = (service.aws.get_role(RoleName="r")["Role"] for _ in range(2))
    assert first == second
    assert second["AssumeRolePolicyDocument"] == {"Version": "1"}
    assert service.requests == 1


def test_neither_a_failure_nor_a_change_is_kept() -> None:
    service = Service()
    with service.client.answers.kept():
        service.status = 400
        with pytest.raises(ClientError):
            service.tags()
        service.status = 200
        assert service.tags() == {"number": "2"}
        for _ in range(2):
            service.aws.tag_queue(QueueUrl="q", Tags={"a": "1"})
        assert service.requests == 4
