"""The demo's check is a real one: whatever goes wrong, it says so."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from decimal import Decimal

import pytest

from fifo_cli.errors import UsageError
from fifo_cli.local.demo.items import DemoItems, items_of_file, made_up_orders
from fifo_cli.local.demo.verdict import DemoVerdict, id_of, judge
from fifo_cli.local.receiver import Received
from fifo_cli.model.message import Message
from tests.unit.render.samples import message

ITEMS = items_of_file(
    b'{"id": "1", "g": "a", "n": 1.10}\n{"id": "2", "g": "b", "n": 2}\n{"id": "3", "g": "a", "n": 3}\n', "g"
)
BODIES = ['{"id":"1","g":"a","n":1.1}', '{"id":"2","g":"b","n":2}', '{"id":"3","g":"a","n":3}']


def delivery(body: bytes, key: str) -> Received:
    return Received(1, "POST", "/orders", {"idempotency-key": key}, body, 0.0)


def deliveries(*numbers: int) -> list[Received]:
    return [delivery(BODIES[number].encode(), f"event-{number}") for number in numbers]


def parked(number: int, reason: str) -> Message:
    return message(BODIES[number], park_reason=reason, park_status="422")


PARKED = [parked(1, "HTTP 422: no")]


def check(
    arrived: list[Received], parked: list[Message], expected: tuple[str, ...] = ('"2"',)
) -> DemoVerdict:
    return judge(ITEMS, arrived, parked, expected_parked=expected)


def test_all_delivered_once_or_parked_and_in_order_is_well():
    assert check(deliveries(0, 2), PARKED) == DemoVerdict(
        items=3, delivered=2, parked=1, groups=2, problems=()
    )


@pytest.mark.parametrize(
    ("arrived", "parked", "problem"),
    [
        (deliveries(0), PARKED, '"3": neither delivered nor parked'),
        (deliveries(0, 0, 2), PARKED, '"1": delivered or parked 2 times'),
        (deliveries(0, 1, 2), PARKED, '"2": delivered or parked 2 times'),
        (deliveries(2, 0), PARKED, '"1": arrived after "3", which was put later into the same group (a)'),
        (
            [dataclasses.replace(deliveries(0)[0], body=b'{"id":"1","g":"a","n":1.11}'), *deliveries(2)],
            PARKED,
            '"1": what arrived differs from what was put',
        ),
        (
            [*deliveries(0, 2), delivery(b'{"id":"9"}', "event-9")],
            PARKED,
            '"9": arrived, though nobody put it',
        ),
        (
            [delivery(one.body, "same") for one in deliveries(0, 2)],
            PARKED,
            '"1", "3": came with the Idempotency-Key same',
        ),
        (deliveries(0, 2), [message(BODIES[1])], '"2": parked without its reason'),
        (deliveries(0, 1, 2), [], '"2": should have been parked and was not'),
        (deliveries(0), [*PARKED, parked(2, "r")], '"3": was parked and should not have been'),
    ],
)
def test_whatever_is_wrong_is_said(arrived, parked, problem):
    assert problem in check(arrived, parked).problems


def test_ids_are_reported_apart_by_their_json():
    assert id_of('{"id": 1.0}') == id_of(b'{"id": 1}') == '"1"'
    assert id_of("no json") == "null"


def test_made_up_orders_are_the_same_every_time_and_have_several_groups():
    assert made_up_orders(None) == made_up_orders(None)
    assert len({made_up_orders(None).group_of(entry.item) for entry in made_up_orders(None).entries}) == 4


@pytest.mark.parametrize(
    ("text", "key_type"), [('{"id": 7}', "N"), ('{"id": "7"}', "S"), ('[{"x": {}, "id": -1}]', "S")]
)
def test_the_tables_key_has_the_type_of_the_first_id(text, key_type):
    made: Callable[[], DemoItems] = lambda: items_of_file(text.encode(), None)  # noqa: E731
    if text.startswith("["):
        with pytest.raises(UsageError):
            made()
        return
    assert made().keys == (("id", key_type),)


@pytest.mark.parametrize("text", ["", "{}", '{"id": ""}', '{"id": "1"}\n{"id": "1"}', '{"id": [1]}'])
def test_items_without_a_usable_id_are_refused(text):
    with pytest.raises(UsageError):
        items_of_file(text.encode(), None)


def test_a_group_that_cannot_be_evaluated_is_refused():
    with pytest.raises(UsageError, match="--group"):
        items_of_file(b'{"id": "1"}', "sum(id)")


def test_numbers_are_compared_exactly():
    digits = "0." + "1234567890" * 3 + "12345678"
    items = items_of_file(json.dumps({"id": "1"})[:-1].encode() + f', "n": {digits}}}'.encode(), None)
    assert items.entries[0].item["n"] == Decimal(digits)
    rounded = [delivery(b'{"id":"1","n":0.12345678901234568}', "e")]
    assert judge(items, rounded, [], expected_parked=()).problems == (
        '"1": what arrived differs from what was put',
    )
