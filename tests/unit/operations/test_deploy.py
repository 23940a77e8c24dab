"""Carrying out a plan: order, failures, and what turns up meanwhile. AWS is a table of fakes here."""

from __future__ import annotations

import threading
from typing import Any, get_args

import pytest
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from fifo_cli.aws.foreign_responses import ForeignAnswerError
from fifo_cli.aws.resources.gateway import AlreadyExists
from fifo_cli.errors import AwsError, Interrupted, UsageError
from fifo_cli.events import Event, Finished, Noted, Started
from fifo_cli.model.names import PIPELINE_TAG
from fifo_cli.model.planning import Change, make_plan
from fifo_cli.model.resources import Found, Key, Kind, Resource
from fifo_cli.model.settings import Api, Pipeline, Settings, Table
from fifo_cli.operations.deploy.apply import Work
from fifo_cli.operations.deploy.deploy import apply, levels
from fifo_cli.operations.deploy.plan import Prepared
from fifo_cli.operations.deploy.remote_state import Gateways

TAGS = {PIPELINE_TAG: "orders"}
SETTINGS = Settings(
    pipeline=Pipeline(name="orders"), table=Table(name="orders"), api=(Api(url="https://api.example.com"),)
)


def wanted(kind: Kind, name: str, *needs: Key) -> Resource:
    return Resource(kind, name, {"size": 1}, TAGS, needs)


MAIN = wanted("queue", "main", ("queue", "dlq"))
DLQ = wanted("queue", "dlq")
TABLE = wanted("table", "items")
RULE = wanted("rule", "r-1", ("queue", "main"), ("table", "items"))
OLD_RULE = Found("rule", "r-2", {}, TAGS)


class World:
    """AWS in memory: what there is, what was done in which order, what fails."""

    def __init__(self, *there: Found) -> None:
        self.there: dict[str, Found] = {one.name: one for one in there}
        self.done: list[tuple[str, str]] = []
        self.failing: dict[str, BaseException] = {}
        self.halt = threading.Event()
        self.lock = threading.Lock()

    def _do(self, action: str, name: str) -> None:
        with self.lock:
            if name in self.failing:
                raise self.failing[name]
            self.done.append((action, name))

    def read(self, name: str) -> Found | None:
        return self.there.get(name)

    def create(self, one: Resource) -> None:
        if one.name in self.there:
            raise AlreadyExists(f"{one.name} exists already")
        self._do("create", one.name)
        self.there[one.name] = Found(one.kind, one.name, one.properties, one.tags)

    def update(self, one: Resource, found: Found, changed: frozenset[str]) -> None:
        self._do(f"update {' '.join(sorted(changed))}", one.name)
        self.there[one.name] = Found(one.kind, one.name, one.properties, {**found.tags, **one.tags})

    def delete(self, found: Found) -> None:
        self._do("delete", found.name)
        self.there.pop(found.name, None)

    def run(
        self,
        *resources: Resource,
        seen: tuple[Found, ...] = (),
        adopt: bool = False,
        events: list[Event] | None = None,
    ) -> list[Event]:
        """Plan from what was ``seen``, which may be less than there is, and apply."""
        events = [] if events is None else events
        found = {one.key: one for one in seen}
        plan = make_plan(resources, found, pipeline="orders", adopt=adopt)
        unused: Any = None
        gateway: Any = self
        gates = Gateways(dict.fromkeys(get_args(Kind), gateway), *[unused] * 7)
        prepared = Prepared(SETTINGS, plan, resources, found, gates)
        apply(prepared, adopt=adopt, work=Work("deploy", events.append, self.halt))
        return events


def test_what_is_needed_comes_first_and_deletes_come_last() -> None:
    changes = [Change("create", one.kind, one.name) for one in (RULE, MAIN, TABLE, DLQ)]
    changes.insert(0, Change("delete", "rule", "r-2"))
    ordered = levels(changes, [RULE, MAIN, TABLE, DLQ])
    assert [[one.name for one in level] for level in ordered] == [
        ["items", "dlq"],
        ["main"],
        ["r-1"],
        ["r-2"],
    ]


def test_a_need_that_does_not_change_does_not_hold_anything_up() -> None:
    ordered = levels([Change("update", "rule", "r-1")], [RULE, MAIN, TABLE, DLQ])
    assert [[one.name for one in level] for level in ordered] == [["r-1"]]


def test_every_change_is_announced_when_it_begins_and_when_it_is_done() -> None:
    world = World(OLD_RULE)
    events = world.run(DLQ, MAIN, seen=(OLD_RULE,))
    assert events == [
        Started("create", "queue", "dlq"),
        Finished("create", "queue", "dlq"),
        Started("create", "queue", "main"),
        Finished("create", "queue", "main"),
        Started("delete", "rule", "r-2"),
        Finished("delete", "rule", "r-2"),
    ]
    assert world.done == [("create", "dlq"), ("create", "main"), ("delete", "r-2")]


def test_after_a_failure_the_level_is_finished_nothing_further_is_begun_and_all_is_told() -> None:
    world = World(OLD_RULE)
    world.failing["dlq"] = AwsError("queue dlq: permission denied", hint="ask for it")
    with pytest.raises(AwsError) as failed:
        world.run(DLQ, MAIN, TABLE, RULE, seen=(OLD_RULE,))
    assert world.done == [("create", "items")]
    assert failed.value.message.splitlines() == [
        "create queue dlq: queue dlq: permission denied",
        "1 of 5 changes were made: create table items",
    ]
    assert failed.value.hint == "ask for it; run `fifo-cli deploy` again; it continues where this one stopped"


URL = {"endpoint_url": "https://sqs.us-east-1.amazonaws.com/"}
BROKEN: list[Exception] = [
    boto.EndpointConnectionError(**URL, error="refused"),
    boto.ConnectionClosedError(**URL),
    boto.ReadTimeoutError(**URL),
    boto.ConnectTimeoutError(**URL),
    boto.ProxyConnectionError(proxy_url="http://proxy:3128"),
    boto.SSLError(**URL, error=OSError("certificate")),
    boto.HTTPClientError(error="IncompleteRead(7 bytes read, 3 more expected)"),
    boto.IncompleteReadError(actual_bytes=7, expected_bytes=10),
    boto.NoCredentialsError(),
    boto.ClientError({"Error": {"Code": "InternalFailure"}}, "CreateQueue"),
    ResponseParserError("no JSON"),
    ForeignAnswerError(operation="CreateQueue", answer="<html>"),
]


@pytest.mark.parametrize("error", BROKEN, ids=lambda error: type(error).__name__)
def test_however_the_connection_breaks_it_says_how_many_changes_were_made(error: Exception) -> None:
    world = World()
    world.failing["main"] = error
    with pytest.raises(AwsError) as failed:
        world.run(DLQ, MAIN, TABLE, RULE)
    assert failed.value.exit_code == 3
    first, last = failed.value.message.splitlines()
    assert first.startswith("create queue main: ")
    assert last == "2 of 4 changes were made: create queue dlq, create table items"
    assert failed.value.hint.endswith("run `fifo-cli deploy` again; it continues where this one stopped")


@pytest.mark.parametrize("error", [*BROKEN, AwsError("no"), UsageError("not yours")], ids=repr)
def test_what_follows_the_changes_and_fails_says_that_they_were_made(error: Exception) -> None:
    def step() -> None:
        raise error

    work = Work("destroy", lambda event: None, threading.Event(), [Change("delete", "queue", "main")])
    with pytest.raises(AwsError) as failed:
        work.afterwards(step)
    assert failed.value.exit_code == 3
    assert failed.value.message.endswith("\n1 of 1 changes were made: delete queue main")
    assert "run `fifo-cli destroy` again" in failed.value.hint


def test_a_defect_says_how_many_changes_were_made_too() -> None:
    world = World()
    world.failing["main"] = KeyError("Attributes")
    events: list[Event] = []
    with pytest.raises(KeyError):
        world.run(DLQ, MAIN, TABLE, RULE, events=events)
    assert events[-1] == Noted("stopped: 2 of 4 changes were made: create queue dlq, create table items")


def test_what_turned_up_meanwhile_with_our_tag_is_brought_to_what_is_wanted() -> None:
    world = World(Found("queue", "dlq", {"size": 2}, TAGS))
    world.run(DLQ)
    assert world.done == [("update size", "dlq")]
    same = World(Found("queue", "dlq", {"size": 1}, TAGS))
    same.run(DLQ)
    assert same.done == []


@pytest.mark.parametrize(
    ("tags", "adopt"), [({}, False), ({PIPELINE_TAG: "other"}, False), ({PIPELINE_TAG: "other"}, True)]
)
def test_what_turned_up_meanwhile_and_is_not_ours_is_not_touched(tags: dict[str, str], adopt: bool) -> None:
    world = World(Found("queue", "dlq", {"size": 2}, tags))
    with pytest.raises(
        AwsError, match=r"create queue dlq: queue dlq (exists already|belongs to the pipeline 'other')"
    ):
        world.run(DLQ, adopt=adopt)
    assert world.done == []


class Interrupting(World):
    """The interrupt comes while another change is being made, which then ends well."""

    def __init__(self, signal: BaseException) -> None:
        super().__init__()
        self.signal = signal
        self.begun = threading.Event()
        self.halted = False

    def create(self, one: Resource) -> None:
        if one.name == "items":
            self.begun.set()
            self.halted = self.halt.wait(60)
        else:
            assert self.begun.wait(60)
            self.failing[one.name] = self.signal
        super().create(one)


@pytest.mark.parametrize("signal", [KeyboardInterrupt(), Interrupted()])
def test_an_interrupt_lets_what_runs_finish_and_begins_nothing_new(signal: BaseException) -> None:
    world = Interrupting(signal)
    with pytest.raises(type(signal)):
        world.run(DLQ, MAIN, TABLE)
    assert (world.done, world.halted) == ([("create", "items")], True)
