import json

import pytest

from fifo_cli.model.receiver_protocol import Received
from fifo_cli.operations.prove.deliveries import Batch, accepted_of, problems_of

BATCH = Batch("b", 2, 2)
ALL = ["b-00-001", "b-01-001", "b-00-002", "b-01-002"]


def received(*ids: str, status: int = 200, key: str = "") -> list[Received]:
    return [
        Received(
            n, one, one.rpartition("-")[0], int(one.rpartition("-")[2]), key or f"key-{one}", status, 0.0
        )
        for n, one in enumerate(ids, 1)
    ]


def test_the_items_of_a_batch_are_put_in_the_order_of_their_numbers():
    rows = [json.loads(line) for line in BATCH.lines().splitlines()]
    assert [row["id"] for row in rows] == ALL
    assert set(BATCH.ids) == set(ALL)
    assert {row["group"] for row in rows} == {"b-00", "b-01"}


@pytest.mark.parametrize(
    ("arrived", "problem"),
    [
        (received(*ALL), ""),
        (received(*ALL[:3]), "b-01-002 never arrived"),
        (received(*ALL, ALL[0]), "b-00-001 arrived twice or more"),
        (received(ALL[2], ALL[0], ALL[1], ALL[3]), "b-00-001 arrived before one that is older in its group"),
        (received(*ALL, key="one"), "came with the Idempotency-Key of another item"),
        (received(*ALL, status=503), "never arrived"),
        (received(*ALL, "b-07-001"), "b-07-001 arrived, and should not have"),
        (received(*ALL, "bb-07-001"), ""),
    ],
)
def test_each_kind_of_fault_is_seen(arrived, problem):
    found = problems_of(BATCH, arrived)
    assert problem in "; ".join(found)
    assert bool(found) == bool(problem)


def test_a_refused_try_before_is_no_fault():
    assert problems_of(BATCH, [*received(*ALL, status=503), *received(*ALL)]) == []


def test_what_was_accepted_is_of_one_batch():
    assert accepted_of(BATCH, received(*ALL[1:], "c-1-001")) == set(ALL[1:])
