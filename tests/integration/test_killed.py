"""deploy and destroy killed at every call that changes something, before and after it took effect."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from fifo_cli.aws.session import Aws
from fifo_cli.model.names import PIPELINE_TAG, Names
from fifo_cli.model.settings import load
from fifo_cli.operations.deploy.deploy import deploy
from fifo_cli.operations.deploy.plan import plan
from tests.cli_harness import Project, Stack
from tests.faults import Action, Drop, Kill, Pass, forward_all
from tests.integration.emulators import Emulator
from tests.integration.fork_server import ForkServer
from tests.integration.proxy import Proxy, Request
from tests.integration.queue_pipeline import crashes

Make = Callable[..., Project]
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
ALARMS = {"sns_topic": "arn:aws:sns:us-east-1:000000000000:oncall"}
READS = ("Describe", "Get", "List", "Scan")


# What a command notes in its history, by a thread of its own: whether it comes before a kill is chance.
# test_history.py kills commands at these.
NOTED = ("CreateLogStream", "PutLogEvents")


def mutates(request: Request) -> bool:
    """Say whether a request is anything but one that is known to read."""
    verb = request.action.partition(" ")[0]
    return verb != "GET" and not verb.startswith(READS)


class KillEach:
    """A rule that kills the program once before each change and once after it, one kill a run.

    Without ``every``, only at the first change of each kind, such as a queue's creation, and in turns before
    one and after one: to die after a change leaves what to die before the next one leaves. What else the
    killed process had on its way does not arrive, so the calls are met one by one.
    """

    def __init__(self, *, every: bool) -> None:
        self._every = every
        self.before: set[str] = set()
        self.after: set[str] = set()
        self.is_dead = False
        self._lock = threading.Lock()

    @property
    def met(self) -> set[str]:
        """The changes at which it killed."""
        return self.before | self.after

    def begin(self) -> None:
        self.is_dead = False

    def __call__(self, request: Request) -> Action:
        if not mutates(request) or request.action in NOTED:
            return Pass()
        with self._lock:
            if self.is_dead or request.is_orphan:
                return Drop()
            kill = self._due(request)
            self.is_dead = kill is not None
            return kill or Pass()

    def _due(self, request: Request) -> Kill | None:
        """Note and return the kill that is due at a change, if there is one."""
        if self._every:
            call = _call(request)
            due = next((seen for seen in (self.before, self.after) if call not in seen), None)
        else:
            call = _kind(request)
            turn = self.after if len(self.met) % 2 else self.before
            due = None if call in self.met else turn
        if due is None:
            return None
        due.add(call)
        return Kill(after=due is self.after)


def _call(request: Request) -> str:
    """Tell one call from another; a client token is new for each, the lock and the start in each run."""
    body = re.sub(
        r'"(ClientToken|fifo-cli:(start|maintenance)|FIFO_CLI_START)": ?"(?:[^"\\]|\\.)*"',
        "",
        request.body.decode("utf-8", "replace"),
    )
    named = re.sub("clientToken=[^&]*", "", f"{request.action} {request.path}")
    return f"{named} {body}"


def _kind(request: Request) -> str:
    """Return what a request does, whichever resource it does it to."""
    return re.sub("t-[0-9a-f]{10}[^/]*|(?<=/)[0-9a-f-]{36}", "*", request.action)


def killed_at_every_change(
    fork_server: ForkServer,
    proxy: Proxy,
    folder: Path,
    *args: str,
    every: bool = True,
    look: Callable[[], None] = lambda: None,
) -> KillEach:
    """Run a command again and again, killed each time at a change not met before, until it ends well.

    ``look`` is called after each run.
    """
    rule = KillEach(every=every)
    proxy.rule = rule
    for _ in range(200):
        rule.begin()
        ran = fork_server.run(folder, [*args, "--yes", "--endpoint-url", proxy.endpoint], KEYS)
        look()
        if ran.code == 0:
            assert not rule.is_dead
            # A call that only completes what another run began need not come a second time.
            assert rule.before == rule.after if every else len(rule.before) - len(rule.after) in (0, 1)
            return rule
        assert ran.code == -9, f"{args}: exit {ran.code}\n{ran.err}"
        assert "Traceback" not in ran.err
    raise AssertionError(f"{args} was killed 200 times")


def made_of(stack: Stack | Emulator, name: str) -> list[str]:
    """Return the ARNs of all that carries a pipeline's tag."""
    make: Any = boto3.client
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    tagging = make("resourcegroupstaggingapi", endpoint_url=stack.endpoint, **keys)
    pages = tagging.get_paginator("get_resources").paginate(
        TagFilters=[{"Key": PIPELINE_TAG, "Values": [name]}]
    )
    arns = [one["ResourceARN"] for page in pages for one in page["ResourceTagMappingList"]]
    named = [arn for arn in _untagged(stack.aws(), name)]
    return sorted({*arns, *named})


def _untagged(aws: Aws, name: str) -> list[str]:
    """Return what the tagging API does not know of, by its name."""
    iam, cloudwatch, events = aws.client("iam"), aws.client("cloudwatch"), aws.client("events")
    client, scheduler, logs = aws.client("lambda"), aws.client("scheduler"), aws.client("logs")
    table = f":table/{name}/"
    return [
        *(one["Arn"] for one in iam.list_roles()["Roles"] if one["RoleName"].startswith(f"{name}-")),
        *(one["AlarmArn"] for one in cloudwatch.describe_alarms(AlarmNamePrefix=f"{name}-")["MetricAlarms"]),
        *(one["Arn"] for one in events.list_rules(NamePrefix=f"{name}-")["Rules"]),
        *(one["Arn"] for one in scheduler.list_schedules(NamePrefix=f"{name}-")["Schedules"]),
        *(
            one["arn"]
            for prefix in (f"/aws/lambda/{name}-", Names(name).operations_log)
            for one in logs.describe_log_groups(logGroupNamePrefix=prefix)["logGroups"]
        ),
        *(
            one["EventSourceMappingArn"]
            for one in client.list_event_source_mappings()["EventSourceMappings"]
            if table in one["EventSourceArn"]
        ),
        *(
            one["FunctionArn"]
            for one in client.list_functions()["Functions"]
            if one["FunctionName"].startswith(f"{name}-")
        ),
    ]


@pytest.fixture
def neighbour(project: Make, clients: Aws) -> Iterator[Project]:
    """Another pipeline in the account, which nothing may touch."""
    made = project()
    deploy(clients, load(made.config))
    yield made
    assert plan(clients, load(made.config)).changes == ()


def _lines(made: Project, *changes: tuple[str, str]) -> None:
    text = made.config.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    made.config.write_text(text)


@crashes
def test_a_deploy_killed_at_every_change_is_completed_by_the_next(
    project: Make, proxy: Proxy, fork_server: ForkServer, clients: Aws, neighbour: Project, every: bool
) -> None:
    made = project(alarms=ALARMS)
    rule = killed_at_every_change(fork_server, proxy, made.folder, "deploy", every=every)
    assert len(rule.met) >= (25 if every else 10)
    assert plan(clients, load(made.config)).changes == ()


@crashes
def test_a_deploy_of_changes_killed_at_every_one_is_completed_by_the_next(
    project: Make,
    proxy: Proxy,
    fork_server: ForkServer,
    clients: Aws,
    stack: Stack,
    neighbour: Project,
    every: bool,
) -> None:
    """New code and memory, rules become schedules, alarms go: creates, updates and deletes together."""
    made = project(
        alarms=ALARMS,
        functions={"memory": 256},
        schedule={"expressions": ["rate(365 days)", "rate(364 days)"]},
    )
    deploy(clients, load(made.config))
    _lines(
        made,
        ('"messages_per_run" = 10', '"messages_per_run" = 7\n"timezone" = "Europe/Berlin"'),
        ('"memory" = 256', '"memory" = 512'),
        ('"retention" = "4d"', '"retention" = "5d"'),
        ('["rate(365 days)", "rate(364 days)"]', '["rate(365 days)"]'),
        (f'[alarms]\n"sns_topic" = "{ALARMS["sns_topic"]}"\n', ""),
    )
    rule = killed_at_every_change(fork_server, proxy, made.folder, "deploy", every=every)
    assert len(rule.met) >= (20 if every else 10)
    assert plan(clients, load(made.config)).changes == ()
    assert clients.client("events").list_rules(NamePrefix=f"{made.name}-")["Rules"] == []
    assert not any(":alarm:" in arn for arn in made_of(stack, made.name))


@crashes
def test_a_destroy_killed_at_every_change_leaves_nothing_behind(
    project: Make,
    proxy: Proxy,
    fork_server: ForkServer,
    clients: Aws,
    stack: Stack,
    neighbour: Project,
    every: bool,
) -> None:
    made = project(alarms=ALARMS)
    deploy(clients, load(made.config))
    theirs = made_of(stack, neighbour.name)
    assert len(made_of(stack, made.name)) >= 17
    rule = killed_at_every_change(fork_server, proxy, made.folder, "destroy", every=every)
    assert len(rule.met) >= (20 if every else 10)
    assert made_of(stack, made.name) == []
    assert made_of(stack, neighbour.name) == theirs


def test_a_rollback_killed_at_either_move_is_completed_by_the_next(
    project: Make, proxy: Proxy, fork_server: ForkServer, clients: Aws
) -> None:
    made = project()
    for count in (10, 7, 5):
        text = re.sub(r'"messages_per_run" = \d+', f'"messages_per_run" = {count}', made.config.read_text())
        made.config.write_text(text)
        deploy(clients, load(made.config))
    rule = killed_at_every_change(fork_server, proxy, made.folder, "rollback", "--to", "2")
    assert len(rule.after) == 2
    client = clients.client("lambda")
    for role in ("enqueuer", "worker"):
        alias = client.get_alias(FunctionName=made.names.function(role), Name="live")
        assert alias["FunctionVersion"] == "2"
    # Killed between the two, a plain rollback goes to the older of both, and no further.
    client.update_alias(FunctionName=made.names.function("worker"), Name="live", FunctionVersion="3")
    proxy.rule = forward_all
    fork_server.run(made.folder, ["rollback", "--yes", "--endpoint-url", proxy.endpoint], KEYS).ok()
    assert client.get_alias(FunctionName=made.names.function("worker"), Name="live")["FunctionVersion"] == "2"
    deploy(clients, load(made.config))
    assert plan(clients, load(made.config)).changes == ()
