"""audit: a table's stream, and the logs of an enqueuer and a worker that dealt with each of its records."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterable, Iterator
from typing import Any

from fifo_cli.handlers.json_log import line
from fifo_cli.model.names import FunctionRole
from tests.bench.field import Field, Taken
from tests.bench.peers import records
from tests.bench.replaying import put

# A PutLogEvents takes 10,000 lines, or 1 MiB.
_LINES_A_CALL = 2_000
_STREAM = "bench"


def put_and_log(field: Field, count: int, groups: int) -> None:
    """Write items to a table, and log of each record that it was enqueued and delivered."""
    put(field, count, groups)
    logs = field.client("logs")
    roles: tuple[FunctionRole, ...] = ("enqueuer", "worker")
    for role in roles:
        group = field.project.names.log_group(role)
        logs.create_log_group(logGroupName=group)
        logs.create_log_stream(logGroupName=group, logStreamName=_STREAM)
    for facts in _chunks(_facts(field)):
        enqueued = [line("info", "enqueued", **each) for each in facts]
        delivered = [line("info", "delivered", **each, status=200, attempt=1) for each in facts]
        for role, lines in zip(roles, (enqueued, delivered), strict=True):
            at = int(time.time() * 1000)
            logs.put_log_events(
                logGroupName=field.project.names.log_group(role),
                logStreamName=_STREAM,
                logEvents=[{"timestamp": at, "message": one} for one in lines],
            )


def audit(field: Field) -> Taken:
    """Measure an audit of everything in the stream."""
    return field.run("audit", "--since", "1h", "-o", "json")


def audited(field: Field, taken: Taken, count: int) -> None:
    """Fail unless each record was found to be delivered; take the table away."""
    found = json.loads(taken.sample.out)
    assert (found["records"], found["delivered"]) == (count, count), taken.sample.out[:1000]
    field.client("dynamodb").delete_table(TableName=field.project.name)


def _facts(field: Field) -> Iterator[dict[str, Any]]:
    """Yield what a line about each record shows."""
    table = field.client("dynamodb").describe_table(TableName=field.project.name)["Table"]
    return map(_fact, records(field.client("dynamodbstreams"), table["LatestStreamArn"]))


def _fact(record: Any) -> dict[str, Any]:
    change = record["dynamodb"]
    return {
        "event_id": record["eventID"],
        "stream_sequence": change["SequenceNumber"],
        "item_key": json.dumps({"id": change["Keys"]["id"]["S"]}),
        "group": change["NewImage"]["grp"]["S"],
        "message_id": record["eventID"],
    }


def _chunks(facts: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    rest = iter(facts)
    while chunk := list(itertools.islice(rest, _LINES_A_CALL)):
        yield chunk
