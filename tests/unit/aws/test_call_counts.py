"""Calls are counted in a file; a call that is made while its folder is removed makes no new one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import botocore.session

from fifo_cli.aws.call_counts import count_calls, counted, read_counts


def called(client: Any) -> None:
    """Call SQS, which answers at once."""

    class Http:
        status_code = 200

    client.meta.events.register("before-call", lambda **_: (Http(), {"QueueUrls": []}))
    client.list_queues()


def sqs() -> Any:
    made = botocore.session.Session().create_client(
        "sqs", "us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    count_calls(made)
    return made


def test_calls_are_counted_by_service_and_action(tmp_path: Path) -> None:
    with counted(tmp_path):
        client = sqs()
        called(client)
        client.list_queues()
    assert read_counts(tmp_path) == {"sqs ListQueues": 2}


def test_a_call_that_comes_late_leaves_nothing_in_a_folder_that_is_being_removed(tmp_path: Path) -> None:
    with counted(tmp_path):
        client = sqs()
    (one,) = tmp_path.iterdir()
    one.unlink()
    called(client)
    assert list(tmp_path.iterdir()) == []


def test_outside_nothing_is_counted(tmp_path: Path) -> None:
    called(sqs())
    assert read_counts(tmp_path) == {}
