"""Plain JSON items: what DynamoDB would refuse, and what it is sent."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from typing import Any

import pytest
from botocore.stub import Stubber

from fifo_cli.aws.dynamodb import item_size, problems_of, put_item, typed
from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.errors import NotDeployedError

KEYS = (("id", "S"),)


def problems(item: dict[str, Any], keys: tuple[tuple[str, str], ...] = KEYS) -> list[str]:
    return list(problems_of(item, keys))


def test_every_kind_of_value_has_its_type() -> None:
    item = {
        "id": "1",
        "n": Decimal("0.10"),
        "t": True,
        "z": None,
        "l": [Decimal(1), "", []],
        "m": {"a": False},
    }

    assert problems(item) == []
    assert typed(item, KEYS) == {
        "id": {"S": "1"},
        "n": {"N": "0.10"},
        "t": {"BOOL": True},
        "z": {"NULL": True},
        "l": {"L": [{"N": "1"}, {"S": ""}, {"L": []}]},
        "m": {"M": {"a": {"BOOL": False}}},
    }


@pytest.mark.parametrize(
    ("item", "keys", "problem"),
    [
        ({}, KEYS, "the key attribute 'id' is missing"),
        ({"id": Decimal(1)}, KEYS, "the key attribute 'id' is a number; the table's is a string"),
        ({"id": None}, KEYS, "the key attribute 'id' is null; the table's is a string"),
        ({"id": True}, (("id", "N"),), "the key attribute 'id' is true or false; the table's is a number"),
        ({"id": "1"}, (("id", "N"),), "the key attribute 'id' is a string; the table's is a number"),
        ({"id": ""}, KEYS, "the key attribute 'id' is empty"),
        ({"id": "é" * 1025}, KEYS, "the key attribute 'id' has 2,050 bytes; a key of its place holds 2,048"),
        (
            {"id": "1", "at": "x" * 1025},
            (("id", "S"), ("at", "S")),
            "the key attribute 'at' has 1,025 bytes; a key of its place holds 1,024",
        ),
        (
            {"id": "a*b"},
            (("id", "B"),),
            "the key attribute 'id' is not base64, as binary data is written in JSON",
        ),
        ({"id": "1", "": "x"}, KEYS, "an attribute name is empty"),
        ({"id": "1", "a": {"b": [{"": 1}]}}, KEYS, "an attribute name in 'a.b[0]' is empty"),
        ({"id": "1", "x": "\ud800"}, KEYS, "'x' holds half of a surrogate pair, which is not text"),
        ({"id": "1", "x": ["a", "\udcff"]}, KEYS, "'x[1]' holds half of a surrogate pair, which is not text"),
        ({"id": "1", "n": Decimal("1" * 39)}, KEYS, "'n' has 39 digits; a number holds 38"),
        (
            {"id": "1", "n": Decimal("1E+126")},
            KEYS,
            "'n' is out of range; a number lies between 1E-130 and 1E+126",
        ),
        (
            {"id": "1", "n": Decimal("1E-131")},
            KEYS,
            "'n' is out of range; a number lies between 1E-130 and 1E+126",
        ),
        ({"id": "1", "n": Decimal("NaN")}, KEYS, "'n' is NaN, which is not a number"),
    ],
)
def test_what_dynamodb_would_refuse_is_reported_beforehand(
    item: dict[str, Any], keys: tuple[tuple[str, str], ...], problem: str
) -> None:
    assert problems(item, keys) == [problem]


def test_all_problems_of_an_item_are_reported_together() -> None:
    assert len(problems({"n": Decimal("1" * 39), "x": "\ud800", "": 1})) == 4


@pytest.mark.parametrize(
    "number",
    [
        "9" * 38,
        "-" + "9" * 38,
        "0." + "1" * 38,
        "1" + "0" * 125,
        "9.9e125",
        "1e-130",
        "0",
        "-0",
        "0e999",
        "1" + "0" * 50,
    ],
)
def test_numbers_at_the_edge_are_taken(number: str) -> None:
    assert problems({"id": "1", "n": Decimal(number)}) == []


def test_an_item_may_be_nested_32_levels_deep_and_no_deeper() -> None:
    def nested(depth: int) -> Any:
        return "x" if depth == 1 else [nested(depth - 1)]

    assert problems({"id": "1", "deep": nested(32)}) == []
    assert problems({"id": "1", "deep": nested(33)})[0].endswith("is nested deeper than 32 levels")


def test_an_item_may_have_400_kb_names_included() -> None:
    room = 400 * 1024 - len("id1") - len("x")

    assert problems({"id": "1", "x": "a" * room}) == []
    assert problems({"id": "1", "x": "a" * (room + 1)}) == [
        "the item has 409,601 bytes; an item holds 409,600"
    ]


def test_sizes_count_names_elements_and_half_a_byte_a_digit() -> None:
    assert item_size({"id": "é"}) == 4
    assert item_size({"n": Decimal("1200")}) == 1 + 2
    assert item_size({"l": [None, True]}) == 1 + 3 + 2 * 2
    assert item_size({"m": {"ab": "c"}}) == 1 + 3 + 1 + 2 + 1


def test_a_binary_key_is_sent_as_its_bytes() -> None:
    item = {"id": base64.b64encode(b"\x00\xff").decode()}

    assert problems(item, (("id", "B"),)) == []
    assert typed(item, (("id", "B"),)) == {"id": {"B": b"\x00\xff"}}


def test_a_table_that_is_not_there_is_named() -> None:
    aws = Aws(AwsEndpoint(local=True))
    with Stubber(aws.client("dynamodb")) as stub:
        stub.add_client_error("put_item", "ResourceNotFoundException", "no")
        with pytest.raises(NotDeployedError, match="table orders does not exist"):
            put_item(aws, "orders", typed({"id": "1"}, KEYS))


def test_numbers_reach_dynamodb_as_they_were_written() -> None:
    aws = Aws(AwsEndpoint(local=True))
    small, large = "0.1000000000000000000000000000000000001", "12345678901234567890123456789012345678"
    item = json.loads(f'{{"id": "1", "n": {small}, "m": {large}}}', parse_float=Decimal, parse_int=Decimal)
    with Stubber(aws.client("dynamodb")) as stub:
        stub.add_response(
            "put_item",
            {},
            {
                "TableName": "orders",
                "Item": {
                    "id": {"S": "1"},
                    "n": {"N": small},
                    "m": {"N": large},
                },
            },
        )
        put_item(aws, "orders", typed(item, KEYS))
        stub.assert_no_pending_responses()
