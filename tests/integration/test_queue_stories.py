"""What goes wrong where the queue starts the worker, lived through on the embedded stack, message by message.

The function's SQS is a proxy: it shows which pauses the function asks for, and ends it at any of its calls.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import pytest

from fifo_cli.aws.sqs import Queue
from fifo_cli.local.receiver import Answer, Received, Reply
from tests.cli_harness import Stack, new_name, wait_until
from tests.faults import Kill, forward_all, on
from tests.integration.deployed_pipeline import Pipeline, deployed
from tests.integration.proxy import Proxy, Request

FIRST, LONGEST = 1, 2
WORKER: Final = {"trigger": "queue", "concurrency": 4, "retry": [f"{FIRST}s", f"{LONGEST}s"], "breaker": 3}
# For so long (seconds) messages stay hidden that a function leaves which was killed. On AWS: until its time
# would have been over, and before it hid them, for the queue's visibility timeout.
HIDDEN = 1
# The function hides what it works on for longer than this, and no pause here is as long.
SHORTEST_HIDE = 10
# What the stack's poller and a busy machine may add to a pause (seconds).
SLACK = 6
POISON: Final = b'{"error":"no such product"}'

CODE: Final = """
import os

import httpx

def to_request(body, attributes, keys):
    if body["does"] == "raises":
        raise ValueError("no such product")
    if body["does"] == "exits":
        os._exit(3)
    return httpx.Request("POST", {url!r}, json=body)
"""


class Polled:
    """A pipeline that the queue starts, and what became of the items of one test.

    An item's id is its group and its number in it: ``b2``. Those of a test have a prefix of their own.
    """

    def __init__(self, pipeline: Pipeline, proxy: Proxy) -> None:
        self.pipeline, self.api, self.proxy = pipeline, pipeline.api, proxy
        self.main = Queue(pipeline.aws, pipeline.project.names, "main")
        self.prefix = ""
        self.worker = pipeline.project.names.function("worker")

    def redirect(self) -> None:
        """Have the function call SQS by the proxy, and what a killed one leaves soon be seen."""
        client = self.pipeline.aws.client("lambda")
        variables = client.get_function_configuration(FunctionName=self.worker)["Environment"]["Variables"]
        client.update_function_configuration(
            FunctionName=self.worker,
            Environment={"Variables": {**variables, "AWS_ENDPOINT_URL_SQS": self.proxy.endpoint}},
        )
        version = client.publish_version(FunctionName=self.worker)["Version"]
        client.update_alias(FunctionName=self.worker, Name="live", FunctionVersion=version)
        self.pipeline.aws.client("sqs").set_queue_attributes(
            QueueUrl=self.pipeline.url("main"), Attributes={"VisibilityTimeout": str(HIDDEN)}
        )
        self.proxy.edit = _hidden_briefly

    def begin(self) -> Polled:
        """Begin a test: nothing is broken, nothing was put, and the function has started."""
        self.proxy.rule = forward_all
        self.api.recover()
        self.api.answer = lambda received: None
        for role in ("main", "dlq"):
            self.pipeline.aws.client("sqs").purge_queue(QueueUrl=self.pipeline.url(role))
        self._forget()
        self.put("a0")
        self.check(a=[0])
        self._forget()
        return self

    def _forget(self) -> None:
        self.prefix = f"{new_name()}-"
        self.api.clear()
        self.proxy.clear()

    def put(self, *ids: str, **does: str) -> None:
        """Put items into the table; ``does`` says what the user's code does for one."""
        table = self.pipeline.aws.client("dynamodb")
        for each in ids:
            table.put_item(
                TableName=self.pipeline.name,
                Item={
                    "id": {"S": self.prefix + each},
                    "grp": {"S": self.prefix + each[0]},
                    "does": {"S": does.get(each, "nothing")},
                },
            )

    def put_as_one_batch(self, *ids: str, **does: str) -> None:
        """Put at most ten items that Lambda's poller hands over together."""
        self._poll(enabled=False)
        self.put(*ids, **does)
        wait_until(lambda: self.total() == len(ids))
        self._poll(enabled=True)

    def _poll(self, *, enabled: bool) -> None:
        client = self.pipeline.aws.client("lambda")
        (mapping,) = client.list_event_source_mappings(FunctionName=f"{self.worker}:live")[
            "EventSourceMappings"
        ]
        client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=enabled)

    def total(self) -> int:
        """Return how many messages main has, visible or not."""
        return self.main.counts().total

    def id_of(self, received: Received) -> str:
        """Return an item's id; of one that another test put, all of it."""
        return str(json.loads(received.body)["id"]).removeprefix(self.prefix)

    def parked(self) -> dict[str, dict[str, str]]:
        """Return the attributes of what is in the DLQ, by id."""
        ran = self.pipeline.local("peek", "--queue", "dlq", "-o", "json")
        found = [
            (
                json.loads(one["body"])["id"].removeprefix(self.prefix),
                {name: attribute["value"] for name, attribute in one["attributes"].items()},
            )
            for one in ran.ok().json()["messages"]
        ]
        assert len(dict(found)) == len(found)
        return dict(found)

    def pauses(self) -> list[int]:
        """Return the pauses that the function gave to groups (seconds)."""
        return [
            entry["VisibilityTimeout"]
            for request in self.proxy.requests
            if request.action == "ChangeMessageVisibilityBatch"
            for entry in request.json()["Entries"]
            if entry["VisibilityTimeout"] < SHORTEST_HIDE
        ]

    def check(self, **groups: list[int]) -> Counter[str]:
        """Wait until nothing is left, then check that the API took just these, in the order of their groups.

        An item comes a second time only before any later one of its group, and with the same key. Returns
        what came more than once, and how often more.
        """
        count = sum(map(len, groups.values()))
        wait_until(lambda: len(set(map(self.id_of, self.api.accepted))) >= count and not self.total())
        accepted, called = self._numbers(self.api.accepted), self._numbers(self.api.requests)
        assert {group: _once(numbers) for group, numbers in accepted.items()} == groups
        assert all(numbers == sorted(numbers) for numbers in called.values()), called
        keys = {(self.id_of(one), one.idempotency_key) for one in self.api.requests}
        assert len(keys) == len(dict(keys)) == len({key for _, key in keys})
        return Counter(map(self.id_of, self.api.accepted)) - Counter(set(map(self.id_of, self.api.accepted)))

    def _numbers(self, received: Iterable[Received]) -> dict[str, list[int]]:
        found = defaultdict[str, list[int]](list)
        for one in received:
            found[self.id_of(one)[0]].append(int(self.id_of(one)[1:]))
        return dict(found)


def _once(numbers: list[int]) -> list[int]:
    return [number for number, _ in groupby(numbers)]


def _hidden_briefly(request: Request) -> bytes:
    """Cut how long messages are hidden for a function's work, but no pause."""
    if request.action != "ChangeMessageVisibilityBatch":
        return request.body
    document = request.json()
    for entry in document["Entries"]:
        if entry["VisibilityTimeout"] >= SHORTEST_HIDE:
            entry["VisibilityTimeout"] = HIDDEN
    return json.dumps(document).encode()


@contextmanager
def polled(folder: Path, stack: Stack, **tables: Any) -> Iterator[Polled]:
    """Deploy a pipeline for the block inside."""
    tables = {"worker": WORKER, "functions": {"timeout": "10s"}, **tables}
    with Proxy(stack.endpoint) as proxy, deployed(folder, stack, deploy=False, **tables) as pipeline:
        if "handlers" in tables:
            (pipeline.project.folder / "code").mkdir()
            (pipeline.project.folder / "code" / "mine.py").write_text(CODE.format(url=pipeline.api.url))
        pipeline.project.local("deploy", "--yes").ok()
        made = Polled(pipeline, proxy)
        made.redirect()
        try:
            yield made
        finally:
            stack.stop_invoking([pipeline.name])


@pytest.fixture(scope="module")
def shared(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Polled]:
    keys = {"api_key": f"/{new_name()}/api-key"}
    api = {"timeout": "1s", "headers": {"Authorization": "Bearer {api_key}"}, "keys": keys}
    with polled(tmp_path_factory.mktemp("polled"), stack, api=api) as made:
        rotate(made)
        set_key(made)
        yield made


@pytest.fixture
def flow(shared: Polled) -> Polled:
    return shared.begin()


def rotate(flow: Polled) -> None:
    """Have the API ask for another key."""
    flow.api.key = f"sesame-{secrets.token_hex(8)}"


def set_key(flow: Polled) -> None:
    """Let the function know the key that the API asks for."""
    assert flow.api.key is not None
    flow.pipeline.project.local("keys", "set", "api_key", input=flow.api.key).ok()


@contextmanager
def outage(flow: Polled, kind: str, *, retry_after: int) -> Iterator[None]:
    """Have the API down for the block inside."""
    refused = kind == "refused connections"
    if refused:
        flow.api.stop()
    else:
        flow.api.fail(503, retry_after=retry_after if "Retry-After" in kind else None)
    try:
        yield
    finally:
        flow.api.recover()
        if refused:
            flow.api.start()


@pytest.mark.parametrize("kind", ["503", "503 and Retry-After", "refused connections"])
def test_an_outage_parks_and_reorders_nothing_and_is_over_within_the_longest_pause(
    flow: Polled, kind: str
) -> None:
    longest = LONGEST + 1 if "Retry-After" in kind else LONGEST
    groups = "abcd"  # more than open the breaker
    with outage(flow, kind, retry_after=longest):
        flow.put(*(ids := [f"{group}{number}" for number in range(3) for group in groups]))
        wait_until(lambda: len(flow.pauses()) >= 3 * len(ids))
        assert flow.api.accepted == []
    back_at = time.monotonic()
    assert not flow.check(**{group: [0, 1, 2] for group in groups})
    assert flow.api.accepted[0].at - back_at <= longest + SLACK
    assert max(flow.pauses()) == longest
    assert flow.parked() == {}


def refuse(flow: Polled, status: int, *ids: str) -> Callable[[Received], Answer | None]:
    def answer(received: Received) -> Answer | None:
        return Reply(status, POISON) if flow.id_of(received) in ids else None

    return answer


def check_refused(attributes: Mapping[str, str]) -> None:
    """Check what is noted of a message that the API refused for ever."""
    assert attributes["park_reason"] == f"HTTP 422 from 127.0.0.1: {POISON.decode()}"
    assert (attributes["park_status"], attributes["park_from"]) == ("422", "worker")
    assert {"park_at", "event_id", "item_key", "stream_sequence"} <= set(attributes)


def test_poison_alone_is_parked_and_its_group_goes_on(flow: Polled) -> None:
    poison = ("a1", "b0", "c2")
    flow.api.answer = refuse(flow, 422, *poison)
    flow.put(*(f"{group}{number}" for number in range(4) for group in "abcd"))
    assert not flow.check(a=[0, 2, 3], b=[1, 2, 3], c=[0, 1, 3], d=[0, 1, 2, 3])
    parked = flow.parked()
    assert sorted(parked) == sorted(poison)
    for attributes in parked.values():
        check_refused(attributes)
    called = Counter(map(flow.id_of, flow.api.requests))
    assert set(called.values()) == {1}


def test_a_key_rotated_while_messages_flow_costs_no_message_and_no_restart(flow: Polled) -> None:
    def put() -> None:
        for number in range(15):
            flow.put(*(f"{group}{number}" for group in "abcd"))
            time.sleep(0.1)

    producer = threading.Thread(target=put)
    producer.start()
    wait_until(lambda: len(flow.api.accepted) >= 8)
    rotate(flow)
    wait_until(lambda: LONGEST in flow.pauses())
    set_key(flow)
    producer.join()
    assert not flow.check(**{group: list(range(15)) for group in "abcd"})
    assert len(flow.api.requests) > len(flow.api.accepted)
    assert flow.parked() == {}
    # What a function asks for when it starts: it read the new key while it ran.
    assert not flow.proxy.counts["GetQueueUrl"]


# The calls of a function that gets a0 to a2, b0, b1 and c0 to c2 together, where a1 is poison and b0 fails
# once: the action, which of its calls, and which messages an API's yes for may then be without a delete.
CALLS: Final = {
    "hide": ("ChangeMessageVisibilityBatch", 1, ""),
    "delete": ("DeleteMessage", 1, "ac"),
    "park": ("SendMessage", 1, "c"),
    "give back": ("ChangeMessageVisibilityBatch", 2, ""),
    "last delete": ("DeleteMessage", 8, "b"),
}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", CALLS)
def test_a_function_killed_at_a_call_loses_reorders_and_parks_nothing(
    flow: Polled, call: str, after: bool
) -> None:
    failed: list[str] = []

    def answer(received: Received) -> Answer | None:
        if (name := flow.id_of(received)) == "b0" and not failed:
            failed.append(name)
            return Reply(503)
        return Reply(422, POISON) if name == "a1" else None

    flow.api.answer = answer
    action, nth, doubtful = CALLS[call]
    flow.proxy.killed.clear()
    flow.proxy.rule = on(action, nth=nth, do=Kill(after=after))
    flow.put_as_one_batch("a0", "b0", "c0", "a1", "b1", "c1", "a2", "c2")
    twice = flow.check(a=[0, 2], b=[0, 1], c=[0, 1, 2])
    wait_until(lambda: flow.proxy.killed)
    # Of a group one message at a time is between the API's yes and the delete.
    assert set(Counter(name[0] for name in twice.elements()).items()) <= {(group, 1) for group in doubtful}
    if not after and "delete" in call:
        assert twice
    if after and call == "last delete":
        assert not twice
    parked = flow.parked()
    assert list(parked) == ["a1"]
    check_refused(parked["a1"])


def test_code_that_raises_or_exits_for_one_message_costs_that_message_alone(
    stack: Stack, tmp_path: Path
) -> None:
    handlers = {"source": "code/", "request": "mine:to_request"}
    with polled(tmp_path, stack, handlers=handlers, api={"timeout": "1s"}) as made:
        flow = made.begin()
        ids = [f"{group}{number}" for number in range(3) for group in "abc"]
        flow.put_as_one_batch(*ids, a1="raises", b1="exits")
        twice = flow.check(a=[0, 2], b=[0, 2], c=[0, 1, 2])
        # The process ended twice, each time with at most one message of a group between yes and delete.
        assert max(Counter(name[0] for name in twice.elements()).values(), default=0) <= 2
        reasons = {name: attributes["park_reason"] for name, attributes in flow.parked().items()}
        assert sorted(reasons) == ["a1", "b1"]
        assert reasons["a1"] == "mine:to_request raised ValueError: no such product"
        assert reasons["b1"].startswith("the process ended 2 times while mine:to_request handled this one")
