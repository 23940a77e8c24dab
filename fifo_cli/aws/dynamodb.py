"""DynamoDB items from plain JSON: checked against AWS's rules, written, and found by their keys."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from fifo_cli.aws.errors import DENIED, THROTTLED, calling, error_codes
from fifo_cli.errors import AwsError, FifoError
from fifo_cli.model.limits import ITEM_BYTES_MAX

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from fifo_cli.aws.session import Aws

# DynamoDB Developer Guide, "Supported data types and naming rules" (numbers, nesting) and "Quotas" (keys).
_DIGITS_MAX: Final = 38
_EXPONENT_MIN: Final = -130
_EXPONENT_MAX: Final = 125
_DEPTH_MAX: Final = 32
_PATH_SHOWN: Final = 60
_NAME_BYTES_MAX: Final = 65_535
_KEY_BYTES_MAX: Final = (2048, 1024)
ITEMS_OF_KEY_MAX: Final = 100
_KEY_TYPES: Final = {"S": "a string", "N": "a number", "B": "binary data, as base64 in a string"}

Item = Mapping[str, "AttributeValueTypeDef"]


def problems_of(item: Mapping[str, Any], keys: tuple[tuple[str, str], ...]) -> Iterator[str]:
    """Say everything DynamoDB would refuse in an item whose numbers are Decimals; nothing if it is fine.

    ``keys`` are the table's key attributes as (name, type), the partition key first.
    """
    found = []
    for place, (name, kind) in enumerate(keys):
        found += list(_key_problems(item, name, kind, _KEY_BYTES_MAX[place]))
    for name, value in item.items():
        found += list(_value_problems(name, value, 1)) + list(_name_problems(name, ""))
    yield from found
    if not found:
        size = item_size(item)
        if size > ITEM_BYTES_MAX:
            yield f"the item has {size:,} bytes; an item holds {ITEM_BYTES_MAX:,}"


def typed(item: Mapping[str, Any], keys: tuple[tuple[str, str], ...]) -> Item:
    """Turn an item without problems into DynamoDB JSON; a key attribute of type B is read as base64."""
    binary = {name for name, kind in keys if kind == "B"}
    return {
        name: {"B": base64.b64decode(value, validate=True)} if name in binary else _typed(value)
        for name, value in item.items()
    }


def key_of(item: Mapping[str, Any], keys: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """Return the key attributes of a plain item."""
    return {name: item[name] for name, _ in keys}


def item_size(item: Mapping[str, Any]) -> int:
    """Return the bytes DynamoDB counts for a plain item ("DynamoDB item sizes and formats")."""
    return sum(len(name.encode()) + _size(value) for name, value in item.items())


def put_item(aws: Aws, table: str, item: Item) -> None:
    """Write one item, over one with the same key if there is one."""
    with calling(f"table {table}"):
        aws.client("dynamodb").put_item(TableName=table, Item=item)


class BatchDeniedError(AwsError):
    """The caller may not call BatchWriteItem."""


def put_items(aws: Aws, table: str, items: Sequence[Item]) -> set[int]:
    """Write up to 25 items with different keys, in no order; return the places of those not written.

    Raises BatchDeniedError where only PutItem is allowed.
    """
    requests: Any = [{"PutRequest": {"Item": item}} for item in items]
    try:
        with calling(f"table {table}"):
            answer = aws.client("dynamodb").batch_write_item(RequestItems={table: requests})
    except FifoError as error:
        cause = error.__cause__
        if isinstance(cause, ClientError) and error_codes(cause) & DENIED:
            raise BatchDeniedError(error.message, hint=error.hint) from cause
        raise
    left = [one["PutRequest"]["Item"] for one in answer.get("UnprocessedItems", {}).get(table, [])]
    places = {place for place, item in enumerate(items) if item in left}
    # Known by all that they hold; if that fails, all are written again, which changes nothing.
    return places if len(places) == len(left) else set(range(len(items)))


def table_is_busy(error: FifoError) -> bool:
    """Say whether a write failed because the table throttles: the same write may succeed in a moment."""
    cause = error.__cause__
    return isinstance(cause, ClientError) and bool(error_codes(cause) & THROTTLED)


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
            Limit=ITEMS_OF_KEY_MAX,
        )
    return [dict(item) for item in answer["Items"]]


def kind_of(value: Any) -> str:
    """Name the kind of a JSON value, as in a sentence."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "a string"
        case Decimal():
            return "a number"
        case list():
            return "a list"
        case _:
            return "an object"


def _typed(value: Any) -> AttributeValueTypeDef:
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case Decimal():
            return {"N": str(value)}
        case list():
            return {"L": [_typed(one) for one in value]}
        case dict():
            return {"M": {name: _typed(one) for name, one in value.items()}}
        case _:
            raise TypeError(f"no JSON value: {type(value).__name__}")


def _key_problems(item: Mapping[str, Any], name: str, kind: str, bytes_max: int) -> Iterator[str]:
    if name not in item:
        yield f"the key attribute {name!r} is missing"
        return
    value = item[name]
    right = isinstance(value, Decimal) if kind == "N" else isinstance(value, str)
    if not right:
        yield f"the key attribute {name!r} is {kind_of(value)}; the table's is {_KEY_TYPES[kind]}"
        return
    if kind == "N":
        return
    size = len(value.encode("utf-8", "surrogatepass"))
    if kind == "B":
        try:
            size = len(base64.b64decode(value, validate=True))
        except (binascii.Error, ValueError):
            yield f"the key attribute {name!r} is not base64, as binary data is written in JSON"
            return
    if not size:
        yield f"the key attribute {name!r} is empty"
    elif size > bytes_max:
        yield f"the key attribute {name!r} has {size:,} bytes; a key of its place holds {bytes_max:,}"


def _value_problems(path: str, value: Any, depth: int) -> Iterator[str]:
    if depth > _DEPTH_MAX:
        yield f"{path[:_PATH_SHOWN]!r} is nested deeper than {_DEPTH_MAX} levels"
        return
    match value:
        case Decimal():
            yield from _number_problems(path, value)
        case str():
            if not _is_unicode(value):
                yield f"{path!r} holds half of a surrogate pair, which is not text"
        case list():
            for index, one in enumerate(value):
                yield from _value_problems(f"{path}[{index}]", one, depth + 1)
        case dict():
            for name, one in value.items():
                yield from _name_problems(name, path)
                yield from _value_problems(f"{path}.{name}", one, depth + 1)


def _name_problems(name: str, path: str) -> Iterator[str]:
    where = f" in {path!r}" if path else ""
    if not name:
        yield f"an attribute name{where} is empty"
    elif not _is_unicode(name):
        yield f"the attribute name {name!r}{where} holds half of a surrogate pair, which is not text"
    elif len(name.encode()) > _NAME_BYTES_MAX:
        yield f"an attribute name{where} has more than {_NAME_BYTES_MAX:,} bytes"


def _number_problems(path: str, value: Decimal) -> Iterator[str]:
    if not value.is_finite():
        yield f"{path!r} is {value}, which is not a number"
    elif _significant(value) > _DIGITS_MAX:
        yield f"{path!r} has {_significant(value)} digits; a number holds {_DIGITS_MAX}"
    elif value and not _EXPONENT_MIN <= value.adjusted() <= _EXPONENT_MAX:
        yield f"{path!r} is out of range; a number lies between 1E{_EXPONENT_MIN} and 1E+{_EXPONENT_MAX + 1}"


def _significant(value: Decimal) -> int:
    digits = "".join(map(str, value.as_tuple().digits)).strip("0")
    return len(digits)


def _size(value: Any) -> int:
    match value:
        case str():
            return len(value.encode())
        case Decimal():
            # "Approximately": a byte for two significant digits, one more, and one for the sign.
            return (_significant(value) + 1) // 2 + 1 + (value < 0)
        case list():
            return 3 + sum(1 + _size(one) for one in value)
        case dict():
            return 3 + sum(1 + len(name.encode()) + _size(one) for name, one in value.items())
        case _:
            return 1


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
