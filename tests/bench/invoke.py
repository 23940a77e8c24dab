"""One execution environment of a Lambda function: import, first invocation, then warm ones, timed.

Run with the unpacked zip first on the path as ``python -P invoke.py enqueuer|worker RECORDS GROUPS``, as
Lambda's own runtime would import and call the handlers. What Python itself takes to start is not counted.
With a concurrency as the fourth argument, the worker delivers all messages in one warm invocation.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any

# The batch size of the event source mapping's default; the worker's count a run.
BATCH = 100


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
    began = time.perf_counter()
    handler = importlib.import_module(f"fifo_cli.handlers.{function}").handler
    imported = time.perf_counter()
    invoke(handler, function, 0, 1, groups, *concurrency)
    first = time.perf_counter()
    cpu = time.process_time()
    batch = count if concurrency else BATCH
    for start in range(1, count + 1, batch):
        invoke(handler, function, start, min(batch, count + 1 - start), groups, *concurrency)
    document = {
        "import_ms": 1000 * (imported - began),
        "first_ms": 1000 * (first - imported),
        "record_ms": 1000 * (time.perf_counter() - first) / count,
        "record_cpu_ms": 1000 * (time.process_time() - cpu) / count,
    }
    sys.stderr.write(json.dumps(document) + "\n")


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


if __name__ == "__main__":
    main()
