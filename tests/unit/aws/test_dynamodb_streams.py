from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from fifo_cli.aws.dynamodb_streams import (
    ExpiredIteratorError,
    Page,
    Shard,
    Stream,
    StreamGoneError,
    StreamSource,
    ThrottledError,
    TrimmedError,
    UnknownTimestampError,
    gone,
    table_streams,
)
from fifo_cli.errors import AwsError, NotDeployedError
from fifo_cli.events import Event, Warned
from tests.faults import client_error

ARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/orders/stream/2026-01-02T03:04:05.678"
OLD = ARN.replace("2026-01-02", "2026-01-01")
ACCOUNT = {"region_name": "eu-west-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"}


class StubbedAws:
    """Clients whose answers a test gives."""

    def __init__(self) -> None:
        self.clients: dict[str, Any] = {
            name: boto3.client(name, **ACCOUNT)  # type: ignore[call-overload]
            for name in ("dynamodb", "dynamodbstreams")
        }
        self.tables, self.streams = (Stubber(client) for client in self.clients.values())

    def client(self, service: str) -> Any:
        return self.clients[service]


@pytest.fixture
def aws() -> Iterator[StubbedAws]:
    made = StubbedAws()
    with made.tables, made.streams:
        yield made
        made.tables.assert_no_pending_responses()
        made.streams.assert_no_pending_responses()


@pytest.fixture
def source(aws: StubbedAws) -> StreamSource:
    return StreamSource(aws, ARN)  # type: ignore[arg-type]


def listing(*shards: dict[str, Any], last: str | None = None) -> dict[str, Any]:
    description: dict[str, Any] = {"StreamArn": ARN, "Shards": list(shards)}
    return {"StreamDescription": {**description, **({"LastEvaluatedShardId": last} if last else {})}}


def test_shards_are_listed_page_by_page_with_their_numbers_as_integers(aws, source):
    first = {
        "ShardId": "shardId-00000000000000000001-00000001",
        "SequenceNumberRange": {
            "StartingSequenceNumber": "0" * 20 + "7",
            "EndingSequenceNumber": "0" * 20 + "42",
        },
    }
    second = {
        "ShardId": "shardId-00000000000000000001-00000002",
        "ParentShardId": "shardId-00000000000000000001-00000001",
    }
    aws.streams.add_response(
        "describe_stream", listing(first, last="shardId-00000000000000000001-00000001"), {"StreamArn": ARN}
    )
    # A page may be empty and not the last.
    aws.streams.add_response(
        "describe_stream",
        listing(last="shardId-00000000000000000001-00000001"),
        {"StreamArn": ARN, "ExclusiveStartShardId": "shardId-00000000000000000001-00000001"},
    )
    aws.streams.add_response(
        "describe_stream",
        listing(second),
        {"StreamArn": ARN, "ExclusiveStartShardId": "shardId-00000000000000000001-00000001"},
    )
    assert source.shards() == [
        Shard("shardId-00000000000000000001-00000001", None, 7, 42),
        Shard("shardId-00000000000000000001-00000002", "shardId-00000000000000000001-00000001"),
    ]


def test_a_page_without_a_next_iterator_is_the_end_of_its_shard(aws, source):
    record = {"eventID": "e", "eventName": "INSERT", "dynamodb": {"SequenceNumber": "0" * 21}}
    aws.streams.add_response("get_records", {"Records": [record]}, {"ShardIterator": "i", "Limit": 1000})
    assert source.records("i") == Page((record,), None)


def test_an_iterator_at_a_number(aws, source):
    asked = {
        "StreamArn": ARN,
        "ShardId": "shardId-00000000000000000001-00000001",
        "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
        "SequenceNumber": "0" * 21,
    }
    aws.streams.add_response("get_shard_iterator", {"ShardIterator": "i"}, asked)
    made = source.iterator(
        "shardId-00000000000000000001-00000001", "AFTER_SEQUENCE_NUMBER", sequence="0" * 21
    )
    assert made == "i"


def test_where_times_are_not_known_that_is_said(aws, source):
    aws.streams.add_client_error("get_shard_iterator", "ValidationException", "no such type")
    members = (
        aws.clients["dynamodbstreams"].meta.service_model.operation_model("GetShardIterator").input_shape
    )
    with pytest.raises(UnknownTimestampError):
        source.iterator(
            "shardId-00000000000000000001-00000001", "AT_TIMESTAMP", time=datetime(2026, 1, 2, tzinfo=UTC)
        )
    if "Timestamp" not in members.members:  # this botocore is older than the call
        with pytest.raises(Exception, match="no such type"):
            source.iterator("shardId-00000000000000000001-00000001", "TRIM_HORIZON")


@pytest.mark.parametrize(
    ("code", "ours"),
    [("ValidationException", UnknownTimestampError), ("TrimmedDataAccessException", TrimmedError)],
)
def test_a_time_that_the_service_does_not_take_is_not_an_error(aws, source, monkeypatch, code, ours):
    """It is in the future, or the service does not know AT_TIMESTAMP, though this botocore does."""
    monkeypatch.setattr(StreamSource, "_iterator_members", ("Timestamp",))
    asked: list[dict[str, Any]] = []

    def refuse(**query: Any) -> None:
        asked.append(query)
        raise client_error("GetShardIterator", code, "no")

    monkeypatch.setattr(aws.clients["dynamodbstreams"], "get_shard_iterator", refuse)
    time = datetime(2026, 1, 2, tzinfo=UTC)
    with pytest.raises(ours):
        source.iterator("shard", "AT_TIMESTAMP", time=time)
    assert [(query["ShardIteratorType"], query["Timestamp"]) for query in asked] == [("AT_TIMESTAMP", time)]


@pytest.mark.parametrize(
    ("kind", "more", "ours"),
    [
        ("AT_SEQUENCE_NUMBER", {"sequence": "1"}, TrimmedError),  # no record has it, or it is too large
        ("AFTER_SEQUENCE_NUMBER", {"sequence": "9" * 40}, TrimmedError),
        ("TRIM_HORIZON", {}, AwsError),
    ],
)
def test_a_number_that_the_service_does_not_take_is_looked_for_from_the_horizon(
    aws, source, kind, more, ours
):
    aws.streams.add_client_error("get_shard_iterator", "ValidationException", "Invalid SequenceNumber")
    with pytest.raises(ours):
        source.iterator("shardId-00000000000000000001-00000001", kind, **more)


@pytest.mark.parametrize(
    ("code", "ours"),
    [
        ("ExpiredIteratorException", ExpiredIteratorError),
        ("TrimmedDataAccessException", TrimmedError),
        ("LimitExceededException", ThrottledError),
        ("ProvisionedThroughputExceededException", ThrottledError),
        ("ThrottlingException", ThrottledError),
        ("ResourceNotFoundException", StreamGoneError),
        ("AccessDeniedException", AwsError),
    ],
)
def test_errors_that_the_reader_acts_on_have_classes_of_their_own(aws, source, code, ours):
    for call, ask in [
        ("get_records", lambda: source.records("i")),
        (
            "get_shard_iterator",
            lambda: source.iterator("shardId-00000000000000000001-00000001", "TRIM_HORIZON"),
        ),
        ("describe_stream", source.shards),
    ]:
        aws.streams.add_client_error(call, code, "because")
        with pytest.raises(ours):
            ask()


def described(**more: Any) -> dict[str, Any]:
    return {"Table": {"TableName": "orders", **more}}


ON = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}


def test_a_tables_streams_are_those_that_can_be_read_the_oldest_first(aws):
    aws.tables.add_response("describe_table", described(LatestStreamArn=ARN, StreamSpecification=ON))
    aws.streams.add_response(
        "list_streams",
        {"Streams": [{"StreamArn": ARN}], "LastEvaluatedStreamArn": ARN},
        {"TableName": "orders"},
    )
    aws.streams.add_response(
        "list_streams",
        {"Streams": [{"StreamArn": OLD}]},
        {"TableName": "orders", "ExclusiveStartStreamArn": ARN},
    )
    assert table_streams(aws, "orders") == [Stream(OLD, False), Stream(ARN, True)]


def test_a_stream_that_is_switched_off_is_still_one(aws):
    aws.tables.add_response("describe_table", described(LatestStreamArn=ARN))
    aws.streams.add_response("list_streams", {"Streams": [{"StreamArn": ARN}]})
    assert table_streams(aws, "orders") == [Stream(ARN, False)]


def test_without_the_permission_to_list_the_present_stream_is_known(aws):
    aws.tables.add_response("describe_table", described(LatestStreamArn=ARN, StreamSpecification=ON))
    aws.streams.add_client_error("list_streams", "AccessDeniedException", "no")
    events: list[Event] = []
    assert table_streams(aws, "orders", listener=events.append) == [Stream(ARN, True)]
    assert [event.text for event in events if isinstance(event, Warned)] == [
        "dynamodb:ListStreams is not permitted: if table orders had another stream within the last day, that"
        " one is not read"
    ]


def test_a_table_that_never_had_a_stream_is_said(aws):
    aws.tables.add_response("describe_table", described())
    aws.streams.add_response("list_streams", {"Streams": []})
    with pytest.raises(NotDeployedError, match="table orders has no stream") as caught:
        table_streams(aws, "orders")
    assert "fifo-cli deploy" in caught.value.hint


def test_a_table_that_does_not_exist_is_said(aws):
    aws.tables.add_client_error("describe_table", "ResourceNotFoundException", "no")
    with pytest.raises(NotDeployedError, match="table orders does not exist"):
        table_streams(aws, "orders")


def test_a_stream_knows_when_it_was_switched_on():
    assert Stream(ARN, True).created == datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    assert Stream("arn:whatever", True).created is None


def test_a_stream_that_went_away_is_named():
    assert ARN in gone(ARN).message
