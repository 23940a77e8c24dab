"""EventBridge Scheduler is asked where a pipeline uses it, or did: elsewhere it may be forbidden."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from fifo_cli.aws.session import Aws
from fifo_cli.model.names import PIPELINE_TAG, SCHEDULER_TAG
from fifo_cli.model.settings import load
from fifo_cli.operations.deploy.deploy import deploy
from fifo_cli.operations.deploy.plan import plan
from tests.cli_harness import Project, Ran
from tests.faults import Action, AnswerWithError, Pass
from tests.integration.fork_server import ForkServer
from tests.integration.proxy import Proxy, Request
from tests.integration.test_deploy import settings_of
from tests.integration.test_killed import KEYS, killed_at_every_change

Make = Callable[..., Project]
Run = Callable[..., Ran]
ZONED = {"expressions": ["rate(365 days)"], "timezone": "Europe/Berlin"}
PLAIN = {"expressions": ["rate(365 days)"]}


def of_scheduler(request: Request) -> bool:
    return request.path.startswith("/schedules")


def forbidden(request: Request) -> Action:
    """Answer as an organisation does that forbids EventBridge Scheduler."""
    denied = AnswerWithError("AccessDeniedException", "explicit deny in a service control policy", status=403)
    return denied if of_scheduler(request) else Pass()


@pytest.fixture
def run(fork_server: ForkServer, proxy: Proxy) -> Run:
    def ran(made: Project, *args: str) -> Ran:
        return fork_server.run(made.folder, [*args, "--endpoint-url", proxy.endpoint], KEYS)

    return ran


def schedules(clients: Aws, made: Project) -> list[str]:
    found = clients.client("scheduler").list_schedules(NamePrefix=f"{made.name}-")["Schedules"]
    return [one["Name"] for one in found]


def deployed(clients: Aws, made: Project, schedule: Any) -> None:
    made.configure(settings_of(made, schedule=schedule))
    deploy(clients, load(made.config))


def left_over(clients: Aws, made: Project) -> str:
    """Make a schedule as a former deploy would have left it, and return its name."""
    client = clients.client("scheduler")
    worker = made.names.function("worker")
    iam = clients.client("iam")
    client.create_schedule(
        Name=f"{made.name}-7",
        GroupName="default",
        ScheduleExpression="rate(1 minute)",
        FlexibleTimeWindow={"Mode": "OFF"},
        State="ENABLED",
        Description=f"{PIPELINE_TAG}={made.name}",
        Target={
            "Arn": f"arn:aws:lambda:us-east-1:000000000000:function:{worker}:live",
            "RoleArn": iam.get_role(RoleName=worker)["Role"]["Arn"],
        },
    )
    return f"{made.name}-7"


def test_a_pipeline_of_rules_lives_its_whole_life_without_scheduler(
    project: Make, proxy: Proxy, run: Run
) -> None:
    made = project()
    proxy.rule = forbidden
    for args in (
        ("plan",),
        ("deploy", "--yes"),
        ("plan", "--check"),
        ("pause",),
        ("resume",),
        ("check",),
        ("redrive", "--in-order", "--yes"),
        ("destroy", "--yes"),
    ):
        ended = run(made, *args)
        assert ended.code == 0, f"{args}: {ended.err}"
    assert not [one for one in proxy.requests if of_scheduler(one)]


def test_a_pipeline_of_schedules_asks_and_says_what_is_denied(
    project: Make, proxy: Proxy, run: Run, clients: Aws
) -> None:
    made = project()
    deployed(clients, made, ZONED)
    assert clients.client("sqs").list_queue_tags(QueueUrl=main_url(clients, made))["Tags"][SCHEDULER_TAG]
    proxy.rule = forbidden
    for args in (("plan",), ("deploy", "--yes"), ("pause",), ("destroy", "--yes")):
        ended = run(made, *args)
        assert (ended.code, ended.out) == (3, ""), args
        assert "permission denied (explicit deny in a service control policy)" in ended.err


def main_url(clients: Aws, made: Project) -> str:
    return clients.client("sqs").get_queue_url(QueueName=made.names.main)["QueueUrl"]


def untagged(clients: Aws, made: Project) -> None:
    """Take the tag from main, as an earlier version never wrote it."""
    clients.client("sqs").untag_queue(QueueUrl=main_url(clients, made), TagKeys=[SCHEDULER_TAG])


def switched(clients: Aws, made: Project) -> None:
    """Go back to rules, as this version does."""
    deployed(clients, made, PLAIN)


def switched_and_killed(clients: Aws, made: Project) -> None:
    """Go back to rules with an earlier version that is cut off: no tag, but the role's trust."""
    untagged(clients, made)
    made.configure(settings_of(made, schedule=PLAIN))


@pytest.mark.parametrize("go_back", [switched, switched_and_killed])
def test_a_schedule_left_over_from_a_former_deploy_is_seen_paused_and_deleted(
    project: Make, run: Run, clients: Aws, go_back: Callable[[Aws, Project], None]
) -> None:
    made = project()
    deployed(clients, made, ZONED)
    go_back(clients, made)
    name = left_over(clients, made)
    assert ("delete", "schedule", name) in [
        (one.action, one.kind, one.name) for one in plan(clients, load(made.config)).changes
    ]
    status = json.loads(run(made, "status", "-o", "json").out)
    assert (name, "surplus") in [(one["name"], one["state"]) for one in status["resources"]]
    run(made, "pause", "worker").ok()
    client = clients.client("scheduler")
    assert client.get_schedule(Name=name, GroupName="default")["State"] == "DISABLED"
    deploy(clients, load(made.config))
    assert schedules(clients, made) == []
    left_over(clients, made)
    run(made, "destroy", "--yes").ok()
    assert schedules(clients, made) == []


def test_a_switch_to_rules_killed_at_every_change_leaves_no_schedule_that_nobody_sees(
    project: Make, proxy: Proxy, fork_server: ForkServer, clients: Aws
) -> None:
    made = project()
    deployed(clients, made, ZONED)
    untagged(clients, made)
    made.configure(settings_of(made, schedule=PLAIN))
    rule = killed_at_every_change(fork_server, proxy, made.folder, "deploy")
    assert any(call.startswith("DELETE /schedules") for call in rule.after)
    assert schedules(clients, made) == []
    assert plan(clients, load(made.config)).changes == ()


def test_queues_that_are_kept_lose_the_tag_with_the_last_schedule(
    project: Make, run: Run, clients: Aws, proxy: Proxy
) -> None:
    made = project()
    deployed(clients, made, ZONED)
    run(made, "destroy", "--keep-queues", "--yes").ok()
    tags = clients.client("sqs").list_queue_tags(QueueUrl=main_url(clients, made)).get("Tags", {})
    assert SCHEDULER_TAG not in tags
    made.configure(settings_of(made, schedule=PLAIN))
    proxy.rule = forbidden
    run(made, "deploy", "--yes").ok()
