"""One execution environment of a Lambda function: import, first invocation, then warm ones, timed.

Run with the unpacked zip first on the path as ``python -P invoke.py enqueuer|worker|queue RECORDS GROUPS``,
as Lambda's own runtime would import and call the handlers. What Python itself takes to start is not counted.
With a concurrency as the fourth argument, the worker delivers all messages in one warm invocation. ``queue``
is the worker, too, fed with batches as Lambda's poller does; what the poller takes is not counted.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any

# The batch size of the event source mapping's default; the worker's count a run.
BATCH = 100
_POLLED = 10
_VISIBILITY = 360


class Context:
    """What Lambda hands to a handler, of what ours ask for."""

    def get_remaining_time_in_millis(self) -> int:
        return 900_000


def record(number: int, groups: int) -> dict[str, Any]:
    """Build a stream record of a new item."""
    item = {
        "id": {"S": f"i{number}"},
        "grp": {"S": f"g{number % groups}"},
        "total": {"N": "12.50"},
        "filling": {"S": "x" * 100},
    }
    change = {
        "ApproximateCreationDateTime": 1_790_000_000,
        "Keys": {"id": item["id"]},
        "NewImage": item,
        "SequenceNumber": str(100_000 + number),
        "SizeBytes": 200,
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    }
    event_id = f"{number:032x}"
    return {"eventID": event_id, "eventName": "INSERT", "eventSource": "aws:dynamodb", "dynamodb": change}


def main() -> None:
    """Time the function; one JSON object to stderr, as the handlers log to stdout."""
    function, count, groups, *concurrency = sys.argv[1], *map(int, sys.argv[2:])
    name = "worker" if function == "queue" else function
    began = time.perf_counter()
    handler = importlib.import_module(f"fifo_cli.handlers.{name}").handler
    document = {"import_ms": 1000 * (time.perf_counter() - began)}
    if function == "queue":
        measured = deliver_batches(handler, count)
    else:
        measured = invoke_all(handler, function, count, groups, *concurrency)
    sys.stderr.write(json.dumps(document | measured) + "\n")


def invoke_all(handler: Any, function: str, count: int, groups: int, *concurrency: int) -> dict[str, float]:
    """Invoke it for one record, then for all others."""
    began = time.perf_counter()
    invoke(handler, function, 0, 1, groups, *concurrency)
    first = time.perf_counter()
    cpu = time.process_time()
    batch = count if concurrency else BATCH
    for start in range(1, count + 1, batch):
        invoke(handler, function, start, min(batch, count + 1 - start), groups, *concurrency)
    return {
        "first_ms": 1000 * (first - began),
        "record_ms": 1000 * (time.perf_counter() - first) / count,
        "record_cpu_ms": 1000 * (time.process_time() - cpu) / count,
    }


def invoke(
    handler: Any, function: str, start: int, count: int, groups: int, concurrency: int | None = None
) -> None:
    """Invoke it with so many records, or for so many messages; fails unless all were dealt with."""
    if function == "enqueuer":
        event = {"Records": [record(number, groups) for number in range(start, start + count)]}
        answer = handler(event, Context())
        assert answer == {"batchItemFailures": []}, answer
    else:
        answer = handler({"fifo_cli": {"count": count, "concurrency": concurrency}}, Context())
        assert answer["delivered"] == count, answer


def deliver_batches(handler: Any, count: int) -> dict[str, float]:
    """Receive a batch and invoke the worker with it: one message first, then all others."""
    from fifo_cli.handlers import clients, runtime
    from tests.lambda_poller import record

    sqs = clients.sqs()
    url = clients.queue_url(sqs, runtime.load().main)
    taken: list[tuple[int, float, float]] = []  # messages, seconds, seconds of CPU
    while sum(messages for messages, *_ in taken) <= count:
        received = sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=_POLLED if taken else 1,
            VisibilityTimeout=_VISIBILITY,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        )["Messages"]
        event = {"Records": [record(message) for message in received]}
        began, cpu = time.perf_counter(), time.process_time()
        answer = handler(event, Context())
        taken.append((len(received), time.perf_counter() - began, time.process_time() - cpu))
        assert answer == {"batchItemFailures": []}, answer
    (_, first, _), *warm = taken
    return {
        "first_ms": 1000 * first,
        "record_ms": 1000 * sum(seconds for _, seconds, _ in warm) / count,
        "record_cpu_ms": 1000 * sum(cpu for *_, cpu in warm) / count,
    }


if __name__ == "__main__":
    main()
