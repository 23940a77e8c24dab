"""The line that a rebuild makes of what hold gave it."""

from __future__ import annotations

import dataclasses
import itertools
from datetime import UTC, datetime

import pytest

from fifo_cli.model.message import Attribute, Message, ReceivedMessage
from fifo_cli.operations.queues.order_labels import label
from fifo_cli.operations.queues.order_store import OrderStore, OrderStoreTarget
from fifo_cli.operations.transfer.interfaces import LocalSource

numbers = itertools.count(1)


@pytest.fixture
def store():
    made = OrderStore()
    yield made
    made.close()


def message(body: str, at: int, group: str = "g", stream: int | None = None, queue="main", **more) -> Message:
    """A message that was sent at a millisecond."""
    attributes = dict(more.pop("attributes", {}))
    if stream is not None:
        attributes["stream_sequence"] = Attribute("String", str(stream))
    number = next(numbers)
    sent = Message(
        message_id=f"m-{number}",
        group=group,
        dedup_id=more.pop("dedup_id", f"d-{number}"),
        sequence_number=str(number),
        queue=queue,
        sent_at=datetime(2026, 1, 2, 3, 4, 5, at * 1000, tzinfo=UTC),
        first_received_at=None,
        receives=0,
        body=body,
        attributes=attributes,
        **more,
    )
    labels = label(sent)
    return dataclasses.replace(sent, group=labels.group, dedup_id=labels.dedup_id, queue="hold")


def line(store: OrderStore) -> list[str]:
    store.put_in_order()
    return [message.body for _, _, message in store.read(after=0, count=1000)]


def test_stream_sequences_are_compared_as_integers_of_any_length(store):
    sequences = [9, 10, 99, 100, 10**38, 10**39 + 1, 10**39 + 2]
    store.add([message(str(n), 0, stream=n) for n in reversed(sequences)])
    assert line(store) == [str(n) for n in sequences]


def test_foreign_messages_stay_where_they_were_sent(store):
    store.add(
        [
            message("1", 10, stream=1),
            message("foreign", 20),
            message("3", 30, stream=3),
            message(
                "2",
                50,
                stream=2,
                queue="dlq",
                attributes={"created_at": Attribute("String", "2026-01-02T03:04:05.015Z")},
            ),
        ]
    )
    assert line(store) == ["1", "2", "foreign", "3"]


def test_a_parked_message_goes_before_its_successor_even_if_nobody_knows_when_it_was_made(store):
    store.add(
        [message("1", 10, stream=1), message("3", 30, stream=3), message("2", 900, stream=2, queue="dlq")]
    )
    store.add([message("foreign", 40)])
    assert line(store) == ["1", "2", "3", "foreign"]


def test_a_message_that_was_redriven_to_the_end_goes_back_to_its_place(store):
    store.add(
        [
            message("2", 20, stream=2),
            message("3", 30, stream=3),
            message("foreign", 40),
            message("1", 50, stream=1, dedup_id="redrive-x"),
        ]
    )
    assert line(store) == ["1", "2", "3", "foreign"]


@pytest.mark.parametrize("sequence", ["", "-1", "1.5", "²", "x", " 7"])
def test_what_is_no_sequence_number_makes_a_message_foreign(store, sequence):
    odd = message("odd", 15, attributes={"stream_sequence": Attribute("String", sequence)})
    store.add([message("2", 20, stream=2), odd, message("1", 10, stream=1)])
    assert line(store) == ["1", "odd", "2"]


def test_a_message_is_in_it_once_however_often_hold_gives_it(store):
    one = message("1", 10, stream=1)
    store.add([one, one])
    store.add([dataclasses.replace(one, message_id="another copy")])
    assert len(store) == 1
    assert line(store) == ["1"]


def test_bodies_attributes_and_trace_header_come_out_as_they_went_in(store):
    attributes = {
        "text": Attribute("String.json", "ü\x00"),
        "blob": Attribute("Binary", bytes(range(256))),
        "number": Attribute("Number", "1e3"),
    }
    store.add([message("b\U0001f600\t", 1, group="x" * 128, attributes=attributes, trace_header="Root=1")])
    store.put_in_order()
    [(_, origin, found)] = store.read(after=0, count=10)
    assert (found.body, found.group, found.attributes, found.trace_header) == (
        "b\U0001f600\t", "x" * 128, attributes, "Root=1",
    )  # fmt: skip
    assert origin in store


def test_it_is_read_across_groups_the_longest_first(store):
    target = OrderStoreTarget(store)
    target.send(
        [
            ReceivedMessage(message(f"{group}{n}", n, group, stream=n), "")
            for group in "abc"
            for n in range("abc".index(group) + 1)
        ]
    )
    store.put_in_order()
    source = LocalSource(store.line())
    batches = []
    while batch := source.receive(2, wait=False):
        batches.append([one.message.body for one in batch])
    assert batches == [["c0", "b0"], ["c1", "a0"], ["b1", "c2"]]


def test_the_newest_handle_of_a_message_is_the_one_that_is_used(store):
    store.add_handles([("a", "old"), ("b", "b-1")])
    store.add_handles([("a", "new")])
    assert (store.handles, store.known(["a", "b", "c"])) == (2, {"a", "b"})
    assert sorted(store.take_handles(10)) == ["b-1", "new"]
    assert store.take_handles(10) == []
