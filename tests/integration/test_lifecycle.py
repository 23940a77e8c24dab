"""pause, resume, rollback and destroy on a deployed pipeline, as users run them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from fifo_cli.aws.session import Aws
from fifo_cli.errors import BusyError
from fifo_cli.model.settings import load
from fifo_cli.operations.deploy.deploy import deploy
from fifo_cli.operations.deploy.destroy import destroy
from fifo_cli.operations.deploy.pause import PauseState, pause, pause_state, resume
from fifo_cli.operations.maintenance_lock import RESTORE_TAG
from tests.cli_harness import Project, wait_until


@pytest.fixture
def deployed(project: Callable[..., Project]) -> Project:
    made = project()
    made.local("deploy", "--yes").ok()
    return made


def plan_is_empty(project: Project) -> bool:
    return project.local("plan", "--check").code == 0


def test_a_pause_lasts_through_a_deploy_until_resumed(deployed):
    assert deployed.local("pause", "-o", "json").ok().json() == {"enqueuer": "paused", "worker": "paused"}
    deployed.local("deploy", "--yes").ok()
    deployed.local("put", '{"id": "1", "grp": "g"}').ok()
    assert deployed.local("resume", "worker", "-o", "json").ok().json() == {
        "enqueuer": "paused",
        "worker": "running",
    }
    assert deployed.local("resume", "-o", "json").ok().json() == {"enqueuer": "running", "worker": "running"}

    def enqueued() -> bool:
        return bool(deployed.local("depth", "-o", "json").json()["queues"]["main"]["visible"] == 1)

    wait_until(enqueued, interval=0.5)
    assert plan_is_empty(deployed)


def test_rollback_moves_both_functions_back_and_deploy_forward_again(deployed, clients: Aws):
    config = deployed.config.read_text()
    deployed.config.write_text(config.replace('messages_per_run" = 10', 'messages_per_run" = 7'))
    assert deployed.config.read_text() != config
    deployed.local("deploy", "--yes").ok()
    assert deployed.local("rollback").code == 2  # nobody to ask
    moves = deployed.local("rollback", "--yes", "-o", "json").ok().json()["functions"]
    assert [(move["name"], move["from"], move["to"]) for move in moves] == [
        (deployed.names.function("enqueuer"), "2", "1"),
        (deployed.names.function("worker"), "2", "1"),
    ]
    for role in ("enqueuer", "worker"):
        name = deployed.names.function(role)
        assert clients.client("lambda").get_alias(FunctionName=name, Name="live")["FunctionVersion"] == "1"
    assert not plan_is_empty(deployed)
    deployed.local("deploy", "--yes").ok()
    assert plan_is_empty(deployed)


def left_of(project: Project, aws: Aws) -> list[str]:
    """Return what still exists under the pipeline's name."""
    name = project.name
    tables = [table for table in aws.client("dynamodb").list_tables()["TableNames"] if table == name]
    queues = aws.client("sqs").list_queues(QueueNamePrefix=name).get("QueueUrls", [])
    functions = [one["FunctionName"] for one in aws.client("lambda").list_functions()["Functions"]]
    roles = [one["RoleName"] for one in aws.client("iam").list_roles()["Roles"]]
    rules = [one["Name"] for one in aws.client("events").list_rules(NamePrefix=name)["Rules"]]
    groups = aws.client("logs").describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"]
    mappings = [
        one["UUID"]
        for one in aws.client("lambda").list_event_source_mappings()["EventSourceMappings"]
        if f"table/{name}/" in one["EventSourceArn"]
    ]
    mine = [one for one in (*functions, *roles) if one.startswith(f"{name}-")]
    return [*tables, *queues, *mine, *rules, *[group["logGroupName"] for group in groups], *mappings]


def test_destroy_leaves_nothing_behind_and_touches_no_other_pipeline(deployed, project, clients: Aws):
    other = project()
    other.local("deploy", "--yes").ok()
    assert deployed.local("destroy").code == 2
    assert deployed.local("destroy", "--dry-run").ok()
    assert left_of(deployed, clients)
    deployed.local("destroy", "--yes").ok()
    assert left_of(deployed, clients) == []
    assert deployed.local("destroy", "--yes", "-o", "json").ok().json()["changes"] == []
    assert plan_is_empty(other)


def test_a_table_that_was_there_before_stays(project, clients: Aws):
    made = project(table={"create": False})
    clients.client("dynamodb").create_table(
        TableName=made.name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    made.local("deploy", "--yes").ok()
    made.local("destroy", "--yes").ok()
    assert left_of(made, clients) == [made.name]


@pytest.mark.parametrize("audience", ["operator", "monitor", "deployer"])
def test_a_policy_names_this_pipelines_resources(deployed, audience):
    policy = deployed.local("policy", audience, "-o", "json").ok().json()
    assert policy["Version"] == "2012-10-17"
    assert deployed.name in json.dumps(policy)
    if audience == "monitor":
        actions = [action for one in policy["Statement"] for action in one["Action"]]
        assert "sqs:ReceiveMessage" not in actions


@pytest.mark.parametrize(
    ("audience", "boundary", "is_warned"),
    [
        ("deployer", None, True),
        ("deployer", "arn:aws:iam::000000000000:policy/pipelines", False),
        ("operator", None, False),
    ],
)
def test_a_deployers_policy_without_a_boundary_says_that_it_is_an_administrators(
    project, audience, boundary, is_warned
):
    functions = {"permissions_boundary": boundary} if boundary else {}
    printed = project(functions=functions).local("policy", audience).ok()
    assert printed.json()["Version"] == "2012-10-17"
    warning = "without a permissions boundary, whoever holds this policy can do all that can be done"
    assert (warning in printed.err) is is_warned
    assert ("Set [functions] permissions_boundary" in printed.err) is is_warned
    assert "permissions boundary" not in printed.out


def test_while_restoring_order_is_unfinished_nothing_is_resumed(deployed, clients: Aws):
    names, loaded = deployed.names, load(deployed.config)
    sqs, functions, events = clients.client("sqs"), clients.client("lambda"), clients.client("events")
    url = sqs.get_queue_url(QueueName=names.main)["QueueUrl"]
    sqs.tag_queue(QueueUrl=url, Tags={RESTORE_TAG: "merge since 2026-01-02T03:04:05.000Z enqueuer worker"})
    pause(clients, loaded.settings)

    for part in ("all", "worker", "enqueuer"):
        with pytest.raises(BusyError, match="an in-order redrive is unfinished"):
            resume(clients, loaded.settings, part)
    refused = deployed.local("resume")
    assert refused.code == 75
    assert re.search(r"`fifo-cli redrive --in-order( -[^`]*)?` finishes it", refused.err)

    mapping = functions.list_event_source_mappings(FunctionName=names.function("enqueuer"))
    functions.delete_event_source_mapping(UUID=mapping["EventSourceMappings"][0]["UUID"])
    events.remove_targets(Rule=names.schedule(1), Ids=["worker"])
    events.delete_rule(Name=names.schedule(1))
    warned = deploy(clients, loaded).plan.warnings
    assert any("what deploy makes again does not run before that" in one for one in warned)
    assert pause_state(clients, loaded.settings) == PauseState("paused", "paused")

    sqs.send_message(QueueUrl=url, MessageBody="1", MessageGroupId="g", MessageDeduplicationId="1")
    asked: list[str] = []
    planned = destroy(clients, loaded.settings, confirm=lambda plan, data: asked.extend(data), dry_run=False)
    assert "an in-order redrive is unfinished" in asked[0]
    assert asked[0] in planned.warnings
    assert left_of(deployed, clients) == []


def test_a_rule_of_somebody_elses_does_not_wake_a_paused_worker(deployed, clients: Aws):
    events = clients.client("events")
    events.put_rule(Name=deployed.names.schedule(9), ScheduleExpression="rate(1 day)", State="ENABLED")
    pause(clients, load(deployed.config).settings, "worker")
    config = deployed.config.read_text()
    deployed.config.write_text(config.replace('"expressions" = [', '"expressions" = ["rate(300 days)", '))
    assert deployed.config.read_text() != config
    loaded = load(deployed.config)
    deploy(clients, loaded)
    assert events.describe_rule(Name=deployed.names.schedule(2))["State"] == "DISABLED"
    assert pause_state(clients, loaded.settings).worker == "paused"
    events.delete_rule(Name=deployed.names.schedule(9))
