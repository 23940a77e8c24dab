"""What drift comes to: the table has every setting, and what harms messages is critical."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fifo_cli.model.advice import Snapshot, evaluate
from fifo_cli.model.drift import Drift, ResourceState, lacking_actions
from fifo_cli.model.drift_advice import drift_problems, role_of
from fifo_cli.model.drift_effects import EFFECTS
from fifo_cli.model.health import Measurements, Problem, TriggerState
from fifo_cli.model.names import START_VARIABLE, Place
from fifo_cli.model.planning import Difference, differences
from fifo_cli.model.resources import Found, Kind, Resource, wanted_resources, with_start
from fifo_cli.model.settings import Settings
from fifo_cli.model.worker_trigger import with_trigger

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
PLACE = Place("123456789012", "eu-west-1")
SCHEDULE: dict[str, Any] = {"alarms": {}}
ZONED: dict[str, Any] = {"schedule": {"timezone": "Europe/Berlin"}}
QUEUE: dict[str, Any] = {"worker": {"trigger": "queue"}}
WORKER = "arn:aws:lambda:eu-west-1:123456789012:function:orders-worker"


def settings(tables: dict[str, Any]) -> Settings:
    return Settings.model_validate(
        {"pipeline": {"name": "orders"}, "table": {"name": "orders"}, "api": [{"url": "http://x"}], **tables}
    )


def wanted(tables: dict[str, Any]) -> tuple[Resource, ...]:
    codes = {"enqueuer": "e", "worker": "w"}
    found = wanted_resources(settings(tables), PLACE, codes, reserve_concurrency=True)  # type: ignore[arg-type]
    return with_start(found, "2026-01-02T03:04:05Z")


@pytest.mark.parametrize("tables", [SCHEDULE, ZONED, QUEUE])
def test_every_setting_of_every_resource_is_in_the_table(tables: dict[str, Any]) -> None:
    for one in wanted(tables):
        role = role_of(one.kind, one.name, settings(tables).names)
        assert set(one.properties) <= set(EFFECTS[one.kind, role]), (one.kind, one.name)


def judged(
    tables: dict[str, Any], key: tuple[str, str], changes: dict[str, Any], worker: TriggerState = "running"
) -> list[Problem]:
    """Return what is said where a resource has some other values than are wanted."""
    [one] = [each for each in wanted(tables) if each.key == key]
    found = Found(one.kind, one.name, {**one.properties, **changes}, one.tags, {"enabled": True})
    lacks = lacking_actions(one, found)
    state = ResourceState(one.kind, one.name, "drift", differences(one, found), lacks=lacks)
    given = settings(tables)
    return list(drift_problems(Drift((state,)), Measurements(worker=worker), given, given))


def allowed(role: str, without: str, *more: str, tables: dict[str, Any] = QUEUE) -> dict[str, Any]:
    """Return the policy of a role without an action, and with others."""
    [one] = [each for each in wanted(tables) if each.key == ("role", f"orders-{role}")]
    statements = [
        {**each, "Action": [*(action for action in each["Action"] if action != without), *more]}
        for each in one.properties["policy"]["Statement"]
    ]
    return {"policy": {**one.properties["policy"], "Statement": statements}}


@pytest.mark.parametrize(
    ("role", "without", "more", "tables", "critical"),
    [
        ("worker", "sqs:GetQueueAttributes", [], QUEUE, True),
        ("worker", "sqs:DeleteMessage", [], SCHEDULE, True),
        ("worker", "sqs:DeleteMessage", ["SQS:*"], QUEUE, False),
        ("worker", "logs:PutLogEvents", [], QUEUE, False),
        ("enqueuer", "dynamodb:GetRecords", [], QUEUE, True),
        ("enqueuer", "", ["s3:GetObject"], QUEUE, False),
    ],
)
def test_a_role_that_lacks_what_delivery_takes_is_critical(
    role: str, without: str, more: list[str], tables: dict[str, Any], critical: bool
) -> None:
    [found] = judged(tables, ("role", f"orders-{role}"), allowed(role, without, *more, tables=tables))
    assert (found.state, "may not do all that" in found.text) == (
        "critical" if critical else "warning",
        critical,
    )


def test_a_role_without_its_policy_is_critical_and_one_for_the_queue_that_is_not_deployed_is_not() -> None:
    [gone] = judged(SCHEDULE, ("role", "orders-worker"), {"policy": None})
    assert gone.state == "critical"
    [one] = [each for each in wanted(QUEUE) if each.key == ("role", "orders-worker")]
    by_schedule = allowed("worker", "sqs:GetQueueAttributes")
    found = Found(one.kind, one.name, {**one.properties, **by_schedule}, one.tags, {})
    lacks = lacking_actions(one, found)
    assert lacks == ("sqs:GetQueueAttributes",)
    state = ResourceState(one.kind, one.name, "drift", differences(one, found), lacks=lacks)
    said = drift_problems(
        Drift((state,)), Measurements(worker="running"), settings(QUEUE), settings(SCHEDULE)
    )
    assert {one.state for one in said} == {"warning"}


def with_statement(role: str, sid: str, **instead: Any) -> dict[str, Any]:
    """Return the policy of a role in which a statement is another."""
    [one] = [each for each in wanted(QUEUE) if each.key == ("role", f"orders-{role}")]
    statements = [
        {name: value for name, value in {**each, **instead}.items() if value is not None}
        if each["Sid"] == sid
        else each
        for each in one.properties["policy"]["Statement"]
    ]
    return {"policy": {**one.properties["policy"], "Statement": statements}}


TABLE = "arn:aws:dynamodb:eu-west-1:123456789012:table/orders/stream"


@pytest.mark.parametrize(
    ("role", "sid", "instead", "state"),
    [
        pytest.param("worker", "Take", {"Sid": "Mine"}, "warning", id="another name"),
        pytest.param("worker", "Take", {"Sid": None}, "warning", id="no name"),
        pytest.param("worker", "Park", {"Sid": "Take", "Action": "sqs:*"}, "warning", id="a name twice"),
        pytest.param("worker", "Take", {"Sid": "Mine", "Effect": "Deny"}, "critical", id="denied"),
        pytest.param("worker", "Take", {"Action": None, "NotAction": "s3:*"}, "warning", id="all but"),
        pytest.param("worker", "Take", {"Resource": "*"}, "warning", id="all queues"),
        pytest.param(
            "worker", "Take", {"Resource": PLACE.queue("orders-dlq.fifo")}, "critical", id="the DLQ"
        ),
        pytest.param(
            "worker", "Take", {"Condition": {"Bool": {"aws:x": "true"}}}, "warning", id="conditional"
        ),
        pytest.param(
            "enqueuer", "Send", {"Resource": PLACE.queue("orders-dlq.fifo")}, "critical", id="no main"
        ),
        pytest.param("enqueuer", "ReadStream", {"Resource": f"{TABLE}/2026"}, "warning", id="one stream"),
    ],
)
def test_what_a_role_may_do_does_not_depend_on_which_statement_allows_it(
    role: str, sid: str, instead: dict[str, Any], state: str
) -> None:
    [found] = judged(QUEUE, ("role", f"orders-{role}"), with_statement(role, sid, **instead))
    assert found.state == state


def test_a_right_may_come_from_another_statement_of_the_policy() -> None:
    main, dlq = PLACE.queue("orders.fifo"), PLACE.queue("orders-dlq.fifo")
    policy_of = with_statement("worker", "Park", Action="sqs:*", Resource=[main, dlq])["policy"]
    statements = [one for one in policy_of["Statement"] if one["Sid"] != "Take"]
    [found] = judged(QUEUE, ("role", "orders-worker"), {"policy": {**policy_of, "Statement": statements}})
    assert found.state == "warning"


def test_with_another_policy_attached_that_is_not_read_a_lack_is_not_known() -> None:
    found = judged(QUEUE, ("role", "orders-worker"), {"policy": None, "other_policies": ["mine"]})
    assert [one.state for one in found] == ["warning"]


MAIN, DLQ, HOLD = ("queue", "orders.fifo"), ("queue", "orders-dlq.fifo"), ("queue", "orders-hold.fifo")
FAILURES = ("queue", "orders-stream-failures")
POLLING = ("event-source-mapping", "orders-worker")
STREAM = ("event-source-mapping", "orders-enqueuer")
RULE, ZONED_RULE = ("rule", "orders-1"), ("schedule", "orders-1")
ENQUEUER, ALIAS = ("alias", "orders-enqueuer:live"), ("alias", "orders-worker:live")
TARGET = {"arn": f"{WORKER}:live", "retries": 0, "age": 60}


def policy(receives: int) -> dict[str, Any]:
    return {"redrive": {"target": PLACE.queue("orders-dlq.fifo"), "max_receives": receives}}


@pytest.mark.parametrize(
    ("tables", "key", "changes", "text"),
    [
        (SCHEDULE, MAIN, policy(3), "redrive policy of maxReceiveCount 3, where fifo.toml has none"),
        (QUEUE, MAIN, policy(3), "redrive policy of maxReceiveCount 3, where fifo.toml has none"),
        (
            {"queue": {"max_receives": 9}},
            MAIN,
            policy(2),
            "maxReceiveCount 2, where fifo.toml has maxReceiveCount 9",
        ),
        (SCHEDULE, MAIN, {"retention": 60}, "keeps messages for 1m only, where fifo.toml has 14d"),
        (SCHEDULE, MAIN, {"max_message_bytes": 1024}, "takes messages of 1024 bytes at most"),
        (QUEUE, MAIN, {"visibility_timeout": 30}, "hides what Lambda receives for 30s only"),
        (SCHEDULE, DLQ, policy(3), "where it should have none"),
        (SCHEDULE, DLQ, {"retention": 345_600}, "keeps messages for 4d only"),
        (SCHEDULE, HOLD, policy(3), "maxReceiveCount 3, where it should have maxReceiveCount 1000"),
        (
            SCHEDULE,
            HOLD,
            {"redrive": {"target": "elsewhere", "max_receives": 1000}},
            "redrive policy of elsewhere",
        ),
        (SCHEDULE, FAILURES, {"retention": 3600}, "keeps the notes of failed batches for 1h only"),
        (QUEUE, POLLING, {"response_types": []}, "Lambda deletes what the worker could not deliver"),
        (QUEUE, POLLING, {"filters": ["x"]}, "Lambda deletes what does not match it"),
        (QUEUE, POLLING, {"function": f"{WORKER}:3"}, f"starts {WORKER}:3, not {WORKER}:live"),
        (QUEUE, POLLING, {"queue": "another"}, "reads another, not main"),
        (QUEUE, POLLING, {"others": ["enqueuer"]}, "another mapping hands messages of main to enqueuer"),
        (SCHEDULE, STREAM, {"filters": [{"eventName": ["REMOVE"]}]}, "leaves out records"),
        (SCHEDULE, STREAM, {"filters": [{"eventName": [{"prefix": "I"}]}]}, "leaves out records"),
        (SCHEDULE, STREAM, {"filters": ["no JSON"]}, "leaves out records"),
        (SCHEDULE, STREAM, {"response_types": []}, "Lambda skips what the enqueuer could not send"),
        (SCHEDULE, STREAM, {"retries": 0}, "gives records up after 0 tries, where it should after 10000"),
        (SCHEDULE, STREAM, {"record_age": 60}, "gives records up after 1m, where it should after 21h"),
        (SCHEDULE, STREAM, {"parallelization": 5}, "reads each shard 5 times side by side"),
        (SCHEDULE, STREAM, {"on_failure": None}, "it has none"),
        (SCHEDULE, STREAM, {"function": f"{WORKER}:live"}, "starts arn"),
        (SCHEDULE, STREAM, {"others": ["worker"]}, "another mapping hands the same records to worker"),
        (SCHEDULE, RULE, {"targets": []}, "does not start the worker, which is not its target"),
        (SCHEDULE, RULE, {"targets": [{**TARGET, "arn": WORKER}]}, "does not start the worker"),
        (ZONED, ZONED_RULE, {"target": {**TARGET, "arn": WORKER}}, "does not start the worker"),
        (SCHEDULE, ENQUEUER, {"environment": [f"{START_VARIABLE}=2030"]}, "leaves out other items"),
        (QUEUE, ALIAS, {"routing": {"3": 0.5}}, "shares its calls with another version"),
        (QUEUE, ALIAS, {"code_sha256": "theirs"}, "is at code that no deploy published for batches of"),
        (QUEUE, ALIAS, {"code_sha256": "theirs", "handler": "theirs.handler"}, "is at code that no deploy"),
        (SCHEDULE, ("table", "orders"), {"stream": None}, "another stream than the enqueuer needs: none"),
    ],
)
@pytest.mark.parametrize("worker", ["running", "paused"])
def test_what_loses_reorders_or_dead_letters_messages_is_critical(
    tables: dict[str, Any], key: tuple[str, str], changes: dict[str, Any], text: str, worker: TriggerState
) -> None:
    [found] = judged(tables, key, changes, worker)

    assert (found.state, text in found.text) == ("critical", True), found.text
    assert found.text.startswith(f"{key[0]} {key[1]} ")
    assert found.next.startswith("`fifo-cli deploy` puts it right")


@pytest.mark.parametrize(
    ("tables", "key", "changes"),
    [
        ({"queue": {"max_receives": 9}}, MAIN, policy(10)),
        ({"queue": {"max_receives": 9}}, MAIN, {"redrive": None}),
        ({"queue": {"retention": "4d"}}, MAIN, {"retention": 1_209_600}),
        (SCHEDULE, MAIN, {"visibility_timeout": 1}),
        (QUEUE, MAIN, {"visibility_timeout": 60}),
        (SCHEDULE, MAIN, {"content_based_deduplication": True, "delay": 9, "encryption": "alias/k"}),
        (SCHEDULE, MAIN, {"deduplication_scope": "messageGroup", "throughput_limit": "perMessageGroupId"}),
        (SCHEDULE, DLQ, {"redrive_allow": {"permission": "allowAll", "sources": []}}),
        (SCHEDULE, HOLD, {"redrive": None}),
        (SCHEDULE, FAILURES, {"retention": 345_600}),
        (QUEUE, POLLING, {"batch_size": 1, "max_functions": 2}),
        (SCHEDULE, STREAM, {"filters": []}),
        (SCHEDULE, STREAM, {"filters": [{"eventName": ["INSERT", "MODIFY"]}], "retries": -1}),
        (SCHEDULE, STREAM, {"function": "arn:aws:lambda:eu-west-1:123456789012:function:orders-enqueuer:7"}),
        (SCHEDULE, RULE, {"targets": [{**TARGET, "retries": 9}], "expression": "rate(1 day)"}),
        (ZONED, ZONED_RULE, {"target": {**TARGET, "retries": 9}, "dates": ["2030"]}),
        (SCHEDULE, ALIAS, {"routing": {"3": 0.5}, "memory": 128}),
        (QUEUE, ALIAS, {"published": False}),  # $LATEST of the same code
        (SCHEDULE, ALIAS, {"handler": "theirs.handler"}),
    ],
)
def test_all_else_is_a_warning_that_names_the_resource(
    tables: dict[str, Any], key: tuple[str, str], changes: dict[str, Any]
) -> None:
    [found] = judged(tables, key, changes)

    assert (found.state, found.text) == ("warning", f"not as in fifo.toml: {key[0]} {key[1]}")


def live(takes_batches: bool) -> ResourceState:
    diff = (Difference("code_sha256", "older", "w"),)
    return ResourceState("alias", "orders-worker:live", "drift", diff, takes_batches=takes_batches)


def test_a_version_of_ours_that_a_rollback_has_gone_back_to_loses_nothing() -> None:
    given = settings(QUEUE)

    [found] = drift_problems(Drift((live(True),)), Measurements(worker="running"), given, given)

    assert (found.state, found.means) == (
        "warning",
        "a rollback, or a deploy that did not end; the older version runs on",
    )


@pytest.mark.parametrize(
    ("tables", "beside", "state"), [(QUEUE, None, "critical"), (SCHEDULE, None, "warning"),
                                    (SCHEDULE, POLLING, "critical")],
)  # fmt: skip
def test_code_that_no_deploy_published_loses_messages_where_lambda_polls_main(
    tables: dict[str, Any], beside: tuple[Any, str] | None, state: str
) -> None:
    given = settings(tables)
    mapping = (ResourceState(beside[0], beside[1], "surplus"),) if beside else ()

    found, *_ = drift_problems(Drift((live(False), *mapping)), Measurements(worker="running"), given, given)

    assert found.state == state
    if state == "critical":
        assert found.means == (
            "Lambda deletes what its answer does not list: what it did not deliver is lost"
        )
        assert found.next == "`fifo-cli deploy` puts it right; then `fifo-cli audit` shows what is missing"


@pytest.mark.parametrize("worker", ["running", "paused"])
def test_while_a_deploy_changes_the_trigger_no_other_one_is_said_to_start_the_worker(
    worker: TriggerState,
) -> None:
    given = settings(SCHEDULE)
    measured = Measurements(worker=worker, changes_trigger=True)

    found = list(drift_problems(Drift(()), measured, given, with_trigger(given, "queue", ())))

    said = (
        "a deploy that changes what starts the worker was cut off, or is at work still: the queue starts it"
    )
    assert [one.text for one in found] == ([said] if worker == "running" else [])
    assert all("`fifo-cli deploy` completes it" in one.next for one in found)


def test_a_resource_with_harm_and_drift_has_both() -> None:
    found = judged(SCHEDULE, MAIN, {"retention": 60, "delay": 9})

    assert [one.state for one in found] == ["critical", "warning"]


def test_visibility_is_held_against_the_timeout_of_the_function_that_runs() -> None:
    """fifo.toml may have another that is not deployed."""
    given = settings({**QUEUE, "functions": {"timeout": "10m"}})
    main = ResourceState("queue", "orders.fifo", "drift", (Difference("visibility_timeout", 360, 3600),))
    alias = ResourceState("alias", "orders-worker:live", "drift", (Difference("timeout", 60, 600),))

    found = drift_problems(Drift((main, alias)), Measurements(worker="running"), given, given)

    assert [one.state for one in found] == ["warning"]


@pytest.mark.parametrize("worker", ["running", "paused"])
@pytest.mark.parametrize(
    ("tables", "running", "missing", "surplus", "text"),
    [
        (SCHEDULE, "queue", RULE, POLLING, "the queue still starts the worker"),
        (QUEUE, "schedule", POLLING, RULE, "the schedule still starts the worker"),
    ],
)
def test_a_trigger_that_is_not_deployed_is_drift_that_names_what_runs(
    tables: dict[str, Any], running: Any, missing: Any, surplus: Any, text: str, worker: TriggerState
) -> None:
    given = settings(tables)
    states = (
        ResourceState(missing[0], missing[1], "missing"),
        ResourceState(surplus[0], surplus[1], "surplus"),
        ResourceState("queue", "orders.fifo", "drift", (Difference("visibility_timeout", 60, 360),)),
    )

    found = list(
        drift_problems(Drift(states), Measurements(worker=worker), given, with_trigger(given, running, ()))
    )

    assert [one.state for one in found] == ["warning", "warning"]
    assert found[0].text.startswith(text)
    assert found[1].text.startswith(f"not as in fifo.toml: {missing[0]} {missing[1]}, ")


def test_a_mapping_that_is_not_wanted_may_lose_messages_all_the_same() -> None:
    given = settings(SCHEDULE)
    lossy = (Difference("response_types", [], ["ReportBatchItemFailures"]),)
    state = ResourceState("event-source-mapping", "orders-worker", "surplus", lossy)

    found = list(drift_problems(Drift((state,)), Measurements(worker="running"), given, given))

    assert [(one.state, one.text.partition(":")[0]) for one in found] == [
        ("critical", "event-source-mapping orders-worker has no ReportBatchItemFailures"),
        ("warning", "not as in fifo.toml"),
    ]


@pytest.mark.parametrize(
    ("worker", "states"), [("missing", []), ("running", ["warning"]), ("stopped", ["critical"])]
)
def test_that_nothing_starts_the_worker_is_said_once(worker: TriggerState, states: list[str]) -> None:
    given = settings(SCHEDULE)
    gone = Drift((ResourceState("rule", "orders-1", "missing"),))

    found = drift_problems(gone, Measurements(worker=worker), given, given)

    assert [one.state for one in found] == states


def test_an_alarm_that_is_missing_harms_no_message() -> None:
    given = settings(SCHEDULE)
    gone = Drift((ResourceState("alarm", "orders-dlq", "missing"), ResourceState("role", "r", "missing")))

    found = list(drift_problems(gone, Measurements(), given, given))

    assert [(one.state, one.text) for one in found] == [
        ("critical", "missing: role r"),
        ("warning", "not as in fifo.toml: alarm orders-dlq"),
    ]


def test_what_is_foreign_says_what_that_means() -> None:
    given = settings(SCHEDULE)
    theirs = ResourceState("event-source-mapping", "arn", "foreign", reason="it takes messages of main")

    [found] = drift_problems(Drift((theirs,)), Measurements(), given, given)

    assert (found.state, found.means) == ("critical", "it takes messages of main")


@pytest.mark.parametrize(
    ("kind", "worker", "state", "step"),
    [
        ("rule", "running", "warning", "`aws events disable-rule --name orders-9` stops it"),
        ("rule", "paused", "critical", "`aws events disable-rule --name orders-9` stops it"),
        ("schedule", "paused", "critical", "`aws scheduler delete-schedule --name orders-9` stops it"),
    ],
)
def test_what_is_somebody_elses_and_starts_the_worker_is_named_with_what_ends_it(
    kind: Kind, worker: TriggerState, state: str, step: str
) -> None:
    reason = f"{kind} orders-9 starts orders-worker, and is not this pipeline's"
    drift = Drift((ResourceState(kind, "orders-9", "surplus", reason=reason),))
    given = settings(QUEUE)

    [found] = drift_problems(drift, Measurements(worker=worker), given, given)

    assert (found.state, found.text, found.next) == (state, reason, step)
    # Then it is not said that messages wait.
    measured = Measurements(worker="paused", started_by=drift.started_by)
    [paused] = [one for one in evaluate(Snapshot(given, measured, NOW)) if "paused" in one.text]
    assert (paused.text, paused.means) == ("the worker is paused", None)
