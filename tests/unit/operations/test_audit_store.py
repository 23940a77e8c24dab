"""The store of an audit: every fact once, in any order, and order only where it is known."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from fifo_cli.errors import FifoError
from fifo_cli.operations.stream.audit_store import AuditedRecord, AuditStore, Delivery, Step

NUMBERS = {"short": "9" * 21, "long": "1" * 40}


@pytest.fixture
def store() -> Iterator[AuditStore]:
    made = AuditStore()
    yield made
    made.close()


def entry(number: int, shard: str = "s", group: str | None = "g") -> AuditedRecord:
    return AuditedRecord(f"e{number}", shard, f"{number:021}", "INSERT", f'{{"id":{number}}}', 1000, group)


def deliver(store: AuditStore, *numbers: int) -> None:
    """Deliver records one after the other."""
    store.add_deliveries(
        Delivery(f"e{number}", 5000 + place, f"m{number}", 1) for place, number in enumerate(numbers)
    )


def family(one: str, other: str) -> bool:
    """Say that p is the parent of a and b."""
    return one == other or "p" in (one, other)


def reordered(store: AuditStore) -> list[tuple[str, str]]:
    return [(found.event_id, after.event_id) for found, _, after in store.reordered(family)]


def test_facts_count_once_however_often_and_in_whatever_order_they_come():
    facts: list[Callable[[AuditStore], None]] = [
        lambda store: store.add_records([entry(1), entry(2)]),
        lambda store: deliver(store, 1, 1),
        lambda store: store.add_seen("dlq", ["e2", "e2"]),
        lambda store: store.add_steps(
            [Step("e2", "worker", "parked", 2, "why"), Step("e2", "worker", "parked", 1)]
        ),
    ]
    for order in itertools.permutations(facts):
        store = AuditStore()
        for add in (*order, *order):
            add(store)
        assert len(store) == 2
        assert store.places() == {"delivered": 1, "queued": 0, "parked": 1}
        assert [found.event_id for found, _ in store.duplicated()] == ["e1"]
        store.close()


def test_adding_what_is_known_is_no_change(store: AuditStore):
    steps = [Step("e1", "worker", "failed", 2, "why")]
    for _ in range(2):
        before = store.changes
        store.add_records([entry(1)])
        store.add_steps(steps)
        deliver(store, 1)
    assert store.changes == before


def test_sequence_numbers_are_compared_as_integers(store: AuditStore):
    """As text, "9…" with 21 digits comes after "1…" with 40; a number is as it was spelled."""
    short, long = (AuditedRecord(name, "s", number, "INSERT", "", 1, "g") for name, number in NUMBERS.items())
    store.add_records([short, long])
    store.add_deliveries([Delivery("short", 1, "m1", 1), Delivery("long", 2, "m2", 1)])
    assert reordered(store) == []
    store.add_steps([Step("short", "enqueuer", "enqueued", 1), Step("long", "enqueuer", "skipped", 1)])
    assert store.handled() == {"s": int("1" * 40)}
    store.judge([("short", "missing", "why")])
    assert [found.stream_sequence for found, _ in store.judged("missing")] == ["9" * 21]


@pytest.mark.parametrize(
    ("shards", "order", "late"),
    [
        ("ss", [2, 1], [("e1", "e2")]),
        ("ss", [1, 2], []),
        ("ab", [2, 1], []),  # in two shards that know nothing of each other, there is no order
        ("pa", [2, 1], [("e1", "e2")]),
        ("pab", [3, 1, 2], [("e1", "e3")]),
        ("sss", [3, 1, 2], [("e1", "e3"), ("e2", "e3")]),
    ],
)
def test_order_is_checked_within_a_group_where_shards_have_one(store, shards, order, late):
    store.add_records(entry(number, shard) for number, shard in enumerate(shards, 1))
    deliver(store, *order)
    assert reordered(store) == late


def test_other_groups_and_the_second_delivery_do_not_matter_to_order(store: AuditStore):
    store.add_records([entry(1), entry(2), entry(3, group="h")])
    deliver(store, 3, 1, 2, 1)
    assert reordered(store) == []


def test_deliveries_of_one_millisecond_are_in_order(store: AuditStore):
    store.add_records([entry(1), entry(2)])
    store.add_deliveries([Delivery("e2", 5, "m2", 1), Delivery("e1", 5, "m1", 1)])
    assert reordered(store) == []


def test_what_should_be_no_message_is_not_judged(store: AuditStore):
    store.add_records([entry(1, group=None)])
    deliver(store, 1, 1)
    assert (len(store), store.filtered, list(store.unplaced()), list(store.duplicated())) == (
        0,
        1,
        [],
        [],
    )


def test_a_full_disk_is_reported_with_what_to_do(store: AuditStore):
    store.close()
    with pytest.raises(FifoError, match="cannot be kept on this machine's disk") as text:
        store.add_records([entry(1)])
    assert "$TMPDIR" in text.value.hint
