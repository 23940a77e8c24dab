"""pause, resume, rollback and destroy on a deployed pipeline, as users run them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from fifo_cli.aws.session import Aws
from tests.bed import Project, wait_until


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

    wait_until(enqueued, timeout=20, interval=0.5)
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
