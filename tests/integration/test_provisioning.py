"""Pipelines beside one another, versions over time, and rules that become schedules and rules again.

What takes an ``emulator`` runs on the embedded stack and on moto's server. The others run a command with
``--local``, which is the embedded stack's, or say why not.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from fifo_cli.aws.session import Aws
from fifo_cli.model.names import FUNCTION_ROLES
from fifo_cli.model.settings import load
from fifo_cli.operations.deploy.deploy import deploy
from fifo_cli.operations.deploy.destroy import destroy
from fifo_cli.operations.deploy.plan import plan
from fifo_cli.operations.deploy.rollback import rollback
from tests.cli_harness import Project, Stack, new_name, to_toml
from tests.integration.emulators import Emulator
from tests.integration.screens import shown
from tests.integration.test_deploy import settings_of
from tests.integration.test_killed import made_of

Make = Callable[..., Project]
TOPIC = "arn:aws:sns:us-east-1:000000000000:oncall"


def deployed(clients: Aws, made: Project, **tables: Any) -> None:
    made.configure(settings_of(made, **tables))
    deploy(clients, load(made.config))


def test_a_pipeline_whose_name_begins_like_anothers_does_not_see_it(
    project: Make, emulator: Emulator
) -> None:
    """ "orders" and "orders-prod" and "orders-1": names, rules and alarms begin alike."""
    clients = emulator.aws()
    name = new_name()
    alarms = {"sns_topic": TOPIC}
    schedule = {"expressions": ["rate(365 days)", "rate(364 days)"]}
    names = [name, f"{name}-prod", f"{name}-1"]
    made = [project(pipeline={"name": one}, alarms=alarms, schedule=schedule) for one in names]
    for one in made:
        deploy(clients, load(one.config))
    assert [emulator.drift(clients, load(one.config)) for one in made] == [set(), set(), set()]
    theirs = [made_of(emulator, one) for one in names[1:]]
    # Fewer schedules and no alarms in the first are deletes: of its own only.
    deployed(clients, made[0])
    assert [made_of(emulator, one) for one in names[1:]] == theirs
    destroy(clients, load(made[0].config).settings)
    assert [made_of(emulator, one) for one in names[1:]] == theirs
    assert [emulator.drift(clients, load(one.config)) for one in made[1:]] == [set(), set()]


def test_what_starts_the_worker_is_changed_there_and_back_and_nothing_stays_behind(
    project: Make, emulator: Emulator
) -> None:
    clients, made = emulator.aws(), project()
    queue = {"worker": {"trigger": "queue", "max_functions": 7}}
    for tables in ({}, queue, {}):
        deployed(clients, made, **tables)
        assert emulator.drift(clients, load(made.config)) == set()
    destroy(clients, load(made.config).settings)
    assert made_of(emulator, made.name) == []


def test_a_pipeline_is_deployed_put_right_and_destroyed(project: Make, emulator: Emulator) -> None:
    clients, made = emulator.aws(), project(alarms={"sns_topic": TOPIC})
    deploy(clients, load(made.config))
    assert emulator.drift(clients, load(made.config)) == set()
    names = made.names
    _meddle(clients, made)
    assert emulator.drift(clients, load(made.config)) == {
        ("update", "queue", names.main, "retention"),
        ("update", "queue", names.hold, "redrive"),
        ("update", "log-group", names.log_group("worker"), "retention_days"),
        ("update", "role", names.function("worker"), "other_policies"),
        ("update", "role", names.function("enqueuer"), "policy"),
        ("update", "rule", names.schedule(1), "expression"),
        ("update", "function", names.function("worker"), "memory"),
        ("create", "alarm", names.alarm("dlq"), ""),
    }
    deploy(clients, load(made.config))
    assert emulator.drift(clients, load(made.config)) == set()
    destroy(clients, load(made.config).settings)
    assert made_of(emulator, made.name) == []
    deploy(clients, load(made.config))


def _meddle(clients: Aws, made: Project) -> None:
    names, anything = made.names, {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [anything]})
    sqs, iam = clients.client("sqs"), clients.client("iam")
    for queue, attributes in (
        (names.main, {"MessageRetentionPeriod": "60"}),
        (names.hold, {"RedrivePolicy": ""}),
    ):
        change: Any = attributes
        sqs.set_queue_attributes(QueueUrl=sqs.get_queue_url(QueueName=queue)["QueueUrl"], Attributes=change)
    iam.put_role_policy(RoleName=names.function("worker"), PolicyName="mine", PolicyDocument=document)
    iam.put_role_policy(RoleName=names.function("enqueuer"), PolicyName="fifo-cli", PolicyDocument=document)
    clients.client("logs").put_retention_policy(logGroupName=names.log_group("worker"), retentionInDays=7)
    clients.client("events").put_rule(Name=names.schedule(1), ScheduleExpression="rate(9 days)")
    clients.client("lambda").update_function_configuration(
        FunctionName=names.function("worker"), MemorySize=512
    )
    clients.client("cloudwatch").delete_alarms(AlarmNames=[names.alarm("dlq")])


def test_five_environments_of_one_file_live_beside_one_another(
    project: Make, clients: Aws, stack: Stack
) -> None:
    base = project()
    name = base.name
    envs = {f"env.{one}.pipeline": {"name": f"{name}-{one}"} for one in ("dev", "test", "stage", "prod")}
    tables = {f"env.{one}.table": {"name": f"{name}-{one}"} for one in ("dev", "test", "stage", "prod")}
    queues = {"env.prod.queue": {"retention": "14d"}}
    text = base.config.read_text()
    for header, values in {**envs, **tables, **queues}.items():
        body = to_toml({"x": values}).partition("\n")[2]
        text += f"\n[{header}]\n{body}\n"
    base.config.write_text(text)
    everywhere = [None, "dev", "test", "stage", "prod"]
    for env in everywhere:
        deploy(clients, load(base.config, env=env))
    for env in everywhere:
        assert plan(clients, load(base.config, env=env)).changes == (), env
    sqs = clients.client("sqs")
    retention = {}
    for env in everywhere:
        url = sqs.get_queue_url(QueueName=f"{name}-{env}.fifo" if env else f"{name}.fifo")["QueueUrl"]
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["MessageRetentionPeriod"])
        retention[env] = found["Attributes"]["MessageRetentionPeriod"]
    assert retention == {**dict.fromkeys(everywhere, "345600"), "prod": "1209600"}
    # A process is known by --env and destroys that one alone.
    base.local("destroy", "--env", "stage", "--yes").ok()
    assert made_of(stack, f"{name}-stage") == []
    assert base.local("plan", "--check", "--env", "stage").code == 1
    for env in (None, "dev", "test", "prod"):
        assert plan(clients, load(base.config, env=env)).changes == (), env


def test_an_environment_that_is_not_in_the_file_is_refused(project: Make) -> None:
    ran = project().local("deploy", "--env", "prdo", "--yes")
    assert (ran.code, ran.out) == (2, "")
    assert "prdo" in ran.err


def versions(clients: Aws, made: Project) -> dict[str, list[int]]:
    client = clients.client("lambda")
    found: dict[str, list[int]] = {}
    for role in FUNCTION_ROLES:
        listed = client.list_versions_by_function(FunctionName=made.names.function(role))["Versions"]
        found[role] = sorted(int(one["Version"]) for one in listed if one["Version"] != "$LATEST")
    return found


def live(clients: Aws, made: Project) -> list[int]:
    client = clients.client("lambda")
    return [
        int(client.get_alias(FunctionName=made.names.function(role), Name="live")["FunctionVersion"])
        for role in FUNCTION_ROLES
    ]


def test_ten_versions_are_kept_and_never_is_the_live_or_the_previous_one_removed(
    project: Make, clients: Aws
) -> None:
    """Not on moto: it counts the versions that are left, so a number comes twice; Lambda's never does."""
    made = project()

    def release(count: int) -> None:
        deployed(clients, made, schedule={"expressions": ["rate(365 days)"], "messages_per_run": count})

    release(1)
    # As ten deploys of another setting each would: a version of both functions.
    for memory in range(300, 310):
        for role in FUNCTION_ROLES:
            function = made.names.function(role)
            clients.client("lambda").update_function_configuration(FunctionName=function, MemorySize=memory)
            number = clients.client("lambda").publish_version(FunctionName=function)["Version"]
            clients.client("lambda").update_alias(FunctionName=function, Name="live", FunctionVersion=number)
    release(12)
    assert versions(clients, made) == {role: list(range(3, 13)) for role in FUNCTION_ROLES}
    rollback(clients, made.names, to=3)
    assert live(clients, made) == [3, 3]
    # 3 is the previous version now, and so is kept beyond ten.
    release(13)
    assert live(clients, made) == [13, 13]
    assert versions(clients, made) == {role: list(range(3, 14)) for role in FUNCTION_ROLES}
    rollback(clients, made.names, to=3)
    assert live(clients, made) == [3, 3]
    before = versions(clients, made)
    assert rollback(clients, made.names, to=3).functions[0].target == 3
    deploy(clients, load(made.config))
    assert live(clients, made)[0] in (13, 14)
    assert set(before["worker"]) - set(versions(clients, made)["worker"]) <= {4}
    settled = versions(clients, made)
    deploy(clients, load(made.config))
    assert versions(clients, made) == settled


@pytest.mark.parametrize("expression", ["rate(2 days)", "cron(0 18 ? * MON-FRI *)"])
def test_rules_become_schedules_and_rules_again_and_nothing_stays_behind(
    project: Make, emulator: Emulator, expression: str
) -> None:
    clients, made = emulator.aws(), project()
    two = {"expressions": [expression, "rate(3 days)"]}
    deployed(clients, made, schedule=two)
    as_rules = made_of(emulator, made.name)
    roles = clients.client("iam").get_role(RoleName=made.names.function("worker"))["Role"]
    deployed(clients, made, schedule={**two, "timezone": "America/Los_Angeles"})
    assert clients.client("events").list_rules(NamePrefix=f"{made.name}-")["Rules"] == []
    assert len(clients.client("scheduler").list_schedules(NamePrefix=f"{made.name}-")["Schedules"]) == 2
    permissions = clients.client("lambda")
    with pytest.raises(permissions.exceptions.ResourceNotFoundException):
        permissions.get_policy(FunctionName=made.names.function("worker"), Qualifier="live")
    deployed(clients, made, schedule=two)
    assert clients.client("scheduler").list_schedules(NamePrefix=f"{made.name}-")["Schedules"] == []
    assert made_of(emulator, made.name) == as_rules
    after = clients.client("iam").get_role(RoleName=made.names.function("worker"))["Role"]
    assert after["AssumeRolePolicyDocument"] == roles["AssumeRolePolicyDocument"]
    assert emulator.drift(clients, load(made.config)) == set()


def test_a_pause_outlasts_the_change_from_rules_to_schedules(project: Make, clients: Aws) -> None:
    made = project()
    deploy(clients, load(made.config))
    made.local("pause", "worker").ok()
    deployed(clients, made, schedule={"expressions": ["rate(2 days)"], "timezone": "Europe/Berlin"})
    states = [
        one["State"] for one in clients.client("scheduler").list_schedules(NamePrefix=made.name)["Schedules"]
    ]
    assert states == ["DISABLED"]
    made.local("resume", "worker").ok()
    assert plan(clients, load(made.config)).changes == ()


def test_what_costs_data_is_asked_about_by_a_second_question_and_reported_once(
    project: Make, clients: Aws
) -> None:
    made = project()
    deploy(clients, load(made.config))
    made.configure(settings_of(made, queue={"retention": "1d"}))
    with shown("deploy", "--local", folder=made.folder, lines=60) as screen:
        screen.until("Go ahead? [y/N]")
        assert screen.text.count("retention goes down") == 1
        screen.type("y\n")
        screen.until("accept what cannot be undone afterwards")
        screen.type("n\n")
        assert screen.end() == 2
        assert "Nothing was changed." in screen.text
    assert [one.name for one in plan(clients, load(made.config)).changes] == [made.names.main]
    message = made.local("plan").ok()
    assert message.err.count("retention goes down") == 1
    assert "retention goes down" not in message.out
    # --yes answers both.
    done = made.local("deploy", "--yes").ok()
    assert done.err.count("retention goes down") == 1
    assert "0 created, 1 updated, 0 deleted, 15 unchanged" in done.out
    assert plan(clients, load(made.config)).changes == ()
