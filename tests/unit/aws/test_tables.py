"""Tables as resources."""

from __future__ import annotations

import pytest

from fifo_cli.aws.gateway import Patience
from fifo_cli.aws.tables import TableAdmin
from fifo_cli.model.resources import Resource
from tests.unit.aws.resource_life import TAGS, client, live

pytestmark = pytest.mark.usefixtures("moto")


def test_a_table_is_made_with_its_stream_and_put_back_on_demand() -> None:
    dynamodb = client("dynamodb")
    keys = [["id", "S"], ["created", "N"]]
    properties = {"keys": keys, "stream": "NEW_AND_OLD_IMAGES", "billing": "PAY_PER_REQUEST"}
    wanted = Resource("table", "items", properties, TAGS)
    gate = TableAdmin(dynamodb, Patience(sleep=lambda _: None))
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
