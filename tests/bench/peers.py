"""What people write by hand with boto3: the peers that fifo-cli is measured beside.

A plain loop, and a pool of eight threads that batches all it can. They are as fast as they can be without
care: none checks a batch's entries, and none keeps order if a call fails. Run as
``python -m tests.bench.peers WHAT ENDPOINT ARGUMENTS``, with the queues' URLs as arguments.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, Literal

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

    def work() -> None:
        while messages := receive(sqs, source):
            send(sqs, target, messages)
            delete(sqs, source, messages)

    _in_threads(work)


def _in_threads(work: Callable[[], None]) -> None:
    """Let eight threads take from a queue."""
    # A thread that finds every group in other hands ends; the last one goes on until there is nothing.
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda _: work(), range(THREADS)))
    work()


def deliver_by_loop(endpoint: str, source: str, url: str) -> None:
    """Receive ten, post and delete them one by one."""
    _deliver(client(endpoint), urllib3.PoolManager(), source, url)


def deliver_by_pool(endpoint: str, source: str, url: str) -> None:
    """Eight threads, each of which receives ten, posts and deletes them one by one."""
    sqs, http = client(endpoint), urllib3.PoolManager(maxsize=THREADS)
    _in_threads(lambda: _deliver(sqs, http, source, url))


def _deliver(sqs: Any, http: urllib3.PoolManager, source: str, url: str) -> None:
    while messages := receive(sqs, source):
        for message in messages:
            http.request("POST", url, body=message["Body"], headers={"Content-Type": "application/json"})
            sqs.delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])


def dump_by_loop(endpoint: str, source: str, path: str) -> None:
    """Receive ten, write and delete them."""
    sqs = client(endpoint)
    with Path(path).open("wb") as file:
        _dump(sqs, source, file)


def dump_by_pool(endpoint: str, source: str, path: str) -> None:
    """Eight threads, each of which receives ten, writes and deletes them."""
    sqs = client(endpoint)
    with Path(path).open("wb") as file:
        _in_threads(lambda: _dump(sqs, source, file))


def _dump(sqs: Any, source: str, file: IO[bytes]) -> None:
    while messages := receive(sqs, source):
        file.write("".join(json.dumps(entry_of(message)) + "\n" for message in messages).encode())
        delete(sqs, source, messages)


def load_by_loop(endpoint: str, path: str, target: str) -> None:
    """Send the lines of a dump, ten a call."""
    _load(endpoint, path, target, threads=1)


def load_by_pool(endpoint: str, path: str, target: str) -> None:
    """Send the lines of a dump, ten a call, eight calls at a time."""
    _load(endpoint, path, target, threads=THREADS)


def _load(endpoint: str, path: str, target: str, *, threads: int) -> None:
    with Path(path).open(encoding="utf-8") as lines:
        messages = ((one["body"], one["group"]) for one in map(json.loads, lines))
        _send_all(client(endpoint), target, messages, threads)


def replay_by_loop(endpoint: str, stream: str, target: str) -> None:
    """Read a stream's shards to their ends and send each record, ten a call."""
    _replay(endpoint, stream, target, threads=1)


def replay_by_pool(endpoint: str, stream: str, target: str) -> None:
    """Read a stream's shards to their ends and send each record, ten a call, eight calls at a time."""
    _replay(endpoint, stream, target, threads=THREADS)


def _replay(endpoint: str, stream: str, target: str, *, threads: int) -> None:
    images = (one["dynamodb"]["NewImage"] for one in records(client(endpoint, "dynamodbstreams"), stream))
    messages = ((json.dumps(image), image["grp"]["S"]) for image in images)
    _send_all(client(endpoint), target, messages, threads)


def _send_all(sqs: Any, target: str, messages: Iterable[tuple[str, str]], threads: int) -> None:
    """Send bodies and their groups, ten a call, by so many threads that take turns to read them."""
    batches, lock = tens(messages), threading.Lock()

    def work(number: int) -> None:
        while batch := _next(batches, lock):
            entries = [
                {
                    "Id": str(n),
                    "MessageBody": body,
                    "MessageGroupId": group,
                    "MessageDeduplicationId": uuid.uuid4().hex,
                }
                for n, (body, group) in enumerate(batch)
            ]
            sqs.send_message_batch(QueueUrl=target, Entries=entries)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))


def _next(batches: Iterator[list[Any]], lock: threading.Lock) -> list[Any]:
    with lock:
        return next(batches, [])


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
    "deliver-by-pool": deliver_by_pool,
    "dump-by-loop": dump_by_loop,
    "dump-by-pool": dump_by_pool,
    "load-by-loop": load_by_loop,
    "load-by-pool": load_by_pool,
    "replay-by-loop": replay_by_loop,
    "replay-by-pool": replay_by_pool,
    "send-raw": send_raw,
}

if __name__ == "__main__":
    WHAT[sys.argv[1]](*sys.argv[2:])
