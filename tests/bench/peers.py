"""What people write by hand with boto3: the peers that fifo-cli is measured beside.

A plain loop, and a pool of eight threads that batches all it can. They are as fast as they can be without
care: none checks a batch's entries, and none keeps order if a call fails. Run as
``python -m tests.bench.peers WHAT ENDPOINT ARGUMENTS``, with the queues' URLs as arguments.
"""

from __future__ import annotations

import itertools
import json
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import boto3
import urllib3
from botocore.config import Config

THREADS = 8
_BATCH = 10


def client(endpoint: str, service: Literal["sqs", "dynamodbstreams"] = "sqs") -> Any:
    config = Config(max_pool_connections=2 * THREADS)
    return boto3.client(service, endpoint_url=endpoint, config=config)


def receive(sqs: Any, queue: str) -> list[Any]:
    found: list[Any] = sqs.receive_message(
        QueueUrl=queue,
        MaxNumberOfMessages=_BATCH,
        MessageAttributeNames=["All"],
        MessageSystemAttributeNames=["All"],
    ).get("Messages", [])
    return found


def entry_of(message: Any) -> dict[str, Any]:
    return {
        "MessageBody": message["Body"],
        "MessageAttributes": message.get("MessageAttributes", {}),
        "MessageGroupId": message["Attributes"]["MessageGroupId"],
        "MessageDeduplicationId": f"moved-{message['MessageId']}",
    }


def move_by_loop(endpoint: str, source: str, target: str) -> None:
    """Receive ten, send and delete them one by one."""
    sqs = client(endpoint)
    while messages := receive(sqs, source):
        for message in messages:
            sqs.send_message(QueueUrl=target, **entry_of(message))
            sqs.delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])


def move_by_batches(endpoint: str, source: str, target: str) -> None:
    """Receive ten, send them in one call, delete them in another: what sqsmover does, which is not Python."""
    sqs = client(endpoint)
    while messages := receive(sqs, source):
        send(sqs, target, messages)
        delete(sqs, source, messages)


def move_by_pool(endpoint: str, source: str, target: str) -> None:
    """Eight threads, each of which receives ten, sends them in one call and deletes them in another."""
    sqs = client(endpoint)

    def work(number: int) -> None:
        while messages := receive(sqs, source):
            send(sqs, target, messages)
            delete(sqs, source, messages)

    # A thread that finds every group in other hands ends; the last one goes on until there is nothing.
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    work(0)


def deliver_by_loop(endpoint: str, source: str, url: str) -> None:
    """Receive ten, post and delete them one by one."""
    sqs, http = client(endpoint), urllib3.PoolManager()
    while messages := receive(sqs, source):
        for message in messages:
            http.request("POST", url, body=message["Body"], headers={"Content-Type": "application/json"})
            sqs.delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])


def dump_by_loop(endpoint: str, source: str, path: str) -> None:
    """Receive ten, write and delete them."""
    sqs = client(endpoint)
    with Path(path).open("w", encoding="utf-8") as file:
        while messages := receive(sqs, source):
            for message in messages:
                file.write(json.dumps(entry_of(message)) + "\n")
            delete(sqs, source, messages)


def load_by_loop(endpoint: str, path: str, target: str) -> None:
    """Send the lines of a dump, ten a call."""
    sqs = client(endpoint)
    with Path(path).open(encoding="utf-8") as lines:
        for batch in tens(map(json.loads, lines)):
            entries = [
                {
                    "Id": str(n),
                    "MessageBody": one["body"],
                    "MessageGroupId": one["group"],
                    "MessageDeduplicationId": uuid.uuid4().hex,
                }
                for n, one in enumerate(batch)
            ]
            sqs.send_message_batch(QueueUrl=target, Entries=entries)


def replay_by_loop(endpoint: str, stream: str, target: str) -> None:
    """Read a stream's shards to their ends and send each record, ten a call."""
    sqs = client(endpoint)
    for batch in tens(records(client(endpoint, "dynamodbstreams"), stream)):
        entries = [
            {
                "Id": str(n),
                "MessageBody": json.dumps(record["dynamodb"]["NewImage"]),
                "MessageGroupId": record["dynamodb"]["NewImage"]["grp"]["S"],
                "MessageDeduplicationId": uuid.uuid4().hex,
            }
            for n, record in enumerate(batch)
        ]
        sqs.send_message_batch(QueueUrl=target, Entries=entries)


def send_raw(endpoint: str, target: str, count: str) -> None:
    """Send messages of 500 groups as fast as one thread can: the service's own ceiling."""
    sqs = client(endpoint)
    for batch in tens(range(int(count))):
        entries = [
            {
                "Id": str(n),
                "MessageBody": f"{number}:{'x' * 100}",
                "MessageGroupId": f"g{number % 500}",
                "MessageDeduplicationId": str(number),
            }
            for n, number in enumerate(batch)
        ]
        sqs.send_message_batch(QueueUrl=target, Entries=entries)


def records(streams: Any, stream: str) -> Iterator[Any]:
    for shard in streams.describe_stream(StreamArn=stream)["StreamDescription"]["Shards"]:
        iterator = streams.get_shard_iterator(
            StreamArn=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while iterator:
            answer = streams.get_records(ShardIterator=iterator)
            yield from answer["Records"]
            iterator = answer.get("NextShardIterator") if answer["Records"] else None


def send(sqs: Any, queue: str, messages: list[Any]) -> None:
    entries = [{"Id": str(n), **entry_of(one)} for n, one in enumerate(messages)]
    sqs.send_message_batch(QueueUrl=queue, Entries=entries)


def delete(sqs: Any, queue: str, messages: list[Any]) -> None:
    sqs.delete_message_batch(
        QueueUrl=queue,
        Entries=[{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(messages)],
    )


def tens(things: Iterable[Any]) -> Iterator[list[Any]]:
    each = iter(things)
    while batch := list(itertools.islice(each, _BATCH)):
        yield batch


WHAT: dict[str, Callable[..., None]] = {
    "move-by-loop": move_by_loop,
    "move-by-batches": move_by_batches,
    "move-by-pool": move_by_pool,
    "deliver-by-loop": deliver_by_loop,
    "dump-by-loop": dump_by_loop,
    "load-by-loop": load_by_loop,
    "replay-by-loop": replay_by_loop,
    "send-raw": send_raw,
}

if __name__ == "__main__":
    WHAT[sys.argv[1]](*sys.argv[2:])
