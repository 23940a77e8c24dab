"""Reading items: forms, exact numbers, and every problem at once; writing them in order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from botocore.stub import Stubber

from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.errors import ExitCode, NotDeployedError, UsageError
from fifo_cli.operations.table.put import NewItem, put, read_items

KEYS = (("id", "S"),)


def items(text: str) -> list[dict[str, Any]]:
    return [entry.item for entry in read_items(text.encode(), KEYS)]


def refusal(data: str | bytes, keys: tuple[tuple[str, str], ...] = KEYS) -> list[str]:
    with pytest.raises(UsageError) as caught:
        read_items(data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass"), keys)
    assert "nothing was written" in caught.value.message
    return [line.removeprefix("  ") for line in caught.value.message.splitlines()[1:]]


@pytest.mark.parametrize(
    "text",
    [
        '[{"id": "1"}, {"id": "2"}]',
        '{"id": "1"}\n{"id": "2"}\n',
        '\n {"id": "1"}\r\n\r\n{"id": "2"}',
        '\ufeff[\n  {"id": "1"},\n  {"id": "2"}\n]\n',
    ],
)
def test_an_array_and_json_lines_mean_the_same(text: str) -> None:
    assert items(text) == [{"id": "1"}, {"id": "2"}]


def test_one_object_may_take_several_lines() -> None:
    assert items('{\n  "id": "1",\n  "x": {"y": null}\n}\n') == [{"id": "1", "x": {"y": None}}]


def test_a_line_may_hold_characters_that_break_lines_elsewhere() -> None:
    assert items('{"id": "1\u2028\x85"}\n{"id": "2"}') == [{"id": "1\u2028\x85"}, {"id": "2"}]


def test_numbers_are_exact_whatever_their_length() -> None:
    assert items('{"id": "1", "a": 0.1, "b": 12345678901234567890123456789012345678, "c": 1e2}') == [
        {
            "id": "1",
            "a": Decimal("0.1"),
            "b": Decimal("12345678901234567890123456789012345678"),
            "c": Decimal("1E+2"),
        }
    ]


def test_all_problems_of_the_input_are_reported_together_and_in_order() -> None:
    text = "\n".join(
        [
            '{"id": "1"}',
            '{"id": 2}',
            '{"id": "3", "x": NaN}',
            '{"id": "4"',
            "[5]",
            '{"id": "1"}',
            '{"id": "7", "id": "8"}',
            '{"id": "9", "n": 1e9999999999999999999999}',
            "",
            '{"id": "", "n": 123456789012345678901234567890123456789}',
            '{"id": "10", "n": -Infinity}',
        ]
    )

    assert refusal(text) == [
        "line 2: the key attribute 'id' is a number; the table's is a string",
        "line 3: NaN is not a number that JSON or DynamoDB has",
        "line 4: column 11: not JSON: Expecting ',' delimiter",
        "line 5: an item is a JSON object, not a list",
        'line 6: has the same key as line 1: {"id": "1"}; only with "MODIFY" in [message] events would it be'
        " delivered",
        "line 7: the attribute 'id' is there twice in one object",
        "line 8: the number 1e9999999999999999999999 is out of range",
        "line 10: the key attribute 'id' is empty",
        "line 10: 'n' has 39 digits; a number holds 38",
        "line 11: -Infinity is not a number that JSON or DynamoDB has",
    ]


def test_problems_in_an_array_are_reported_by_the_item() -> None:
    assert refusal('[{"id": "1"}, null, {"id": true}, 5, "x"]') == [
        "item 2: an item is a JSON object, not null",
        "item 3: the key attribute 'id' is true or false; the table's is a string",
        "item 4: an item is a JSON object, not a number",
        "item 5: an item is a JSON object, not a string",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[\n{"id": "1"},\n{"id": }\n]', "line 3, column 8: not JSON: Expecting value"),
        (
            '{\n  "id": "1",\n  oops\n}',
            "line 3, column 3: not JSON: Expecting property name enclosed in double quotes",
        ),
        ("true", "an item is a JSON object, not true or false"),
        ("[" * 100_000, "nested too deeply"),
        ('{"id": "1", "x": "\\ud800"}', "'x' holds half of a surrogate pair, which is not text"),
    ],
)
def test_one_broken_document_is_one_problem_with_its_place(text: str, problem: str) -> None:
    assert refusal(text) == [problem]


@pytest.mark.parametrize(("one", "other"), [("1", "1.0"), ("100", "1e2"), ("0", "-0.0"), ("0.5", "5e-1")])
def test_equal_numbers_are_the_same_key(one: str, other: str) -> None:
    assert len(refusal(f'{{"id": {one}}}\n{{"id": {other}}}', (("id", "N"),))) == 1


def test_one_key_twice_is_two_writes_in_order_where_changes_are_events() -> None:
    found = read_items(b'{"id": "1", "n": 1}\n{"id": "2"}\n{"id": "1", "n": 2}', KEYS, rewrites=True)

    assert [(entry.number, entry.item.get("n")) for entry in found] == [(1, 1), (2, None), (3, 2)]


def test_items_that_differ_in_the_sort_key_are_two() -> None:
    entries = read_items(b'[{"id": "1", "at": 1}, {"id": "1", "at": 2}]', (("id", "S"), ("at", "N")))

    assert len(entries) == 2


@pytest.mark.parametrize("data", [b"", b" \n\t\n", b"[]"])
def test_an_input_without_items_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError, match="the input has no item"):
        read_items(data, KEYS)


def test_an_input_that_is_no_utf8_is_refused_with_its_place() -> None:
    with pytest.raises(UsageError, match=r"not UTF-8 \(line 2, byte 20\)"):
        read_items(b'{"id": "1"}\n{"id": "\xff"}', KEYS)


def test_only_the_first_fifty_problems_are_reported_and_the_rest_is_counted() -> None:
    lines = refusal('{"id": "x"}\n' + "[]\n" * 60)

    assert len(lines) == 51
    assert lines[-1] == "and 10 more"


@pytest.fixture
def aws() -> Aws:
    return Aws(AwsEndpoint(local=True))


@pytest.fixture
def stub(aws: Aws) -> Iterator[Stubber]:
    with Stubber(aws.client("dynamodb")) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def entries(*ids: str) -> list[NewItem]:
    return [NewItem("line", number, {"id": name}) for number, name in enumerate(ids, 1)]


def test_items_are_written_one_by_one_in_the_order_of_the_input(aws: Aws, stub: Stubber) -> None:
    for name in ("b", "a", "c"):
        stub.add_response("put_item", {}, {"TableName": "t", "Item": {"id": {"S": name}}})

    result = put(aws, "t", KEYS, entries("b", "a", "c"), stop=threading.Event())

    assert (result.document(), result.exit_code, result.error) == ({"written": 3}, ExitCode.OK, None)


def test_a_failure_half_way_shows_how_far_it_came_and_how_to_go_on(aws: Aws, stub: Stubber) -> None:
    stub.add_response("put_item", {})
    stub.add_client_error("put_item", "AccessDeniedException", "nope")

    result = put(aws, "t", KEYS, entries("a", "b", "c"), stop=threading.Event())

    assert result.document() == {"written": 1}
    assert result.exit_code == ExitCode.AWS
    assert result.error is not None
    assert "permission denied" in result.error.message
    assert 'line 2 ({"id": "b"})' in result.error.message
    assert "1 of 3 items are written" in result.error.message
    assert "run the command again" in result.error.hint


def test_a_failure_at_the_first_item_is_just_that_failure(aws: Aws, stub: Stubber) -> None:
    stub.add_client_error("put_item", "ResourceNotFoundException", "no table")

    with pytest.raises(NotDeployedError):
        put(aws, "t", KEYS, entries("a", "b"), stop=threading.Event())


def test_a_stop_finishes_the_item_in_hand_and_writes_no_other(aws: Aws, stub: Stubber) -> None:
    stop = threading.Event()
    aws.client("dynamodb").meta.events.register("after-call.dynamodb.PutItem", lambda **_: stop.set())
    stub.add_response("put_item", {})

    result = put(aws, "t", KEYS, entries("a", "b"), stop=stop)

    assert result.document() == {"written": 1}
    assert result.error is not None
    assert result.error.message == (
        "interrupted\n1 of 2 items are written, the first ones of the input, in its order"
    )


def test_after_a_stop_keys_that_come_again_are_not_to_be_written_from_the_start(
    aws: Aws, stub: Stubber
) -> None:
    stop = threading.Event()
    aws.client("dynamodb").meta.events.register("after-call.dynamodb.PutItem", lambda **_: stop.set())
    stub.add_response("put_item", {})

    result = put(aws, "t", KEYS, entries("a", "b", "a"), stop=stop)

    assert result.error is not None
    assert result.error.hint == "take these off the input and run the command again with the rest"
