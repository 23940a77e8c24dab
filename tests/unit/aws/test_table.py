"""Tables as resources."""

from __future__ import annotations

import pytest

from fifo_cli.aws.resources.gateway import Waiter
from fifo_cli.aws.resources.table import TableAdmin
from fifo_cli.errors import AwsError
from fifo_cli.events import Event, Waiting
from fifo_cli.model.resources import Found, Resource
from tests.unit.aws.resource_life import TAGS, client, live, stubbed

pytestmark = pytest.mark.usefixtures("moto")


def test_a_table_is_made_with_its_stream_and_put_back_on_demand() -> None:
    dynamodb = client("dynamodb")
    keys = [["id", "S"], ["created", "N"]]
    properties = {"keys": keys, "stream": "NEW_AND_OLD_IMAGES", "billing": "PAY_PER_REQUEST"}
    wanted = Resource("table", "items", properties, TAGS)
    gate = TableAdmin(dynamodb, Waiter(sleep=lambda _: None))
    live(gate, wanted, Resource("table", "items", properties, {**TAGS, "team": "other"}))
    dynamodb.create_table(
        TableName="items",
        KeySchema=[
            {"AttributeName": "id", "KeyType": "HASH"},
            {"AttributeName": "created", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "other", "AttributeType": "B"},
            {"AttributeName": "created", "AttributeType": "N"},
            {"AttributeName": "id", "AttributeType": "S"},
        ],
        ProvisionedThroughput={"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
        GlobalSecondaryIndexes=[
            {
                "IndexName": "more",
                "KeySchema": [{"AttributeName": "other", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
                "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
            }
        ],
    )
    found = gate.read("items")
    assert found is not None
    assert found.properties == {"keys": keys, "stream": None, "billing": "PROVISIONED"}
    assert found.facts["stream_arn"] is None
    gate.update(wanted, found, frozenset({"stream", "billing"}))
    after = gate.read("items")
    assert after is not None
    assert after.properties == properties
    assert after.facts["stream_arn"]


ON = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
OFF = {"StreamEnabled": False}


def test_another_view_is_put_right_by_a_stream_that_goes_off_and_on_and_a_busy_table_is_waited_for() -> None:
    made, stub = stubbed("dynamodb")
    active = {"Table": {"TableStatus": "ACTIVE"}}
    stub.add_response("describe_table", active)
    stub.add_client_error("update_table", "ResourceInUseException", "Attempt to change a resource")
    stub.add_response("update_table", {}, {"TableName": "items", "StreamSpecification": OFF})
    stub.add_response("describe_table", {"Table": {"TableStatus": "UPDATING"}})
    stub.add_response("describe_table", active)
    # The first answer was lost: the stream is on already, which DynamoDB takes for a fault of ours.
    stub.add_client_error("update_table", "ValidationException", "Table already has an enabled stream: items")
    stub.add_response("describe_table", {"Table": {"TableStatus": "ACTIVE", "StreamSpecification": ON}})
    stub.add_response("describe_table", active)
    events: list[Event] = []
    gate = TableAdmin(made, Waiter(events.append, lambda _: None, lambda: 0.0))
    wanted = Resource("table", "items", {"stream": "NEW_AND_OLD_IMAGES"})
    gate.update(wanted, Found("table", "items", {"stream": "KEYS_ONLY"}), frozenset({"stream"}))
    stub.assert_no_pending_responses()
    assert [one.reason for one in events if isinstance(one, Waiting)] == [
        "busy with another change",
        "not ready: UPDATING",
    ]


def test_a_stream_that_dynamodb_refuses_is_an_error() -> None:
    made, stub = stubbed("dynamodb")
    stub.add_response("describe_table", {"Table": {"TableStatus": "ACTIVE"}})
    stub.add_client_error("update_table", "ValidationException", "Global tables need NEW_AND_OLD_IMAGES")
    stub.add_response("describe_table", {"Table": {"TableStatus": "ACTIVE"}})
    gate = TableAdmin(made, Waiter(sleep=lambda _: None))
    wanted = Resource("table", "items", {"stream": "NEW_AND_OLD_IMAGES"})
    with pytest.raises(AwsError, match="UpdateTable on table items: AWS refused: Global tables need"):
        gate.update(wanted, Found("table", "items", {"stream": None}), frozenset({"stream"}))
