"""What monitoring asks of AWS, and what it makes of the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from botocore.stub import Stubber

from fifo_cli.aws.cloudwatch import Metric, get_counts, get_latest
from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.aws.triggers import get_reserved_concurrency, get_trigger, is_mapping_enabled
from fifo_cli.errors import AwsError, NotDeployedError
from fifo_cli.model.health import ScheduleState
from fifo_cli.model.queue_counts import Counted

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
URL = "https://sqs/orders.fifo"
Service = Literal["sqs", "cloudwatch", "events", "scheduler", "lambda"]


@pytest.fixture
def aws() -> Aws:
    return Aws(AwsEndpoint(local=True))


@pytest.fixture
def stub(aws: Aws) -> Iterator[Callable[[Service], Stubber]]:
    made: dict[str, Stubber] = {}

    def of(service: Service) -> Stubber:
        if service not in made:
            made[service] = Stubber(aws.client(service))
            made[service].activate()
        return made[service]

    yield of
    for each in made.values():
        each.assert_no_pending_responses()


def test_counts_are_among_the_attributes_and_nothing_is_received(
    aws: Aws, stub: Callable[[Service], Stubber]
) -> None:
    sqs = stub("sqs")
    sqs.add_response("get_queue_url", {"QueueUrl": URL}, {"QueueName": "orders.fifo"})
    names = [f"ApproximateNumberOfMessages{suffix}" for suffix in ("", "NotVisible", "Delayed")]
    answer = {"Attributes": dict(zip(names, ("3", "2", "1"), strict=True))}
    asked = {"QueueUrl": URL, "AttributeNames": ["All"]}
    sqs.add_response("get_queue_attributes", answer, asked)

    assert get_counts(aws, "orders.fifo") == Counted("orders.fifo", 3, 2, 1)


def test_a_queue_that_does_not_exist_is_named(aws: Aws, stub: Callable[[Service], Stubber]) -> None:
    stub("sqs").add_client_error("get_queue_url", "AWS.SimpleQueueService.NonExistentQueue")

    with pytest.raises(NotDeployedError, match=r"queue orders\.fifo does not exist"):
        get_counts(aws, "orders.fifo")


def test_of_each_metric_the_newest_point_counts_whatever_the_order(
    aws: Aws, stub: Callable[[Service], Stubber]
) -> None:
    early, late = NOW - timedelta(minutes=3), NOW - timedelta(minutes=1)
    results = [
        {"Id": "a", "Timestamps": [late, early], "Values": [7.0, 99.0], "StatusCode": "Complete"},
        {"Id": "b", "Timestamps": [early, late], "Values": [99.0, 8.0], "StatusCode": "Complete"},
        {"Id": "c", "Timestamps": [], "Values": [], "StatusCode": "Complete"},
    ]
    asked: dict[str, Any] = {"StartTime": NOW - timedelta(minutes=10), "EndTime": NOW}
    asked["MetricDataQueries"] = [
        {
            "Id": name,
            "MetricStat": {
                "Metric": {"Namespace": "N", "MetricName": "M", "Dimensions": [{"Name": "D", "Value": name}]},
                "Period": 60,
                "Stat": "Maximum",
            },
        }
        for name in "abc"
    ]
    stub("cloudwatch").add_response("get_metric_data", {"MetricDataResults": results}, asked)

    found = get_latest(aws, {name: Metric("N", "M", {"D": name}) for name in "abc"}, now=NOW)

    assert found == {"a": 7.0, "b": 8.0}


@pytest.mark.parametrize(("state", "enabled"), [("ENABLED", True), ("DISABLED", False)])
def test_rules_and_schedules_are_on_or_off_and_have_their_times(
    aws: Aws, stub: Callable[[Service], Stubber], state: str, enabled: bool
) -> None:
    stub("events").add_response(
        "describe_rule", {"State": state, "ScheduleExpression": "rate(1 minute)"}, {"Name": "orders-1"}
    )
    zoned = {
        "State": state,
        "ScheduleExpression": "cron(0 8 * * ? *)",
        "ScheduleExpressionTimezone": "Asia/Tokyo",
    }
    stub("scheduler").add_response("get_schedule", zoned, {"Name": "orders-1", "GroupName": "default"})

    assert get_trigger(aws, ("rule", "orders-1")) == ScheduleState(enabled, "rate(1 minute)", name="orders-1")
    expected = ScheduleState(enabled, "cron(0 8 * * ? *)", "Asia/Tokyo", "orders-1")
    assert get_trigger(aws, ("schedule", "orders-1")) == expected


def test_a_rule_that_fires_on_events_only_starts_nothing(
    aws: Aws, stub: Callable[[Service], Stubber]
) -> None:
    stub("events").add_response("describe_rule", {"State": "ENABLED", "EventPattern": "{}"})

    assert get_trigger(aws, ("rule", "orders-1")) is None


@pytest.mark.parametrize(
    ("service", "call", "ask"),
    [
        ("events", "describe_rule", lambda aws, name: get_trigger(aws, ("rule", name))),
        ("scheduler", "get_schedule", lambda aws, name: get_trigger(aws, ("schedule", name))),
        ("lambda", "list_event_source_mappings", is_mapping_enabled),
        ("lambda", "get_function_concurrency", get_reserved_concurrency),
    ],
)
def test_what_does_not_exist_is_none_and_what_may_not_be_seen_is_an_error(
    aws: Aws,
    stub: Callable[[Service], Stubber],
    service: Service,
    call: str,
    ask: Callable[[Aws, str], object],
) -> None:
    stub(service).add_client_error(call, "ResourceNotFoundException")
    assert ask(aws, "orders-1") is None

    stub(service).add_client_error(call, "AccessDeniedException", "no rights")
    with pytest.raises(AwsError, match=r"orders-1: permission denied \(no rights\)"):
        ask(aws, "orders-1")


@pytest.mark.parametrize(
    ("state", "enabled"),
    [("Enabled", True), ("Updating", True), ("Disabling", False), ("Disabled", False)],
)
def test_a_mapping_that_is_going_away_is_none(
    aws: Aws, stub: Callable[[Service], Stubber], state: str, enabled: bool
) -> None:
    mappings = [{"State": "Deleting"}, {"State": state}]
    asked = {"FunctionName": "orders-enqueuer:live"}
    stub("lambda").add_response("list_event_source_mappings", {"EventSourceMappings": mappings}, asked)
    stub("lambda").add_response("list_event_source_mappings", {"EventSourceMappings": mappings[:1]}, asked)

    assert is_mapping_enabled(aws, "orders-enqueuer") is enabled
    assert is_mapping_enabled(aws, "orders-enqueuer") is None


def test_reserved_concurrency_of_zero_is_not_none(aws: Aws, stub: Callable[[Service], Stubber]) -> None:
    stub("lambda").add_response("get_function_concurrency", {"ReservedConcurrentExecutions": 0})
    stub("lambda").add_response("get_function_concurrency", {})

    assert [get_reserved_concurrency(aws, "orders-worker") for _ in range(2)] == [0, None]
