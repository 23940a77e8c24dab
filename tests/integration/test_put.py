"""put as users run it: into a real table, in order, and interrupted."""

from __future__ import annotations

import json
import signal
import tomllib
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from fifo_cli.aws.session import Aws
from tests.cli_harness import Project, wait_until


@pytest.fixture
def table(project: Callable[..., Project], clients: Aws) -> Iterator[Project]:
    """A project whose table exists, with a stream; nothing else is deployed."""
    made = project()
    clients.client("dynamodb").create_table(
        TableName=made.name,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    yield made
    clients.client("dynamodb").delete_table(TableName=made.name)


def scan(clients: Aws, project: Project) -> dict[str, Any]:
    pages = clients.client("dynamodb").get_paginator("scan").paginate(TableName=project.name)
    return {item["id"]["S"]: item for page in pages for item in page["Items"]}


def stream(clients: Aws, project: Project) -> list[str]:
    """Return the ids of the table's stream records, in order."""
    reader = clients.client("dynamodbstreams")
    [found] = reader.list_streams(TableName=project.name)["Streams"]
    description = reader.describe_stream(StreamArn=found["StreamArn"])["StreamDescription"]
    ids = []
    for shard in description["Shards"]:
        iterator = reader.get_shard_iterator(
            StreamArn=found["StreamArn"], ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        ids += [
            record["dynamodb"]["Keys"]["id"]["S"]
            for record in reader.get_records(ShardIterator=iterator, Limit=1000)["Records"]
        ]
    return ids


def test_the_stream_has_the_items_in_the_order_of_the_input(table: Project, clients: Aws) -> None:
    names = [f"{number * 7919 % 100:02}" for number in range(100)]
    (table.folder / "items.jsonl").write_text("".join(f'{{"id": "{name}"}}\n' for name in names))

    ran = table.local("put", "@items.jsonl", "-o", "json").ok()

    assert ran.json() == {"written": 100}
    assert ran.err == ""
    assert stream(clients, table) == names


def test_each_group_is_in_order_in_the_stream_though_groups_are_written_side_by_side(
    table: Project, clients: Aws
) -> None:
    table.configure({**tomllib.loads(table.config.read_text()), "message": {"group": "g.name"}})
    items: list[dict[str, Any]] = [
        {"id": f"{n * 7919 % 900:03}", "g": {"name": f"é{n % 40}"}} for n in range(900)
    ]
    (table.folder / "items.json").write_text(json.dumps(items))

    assert table.local("put", "@items.json", "-o", "json").ok().json() == {"written": 900}

    place = {key: number for number, key in enumerate(stream(clients, table))}
    assert len(place) == 900
    for group in range(40):
        places = [place[one["id"]] for one in items[group::40]]
        assert places == sorted(places)


def test_a_key_that_comes_twice_is_written_twice_in_order_if_modify_is_delivered(
    table: Project, clients: Aws
) -> None:
    lines = '{"id": "1", "n": 1}\n{"id": "2", "n": 1}\n{"id": "1", "n": 2}\n'
    refused = table.local("put", "-", input=lines)
    assert (refused.code, scan(clients, table)) == (2, {})
    assert '"MODIFY" in [message] events' in refused.err

    toml = table.config.read_text().replace('"INSERT"', '"INSERT", "MODIFY"')
    table.config.write_text(toml)
    assert table.local("put", "-", "-o", "json", input=lines).ok().json() == {"written": 3}

    assert scan(clients, table)["1"]["n"] == {"N": "2"}
    assert stream(clients, table) == ["1", "2", "1"]


def test_items_arrive_as_they_were_written(table: Project, clients: Aws) -> None:
    number = '"n": 0.1000000000000000000000000000000000001'
    text = f'{{"id": "é", {number}, "l": [1, null, true, ""], "m": {{"日本": {{}}}}}}'

    assert table.local("put", "-", input=text).ok().out == f"1 item written to {table.name}\n"

    item = scan(clients, table)["é"]
    assert Decimal(item["n"]["N"]) == Decimal("0.1000000000000000000000000000000000001")
    assert item["l"] == {"L": [{"N": "1"}, {"NULL": True}, {"BOOL": True}, {"S": ""}]}
    assert item["m"] == {"M": {"日本": {"M": {}}}}


def test_one_bad_item_keeps_all_from_being_written(table: Project, clients: Aws) -> None:
    ran = table.local("put", "-", input='{"id": "1"}\n{"id": 2}\n{"id": "3", "n": NaN}\n')

    assert (ran.code, ran.out) == (2, "")
    assert "the input has 2 problems; nothing was written" in ran.err
    assert scan(clients, table) == {}


def test_a_missing_table_is_reported_with_the_next_step(project: Callable[..., Project]) -> None:
    made = project()

    ran = made.local("put", '{"id": "1"}')

    assert (ran.code, ran.out) == (3, "")
    assert f"table {made.name} does not exist" in ran.err
    assert "fifo-cli deploy" in ran.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_finishes_the_item_in_hand_and_shows_how_many(
    table: Project, clients: Aws, number: signal.Signals, code: int
) -> None:
    names = [f"{number:04}" for number in range(3000)]
    (table.folder / "items.jsonl").write_text("".join(f'{{"id": "{name}"}}\n' for name in names))
    running = table.start("put", "@items.jsonl", "-o", "json")
    wait_until(lambda: len(scan(clients, table)) > 5)

    running.interrupt(number)
    ran = running.wait()

    assert ran.code == code
    written = ran.json()["written"]
    assert sorted(scan(clients, table)) == names[:written]
    assert 5 < written < len(names)
    assert f"{written} of 3000 items are written" in ran.err
    assert "run the command again" in ran.err
