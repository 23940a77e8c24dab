"""Whether items are in a table, known by their keys alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from fifo_cli.aws.errors import calling

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from fifo_cli.aws.session import Aws

_ITEMS_MAX: Final = 100


def keys_in_table(
    aws: Aws, table: str, key: Mapping[str, AttributeValueTypeDef], attributes: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the key ``attributes`` of the items with this key, or this partition key, in DynamoDB JSON.

    A hundred items at most, read consistently.
    """
    names = {f"#{n}": name for n, name in enumerate(attributes)}
    places = {name: n for n, name in enumerate(attributes)}
    with calling(f"table {table}"):
        answer = aws.client("dynamodb").query(
            TableName=table,
            KeyConditionExpression=" AND ".join(f"#{places[name]} = :{places[name]}" for name in key),
            ExpressionAttributeNames=names,
            ExpressionAttributeValues={f":{places[name]}": value for name, value in key.items()},
            ProjectionExpression=", ".join(names),
            ConsistentRead=True,
            Limit=_ITEMS_MAX,
        )
    return [dict(item) for item in answer["Items"]]
