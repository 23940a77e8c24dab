"""Writing a log stream, and since when a log group holds everything."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.stub import Stubber

from fifo_cli.aws.log_streams import LogStream, Stamped, holds_since
from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.errors import AwsError

NOW = datetime(2026, 1, 31, tzinfo=UTC)
PLACE = {"logGroupName": "g", "logStreamName": "s"}


@pytest.fixture
def aws() -> Aws:
    return Aws(AwsEndpoint(local=True))


@pytest.fixture
def stub(aws: Aws) -> Iterator[Stubber]:
    with Stubber(aws.client("logs", read_timeout=3.0, attempts=2)) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def put(*times: int) -> dict[str, Any]:
    return {**PLACE, "logEvents": [{"timestamp": time, "message": f"at {time}"} for time in times]}


def lines(*times: int) -> list[Stamped]:
    return [Stamped(time, f"at {time}") for time in times]


def test_the_stream_is_made_once_and_lines_go_in_order_of_time(aws: Aws, stub: Stubber) -> None:
    stub.add_response("create_log_stream", {}, PLACE)
    stub.add_response("put_log_events", {}, put(1, 2, 3))
    stub.add_response("put_log_events", {}, put(4))
    stream = LogStream(aws, "g", "s")
    stream.put(lines(3, 1, 2))
    stream.put(lines(4))


def test_a_stream_that_is_there_is_written_on(aws: Aws, stub: Stubber) -> None:
    stub.add_client_error("create_log_stream", "ResourceAlreadyExistsException", "there")
    stub.add_response("put_log_events", {}, put(1))
    LogStream(aws, "g", "s").put(lines(1))


def test_a_batch_stays_below_a_mebibyte_with_what_cloudwatch_adds(aws: Aws, stub: Stubber) -> None:
    long = "x" * (262_144 - 26)
    stub.add_response("create_log_stream", {}, PLACE)
    for times in ((1, 2, 3, 4), (5,)):
        events = [{"timestamp": time, "message": long} for time in times]
        stub.add_response("put_log_events", {}, {**PLACE, "logEvents": events})
    LogStream(aws, "g", "s").put([Stamped(time, long) for time in range(1, 6)])


def test_a_refusal_names_stream_and_group(aws: Aws, stub: Stubber) -> None:
    stub.add_client_error("create_log_stream", "AccessDeniedException", "no")
    with pytest.raises(AwsError, match="log group g: permission denied"):
        LogStream(aws, "g", "s").put(lines(1))


@pytest.mark.parametrize(
    ("group", "since"),
    [
        ({"creationTime": 1_767_225_600_000}, datetime(2026, 1, 1, tzinfo=UTC)),
        ({"creationTime": 1_767_225_600_000, "retentionInDays": 7}, NOW - timedelta(days=7)),
        ({"creationTime": 1_769_731_200_000, "retentionInDays": 7}, datetime(2026, 1, 30, tzinfo=UTC)),
    ],
)
def test_a_group_holds_what_was_logged_since_its_creation_or_within_its_retention(aws, group, since) -> None:
    with Stubber(aws.client("logs")) as stub:
        stub.add_response(
            "describe_log_groups",
            {"logGroups": [{"logGroupName": "g-2", "creationTime": 1}, {"logGroupName": "g", **group}]},
            {"logGroupNamePrefix": "g"},
        )
        assert holds_since(aws, "g", now=NOW) == since


def test_a_group_that_is_not_there_holds_nothing(aws: Aws) -> None:
    with Stubber(aws.client("logs")) as stub:
        stub.add_response("describe_log_groups", {"logGroups": [{"logGroupName": "g-2"}]})
        assert holds_since(aws, "g", now=NOW) is None
