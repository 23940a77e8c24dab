"""Which calls wait for the history's beginning."""

from __future__ import annotations

from typing import Any

import pytest

from fifo_cli.aws.session import Aws, AwsEndpoint

READS: list[tuple[Any, str, dict[str, str]]] = [
    ("sqs", "get_queue_url", {"QueueName": "q"}),
    ("sqs", "list_queue_tags", {"QueueUrl": "q"}),
    ("logs", "filter_log_events", {"logGroupName": "g"}),
    ("dynamodb", "describe_table", {"TableName": "t"}),
    ("dynamodb", "scan", {"TableName": "t"}),
    ("sts", "get_caller_identity", {}),
]
CHANGES: list[tuple[Any, str, dict[str, str]]] = [
    ("sqs", "receive_message", {"QueueUrl": "q"}),
    ("sqs", "purge_queue", {"QueueUrl": "q"}),
    ("lambda", "invoke", {"FunctionName": "f"}),
    ("events", "disable_rule", {"Name": "r"}),
    ("dynamodb", "delete_table", {"TableName": "t"}),
]


class Waited(Exception):
    """The call waits."""


class NotSent(Exception):
    """The call would be sent now."""


@pytest.mark.parametrize(
    ("call", "waits"), [*((one, False) for one in READS), *((one, True) for one in CHANGES)]
)
def test_a_call_that_may_change_something_waits_and_one_that_reads_does_not(
    call: tuple[Any, str, dict[str, str]], waits: bool
) -> None:
    service, method, parameters = call
    aws = Aws(AwsEndpoint(endpoint_url="http://127.0.0.1:9", local=True))
    client: Any = aws.client(service)

    def wait() -> None:
        raise Waited

    def send(**_: Any) -> None:
        raise NotSent

    client.meta.events.register("before-send", send)
    with pytest.raises(NotSent):
        getattr(client, method)(**parameters)
    aws.before_changes(wait)
    with pytest.raises(Waited if waits else NotSent):
        getattr(client, method)(**parameters)
