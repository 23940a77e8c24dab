from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from fifo_cli.errors import UsageError
from fifo_cli.operations.stream.item_keys import parse_key
from fifo_cli.operations.stream.record_filter import RecordFilter, item_of
from fifo_cli.operations.stream.shards import StreamRecord, record_of
from tests.unit.operations.simulated_stream import record

BOTH = (("id", "S"), ("n", "N"))


def one(number: int = 1, item: str = "i", **more: Any) -> StreamRecord:
    return record_of("shard", record(number, item, **more))


def test_without_a_choice_every_record_is_asked_for():
    assert RecordFilter()(one())


def test_events_choose():
    choice = RecordFilter(events=frozenset({"REMOVE"}))
    assert [choice(one(event=event)) for event in ("INSERT", "MODIFY", "REMOVE")] == [False, False, True]


def test_the_filter_is_over_the_item_which_for_a_removal_is_the_old_one():
    choice = RecordFilter(expression="total > `10` && contains(tags, 'x')")
    image: Any = {"total": {"N": "12.5"}, "tags": {"SS": ["x", "y"]}}
    assert choice(one(**image))
    assert choice(one(event="REMOVE", **image))
    assert not choice(one(total={"N": "9"}, tags={"SS": ["x"]}))


def test_a_filter_that_fails_on_a_record_does_not_take_it_and_counts_it():
    choice = RecordFilter(expression="length(total) > `1`")
    assert not choice(one(total={"N": "12"}))
    assert choice.failures == 1


def test_a_record_without_images_is_filtered_by_its_key():
    raw = record(1, "x")
    del raw["dynamodb"]["NewImage"]
    assert item_of(raw) == {"id": "x"}


def test_a_key_chooses_however_its_number_is_spelled():
    raw = record(1)
    raw["dynamodb"]["Keys"] = {"id": {"S": "a"}, "n": {"N": "1.50"}}
    chosen = RecordFilter(key=parse_key('{"n": 1.5, "id": "a"}', BOTH))
    assert chosen(record_of("s", raw))
    raw["dynamodb"]["Keys"]["n"] = {"N": "1.51"}
    assert not chosen(record_of("s", raw))


def test_a_table_whose_key_is_not_the_one_of_fifo_toml_is_found_out():
    with pytest.raises(UsageError, match="the key of the table is id, as its stream shows") as caught:
        RecordFilter(key=parse_key('{"id": "a", "n": 1}', BOTH))(one())
    assert "says id, n" in caught.value.message


def test_a_binary_key_is_given_as_base64():
    raw = record(1)
    raw["dynamodb"]["Keys"] = {"id": {"B": b"\xff\x00"}}
    assert RecordFilter(key=parse_key('{"id": "/wA="}', (("id", "B"),)))(record_of("s", raw))


def test_ids_choose_first_and_those_found_are_counted():
    choice = RecordFilter(event_ids={"e1", "e2"}, events=frozenset({"MODIFY"}))
    assert not choice(one(1))
    assert choice(one(2, event="MODIFY"))
    assert not choice(one(3, event="MODIFY"))
    assert choice.found == 2


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("a", "S", "a"),
        ("4711", "S", "4711"),
        ('"4711"', "S", "4711"),
        ("true", "S", "true"),
        ("4711", "N", 4711),
        ("0.1", "N", 0.1),
        ("1e2", "N", 100),
        ("/wA=", "B", "/wA="),
        ("[1", "S", "[1"),
    ],
)
def test_a_plain_partition_key_will_do_for_a_table_without_sort_key(text, kind, value):
    assert parse_key(text, (("id", kind),)) == {"id": value}


def test_numbers_of_a_key_keep_every_digit():
    digits = "12345678901234567890.123456789"
    assert parse_key(f'{{"id": {digits}}}', (("id", "N"),)) == {"id": Decimal(digits)}


@pytest.mark.parametrize(
    ("text", "keys", "said"),
    [
        ("a", BOTH, "is not enough: the table's key is id (S), n (N)"),
        ('{"id": "a"}', BOTH, "'n' is missing"),
        ('{"id": "a", "n": 1, "other": 2}', BOTH, "'other' is not a key attribute"),
        ('{"id": 5, "n": 1}', BOTH, "'id' is a number"),
        ('{"id": "a", "n": "1"}', BOTH, "'n' is a string"),
        ("abc", (("id", "N"),), "'id' is a string"),
        ("NaN", (("id", "N"),), "'id' is a string"),
        ('{"id": ""}', (("id", "S"),), "is empty"),
        ("?", (("id", "B"),), "is not base64"),
        ("[" * 100_000, BOTH, "is not enough"),
    ],
)
def test_a_key_that_does_not_match_the_tables_schema_is_refused(text, keys, said):
    with pytest.raises(UsageError) as caught:
        parse_key(text, keys)
    assert said in caught.value.message
    assert "write '{" in caught.value.hint


@pytest.mark.parametrize(
    ("expression", "taken"), [("total", True), ("`0`", True), ("''", False), ("`[]`", False), ("nix", False)]
)
def test_a_filter_s_truth_is_jmespath_s_where_0_is_true(expression, taken):
    assert RecordFilter(expression=expression)(one(total={"N": "0"})) is taken


def test_a_comparison_that_cannot_be_made_is_a_failure_and_the_record_is_not_taken():
    choice = RecordFilter(expression="n > '3'")
    assert not choice(one(n={"N": "7"}))
    assert choice.failures == 1
