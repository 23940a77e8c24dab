"""replay, beside a plain loop over the stream, and a pool that sends what one thread reads."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

from tests.bench.bench import LATENCY, Bench
from tests.bench.field import Field, Taken
from tests.bench.moves import AS_IS, DELAYED, HEAD, LOOP, OURS, POOL, RUNS, Cell, Mover, race
from tests.bench.relay import relay
from tests.bench.report import Section

# DynamoDB's limit for a BatchWriteItem.
_WRITE_BATCH = 25


def measure(bench: Bench) -> list[Section]:
    """Replay all records of tables with few and many groups."""
    cells: list[Cell] = []
    with bench.stack() as endpoint, relay(endpoint) as delayed:
        delayed.delay(LATENCY)
        for service in (AS_IS, DELAYED):
            for messages, groups in itertools.product(bench.size.messages, bench.size.groups):
                # One a call, each 10 ms later: as long for the first as for the last.
                count = min(messages, 2_000) if service == DELAYED and groups == 1 else messages
                movers = {OURS: replay, LOOP: peer("replay-by-loop"), POOL: peer("replay-by-pool")}
                cells += race(
                    {who: (count, mover) for who, mover in movers.items()},
                    partial(Field.create, bench.folder, endpoint, delayed if service == DELAYED else None),
                    lambda field, count: put(field, count, groups),  # noqa: B023 - called before the next
                    replayed,
                    service=service,
                    groups=groups,
                    runs=bench.size.matrix,
                )
    note = (
        f"from a table's stream to main; {RUNS}; the peers put two of a group into one call, and the pool"
        " keeps no order at all"
    )
    return [Section("replay", note, HEAD, [one.row() for one in cells])]


def replay(field: Field) -> Taken:
    """Measure a replay of everything in the stream."""
    return field.run("replay", "--since", "1h", "--yes", "-o", "json")


def put(field: Field, count: int, groups: int) -> None:
    """Make the table with a stream, and write items to it, the groups taking turns."""
    tables = field.client("dynamodb")
    name = field.project.name
    tables.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    for start in range(0, count, _WRITE_BATCH):
        numbers = range(start, min(count, start + _WRITE_BATCH))
        tables.batch_write_item(
            RequestItems={name: [{"PutRequest": {"Item": _item(number, groups)}} for number in numbers]}
        )


def replayed(field: Field, count: int) -> None:
    """Fail unless all records became messages; take the table away."""
    found = field.count("main")
    assert found == count, f"{found} of {count} are in main"
    field.client("dynamodb").delete_table(TableName=field.project.name)


def peer(what: str) -> Mover:
    """Make a mover of one of the peers."""

    def measure(field: Field) -> Taken:
        table = field.client("dynamodb").describe_table(TableName=field.project.name)["Table"]
        return field.peer(what, table["LatestStreamArn"], field.url("main"))

    return measure


def _item(number: int, groups: int) -> dict[str, Any]:
    return {
        "id": {"S": f"i{number}"},
        "grp": {"S": f"g{number % groups}"},
        "filling": {"S": "x" * 100},
    }
