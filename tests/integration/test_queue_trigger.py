"""A pipeline that the queue starts, from put to the API: Lambda's poller hands batches to the worker."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fifo_cli.model.names import SWITCH_TAG
from fifo_cli.model.settings import load
from fifo_cli.operations.deploy.deploy import deploy
from fifo_cli.operations.deploy.pause import pause, resume
from tests.cli_harness import Stack, wait_until
from tests.integration.deployed_pipeline import Pipeline, deployed

QUEUE = {"trigger": "queue", "concurrency": 10}
GROUPS, ITEMS = 60, 600


@pytest.fixture
def pipeline(stack: Stack, tmp_path: Path) -> Iterator[Pipeline]:
    with deployed(tmp_path, stack, worker=QUEUE, schedule={"expressions": ["rate(365 days)"]}) as made:
        yield made


class Puts:
    """Items put one after the other, and what the API got of them."""

    def __init__(self, pipeline: Pipeline, *, first: int = 0) -> None:
        self.pipeline, self.at, self.next = pipeline, dict[str, float](), first

    def put(self, count: int, *, groups: int, pause: float = 0.0) -> None:
        table = self.pipeline.aws.client("dynamodb")
        for number in range(self.next, self.next + count):
            key = f"{number:05}"
            item = {"id": {"S": key}, "grp": {"S": f"g{number % groups:02}"}, "n": {"N": str(number)}}
            self.at[key] = time.monotonic()
            table.put_item(TableName=self.pipeline.name, Item=item)
            self.next += 1
            time.sleep(pause)

    def wait(self, seconds: float = 60.0) -> None:
        """Wait until the API has taken them all."""
        ends = time.monotonic() + seconds
        while len(self.pipeline.api.accepted) < len(self.at) and time.monotonic() < ends:
            time.sleep(0.1)
        assert sorted(self.taken()) == sorted(self.at)

    def taken(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for one in self.pipeline.api.accepted:
            found.setdefault(json.loads(one.body)["id"], one.at)
        return found

    def delays(self) -> list[float]:
        return sorted(taken - self.at[key] for key, taken in self.taken().items())

    def check_order(self) -> None:
        """Check that each group's items came in the order in which they were put, and each once."""
        groups = defaultdict[str, list[str]](list)
        for one in self.pipeline.api.accepted:
            body = json.loads(one.body)
            groups[body["grp"]].append(body["id"])
        for ids in groups.values():
            assert ids == sorted(set(ids))


def at_rest(pipeline: Pipeline, seconds: float = 20.0) -> dict[str, int]:
    """Return what main counts once nothing is in it any more, or when the time is up."""
    names: list[Any] = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    ends = time.monotonic() + seconds
    while True:
        answer: Any = pipeline.aws.client("sqs").get_queue_attributes(
            QueueUrl=pipeline.url("main"), AttributeNames=names
        )
        counts = {name: int(answer["Attributes"][name]) for name in names}
        if not any(counts.values()) or time.monotonic() > ends:
            return counts
        time.sleep(0.1)


def test_600_items_of_60_groups_put_while_it_runs_arrive_in_order_within_seconds(
    pipeline: Pipeline, record_property: Callable[[str, object], None]
) -> None:
    puts = Puts(pipeline)
    puts.put(10, groups=10)  # both functions have started
    puts.wait()
    pipeline.api.clear()
    puts = Puts(pipeline, first=puts.next)
    puts.put(ITEMS, groups=GROUPS, pause=0.02)
    puts.wait()
    puts.check_order()
    delays = puts.delays()
    p50, p99 = delays[len(delays) // 2], delays[len(delays) * 99 // 100]
    record_property("p50", round(p50, 2))
    record_property("p99", round(p99, 2))
    assert not any(at_rest(pipeline).values())


@pytest.mark.parametrize("there", [True, False])
def test_what_starts_it_is_changed_while_messages_flow_and_none_is_lost_doubled_or_out_of_order(
    stack: Stack, tmp_path: Path, there: bool
) -> None:
    schedule = {"expressions": ["rate(1 minute)"], "messages_per_run": 1000}
    first, then = ("schedule", "queue") if there else ("queue", "schedule")
    with deployed(
        tmp_path, stack, worker={"trigger": first}, schedule=schedule, api={"timeout": "30s"}
    ) as pipeline:
        puts = Puts(pipeline)
        producer = threading.Thread(target=puts.put, args=(200,), kwargs={"groups": 20, "pause": 0.05})
        producer.start()
        config = pipeline.project.config
        config.write_text(config.read_text().replace(f'"trigger" = "{first}"', f'"trigger" = "{then}"'))
        deploy(pipeline.aws, load(config))
        producer.join()
        puts.wait(120)
        puts.check_order()
        assert not any(at_rest(pipeline).values())
        tags = pipeline.aws.client("sqs").list_queue_tags(QueueUrl=pipeline.url("main"))["Tags"]
        assert SWITCH_TAG not in tags


def test_paused_nothing_is_delivered_and_resumed_all_is(pipeline: Pipeline) -> None:
    settings = load(pipeline.project.config).settings
    puts = Puts(pipeline)
    puts.put(5, groups=5)
    puts.wait()
    assert pause(pipeline.aws, settings, "worker", wait=True).idle
    puts.put(20, groups=5)
    time.sleep(3)
    assert len(pipeline.api.accepted) == 5
    assert pipeline.project.local("status", "-o", "json").json()["worker"]["state"] == "paused"
    resume(pipeline.aws, settings, "worker")
    puts.wait()
    puts.check_order()


def test_a_group_that_waits_is_not_waited_for_by_pause_and_an_in_order_redrive_has_it_back(
    pipeline: Pipeline,
) -> None:
    puts = Puts(pipeline)
    pipeline.api.fail(503, retry_after=6)
    puts.put(3, groups=1)
    ends = time.monotonic() + 30
    while not pipeline.api.requests and time.monotonic() < ends:
        time.sleep(0.1)
    began = time.monotonic()
    ran = pipeline.local("redrive", "--in-order", "--yes")
    assert ran.code == 0, ran.err
    assert time.monotonic() - began < 60
    pipeline.api.recover()
    puts.wait()
    puts.check_order()


def check_that_drains_say_what_failed(pipeline: Pipeline) -> None:
    """A drain that gets nothing, as failures had the groups paused, needs a look, and says what helps."""
    for more in ([], ["--via", "lambda"]):
        drained = pipeline.local("drain", "--all", *more)
        assert (drained.code, drained.out) == (
            1,
            "0 delivered, 0 parked, 0 failed; 2 messages in the queue\n",
        )
        assert "next: wait: the functions try again by themselves" in drained.err
    assert pipeline.local("drain", "--all", "--dry-run").code == 0
    pipeline.local("pause", "worker").ok()
    drained = pipeline.local("drain", "--count", "1", "-o", "json")
    assert (drained.code, drained.json()["results"], drained.json()["remaining"]) == (1, [], 2)
    assert "next: `fifo-cli resume worker " in drained.err
    assert "`, as a paused worker tries nothing again; or `fifo-cli drain --all " in drained.err
    peeked = pipeline.local("peek")
    assert peeked.out.endswith("no messages to show; not all could be seen\n")


def test_a_group_that_waits_for_an_hour_is_named_before_an_in_order_redrive_pauses_anything(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    pipeline.api.fail(503, retry_after=3600)
    Puts(pipeline).put(2, groups=1)
    wait_until(lambda: pipeline.project.local("status", "-o", "json").json()["worker"]["paused"])

    ran = pipeline.local("redrive", "--in-order", "--yes")

    assert ran.code == 2, ran.err
    assert "is hidden until" in ran.err
    seen = pipeline.local("dump", f"{tmp_path}/main.jsonl", "--queue", "main")
    assert (seen.code, "hidden, as their groups are paused:\n  group g00 until" in seen.err) == (1, True)
    assert pipeline.project.local("status", "-o", "json").json()["worker"]["state"] == "running"
    check_that_drains_say_what_failed(pipeline)
