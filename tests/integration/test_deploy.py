"""deploy and plan: converge, stay, repair, refuse, survive.

What takes an ``emulator`` runs on the embedded stack and on moto's server; docs/provisioning.md lists how
they differ. The others need what moto does not have.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.errors import AwsError, FifoError, UsageError
from fifo_cli.events import Event, Warned
from fifo_cli.model import settings as model
from fifo_cli.model.names import PIPELINE_TAG
from fifo_cli.model.planning import Change, DeployResult, Plan
from fifo_cli.operations.deploy.deploy import deploy
from fifo_cli.operations.deploy.plan import plan
from tests import faults
from tests.cli_harness import Project, Stack, wait_until
from tests.integration.emulators import Emulator
from tests.integration.proxy import Proxy, Request

Make = Callable[..., Project]
ALL_KINDS = {
    "table": 1, "queue": 4, "log-group": 3, "role": 2, "function": 2, "alias": 2,
    "event-source-mapping": 1, "rule": 1,
}  # fmt: skip


def load(project: Project) -> model.Project:
    return model.load(project.config)


def deployed(aws: Aws, project: Project, **options: Any) -> DeployResult:
    return deploy(aws, load(project), **options)


def summary(changes: tuple[Change, ...]) -> list[tuple[str, str, str]]:
    return [(one.action, one.kind, one.name) for one in changes]


def paths(made: Plan) -> list[tuple[str, str, Any, Any]]:
    return [(change.name, one.path, one.old, one.new) for change in made.changes for one in change.diff]


def drift(made: Plan) -> list[tuple[str, str, str]]:
    return [(change.action, change.kind, one.path) for change in made.changes for one in change.diff]


def test_deploy_creates_the_pipeline_and_a_second_run_changes_nothing(project: Make, clients: Aws) -> None:
    made = project()
    first = deployed(clients, made)
    asked: list[Plan] = []
    second = deployed(clients, made, confirm=asked.append)
    kinds = [change.kind for change in first.plan.changes]
    assert {kind: kinds.count(kind) for kind in kinds} == ALL_KINDS
    assert first.plan.summary == {"create": 16, "update": 0, "delete": 0, "unchanged": 0}
    assert second.document() == {
        "changes": [],
        "summary": {"create": 0, "update": 0, "delete": 0, "unchanged": 16},
        "outputs": first.document()["outputs"],
    }
    assert asked == []
    names = made.names
    outputs = first.document()["outputs"]
    assert outputs["queues"]["main"].endswith(f"/{names.main}")
    assert outputs["functions"]["worker"].endswith(f":function:{names.function('worker')}:live")
    assert outputs["stream"].startswith(f"arn:aws:dynamodb:us-east-1:000000000000:table/{made.name}/stream/")
    assert outputs["schedules"] == [
        {"name": f"{made.name}-1", "expression": "rate(365 days)", "enabled": True, "next_run": None}
    ]


def test_an_item_put_into_the_table_becomes_a_message_of_the_deployed_pipeline(
    project: Make, clients: Aws
) -> None:
    made = project()
    url = deployed(clients, made).document()["outputs"]["queues"]["main"]
    clients.client("dynamodb").put_item(TableName=made.name, Item={"id": {"S": "1"}, "grp": {"S": "a"}})
    bodies: list[Any] = []

    def arrived() -> bool:
        found = clients.client("sqs").receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages", [])
        bodies.extend(json.loads(one["Body"]) for one in found)
        return bool(bodies)

    wait_until(arrived)
    assert bodies == [{"id": "1", "grp": "a"}]


def test_new_settings_publish_a_version_and_an_unchanged_function_does_not(
    project: Make, clients: Aws
) -> None:
    made = project()
    deployed(clients, made)
    changed = model.load(made.config)
    made.configure(
        {
            "pipeline": {"name": made.name},
            "table": {"name": made.name},
            "message": {"group": "other"},
            "queue": {"retention": "4d"},
            "schedule": {"expressions": ["rate(365 days)"]},
            "api": [{"url": changed.settings.api[0].url, "timeout": "2s"}],
            "tags": {"team": "payments"},
        }
    )
    result = deployed(clients, made)
    functions = [f"{made.name}-enqueuer", f"{made.name}-worker"]
    moved = [one for one in result.plan.changes if one.kind in ("function", "alias")]
    assert summary(tuple(moved)) == [
        *(("update", "function", name) for name in functions),
        *(("update", "alias", f"{name}:live") for name in functions),
    ]
    assert result.outputs.versions == {"enqueuer": "2", "worker": "2"}
    client = clients.client("lambda")
    # A rollback by hand is drift, and is fixed without a third version: that code is published already.
    client.update_alias(FunctionName=functions[1], Name="live", FunctionVersion="1")
    repaired = deployed(clients, made)
    assert summary(repaired.plan.changes) == [("update", "alias", f"{functions[1]}:live")]
    assert repaired.outputs.versions == {"enqueuer": "2", "worker": "2"}
    assert len(client.list_versions_by_function(FunctionName=functions[1])["Versions"]) == 3  # and $LATEST


def test_a_paused_pipeline_stays_paused_through_a_deploy(project: Make, clients: Aws) -> None:
    made = project()
    deployed(clients, made)
    functions, events = clients.client("lambda"), clients.client("events")
    mapping = functions.list_event_source_mappings(FunctionName=f"{made.name}-enqueuer")[
        "EventSourceMappings"
    ][0]
    functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False, BatchSize=5)
    events.disable_rule(Name=f"{made.name}-1")
    document = settings_of(made, schedule={"expressions": ["rate(2 days)", "rate(3 days)"]})
    made.configure(document)
    result = deployed(clients, made)
    assert ("create", "rule", f"{made.name}-2") in summary(result.plan.changes)
    assert ("update", "rule", f"{made.name}-1") in summary(result.plan.changes)
    assert [one.enabled for one in result.outputs.schedules] == [False, False]
    after = functions.get_event_source_mapping(UUID=mapping["UUID"])
    assert (after["State"], after["BatchSize"]) == ("Disabled", 100)


def test_a_time_zone_turns_rules_into_schedules_and_fewer_expressions_delete_the_rest(
    project: Make, clients: Aws, emulator: Emulator
) -> None:
    made = project(schedule={"expressions": ["rate(2 days)", "rate(3 days)"]})
    deployed(clients, made)
    made.configure(settings_of(made, schedule={"expressions": ["rate(2 days)"]}))
    fewer = deployed(clients, made)
    assert ("delete", "rule", f"{made.name}-2") in summary(fewer.plan.changes)
    made.configure(settings_of(made, schedule={"expressions": ["rate(2 days)"], "timezone": "Europe/Berlin"}))
    switched = deployed(clients, made)
    assert ("create", "schedule", f"{made.name}-1") in summary(switched.plan.changes)
    assert switched.plan.changes[-1] == Change("delete", "rule", f"{made.name}-1")
    assert clients.client("events").list_rules(NamePrefix=f"{made.name}-")["Rules"] == []
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        clients.client("lambda").get_policy(FunctionName=f"{made.name}-worker", Qualifier="live")
    assert emulator.drift(clients, load(made)) == set()
    schedule = clients.client("scheduler").get_schedule(Name=f"{made.name}-1")
    assert schedule["ScheduleExpressionTimezone"] == "Europe/Berlin"
    assert schedule["Target"]["RetryPolicy"] == {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60}


def test_a_table_that_exists_gets_its_stream_switched_on_and_nothing_else(
    project: Make, clients: Aws, emulator: Emulator
) -> None:
    made = project(table={"create": False, "sort_key": "at:N"})
    dynamodb = clients.client("dynamodb")
    with pytest.raises(
        UsageError, match=f"table {made.name} does not exist, and \\[table\\] says create = false"
    ):
        deployed(clients, made)
    dynamodb.create_table(
        TableName=made.name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "id", "AttributeType": "S"},
            {"AttributeName": "at", "AttributeType": "N"},
        ],
        ProvisionedThroughput={"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
    )
    events: list[Event] = []
    result = deployed(clients, made, listener=events.append)
    assert result.plan.changes[0].document() == {
        "action": "update",
        "type": "table",
        "name": made.name,
        "diff": [{"path": "stream", "old": None, "new": "NEW_AND_OLD_IMAGES"}],
    }
    assert any(isinstance(one, Warned) and "its stream is switched on" in one.text for one in events)
    table = dynamodb.describe_table(TableName=made.name)["Table"]
    assert table["ProvisionedThroughput"]["ReadCapacityUnits"] == 1
    assert dynamodb.list_tags_of_resource(ResourceArn=table["TableArn"])["Tags"] == []
    assert emulator.drift(clients, load(made)) == set()


def test_a_stream_made_anew_replaces_the_mapping_which_stays_disabled(project: Make, clients: Aws) -> None:
    made = project()
    deployed(clients, made)
    dynamodb, functions = clients.client("dynamodb"), clients.client("lambda")
    listed = functions.list_event_source_mappings(FunctionName=f"{made.name}-enqueuer")["EventSourceMappings"]
    functions.update_event_source_mapping(UUID=listed[0]["UUID"], Enabled=False)
    dynamodb.update_table(TableName=made.name, StreamSpecification={"StreamEnabled": False})
    dynamodb.update_table(
        TableName=made.name,
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    seen = plan(clients, load(made))
    assert [path for _, path, _, _ in paths(seen)] == ["table", "replaced"]
    deployed(clients, made)
    now = functions.list_event_source_mappings(FunctionName=f"{made.name}-enqueuer")["EventSourceMappings"]
    stream = dynamodb.describe_table(TableName=made.name)["Table"]["LatestStreamArn"]
    assert [(one["EventSourceArn"], one["State"]) for one in now] == [(stream, "Disabled")]
    assert now[0]["UUID"] != listed[0]["UUID"]
    assert plan(clients, load(made)).changes == ()


def test_every_reason_to_refuse_is_reported_and_nothing_is_touched(
    project: Make, clients: Aws, emulator: Emulator
) -> None:
    made = project()
    names = made.names
    clients.client("sqs").create_queue(QueueName=names.stream_failures, tags={PIPELINE_TAG: "another"})
    clients.client("logs").create_log_group(logGroupName=names.log_group("worker"))
    clients.client("dynamodb").create_table(
        TableName=made.name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "N"}],
        BillingMode="PAY_PER_REQUEST",
        Tags=[{"Key": PIPELINE_TAG, "Value": made.name}],
    )
    with pytest.raises(UsageError) as refused:
        deployed(clients, made)
    assert refused.value.message.splitlines() == [
        f"{made.name} cannot be deployed:",
        f"  table {made.name}: keys is [['pk', 'N']], not [['id', 'S']]: the keys of a table cannot be"
        " changed; correct [table] or name another table",
        f"  queue {names.stream_failures} belongs to the pipeline 'another'",
        f"  log-group {names.log_group('worker')} exists already and does not carry the tag {PIPELINE_TAG}",
    ]
    with pytest.raises(ClientError, match="NonExistentQueue"):
        clients.client("sqs").get_queue_url(QueueName=names.main)


def test_adopt_takes_over_what_carries_no_tag_but_not_what_carries_anothers(
    project: Make, clients: Aws, emulator: Emulator
) -> None:
    made = project()
    sqs, names = clients.client("sqs"), made.names
    url = sqs.create_queue(QueueName=names.hold, Attributes={"FifoQueue": "true"}, tags={"keep": "me"})[
        "QueueUrl"
    ]
    with pytest.raises(UsageError, match="does not carry the tag"):
        deployed(clients, made)
    deployed(clients, made, adopt=True)
    tags = sqs.list_queue_tags(QueueUrl=url)["Tags"]
    assert (tags["keep"], tags[PIPELINE_TAG]) == ("me", made.name)
    sqs.tag_queue(QueueUrl=url, Tags={PIPELINE_TAG: "another"})
    with pytest.raises(UsageError, match="belongs to the pipeline 'another'"):
        deployed(clients, made, adopt=True)


def test_a_dry_run_and_a_refused_question_change_nothing(
    project: Make, clients: Aws, emulator: Emulator
) -> None:
    made = project()

    def refuse(asked: Plan) -> None:
        assert len(asked.changes) == 16
        raise UsageError("not confirmed")

    assert deployed(clients, made, dry_run=True).outputs.queues["main"] is None
    with pytest.raises(UsageError, match="not confirmed"):
        deployed(clients, made, confirm=refuse)
    assert len(plan(clients, load(made)).changes) == 16


def test_shortening_retention_is_warned_of(project: Make, clients: Aws, emulator: Emulator) -> None:
    made = project(queue={"retention": "4d"})
    deployed(clients, made)
    made.configure(settings_of(made, queue={"retention": "1d"}))
    events: list[Event] = []
    seen = plan(clients, load(made), listener=events.append)
    assert [one.text for one in events if isinstance(one, Warned)] == list(seen.warnings)
    assert seen.warnings == (
        f"{made.name}.fifo: retention goes down from 345600 s to 86400 s; SQS applies it to waiting messages"
        " too, so it deletes backlog older than that",
    )


@pytest.mark.parametrize(
    ("expression", "starts"),
    [
        ("cron(0 0 31 2 ? *)", False),
        ("cron(0 0 30 2/12 ? *)", False),
        ("cron(0 0 1 1 ? 2020)", False),
        ("cron(0 0 29 2 ? *)", True),
        ("cron(0 0 31 * ? *)", True),
        ("rate(5 minutes)", True),
    ],
)
def test_a_schedule_that_starts_nothing_is_warned_of(project, clients, expression, starts) -> None:
    made = project(schedule={"expressions": [expression]})
    warned = [one for one in plan(clients, load(made)).warnings if expression in one]
    assert warned == (
        []
        if starts
        else [
            f"schedule.expressions[0]: {expression} has no run in the next eight years: it starts no worker"
        ]
    )


def test_a_key_of_ones_own_encrypts_the_queues_and_leaving_it_goes_back(
    project: Make, clients: Aws, emulator: Emulator
) -> None:
    made = project(queue={"kms_key": "alias/orders"})
    url = deployed(clients, made).outputs.queues["main"] or ""
    sqs = clients.client("sqs")
    assert (
        sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]["KmsMasterKeyId"]
        == "alias/orders"
    )
    made.configure(settings_of(made, queue={}))
    left = deployed(clients, made)
    assert (made.names.main, "encryption", "alias/orders", "sqs") in paths(left.plan)
    assert emulator.drift(clients, load(made)) == set()


class Once:
    """A rule that does one thing to the first request of every mutating call of a deploy."""

    MARKS = ("Create", "Put", "Publish", "Update", "Tag", "Add", "POST", "PUT")

    def __init__(self, action: faults.Action) -> None:
        self.action = action
        self.seen: set[tuple[str, str, bytes]] = set()
        self.lock = threading.Lock()

    def __call__(self, request: Request) -> faults.Action:
        key = (request.action, request.path, request.body)
        with self.lock:
            if not mutates(request) or key in self.seen:
                return faults.Pass()
            self.seen.add(key)
        return self.action


def mutates(request: Request) -> bool:
    return request.method in ("POST", "PUT") and request.action.startswith(Once.MARKS)


def through(proxy: Proxy) -> Aws:
    return Aws(AwsEndpoint(endpoint_url=proxy.endpoint, local=True))


def test_a_lost_answer_to_every_single_change_does_no_harm(project: Make, proxy: Proxy, clients: Aws) -> None:
    made = project()
    rule = Once(faults.DropAnswer())
    proxy.rule = rule
    deployed(through(proxy), made)
    assert len(rule.seen) > 20
    # Lambda refuses a second mapping of one stream and function; the embedded stack does not.
    assert {(kind, path) for _, kind, path in drift(plan(clients, load(made)))} <= {
        ("event-source-mapping", "others")
    }
    deployed(clients, made)
    assert plan(clients, load(made)).changes == ()
    functions = clients.client("lambda")
    assert (
        len(functions.list_event_source_mappings(FunctionName=f"{made.name}-enqueuer")["EventSourceMappings"])
        == 1
    )


@pytest.mark.parametrize("nth", [1, 12, 24])
def test_after_a_failure_anywhere_the_next_run_completes_the_work(
    project: Make, proxy: Proxy, clients: Aws, emulator: Emulator, nth: int
) -> None:
    made = project()
    count = 0
    lock = threading.Lock()

    def rule(request: Request) -> faults.Action:
        nonlocal count
        with lock:
            count += mutates(request)
            # All that comes after fails too: as if the process had been killed there.
            return (
                faults.AnswerWithError("AccessDeniedException")
                if mutates(request) and count >= nth
                else faults.Pass()
            )

    proxy.rule = rule
    with pytest.raises(AwsError) as failed:
        deployed(through(proxy), made)
    assert "of 16 changes were made" in failed.value.message
    assert failed.value.hint.endswith("run `fifo-cli deploy` again; it continues where this one stopped")
    deployed(clients, made)
    assert emulator.drift(clients, load(made)) == set()


def test_where_no_concurrency_can_be_reserved_none_is_wanted(
    project: Make, proxy: Proxy, clients: Aws, emulator: Emulator
) -> None:
    made = project()

    def rule(request: Request) -> faults.Action:
        denied = request.path.endswith("/account-settings/") or request.path.endswith("/account-settings")
        return faults.AnswerWithError("AccessDeniedException", status=403) if denied else faults.Pass()

    proxy.rule = rule
    deployed(through(proxy), made)
    concurrency = clients.client("lambda").get_function_concurrency(FunctionName=f"{made.name}-worker")
    assert concurrency.get("ReservedConcurrentExecutions") is None
    assert emulator.drift(through(proxy), load(made)) == set()


def test_two_deploys_at_once_both_end_well(project: Make, clients: Aws, stack: Stack) -> None:
    made = project()
    errors: list[FifoError] = []

    def run() -> None:
        try:
            deployed(stack.aws(), made)
        except FifoError as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert [error.message for error in errors] == []
    deployed(clients, made)
    assert plan(clients, load(made)).changes == ()


def settings_of(made: Project, **tables: Any) -> dict[str, Any]:
    """Return the project's fifo.toml as a document, some tables replaced."""
    url = model.load(made.config).settings.api[0].url
    return {
        "pipeline": {"name": made.name},
        "table": {"name": made.name, "create": True, "partition_key": "id"},
        "message": {"events": ["INSERT"], "group": "grp"},
        "queue": {"retention": "4d"},
        "schedule": {"expressions": ["rate(365 days)"], "messages_per_run": 10},
        "api": [{"url": url, "timeout": "2s"}],
        **tables,
    }
