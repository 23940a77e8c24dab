"""redrive --in-order as a process against the embedded stack, through the fault-injecting proxy."""

from __future__ import annotations

import contextlib
import random
import re
import signal
import string
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.model.names import FunctionRole
from fifo_cli.operations.maintenance_lock import RESTORE_TAG
from fifo_cli.operations.queues.restore_order import RestoreOrder, UnfinishedError
from tests.cli_harness import Project, Stack, new_name
from tests.faults import Kill, forward_all, on
from tests.integration.fork_server import ALONE, ForkServer
from tests.integration.proxy import Proxy, Request, hidden
from tests.integration.queue_pipeline import (
    ImpatientAws,
    Queues,
    by_group,
    changes_sqs,
    crash_everywhere,
    crashes,
    to_sqs,
    weather,
)

DELAYS = ALONE


def streamed(one: Queues, role: Any, sequence: int, group: str = "g", **more: Any) -> str:
    """Send what the enqueuer would make of the stream record of this sequence number."""
    attributes = {
        "stream_sequence": {"DataType": "String", "StringValue": str(sequence)},
        "blob": {"DataType": "Binary", "BinaryValue": bytes([sequence % 256])},
    }
    return one.send(role, str(sequence), group, f"s-{sequence}", MessageAttributes=attributes, **more)


def test_parked_messages_are_back_in_their_places(one):
    for n in (1, 3, 5, 7, 9, 10):
        streamed(one, "main", n)
    for n in (2, 4, 6, 8, 11):
        streamed(one, "dlq", n)
    done = one.run("redrive", "--in-order", "--yes", "-o", "json")
    assert done.code == 0
    assert done.json() == {"engine": "client", "moved": 5, "skipped": 0, "failed": 0, "remaining": 0}
    assert by_group(one.drained("main")) == {"g": [str(n) for n in range(1, 12)]}


def test_nothing_to_put_in_order_is_said_with_0_and_nobody_is_asked(one):
    text = f"nothing to put in order: {one.names.queue('main')} and {one.names.queue('dlq')} are empty"
    assert text in one.run("redrive", "--in-order").ok().out
    one.sqs.tag_queue(QueueUrl=one.urls["main"], Tags={RESTORE_TAG: "merge since 2026-01-02T03:04:05.000Z"})
    asked = one.run("redrive", "--in-order")
    assert (asked.code, asked.out) == (2, "")


def _tags(one: Queues) -> Any:
    return one.sqs.list_queue_tags(QueueUrl=one.urls["main"]).get("Tags", {})


def _broken_line(one: Queues) -> None:
    for n in (1, 3, 4):
        streamed(one, "main", n)
    streamed(one, "main", 6, "h")
    for n, group in ((2, "g"), (5, "h")):
        streamed(one, "dlq", n, group)


SHORT = {"g": ["1", "2", "3"], "h": ["4"]}


def _short_broken_line(one: Queues) -> None:
    for n, group in ((1, "g"), (3, "g"), (4, "h")):
        streamed(one, "main", n, group)
    streamed(one, "dlq", 2)


LONG = {"g": ["1", "2", "3", "4"], "h": ["5", "6"]}


def _fixed(one: Queues, expected: Mapping[str, list[str]] = LONG) -> None:
    arrived = one.drained("main")
    assert by_group(arrived) == expected
    for message in arrived:
        assert message["MessageAttributes"]["blob"]["BinaryValue"] == bytes([int(message["Body"])])
        assert message["MessageAttributes"]["stream_sequence"]["StringValue"] == message["Body"]
    assert [one.total(role) for role in ("dlq", "hold")] == [0, 0]
    assert _tags(one) == {}


@crashes
@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_request_a_second_run_finishes_it(make, after, every):
    requests = crash_everywhere(
        make,
        _short_broken_line,
        lambda one: one.run("redrive", "--in-order", "--yes"),
        lambda one: _fixed(one, SHORT),
        after=after,
        at=changes_sqs if after else to_sqs,
        every=every,
        at_once=7,
    )
    whole, part = (14, 5) if after else (28, 8)
    assert requests > (whole if every else part)


def test_in_bad_weather_it_completes_or_says_that_it_is_unfinished(one):
    for n in range(1, 61):
        streamed(one, "dlq" if n % 5 == 0 else "main", n, f"g{n % 6}")
    one.proxy.edit = hidden(3)
    one.proxy.rule = weather(5)
    done = one.run("redrive", "--in-order", "--yes", timeout=120)
    assert done.code in (0, 1, 3), done
    one.proxy.rule = forward_all
    one.run("redrive", "--in-order", "--yes").ok()
    assert by_group(one.drained("main")) == {
        f"g{k}": [str(n) for n in range(1, 61) if n % 6 == k] for k in range(6)
    }
    assert [one.total(role) for role in ("dlq", "hold")] == [0, 0]
    assert _tags(one) == {}


@pytest.mark.parametrize("seed", range(3))
def test_a_random_line_is_in_stream_order_afterwards(one, seed):
    dice = random.Random(seed)
    groups = ["g", "x" * 128, string.punctuation]
    for n in range(1, 61):
        group = groups[dice.randrange(3)]
        if dice.random() < 0.2:
            one.send("main", f"foreign {n}", group, f"f-{n}")
        else:
            streamed(one, "dlq" if dice.random() < 0.3 else "main", n, group)
    one.run("redrive", "--in-order", "--yes").ok()
    arrived = by_group(one.drained("main"))
    assert sum(map(len, arrived.values())) == 60
    for bodies in arrived.values():
        numbers = [int(body) for body in bodies if body.isdigit()]
        assert numbers == sorted(numbers)
        foreign = [int(body.split()[1]) for body in bodies if not body.isdigit()]
        assert foreign == sorted(foreign)


def test_odd_messages_come_through_hold_as_they_were(one):
    blob = {f"a{n}": {"DataType": "Binary", "BinaryValue": bytes(range(256))} for n in range(10)}
    trace = {
        "AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-5759e988-bd862e3fe1be46a994272793"}
    }
    bodies = ["{no json", "ü ✓ \U0001f600 \t\r\n", "x" * 1_000_000]
    for body in bodies:
        one.send("main", body, "x" * 128, f"d{len(body)}", MessageAttributes=blob)
    one.send("dlq", "traced", "t", MessageSystemAttributes=trace)
    one.run("redrive", "--in-order", "--yes").ok()
    arrived = one.drained("main")
    assert by_group(arrived) == {"x" * 128: bodies, "t": ["traced"]}
    for message in arrived:
        if message["Body"] == "traced":
            assert message["Attributes"]["AWSTraceHeader"] == trace["AWSTraceHeader"]["StringValue"]
        else:
            assert {name: a["BinaryValue"] for name, a in message["MessageAttributes"].items()} == {
                name: bytes(range(256)) for name in blob
            }


@pytest.mark.parametrize("action", ["SendMessageBatch", "DeleteMessageBatch"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_says_how_to_finish_and_a_second_run_does(one, action, number):
    _broken_line(one)
    one.proxy.rule = on(action, nth=2, do=Kill(number=number, after=True))
    done = one.run("redrive", "--in-order", "--yes", "-o", "json")
    assert done.code == 128 + number, done
    assert (done.json()["moved"], done.json()["unfinished"]) == (0, True)
    assert re.search(r"`fifo-cli redrive --in-order( -[^`]*)?` again", done.err)
    assert "fifo-cli:rebuild" in _tags(one)
    one.proxy.rule = forward_all
    refused = one.run("redrive", "--yes")
    assert refused.code == 75
    assert re.search(r"`fifo-cli redrive --in-order( -[^`]*)?` finishes it", refused.err)
    one.run("redrive", "--in-order", "--yes").ok()
    _fixed(one)


def test_nothing_is_touched_without_an_answer_or_in_a_dry_run(one):
    _broken_line(one)
    asked = one.run("redrive", "--in-order")
    assert (asked.code, asked.out) == (2, "")
    dry = one.run("redrive", "--in-order", "--dry-run", "-o", "json").ok().json()
    assert (dry["dry_run"], dry["remaining"], dry["among"]) == (True, 2, 4)
    assert sorted(message["body"] for message in dry["messages"]) == ["2", "5"]
    assert one.run("redrive", "--in-order", "--count", "1", "--yes").code == 2
    assert one.run("redrive", "--in-order", "--engine", "native", "--yes").code == 2
    assert [one.total(role) for role in ("main", "dlq", "hold")] == [4, 2, 0]
    assert _tags(one) == {}


def test_answers_later_than_the_client_waits_lose_nothing(one):
    for n in range(1, 16):
        streamed(one, "dlq" if n % 3 == 0 else "main", n, f"g{n % 5}")
    one.proxy.edit = hidden(3)
    one.proxy.rule = weather(11, slow=1.5)
    aws = ImpatientAws(AwsEndpoint(endpoint_url=one.proxy.endpoint, local=True))
    restore = RestoreOrder(aws, one.names, NothingToPause())
    with contextlib.suppress(UnfinishedError):
        restore.perform()
    one.proxy.rule = forward_all
    # By force: the weather may have kept the lock there, and the process that made it is this one.
    restore.perform(force=True)
    assert by_group(one.drained("main")) == {
        f"g{k}": [str(n) for n in range(1, 16) if n % 5 == k] for k in range(5)
    }
    assert [one.total(role) for role in ("dlq", "hold")] == [0, 0]


class NothingToPause:
    """The flow of queues that nobody feeds."""

    def running(self) -> frozenset[FunctionRole]:
        return frozenset()

    def pause(self, stopped: Callable[[], bool]) -> None:
        """Nothing to do."""

    def resume(self, role: FunctionRole) -> None:
        raise AssertionError(role)


# --- With something to pause.


# Before each of them everything is as after the one before it.
CHANGES = ["PUT", "DisableRule", "EnableRule", "PUT again", "UntagQueue"]
CRASHES = [("PUT", False), ("EnableRule", False), *((change, True) for change in CHANGES)]


def _is(request: Request, change: str, seen: Counter[str]) -> bool:
    """Say whether a request is the change that is meant."""
    name = request.action.split(" ")[0]
    if name not in ("PUT", "DisableRule", "EnableRule", "UntagQueue"):
        return False
    seen[name] += 1
    return change == (name if seen[name] == 1 else f"{name} again")


def _deployed(stack: Stack, clients: Aws, fork_server: ForkServer, folder: Path, proxy: Proxy) -> Queues:
    name = new_name()
    project = Project.create(folder / name, name, "http://127.0.0.1:9", None, {})
    made = Queues(clients, project, proxy, fork_server)
    made.run("deploy", "--yes", timeout=120).ok()
    for role in ("main", "dlq", "hold"):
        made.urls[role] = made.sqs.get_queue_url(QueueName=made.names.queue(role))["QueueUrl"]
    return made


def _flow(one: Queues) -> tuple[bool, bool]:
    """Say whether enqueuer and worker are fed."""
    mappings = one.aws.client("lambda").list_event_source_mappings(
        FunctionName=one.names.function("enqueuer") + ":live"
    )
    rule = one.aws.client("events").describe_rule(Name=one.names.schedule(1))
    return mappings["EventSourceMappings"][0]["State"] in ("Enabled", "Enabling"), rule["State"] == "ENABLED"


def test_killed_while_it_pauses_or_resumes_what_ran_before_runs_in_the_end(
    stack, clients, fork_server, tmp_path
):
    def crash(case: tuple[str, bool]) -> None:
        change, after = case
        with Proxy(stack.endpoint) as proxy:
            one = _deployed(stack, clients, fork_server, tmp_path, proxy)
            _broken_line(one)
            kept = ("fifo-cli:pipeline", "fifo-cli:version", "fifo-cli:start")
            ours = {tag: value for tag, value in _tags(one).items() if tag in kept}
            seen: Counter[str] = Counter()
            proxy.edit = hidden(1)
            proxy.rule = lambda request: (
                Kill(after=after) if _is(request, change, seen) else forward_all(request)
            )
            assert one.run("redrive", "--in-order", "--yes").code == -9
            assert len(proxy.killed) == 1
            proxy.rule = forward_all
            unfinished = "fifo-cli:rebuild" in _tags(one)
            assert unfinished == (change != "UntagQueue" or not after)
            one.run("redrive", "--in-order", "--yes").ok()
            assert _flow(one) == (True, True), change
            assert by_group(one.drained("main")) == {"g": ["1", "2", "3", "4"], "h": ["5", "6"]}, change
            assert [one.total(role) for role in ("dlq", "hold")] == [0, 0]
            left = _tags(one)
            left.pop("fifo-cli:worker-resumed", None)  # there if the worker was paused and resumed
            assert left == ours

    with ThreadPoolExecutor(len(CRASHES)) as pool:
        list(pool.map(crash, CRASHES))


def test_a_paused_worker_stays_paused_and_status_shows_what_is_unfinished(
    stack, clients, fork_server, tmp_path
):
    with Proxy(stack.endpoint) as proxy:
        one = _deployed(stack, clients, fork_server, tmp_path, proxy)
        one.run("pause", "worker").ok()
        _broken_line(one)
        proxy.edit = hidden(1)
        proxy.rule = on("SendMessageBatch", nth=3, do=Kill(after=True))
        assert one.run("redrive", "--in-order", "--yes").code == -9
        proxy.rule = forward_all
        text = one.run("status")
        assert "fifo-cli redrive --in-order" in text.out
        one.run("redrive", "--in-order", "--yes").ok()
        assert _flow(one) == (True, False)
        assert by_group(one.drained("main")) == {"g": ["1", "2", "3", "4"], "h": ["5", "6"]}


@pytest.mark.parametrize("role", ["main", "hold"])
def test_a_message_too_large_for_a_lowered_limit_is_named_and_the_deploy_that_is_advised_ends_it(
    stack, clients, fork_server, tmp_path, role
):
    with Proxy(stack.endpoint) as proxy:
        one = _deployed(stack, clients, fork_server, tmp_path, proxy)
        _broken_line(one)
        large = one.send("main", "x" * 2_000, "large")
        one.sqs.set_queue_attributes(QueueUrl=one.urls[role], Attributes={"MaximumMessageSize": "1024"})
        proxy.edit = hidden(1)
        for _ in range(2):
            done = one.run("redrive", "--in-order", "--yes")
            assert done.code == 1
            assert "(group large): InvalidParameterValue" in done.err
            assert (large in done.err) == (role == "hold")  # in hold, it has another id
            advice = (
                rf"`fifo-cli deploy[^`]*` first: it lets {one.names.queue(role)} take messages of 1,048,576"
            )
            assert re.search(advice, done.err)
            assert _flow(one) == (False, False)
        assert "1024 bytes" in one.run("status").out
        one.run("deploy", "--yes").ok()
        assert _flow(one) == (False, False)
        one.run("redrive", "--in-order", "--yes").ok()
        assert _flow(one) == (True, True)
        assert one.total("dlq") == one.total("hold") == 0
        arrived = by_group(one.drained("main"))
        assert arrived == {**LONG, "large": ["x" * 2_000]}
